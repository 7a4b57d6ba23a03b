"""Texts for the small CLIP: captions, and the phrases of simulated chat with what they are true of.

A text is true of the frames that show its object and its colour, as far as it names them. Talk that names neither
is noise, true of every frame alike, so that it must not pull the frame weights anywhere.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass

from .phrases import ANSWERS, COMMANDS, COPYPASTA, EMOTES, GENERIC, OFF_TOPIC, REACTIONS, SUFFIXES, fill
from .world import ACTIONS, CATEGORIES, COLOURS, OBJECTS

EMPTY = "empty"  # in place of an object: a frame without one

BOTH = ("a {c} {o}", "{c} {o}", "the {c} {o}", "that {c} {o} again", "a {c} {o} on the screen", "a {c} {o} is {a}")
ONE = ("a {o}", "{o}", "the {o} on the screen", "a {o} is {a}", "a picture of a {o}")
HUE = ("something {c}", "a {c} thing", "{c} on the screen", "a picture of something {c}")
NOTHING = (
    "empty scene",
    "nothing on the screen",
    "an empty screen",
    "nothing is going on",
    "a scene with nothing in it",
)
UNSEEN = (  # for measuring alone; never trained on
    "i saw a {c} {o} there",
    "look there is a {c} {o}",
    "what a nice {c} {o}",
    "finally a {c} {o} lol",
    "the best {c} {o} of the stream",
    "why is a {c} {o} in the picture",
    "one more {c} {o} please",
    "my favorite {c} {o} is back",
)


@dataclass(frozen=True)
class Caption:
    """object, colour: what the text names (None: it does not say). noise: true of all frames alike."""

    text: str
    object: str | None = None
    colour: str | None = None
    noise: bool = False


def _fill(rng: random.Random, template: str, name: str | None, colour: str | None) -> str:
    return fill(template, name=name, colour=colour, action=rng.choice(ACTIONS))


def _finish(rng: random.Random, text: str, keep: tuple[str | None, ...]) -> str:
    """Some fillers, and now and then a word that the vocabulary lacks; never in place of a word in `keep`."""
    if rng.random() < 0.3:
        text = f"{text} {rng.choice(SUFFIXES)}"
    words = [w if w in keep or rng.random() > 0.05 else "zzz" for w in text.split()]
    return " ".join(words)


def draw(rng: random.Random, name: str, colour: str) -> Caption:
    """A text for one frame; `name` may be EMPTY."""
    kind = rng.random()
    if kind < 0.12:
        return Caption(_finish(rng, noise(rng), ()), noise=True)
    if name == EMPTY:
        return Caption(_finish(rng, rng.choice(NOTHING), ("empty", "nothing")), object=EMPTY)
    if kind < 0.42:
        template = rng.choice(REACTIONS if rng.random() < 0.8 else ONE)
        return Caption(_finish(rng, _fill(rng, template, name, colour), (name,)), object=name)
    if kind < 0.60:
        template = rng.choice(ANSWERS if rng.random() < 0.8 else HUE)
        return Caption(_finish(rng, _fill(rng, template, name, colour), (colour,)), colour=colour)
    template = rng.choice(BOTH)
    return Caption(_finish(rng, _fill(rng, template, name, colour), (name, colour)), object=name, colour=colour)


def noise(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.5:
        return rng.choice(OFF_TOPIC)
    if kind < 0.8:
        return rng.choice(GENERIC)
    if kind < 0.9:
        return " ".join(rng.sample(fillers(), rng.randint(1, 8)))
    start = rng.randint(0, 20)
    return " ".join(rng.choice(COPYPASTA).split()[start : start + 18])


def _words(texts: Iterable[str]) -> set[str]:
    return {word for text in texts for word in re.findall(r"\w+", re.sub(r"\{\w\}", " ", text).casefold())}


def fillers() -> list[str]:
    """Words that name no object and no colour, sorted."""
    found = _words((*REACTIONS, *ANSWERS, *GENERIC, *OFF_TOPIC, *SUFFIXES, *COPYPASTA))
    return sorted(found - set(OBJECTS) - set(COLOURS) - set(ACTIONS))


def vocabulary() -> list[str]:
    """Every word that chat or captions use, sorted."""
    extra = _words((*BOTH, *ONE, *HUE, *NOTHING, *UNSEEN, *COMMANDS, *EMOTES, *CATEGORIES))
    return sorted({*fillers(), *extra, *OBJECTS, *COLOURS, *ACTIONS})
