"""Candidate sets in memory: columns of numpy arrays, and the table of texts that they number.

sets = load_candidates(workspace, dataset, "v1")
test = sets["cosine10"].split("test")
[sets.texts.texts[i] for i in test.candidates[0]]
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from videochat.commenter import TextTable
from videochat.files import digest_json

from ..metrics.ranks import truth_mask
from ..protocol_files import declared_by
from ..protocols import Protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLUMNS = (
    *("clip_ids", "recording_ids", "categories", "clusters", "splits", "group_ids"),
    *("candidates", "truths", "generic", "digests", "sources"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class CandidateSet:
    """n clips with K candidates each, in order of (split, group_id, clip_id).

    clip_ids, recording_ids, categories, clusters (the split unit), splits, group_ids, digests: object arrays (n,).
    candidates: int32 (n, k), rows of the text table, in the shuffled order a model is handed. truths: int32 (n,), a
    member of its row of candidates. generic: bool (n,), the truth is one of the most frequent keys of the training
    split. sources: object (n, k), for each candidate the clip it comes from.
    other_truths: int32 (n, T), members of their row too, filled up with -1; None where every clip has one truth.
    digest: of the whole set, the root of the items' digests; a part of a set keeps the digest of the whole.
    """

    name: str
    kind: str
    k: int
    digest: str
    clip_ids: NDArray[np.object_]
    recording_ids: NDArray[np.object_]
    categories: NDArray[np.object_]
    clusters: NDArray[np.object_]
    splits: NDArray[np.object_]
    group_ids: NDArray[np.object_]
    candidates: NDArray[np.int32]
    truths: NDArray[np.int32]
    generic: NDArray[np.bool_]
    digests: NDArray[np.object_]
    sources: NDArray[np.object_]
    other_truths: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.clip_ids)

    def take(self, rows: NDArray[Any]) -> CandidateSet:
        """Some rows, by a boolean mask or by their numbers."""
        others = None if self.other_truths is None else self.other_truths[rows]
        return dataclasses.replace(self, other_truths=others, **{name: getattr(self, name)[rows] for name in COLUMNS})

    def split(self, split: str) -> CandidateSet:
        return self.take(self.splits == split)

    @property
    def truth_positions(self) -> NDArray[np.int64]:
        """int64 (n,): where in its row of candidates the truth stands."""
        return np.asarray((self.candidates == self.truths[:, None]).argmax(axis=1), dtype=np.int64)

    @property
    def truth_places(self) -> list[int | list[int]]:
        """For each clip what its digest covers: the position of its truth, or of each of its truths, ascending."""
        if self.other_truths is None:
            return list(self.truth_positions.tolist())
        mask = truth_mask(self.candidates, np.concatenate([self.truths[:, None], self.other_truths], axis=1))
        return [np.flatnonzero(row).tolist() for row in mask]


@dataclass(frozen=True, eq=False)
class CandidateSets(Mapping[str, CandidateSet]):
    """All sets of one protocol by name ("random10"), the texts they number and the manifest they came with."""

    sets: Mapping[str, CandidateSet]
    texts: TextTable
    manifest: dict[str, Any]

    def __getitem__(self, name: str) -> CandidateSet:
        return self.sets[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.sets)

    def __len__(self) -> int:
        return len(self.sets)

    @property
    def protocol(self) -> str:
        return str(self.manifest["protocol"])

    @property
    def version(self) -> str:
        return str(self.manifest["version"])

    @property
    def declaration(self) -> Protocol:
        return declared_by(self.manifest)

    def clip_union(self, split: str) -> dict[str, tuple[int, ...]]:
        """clip_id -> the sorted union of its candidates over all sets: what has to be scored, once."""
        return self._unions.get(split, {})

    def first(self, num_clips: int) -> CandidateSets:
        """Whole groups of each set and split until `num_clips` clips are reached: for a try, never for a table."""
        sets = {}
        for name, part in self.items():
            keep = np.zeros(len(part), bool)
            for split in np.unique(part.splits):
                rows = np.flatnonzero(part.splits == split)
                groups = part.group_ids[rows]
                last = groups[min(num_clips, len(rows)) - 1]
                keep[rows[groups <= last]] = True
            sets[name] = part.take(keep)
        return dataclasses.replace(self, sets=sets)

    @cached_property
    def _unions(self) -> dict[str, dict[str, tuple[int, ...]]]:
        found: dict[str, dict[str, set[int]]] = {}
        for part in self.sets.values():
            for split, clip, row in zip(part.splits, part.clip_ids, part.candidates.tolist(), strict=True):
                found.setdefault(split, {}).setdefault(clip, set()).update(row)
        return {split: {clip: tuple(sorted(clips[clip])) for clip in sorted(clips)} for split, clips in found.items()}


def item_digest(
    label: str, set_name: str, clip: str, group: str, texts: list[str], truth: int | list[int], sources: list[str]
) -> str:
    """Digest of one item by its contents, not by text numbers: it stays when other items leave the set.

    texts: the candidates in order; truth: the position of the truth among them; a list where there may be several.
    """
    return digest_json([label, set_name, clip, group, texts, truth, sources])[:32]


def root_digest(label: str, set_name: str, digests: list[str]) -> str:
    """Digest of a set: over the sorted digests of its items."""
    return digest_json([label, set_name, sorted(digests)])


def texts_digest(texts: TextTable) -> str:
    """Digest of the text table: texts in order, and the bytes of the embeddings where there are any."""
    import hashlib

    digest = hashlib.sha256(digest_json(list(texts.texts)).encode())
    if texts.embeddings is not None:
        digest.update(str(texts.embeddings.shape).encode())
        digest.update(np.ascontiguousarray(texts.embeddings).tobytes())
    return digest.hexdigest()
