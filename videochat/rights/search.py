"""From a request to everything it means in this workspace: other logins of the same account, recordings, pseudonyms.

wanted, counts = search(workspace, Request(users=("somebody",)))

Reads all raw chat once or twice, changes nothing.
"""

from __future__ import annotations

import dataclasses
import gzip
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from ..errors import BadRecording, UsageError
from ..files import read_json
from ..progress import progress
from ..schema import Recording
from .tombstones import whole_of
from .wanted import ID_AUTHOR, Wanted

if TYPE_CHECKING:
    from ..workspace import Workspace

MAX_WORDS = 20  # a bare name in more messages of others than this ...
MAX_WORD_SHARE = 0.001  # ... and than this share of all messages is perhaps a word of the language: the user decides


@dataclass(frozen=True, kw_only=True)
class Request:
    """Whom or what to forget. users: logins; user_ids: the platform's ids; channels: names; recordings: ids;
    pseudonyms: "u_..." where somebody knows them, the only way once the key is destroyed.

    words: take bare names out of what others wrote, too (True), leave them (False), or only names that look like none
        of the language's words (None): with a digit or underscore, or long.
    """

    users: tuple[str, ...] = ()
    user_ids: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    recordings: tuple[str, ...] = ()
    pseudonyms: tuple[str, ...] = ()
    words: bool | None = None

    def __post_init__(self) -> None:
        for name in ("users", "user_ids", "channels", "recordings", "pseudonyms"):
            if any(not value.strip() for value in getattr(self, name)):
                raise UsageError(f"an empty name among the {name}", fix="name whom to forget")
        if wrong := [value for value in self.pseudonyms if not value.startswith("u_")]:
            raise UsageError(f"{wrong[0]!r} is no author's pseudonym", fix="u_ and 16 hex digits, as in the shards")


def search(workspace: Workspace, request: Request) -> tuple[Wanted, dict[str, int]]:
    """(what to take out, counts: recordings, messages written, messages of others with an @name or a bare name).

    Raises UsageError if a bare name stands in so many messages of others that it may be a word.
    """
    recordings = workspace.recordings()
    channels = frozenset(_plain(name) for name in request.channels)
    gone = frozenset(
        {r.recording_id for r in recordings if r.channel.casefold() in channels}
        | {
            name
            for name in _known_recordings(workspace, recordings)
            if {name, whole_of(name)} & set(request.recordings)
        }
    )
    names, ids = _accounts(workspace, recordings, request)
    words = frozenset(name for name in names if request.words or (request.words is None and _looks_like_name(name)))
    wanted = Wanted(
        names=names,
        ids=ids,
        words=words,
        recordings=gone | frozenset(request.recordings),
        channels=channels,
        pseudonyms=frozenset(request.pseudonyms),
    )
    wanted = with_pseudonyms(workspace, wanted)
    counts = _count(workspace, [r for r in recordings if r.recording_id not in gone], wanted)
    counts["recordings"] = len(gone)
    limit = max(MAX_WORDS, int(MAX_WORD_SHARE * counts["messages_read"]))
    if request.words is None and words and counts["bare_names"] > limit:
        raise UsageError(
            f"the name stands without an @ in {counts['bare_names']} messages of others: it may be a word",
            fix="pass --keep-words to leave it there, or --take-words to take it out and drop their cleaned comments",
        )
    return wanted, counts


def with_pseudonyms(workspace: Workspace, wanted: Wanted) -> Wanted:
    """`wanted` with the pseudonyms that its names and ids have under the workspace's key, if there is one."""
    from ..cleaning.pseudonyms import pseudonym

    if not (workspace.root / "pseudonym.key").is_file():
        return wanted  # never cleaned, or destroyed
    key = workspace.pseudonym_key()
    platforms = {r.platform for r in workspace.recordings()}
    platforms |= {name.partition("-")[0] for name in _known_recordings(workspace, [])}
    people = [*wanted.names, *(f"{ID_AUTHOR}{name}" for name in wanted.ids)]
    made = {pseudonym(key, "author", platform, name) for platform in platforms for name in people}
    keys = [*wanted.channels, *(f"recording:{name}" for name in wanted.recordings)]  # Recording.channel_key
    channels = {pseudonym(key, "channel", platform, name) for platform in platforms for name in keys}
    return dataclasses.replace(
        wanted,
        pseudonyms=wanted.pseudonyms | made,
        channel_pseudonyms=wanted.channel_pseudonyms | channels,
    )


