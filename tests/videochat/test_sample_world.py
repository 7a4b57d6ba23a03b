"""The simulated screen: what is planned, and that the video shows it."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from videochat.errors import UsageError
from videochat.sample.render import encode, frames, position, render, to_yuv
from videochat.sample.scenes import background
from videochat.sample.sprites import SHAPES, sprite
from videochat.sample.world import ACTIONS, CATEGORIES, COLOURS, OBJECTS, WorldSpec, category, plan_events, windows

SPEC = WorldSpec()
DURATION_MS = 300_000


def test_every_window_of_a_clip_is_busy_and_unambiguous() -> None:
    for index in range(4):
        events = plan_events(SPEC, seed=5, index=index, duration_ms=DURATION_MS)
        assert [e.start_ms for e in events] == sorted(e.start_ms for e in events)
        gaps = [later.start_ms - earlier.end_ms for earlier, later in itertools.pairwise(events)]
        assert min(gaps) >= SPEC.min_gap_ms  # never two at once, always an idle stretch between
        grouped = windows(events)
        for window in range(DURATION_MS // 30_000):
            start = window * 30_000
            inside = grouped[window]
            assert len(inside) >= 5
            assert all(max(0, start - 10_000) <= e.start_ms and e.end_ms <= start + 20_000 for e in inside)
            assert all(2_000 <= e.end_ms - e.start_ms <= 4_000 for e in inside)
            names = [e.object for e in inside + grouped.get(window - 1, [])]
            assert len(set(names)) == len(names)
            assert len({e.colour for e in inside}) == len(inside)  # else the mean of all frames would favour one


def test_all_objects_and_colours_come_up_equally_often() -> None:
    events = [e for index in range(40) for e in plan_events(SPEC, 1, index, 600_000)]
    for choices, shown in ((OBJECTS, [e.object for e in events]), (COLOURS, [e.colour for e in events])):
        counts = np.array([shown.count(choice) for choice in choices])
        expected = len(shown) / len(choices)
        assert counts.sum() == len(shown)
        assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_sprites_stay_inside_the_central_square() -> None:
    left = (SPEC.width - SPEC.height) // 2
    for index in range(10):
        for event in plan_events(SPEC, 2, index, DURATION_MS):
            for time_ms in range(event.start_ms, event.end_ms, SPEC.frame_ms):
                x, y = position(event, time_ms)
                assert left <= x
                assert x + event.size <= left + SPEC.height
                assert y >= 0
                assert y + event.size <= SPEC.height


def test_every_object_has_a_shape_of_its_own_in_its_colour() -> None:
    assert set(SHAPES) == set(OBJECTS)
    assert len(OBJECTS) == 24
    assert len(COLOURS) == 10
    outlines = {name: sprite(name, "red", 64)[..., 3] > 128 for name in OBJECTS}
    for name, shape in outlines.items():
        assert 0.1 < shape.mean() < 0.95
        others = [np.logical_xor(shape, other).mean() for other_name, other in outlines.items() if other_name != name]
        assert min(others) > 0.04, name
    assert sprite("star", "green", 64)[32, 32, 1] > sprite("star", "green", 64)[32, 32, 0]


def test_scenes_differ_by_category_and_by_recording() -> None:
    seen = {background(SPEC, 0, index, name).tobytes() for index, name in enumerate(CATEGORIES)}
    seen |= {background(SPEC, 0, index + 50, name).tobytes() for index, name in enumerate(CATEGORIES)}
    assert len(seen) == 2 * len(CATEGORIES)
    assert category(SPEC, 0) != category(SPEC, 1)


@pytest.mark.parametrize("action", ACTIONS)
def test_objects_move_and_come_back_to_an_empty_scene(action: str) -> None:
    event = next(e for index in range(20) for e in plan_events(SPEC, 3, index, 60_000) if e.action == action)
    scene = to_yuv(background(SPEC, 3, 0, CATEGORIES[0]))
    shown = list(frames(SPEC, scene, [event], event.end_ms + 1000))
    during = shown[event.start_ms // SPEC.frame_ms : event.end_ms // SPEC.frame_ms]
    assert len({planes[0].tobytes() for planes in during}) > 1
    assert all(planes[0].tobytes() != scene[0].tobytes() for planes in during)
    assert shown[event.start_ms // SPEC.frame_ms - 1] is scene
    assert shown[event.end_ms // SPEC.frame_ms] is scene


def test_video_has_its_events_on_time_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    import av

    events = plan_events(SPEC, 7, 1, 60_000)
    for name in ("a.mp4", "b.tmp-12"):
        render(SPEC, 7, 1, "Art", events, 60_000, tmp_path / name)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.tmp-12").read_bytes()
    scene = to_yuv(background(SPEC, 7, 1, "Art"))
    drawn = list(frames(SPEC, scene, events, 60_000))
    with av.open(str(tmp_path / "a.mp4")) as container:
        decoded = [
            (f.pts * f.time_base, f.to_ndarray(), f.to_ndarray(format="rgb24")) for f in container.decode(video=0)
        ]
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (256, 144, 4)
    assert len(decoded) == len(drawn) == 240
    for number, (pts, picture, _) in enumerate(decoded):
        assert pts * 4 == number
        assert np.abs(picture[:144].astype(int) - drawn[number][0]).mean() < 3  # coding noise
    empty = background(SPEC, 7, 1, "Art").astype(int)
    for event in events:
        number = (event.start_ms + event.end_ms) // 2 // SPEC.frame_ms
        x, y = position(event, number * SPEC.frame_ms)
        place = (slice(y, y + event.size), slice(x, x + event.size))
        picture = sprite(event.object, event.colour, event.size)
        seen, mask = decoded[number][2][place].astype(int), picture[..., 3] > 200
        assert np.abs(seen - picture[..., :3])[mask].mean() < 20  # the event's own object in its own colour
        assert np.abs(seen - empty[place])[mask].mean() > 30  # is on screen, and not the empty scene


def test_key_frames_come_every_second(tmp_path: Path) -> None:
    import av

    scene = to_yuv(background(SPEC, 0, 0, "Art"))
    encode(SPEC, frames(SPEC, scene, plan_events(SPEC, 0, 0, 30_000), 30_000), tmp_path / "x.mp4")
    with av.open(str(tmp_path / "x.mp4")) as container:
        keys = [float(p.pts * p.time_base) for p in container.demux(video=0) if p.is_keyframe and p.pts is not None]
    assert keys == [float(second) for second in range(30)]


def test_impossible_worlds_are_refused() -> None:
    for wrong in ({"focal_share": 0.9}, {"reference_rate": 1.5}, {"fps": 3}, {"num_categories": 12}):
        with pytest.raises(UsageError):
            WorldSpec(**wrong)  # type: ignore[arg-type]
