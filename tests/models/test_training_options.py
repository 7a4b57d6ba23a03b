"""Options of a training: precision, what the best epoch is chosen by, a logger, a pretrained tokenizer."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from videochat.commenter import MODELS, LoadContext, TextTable, view
from videochat.errors import MissingInput, UsageError
from videochat.models import catalog  # noqa: F401 (registers the models)
from videochat.models.training import StageSettings, run_stage
from videochat.workspace import Workspace

QUICK: dict[str, Any] = {"size": "tiny", "width": 32, "epochs": 2, "mlm_epochs": 1, "vocab_size": 400, "batch_size": 8}


@pytest.fixture
def context(tmp_path: Path, dummies: ModuleType) -> LoadContext:
    data = dummies.make_dataset(tmp_path / "w", num_channels=4, clips_per_recording=6, dim=8)
    workspace = Workspace.open(tmp_path / "w")
    return LoadContext(
        workspace=workspace, dataset=data, checkpoint=workspace.checkpoint_dir("sfat"), options=dict(QUICK)
    )


def train(context: LoadContext, folder: str, model: str = "sfat", **options: Any) -> tuple[Path, list[dict[str, Any]]]:
    """The checkpoint and its log."""
    place = context.workspace.root / folder / model
    MODELS[model].train(
        LoadContext(**{**vars(context), "checkpoint": place, "options": {**context.options, **options}})
    )
    return place, [json.loads(line) for line in (place / "training.jsonl").read_text().splitlines()]


def tensors(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


# -- precision


@pytest.mark.slow
def test_bf16_trains_float32_weights_near_the_curve_of_float32_and_leaves_the_forward_as_it_was(context):
    import torch

    exact, exact_log = train(context, "a", precision="float32", dropout=0.0)
    rounded, rounded_log = train(context, "b", precision="bf16", dropout=0.0)
    assert all(value.dtype == torch.float32 for value in tensors(rounded).values())
    assert any((value != tensors(exact)[name]).any() for name, value in tensors(rounded).items()), "it ran in bf16"
    for left, right in zip(exact_log, rounded_log, strict=True):
        for figure in ("train_loss", "dev_loss"):
            if left[figure] is not None:
                assert right[figure] == pytest.approx(left[figure], rel=2e-2)
    again, again_log = train(context, "c", precision="float32", dropout=0.0)  # in the same process, after bf16
    assert again_log == exact_log
    assert (again / "model.safetensors").read_bytes() == (exact / "model.safetensors").read_bytes()
    assert json.loads((rounded / "training.json").read_text())["settings"]["precision"] == "bf16"


def test_a_killed_bf16_training_goes_on_to_the_same_bytes(make_sfat, clips, tmp_path):
    import torch

    from videochat.models.examples import ResponseBatches, dev_loss, examples_of

    examples, dev = (examples_of(part, max_context_comments=15) for part in (clips[:12], clips[12:16]))

    def run(state: Path | None, stop_at: int = 0) -> Any:
        sfat = make_sfat()
        draw = ResponseBatches(examples=examples, collator=sfat.collator, responses_per_clip=2, null_probability=0.2)
        calls = 0

        def make_batch(indices: np.ndarray, random: np.random.Generator) -> Any:
            nonlocal calls
            calls += 1
            if calls == stop_at:
                raise KeyboardInterrupt
            return draw(indices, random)

        settings = StageSettings(epochs=3, batch_size=4, learning_rate=1e-3, precision="bf16", save_minutes=0)
        result = run_stage(
            sfat.model,
            stage="answers",
            num_items=len(examples),
            make_batch=make_batch,
            evaluate=lambda model: dev_loss(model, dev, sfat.collator),
            settings=settings,
            seed=0,
            state_path=state,
        )
        assert "forward" not in vars(sfat.model), "the wrapper of bf16 is gone"
        return sfat.model.state_dict(), result.log

    whole, log = run(None)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "state.safetensors", stop_at=5)
    resumed, resumed_log = run(tmp_path / "state.safetensors")
    assert resumed_log == log
    assert all(np.isfinite(row["dev_loss"]) for row in log)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_defaults_are_not_told_so_that_older_checkpoints_stay_current(context):
    place, _ = train(context, "a")
    assert {"precision", "select", "tokenizer", "log"}.isdisjoint(
        json.loads((place / "training.json").read_text())["settings"]
    )


def test_unknown_precision_and_selection_are_refused(context):
    for option in ({"precision": "fp8"}, {"select": "recall"}, {"log": "paper"}):
        with pytest.raises(UsageError, match="choose one of"):
            train(context, "a", **option)


# -- selection


def test_the_groups_of_dev_hold_each_clips_own_answer_once(clips):
    from videochat.models.dev_ranking import GROUP, groups_of
    from videochat.models.examples import examples_of

    examples = examples_of(clips, max_context_comments=15)
    groups = groups_of(examples)
    assert [len(members) for members, _ in groups][:-1] == [GROUP] * (len(groups) - 1)
    for members, answers in groups:
        assert len(answers) == len(set(map(str.casefold, answers))) == len(members) > 1
        assert all(answer in examples[index].responses for index, answer in zip(members, answers, strict=True))


def test_reciprocal_ranks_by_hand():
    from videochat.models.dev_ranking import reciprocal_rank

    assert reciprocal_rank(np.array([3.0, 1.0, 2.0]), 0) == 1.0
    assert reciprocal_rank(np.array([3.0, 1.0, 2.0]), 1) == pytest.approx(1 / 3)
    assert reciprocal_rank(np.zeros(4), 2) == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_first_places_by_hand():
    from videochat.models.dev_ranking import first_place

    assert first_place(np.array([3.0, 1.0, 2.0]), 0) == 1.0
    assert first_place(np.array([3.0, 1.0, 2.0]), 2) == 0.0
    assert first_place(np.array([3.0, 3.0, 2.0]), 1) == 0.5


@pytest.mark.parametrize(("select", "name"), [("mrr", "MRR"), ("r1", "R@1")])
def test_selection_by_rank_keeps_the_epoch_that_ranks_best_and_says_so(context, select, name):
    place, log = train(context, "a", select=select, epochs=4)
    ranked = [row[f"dev_{select}"] for row in log if f"dev_{select}" in row]
    assert len(ranked) == 4
    assert all(0 <= value <= 1 for value in ranked)
    info = json.loads((place / "training.json").read_text())
    assert info["best_epoch"] == ranked.index(max(ranked))
    assert info[f"dev_{select}"] == max(ranked)
    assert f"chosen by dev {name}" in (place / "README.md").read_text()


def test_patience_follows_what_is_selected_by(make_sfat, clips):
    from videochat.models.examples import ResponseBatches, examples_of

    sfat = make_sfat()
    examples = examples_of(clips[:8], max_context_comments=15)
    draw = ResponseBatches(examples=examples, collator=sfat.collator, responses_per_clip=1, null_probability=0.0)
    ranks = iter([0.2, 0.4, 0.3, 0.1, 0.9])
    result = run_stage(
        sfat.model,
        stage="answers",
        num_items=len(examples),
        make_batch=draw,
        evaluate=lambda model: 1.0,
        settings=StageSettings(epochs=5, batch_size=8, patience=2),
        seed=0,
        rank=lambda model: next(ranks),
    )
    assert (result.best_epoch, result.stopped, len(result.log)) == (1, "patience", 4)


# -- loggers


@pytest.mark.slow
def test_tensorboard_gets_the_curve_and_the_result_does_not_change(context):
    if importlib.util.find_spec("tensorboard") is None:
        pytest.skip("tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    plain, log = train(context, "a")
    logged, same_log = train(context, "b", log="tensorboard")
    assert (logged / "model.safetensors").read_bytes() == (plain / "model.safetensors").read_bytes()
    assert (logged / "training.json").read_bytes() == (plain / "training.json").read_bytes()
    assert same_log == log
    events = EventAccumulator(str(logged / "logs" / "sfat"))
    events.Reload()
    assert {"mlm/loss", "answers/loss", "answers/dev_loss"} <= set(events.Tags()["scalars"])
    seen = [point.value for point in events.Scalars("answers/dev_loss")]
    assert seen == pytest.approx([row["dev_loss"] for row in log if row["stage"] == "answers"], abs=1e-5)


def test_a_missing_logger_names_its_install_line_before_any_work(context, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "wandb" else found(name, *rest)
    )
    with pytest.raises(MissingInput, match=r"videochat-toolkit\[wandb\]"):
        train(context, "a", log="wandb")
    assert not (context.workspace.root / "a").exists()


# -- tokenizers


@pytest.fixture
def word_pieces(tmp_path: Path) -> Path:
    """A small BERT-like tokenizer in a folder of its own: other special tokens, other ids, lower-case word pieces."""
    from transformers import BertTokenizerFast

    words = ["[PAD]", *(f"[unused{n}]" for n in range(9)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words += [*"abcdefghijklmnopqrstuvwxyz0123456789", *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz0123456789")]
    words += ["look", "at", "the", "one", "number", "nice", "so", "red", "blue", "cat", "dog"]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    tokenizer = BertTokenizerFast(vocab=str(tmp_path / "vocab.txt"))
    tokenizer.save_pretrained(tmp_path / "pieces")
    return tmp_path / "pieces"


@pytest.mark.parametrize("model", ["sfat", pytest.param("klvcg-style", marks=pytest.mark.slow)])
def test_a_pretrained_tokenizer_trains_loads_and_writes(context, word_pieces, model):
    place, _ = train(context, "a", model, tokenizer=str(word_pieces))
    loaded = MODELS[model].load(LoadContext(**{**vars(context), "checkpoint": place}))
    ids = loaded.collator.response_ids("look at the zebra [SEP]")
    tokenizer = loaded.tokenizer
    assert (ids[0], ids[-1]) == (tokenizer.cls_token_id or tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert (tokenizer.convert_ids_to_tokens(ids[0]), tokenizer.convert_ids_to_tokens(ids[-1])) == ("[CLS]", "[SEP]")
    assert ids.count(tokenizer.eos_token_id) == 1, "nobody ends a comment from inside it"
    kappa = loaded.collator.encode("nice", ("Kappa",), 9)
    assert (len(kappa) == 4) == any("Kappa" in t for t in tokenizer.get_vocab()), "emotes are whole tokens"
    config = loaded.model.config
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (ids[0], ids[-1], 0)
    assert config.vocab_size == len(tokenizer)
    views = [view(clip) for clip in context.dataset.clips("test")][:4]
    found = loaded.score(views, [[0, 1]] * 4, TextTable(["red one", "lol"], ["red one", "lol"]))
    assert all(np.isfinite(scores.score).all() for scores in found)
    assert all(loaded.generate(views, max_new_tokens=6))


def test_a_tokenizer_that_cannot_be_had_is_named(context):
    with pytest.raises(MissingInput, match=r"no tokenizer .*: the hub cannot be reached from here"):
        train(context, "a", tokenizer="nobody/knows-this")
    with pytest.raises(MissingInput, match=r"no tokenizer .*: that folder holds none"):
        train(context, "a", tokenizer=str(context.workspace.root))


@pytest.mark.parametrize(
    "wrong", [{"epochs": True}, {"learning_rate": False}, {"tokenizer": None}, {"pooling": ["mean"]}]
)
def test_what_is_neither_number_nor_word_is_not_made_one(context, wrong):
    with pytest.raises(UsageError, match=r"is (True|False|None|\['mean'\]), not a"):
        train(context, "a", **wrong)
    assert not (context.workspace.root / "a").exists()
