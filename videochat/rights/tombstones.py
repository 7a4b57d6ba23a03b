"""Tombstones: who and what was forgotten, kept as keyed digests, so that no later import or crawl brings it back.

    stones = Tombstones.open(workspace)
    stones.forgets(user="somebody", user_id="1234")        # either one is enough
    stones.forgets(channel="somebody"), stones.forgets(recording_id="twitch-1234567890-t600")
    for batch in stones.without(batches): ...               # chat messages, the forgotten ones taken out

tombstones.json holds BLAKE2b digests (RFC 7693) under a second secret, tombstone.key (mode 0600), which outlives the
pseudonym key: the list can be obeyed, but not read. A name is forgotten on every platform and in any case of letters;
to take out a namesake elsewhere is the lesser harm.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import Mismatch
from ..files import read_json, write_json

if TYPE_CHECKING:
    from ..schema import RawMessage
    from ..workspace import Workspace

KEY_BYTES = 32
DIGEST_BYTES = 16
SOMEONE = "@someone"  # what stands for a forgotten @name in what others wrote; cleaning removes it as any @name
# "word": a user's name that is no word of the language, so that it goes from others' messages without an @, too.
# "has-part": a recording of which a part is forgotten.
KINDS = ("user", "user-id", "word", "channel", "recording", "has-part")
_TOKEN = re.compile(r"@?\w+")
_PART = re.compile(r"-t\d+$")  # "twitch-123-t600" is the part of twitch-123 that starts at second 600


def whole_of(recording_id: str) -> str:
    """The recording that a part belongs to; a whole recording is its own."""
    return _PART.sub("", recording_id)


class Tombstones:
    """The tombstones of one workspace, in memory; `add` and `save` are for `videochat forget`."""

    def __init__(self, folder: Path, digests: dict[str, set[str]], key: bytes | None) -> None:
        self._folder = folder
        self._digests = digests
        self._key = key
        self._known: dict[tuple[str, str], bool] = {}
        self.num_left_out = 0  # messages, see `without`

    @classmethod
    def open(cls, workspace: Workspace) -> Tombstones:
        """Raises Mismatch if there are tombstones but their key is gone: they cannot be obeyed without it."""
        return cls.at(workspace.root)

    @classmethod
    def at(cls, folder: Path) -> Tombstones:
        """Those of the workspace in `folder`."""
        path = folder / "tombstones.json"
        stored = read_json(path)["digests"] if path.is_file() else {}
        digests = {kind: set(stored.get(kind, ())) for kind in KINDS}
        key_path = folder / "tombstone.key"
        key = key_path.read_bytes() if key_path.is_file() else None
        if any(digests.values()) and (key is None or len(key) != KEY_BYTES):
            raise Mismatch(
                f"{key_path} is missing or damaged: what was forgotten in this workspace cannot be told any more",
                fix="restore the key from a backup",
            )
        return cls(folder, digests, key)

    def __len__(self) -> int:
        return sum(map(len, self._digests.values()))

    def __bool__(self) -> bool:
        return len(self) > 0

    def forgets(
        self,
        *,
        user: str | None = None,
        user_id: str | None = None,
        channel: str | None = None,
        recording_id: str | None = None,
    ) -> bool:
        """Whether any of the given was forgotten. recording_id: a part is forgotten with its whole, and a whole is
        not to be fetched while one of its parts is forgotten."""
        named = [("user", user), ("user-id", user_id), ("channel", channel), ("recording", recording_id)]
        if recording_id:
            named += [("recording", whole_of(recording_id)), ("has-part", recording_id)]
        return any(self._has(kind, name) for kind, name in named if name)

    def forgets_message(self, message: RawMessage) -> bool:
        """Whether its author was forgotten."""
        return self.forgets(user=message["author"], user_id=message["author_id"])

    def redact(self, message: RawMessage) -> RawMessage:
        """The message with the names of forgotten users replaced by SOMEONE; the same object if it has none."""
        fragments = [(self.redacted(text) if emote is None else text, emote) for text, emote in message["fragments"]]
        if all(new == old for (new, _), (old, _) in zip(fragments, message["fragments"], strict=True)):
            return message
        return {**message, "fragments": fragments}

    def without(self, batches: Iterable[list[RawMessage]]) -> Iterator[list[RawMessage]]:
        """The batches without messages of forgotten people and without their names; batches may become empty.

        `num_left_out` counts the messages that were taken out.
        """
        if not self._digests["user"] and not self._digests["user-id"]:
            yield from batches
            return
        for batch in batches:
            left = [self.redact(message) for message in batch if not self.forgets_message(message)]
            self.num_left_out += len(batch) - len(left)
            yield left

    def redacted(self, text: str) -> str:
        """A text with @names of forgotten users (of some also the bare name) replaced by SOMEONE."""
        if not text or not (self._digests["word"] or ("@" in text and self._digests["user"])):
            return text
        return _TOKEN.sub(lambda found: SOMEONE if self._is_name(found[0]) else found[0], text)

    def _is_name(self, token: str) -> bool:
        return self._has("user", token[1:]) if token.startswith("@") else self._has("word", token)

    def _has(self, kind: str, name: str) -> bool:
        if not self._digests[kind]:
            return False
        place = (kind, name)
        if place not in self._known:
            self._known[place] = self._digest(kind, name) in self._digests[kind]
        return self._known[place]

    def _digest(self, kind: str, name: str) -> str:
        assert self._key is not None, "tombstones are made and read with their key"
        message = f"{kind}\0{name.casefold()}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(message, key=self._key, person=b"tombstone", digest_size=DIGEST_BYTES).hexdigest()

    # -- writing

    def add(self, kind: str, names: Iterable[str]) -> int:
        """Add names of one of KINDS; how many are new. The key is made with the first one. Call `save` afterwards."""
        before = len(self)
        for name in names:
            if self._key is None:
                self._key = _make_key(self._folder / "tombstone.key")
            self._digests[kind].add(self._digest(kind, name))
        self._known.clear()
        return len(self) - before

    def save(self) -> None:
        """Write tombstones.json: digests, sorted, so that not even the order of the requests can be read."""
        value = {"digests": {kind: sorted(digests) for kind, digests in self._digests.items() if digests}}
        write_json(self._folder / "tombstones.json", value)


def _make_key(path: Path) -> bytes:
    """A new secret under `path`, never over an old one; whole or not there."""
    key = secrets.token_bytes(KEY_BYTES)
    temporary = path.with_name(f".{path.name}.tmp-{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(key)
        os.fsync(handle.fileno())
    try:
        os.link(temporary, path)
    except FileExistsError:
        return path.read_bytes()
    finally:
        temporary.unlink()
    return key
