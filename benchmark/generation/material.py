"""What generated comments are measured against: references, contexts and a person's comment held out of them.

    material = Material.read(dataset, "test")
    material.references[0]        # what people answered in clip 0, without the comment that is held out

One response a clip is held out by hash and stands in the table as the row "person"; the others are the references for
every row, so that the person's row is measured as the models are. Clips with one response are left out and counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from videochat.errors import MissingInput
from videochat.files import stable_hash

from ..texts.keys import key, keys
from .words import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from videochat.dataset import Dataset
    from videochat.schema import Clip

PERSON, POPULAR, COPY = "person", "popular", "copy-last"
ANCHORS = {
    PERSON: "the held-out comment of a person: what the metrics give to a real answer",
    POPULAR: "the most frequent comment of the training split, for every clip",
    COPY: "the last comment of the context, again",
}


@dataclass(frozen=True, kw_only=True)
class Material:
    """n clips in the order of the shards.

    clip_ids, clusters: str, n each. contexts, references: the comments of each clip; held_out: a person's answer.
    popular: the most frequent comment of the training split. num_left_out: clips with fewer than two responses.
    """

    clip_ids: tuple[str, ...]
    clusters: tuple[str, ...]
    contexts: tuple[tuple[str, ...], ...]
    references: tuple[tuple[str, ...], ...]
    held_out: tuple[str, ...]
    popular: str
    num_left_out: int

    def __len__(self) -> int:
        return len(self.clip_ids)

    @classmethod
    def read(cls, dataset: Dataset, split: str = "test", *, seed: int = 0, limit: int | None = None) -> Material:
        """The clips of `split`, the first `limit` of them. Raises MissingInput if none has two responses."""
        popular = most_frequent(
            comment.text for clip in dataset.clips("train") for comment in (*clip.context, *clip.responses)
        )
        return cls.of(islice(dataset.clips(split), limit), dataset.clusters(), popular=popular, seed=seed)

    @classmethod
    def of(cls, clips: Iterable[Clip], clusters: dict[str, str], *, popular: str, seed: int = 0) -> Material:
        columns: dict[str, list[Any]] = {name: [] for name in ("ids", "clusters", "contexts", "references", "held_out")}
        num_left_out = 0
        for clip in clips:
            said = [comment.text for comment in clip.responses]
            if len(said) < 2:
                num_left_out += 1
                continue
            held_out = stable_hash(seed, clip.recording_id, clip.start_ms, "held-out") % len(said)
            columns["ids"].append(clip.clip_id)
            columns["clusters"].append(clusters[clip.clip_id])
            columns["contexts"].append(tuple(comment.text for comment in clip.context))
            columns["references"].append(tuple(said[:held_out] + said[held_out + 1 :]))
            columns["held_out"].append(said[held_out])
        if not columns["ids"]:
            raise MissingInput("no clip has two responses, one to hold out and one to compare with", fix="build more")
        return cls(
            clip_ids=tuple(columns["ids"]),
            clusters=tuple(columns["clusters"]),
            contexts=tuple(columns["contexts"]),
            references=tuple(columns["references"]),
            held_out=tuple(columns["held_out"]),
            popular=popular,
            num_left_out=num_left_out,
        )

    def anchors(self) -> dict[str, list[str]]:
        """The comments of ANCHORS, one a clip."""
        return {
            PERSON: list(self.held_out),
            POPULAR: [self.popular] * len(self),
            COPY: [context[-1] for context in self.contexts],
        }

    @cached_property
    def reference_words(self) -> list[list[list[str]]]:
        """The words of each reference of each clip."""
        return [[words(text) for text in texts] for texts in self.references]

    @cached_property
    def context_keys(self) -> list[frozenset[str]]:
        return [frozenset(keys(texts)) for texts in self.contexts]

    @cached_property
    def reference_keys(self) -> list[frozenset[str]]:
        return [frozenset(keys(texts)) for texts in self.references]


@dataclass(frozen=True, kw_only=True)
class Comments:
    """One row's comments, one a clip of `material`, none empty."""

    name: str
    texts: Sequence[str]
    material: Material

    @cached_property
    def words(self) -> list[list[str]]:
        return [words(text) for text in self.texts]

    @cached_property
    def keys(self) -> list[str]:
        return keys(self.texts)


def most_frequent(texts: Iterable[str]) -> str:
    """The text whose key is the most frequent; of equal ones the first by key, of its texts the first by alphabet.

    Raises MissingInput if there are none.
    """
    counts = Counter(texts)
    by_key: Counter[str] = Counter()
    for text, count in counts.items():
        by_key[key(text)] += count
    if not by_key:
        raise MissingInput("the training split holds no comments", fix="build more recordings")
    best = min(by_key, key=lambda name: (-by_key[name], name))
    return min((text for text in counts if key(text) == best), key=lambda text: (-counts[text], text))
