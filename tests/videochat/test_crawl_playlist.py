"""HLS playlists on the VOD's clock, and fragments of all kinds joined into one file."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videochat.crawl.fragments import Piece
from videochat.crawl.join import JoinReport, join
from videochat.crawl.playlist import Playlist, parse_playlist
from videochat.crawl.video_audit import Pictures, audit_video, gaps, shown_pictures
from videochat.errors import BadRecording
from videochat.frames.video import ffmpeg_path

URL = "https://d1.cloudfront.net/abc_streamer_1/360p30/index-dvr.m3u8"
SIZE = "64x48"


def playlist_text(*entries: str, end: bool = True) -> str:
    return "\n".join(["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:10", *entries, *["#EXT-X-ENDLIST"] * end])


def numbered(*numbers: int, seconds: float = 10.0) -> Playlist:
    return parse_playlist(playlist_text(*(f"#EXTINF:{seconds},\n{number}.ts" for number in numbers)), URL)


def test_times_are_sums_that_do_not_drift() -> None:
    playlist = numbered(*range(3000), seconds=10.0004)
    assert playlist.is_closed and len(playlist.fragments) == 3000
    assert playlist.end_ms == round(3000 * 10.0004 * 1000)
    assert all(a.end_ms == b.start_ms for a, b in zip(playlist.fragments, playlist.fragments[1:], strict=False))
    assert [part.index for part in playlist.within(20_000, 30_000)] == [1, 2]
    assert playlist.within(0, 0) == [] and playlist.within(40_000_000, 50_000_000) == []


def test_names_of_muted_fragments() -> None:
    text = playlist_text(
        "#EXTINF:10,", "0.ts", "#EXTINF:10,", "1-unmuted.ts?a=1-unmuted.ts", "#EXTINF:5,", "2-muted.ts"
    )
    playlist = parse_playlist(text, URL)
    assert playlist.muted_ms == ((10_000, 25_000),)
    assert [part.muted_url for part in playlist.fragments] == [
        None,
        "https://d1.cloudfront.net/abc_streamer_1/360p30/1-muted.ts?a=1-unmuted.ts",
        None,
    ]
    assert [part.number for part in playlist.fragments] == [0, 1, 2]


def test_byte_ranges_initialisations_and_breaks() -> None:
    text = playlist_text(
        *('#EXT-X-MAP:URI="init.mp4",BYTERANGE="700@0"', "#EXTINF:4,", "#EXT-X-BYTERANGE:1000@700", "all.mp4"),
        *("#EXTINF:4,", "#EXT-X-BYTERANGE:500", "all.mp4", "#EXT-X-DISCONTINUITY"),
        *('#EXT-X-MAP:URI="other.mp4"', "#EXTINF:2,", "b.m4s"),
        end=False,
    )
    first, second, third = parse_playlist(text, URL).fragments
    assert first.byte_range == (700, 1700) and second.byte_range == (1700, 2200) and third.byte_range is None
    assert first.init == second.init and first.init is not None and first.init.byte_range == (0, 700)
    assert third.init is not None and third.init.url.endswith("/360p30/other.mp4")
    assert [part.after_break for part in (first, second, third)] == [False, False, True]
    assert not parse_playlist(text, URL).is_closed


@pytest.mark.parametrize(
    "text",
    ["", "<html><body>Error</body></html>", "#EXTM3U\n0.ts", "#EXTM3U\n#EXTINF:ten,\n0.ts", "#EXTM3U\n#EXTINF:10,"],
)
def test_what_is_no_playlist_is_refused(text: str) -> None:
    with pytest.raises(BadRecording) as caught:
        parse_playlist(text, URL)
    assert caught.value.error_class == "bad-playlist"


def test_encrypted_video_is_refused() -> None:
    with pytest.raises(BadRecording, match="encrypted"):
        parse_playlist(playlist_text('#EXT-X-KEY:METHOD=AES-128,URI="k"', "#EXTINF:1,", "0.ts"), URL)
    assert parse_playlist(playlist_text("#EXT-X-KEY:METHOD=NONE", "#EXTINF:1,", "0.ts"), URL).fragments


@given(
    st.lists(
        st.sampled_from(["#EXTINF:", "#EXT-X-MAP:", "#EXT-X-BYTERANGE:", "#EXT-X-KEY:", 'URI="', "METHOD=", "@"])
        | st.sampled_from(["1.ts", "2-unmuted.ts", "https://[", "10", "-1", "nan", "inf", ",", "\n"])
        | st.text(max_size=5)
    )
)
def test_no_text_breaks_the_parser(tokens: list[str]) -> None:
    with contextlib.suppress(BadRecording):
        playlist = parse_playlist("#EXTM3U\n" + "".join(tokens), URL)
        assert playlist.placed(10_000).end_ms >= playlist.end_ms >= 0


def test_holes_in_the_numbers_move_what_follows_if_the_length_agrees() -> None:
    playlist = numbered(0, 1, 4, 5)
    assert playlist.placed(40_000) is playlist  # nothing is missing by the declared length
    moved = playlist.placed(60_000)
    assert [part.start_ms for part in moved.fragments] == [0, 10_000, 40_000, 50_000]
    assert moved.holes_ms == ((20_000, 40_000),) and moved.end_ms == 60_000 and moved.fragments[2].after_break
    assert numbered(2, 3).placed(40_000).holes_ms == ((0, 20_000),)
    assert numbered(5, 4, 3).placed(90_000).holes_ms == ()  # numbers that say nothing
    assert parse_playlist(playlist_text(), URL).placed(1000).fragments == ()


# Joining


def ffmpeg(*arguments: str | Path) -> None:
    subprocess.run([ffmpeg_path(), "-v", "error", "-y", *map(str, arguments)], check=True, timeout=60)


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ts/, fmp4/ and other/: 12 s of a test picture at 10 frames a second in fragments of 4 s; other/ is wider."""
    folder = tmp_path_factory.mktemp("fragments")
    for name, size, kind in (("ts", SIZE, "mpegts"), ("fmp4", SIZE, "fmp4"), ("other", "96x48", "mpegts")):
        (folder / name).mkdir()
        ffmpeg(
            *("-f", "lavfi", "-i", f"testsrc=size={size}:rate=10:duration=12"),
            *("-f", "lavfi", "-i", "sine=frequency=330:sample_rate=48000:duration=12"),
            *("-c:v", "libx264", "-preset", "veryfast", "-g", "20", "-sc_threshold", "0", "-pix_fmt", "yuv420p"),
            *("-threads", "1", "-c:a", "aac", "-f", "hls", "-hls_time", "4", "-hls_playlist_type", "vod"),
            *(
                "-hls_segment_type",
                kind,
                "-hls_segment_filename",
                folder / name / f"%d.{'ts' if kind == 'mpegts' else 'm4s'}",
            ),
            folder / name / "index.m3u8",
        )
    return folder


