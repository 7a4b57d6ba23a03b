"""What the candidate sets cover and what they leave out, for people; and what building them would take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..protocols import PROTOCOLS

if TYPE_CHECKING:
    from videochat.dataset import Dataset

    from .sets import CandidateSets

BYTES_PER_ITEM = 180  # a row of a set: ids, ten candidates with their sources, its digest; measured on real chats
BYTES_PER_TEXT = 60


def coverage(sets: CandidateSets) -> list[dict[str, Any]]:
    """One row for each set: clips and groups of each split, the share of clips with a truth that found a place.

    `coverage` is None where no clip has a truth.
    """
    manifest = sets.manifest
    splits = list(manifest["num_clips"])
    no_truth = sum(manifest["drops"]["no-truth"].values())
    with_truth = sum(manifest["num_clips"].values()) - no_truth
    rows = []
    for name, facts in ((name, manifest["sets"][name]) for name in sets):
        placed = sum(facts["num_clips"].values())
        rows.append(
            {
                "set": name,
                **{f"{split}_clips": facts["num_clips"][split] for split in splits},
                **{f"{split}_groups": facts["num_groups"][split] for split in splits},
                "generic": sum(facts["num_generic"].values()),
                "coverage": placed / with_truth if with_truth else None,
                "left_out": dict(facts["left_out"]) | ({"no-truth": no_truth} if no_truth else {}),
            }
        )
    return rows


def describe(sets: CandidateSets) -> str:
    """The coverage as a table of text, with the digests that signature lines are made of."""
    rows = coverage(sets)
    texts = sets.manifest["texts"]
    lines = [
        f"protocol {sets.protocol} {sets.version}: {texts['num']:,} candidate texts"
        f" ({'with' if texts['embedded'] else 'without'} CLIP embeddings),"
        f" data {sets.manifest['data_digest'][:4]}, split by {sets.manifest['split_by']}"
    ]
    if not rows:
        return lines[0]
    if "succeeds" in sets.manifest:
        before = sets.manifest["succeeds"]
        lines.append(
            f"revision {before['revision']}: the sets of data {before['data_digest'][:4]}, less what was taken down"
        )
    pooled = [name for name in sets if sets.manifest["sets"][name].get("pool") == "category"]
    if pooled:
        lines.append(f"pooled over the recordings of a category: {', '.join(pooled)}")
    for k in sorted({part.k for part in sets.values() if not len(part)}):
        pool = "category of a split" if sets.declaration.pool_of(k) == "category" else "recording"
        lines.append(f"no set of {k} could be made: it takes {k} clips with a truth in one {pool}")
    header = [name.replace("_", " ") for name in rows[0] if name != "left_out"]
    cells = [[*header, "digest", "left out"]]
    for row in rows:
        left = ", ".join(f"{count:,} {reason}" for reason, count in row["left_out"].items()) or "none"
        plain = [_cell(value) for name, value in row.items() if name != "left_out"]
        cells.append([*plain, sets.manifest["sets"][row["set"]]["digest"][:4], left])
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    for line in cells:
        numbers = "  ".join(cell.rjust(width) for cell, width in zip(line[1:-1], widths[1:-1], strict=True))
        lines.append(f"{line[0].ljust(widths[0])}  {numbers}  {line[-1]}")
    return "\n".join(lines)


def plan_candidates(dataset: Dataset, sizes: Sequence[int] = (10,)) -> dict[str, Any]:
    """What `videochat candidates` would read and write; bytes are an estimate from above."""
    clips = {row["split"]: int(row["clips"]) for row in dataset.manifest["per_split"]}
    ranked = clips.get("dev", 0) + clips.get("test", 0)
    kinds = max(len(protocol.sets) for protocol in PROTOCOLS.values())
    item_bytes = sum(kinds * BYTES_PER_ITEM * size / 10 for size in sizes)
    embedding_bytes = 2 * dataset.dim if dataset.dim and "text_embeddings" in dataset.provides else 0
    return {
        "train_clips": clips.get("train", 0),
        "dev_clips": clips.get("dev", 0),
        "test_clips": clips.get("test", 0),
        "sets": kinds * len(sizes),
        "bytes": round(ranked * (item_bytes + BYTES_PER_TEXT + embedding_bytes)),
    }


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.1%}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
