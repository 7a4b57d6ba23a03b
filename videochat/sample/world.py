"""The sample world: what happens on a simulated screen and when. Version 1, frozen before models were compared.

A recording shows one scene. In every clip window [start - 10 s, start + 20 s) five or six events happen: one object
in one colour moves for 2 to 4 s, then the scene is empty again. Objects of a window and of the window before it are
distinct, so that a name in chat points at one event at most; so are the colours of a window. Everything here is
simulated; figures behind the parameters are in FACTS §9 (several events a clip make the mean of all frames ambiguous,
noise in chat keeps the popularity set honest).

    spec = WorldSpec()
    events = plan_events(spec, seed=0, index=3, duration_ms=720_000)
"""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass

from ..clock import ClipGeometry
from ..errors import UsageError
from ..files import stable_hash
from ..schema import slug

WORLDS = ("screen", "beyond", "unrelated")  # what chat refers to: the screen, an earlier event, nothing on it
CATEGORIES = (  # the eleven of FACTS §2; a recording takes one of the first `num_categories`
    "Minecraft",
    "Just Chatting",
    "Fortnite",
    "Art",
    "League of Legends",
    "Music",
    "World of Warcraft",
    "Counter-Strike",
    "Overwatch 2",
    "VALORANT",
    "Special Events",
)
OBJECTS = (
    *("arrow", "ball", "bell", "boat", "bolt", "bottle", "cloud", "crown", "cup", "fish", "flag", "flower"),
    *("ghost", "hat", "heart", "house", "key", "moon", "mushroom", "rocket", "star", "sword", "tree", "umbrella"),
)
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "white", "black")
ACTIONS = ("jumping", "sliding", "shaking", "floating", "circling")
GEOMETRY = ClipGeometry()  # PROTOCOL v1; the world is laid out on this grid whatever a workspace uses


@dataclass(frozen=True, kw_only=True)
class WorldSpec:
    """Every parameter of the sample world. Shares are probabilities; times are milliseconds.

    version: changes with any parameter, drawing or phrase; it is part of the digest of a recording.
    reference_rate: share of clips whose chat refers to their focal event ("screen", "beyond"); else as "unrelated".
    """

    version: str = "1"
    # screen
    width: int = 256
    height: int = 144
    fps: int = 4
    crf: int = 28
    min_events: int = 5  # in each full clip window
    max_events: int = 6
    min_event_ms: int = 2_000
    max_event_ms: int = 4_000
    min_gap_ms: int = 750
    num_categories: int = 6
    # context chat, kept and dropped together, of one clip
    min_context: int = 14
    max_context: int = 19
    focal_share: float = 0.50  # names the focal object
    distractor_share: float = 0.10  # names another object of the window
    random_colour_share: float = 0.08  # an answer to nothing, in a colour drawn at random
    generic_share: float = 0.04  # lol, gg, ...
    junk_share: float = 0.12  # emotes alone, links, commands, bots, copypasta; the rest is off-topic talk
    # responses of one clip
    min_responses: int = 5
    max_responses: int = 8
    response_generic_share: float = 0.185
    response_random_share: float = 0.09  # noise: a colour drawn at random instead of the focal event's
    response_junk_share: float = 0.08  # the rest answers with the colour of the focal event
    reference_rate: float = 1.0
    # timing and manners
    min_latency_ms: int = 1_000
    mean_latency_ms: int = 5_000
    zipf: float = 0.6  # exponent of the popularity of answer and generic phrases
    suffix_share: float = 0.5  # answers that carry a filler such as "ngl"
    generic_suffix_share: float = 0.2  # the same of generic phrases, so that some are frequent
    mention_share: float = 0.04
    emote_share: float = 0.08

    def __post_init__(self) -> None:
        context = self.focal_share + self.distractor_share + self.random_colour_share + self.generic_share
        responses = self.response_generic_share + self.response_random_share + self.response_junk_share
        if context + self.junk_share > 1 or responses > 1:
            raise UsageError("the shares of a sample world exceed 1", fix="lower them")
        if not 0 <= self.reference_rate <= 1:
            raise UsageError(f"reference_rate is {self.reference_rate}", fix="give a share between 0 and 1")
        if 1000 % self.fps or self.width % 2 or self.height % 2 or not 1 <= self.num_categories <= len(CATEGORIES):
            raise UsageError(f"impossible sample world {self}", fix="fps divides 1000, even sizes, 1 to 11 categories")

    @property
    def frame_ms(self) -> int:
        return 1000 // self.fps

    def to_json(self) -> dict[str, float | int | str]:
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class Event:
    """One object in one colour on screen during [start_ms, end_ms) of the recording.

    window: number of the clip window it belongs to; window n is [30 n - 10, 30 n + 20) s, the view of clip n.
    size: sprite edge in pixels. x, y: centre of its movement in pixels from the top left corner.
    """

    start_ms: int
    end_ms: int
    window: int
    object: str
    colour: str
    action: str
    size: int
    x: int
    y: int