def pieces(folder: Path, *, breaks: tuple[int, ...] = (), leave_out: tuple[int, ...] = ()) -> list[Piece]:
    playlist = parse_playlist((folder / "index.m3u8").read_text(), "https://host/x/index.m3u8")
    found = []
    for part in playlist.fragments:
        path = folder / Path(part.url).name
        init = folder / Path(part.init.url).name if part.init else None
        if part.index not in leave_out:
            found.append(Piece(fragment=replace(part, after_break=part.index in breaks), path=path, init=init))
    return found


def decoded(path: Path) -> list[tuple[int, str]]:
    """(ms, digest) of every picture that is shown."""
    import av

    with av.open(str(path)) as container:
        return [
            (round(float(frame.pts * frame.time_base) * 1000), hashlib.md5(frame.to_ndarray().tobytes()).hexdigest())
            for frame in container.decode(video=0)
        ]


@pytest.mark.parametrize("kind", ["ts", "fmp4"])
def test_whole_and_range_of_either_kind(media: Path, tmp_path: Path, kind: str) -> None:
    whole, part = tmp_path / "whole.mp4", tmp_path / "part.mp4"
    report = join(pieces(media / kind), 0, None, whole)
    assert report.first_ms == 0 and report.num_packets == 120 and report.has_sound and not report.steps_ms
    assert max(abs(drift) for _, drift in report.drifts_ms) < 1
    reference = dict(decoded(whole))
    assert sorted(reference) == list(range(0, 12_000, 100))
    report = join(pieces(media / kind), 5_030, 9_000, part)
    assert report.first_ms == pytest.approx(5_100, abs=0.1)
    shown = {time + 5_100: value for time, value in decoded(part)}
    assert shown.items() <= reference.items() and set(shown) >= set(range(5_100, 9_000, 100))
    assert max(shown) <= 9_300  # pictures that later ones are decoded from may lie behind the end


def test_sound_stays_with_the_pictures(media: Path, tmp_path: Path) -> None:
    import av

    path = tmp_path / "part.mp4"
    join(pieces(media / "ts"), 5_000, 9_000, path)
    with av.open(str(path)) as container:
        times = [p.pts * p.time_base for p in container.demux(audio=0) if p.pts is not None and not p.is_discard]
    assert 0 <= float(min(times)) < 0.05 and 3.9 < float(max(times)) < 4.1


def test_timestamps_that_start_anew_go_by_the_playlist(media: Path, tmp_path: Path) -> None:
    """0, 1, then the same two again as if an encoder had restarted: 16 s that run on."""
    first, second, _ = pieces(media / "ts")
    playlist = parse_playlist(
        playlist_text(
            *("#EXTINF:4,\n0.ts", "#EXTINF:4,\n1.ts", "#EXT-X-DISCONTINUITY", "#EXTINF:4,\n2.ts", "#EXTINF:4,\n3.ts")
        ),
        URL,
    )
    again = [replace(piece, fragment=part) for piece, part in zip([first, second] * 2, playlist.fragments, strict=True)]
    report = join(again, 0, None, tmp_path / "again.mp4")
    assert report.steps_ms == [(8000, pytest.approx(-8000, abs=50))]
    shown = decoded(tmp_path / "again.mp4")
    assert [time for time, _ in shown] == list(range(0, 16_000, 100))
    assert [value for _, value in shown[:80]] == [value for _, value in shown[80:]]
    untagged = [replace(piece, fragment=replace(piece.fragment, after_break=False)) for piece in again]
    report = join(untagged, 0, None, tmp_path / "untagged.mp4")
    assert len(report.steps_ms) == 1 and len(decoded(tmp_path / "untagged.mp4")) == 160


