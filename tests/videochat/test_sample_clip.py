"""The small CLIP that ships: loads offline, sees what it was made to see, and points frame weights at the event."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import videochat.sample
from videochat.sample import captions
from videochat.sample.chat import converse
from videochat.sample.world import COLOURS, OBJECTS, WorldSpec, plan_events

FOLDER = Path(videochat.sample.__file__).parent / "clip"


def test_folder_is_small_and_whole() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 8_000_000
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "simulated" in card
    assert "apache-2.0" in card.casefold()


def test_tokenizer_keeps_the_rules_that_open_clip_needs() -> None:
    vocabulary = json.loads((FOLDER / "tokenizer.json").read_text())["model"]["vocab"]
    assert vocabulary["[PAD]"] == 0
    assert vocabulary["[END]"] == max(vocabulary.values()) == len(vocabulary) - 1
    assert set(captions.vocabulary()) == set(vocabulary) - {"[PAD]", "[UNK]", "[END]"}


@pytest.mark.slow
def test_open_clip_loads_the_tokenizer_offline() -> None:
    import open_clip

    vocabulary = json.loads((FOLDER / "tokenizer.json").read_text())["model"]["vocab"]
    tokenizer = open_clip.get_tokenizer(f"local-dir:{FOLDER}")
    upper, lower = tokenizer(["LOOK at that KEY!!", "look at that key"])
    assert upper.tolist() == lower.tolist()
    assert int(lower.argmax()) == 4
    assert len(lower) == 20
    assert tokenizer([""]).tolist()[0][0] == vocabulary["[END]"]
    assert vocabulary["[UNK]"] in tokenizer(["zzz qqq"]).tolist()[0]
    long = tokenizer(["red " * 50]).tolist()[0]
    assert long[-1] == vocabulary["[END]"]


def test_chat_has_no_words_that_the_clip_lacks() -> None:
    known = set(captions.vocabulary())
    spec = WorldSpec()
    events = plan_events(spec, 0, 0, 300_000)
    lacking = set()
    for message in converse(spec, "screen", 0, 0, events, 300_000).messages:
        text = "".join(text for text, emote in message["fragments"] if emote is None)
        if "sim_" not in text and "example" not in text and message["author"] != "sim_nightbot":
            lacking |= set(text.casefold().replace("!", " ").replace(".", " ").split()) - known
    assert not lacking & {*OBJECTS, *COLOURS}
    assert all(word[-1] == word[-2] == word[-3] for word in lacking), lacking  # stretched words alone


@pytest.mark.slow
def test_it_tells_objects_and_colours_on_frames_it_never_saw() -> None:
    from videochat.sample.train_clip import measure

    figures = measure(FOLDER, num_trials=10, seed=-99)
    assert figures["unseen_templates_top1_of_64"] >= 0.97, figures
    assert figures["seen_templates_top1_of_64"] >= 0.97, figures


@pytest.mark.slow
def test_chat_points_the_frame_weights_at_the_focal_event(tmp_path: Path) -> None:
    """softmax over frames of the summed cosines / 0.1 lies on the focal event; equal weights do not."""
    from videochat.build import build
    from videochat.cleaning.run import clean
    from videochat.commenter import view
    from videochat.dataset import Dataset
    from videochat.frames.features import build_features
    from videochat.sample.generate import generate
    from videochat.sample.truth import focal_events
    from videochat.workspace import Workspace

    workspace = Workspace.open(tmp_path, create=True, seed=77, split_by="test")
    generate(workspace, num_recordings=2, minutes=6, num_workers=1)
    clean(workspace, num_workers=1)
    build_features(workspace, num_workers=1)
    build(workspace)
    focal = focal_events(workspace)
    on_event, share = [], []
    for clip in map(view, Dataset.open(tmp_path).clips()):
        assert clip.frames is not None
        assert clip.context_clip is not None
        assert clip.frame_ms is not None
        frames, texts = clip.frames.astype(np.float64), clip.context_clip[-15:].astype(np.float64)
        similarity = (frames @ texts.T).sum(axis=1) / 0.1
        weights = np.exp(similarity - similarity.max())
        event = focal[clip.clip_id]
        shown = (event.start_ms <= clip.frame_ms) & (clip.frame_ms < event.end_ms)
        on_event.append(weights[shown].sum() / weights.sum())
        share.append(shown.mean())
    assert np.mean(on_event) > 0.9
    assert np.mean(share) < 0.2
