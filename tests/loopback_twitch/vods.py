"""What the loopback Twitch holds: VODs with comments, channels, collections, and a builder of comments."""

from __future__ import annotations

import base64
import random
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

Node = dict[str, Any]  # a GraphQL VideoComment
START = "2026-03-01T18:00:00Z"

TALK = """
that jump was so close wow he really did it nice shot what a clutch no way this boss again chat is wild today
look at the left side behind you run run please use the potion first time here hello everyone from the map
music sounds great tonight love this song turn up the volume why would you go there i told you we are winning
how many wins now that was amazing good luck have fun the new update broke everything try the other door
one more round before bed my favourite part of the stream the cat on the camera pancakes taste better with syrup
best play of the year can you read the chat please drink some water you forgot the key upstairs
"""
WORDS = TALK.split()
EMOTES = (("Kappa", "25"), ("LUL", "425618"), ("PogChamp", "305954156"), ("BibleThump", "86"))
BADGES = (("subscriber", "6"), ("moderator", "1"), ("premium", "1"), ("", ""))


@dataclass(frozen=True, kw_only=True)
class Vod:
    """A recording of a stream.

    duration_s: declared length. comments: VideoComment nodes, in any order. chapters: (start_s, category name), the
    first at 0; without any, the whole is of `category`. muted: [start_s, end_s) intervals without sound. video: a file
    that is cut into renditions, repeated where it is too short; without one, a test picture. heights: rows of the
    renditions. gaps: [start_s, end_s) intervals that the playlist leaves out, with a discontinuity.
    """

    id: str = "1234567890"
    channel: str = "streamer"
    category: str = "Minecraft"
    duration_s: int = 120
    comments: list[Node] = field(default_factory=list)
    chapters: list[tuple[int, str]] = field(default_factory=list)
    muted: list[tuple[int, int]] = field(default_factory=list)
    video: Path | None = None
    heights: tuple[int, ...] = (160, 360)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    title: str = "An evening stream"
    language: str = "en"
    created_at: str = START
    views: int = 1234
    broadcast_type: str = "ARCHIVE"

    def with_comments(self, comments: list[Node]) -> Vod:
        return replace(self, comments=comments)

    @cached_property
    def ordered(self) -> list[Node]:
        """Comments as the service pages them: by second, then as they were given."""
        return sorted(self.comments, key=lambda node: int(node["contentOffsetSeconds"]))

    @property
    def segments(self) -> list[tuple[int, str]]:
        """(end_s, category) of each chapter."""
        chapters = self.chapters or [(0, self.category)]
        ends = [start for start, _ in chapters[1:]] + [self.duration_s]
        return [(end, name) for end, (_, name) in zip(ends, chapters, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Channel:
    login: str
    id: str = ""
    display_name: str = ""


@dataclass(frozen=True, kw_only=True)
class Collection:
    id: str
    title: str = "Collected evenings"
    channel: str = "streamer"
    vods: list[str] = field(default_factory=list)


def number(name: str) -> str:
    """A stable numeric id for a name."""
    return str(10_000 + sum((index + 1) * ord(letter) for index, letter in enumerate(name)) * 7919 % 900_000_000)


def slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def moment(start: str, seconds: float) -> str:
    """An ISO time some seconds after `start`, with milliseconds, as createdAt has it."""
    at = datetime.fromisoformat(start.replace("Z", "+00:00")) + timedelta(seconds=seconds)
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def comment(index: int, offset_s: int, rng: random.Random, *, users: int = 40, seed: int = 0) -> Node:
    """One VideoComment node in the shape that the service answers."""
    who = rng.randrange(users)
    words = [rng.choice(WORDS) for _ in range(rng.randint(2, 9))]
    fragments: list[Node] = [{"emote": None, "text": " ".join(words), "__typename": "VideoCommentMessageFragment"}]
    if rng.random() < 0.2:
        name, emote = rng.choice(EMOTES)
        start = len(fragments[0]["text"]) + 1
        fragments[0]["text"] += " "
        embedded = {
            "id": f"{emote};{start};{start + len(name) - 1}",
            "emoteID": emote,
            "from": start,
            "__typename": "EmbeddedEmote",
        }
        fragments.append({"emote": embedded, "text": name, "__typename": "VideoCommentMessageFragment"})
    badges = []
    if rng.random() < 0.3:
        set_id, version = rng.choice(BADGES)
        code = base64.b64encode(f"{set_id};{version};".encode()).decode()
        badges.append({"id": code, "setID": set_id, "version": version, "__typename": "Badge"})
    commenter = {
        "id": str(700_000_000 + who),
        "login": f"viewer_{seed}_{who}",
        "displayName": f"Viewer_{seed}_{who}",
        "__typename": "User",
    }
    return {
        "id": f"{rng.getrandbits(64):016x}-{seed:04x}-{index:06x}",
        "commenter": None if rng.random() < 0.01 else commenter,
        "contentOffsetSeconds": offset_s,
        "createdAt": moment(START, offset_s + rng.random()),
        "message": {
            "fragments": fragments,
            "userBadges": badges,
            "userColor": rng.choice([None, "#4684A3", "#B1283A"]),
            "__typename": "VideoCommentMessage",
        },
        "__typename": "VideoComment",
    }


def comments(
    count: int,
    duration_s: int,
    seed: int = 0,
    *,
    users: int = 40,
    burst: tuple[int, int] | None = None,
    after_end: int = 0,
) -> list[Node]:
    """`count` comments over [0, duration_s), ordered by whole seconds with ties, the same for the same seed.

    burst: (second, n) puts n more comments into one second. after_end: n more comments 1 to 178 s after the end, as
    real chats have them. Some commenters are null, some badges empty.
    """
    rng = random.Random(seed)
    offsets = sorted(rng.randrange(max(1, duration_s)) for _ in range(count))
    if burst:
        offsets = sorted(offsets + [burst[0]] * burst[1])
    offsets += sorted(duration_s + rng.randint(1, 178) for _ in range(after_end))
    return [comment(index, offset, rng, users=users, seed=seed) for index, offset in enumerate(offsets)]
