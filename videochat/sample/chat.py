"""Simulated chat: agents who react to a clip's focal event, with latency, and later answer with its colour.

What it is about depends on the world: "screen", an event in the clip's window; "beyond", an event of the window before,
which the clip no longer shows; "unrelated", an object and a colour drawn at random. Messages have the form that
Twitch's replies have after normalisation (`schema.RawMessage`): whole-second offsets, badges, emotes as fragments.
`to_graphql` gives Twitch's own form.
"""

from __future__ import annotations

import functools
import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..schema import RawMessage
from . import phrases
from .phrases import BOT_LINES, COMMANDS, COPYPASTA, EMOTES, LINKS, OFF_TOPIC, REACTIONS
from .world import ACTIONS, COLOURS, GEOMETRY, OBJECTS, Event, WorldSpec, generator, windows

NUM_AGENTS = 40
_NAMES = ("pixel", "turbo", "quiet", "lazy", "cosmic", "salty", "tiny", "mellow", "frosty", "lucky", "sleepy", "rapid")
_BEASTS = ("otter", "panda", "wolf", "koala", "gecko", "raven", "lynx", "badger", "moose", "ferret", "heron", "yak")


@dataclass(frozen=True, kw_only=True)
class Agent:
    """One simulated account and its manners: how often it writes, how late it reacts, how loud it is."""

    login: str
    author_id: str
    badges: tuple[str, ...]
    talk: float
    latency: float
    loud: float
    stretch: float


@dataclass(frozen=True, kw_only=True)
class Topic:
    """What the chat of one clip is about. event: index among the recording's events, None if it is on no screen."""

    object: str
    colour: str
    event: int | None


@dataclass(frozen=True, kw_only=True)
class Chat:
    """messages in order of time; answers: comment id -> index of the event that it speaks of, or None;
    topics: clip start -> Topic."""

    messages: list[RawMessage]
    answers: dict[str, int | None]
    topics: dict[int, Topic]


@dataclass(frozen=True, kw_only=True)
class _Slot:
    time_ms: int
    agent: Agent
    fragments: list[tuple[str, str | None]]
    event: int | None


def agents(rng: random.Random) -> list[Agent]:
    """The accounts of one channel, most of them quiet, a few regulars with badges."""
    found = []
    for number in range(NUM_AGENTS):
        badges = ("moderator",) if number < 2 else ("subscriber",) if rng.random() < 0.3 else ()
        found.append(
            Agent(
                login=f"sim_{rng.choice(_NAMES)}_{rng.choice(_BEASTS)}_{number:02d}",
                author_id=str(900_000_000 + rng.randrange(10**8)),
                badges=badges,
                talk=1 / (1 + number % 20) ** 0.5,
                latency=rng.uniform(0.6, 1.6),
                loud=rng.choice((0.0, 0.0, 0.0, 0.2)),
                stretch=rng.choice((0.0, 0.0, 0.15)),
            )
        )
    return found


BOT = Agent(
    login="sim_nightbot", author_id="900000000", badges=("moderator", "bot-badge"), talk=0, latency=1, loud=0, stretch=0
)


