"""Train, dev and test: by channel, stratified by category, decided once by a key-free hash, and stored.

    assignment = assign_splits(units, previous, by="channel", fractions=(0.8, 0.1, 0.1), seed=0)

A unit (a channel, or a recording) never lies in two splits; near-duplicate recordings (a rebroadcast, the same video
twice) are merged into one unit first. Once assigned, a unit keeps its split when recordings are added later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .errors import UsageError
from .files import stable_hash
from .schema import SPLITS

SHINGLE_COMMENTS = 3  # consecutive comments that make one shingle of a chat
MIN_SHINGLES = 20  # fewer tell nothing
DUPLICATE_SHARE = 0.5  # of the smaller chat's shingles


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What is known of one recording when splits are made. shingles: hashes of runs of comments (shingles_of)."""

    recording_id: str
    channel: str
    category: str
    video_digest: str | None = None
    shingles: frozenset[int] = frozenset()


def shingles_of(texts: Sequence[str]) -> frozenset[int]:
    """Hashes of each run of SHINGLE_COMMENTS consecutive comments: equal runs hardly occur but in a rebroadcast."""
    runs = zip(*(texts[offset:] for offset in range(SHINGLE_COMMENTS)), strict=False)
    return frozenset(stable_hash(*run) for run in runs if sum(map(len, run)) >= 4 * SHINGLE_COMMENTS)


def merge_units(units: Sequence[Unit], by: str) -> dict[str, str]:
    """recording_id -> name of its unit (the first recording of it), with near-duplicates joined."""
    parent = {unit.recording_id: unit.recording_id for unit in units}

    def find(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    def join(a: str, b: str) -> None:
        first, second = sorted((find(a), find(b)))
        parent[second] = first

    for same in (
        *(_equal(units, lambda unit: unit.channel) if by == "channel" else ()),
        *_equal([unit for unit in units if unit.video_digest], lambda unit: unit.video_digest),
        *_duplicates(units),
    ):
        for other in same[1:]:
            join(same[0], other)
    return {name: find(name) for name in parent}


def _equal(units: Iterable[Unit], value: object) -> list[list[str]]:
    groups: dict[object, list[str]] = {}
    for unit in units:
        groups.setdefault(value(unit), []).append(unit.recording_id)  # type: ignore[operator]
    return list(groups.values())


def _duplicates(units: Sequence[Unit]) -> list[list[str]]:
    """Pairs of recordings that share at least half of the smaller one's shingles."""
    owners: dict[int, list[int]] = {}
    for index, unit in enumerate(units):
        for shingle in unit.shingles:
            owners.setdefault(shingle, []).append(index)
    shared = Counter(
        (a, b) for who in owners.values() if 1 < len(who) <= 50 for i, a in enumerate(who) for b in who[i + 1 :]
    )
    return [
        [units[a].recording_id, units[b].recording_id]
        for (a, b), count in shared.items()
        if (smaller := min(len(units[a].shingles), len(units[b].shingles))) >= MIN_SHINGLES
        and count >= DUPLICATE_SHARE * smaller
    ]


def assign_splits(
    units: Sequence[Unit],
    previous: Mapping[str, str],
    *,
    by: str,
    fractions: tuple[float, float, float],
    seed: int,
) -> dict[str, str]:
    """recording_id -> split.

    previous: what was stored before; it wins. by: "channel", "recording", or a split's name (everything in it).
    Raises UsageError if there are fewer units than splits (3 by default): then the user must choose.
    """
    if by in SPLITS:
        return {unit.recording_id: by for unit in units}
    unit_of = merge_units(units, by)
    members: dict[str, list[Unit]] = {}
    for unit in sorted(units, key=lambda unit: unit.recording_id):
        members.setdefault(unit_of[unit.recording_id], []).append(unit)
    known = {
        name: previous[unit.recording_id]
        for name, group in members.items()
        for unit in group[::-1]
        if unit.recording_id in previous
    }
    num_splits = sum(fraction > 0 for fraction in fractions)
    if len(members) < num_splits:
        same = len(units) - len(members) if by == "recording" else 0
        note = f" that differ ({same} more repeat a chat or a video)" if same else ""
        other = "import more recordings" if by == "recording" else "choose --split-by recording"
        raise UsageError(
            f"a split by {by} needs at least {num_splits} {by}s, here are {len(members)}{note}",
            fix=f"{other}, or --split-by test to put all clips in one split",
        )
    targets = split_counts(len(members), fractions)
    counts = Counter(known.values())
    done = len(known)
    # Stratified: units of one category follow each other, and each position takes the split that lags most.
    new = set(members) - set(known)
    for name in sorted(new, key=lambda name: (_category(members[name]), stable_hash(seed, "split", name))):
        done += 1
        open_splits = [split for split in SPLITS if counts[split] < targets[split]] or ["train"]
        known[name] = max(open_splits, key=lambda split: targets[split] * done / len(members) - counts[split])
        counts[known[name]] += 1
    return {recording: known[unit] for recording, unit in unit_of.items()}


def split_counts(num_units: int, fractions: tuple[float, float, float]) -> dict[str, int]:
    """Units of each split: rounded, at least one where the fraction is positive, train takes the rest."""
    dev, test = (max(1, round(num_units * fraction)) if fraction > 0 else 0 for fraction in fractions[1:])
    return {"train": num_units - dev - test, "dev": dev, "test": test}


def _category(group: Sequence[Unit]) -> str:
    counts = Counter(unit.category for unit in group)
    return min(counts, key=lambda category: (-counts[category], category))
