"""The columns of one recording's chat while the rules go over them.

Two thirds of chat texts are unique, so texts are held once: `texts` are the unique texts, `codes` says for each row
which one is its own. A first-party emote stands in the text as the mark SLOT until the rule `emotes` takes it out.
"""

from __future__ import annotations

import gc
import gzip
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..errors import BadRecording
from ..rights.tombstones import Tombstones
from ..schema import RawMessage, Recording
from .config import CleaningConfig
from .lists import Lists

SLOT = "\x01"  # stands for one first-party emote
BLOCK_BYTES = 1 << 20
BOT_BADGES = frozenset({"bot-badge", "bot"})
AGAIN = "import the recording again"
_MAY_HOLD_CONTROLS = re.compile(rb"\\[^\"\\/]|\x7f")  # JSON has to escape all but DEL
_CONTROLS = dict.fromkeys((*range(0x09, 0x0E), *range(0x1C, 0x20)), " ") | dict.fromkeys(
    (*range(0x09), *range(0x0E, 0x1C), 0x7F), None
)


@dataclass(kw_only=True, eq=False)
class Chat:
    """Row arrays have one entry a message, in (offset, arrival) order; N rows, U unique texts.

    time_ms int64 (N,): on the recording's clock. author int32 (N,): index into `logins`, -1 if the account is gone.
    badged bool (N,): wears a bot badge. codes int32 (N,) into texts (U,). emotes: codes of a row's first-party emotes,
    for rows that have any; after the rule `emotes` all emotes. kept, private bool (N,). reason int16 (N,) into
    `reasons`, -1 where kept. language int16 (U,) into `languages`, -1 unknown; language_score float32 (U,).
    """

    recording: Recording
    config: CleaningConfig
    lists: Lists
    ids: list[str | None]
    time_ms: NDArray[np.int64]
    author: NDArray[np.int32]
    logins: list[str]
    badged: NDArray[np.bool_]
    codes: NDArray[np.int32]
    texts: pa.Array
    emotes: dict[int, list[str]]
    kept: NDArray[np.bool_]
    private: NDArray[np.bool_]
    reason: NDArray[np.int16]
    reasons: list[str] = field(default_factory=list)
    languages: Sequence[str] = ()
    language: NDArray[np.int16] | None = None
    language_score: NDArray[np.float32] | None = None
    bots: list[dict[str, Any]] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.codes)

    def rows(self, of_texts: Any) -> NDArray[np.bool_]:
        """A mask over unique texts (numpy or Arrow) as a mask over rows."""
        if isinstance(of_texts, pa.Array | pa.ChunkedArray):
            of_texts = of_texts.to_numpy(zero_copy_only=False)
        return np.asarray(of_texts, dtype=bool)[self.codes]

    def rewrite(self, texts: pa.Array | Sequence[str]) -> NDArray[np.bool_]:
        """Replace all unique texts; which rows changed."""
        new = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.string())
        changed = pc.not_equal(self.texts, new)
        self.texts = new
        return self.rows(changed)

    def rewrite_where(self, chosen: pa.Array, change: Callable[[pa.Array], pa.Array]) -> NDArray[np.bool_]:
        """Replace the chosen unique texts by `change` of them; which rows changed. A cheap test spares most texts."""
        return self.rewrite(pc.replace_with_mask(self.texts, chosen, change(self.texts.filter(chosen))))

    def rows_where(self, chosen: pa.Array, test: Callable[[pa.Array], pa.Array]) -> NDArray[np.bool_]:
        """Rows whose text is chosen and passes `test`, which only sees the chosen texts."""
        passed = chosen.to_numpy(zero_copy_only=False)
        passed[passed] = test(self.texts.filter(chosen)).to_numpy(zero_copy_only=False)
        return self.rows(passed)

    def drop(self, hit: NDArray[np.bool_], reason: str) -> int:
        """Drop the rows of `hit` that are still kept, for `reason`; how many."""
        fresh = hit & self.kept
        if reason not in self.reasons:
            self.reasons.append(reason)
        self.reason[fresh] = self.reasons.index(reason)
        self.kept &= ~fresh
        return int(np.count_nonzero(fresh))

    @property
    def text_alive(self) -> NDArray[np.bool_]:
        """bool (U,): unique texts that at least one kept row still has."""
        alive = np.zeros(len(self.texts), dtype=bool)
        alive[self.codes[self.kept]] = True
        return alive