def converse(spec: WorldSpec, world: str, seed: int, index: int, events: Sequence[Event], duration_ms: int) -> Chat:
    """All chat of one recording. The screen does not depend on it, and it depends on nothing but the arguments."""
    rng = generator(spec.version, seed, index, "chat", world)
    people = agents(generator(spec.version, seed, index, "agents"))
    numbered = {id(event): number for number, event in enumerate(events)}
    by_window = windows(list(events))
    slots: list[_Slot] = []
    topics: dict[int, Topic] = {}
    for start in range(0, duration_ms, GEOMETRY.clip_ms):
        window = start // GEOMETRY.clip_ms
        seen = by_window.get(window - 1 if world == "beyond" else window, [])
        about = [e for e in seen if e.start_ms <= start + GEOMETRY.context_ms - 4_000]
        refers = world != "unrelated" and about and rng.random() < spec.reference_rate
        if refers:
            event = rng.choice(about)
            topic = Topic(object=event.object, colour=event.colour, event=numbered[id(event)])
        else:
            topic, about = Topic(object=rng.choice(OBJECTS), colour=rng.choice(COLOURS), event=None), []
        topics[start] = topic
        talk = _ClipTalk(spec, rng, people, start, topic, about, numbered)
        slots += talk.context() + talk.responses()
    slots = sorted((slot for slot in slots if slot.time_ms < duration_ms), key=lambda slot: slot.time_ms)
    messages: list[RawMessage] = []
    answers: dict[str, int | None] = {}
    for slot in slots:
        comment_id = str(uuid.UUID(int=rng.getrandbits(128)))
        gone = rng.random() < 0.003  # Twitch answers with no commenter once an account is deleted
        messages.append(
            RawMessage(
                id=comment_id,
                offset_ms=slot.time_ms // 1000 * 1000,
                author=None if gone else slot.agent.login,
                author_id=None if gone else slot.agent.author_id,
                badges=list(slot.agent.badges),
                fragments=slot.fragments,
            )
        )
        answers[comment_id] = slot.event
    return Chat(messages=messages, answers=answers, topics=topics)


