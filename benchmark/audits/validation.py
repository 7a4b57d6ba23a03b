"""Check candidate sets against what their protocol promises, from the files and the shards alone.

    findings = validate_candidates(workspace)

It trusts nothing of the code that built the sets: keys, groups and neighbours are worked out again here.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from videochat.dataset import Dataset
from videochat.errors import Damaged, Mismatch, MissingInput, UsageError
from videochat.files import read_json
from videochat.schema import Clip
from videochat.validate import Finding, finding
from videochat.workspace import Workspace

from ..candidates.build import load_candidates
from ..candidates.sets import CandidateSet, CandidateSets
from ..released.files import AGAIN, KEYS, digest_of, read_lists
from ..released.protocol import RELEASED, ReleasedProtocol
from ..texts.keys import key


def validate_candidates(workspace: Workspace) -> list[Finding]:
    """One finding for the files of each protocol and for each promise of each set. [] where there are no sets."""
    dataset = Dataset.open(workspace.root)
    try:
        clips = {clip.clip_id: clip for split in ("dev", "test") for clip in dataset.clips(split)}
    except Damaged as error:
        return [Finding(check="candidate sets", ok=False, detail=f"not checked: {error.what}")]
    findings = []
    for folder in sorted((workspace.root / "candidates").glob("*/manifest.json")):
        protocol = folder.parent.name
        if protocol == RELEASED.name:
            findings.append(_released(folder.parent, dataset))
            continue
        try:
            sets = load_candidates(workspace, dataset, protocol)
        except (Damaged, Mismatch, MissingInput, UsageError) as error:  # no such protocol, or a declaration of none
            findings.append(Finding(check=f"{protocol}: digests", ok=False, detail=str(error)))
            continue
        findings.append(Finding(check=f"{protocol}: digests", ok=True, detail=f"{len(sets)} sets of these shards"))
        for name, part in sets.items():
            checked = f"{len(part):,} clips"
            for promise, problems in _promises(sets, part, clips):
                findings.append(finding(f"{protocol} {name}: {promise}", problems, checked))
    return findings


def _released(folder: Path, dataset: Dataset) -> Finding:
    """The lists of released-2025 promise nothing but to be those that were frozen for these shards."""
    check = f"{RELEASED.name}: digests"
    try:
        manifest = read_json(folder / "manifest.json", needs=KEYS, fix=AGAIN)
        rows = read_lists(folder, manifest)
    except (Damaged, Mismatch) as error:
        return Finding(check=check, ok=False, detail=str(error))
    whole = digest_of(rows, ReleasedProtocol.from_json(manifest["declaration"])) == manifest["digest"]
    if manifest["data_digest"] != dataset.digest or not whole:
        return Finding(check=check, ok=False, detail=f"made for other shards, or changed; {AGAIN}")
    return Finding(check=check, ok=True, detail=f"lists of {len(rows.rows):,} clips of these shards, defects included")


def _promises(sets: CandidateSets, part: CandidateSet, clips: dict[str, Clip]) -> Iterator[tuple[str, list[str]]]:
    others = [()] * len(part) if part.other_truths is None else part.other_truths.tolist()
    every = [[truth, *(t for t in more if t >= 0)] for truth, more in zip(part.truths.tolist(), others, strict=True)]
    rows = list(zip(part.clip_ids, part.candidates.tolist(), every, part.group_ids, strict=True))
    keys = sets.texts.keys
    yield (
        "the truth stands once among unique candidates",
        [
            clip
            for clip, row, truths, _ in rows
            if any(row.count(truth) != 1 for truth in truths) or len({keys[c] for c in row}) != part.k
        ],
    )
    said = {clip: {key(c.text) for c in (*clips[clip].context, *clips[clip].responses)} for clip in part.clip_ids}
    yield (
        "no negative was said in the clip itself",
        [clip for clip, row, truths, _ in rows if any(keys[c] in said[clip] for c in row if c not in truths)],
    )
    yield (
        "the truth is a response that the context does not give away",
        [
            clip
            for clip, _, truths, _ in rows
            if not {keys[truth] for truth in truths} <= {key(c.text) for c in clips[clip].responses}
            or {keys[truth] for truth in truths} & {key(c.text) for c in clips[clip].context}
        ],
    )
    if sets.declaration.construction == "balanced-groups":
        yield from _balance(part, [(clip, row, truths[0], group) for clip, row, truths, group in rows], clips)


def _balance(
    part: CandidateSet, rows: list[tuple[str, list[int], int, str]], clips: dict[str, Clip]
) -> Iterator[tuple[str, list[str]]]:
    groups: dict[str, list[tuple[str, list[int], int]]] = {}
    for clip, row, truth, group in rows:
        groups.setdefault(group, []).append((clip, row, truth))
    yield (
        "every clip of a group ranks the same strings in the same order",
        [group for group, items in groups.items() if len({tuple(row) for _, row, _ in items}) != 1],
    )
    yield (
        "each string of a group is the truth once",
        [group for group, items in groups.items() if Counter(t for _, _, t in items) != Counter(items[0][1])],
    )
    neighbours = []
    for group, items in groups.items():
        places = sorted((clips[clip].recording_id, clips[clip].start_ms, clips[clip].end_ms) for clip, _, _ in items)
        for (first, _, end), (second, start, _) in itertools.pairwise(places):
            if first == second and start <= end:
                neighbours.append(group)
    yield "no two clips of a group are neighbours", neighbours
