"""Real and treacherous videos: every good and odd one yields frames, every broken one a reason."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from videochat.errors import BadRecording
from videochat.frames.decode import DecodeReport, frames_at
from videochat.frames.video import probe

pytestmark = [pytest.mark.fixtures, pytest.mark.slow]

UNDECODABLE = {
    "invalid-bitstream.webm": "no-frames",
    "mp4parse_capi_chunk_out_of_range.mp4": "unreadable-video",
    "mp4parse_capi_zero_empty_stsc.mp4": "no-frames",
    "mp4parse_invalid_userdata.mp4": "no-frames",
    "sample_malformed_free_box.mp4": "unreadable-video",
    "stream_starting_corrupted.mp4": "no-frames",
}


def test_good_and_odd_videos_yield_a_frame_for_every_second(real: Path) -> None:
    paths = sorted(p for kind in ("good", "odd") for p in (real / "video" / kind).iterdir() if p.suffix != ".json")
    assert len(paths) == 18
    for path in paths:
        info = probe(path)
        assert info.has_video and info.duration_ms > 0, path.name
        found = list(frames_at(path, range(0, info.duration_ms, 1000), shortest=64))
        assert [f.time_ms for f in found] == list(range(0, info.duration_ms, 1000)), path.name
        assert all(f.pts_ms <= f.time_ms and min(f.rgb.shape[:2]) == 64 for f in found), path.name


def test_broken_videos_have_a_reason(real: Path) -> None:
    found = {}
    for path in sorted((real / "video" / "broken").iterdir()):
        report = DecodeReport()
        try:
            frames = list(frames_at(path, range(0, 5000, 1000), report=report))
        except BadRecording as error:
            found[path.name] = error.error_class
        else:  # decodes in part: one packet of fifty is cut
            assert path.name == "truncated.mp4" and len(frames) == 5
            assert report.num_errors == 1 and report.error
    assert found == UNDECODABLE


def test_odd_timestamps(real: Path) -> None:
    odd = real / "video" / "odd"
    assert probe(odd / "first_pts_10s.mp4").first_pts == 10
    assert probe(odd / "first_pts_10s.mp4").duration_ms == 4000
    rotated = probe(odd / "rotated_90.mov")
    assert (rotated.width, rotated.height, rotated.rotation) == (320, 568, 90)
    assert probe(odd / "discard_first_keyframe.mp4").duration_ms == 1000
    assert [f.pts_ms for f in frames_at(odd / "vfr_slow_motion.mp4", [0, 300, 330, 500])] == [0, 0, 325, 492]
    backward = [f.pts_ms for f in frames_at(odd / "backward_pts.avi", step_ms=100)]
    assert backward == sorted(backward) and len(set(backward)) == len(backward)


def test_frame_times_of_the_ground_truth(real: Path) -> None:
    folder = real / "video" / "good"
    truth = [float(row["pts_time"]) for row in json.loads((folder / "nasa_13s.frames.json").read_text())]
    for time_ms in range(0, 13_000, 137):
        expected = max(t for t in truth if t <= time_ms / 1000 + 1e-6)
        frame = next(iter(frames_at(folder / "nasa_13s.mp4", [time_ms], stream=3)))
        assert abs(frame.pts_ms - expected * 1000) <= 1
        if time_ms > 2000:
            break
    wanted = list(range(0, 13_000, 137))
    for frame in frames_at(folder / "nasa_13s.mp4", wanted, stream=3):
        expected = max(t for t in truth if t <= frame.time_ms / 1000 + 1e-6)
        assert abs(frame.pts_ms - expected * 1000) <= 1


def test_backends_agree_on_real_files(real: Path) -> None:
    names = ["good/nasa_13s.mp4", "good/v_GGSY1Qvo990.mp4", *(f"odd/{p.name}" for p in (real / "video/odd").iterdir())]
    for name in names:
        for mode in ("exact", "keyframe"):
            ours, theirs = (
                list(frames_at(real / "video" / name, step_ms=333, shortest=64, mode=mode, backend=backend))
                for backend in ("pyav", "ffmpeg")
            )
            assert [(f.time_ms, f.pts_ms) for f in ours] == [(f.time_ms, f.pts_ms) for f in theirs], (name, mode)
            for a, b in zip(ours, theirs, strict=True):
                assert a.rgb.shape == b.rgb.shape
                assert np.abs(a.rgb.astype(int) - b.rgb).mean() < 6, (name, mode)
