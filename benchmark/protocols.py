"""The protocols by name: how candidate sets are made and what is printed. PROTOCOL is normative; these declare it.

    PROTOCOLS["v1"].sets            # ("random", "cosine", "popularity")
    PROTOCOLS["v1"].set_name("cosine", 10)   # "cosine10"

A protocol never changes once a number was published with it: a mend is a new version with its own sets.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from videochat.errors import UsageError
from videochat.registry import Registry

Construction = Literal["balanced-groups", "chosen-negatives"]
Pool = Literal["recording", "category"]
Track = Literal["context-end", "at-comment"]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One way to ask which comment was really written.

    name, version: as in the signature line, "v1.0" = name "v1", version "1.0".
    construction: "balanced-groups": K clips of a recording rank the same K truths; "chosen-negatives": one truth
        and K - 1 negatives chosen by a statistic for each clip.
    sets: names without K. k: candidates a clip in the headline sets. max_k: the largest K that the construction
        takes from one recording. max_pooled_k: the largest K at all; above max_k the recordings of a category are
        one pool, and the sets say so. Equal to max_k: there are no pooled sets.
    cutoffs: the k of R@k that are printed.
    generic_top, generic_share: a truth is generic if its key is among the most frequent keys of the training split:
        the first min(generic_top, generic_share of the distinct keys), so that a small vocabulary is not all generic.
    clip_blind_at_chance: the construction proves that a scorer which ignores the clip is exactly at chance.
    track: where a model's view of a clip ends. "context-end": with the context; "at-comment": before the second in
        which the truth was first said, with the responses until then among the chat (benchmark/views.py).
    """

    name: str
    version: str
    summary: str
    construction: Construction
    sets: tuple[str, ...] = ("random", "cosine", "popularity")
    k: int = 10
    max_k: int = 99
    max_pooled_k: int = 99
    cutoffs: tuple[int, ...] = (1, 2, 5)
    generic_top: int = 100
    generic_share: float = 0.01
    clip_blind_at_chance: bool = False
    track: Track = "context-end"

    def __post_init__(self) -> None:
        if not 2 <= self.k <= self.max_k <= self.max_pooled_k or not self.sets or len(set(self.sets)) != len(self.sets):
            raise UsageError(
                f"impossible protocol {self.name!r}", fix="2 <= k <= max_k <= max_pooled_k, sets named once each"
            )
        if self.track not in get_args(Track) or self.construction not in get_args(Construction):
            raise UsageError(
                f"protocol {self.name!r}: track {self.track!r}, construction {self.construction!r}",
                fix=f"a track of {get_args(Track)}, a construction of {get_args(Construction)}",
            )
        if self.generic_top < 0 or not 0 <= self.generic_share <= 1:
            raise UsageError(f"impossible stratum in protocol {self.name!r}", fix="0 <= generic_share <= 1")

    @property
    def label(self) -> str:
        """How the signature line names it: v1.0, classic-1.0."""
        return (
            f"v{self.version}" if self.name == f"v{self.version.partition('.')[0]}" else f"{self.name}-{self.version}"
        )

    def check_k(self, k: int) -> int:
        """`k` if sets of that size can be made; UsageError otherwise."""
        if not 2 <= k <= self.max_pooled_k:
            raise UsageError(
                f"K = {k} is not between 2 and {self.max_pooled_k} for protocol {self.name}", fix=f"take --k {self.k}"
            )
        return k

    def sizes(self, k: int | Sequence[int] | None) -> tuple[int, ...]:
        """The K of the sets to make, ascending, each once: `k`, or the headline's."""
        wanted = [self.k] if k is None else [k] if isinstance(k, int) else list(k)
        if not wanted:
            raise UsageError("no K was given", fix=f"take --k {self.k}")
        return tuple(sorted({self.check_k(size) for size in wanted}))

    def pool_of(self, k: int) -> Pool:
        """Where the candidates of a set of K come from: one recording, or the recordings of a category (of a split)."""
        return "recording" if k <= self.max_k else "category"

    def set_name(self, kind: str, k: int) -> str:
        """The file name of a set: "cosine", 10 -> "cosine10"."""
        if kind not in self.sets:
            raise UsageError(f"protocol {self.name} has no set {kind!r}", fix=f"choose one of {', '.join(self.sets)}")
        return f"{kind}{k}"

    def to_json(self) -> dict[str, Any]:
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Protocol:
        """The inverse of to_json. Unknown or missing fields raise UsageError."""
        known = {f.name for f in dataclasses.fields(cls)}
        if unknown := sorted(set(value) - known):
            raise UsageError(f"a protocol has no fields {unknown}", fix=f"known are {sorted(known)}")
        needed = {f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING}
        if missing := sorted(needed - set(value)):
            raise UsageError(f"the protocol lacks {missing}", fix="give every field without a default")
        fields: dict[str, Any] = {n: tuple(item) if isinstance(item, list) else item for n, item in value.items()}
        return cls(**fields)


PROTOCOLS: Registry[Protocol] = Registry("protocol")

V1 = PROTOCOLS.add(
    "v1",
    Protocol(
        name="v1",
        version="1.0",
        summary="balanced groups: K clips of one recording rank the same K truths, so no statistic gives them away",
        construction="balanced-groups",
        max_pooled_k=1000,
        clip_blind_at_chance=True,
    ),
)

V1_AT_COMMENT = PROTOCOLS.add(
    "v1-at-comment",
    dataclasses.replace(
        V1,
        name="v1-at-comment",
        summary="the groups of v1, asked in the second before the truth was first said: later chat and frames are seen",
        track="at-comment",
    ),
)

CLASSIC = PROTOCOLS.add(
    "classic",
    Protocol(
        name="classic",
        version="1.0",
        summary="one truth and K - 1 chosen negatives, as the field does it; a reversed statistic can win it",
        construction="chosen-negatives",
    ),
)
