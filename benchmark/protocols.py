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
from videochat.files import digest_json
from videochat.registry import Registry

Construction = Literal["balanced-groups", "chosen-negatives"]
Pool = Literal["recording", "category", "split"]
TruthsFrom = Literal["second", "responses"]
KINDS = ("random", "cosine", "popularity", "mixed")
Track = Literal["context-end", "at-comment"]
# Fields that a declaration written before them lacks: left out at their default, so that older digests hold.
LATE = ("track", "pool", "similarity", "max_truths", "truths_from", "popular_share", "similar_share")


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
        which the truth was first said, with the responses until then among the chat (benchmark/candidates/views.py).
    pool: whose comments are candidates: those of the clip's recording, of the recordings of its category, or of its
        whole split. Never another split's: what was never said in training would give the truth away.
    similarity: what Cosine measures by: "tfidf", "clip" (the data set's own text embeddings), or a sentence encoder,
        a folder or a name that transformers knows (benchmark/candidates/similarity.py).
    max_truths, truths_from: other responses that count as truths beside the drawn one, said in the same "second" as it
        (LiveBot) or among all "responses" of the clip; chosen negatives only.
    popular_share, similar_share: of the K candidates of kind "mixed"; the rest is random (LiveBot: 20 of 100 each).
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
    pool: Pool = "recording"
    similarity: str = "tfidf"
    max_truths: int = 1
    truths_from: TruthsFrom = "second"
    popular_share: float = 0.2
    similar_share: float = 0.2

    def __post_init__(self) -> None:
        sizes_fit = self.construction == "chosen-negatives" or self.k <= self.max_k <= self.max_pooled_k
        if not (self.k >= 2 and sizes_fit and self.sets) or len(set(self.sets)) != len(self.sets):
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
        self._check_options()

    def _check_options(self) -> None:
        """Raises UsageError for options that no set can be made with."""
        where = f"protocol {self.name!r}"
        if unknown := sorted(set(self.sets) - set(KINDS)):
            raise UsageError(f"{where} names the sets {unknown}", fix=f"choose of {', '.join(KINDS)}")
        for name, value, kinds in (("pool", self.pool, Pool), ("truths_from", self.truths_from, TruthsFrom)):
            if value not in get_args(kinds):
                raise UsageError(f"{where}: {name} is {value!r}", fix=f"choose one of {', '.join(get_args(kinds))}")
        if not self.similarity or self.similarity != self.similarity.strip():
            raise UsageError(f"{where}: similarity is {self.similarity!r}", fix="tfidf, clip, or a sentence encoder")
        if not 1 <= self.max_truths < self.k:
            raise UsageError(f"{where}: max_truths is {self.max_truths}", fix=f"from 1 to {self.k - 1}, below k")
        if not (self.popular_share >= 0 and self.similar_share >= 0 and self.popular_share + self.similar_share <= 1):
            raise UsageError(f"{where}: popular_share and similar_share are not shares", fix="each >= 0, together <= 1")
        if self.construction == "balanced-groups" and (self.max_truths > 1 or "mixed" in self.sets):
            raise UsageError(
                f"{where}: balanced groups have one truth a clip and no mixed set",
                fix='construction = "chosen-negatives", or max_truths = 1 and other sets',
            )
        if self.track == "at-comment" and self.max_truths > 1:
            raise UsageError(
                f"{where}: at-comment has one truth a clip; another one may be in the chat before it",
                fix='track = "context-end", or max_truths = 1',
            )

    @property
    def label(self) -> str:
        """How the signature line names it: v1.0, classic-1.0; one that is not built in adds its digest."""
        own = "" if self.is_built_in else f"+{self.digest[:8]}"
        if self.name == f"v{self.version.partition('.')[0]}":
            return f"v{self.version}{own}"
        return f"{self.name}-{self.version}{own}"

    @property
    def is_built_in(self) -> bool:
        return self.name in PROTOCOLS and PROTOCOLS[self.name] == self

    @property
    def digest(self) -> str:
        """Of the whole declaration."""
        return digest_json(self.to_json())

    def check_k(self, k: int) -> int:
        """`k` if sets of that size can be made; UsageError otherwise. Chosen negatives take any K above max_truths."""
        if self.construction == "chosen-negatives":
            if k <= max(1, self.max_truths):
                raise UsageError(f"K = {k} leaves no negatives beside the truths", fix=f"take --k {self.k}")
            return k
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
        """Where the candidates of a set of K come from: one recording, the recordings of a category, or a split."""
        if self.construction == "chosen-negatives" or self.pool != "recording":
            return self.pool
        return "recording" if k <= self.max_k else "category"

    def set_name(self, kind: str, k: int) -> str:
        """The file name of a set: "cosine", 10 -> "cosine10"."""
        if kind not in self.sets:
            raise UsageError(f"protocol {self.name} has no set {kind!r}", fix=f"choose one of {', '.join(self.sets)}")
        return f"{kind}{k}"

    def to_json(self) -> dict[str, Any]:
        """The declaration; what was added to it later (LATE) only where it is not the default."""
        late = {f.name: f.default for f in dataclasses.fields(self) if f.name in LATE}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
            if name not in late or value != late[name]
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
        for f in dataclasses.fields(cls):
            if f.name in fields and not _fits(fields[f.name], str(f.type)):
                raise UsageError(f"{f.name} = {value[f.name]!r} is no {f.type}", fix=f"give a value like {f.default!r}")
        return cls(**fields)


def _fits(value: object, annotation: str) -> bool:
    """Whether a value from a file has the type of a field; every annotation that is not named here is a string's."""
    if annotation.startswith("tuple"):
        inner = annotation.removeprefix("tuple[").partition(",")[0]
        return isinstance(value, tuple) and all(_fits(item, inner) for item in value)
    kinds: dict[str, type | tuple[type, ...]] = {"int": int, "float": (int, float), "bool": bool}
    if annotation != "bool" and isinstance(value, bool):
        return False
    return isinstance(value, kinds.get(annotation, str))


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

LIVEBOT = PROTOCOLS.add(
    "livebot",
    Protocol(
        name="livebot",
        version="1.0",
        summary="LiveBot's 100 candidates, repaired: up to five truths of one second, popular, similar and random ones;"
        " reversed statistics can win it",
        construction="chosen-negatives",
        sets=("mixed",),
        k=100,
        cutoffs=(1, 5, 10),
        pool="split",
        max_truths=5,
    ),
)