def recording_id(seed: int, index: int) -> str:
    return f"sample-s{seed}-{index:04d}"


def category(spec: WorldSpec, index: int) -> str:
    return CATEGORIES[index % spec.num_categories]


def channel_name(seed: int, index: int) -> str:
    """One channel for each recording: "sim_minecraft_0_0003" (so a split by channel keeps scenes apart)."""
    return f"sim_{seed}_{index:04d}"


def generator(*parts: object) -> random.Random:
    """A random stream that depends on the parts alone: equal on every machine."""
    return random.Random(stable_hash("sample-world", *parts))


def window_bounds(window: int, duration_ms: int) -> tuple[int, int]:
    """The view [start - 10 s, start + 20 s) of clip number `window`, cut to the recording."""
    start = window * GEOMETRY.clip_ms
    return max(0, start - GEOMETRY.frames_before_ms), min(duration_ms, start + GEOMETRY.context_ms)


def plan_events(spec: WorldSpec, seed: int, index: int, duration_ms: int) -> list[Event]:
    """All events of one recording in order of time; they do not depend on the chat world.

    The last, incomplete window is filled too, so that the screen stays alive to the end.
    """
    rng = generator(spec.version, seed, index, "screen")
    events: list[Event] = []
    before: set[str] = set()
    for window in range(-(-(duration_ms + GEOMETRY.frames_before_ms) // GEOMETRY.clip_ms)):
        start, end = window_bounds(window, duration_ms)
        spans = _spans(spec, rng, start, end)
        names = rng.sample([name for name in OBJECTS if name not in before], len(spans))
        before = set(names)
        colours = rng.sample(COLOURS, len(spans))  # a colour shown twice would stand out in the mean of all frames
        for (begin, finish), name, colour in zip(spans, names, colours, strict=True):
            size = rng.choice((64, 72, 80))
            middle = (spec.width // 2, spec.height // 2)
            reach = (spec.height - size) // 2 - 14  # movement stays inside the central square
            events.append(
                Event(
                    start_ms=begin,
                    end_ms=finish,
                    window=window,
                    object=name,
                    colour=colour,
                    action=rng.choice(ACTIONS),
                    size=size,
                    x=middle[0] + rng.randint(-reach, reach),
                    y=middle[1] + rng.randint(-reach, reach),
                )
            )
    return events


def _spans(spec: WorldSpec, rng: random.Random, start: int, end: int) -> list[tuple[int, int]]:
    """Event spans on the frame grid in [start, end), at least `min_gap_ms` apart and from the window's edges."""
    share = (end - start) / (GEOMETRY.frames_before_ms + GEOMETRY.context_ms)
    count = rng.randint(spec.min_events, spec.max_events)
    longest = spec.max_event_ms
    if share < 1:  # the first window lacks its first third: as many events, but shorter; the last one has fewer
        count = spec.min_events if end - start >= GEOMETRY.context_ms else int(count * share)
        longest = min(longest, 3_000)
    step = spec.frame_ms
    lengths = [rng.randrange(spec.min_event_ms, longest + 1, step) for _ in range(count)]
    slack = (end - start) - sum(lengths) - spec.min_gap_ms * (count + 1)
    while slack < 0 and lengths:  # cannot happen with the frozen parameters; keeps odd ones legal
        slack += lengths.pop() + spec.min_gap_ms
    cuts = sorted(rng.randrange(0, slack // step + 1) * step for _ in lengths)
    spans = []
    cursor = start
    for number, (cut, length) in enumerate(zip(cuts, lengths, strict=True)):
        cursor = start + cut + spec.min_gap_ms * (number + 1) + sum(lengths[:number])
        spans.append((cursor, cursor + length))
    return spans


def windows(events: list[Event]) -> dict[int, list[Event]]:
    """Events by window number."""
    grouped: dict[int, list[Event]] = {}
    for event in events:
        grouped.setdefault(event.window, []).append(event)
    return grouped


def scene_slug(category_name: str) -> str:
    return slug(category_name)
