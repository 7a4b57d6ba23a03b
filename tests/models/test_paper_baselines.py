"""TTE, LiveBot and VideoIC: the sizes of their sources, and what each does that the others do not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from videochat.commenter import MODELS, LoadContext, TextTable, view
from videochat.errors import UsageError
from videochat.models import catalog  # noqa: F401 (registers the models)
from videochat.schema import Comment, Segment
from videochat.workspace import Workspace

NAMES = ("tte-style", "livebot-style", "videoic-style")
QUICK: dict[str, Any] = {
    "width": 32,
    "num_heads": 4,
    "feed_forward_width": 64,
    "epochs": 1,
    "mlm_epochs": 1,
    "vocab_size": 400,
    "batch_size": 8,
}


def on_meta(folder: str) -> Any:
    """The model in the size of its source, without memory for its weights."""
    from importlib import import_module

    import torch

    recipe = import_module(f"videochat.models.{folder}.train").RECIPE
    with torch.device("meta"):
        return recipe.model(recipe.config(vocab_size=30_522, **recipe.sizes["paper"]))


def test_tte_has_the_layers_and_widths_of_its_source():
    model = on_meta("tte")
    assert (len(model.context_encoder.layers), model.embedding.embedding_dim) == (4, 256)
    assert [layer.attention.num_heads for layer in model.context_encoder.layers] == [4] * 4
    assert model.video_in.out_features == model.video_out.in_features == 2048
    assert [layer.attention.num_heads for layer in model.video_layers] == [8] * 4
    assert {layer.feed_forward[0].out_features for layer in model.video_layers} == {512}
    assert [(len(x.cross_attentions), x.self_attention.num_heads) for x in model.decoder.layers] == [(3, 8)] * 4
    assert {layer.feed_forward[0].out_features for layer in model.decoder.layers} == {512}


def test_livebot_has_the_layers_and_widths_of_its_source():
    model = on_meta("livebot")
    assert model.embedding.embedding_dim == 512
    for layers, memories in ((model.video_layers, 0), (model.text_layers, 1), (model.decoder.layers, 2)):
        assert len(layers) == 6
        assert {layer.feed_forward[0].out_features for layer in layers} == {2048}
        assert {len(getattr(layer, "cross_attentions", ())) for layer in layers} == {memories}
    assert model.config.max_frames == 5
    assert model.config.max_context_tokens == 98  # and two specials


def test_videoic_has_the_layers_and_widths_of_its_source():
    model = on_meta("videoic")
    for lstm in (model.frame_lstm, model.comment_lstm):
        assert (lstm.num_layers, lstm.hidden_size, lstm.dropout) == (2, 512, 0.2)
    assert [(len(x.cross_attentions), x.feed_forward[0].out_features) for x in model.decoder.layers] == [(1, 512)] * 6
    assert (model.config.max_frames, model.config.num_seconds, model.config.max_comments_per_second) == (11, 10, 15)
    assert model.config.max_comment_tokens == 18  # and two specials


@pytest.mark.parametrize(
    ("folder", "wanted"),
    [
        ("tte", {"learning_rate": 1e-4, "batch_size": 32, "epochs": 100, "mlm_epochs": 100}),
        ("livebot", {"learning_rate": 3e-4, "batch_size": 64}),
        ("videoic", {"learning_rate": 1e-3, "weight_decay": 1e-3, "batch_size": 32, "patience": 20}),
    ],
)
def test_the_paper_size_trains_at_the_rates_of_the_source(folder, wanted):
    from importlib import import_module

    from videochat.models.training_run import settings_of

    recipe = import_module(f"videochat.models.{folder}.train").RECIPE
    settings, _ = settings_of(recipe, {"size": "paper"}, simulated=False)
    assert {name: getattr(settings, name) for name in wanted} == wanted


# -- TTE


def said(clip: Any, text: str) -> Any:
    return dataclasses.replace(clip, transcript=(Segment(start_ms=clip.start_ms, end_ms=clip.start_ms + 9, text=text),))


def test_a_transcript_changes_the_answers_of_tte_alone(make_model, views, texts):
    rows = [list(range(6))]
    for folder in ("tte", "livebot", "videoic"):
        model = make_model(folder)
        silent, first, second = (
            model.score([clip], rows, texts)[0].score
            for clip in (views[0], said(views[0], "he takes the left door"), said(views[0], "and now the boss"))
        )
        differs = np.abs(silent - first).max() > 1e-3 and np.abs(first - second).max() > 1e-3
        assert differs == (folder == "tte")


def test_of_a_long_transcript_the_latest_words_count(make_model, views):
    model = make_model("tte", max_transcript_tokens=5)
    long = said(views[0], "one two three four five six seven eight nine ten")
    ids, short = (
        model.collator.clips([clip])["transcript_ids"][0].tolist() for clip in (long, said(views[0], "nine ten"))
    )
    assert len(ids) == 7
    assert (ids[0], ids[-1]) == (short[0], short[-1])
    assert ids[-3:] == short[-3:]


def test_the_video_layers_of_tte_are_torch_own_encoder_layers():
    """Post-norm with ReLU: the same weights give the same numbers as torch.nn.TransformerEncoderLayer."""
    import torch

    from videochat.models.layers import attend_masked
    from videochat.models.tte.model import PostNormLayer

    torch.manual_seed(0)
    ours, theirs = PostNormLayer(16, 4, 24, 0.1).eval(), torch.nn.TransformerEncoderLayer(16, 4, 24, batch_first=True)
    theirs.load_state_dict(
        {
            "self_attn.in_proj_weight": ours.attention.qkv.weight,
            "self_attn.in_proj_bias": ours.attention.qkv.bias,
            "self_attn.out_proj.weight": ours.attention.out.weight,
            "self_attn.out_proj.bias": ours.attention.out.bias,
            "linear1.weight": ours.feed_forward[0].weight,
            "linear1.bias": ours.feed_forward[0].bias,
            "linear2.weight": ours.feed_forward[3].weight,
            "linear2.bias": ours.feed_forward[3].bias,
            "norm1.weight": ours.attention_norm.weight,
            "norm1.bias": ours.attention_norm.bias,
            "norm2.weight": ours.feed_forward_norm.weight,
            "norm2.bias": ours.feed_forward_norm.bias,
        }
    )
    theirs.eval()
    rows, mask = torch.randn(2, 5, 16), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool()
    expected = theirs(rows, src_key_padding_mask=~mask)
    torch.testing.assert_close(ours(rows, attend_masked(mask))[mask], expected[mask], atol=1e-5, rtol=1e-5)


def test_every_frame_reaches_tte_and_the_latest_ones_the_others(make_model, views, texts):
    """What one frame does to a score, oldest to newest: 30, the latest 5, the latest 11."""
    rows, clip = [list(range(4))], views[3]
    assert len(clip.frames) == 30
    for folder, counted in (("tte", 30), ("livebot", 5), ("videoic", 11)):
        model = make_model(folder)
        whole = model.score([clip], rows, texts)[0].score
        matters = []
        for n in range(30):
            frames = clip.frames.copy()
            frames[n] = -frames[n]
            changed = model.score([dataclasses.replace(clip, frames=frames)], rows, texts)[0].score
            matters.append(bool(np.abs(changed - whole).max() > 1e-6))
        assert matters == [False] * (30 - counted) + [True] * counted, folder


# -- LiveBot


def test_livebot_joins_the_comments_and_keeps_the_latest_tokens(make_model, views):
    model = make_model("livebot", max_context_tokens=6)
    comments = tuple(Comment(offset_ms=views[0].start_ms + n, author="", text=text) for n, text in enumerate("abc"))
    encode, end = model.collator.encode, model.tokenizer.eos_token_id
    a, b, c = (encode(text, (), 9)[1:-1] for text in "abc")
    batch = model.collator.clips(
        [dataclasses.replace(views[0], context=comments), dataclasses.replace(views[0], context=())]
    )
    wanted = [*a, end, *b, end, *c, end][-6:]
    assert batch["context_ids"][0].tolist() == [model.tokenizer.bos_token_id, *wanted]
    assert batch["context_lengths"].tolist() == [1 + len(wanted), 1]


def test_the_text_memory_of_livebot_depends_on_the_video(make_model, views):
    import torch

    model = make_model("livebot")
    other = dataclasses.replace(views[0], frames=-views[0].frames)
    with torch.no_grad():
        encoding = model.model.encode(model.collator.clips([views[0], other]))
    text = encoding.last_hidden_state[:, encoding.sizes[0] :]
    assert (text[0] - text[1]).abs().max() > 1e-3


# -- VideoIC


def test_seconds_of_chat_are_told_apart_and_the_latest_comments_of_each_kept(make_model, views):
    model = make_model("videoic", max_comments_per_second=2, num_seconds=3)
    now = views[0].now_ms
    ages = (9_000, 2_500, 1_900, 1_800, 1_700, 1_000, 999, 1)  # milliseconds before now, oldest first
    comments = tuple(Comment(offset_ms=now - age, author="", text=f"w{n}") for n, age in enumerate(ages))
    mask = model.collator.clips([dataclasses.replace(views[0], context=comments)])["second_mask"][0]
    chosen = [[n for n, real in enumerate(row) if real] for row in mask.tolist()]
    assert chosen == [[6, 7], [3, 4], [1]], "seconds are [now - 1 s, now), [now - 2 s, now - 1 s) and so on"


def test_a_topic_is_the_softmax_of_products_with_the_global_view(make_model, views):
    import torch

    model = make_model("videoic").model
    collator = make_model("videoic").collator
    comments = tuple(Comment(offset_ms=views[0].now_ms - 500, author="", text=text) for text in ("one", "two two"))
    batch = collator.clips([dataclasses.replace(views[0], context=comments)])
    with torch.no_grad():
        topics, mask = model._topics(batch, torch.ones(1, 32))
        states = []
        for row, length in zip(batch["comment_ids"], batch["comment_lengths"], strict=True):
            words = model.embedding.embed(row[None, :length], row[None, :length])
            states.append(model.comment_lstm(words)[0][0, -1])
        vectors = torch.stack(states)[batch["comment_index"][0]]
    weights = vectors.sum(-1).softmax(0)
    torch.testing.assert_close(topics[0, 0], weights @ vectors)
    assert mask[0].tolist() == [True] + [False] * 9


def test_comments_older_than_ten_seconds_are_not_read_by_videoic(make_model, views, texts):
    model, rows = make_model("videoic"), [list(range(4))]
    old = Comment(offset_ms=views[0].now_ms - 10_001, author="", text="long ago")
    new = dataclasses.replace(old, offset_ms=views[0].now_ms - 9_000)
    base, with_old, with_new = (
        model.score([dataclasses.replace(views[0], context=(*added, *views[0].context))], rows, texts)[0].score
        for added in ((), (old,), (new,))
    )
    np.testing.assert_allclose(with_old, base, atol=1e-5)
    assert np.abs(with_new - base).max() > 1e-4


def test_the_decoder_of_videoic_knows_order_by_its_mask_alone(make_model):
    import torch

    embedding = make_model("videoic").model.embedding
    ids = torch.tensor([7, 7, 7])
    vectors = embedding.embed(ids, torch.arange(3))
    torch.testing.assert_close(vectors[0], vectors[2])


# -- training by name


def context_of(root: Path, dummies: ModuleType, name: str, **sizes: Any) -> LoadContext:
    data = dummies.make_dataset(root, **{"num_channels": 4, "clips_per_recording": 6, "dim": 8, **sizes})
    workspace = Workspace.open(root)
    return LoadContext(
        workspace=workspace, dataset=data, checkpoint=workspace.checkpoint_dir(name), options=dict(QUICK)
    )


@pytest.mark.parametrize("name", NAMES)
def test_training_by_name_loads_scores_and_answers(name, tmp_path, dummies):
    context = context_of(tmp_path / "w", dummies, name)
    MODELS[name].train(context)
    info = json.loads((context.checkpoint / "training.json").read_text())
    stages = [json.loads(line)["stage"] for line in (context.checkpoint / "training.jsonl").read_text().splitlines()]
    assert stages == (["mlm", "answers"] if name == "tte-style" else ["answers"])
    assert info["model"] == name
    model = MODELS[name].load(context)
    views = [view(clip) for clip in context.dataset.clips("test")]
    found = model.score(views, [[0, 1]] * len(views), TextTable(["red one", "lol"], ["red one", "lol"]))
    assert len(found) == len(views)
    assert model.frame_weights(views) == []
    assert len(model.generate(views[:2], max_new_tokens=4)) == 2
    assert "CLIP features" in (context.checkpoint / "README.md").read_text()
    weights = context.checkpoint / "model.safetensors"
    before = weights.read_bytes()
    weights.unlink()
    MODELS[name].train(context)  # heals the checkpoint, from the same seed
    assert weights.read_bytes() == before


def test_both_text_encoders_of_tte_are_pretrained(tmp_path, dummies, monkeypatch):
    """Without transcripts the second is the first; with them it goes on from there, and the embedding stays."""
    from videochat.models.training_run import settings_of
    from videochat.models.tte.train import RECIPE, pretrain_texts

    context = context_of(tmp_path / "w", dummies, "tte-style")
    settings, fields = settings_of(RECIPE, context.options, simulated=True)
    tokenizer = RECIPE.tokenizer(context, settings)

    def pretrained() -> tuple[Any, list[Any]]:
        import torch

        torch.manual_seed(0)
        model = RECIPE.model(RECIPE.config(vocab_size=len(tokenizer), clip_dim=8, **fields))
        return model, [row["stage"] for row in pretrain_texts(model, context, settings, tokenizer)]

    silent, stages = pretrained()
    assert stages == ["mlm"]
    pairs = zip(silent.context_encoder.parameters(), silent.transcript_encoder.parameters(), strict=True)
    assert all((a == b).all() for a, b in pairs)
    clips = context.dataset.clips
    talk = [Segment(start_ms=0, end_ms=1, text=f"we go to door {n}") for n in range(9)]
    monkeypatch.setattr(
        context.dataset,
        "clips",
        lambda split: (dataclasses.replace(c, transcript=(talk[n % 9],)) for n, c in enumerate(clips(split))),
    )
    loud, stages = pretrained()
    assert stages == ["mlm", "mlm-transcript"]
    assert (loud.embedding.weight == silent.embedding.weight).all()
    pairs = zip(loud.context_encoder.parameters(), silent.context_encoder.parameters(), strict=True)
    assert all((a == b).all() for a, b in pairs)
    assert any(
        (a != b).any()
        for a, b in zip(loud.context_encoder.parameters(), loud.transcript_encoder.parameters(), strict=True)
    )


@pytest.mark.parametrize("name", NAMES)
def test_impossible_shapes_are_refused_before_any_work(name, tmp_path, dummies):
    context = context_of(tmp_path / "w", dummies, name, clips_per_recording=1)
    for options, text in (({"width": 30}, "width 30"), ({"dropout": 1}, "dropout"), ({"max_frames": 0}, "max_frames")):
        with pytest.raises(UsageError, match=text):
            MODELS[name].train(dataclasses.replace(context, options=options))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_each_learns_to_look_where_the_answer_is_in_the_frames(name, tmp_path, dummies):
    """The dummies' answer is the colour seen in seconds 8 to 11: TTE and VideoIC read those, LiveBot does not."""
    context = context_of(tmp_path / "w", dummies, name, num_channels=10, clips_per_recording=20, dim=32)
    options = {"width": 64, "epochs": 12, "batch_size": 16, "mlm_epochs": 1, "num_heads": 4, "dropout": 0.0}
    context = dataclasses.replace(context, options=options)
    test = list(context.dataset.clips("test"))
    texts = TextTable([f"{colour} one number 3" for colour in dummies.COLOURS], list(dummies.COLOURS))
    truth = [dummies.COLOURS.index(clip.responses[0].text.split()[0]) for clip in test]
    MODELS[name].train(context)
    scores = MODELS[name].load(context).score([view(c) for c in test], [range(8)] * len(test), texts)
    right = np.mean([int(found.score.argmax()) == row for found, row in zip(scores, truth, strict=True)])
    assert right > 0.7 if name != "livebot-style" else right < 0.4  # chance is 1 in 8
