"""`videochat doctor`: what a crawl needs, what is there, and (only when asked) which method works today.

    for finding in check(Path("videochat-data"), probe=True): print(finding.name, finding.state, finding.detail)

Without `probe` nothing is asked of any network. No credential is shown.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from ..errors import VideochatError
from .helix import CLIENT_ID, CLIENT_SECRET, HOW_TO_GET, Helix
from .scrub import scrub

MIN_FREE_BYTES = 2 << 30  # an evening of 360p takes about 1 GB, and is held twice while it is put together
BYTES_PER_HOUR = 300 << 20  # of 360p at about 0.7 Mbit/s
PACKAGES = ("yt-dlp", "chat-downloader", "requests", "av")
PROBE_LOGIN = "twitch"  # Twitch's own channel: it has always had VODs


@dataclass(frozen=True, kw_only=True)
class Finding:
    """state: "ok", "note" (something will not work, a crawl does) or "bad" (a crawl will fail); fix: what to do."""

    name: str
    state: str
    detail: str
    fix: str = ""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def check(data: Path, *, probe: bool = False) -> list[Finding]:
    """All findings, in the order of what a crawl needs first."""
    checks: list[Callable[[], Iterator[Finding]]] = [_packages, _ffmpeg, lambda: _disk(data), lambda: _workspace(data)]
    findings = [finding for one in checks for finding in one()]
    findings += _credentials()
    if probe:
        findings += _live()
    return findings


def findings_text(findings: list[Finding]) -> str:
    """A line for each finding, and below it what to do."""
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.state:<5} {finding.name.ljust(width)}  {finding.detail}")
        if finding.fix:
            lines.append(f"      {' ' * width}  fix: {finding.fix}")
    return "\n".join(lines)


def _packages() -> Iterator[Finding]:
    for name in PACKAGES:
        try:
            yield Finding(name=name, state="ok", detail=metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding(name=name, state="bad", detail="not installed", fix=f"pip install {name}")


def _ffmpeg() -> Iterator[Finding]:
    from ..frames.video import ffmpeg_path

    try:
        path = ffmpeg_path()
        answer = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=20, check=True)
    except (VideochatError, OSError, subprocess.SubprocessError) as error:
        yield Finding(name="ffmpeg", state="bad", detail=scrub(str(error)), fix="pip install imageio-ffmpeg")
        return
    yield Finding(name="ffmpeg", state="ok", detail=answer.stdout.split(" Copyright")[0])


def _disk(data: Path) -> Iterator[Finding]:
    folder = next(parent for parent in (data.absolute(), *data.absolute().parents) if parent.is_dir())
    free = shutil.disk_usage(folder).free
    detail = f"{free / (1 << 30):.1f} GiB free, about {free / BYTES_PER_HOUR:,.0f} hours of 360p"
    if not os.access(folder, os.W_OK):
        yield Finding(name="disk", state="bad", detail=f"{folder} cannot be written", fix="pass another --data")
    elif free < MIN_FREE_BYTES:
        yield Finding(name="disk", state="bad", detail=detail, fix="make room or pass another --data")
    else:
        yield Finding(name="disk", state="ok", detail=detail)


def _workspace(data: Path) -> Iterator[Finding]:
    from ..rights.record import read_record
    from ..workspace import Workspace

    if not (data / "workspace.toml").is_file():
        yield Finding(name="workspace", state="note", detail=f"none at {data}: the first crawl makes it")
        return
    try:
        workspace = Workspace.open(data)
        record = read_record(workspace)
    except VideochatError as error:
        yield Finding(name="workspace", state="bad", detail=error.what, fix=error.fix)
        return
    yield Finding(name="workspace", state="ok", detail=str(data))
    if not record.stated_at:
        yield Finding(
            name="rights", state="note", detail="nobody has stated the right to collect",
            fix="pass --i-may-collect-this to the first crawl",
        )  # fmt: skip
    elif record.expired():
        yield Finding(
            name="rights", state="bad", detail=f"the data was to be kept until {record.retain_until}",
            fix="run `videochat purge --expired`",
        )  # fmt: skip
    else:
        yield Finding(name="rights", state="ok", detail=f"stated at {record.stated_at}")


def _credentials() -> Iterator[Finding]:
    missing = [name for name in (CLIENT_ID, CLIENT_SECRET) if not os.environ.get(name, "").strip()]
    if missing:
        detail = f"no {', '.join(missing)}: named VODs work, recipes do not"
        yield Finding(name="credentials", state="note", detail=detail, fix=HOW_TO_GET)
    else:
        yield Finding(name="credentials", state="ok", detail=f"{CLIENT_ID} and {CLIENT_SECRET} are set")


# -- the live endpoints


def _live() -> Iterator[Finding]:
    if not [finding for finding in _credentials() if finding.state != "ok"]:
        yield _tried("helix", _helix)
    video_id = ""

    def listing() -> str:
        nonlocal video_id
        video_id = _newest_vod()
        return "a channel's VODs are listed"

    yield _tried("channel listing", listing)
    if not video_id:
        return
    yield _tried("metadata", lambda: _ask("VideoMetadata", {"channelLogin": "", "videoID": video_id}))
    comments = {"videoID": video_id, "contentOffsetSeconds": 0}
    yield _tried("chat by offset", lambda: _ask("VideoCommentsByOffsetOrCursor", comments))
    yield _tried("chat by cursor", lambda: _cursor(video_id), otherwise="note")
    yield _tried("video", lambda: _renditions(video_id))


def _tried(name: str, work: Callable[[], str], otherwise: str = "bad") -> Finding:
    try:
        return Finding(name=name, state="ok", detail=work())
    except VideochatError as error:
        return Finding(name=name, state=otherwise, detail=scrub(error.what), fix=scrub(error.fix))


def _helix() -> str:
    Helix.from_environment().check()
    return "the credentials give a token"


def _newest_vod() -> str:
    from .targets import Target, resolve

    for vod in resolve([Target(kind="channel", platform="twitch", id=PROBE_LOGIN)]):
        return vod.id
    raise VideochatError(f"the channel {PROBE_LOGIN!r} has no VODs to probe with")


def _ask(operation: str, variables: dict[str, Any]) -> str:
    """Ask one operation as a crawl would; how it was answered."""
    from .twitch_graphql import GraphQLClient, Retry

    client = GraphQLClient(retry=Retry(max_attempts=2))
    with client.session:
        video = client.call(operation, variables).get("video")
    if video is None:
        raise VideochatError(f"{operation} knows no such VOD")
    if operation == "VideoCommentsByOffsetOrCursor" and video.get("comments") is None:
        raise VideochatError("comments are withheld (comments: null)", fix="import a TwitchDownloader file instead")
    rotated = operation in client.rotated
    return "works by its text; the persisted hash is out of date" if rotated else "works by its persisted hash"


def _cursor(video_id: str) -> str:
    from .twitch_graphql import GraphQLClient, Retry

    client = GraphQLClient(retry=Retry(max_attempts=2))
    with client.session:
        first = client.call("VideoCommentsByOffsetOrCursor", {"videoID": video_id, "contentOffsetSeconds": 0})
        edges = ((first.get("video") or {}).get("comments") or {}).get("edges") or []
        if not edges:
            return "not tried: this VOD has no chat"
        cursor = edges[-1].get("cursor")
        following = client.call("VideoCommentsByOffsetOrCursor", {"videoID": video_id, "cursor": cursor})
    if (following.get("video") or {}).get("comments") is None:
        raise VideochatError("cursors are refused", fix="nothing to do: a crawl goes on by offset")
    return "works"


def _renditions(video_id: str) -> str:
    from .describe import describe

    formats = describe(f"https://www.twitch.tv/videos/{video_id}", formats=True).formats
    rows = sorted({int(row["height"]) for row in formats if row.get("height")})
    if not rows:
        raise VideochatError("no rendition is offered")
    return f"{len(rows)} renditions, {rows[0]} to {rows[-1]} rows"
