"""Simulated speech tells the colour of the clip's topic, or nothing."""

from __future__ import annotations

import json
from pathlib import Path

from videochat.files import write_json
from videochat.sample.speech import KINDS, TELLING, write_speech
from videochat.sample.world import COLOURS
from videochat.schema import Recording
from videochat.speech.transcript_files import read_transcript
from videochat.workspace import Workspace


def test_the_last_words_of_a_clip_tell_the_colour_or_mean_nothing(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "w", create=True)
    item = Recording(
        recording_id="sample-s0-0000", platform="sample", platform_id="s0-0000", channel="x", category="Art",
        duration_ms=90_000, num_messages=1, chat_digest="c", simulated=True,
    )  # fmt: skip
    workspace.add_recording(item)
    topics = [{"object": "cat", "colour": "red"}, None, {"object": "dog", "colour": "blue"}]
    clips = [{"start_ms": n * 30_000, "spoken_of": topic, "focal": None} for n, topic in enumerate(topics)]
    write_json(workspace.raw_dir(item.recording_id) / "truth.json", {"clips": clips, "spec": {}})
    for say in KINDS:
        assert write_speech(workspace, say, tmp_path / say) == 1
        path = tmp_path / say / "sample-s0-0000.jsonl"
        before = path.read_bytes()
        write_speech(workspace, say, tmp_path / say)
        assert path.read_bytes() == before, "the same words again"
        said = read_transcript(path)
        assert len(said) == len(path.read_text().splitlines()) == 12
        assert all(set(json.loads(line)) == {"start_ms", "end_ms", "text"} for line in path.read_text().splitlines())
        named = {
            start // 30_000: [word for word in text.split() if word in COLOURS]
            for start, _, text in said
            if start % 30_000 == TELLING[0]
        }
        assert named == ({0: ["red"], 1: [], 2: ["blue"]} if say == "colour" else {0: [], 1: [], 2: []})
        others = [text for start, _, text in said if start % 30_000 != TELLING[0]]
        assert not any(word in COLOURS for text in others for word in text.split())