def read_chat(
    path: Path, recording: Recording, config: CleaningConfig, lists: Lists, stones: Tombstones | None = None
) -> Chat:
    """The chat file of a recording as columns, without what `stones` forgets. Raises BadRecording("no-chat" or
    "bad-chat")."""
    with _collector_paused():
        blocks = _blocks(path)
        return build_chat(blocks if stones is None else stones.without(blocks), recording, config, lists)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Parsing makes millions of small lists and no cycle; the cycle collector would take three quarters of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _blocks(path: Path) -> Iterator[list[RawMessage]]:
    """The messages of a chat.jsonl.gz, a few MB of lines at a time."""
    rest = b""
    if path.is_file() and not path.stat().st_size:
        raise BadRecording("bad-chat", f"{path.name} is empty", fix=AGAIN)
    try:
        with gzip.open(path, "rb") as handle:
            while block := handle.read(BLOCK_BYTES):
                block, _, tail = (rest + block).rpartition(b"\n")
                rest = tail
                yield parse_lines(block, path)
            yield parse_lines(rest, path)
    except FileNotFoundError:
        raise BadRecording("no-chat", f"{path.name} is not there", fix=AGAIN) from None
    except (EOFError, OSError, zlib.error) as error:
        raise BadRecording("bad-chat", f"{path.name} is damaged: {error}", fix=AGAIN) from error


def parse_lines(block: bytes, path: Path) -> list[RawMessage]:
    """The messages of whole lines of a chat file, without control characters in their texts."""
    lines = [line for line in block.split(b"\n") if line.strip()]
    try:
        messages = orjson.loads(b"[" + b",".join(lines) + b"]")
    except orjson.JSONDecodeError as error:
        raise BadRecording("bad-chat", f"{path.name} has a line that is not JSON: {error.msg}", fix=AGAIN) from None
    if _MAY_HOLD_CONTROLS.search(block):
        for message in messages:
            message["fragments"] = [(text.translate(_CONTROLS), emote) for text, emote in message["fragments"]]
    return messages  # type: ignore[no-any-return]


def build_chat(blocks: Iterator[list[RawMessage]], recording: Recording, config: CleaningConfig, lists: Lists) -> Chat:
    """Columns of the messages, ordered by (offset, arrival)."""
    ids: list[str | None] = []
    offsets: list[int] = []
    authors: list[str | None] = []
    badged: list[bool] = []
    texts: list[str] = []
    emotes: dict[int, list[str]] = {}
    try:
        for messages in blocks:
            first = len(ids)
            ids += [message["id"] for message in messages]
            offsets += [message["offset_ms"] for message in messages]
            authors += [
                message["author"] or (f"id:{message['author_id']}" if message["author_id"] else None)
                for message in messages
            ]
            badged += [not BOT_BADGES.isdisjoint(message["badges"]) for message in messages]
            for row, message in enumerate(messages, first):
                fragments = message["fragments"]
                if len(fragments) == 1 and fragments[0][1] is None:
                    texts.append(fragments[0][0] or "")
                    continue
                found = [text for text, emote in fragments if emote is not None]
                if found:
                    emotes[row] = found
                parts = [text.strip() if emote is None else SLOT for text, emote in fragments]
                texts.append(" ".join([part for part in parts if part]))
    except (KeyError, TypeError, ValueError) as error:
        raise BadRecording("bad-chat", f"a message of {recording.chat} lacks {error}", fix=AGAIN) from None

    order = np.argsort(np.asarray(offsets, dtype=np.int64), kind="stable")
    if not np.array_equal(order, np.arange(len(order))):
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        emotes = {int(place[row]): found for row, found in emotes.items()}
        ids = [ids[row] for row in order]
    encoded = pa.array(texts, pa.string()).dictionary_encode()
    people = pa.array(authors, pa.string()).dictionary_encode()
    size = len(order)
    return Chat(
        recording=recording,
        config=config,
        lists=lists,
        ids=ids,
        time_ms=np.asarray(offsets, dtype=np.int64)[order] + recording.offset_ms,
        author=people.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)[order],
        logins=people.dictionary.to_pylist(),
        badged=np.asarray(badged, dtype=bool)[order],
        codes=encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32)[order],
        texts=encoded.dictionary,
        emotes=emotes,
        kept=np.ones(size, dtype=bool),
        private=np.zeros(size, dtype=bool),
        reason=np.full(size, -1, dtype=np.int16),
    )