def raw_lines(path: Path) -> Iterator[bytes]:
    """The lines of a chat.jsonl.gz with their line ends. Raises BadRecording "no-chat" or "bad-chat"."""
    try:
        with gzip.open(path, "rb") as handle:
            yield from handle
    except FileNotFoundError:
        raise BadRecording("no-chat", f"{path.name} is not there", fix="import the recording again") from None
    except (EOFError, OSError, zlib.error) as error:
        raise BadRecording(
            "bad-chat", f"{path.name} is damaged: {error}", fix="forget this recording, or import it again"
        ) from None


def chat_path(workspace: Workspace, recording: Recording) -> Path:
    return workspace.raw_dir(recording.recording_id) / recording.chat


def _plain(name: str) -> str:
    """A login as people write it: "@Somebody" -> "somebody"."""
    return name.strip().removeprefix("@").casefold()


def _looks_like_name(name: str) -> bool:
    from ..cleaning.emotes import is_name

    return is_name(name)


def _known_recordings(workspace: Workspace, recordings: list[Recording]) -> set[str]:
    """Ids in raw/, in the shards and in the stored splits."""
    known = {recording.recording_id for recording in recordings}
    for path, key in (
        (workspace.shards_dir / "dataset.json", "recordings"),
        (workspace.root / "splits.json", "assignment"),
    ):
        if path.is_file():
            known |= set(read_json(path).get(key, {}))
    return known


def _accounts(
    workspace: Workspace, recordings: list[Recording], request: Request
) -> tuple[frozenset[str], frozenset[str]]:
    """Logins and platform ids that belong together: a renamed account writes under one id with several logins."""
    names = frozenset(_plain(name) for name in request.users)
    ids = frozenset(name.strip() for name in request.user_ids)
    names |= _names_of(workspace, recordings, frozenset(request.pseudonyms))
    while names or ids:
        wanted = Wanted(names=names, ids=ids)
        found_names, found_ids = set(names), set(ids)
        for recording in progress(recordings, what="search", unit="recording"):
            for line in _readable(chat_path(workspace, recording)):
                if wanted.is_in_line(line):
                    message = orjson.loads(line)
                    if wanted.wrote(message):
                        found_names |= {message["author"].casefold()} if message["author"] else set()
                        found_ids |= {message["author_id"]} if message["author_id"] else set()
        if found_names == names and found_ids == ids:
            break
        names, ids = frozenset(found_names), frozenset(found_ids)
    return names, ids


def _names_of(workspace: Workspace, recordings: list[Recording], pseudonyms: frozenset[str]) -> frozenset[str]:
    """The logins behind pseudonyms; none where the key is gone."""
    from ..cleaning.pseudonyms import author_pseudonyms

    if not pseudonyms or not (workspace.root / "pseudonym.key").is_file():
        return frozenset()
    found: set[str] = set()
    for recording in recordings:
        lines = _readable(chat_path(workspace, recording))
        logins = sorted({author.casefold() for line in lines if (author := orjson.loads(line)["author"])})
        made = author_pseudonyms(workspace.pseudonym_key(), recording.platform, logins)
        found |= {login for login, name in zip(logins, made, strict=True) if name in pseudonyms}
    return frozenset(found)


def _readable(path: Path) -> Iterator[bytes]:
    """The lines as far as they can be read; what is damaged is said by the step that rewrites."""
    try:
        yield from raw_lines(path)
    except BadRecording:
        return


def _count(workspace: Workspace, recordings: list[Recording], wanted: Wanted) -> dict[str, int]:
    counts: Counter[str] = Counter(messages_read=0, messages=0, at_names=0, bare_names=0)
    if not wanted.people:
        return dict(counts)
    every = dataclasses.replace(wanted, words=wanted.names)
    at_only = dataclasses.replace(wanted, words=frozenset())
    for recording in progress(recordings, what="count", unit="recording"):
        for line in _readable(chat_path(workspace, recording)):
            counts["messages_read"] += 1
            if not wanted.is_in_line(line):
                continue
            message: Any = orjson.loads(line)
            if wanted.wrote(message):
                counts["messages"] += 1
                continue
            texts = [text or "" for text, emote in message["fragments"] if not emote]
            counts["at_names"] += any(at_only.redact(text) != text for text in texts)
            counts["bare_names"] += any(every.redact(at_only.redact(text)) != at_only.redact(text) for text in texts)
    return dict(counts)
