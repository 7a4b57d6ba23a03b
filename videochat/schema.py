"""The rows of every stage: what is in each file, with units and types. Version 1.

Times are integer milliseconds from the start of the recording (the first presentable video frame, or the platform's
zero for a text-only recording); intervals are half-open. Embeddings are L2-normalised float16.

    raw/<recording>/recording.json      Recording
    raw/<recording>/chat.jsonl.gz       one RawMessage a line
    comments/<recording>.parquet        COMMENTS
    frames/<recording>.parquet          frames_schema(dim)
    texts/<recording>.parquet           texts_schema(dim)
    transcripts/<recording>.parquet     TRANSCRIPTS
    shards/<split>/<category>-*.parquet shard_schema(dim)     one row = one Clip
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import numpy as np
import pyarrow as pa

from .errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCHEMA_VERSION = 1
SPLITS = ("train", "dev", "test")
ROW_GROUP_CLIPS = 256
SHARD_BYTES = 256 * 1024 * 1024
TEXT_ONLY = "text-only"  # a clip flag: no frame features exist


def slug(name: str) -> str:
    """A category or channel as a file name: "Just Chatting" -> "just-chatting"; "" -> "unknown"."""
    return re.sub(r"[^\w]+", "-", name.casefold()).strip("-") or "unknown"


class RawMessage(TypedDict):
    """One chat message in the one raw form all sources are normalised to; a line of chat.jsonl.gz.

    id: the platform's message id, or null (then rows are told apart by position).
    offset_ms: the platform's offset, may be negative or past the end; whole seconds on Twitch.
    author, author_id: login and platform id, null if the account is gone. Only raw/ ever holds them.
    badges: badge set names such as "moderator", "bot-badge".
    fragments: [text, emote id or null] pairs; an emote's text is its code.
    """

    id: str | None
    offset_ms: int
    author: str | None
    author_id: str | None
    badges: list[str]
    fragments: list[tuple[str, str | None]]
    action: NotRequired[bool]  # "/me" messages


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What is known of one recording; raw/<recording_id>/recording.json. File names are relative to its folder.

    recording_id: "<platform>-<platform_id>", or "file-<first 12 hex of the chat's digest>".
    channel: the platform's channel name (raw; published only as a pseudonym). "" if unknown: then the recording
        is a channel of its own.
    duration_ms: length of the video, else as declared, else just past the last comment.
    offset_ms: added to a platform offset to get the time on the recording's clock.
    features: "features.npz" with precomputed frame features (embeddings float16 (N, D), frame_ms int32 (N,)).
    simulated: made by `videochat sample`, never real.
    """

    recording_id: str
    platform: str
    platform_id: str
    channel: str
    category: str
    language: str = "en"
    title: str = ""
    duration_ms: int
    offset_ms: int = 0
    video: str | None = None
    chat: str = "chat.jsonl.gz"
    features: str | None = None
    simulated: bool = False
    num_messages: int
    chat_digest: str
    video_digest: str | None = None
    origin: dict[str, Any] = field(default_factory=dict)  # format, tool versions, counted oddities of the import

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]{1,120}", self.recording_id) or self.recording_id.startswith("."):
            raise UsageError(f"recording id {self.recording_id!r} is not a file name", fix="letters, digits, _ . -")

    @property
    def channel_key(self) -> str:
        """The channel for splits: its name, or the recording itself where the channel is unknown."""
        return self.channel or f"recording:{self.recording_id}"

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Recording:
        return cls(**value)


COMMENTS = pa.schema(
    [
        ("position", pa.int32()),  # 0-based rank of the message in (offset, order of arrival)
        ("comment_id", pa.string()),  # the platform's id, never copied into shards
        ("time_ms", pa.int32()),  # on the recording's clock
        ("author", pa.string()),  # keyed pseudonym, "" if the account is gone
        ("text", pa.string()),  # cleaned; null where it held personal data
        ("emotes", pa.list_(pa.string())),  # codes, in order, first- and third-party
        ("kept", pa.bool_()),
        ("reason", pa.string()),  # name of the rule that dropped the row; null if kept
        ("language", pa.string()),  # ISO 639-1 of the text, null if not identified
        ("language_score", pa.float32()),  # in [0, 1], after the channel prior; null if not identified
    ]
)

# What was said, in order of (start_ms, end_ms); segments may overlap. Both times on the recording's clock.
TRANSCRIPTS = pa.schema([("start_ms", pa.int32()), ("end_ms", pa.int32()), ("text", pa.string())])

_COMMENT = pa.struct(
    [("offset_ms", pa.int32()), ("author", pa.string()), ("text", pa.string()), ("emotes", pa.list_(pa.string()))]
)
_TRANSCRIPT = pa.struct(list(TRANSCRIPTS))


def embedding_type(dim: int) -> pa.DataType:
    return pa.list_(pa.float16(), dim)


def frames_schema(dim: int) -> pa.Schema:
    """frame_ms: the grid time t; pts_ms: presentation time of the frame on screen at t (last one <= t)."""
    return pa.schema([("frame_ms", pa.int32()), ("pts_ms", pa.int32()), ("embedding", embedding_type(dim))])


def texts_schema(dim: int) -> pa.Schema:
    """One row for each unique kept comment text of the recording."""
    return pa.schema([("text", pa.string()), ("embedding", embedding_type(dim))])


def shard_schema(dim: int | None) -> pa.Schema:
    """One row = one clip, self-contained. dim None: the text-only variant, without the feature columns."""
    features = (
        []
        if dim is None
        else [
            ("frame_ms", pa.list_(pa.int32())),
            ("frames", pa.list_(embedding_type(dim))),
            ("context_clip", pa.list_(embedding_type(dim))),  # text embeddings, aligned with `context`
        ]
    )
    return pa.schema(
        [
            ("clip_id", pa.string()),
            ("recording_id", pa.string()),
            ("channel_id", pa.string()),
            ("category", pa.string()),
            ("language", pa.string()),
            ("split", pa.string()),
            ("start_ms", pa.int32()),
            ("context_end_ms", pa.int32()),
            ("end_ms", pa.int32()),
            ("context", pa.list_(_COMMENT)),
            ("responses", pa.list_(_COMMENT)),
            *features,
            ("transcript", pa.list_(_TRANSCRIPT)),
            ("flags", pa.list_(pa.string())),
        ]
    )


def clip_id(recording_id: str, start_ms: int) -> str:
    return f"{recording_id}_{start_ms}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comment:
    """One kept comment. offset_ms: time on the recording's clock (not relative to the clip)."""

    offset_ms: int
    author: str
    text: str
    emotes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """One transcript segment [start_ms, end_ms) on the recording's clock."""

    start_ms: int
    end_ms: int
    text: str


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Clip:
    """One shard row. Arrays: frame_ms int32 (N,), frames float16 (N, D), context_clip float16 (len(context), D);
    the three are None in a text-only dataset."""

    clip_id: str
    recording_id: str
    channel_id: str
    category: str
    language: str
    split: str
    start_ms: int
    context_end_ms: int
    end_ms: int
    context: tuple[Comment, ...]
    responses: tuple[Comment, ...]
    frame_ms: NDArray[np.int32] | None = None
    frames: NDArray[np.float16] | None = None
    context_clip: NDArray[np.float16] | None = None
    transcript: tuple[Segment, ...] = ()
    flags: tuple[str, ...] = ()
