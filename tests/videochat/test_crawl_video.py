"""Video of VODs from the loopback Twitch, by the real yt-dlp: ranges, muted parts, faults, audits, resume."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import pytest

from videochat.crawl.limits import HostLimits, Rate
from videochat.crawl.twitch_graphql import Retry
from videochat.crawl.video import VideoFetch, choose_rendition, fetch_video
from videochat.errors import BadRecording, UsageError
from videochat.frames.video import probe

URL = "https://www.twitch.tv/videos/1234567890"
FAST = HostLimits({}, Rate(per_second=10_000, burst=10_000))
IMPATIENT = Retry(max_attempts=4, first_wait_s=0.01, longest_wait_s=0.05)


def fetch(folder: Path, **options: Any) -> VideoFetch:
    return fetch_video(URL, folder, **{"limits": FAST, "retry": IMPATIENT, **options})


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pictures(path: Path, start_ms: float) -> dict[int, str]:
    """Digest of each decoded picture by its time on the VOD's clock, if the file's first picture is at start_ms."""
    import av

    with av.open(str(path)) as container:
        shown = [
            (float(frame.pts * frame.time_base), hashlib.md5(frame.to_ndarray().tobytes()).hexdigest())
            for frame in container.decode(video=0)
        ]
    return {round(start_ms + (time - shown[0][0]) * 1000): value for time, value in shown}


def segments(twitch: Any, status: int | None = None) -> list[int]:
    return sorted(row["segment"] for row in twitch.fragments() if status in (None, row["status"]))


def test_a_whole_vod(twitch: Any, tmp_path: Path) -> None:
    twitch.add_vod(twitch.Vod(duration_s=60, chapters=[(0, "Minecraft"), (30, "Art")], title="Evening"))
    fetched = fetch(tmp_path)
    ((span, path),) = fetched.files
    assert span == (0, 60_000)
    info = probe(path)
    assert (info.duration_ms, info.width, info.height, info.codec) == (60_000, 640, 360, "h264")
    assert fetched.info.channel == "streamer" and fetched.info.title == "Evening"
    assert [(chapter.start_ms, chapter.category) for chapter in fetched.info.chapters] == [
        (0, "Minecraft"),
        (30_000, "Art"),
    ]
    assert fetched.info.category_at(30_000)[0] == "Art"
    audit = fetched.audit
    assert audit.is_complete and audit.num_pictures == 600 and audit.num_fragments == 6 and audit.has_sound
    assert audit.desync_ms == pytest.approx(0, abs=1) and audit.missing_ms == 0 and audit.playlist_ms == 60_000
    assert not twitch.foreign
    assert sorted(item.name for item in tmp_path.iterdir()) == ["fetch.json", "video.mp4"]


def test_ranges_show_the_same_pictures_at_the_same_times(twitch: Any, tmp_path: Path) -> None:
    twitch.add_vod(twitch.Vod(duration_s=60))
    whole = fetch(tmp_path / "whole")
    reference = pictures(whole.files[0][1], 0)
    twitch.requests.clear()
    parts = fetch(tmp_path / "parts", ranges_ms=[(7_000, 14_300), (15_550, 31_000)])
    assert [path.name for _, path in parts.files] == ["video-t7.mp4", "video-t15.550.mp4"]
    assert segments(twitch) == [0, 1, 2, 3]  # the second one is in both ranges, and fetched once
    for (start_ms, end_ms), (span, path) in zip([(7_000, 14_300), (15_550, 31_000)], parts.files, strict=True):
        shown = pictures(path, span[0])
        assert shown.items() <= reference.items()
        assert 0 <= span[0] - start_ms < 100 and abs(span[1] - end_ms) <= 300  # pictures are 100 ms apart
        assert set(range(span[0], end_ms, 100)) <= set(shown)
        assert probe(path).first_pts is not None


def test_a_finished_fetch_asks_for_nothing(twitch: Any, tmp_path: Path) -> None:
    twitch.add_vod(twitch.Vod(duration_s=30))
    first = fetch(tmp_path, ranges_ms=[(0, 15_000)])
    num_requests = len(twitch.requests)
    assert fetch(tmp_path, ranges_ms=[(0, 15_000)]) == first
    assert len(twitch.requests) == num_requests
    fetch(tmp_path, ranges_ms=[(0, 25_000)])  # another wish is another fetch
    assert len(twitch.requests) > num_requests


@pytest.mark.slow
def test_equal_fragments_give_equal_bytes(twitch: Any, tmp_path: Path) -> None:
    twitch.add_vod(twitch.Vod(duration_s=30))
    one, two = (fetch(tmp_path / name, num_workers=workers) for name, workers in (("one", 1), ("two", 6)))
    assert digest(one.files[0][1]) == digest(two.files[0][1])


@pytest.mark.slow
@pytest.mark.parametrize(("min_rows", "rows"), [(1, 160), (160, 160), (161, 360), (224, 360), (1000, 360)])
def test_the_smallest_rendition_with_enough_rows(twitch: Any, tmp_path: Path, min_rows: int, rows: int) -> None:
    twitch.add_vod(twitch.Vod(duration_s=10))
    fetched = fetch(tmp_path, min_rows=min_rows)
    assert fetched.audit.height == rows
    assert any("small-rendition" in note for note in fetched.audit.notes) == (rows < min_rows)


def test_muted_parts_are_fetched_without_sound_and_recorded(twitch: Any, tmp_path: Path) -> None:
    twitch.add_vod(twitch.Vod(duration_s=60, muted=[(20, 40)]))
    twitch.fault("muted-403")
    fetched = fetch(tmp_path, num_workers=1)
    assert fetched.info.muted_ms == ((20_000, 40_000),)
    assert fetched.audit.muted_ms == 20_000 and fetched.audit.is_complete and fetched.audit.num_pictures == 600
    assert segments(twitch, 403) == [2]  # refused once, then the muted name is asked for at once
    part = fetch(tmp_path / "part", ranges_ms=[(35_000, 45_000)])
    assert part.audit.muted_ms == 5_000 and part.info.muted_within(35_000, 45_000) == ((35_000, 40_000),)


def test_a_cut_connection_is_tried_again(twitch: Any, tmp_path: Path) -> None:
    twitch.add_vod(twitch.Vod(duration_s=40))
    untouched = digest(fetch(tmp_path / "untouched").files[0][1])
    twitch.requests.clear()
    twitch.fault("cut", segment=2, times=2)
    assert digest(fetch(tmp_path / "cut").files[0][1]) == untouched
    assert segments(twitch) == [0, 1, 2, 2, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("server-error", {"host": "media", "times": 3}),
        ("rate-limit", {"host": "media", "times": 1, "retry_after_s": 1}),
        ("html-page", {"host": "media", "times": 2}),
        ("truncated-json", {"host": "media", "times": 2, "fraction": 0.5013}),
        ("server-error", {"host": "usher", "times": 2}),
        ("html-page", {"host": "usher", "times": 2}),
        ("server-error", {"times": 2}),
        ("rotated-hashes", {}),
    ],
)
def test_what_passes_costs_nothing(twitch: Any, tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    twitch.add_vod(twitch.Vod(duration_s=40))
    fault = twitch.fault(name, **options)
    fetched = fetch(tmp_path)
    assert fault.struck and fetched.audit.is_complete and fetched.audit.num_pictures == 400
    assert getattr(fault, "violations", 0) <= 4  # only requests that were under way when the first one was refused


def test_a_fragment_that_is_gone_is_an_error_and_never_a_hole(twitch: Any, tmp_path: Path) -> None:
    twitch.add_vod(twitch.Vod(duration_s=60))
    untouched = digest(fetch(tmp_path / "untouched").files[0][1])
    fault = twitch.fault("missing-fragment", segment=4)
    with pytest.raises(BadRecording, match=r"fragment 4.*404") as caught:
        fetch(tmp_path / "hole", num_workers=2)
    assert caught.value.error_class == "missing-fragment"
    assert not list((tmp_path / "hole").glob("*.mp4"))
    kept = {int(path.name[:6]) for path in (tmp_path / "hole").glob("fragments-*/*.ts")}
    assert kept >= {0, 1, 2}
    fault.remove()
    twitch.requests.clear()
    assert digest(fetch(tmp_path / "hole").files[0][1]) == untouched
    assert set(segments(twitch)) == set(range(6)) - kept  # nothing was fetched a second time


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "error_class"),
    [
        ("cut", {"segment": 1}, "fragment-failed"),
        ("html-page", {"host": "media", "segment": 1}, "fragment-failed"),
        ("server-error", {"host": "media", "segment": 1}, "fragment-failed"),
        ("missing-fragment", {"segment": 1, "status": 403}, "missing-fragment"),
        ("zero-length", {}, "no-pictures"),
        ("gone", {}, "gone"),
        ("restricted", {}, "restricted"),
        ("unauthorized", {}, "unauthorized"),
        ("html-page", {"host": "usher"}, "bad-playlist"),
        ("server-error", {"host": "usher"}, "server-failed"),
    ],
)
def test_what_does_not_pass_has_a_name(
    twitch: Any, tmp_path: Path, name: str, options: dict[str, Any], error_class: str
) -> None:
    twitch.add_vod(twitch.Vod(duration_s=30))
    twitch.fault(name, **options)
    with pytest.raises(BadRecording) as caught:
        fetch(tmp_path)
    assert caught.value.error_class == error_class, caught.value
    assert "sig=" not in str(caught.value) and "token" not in str(caught.value).replace("access token", "")
    assert not list(tmp_path.glob("*.mp4")) and not (tmp_path / "fetch.json").exists()


def test_vods_without_anything(twitch: Any, tmp_path: Path) -> None:
    twitch.add_vod(twitch.Vod(duration_s=0))
    with pytest.raises(BadRecording) as caught:
        fetch(tmp_path)
    assert caught.value.error_class == "zero-length"
    with pytest.raises(BadRecording) as caught:
        fetch_video("https://www.twitch.tv/videos/999", tmp_path, limits=FAST, retry=IMPATIENT)
    assert caught.value.error_class == "gone"
    with pytest.raises(UsageError):
        fetch(tmp_path, ranges_ms=[(5, 5)])


@pytest.mark.slow
def test_a_gap_in_the_playlist_is_seen_measured_and_kept_on_the_clock(twitch: Any, tmp_path: Path) -> None:
    twitch.add_vod(twitch.Vod(duration_s=60))
    reference = pictures(fetch(tmp_path / "whole").files[0][1], 0)
    twitch.add_vod(twitch.Vod(duration_s=60, gaps=[(20, 40)]))
    fetched = fetch(tmp_path / "gap")
    audit = fetched.audit
    assert not audit.is_complete and audit.reasons[0].startswith("missing-video: 20.0 s")
    assert audit.gaps_ms == ((20_000, 40_000),) and audit.missing_ms == 20_000
    shown = pictures(fetched.files[0][1], 0)
    assert shown.items() <= reference.items() and len(shown) == 400  # what follows the gap is where it belongs
    assert not fetched.audits[0].num_squeezed
    with pytest.raises(BadRecording, match="nothing between"):
        fetch(tmp_path / "inside", ranges_ms=[(22_000, 38_000)])


def test_no_token_in_the_log(twitch: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    twitch.add_vod(twitch.Vod(duration_s=20))
    twitch.fault("server-error", host="usher", times=2)
    with caplog.at_level(logging.DEBUG):
        fetch(tmp_path)
    signature = next(row["query"]["sig"] for row in twitch.requests if row["kind"] == "usher")
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("videochat")]
    assert ours and not any(signature in message or "vod_id" in message for message in ours)
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or signature.encode() not in path.read_bytes()


def test_choice_of_a_rendition() -> None:
    def offered(name: str, rows: int, codec: str = "avc1.4D401E", **more: Any) -> dict[str, Any]:
        return {
            "format_id": name,
            "url": "https://x/y",
            "protocol": "m3u8_native",
            "vcodec": codec,
            "width": rows * 16 // 9,
            "height": rows,
            "tbr": rows,
            **more,
        }

    formats = [
        offered("160p", 160),
        offered("vp9", 240, "vp9"),
        offered("av1", 240, "av01.0.00M.08"),
        offered("720p60", 720, tbr=3000),
        offered("720p30", 720, tbr=2000),
        offered("dash", 360, protocol="http_dash_segments_generator"),
        offered("sound", 0, "none"),
        offered("locked", 300, has_drm=True),
        offered("file", 480, protocol="https"),
        offered("480p", 480),
    ]
    assert choose_rendition(formats, 224).id == "480p"
    assert choose_rendition(formats, 500).id == "720p30"
    assert choose_rendition(formats, 5000).rows == 720
    assert choose_rendition(formats, 1).id == "160p"
    assert choose_rendition([offered("tall", 640, width=360)], 224).rows == 360
    with pytest.raises(BadRecording, match=r"H\.264"):
        choose_rendition(formats[1:3], 224)
