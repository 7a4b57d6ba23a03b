"""Writing comments: every method says something, and `videochat generate` does it for clips of a workspace."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from videochat.cli import main
from videochat.errors import UsageError
from videochat.generate import Decoding, chosen_clips, generate_comments
from videochat.models.generation import SaysSomething, shown
from videochat.workspace import Workspace


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
    assert isinstance(done.value.code, int)
    return done.value.code


METHODS = [{}, {"seed": 3, "top_k": 0}, {"num_beams": 3}]


@pytest.mark.parametrize("options", METHODS, ids=["greedy", "sample", "beam"])
@pytest.mark.parametrize("max_new_tokens", [1, 2, 6])
def test_a_model_that_wants_to_end_at_once_still_says_something(make_sfat, views, options, max_new_tokens):
    """A bias makes the end token, the specials and the space by far the likeliest."""
    import torch

    sfat = make_sfat(seed=1)
    tokenizer = sfat.tokenizer
    space = tokenizer.convert_tokens_to_ids("Ġ")
    bias = torch.zeros(len(tokenizer))
    bias[[*tokenizer.all_special_ids, space]] = 100.0
    sfat.model.embedding.logits = lambda hidden: torch.nn.functional.linear(hidden, sfat.model.embedding.weight, bias)
    found = sfat.generate(views[:4], max_new_tokens=max_new_tokens, **options)
    assert len(found) == 4
    assert all(found)
    assert not any(token in text for text in found for token in tokenizer.all_special_tokens)


def test_control_characters_and_cut_off_characters_are_not_shown():
    assert shown(" hi\x1b[31m\nthere\ufffd ") == "hi [31m there"
    assert shown("\ufffd\x00") == ""
    assert shown("👩‍💻 שלום") == "👩‍💻 שלום"


def test_the_rule_leaves_a_spoken_comment_its_end(tokenizer):
    import torch

    rule = SaysSomething(tokenizer, start=1, max_new_tokens=5)
    ids = torch.tensor([[1, tokenizer.convert_tokens_to_ids("Ġ")], [1, tokenizer.convert_tokens_to_ids("k")]])
    scores = rule(ids, torch.zeros(2, len(tokenizer)))
    assert scores[0, tokenizer.eos_token_id] == -torch.inf
    assert scores[1, tokenizer.eos_token_id] == 0
    assert (scores[:, [tokenizer.pad_token_id, tokenizer.bos_token_id]] == -torch.inf).all()


def test_decoding_refuses_what_says_nothing_to_its_method():
    for wrong in ({"temperature": 1.0}, {"method": "beam", "top_p": 0.5}, {"method": "sample", "beams": 2}):
        with pytest.raises(UsageError, match="says nothing"):
            Decoding(**wrong)
    with pytest.raises(UsageError, match="top_p"):
        Decoding(method="sample", top_p=0.0)
    with pytest.raises(UsageError, match="choose one of"):
        Decoding(method="nucleus")
    assert Decoding(method="beam").options() == {"max_new_tokens": 20, "num_beams": 4}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, dummies: ModuleType) -> Path:
    """A small workspace with a scantily trained text-only model."""
    root = tmp_path_factory.mktemp("generate")
    dummies.make_dataset(root, num_channels=3, recordings_per_channel=1, clips_per_recording=6, dim=None)
    quick = ["width=32", "epochs=1", "mlm_epochs=0", "vocab_size=400", "num_decoder_layers=1"]
    assert run("train", "--data", root, "--model", "sfat-text", *(x for pair in quick for x in ("--set", pair))) == 0
    return root


def test_a_split_and_one_clip_get_comments(trained, capsys):
    command = ("generate", "--data", trained, "--model", "sfat-text", "--json")
    capsys.readouterr()
    assert run(*command) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["clip_id"] for row in rows] == [f"dummy-02-0_{start}" for start in range(0, 180_000, 30_000)]
    assert all(row["comment"] for row in rows)
    assert rows[1]["now_ms"] == 50_000
    assert run(*command, "--clip", rows[1]["clip_id"]) == 0
    assert json.loads(capsys.readouterr().out) == [rows[1]]
    assert run(*command[:-1], "--limit", 2) == 0
    assert capsys.readouterr().out.splitlines() == [f"{row['clip_id']}\t{row['comment']}" for row in rows[:2]]


def test_sampling_follows_its_seed_and_beams_run(trained, capsys):
    command = ("generate", "--data", trained, "--model", "sfat-text")
    capsys.readouterr()
    found = []
    for seed in (1, 1, 2):
        assert run(*command, "--method", "sample", "--sampling-seed", seed) == 0
        found.append(capsys.readouterr().out)
    assert found[0] == found[1] != found[2]
    assert run(*command, "--method", "beam", "--beams", 2, "--limit", 2) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--model", "tfidf"), 2, "ranks comments and writes none"),
        (("--model", "sfatt"), 2, "did you mean 'sfat'"),
        (("--model", "sfat-text", "--clip", "nowhere_0"), 2, "has no clip 'nowhere_0'"),
        (("--model", "sfat-text", "--beams", 3), 2, "says nothing to greedy"),
        (("--model", "sfat-text", "--max-tokens", 0), 2, "make it 1 or more"),
        (("--model", "sfat-text", "--seed", 5), 1, "videochat train --model sfat-text --seed 5"),
    ],
)
def test_a_mistake_is_one_clear_line(trained, capsys, arguments, code, words):
    assert run("generate", "--data", trained, *arguments) == code
    assert words in capsys.readouterr().err


def test_a_model_that_only_decodes_greedily_says_so(trained):
    from videochat.dataset import Dataset

    class Parrot:
        name = "parrot"
        needs = frozenset()

        def score(self, clips, candidates, texts):
            raise NotImplementedError

        def generate(self, clips, *, max_new_tokens=20):
            return [clip.context[-1].text for clip in clips]

    clips = chosen_clips(Dataset.open(Workspace.open(trained).root), "test", limit=2)
    assert [row.comment for row in generate_comments(Parrot(), clips, Decoding())] == [
        clip.context[-1].text for clip in clips
    ]
    with pytest.raises(UsageError, match="cannot decode with num_beams"):
        generate_comments(Parrot(), clips, Decoding(method="beam"))