def test_another_size_after_a_break(media: Path, tmp_path: Path) -> None:
    import av

    first, second, third = pieces(media / "ts", breaks=(1, 2))
    mixed = [first, replace(second, path=media / "other" / "1.ts"), third]
    join(mixed, 0, None, tmp_path / "mixed.mp4")
    with av.open(str(tmp_path / "mixed.mp4")) as container:
        widths = [frame.width for frame in container.decode(video=0)]
    assert widths == [64] * 40 + [96] * 40 + [64] * 40


def test_the_audit_sees_what_is_missing(media: Path, tmp_path: Path) -> None:
    path = tmp_path / "hole.mp4"
    report = join(pieces(media / "ts", leave_out=(1,)), 0, None, path)
    audit = audit_video(path, (0, 12_000), report, declared_ms=12_000, playlist_ms=12_000, num_fragments=2)
    assert audit.gaps_ms == ((4_000, 8_000),) and audit.missing_ms == 4_000 and not audit.is_complete
    assert audit.reasons == ("missing-video: 4.0 s of 12.0 s",)
    assert decoded(path)[40][0] == 8_000  # what follows stays where it belongs
    short = audit_video(path, (0, 12_000), report, declared_ms=60_000, playlist_ms=12_000, num_fragments=2)
    assert any(reason.startswith("short-video") for reason in short.reasons)
    tail = tmp_path / "tail.mp4"
    report = join(pieces(media / "ts", leave_out=(2,)), 0, None, tail)
    audit = audit_video(tail, (0, 12_000), report, declared_ms=0, playlist_ms=0, num_fragments=2)
    assert audit.gaps_ms == ((8_000, 12_000),)


def test_the_audit_estimates_desync(media: Path, tmp_path: Path) -> None:
    """A playlist that says 4.5 s for fragments of 4 s is a second and more behind after three of them."""
    slow = [
        replace(piece, fragment=replace(piece.fragment, start_ms=at * 4500, end_ms=at * 4500 + 4500))
        for at, piece in enumerate(pieces(media / "ts"))
    ]
    report = join(slow, 0, None, tmp_path / "slow.mp4")
    audit = audit_video(tmp_path / "slow.mp4", (0, 13_500), report, declared_ms=0, playlist_ms=0, num_fragments=3)
    assert audit.desync_ms == pytest.approx(-1000, abs=1) and "3 fragments" in audit.desync_method
    assert decoded(tmp_path / "slow.mp4")[-1][0] == 11_900  # no second is cut or doubled for it


def test_what_is_no_media_has_a_reason(media: Path, tmp_path: Path) -> None:
    (tmp_path / "0.ts").write_bytes(b"\x47" + bytes(187))
    with pytest.raises(BadRecording) as caught:
        join([replace(pieces(media / "ts")[0], path=tmp_path / "0.ts")], 0, None, tmp_path / "x.mp4")
    assert caught.value.error_class in ("unreadable-video", "no-video-stream")
    with pytest.raises(BadRecording) as caught:
        join(pieces(media / "ts"), 60_000, 70_000, tmp_path / "x.mp4")
    assert caught.value.error_class == "no-pictures"
    assert not (tmp_path / "x.mp4").exists() and not list(tmp_path.glob(".x*"))


def test_gaps_by_hand() -> None:
    import numpy as np

    def missing(*times: float) -> tuple[tuple[int, int], ...]:
        return gaps(Pictures(times_ms=np.array(times), usual_ms=100.0), times[0], 0, 5000)

    assert missing(*range(0, 5000, 100)) == ()
    assert missing(*range(0, 2000, 100), *range(4000, 5000, 100)) == ((2000, 4000),)
    assert missing(*range(2000, 5000, 100)) == ((0, 2000),)
    assert missing(*range(0, 1000, 100)) == ((1000, 5000),)
    assert missing(*range(0, 5000, 900)) == ()  # within a second


def test_pictures_of_a_file_without_any(tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", tmp_path / "sound.m4a")
    with pytest.raises(BadRecording) as caught:
        shown_pictures(tmp_path / "sound.m4a")
    assert caught.value.error_class == "no-video-stream"
    assert JoinReport().first_ms is None


@pytest.mark.fixtures
def test_real_playlists_are_read_or_refused(real: Path) -> None:
    kinds = {}
    for path in sorted((real / "twitch" / "hls").glob("*.m3u8")):
        try:
            playlist = parse_playlist(path.read_text(), URL)
            kinds[path.name] = len(playlist.fragments)
        except BadRecording as error:
            kinds[path.name] = error.error_class
    assert kinds["test_simple_media.m3u8"] == 3 and kinds["test_date.m3u8"] == 4
    assert kinds["test_master_twitch_vod.m3u8"] == "bad-playlist"  # names of renditions, not fragments
    assert kinds["clean-discontinuity.m3u8"] == 2
