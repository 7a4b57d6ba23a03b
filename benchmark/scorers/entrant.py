"""Who is ranked: a Commenter with what the table should say of it.

Entrant.of(Popularity())                                   # what the registry says of "popularity"
Entrant(commenter=mine, trained=True, checkpoint_digest="9f3c...")
Entrant.of(chooser)                                        # an object with rank(clip, texts): asked in several orders
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from videochat.commenter import MODELS, Chooser, Commenter, TextTable
from videochat.errors import UsageError

from .choice import Asked

if TYPE_CHECKING:
    from videochat.dataset import Dataset


@dataclass(frozen=True, kw_only=True, eq=False)
class Entrant:
    """A commenter with what the table should say of it.

    kind: "model" gets gains, comparisons and the text-only mark; "scorer" is a baseline. checkpoint_digest and seed
    name the weights that were ranked.
    """

    commenter: Commenter
    kind: str = "model"
    summary: str = ""
    trained: bool = False
    seed: int = 0
    checkpoint_digest: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("model", "scorer"):
            raise UsageError(f"an entrant of kind {self.kind!r}", fix="model or scorer")

    @property
    def name(self) -> str:
        return self.commenter.name

    @classmethod
    def of(cls, value: Commenter | Chooser | Entrant) -> Entrant:
        """A bare Commenter as an entrant: what MODELS says of its name, else an untrained model.

        Attributes `seed` and `checkpoint_digest` of the commenter are taken over.
        """
        if isinstance(value, Entrant):
            return value
        if not isinstance(value, Commenter) and isinstance(value, Chooser):
            return cls.of(Asked(value))
        if not isinstance(value, Commenter):
            raise UsageError(f"{value!r} is no commenter", fix="an object with name, needs and score(...) or rank(...)")
        entry = MODELS[value.name] if value.name in MODELS else None  # noqa: SIM401 (an unknown name raises UsageError)
        trained = entry is not None and entry.train is not None
        seed, digest = getattr(value, "seed", 0), getattr(value, "checkpoint_digest", None)
        return cls(
            commenter=value,
            kind="scorer" if entry is not None and not trained else "model",
            summary=entry.summary if entry else "",
            trained=trained,
            seed=seed if isinstance(seed, int) else 0,
            checkpoint_digest=digest if isinstance(digest, str) else None,
        )


def lacking(entrant: Entrant, dataset: Dataset, texts: TextTable, *, at_comment: bool = False) -> str | None:
    """Why the entrant cannot run on this dataset, or None.

    at_comment: views reach into the responses, whose embeddings lie where those of the candidates do.
    """
    provides = set(dataset.provides) | {"candidate_embeddings"}
    if texts.embeddings is None:
        provides -= {"candidate_embeddings", "text_embeddings"} if at_comment else {"candidate_embeddings"}
    missing = sorted(set(entrant.commenter.needs) - provides)
    if not missing:
        return None
    return f"needs {' and '.join(name.replace('_', ' ') for name in missing)}, which this dataset does not hold"