class _ClipTalk:
    """The messages of one clip."""

    def __init__(
        self,
        spec: WorldSpec,
        rng: random.Random,
        people: Sequence[Agent],
        start: int,
        topic: Topic,
        about: Sequence[Event],
        numbered: dict[int, int],
    ) -> None:
        self.spec, self.rng, self.people, self.start, self.topic = spec, rng, people, start, topic
        self.about, self.numbered = about, numbered
        self.split = start + GEOMETRY.context_ms
        self.focal = next((e for e in about if numbered[id(e)] == topic.event), None)
        self.weights = [agent.talk for agent in people]

    def context(self) -> list[_Slot]:
        spec, rng = self.spec, self.rng
        shares = (
            spec.focal_share,
            spec.distractor_share,
            spec.random_colour_share,
            spec.generic_share,
            spec.junk_share,
        )
        kinds = ("focal", "distractor", "colour", "generic", "junk", "off-topic")
        count = rng.randint(spec.min_context, spec.max_context)
        return [self._write(kind, None) for kind in rng.choices(kinds, (*shares, 1 - sum(shares)), k=count)]

    def responses(self) -> list[_Slot]:
        spec, rng = self.spec, self.rng
        shares = (spec.response_generic_share, spec.response_random_share, spec.response_junk_share)
        kinds = ("generic", "colour", "junk", "answer")
        count = rng.randint(spec.min_responses, spec.max_responses)
        times = (self.split, self.start + GEOMETRY.clip_ms)
        return [self._write(kind, times) for kind in rng.choices(kinds, (*shares, 1 - sum(shares)), k=count)]

    def _write(self, kind: str, times: tuple[int, int] | None) -> _Slot:
        """One message. times: when it may come; None: within the context, after what it reacts to."""
        rng = self.rng
        agent = rng.choices(self.people, self.weights)[0]
        time_ms = rng.randrange(*(times or (self.start, self.split)))
        event: int | None = None
        if kind in ("focal", "distractor"):
            name, event, shown = self._referent(kind)
            time_ms = self._reaction_time(agent, shown)
            text = phrases.fill(rng.choice(REACTIONS), name=name, action=rng.choice(ACTIONS))
        elif kind == "answer":
            text, event = self._answer(self.topic.colour), self.topic.event
        elif kind == "colour":
            text = self._answer(rng.choice(COLOURS))
        elif kind == "generic":
            text = rng.choices(*_columns(phrases.generic_phrases(self.spec)))[0]
        elif kind == "off-topic":
            text = rng.choice(OFF_TOPIC)
        else:
            return self._junk(agent, time_ms)
        return _Slot(time_ms=time_ms, agent=agent, fragments=self._manners(agent, text), event=event)

    def _referent(self, kind: str) -> tuple[str, int | None, Event | None]:
        """Object, event number and event that a reaction is about."""
        if kind == "focal":
            return self.topic.object, self.topic.event, self.focal
        others = [event for event in self.about if event is not self.focal]
        if others:
            event = self.rng.choice(others)
            return event.object, self.numbered[id(event)], event
        return self.rng.choice([name for name in OBJECTS if name != self.topic.object]), None, None

    def _reaction_time(self, agent: Agent, event: Event | None) -> int:
        """After the event began plus a latency; any time of the context if that would fall outside."""
        first = self.start if event is None else max(self.start, event.start_ms + self.spec.min_latency_ms)
        if event is not None:
            late = self.rng.expovariate(1 / (self.spec.mean_latency_ms * agent.latency))
            time_ms = event.start_ms + self.spec.min_latency_ms + int(late)
            if first <= time_ms < self.split:
                return time_ms
        return self.rng.randrange(first, self.split)

    def _answer(self, colour: str) -> str:
        texts, weights = _columns(phrases.answer_phrases(self.spec))
        return phrases.fill(self.rng.choices(texts, weights)[0], colour=colour)

    def _manners(self, agent: Agent, text: str) -> list[tuple[str, str | None]]:
        """Capitals, stretched vowels, punctuation, mentions and emotes; never changes which words are said."""
        rng = self.rng
        if rng.random() < agent.stretch:
            words = text.split()
            at = rng.randrange(len(words))
            if words[at] in ("so", "omg", "wow", "no", "yes", "nice", "lol", "really", "very"):
                words[at] += words[at][-1] * rng.randint(2, 5)
            text = " ".join(words)
        text = text.upper() if rng.random() < agent.loud else text
        text += rng.choice(("!", "...", "!!")) if rng.random() < 0.1 else ""
        if rng.random() < self.spec.mention_share:
            text = f"@{rng.choice(self.people).login} {text}"
        if rng.random() < self.spec.emote_share:
            code = rng.choice(tuple(EMOTES))
            return [(f"{text} ", None), (code, EMOTES[code])]
        return [(text, None)]

    def _junk(self, agent: Agent, time_ms: int) -> _Slot:
        """What cleaning is to take out: emotes alone, links, commands, bots, copypasta."""
        rng = self.rng
        kind = rng.choices(("emotes", "command", "link", "bot", "copypasta"), (0.4, 0.2, 0.15, 0.15, 0.1))[0]
        if kind == "emotes":
            code = rng.choice(tuple(EMOTES))
            parts: list[tuple[str, str | None]] = []
            for number in range(rng.randint(1, 3)):
                parts += [(" ", None), (code, EMOTES[code])] if number else [(code, EMOTES[code])]
            return _Slot(time_ms=time_ms, agent=agent, fragments=parts, event=None)
        if kind == "bot":
            return _Slot(time_ms=time_ms, agent=BOT, fragments=[(rng.choice(BOT_LINES), None)], event=None)
        text = rng.choice({"command": COMMANDS, "link": LINKS, "copypasta": COPYPASTA}[kind])
        return _Slot(time_ms=time_ms, agent=agent, fragments=[(text.format(n=rng.randrange(10_000)), None)], event=None)


@functools.cache
def _columns(pairs: tuple[tuple[str, float], ...]) -> tuple[list[str], list[float]]:
    return [text for text, _ in pairs], [weight for _, weight in pairs]


def to_graphql(message: RawMessage) -> dict[str, Any]:
    """The message as a `VideoComment` node of Twitch's GraphQL replies, as importers read it."""
    login = message["author"]
    return {
        "__typename": "VideoComment",
        "id": message["id"],
        "commenter": None
        if login is None
        else {"__typename": "User", "id": message["author_id"], "login": login, "displayName": login},
        "contentOffsetSeconds": message["offset_ms"] // 1000,
        "message": {
            "__typename": "VideoCommentMessage",
            "fragments": [
                {
                    "__typename": "VideoCommentMessageFragment",
                    "emote": None if emote is None else {"__typename": "EmbeddedEmote", "emoteID": emote},
                    "text": text,
                }
                for text, emote in message["fragments"]
            ],
            "userBadges": [{"__typename": "Badge", "setID": badge, "version": "1"} for badge in message["badges"]],
        },
    }
