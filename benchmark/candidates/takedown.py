"""Candidate sets after a takedown: version n + 1 = n without the groups that lost something (PROTOCOL "Signature").

    sets = succeed(workspace, Dataset.open(workspace.root), Path("published/candidates/v1"))

Groups made anew from the shards that are left would be other groups, and no old result could be compared. So the
frozen sets are taken over: a group goes as a whole when one of its clips is gone, has moved to another split, or does
not hold its string any more; every other item stays as it was, to its digest. The manifest says what it succeeds.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from videochat.commenter import TextTable
from videochat.errors import Mismatch, MissingInput, UsageError
from videochat.files import digest_json

from ..protocol_files import declared_by
from ..texts.corpus import Corpus
from .build import FORMAT_VERSION, RANKED_SPLITS, read_manifest
from .files import read_sets, write_sets
from .sets import CandidateSet, CandidateSets, root_digest, texts_digest
from .truth import NO_TRUTH, draw_truths

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from videochat.dataset import Dataset
    from videochat.workspace import Workspace


def succeed(workspace: Workspace, dataset: Dataset, folder: Path) -> CandidateSets:
    """Write the sets in `folder`, less the groups that the dataset's shards no longer hold, as the workspace's own.

    folder: frozen sets of an earlier version of this data set (manifest.json, texts.parquet and the sets).
    Raises MissingInput if there are none or no group is left, Mismatch if they were changed, are of another format, or
    of data that shares no clip with the shards, UsageError if they are the sets of these very shards.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise MissingInput(f"no candidate sets in {folder}", fix="name a folder with manifest.json")
    if manifest["format"] != FORMAT_VERSION or manifest["version"] != declared_by(manifest).version:
        raise Mismatch(f"the candidate sets in {folder} are of another version", fix="make new ones without --from")
    if manifest["data_digest"] == dataset.digest:
        raise UsageError(f"the candidate sets in {folder} are of these very shards", fix="nothing is to be left out")
    old = read_sets(folder, manifest)
    corpus = Corpus.read(dataset, RANKED_SPLITS)
    held = Held(corpus)
    kept = {name: part.take(~held.broken(part, old.texts)) for name, part in old.items()}
    if not any(len(part) for part in kept.values()):
        raise MissingInput(f"no group of {folder} is left in these shards", fix="make new sets without --from")
    sets = _renumbered(kept, old.texts, dataset.clusters(), declared_by(manifest).label)
    sets.manifest.update(_manifest(manifest, old, sets, dataset, corpus, workspace.settings.seed))
    write_sets(workspace.candidates_dir(sets.protocol), sets)
    return sets


class Held:
    """What the shards still hold: split of each clip, and the texts said in it."""

    def __init__(self, corpus: Corpus) -> None:
        self.numbers = {clip_id: number for number, clip_id in enumerate(corpus.clip_ids)}
        self.corpus = corpus

    def broken(self, part: CandidateSet, texts: TextTable) -> NDArray[np.bool_]:
        """bool (n,): the items whose group lost something."""
        known: dict[str, set[str]] = {}
        lost = np.zeros(len(part), dtype=bool)
        rows = zip(
            part.clip_ids, part.splits, part.candidates.tolist(), part.truths.tolist(), part.sources, strict=True
        )
        for row, (clip, split, candidates, truth, sources) in enumerate(rows):
            number = self.numbers.get(clip)
            moved = number is None or self.corpus.splits[number] != split
            lost[row] = moved or texts.texts[truth] not in self.responses(number)  # type: ignore[arg-type]
            for candidate, source in zip(candidates, sources, strict=True):
                if lost[row]:
                    break
                if source not in known:
                    known[source] = self.said(source)
                lost[row] = texts.texts[candidate] not in known[source]
        broken = set(part.group_ids[lost].tolist())
        return np.array([group in broken for group in part.group_ids.tolist()], dtype=bool)

    def responses(self, number: int) -> set[str]:
        return {self.corpus.texts[text] for text in self.corpus.responses.of(number).tolist()}

    def said(self, clip: str) -> set[str]:
        number = self.numbers.get(clip)
        if number is None:
            return set()
        return self.responses(number) | {self.corpus.texts[t] for t in self.corpus.context.of(number).tolist()}


def _renumbered(
    parts: dict[str, CandidateSet], texts: TextTable, clusters: dict[str, str], label: str
) -> CandidateSets:
    """The parts with only the texts that they use, in the same order, and the digests of what is left."""
    used = np.unique(np.concatenate([part.candidates.ravel() for part in parts.values()]))
    place = np.full(len(texts), -1, dtype=np.int32)
    place[used] = np.arange(len(used), dtype=np.int32)
    table = TextTable(
        [texts.texts[number] for number in used],
        [texts.keys[number] for number in used],
        None if texts.embeddings is None else texts.embeddings[used],
    )
    sets = {}
    for name, part in parts.items():
        others = part.other_truths
        sets[name] = dataclasses.replace(
            part,
            digest=root_digest(label, name, part.digests.tolist()),
            candidates=place[part.candidates],
            truths=place[part.truths],
            other_truths=None if others is None else np.where(others < 0, -1, place[others]).astype(np.int32),
            clusters=np.array([clusters[clip] for clip in part.clip_ids] + [None], dtype=object)[:-1],
        )
    return CandidateSets(sets, table, {})


def _manifest(
    old: dict[str, Any], before: CandidateSets, sets: CandidateSets, dataset: Dataset, corpus: Corpus, seed: int
) -> dict[str, Any]:
    splits = list(old["num_clips"])
    has_truth = draw_truths(corpus, seed=seed) != NO_TRUTH
    places = np.array(corpus.splits, dtype=object)
    facts = {}
    for name, part in sets.items():
        left_out = dict(old["sets"][name]["left_out"])
        left_out["taken-down"] = left_out.get("taken-down", 0) + len(before[name]) - len(part)
        facts[name] = old["sets"][name] | {
            "digest": part.digest,
            "num_clips": {split: int((part.splits == split).sum()) for split in splits},
            "num_groups": {split: len(set(part.group_ids[part.splits == split])) for split in splits},
            "num_generic": {split: int(part.generic[part.splits == split].sum()) for split in splits},
            "left_out": dict(sorted(left_out.items())),
        }
    return old | {
        "data_digest": dataset.digest,
        "split_by": dataset.split_by,
        "num_clips": {split: int((places == split).sum()) for split in splits},
        "drops": {"no-truth": {split: int(((places == split) & ~has_truth).sum()) for split in splits}},
        "texts": {
            "num": len(sets.texts),
            "digest": texts_digest(sets.texts),
            "embedded": sets.texts.embeddings is not None,
        },
        "sets": facts,
        "succeeds": {
            "revision": old.get("succeeds", {}).get("revision", 1) + 1,
            "data_digest": old["data_digest"],
            "sets": {name: part.digest for name, part in before.items()},
        },
        "stamp": digest_json(["succeeds", old["stamp"], dataset.digest]),
    }
