"""Frames by time: the picture on screen at t, by both backends, from videos whose every frame tells its own number."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import ffmpeg
import numpy as np
import pytest

from videochat.errors import BadRecording, MissingInput, UsageError
from videochat.frames import pyav_backend
from videochat.frames.decode import BACKENDS, DecodeReport, frames_at, shortest_side
from videochat.frames.gops import Plan, PlanFailed, groups
from videochat.frames.video import choose_stream, ffmpeg_path, open_video, probe

FPS = 25


def run(output: Any) -> None:
    command = output.global_args("-hide_banner", "-nostdin", "-loglevel", "error").compile(cmd=ffmpeg_path())
    subprocess.run(command, check=True)


def counted(path: Path, *, seconds: float = 4, times: str = "PTS", size: str = "64x48", **options: Any) -> Path:
    """A video whose frame n is a grey of level 16 + 8 (n mod 25), at times given by a setpts expression."""
    source = ffmpeg.input(f"color=gray:size={size}:rate={FPS}:duration={seconds}", format="lavfi")
    source = source.filter("geq", lum=f"16+mod(N,{FPS})*8", cb=128, cr=128)
    source = source.filter("settb", "1/1000").filter("setpts", times)
    defaults = {
        "vcodec": "libx264",
        "g": 50,
        "bf": 3,
        "sc_threshold": 0,
        "pix_fmt": "yuv420p",
        "fps_mode": "passthrough",
        "qp": 4,
    }
    run(ffmpeg.output(source, str(path), **(defaults | options)))
    return path


def level(rgb: np.ndarray[Any, Any]) -> int:
    """The number that a frame of `counted` carries: RGB grey back to video level, then to n mod 25."""
    return round((float(rgb.mean()) * 219 / 255) / 8)


def moving(path: Path, *, seconds: float = 6, **options: Any) -> Path:
    """A moving pattern, with B-frames that others refer to and B-frames that none does."""
    source = ffmpeg.input(f"testsrc2=size=128x96:rate=30:duration={seconds}", format="lavfi")
    run(ffmpeg.output(source, str(path), **({"vcodec": "libx264", "g": 30, "bf": 3, "pix_fmt": "yuv420p"} | options)))
    return path


def everything(path: Path) -> dict[int, np.ndarray[Any, Any]]:
    """Every frame that a full decode shows: pts in ms from the first -> pixels."""
    with open_video(path) as container:
        pictures = list(pyav_backend.decoded(container, choose_stream(container)))
        return {int((p.pts - pictures[0].pts) * 1000): p.rgb(None) for p in pictures}


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_wanted_time_gets_the_frame_on_screen(tmp_path: Path, backend: str) -> None:
    path = counted(tmp_path / "a.mp4")
    report = DecodeReport()
    found = list(frames_at(path, [0, 39, 40, 41, 999, 1000, 2519, 3999], backend=backend, report=report))
    assert [f.pts_ms for f in found] == [0, 0, 40, 40, 960, 1000, 2480, 3960]
    assert [level(f.rgb) for f in found] == [0, 0, 1, 1, 24, 0, 12, 24]
    assert found[0].rgb.dtype == np.uint8 and found[0].rgb.shape == (48, 64, 3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_grid_ends_where_the_video_ends(tmp_path: Path, backend: str) -> None:
    path = counted(tmp_path / "a.mp4", seconds=2.4)
    report = DecodeReport()
    assert [f.time_ms for f in frames_at(path, step_ms=500, backend=backend, report=report)] == [
        0,
        500,
        1000,
        1500,
        2000,
    ]
    assert report.end_ms == report.declared_ms == 2400
    assert [f.time_ms for f in frames_at(path, [2399, 2400, 9000], backend=backend)] == [2399]


@pytest.mark.parametrize("backend", BACKENDS)
def test_variable_rate_is_sampled_by_time_not_by_number(tmp_path: Path, backend: str) -> None:
    squares = {"times": "N*N*0.01/TB", "enc_time_base": "1/1000"}  # frame n at n²/100 s: 0, 10, 40, 90 ms ...
    path = counted(tmp_path / "v.mkv", seconds=1, **squares)
    found = list(frames_at(path, step_ms=1000, backend=backend))[:6]
    assert [level(f.rgb) for f in found] == [0, 10, 14, 17, 20, 22]
    assert [f.pts_ms for f in found] == [0, 1000, 1960, 2890, 4000, 4840]


@pytest.mark.parametrize("backend", BACKENDS)
def test_of_two_frames_with_one_time_the_later_is_on_screen(tmp_path: Path, backend: str) -> None:
    path = counted(tmp_path / "v.mkv", seconds=1, times="N*N*0.01/TB", enc_time_base="1/25")  # 0 and 10 ms become 0
    found = list(frames_at(path, [0, 1000], backend=backend))
    assert [(level(f.rgb), f.pts_ms) for f in found] == [(1, 0), (10, 1000)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_time_zero_is_the_first_frame_whatever_its_timestamp(tmp_path: Path, backend: str) -> None:
    path = counted(tmp_path / "late.mkv", times="PTS+10/TB")
    assert [level(f.rgb) for f in frames_at(path, [0, 40, 400], backend=backend)] == [0, 1, 10]
    assert probe(path).first_pts == 10 and probe(path).duration_ms == 4000


@pytest.mark.parametrize("backend", BACKENDS)
def test_keyframe_mode_takes_the_last_keyframe_and_never_a_later_one(tmp_path: Path, backend: str) -> None:
    path = counted(tmp_path / "k.mp4", seconds=5)  # keyframes at 0, 2, 4 s
    found = list(frames_at(path, step_ms=500, mode="keyframe", backend=backend))
    assert [f.pts_ms for f in found] == [0, 0, 0, 0, 2000, 2000, 2000, 2000, 4000, 4000]
    assert all(f.pts_ms <= f.time_ms for f in found)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("closed.mp4", {}),
        ("open.mkv", {"x264-params": "open-gop=1:keyint=25:min-keyint=25:scenecut=0"}),
        ("pyramid.mp4", {"x264-params": "bframes=8:b-pyramid=normal:ref=5"}),
        ("one-group.mp4", {"g": 9999}),
        ("part4.mp4", {"vcodec": "mpeg4", "bf": 2}),
        ("old.avi", {"vcodec": "mpeg4", "bf": 2}),
        ("transport.ts", {}),
        ("vp9.webm", {"vcodec": "libvpx-vp9", "deadline": "realtime", "cpu-used": 8}),
    ],
)
def test_leaving_out_pictures_changes_no_pixel(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    path = moving(tmp_path / name, seconds=3, **options)
    full = everything(path)
    for times in (range(0, 3000, 1000), range(0, 3000, 90), [1967, 2900]):
        for frame in frames_at(path, times):
            expected = max(pts for pts in full if pts <= frame.time_ms)
            assert frame.pts_ms == expected
            np.testing.assert_array_equal(frame.rgb, full[expected])


def test_the_plan_is_used_where_the_file_allows_it(tmp_path: Path) -> None:
    path = moving(tmp_path / "a.mp4", seconds=2)
    report = DecodeReport()
    assert len(list(frames_at(path, step_ms=1000, report=report))) == 2 and report.plan == ""
    path = moving(tmp_path / "a.avi", seconds=2)
    assert len(list(frames_at(path, step_ms=1000, report=report))) == 2 and "presentation times" in report.plan


def test_starting_late_gives_the_same_frames_as_coming_by(tmp_path: Path) -> None:
    path = moving(tmp_path / "long.mp4", seconds=30)
    for mode in ("exact", "keyframe"):
        whole = {f.time_ms: f for f in frames_at(path, range(0, 30_000, 700), mode=mode)}
        late = list(frames_at(path, list(whole)[25:], mode=mode))
        assert late and late[0].time_ms == 17_500
        for frame in late:
            assert frame.pts_ms == whole[frame.time_ms].pts_ms
            np.testing.assert_array_equal(frame.rgb, whole[frame.time_ms].rgb)


def test_the_backends_agree_on_frames_and_nearly_on_pixels(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    source = ffmpeg.input("mandelbrot=size=256x144:rate=30", format="lavfi", t=3)
    run(ffmpeg.output(source, str(path), vcodec="libx264", g=30, bf=3, pix_fmt="yuv420p"))
    for mode in ("exact", "keyframe"):
        ours, theirs = (list(frames_at(path, step_ms=400, shortest=64, mode=mode, backend=b)) for b in BACKENDS)
        assert [(f.time_ms, f.pts_ms) for f in ours] == [(f.time_ms, f.pts_ms) for f in theirs] and len(ours) == 8
        for a, b in zip(ours, theirs, strict=True):
            assert np.abs(a.rgb.astype(int) - b.rgb).mean() < 3


@pytest.mark.parametrize("backend", BACKENDS)
def test_rotation_is_honoured(tmp_path: Path, backend: str) -> None:
    plain = tmp_path / "plain.mp4"
    source = ffmpeg.input("color=black:size=64x32:rate=25:duration=1", format="lavfi")
    source = source.filter("drawbox", x=0, y=0, w=32, h=16, color="white", t="fill")  # the top left quarter
    run(ffmpeg.output(source, str(plain), vcodec="libx264", pix_fmt="yuv420p", qp=4))
    corners = {90: "bottom left", 180: "bottom right", 270: "top right"}  # display_rotation is counter-clockwise
    for degrees, bright in corners.items():
        turned = tmp_path / f"turned{degrees}.mp4"
        run(ffmpeg.output(ffmpeg.input(str(plain), display_rotation=degrees), str(turned), vcodec="copy"))
        rgb = next(iter(frames_at(turned, [0], backend=backend))).rgb
        height, width = rgb.shape[:2]
        assert (width, height) == ((64, 32) if degrees == 180 else (32, 64))
        half_y, half_x = height // 2, width // 2
        quarters = {
            "top left": rgb[:half_y, :half_x],
            "top right": rgb[:half_y, half_x:],
            "bottom left": rgb[half_y:, :half_x],
            "bottom right": rgb[half_y:, half_x:],
        }
        assert max(quarters, key=lambda name: float(quarters[name].mean())) == bright
        info = probe(turned)
        assert (info.width, info.height, info.rotation) == (width, height, 360 - degrees)


@pytest.mark.parametrize("backend", BACKENDS)
def test_pixels_that_are_not_square_are_made_so(tmp_path: Path, backend: str) -> None:
    path = counted(tmp_path / "wide.mp4", seconds=1, size="64x64", aspect="2:1")
    assert next(iter(frames_at(path, [0], shortest=32, backend=backend))).rgb.shape == (32, 64, 3)


def test_a_cut_video_gives_what_there_is_and_says_where_it_ends(tmp_path: Path) -> None:
    whole = moving(tmp_path / "whole.mp4", seconds=8, movflags="+faststart")
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    for mode in ("exact", "keyframe"):
        report = DecodeReport()
        found = list(frames_at(cut, range(0, 8000, 1000), mode=mode, report=report))
        assert 2 <= len(found) <= 6
        assert report.declared_ms == 8000
        assert report.end_ms is not None and found[-1].time_ms < report.end_ms < 7000


def test_damage_in_the_middle_costs_no_later_frame(tmp_path: Path) -> None:
    path = moving(tmp_path / "whole.ts", seconds=6)
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third : third + 3000] = bytes(3000)
    path.write_bytes(data)
    report = DecodeReport()
    found = list(frames_at(path, range(0, 6000, 1000), report=report))
    assert [f.time_ms for f in found] == [0, 1000, 2000, 3000, 4000, 5000]
    assert report.num_errors or report.num_damaged or report.plan


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_no_video_has_a_reason(tmp_path: Path, backend: str) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("not a video")
    sound = tmp_path / "sound.wav"
    run(ffmpeg.output(ffmpeg.input("sine=duration=1", format="lavfi"), str(sound)))
    empty = tmp_path / "empty.mp4"
    empty.touch()
    for path, error_class in ((text, "unreadable-video"), (sound, "no-video-stream"), (empty, "unreadable-video")):
        with pytest.raises(BadRecording) as caught:
            list(frames_at(path, [0], backend=backend))
        assert caught.value.error_class == error_class
    for path in (tmp_path, tmp_path / "absent.mp4"):
        with pytest.raises(MissingInput, match="no video file"):
            list(frames_at(path, [0], backend=backend))


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    for arguments in (
        {},
        {"times_ms": [0], "step_ms": 5},
        {"step_ms": 0},
        {"times_ms": [5, 5]},
        {"times_ms": [-1]},
        {"times_ms": [0], "mode": "fast"},
        {"times_ms": [0], "backend": "cv"},
    ):
        with pytest.raises(UsageError):
            frames_at(tmp_path / "x.mp4", **arguments)  # type: ignore[arg-type]
    assert list(frames_at(tmp_path / "x.mp4", [])) == []


def test_probe_tells_size_codec_and_length(tmp_path: Path) -> None:
    info = probe(moving(tmp_path / "a.mp4", seconds=2))
    assert (info.has_video, info.width, info.height, info.codec, info.duration_ms) == (True, 128, 96, "h264", 2000)
    assert info.fps == 30 and info.first_pts == 0 and info.rotation == 0 and info.reason == ""
    raw = moving(tmp_path / "raw.h264", seconds=2)  # no container: no times and no duration
    assert probe(raw).has_video


def test_scaling_keeps_the_shape_as_torchvision_does() -> None:
    assert shortest_side(640, 360, None, 224) == (398, 224)
    assert shortest_side(360, 640, None, 224) == (224, 398)
    assert shortest_side(720, 576, Fraction(64, 45), 224) == (398, 224)
    assert shortest_side(100, 100, None, 224) == (224, 224)


def test_a_plan_picks_the_last_time_not_later() -> None:
    plan = Plan(iter([Fraction(0), Fraction(5), Fraction(9), Fraction(25)]), zero=0)
    assert plan.wanted({0, 4, 6, 9}, until=20) == {0, 4, 9}
    assert plan.wanted({20, 30}, until=None) == {20} and plan.done
    with pytest.raises(PlanFailed):
        Plan(iter([Fraction(1)]), zero=0).wanted({5}, until=None)
    assert list(groups(iter([]))) == []
