"""The declaration of `released-2025`, and the switches that lead from it to a sound procedure one at a time.

    RELEASED.label                                # "released-2025-1.0"
    mended("ties").label                          # "released-2025-1.0+ties=expected"
    ReleasedProtocol.from_json(value)             # unknown fields are refused

It imitates a procedure (FACTS §1-§3): no number made with it is comparable with one of `v1` or `classic`, nor with the
paper's tables. Its candidates keep duplicates and order, so it has files and a ranker of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from videochat.errors import UsageError

NAME = "released-2025"
SETS = ("cosine", "popularity", "random")

# switch -> (as released, as it should be); the released value stands first.
SWITCHES: dict[str, tuple[Any, Any]] = {
    "truth": ("most-similar", "drawn"),
    "own_context": ("in-pool", "left-out"),
    "duplicates": ("kept", "removed"),
    "selection": ("argpartition", "exact"),
    "order": ("truth-first", "shuffled"),
    "ties": ("sort", "expected"),
    "candidate_tokens": (3, 0),
    "scoring": ("one-decode", "likelihood"),
    "context": ("redrawn", "as-said"),
    "frames": ("whole-clip", "before-the-answer"),
    "split": ("random-clips", "stored"),
    "averaging": ("batches", "clips"),
}


@dataclass(frozen=True, kw_only=True)
class ReleasedProtocol:
    """One way to imitate the released evaluation; the defaults are the released ones.

    num_plausible, num_popular, num_random: stored negatives of each kind; of each kind the first k - 1 are used.
    train_draws, test_draws: context comments drawn with replacement. batch_clips: clips in a batch of the metrics.
    test_share: of all clips, at random, for the test.
    truth: the response most similar to the joined context, or one drawn by hash. own_context: whether the pool of
    negatives holds the clip's own context. duplicates: equal strings among the candidates. selection: how the nearest
    strings are found. order: where the truth stands. ties: by torch's sort, or by their expectation. candidate_tokens:
    word pieces of a candidate that are scored, 0: all. scoring: of models that can: one free-running decode shared by
    all candidates, or the likelihood of each. context: drawn at each read, or as it was said. frames: of the whole
    30 s, or those before the answers. split: random clips, or the stored one. averaging: of the metrics.
    """

    name: str = NAME
    version: str = "1.0"
    k: int = 10
    num_plausible: int = 20
    num_popular: int = 20
    num_random: int = 39
    train_draws: int = 5
    test_draws: int = 15
    batch_clips: int = 32
    test_share: float = 0.1
    truth: str = "most-similar"
    own_context: str = "in-pool"
    duplicates: str = "kept"
    selection: str = "argpartition"
    order: str = "truth-first"
    ties: str = "sort"
    candidate_tokens: int = 3
    scoring: str = "one-decode"
    context: str = "redrawn"
    frames: str = "whole-clip"
    split: str = "random-clips"
    averaging: str = "batches"

    def __post_init__(self) -> None:
        for name, allowed in SWITCHES.items():
            value = getattr(self, name)
            if value not in allowed and not (name == "candidate_tokens" and isinstance(value, int) and value > 0):
                raise UsageError(f"{name} is {value!r}", fix=f"choose one of {', '.join(map(str, allowed))}")
        least = min(self.num_plausible, self.num_popular, self.num_random)
        if not 2 <= self.k <= least + 1:
            raise UsageError(f"k = {self.k} is not between 2 and {least + 1}", fix="1 truth and the stored negatives")
        if min(self.train_draws, self.test_draws, self.batch_clips) < 1 or not 0 < self.test_share < 1:
            raise UsageError(f"impossible protocol {self.label}", fix="draws and batches >= 1, 0 < test_share < 1")

    @property
    def label(self) -> str:
        """Name, version, and every field that is not as released."""
        changed = [
            f"+{field.name}={getattr(self, field.name)}"
            for field in dataclasses.fields(self)
            if field.name not in ("name", "version") and getattr(self, field.name) != field.default
        ]
        return f"{self.name}-{self.version}{''.join(changed)}"

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ReleasedProtocol:
        """The inverse of to_json. Unknown fields and another version raise UsageError."""
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(value) - known):
            raise UsageError(f"{NAME} has no fields {unknown}", fix=f"known are {sorted(known)}")
        if (value.get("name", NAME), value.get("version", RELEASED.version)) != (NAME, RELEASED.version):
            raise UsageError(f"not {NAME} {RELEASED.version}: {value}", fix="this package knows that version alone")
        return cls(**value)


RELEASED = ReleasedProtocol()


def mended(*switches: str, protocol: ReleasedProtocol = RELEASED) -> ReleasedProtocol:
    """`protocol` with these defects mended. Raises UsageError for an unknown switch."""
    for switch in switches:
        if switch not in SWITCHES:
            raise UsageError(f"{NAME} has no switch {switch!r}", fix=f"choose one of {', '.join(SWITCHES)}")
    values: dict[str, Any] = {switch: SWITCHES[switch][1] for switch in switches}
    return dataclasses.replace(protocol, **values)
