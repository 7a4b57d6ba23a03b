"""A run of `released-2025`: scores and figures in a folder of runs/, and a table that says what it is not.

    runs/released-2025-<models>-<digest>/
      released.json     protocol, data, candidates, what the sort does with ties here, all figures
      scores.parquet    model, set, clip_id, score (of each candidate, the truth first), rank
      table.txt         what the command prints

It has no run.json: `report`, comparisons and leaderboards take runs of `v1` and `classic`, with which these figures
must not be mixed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import videochat
from videochat.commenter import Commenter
from videochat.errors import UsageError
from videochat.files import digest_json, unfinished, write_json, write_parquet, write_text
from videochat.progress import say

from ..metrics.ranks import RECIPROCAL_RANK, Recall
from ..runs.signature import Signature
from .clips import ReleasedDataset
from .lists import Lists
from .protocol import SETS, ReleasedProtocol
from .ranker import ReleasedRanker
from .ranking import sort_ranks, tie_facts

if TYPE_CHECKING:
    from pathlib import Path

    from videochat.dataset import Dataset
    from videochat.workspace import Workspace

RUN_FORMAT = 1
CAVEAT = "imitates the released evaluation, defects included; not comparable with v1, classic or the paper's tables"


def rank_released(
    workspace: Workspace,
    dataset: Dataset,
    lists: Lists,
    manifest: dict[str, Any],
    protocol: ReleasedProtocol,
    commenters: Sequence[Commenter],
    *,
    limit: int | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Rank on the frozen lists, write the run and return its folder with the contents of released.json.

    commenters: scorers are fitted on the training clips of this protocol. What lacks something is skipped, and said.
    limit: only so many clips, for a try.
    """
    seed = workspace.settings.seed
    data = ReleasedDataset(dataset, protocol, seed=seed)
    chosen = lists.rows[:limit]
    if not chosen:
        raise UsageError("no test clip has candidates", fix="build more recordings")
    ranker = ReleasedRanker(workspace, data, chosen, protocol, seed=seed)
    rows: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []
    models: list[dict[str, Any]] = []
    for commenter in commenters:
        if missing := sorted(set(commenter.needs) - dataset.provides):
            say(f"{commenter.name} is skipped: it needs {' and '.join(missing)}, which these shards lack")
            continue
        if callable(fit := getattr(commenter, "fit", None)):
            fit(data.clips("train"))
        models.append(
            {
                "name": commenter.name,
                "scoring": getattr(commenter, "scoring", "own"),
                "checkpoint": getattr(commenter, "checkpoint_digest", None),
            }
        )
        for kind in SETS:
            scores = ranker.scores(commenter, kind)
            means = ranker.means(scores, kind, what=commenter.name)
            rows.append({"model": commenter.name, "set": f"{kind}{protocol.k}", "metrics": means})
            ranks = sort_ranks(scores, ranker.candidates(kind)[1])
            kept += [
                {"model": commenter.name, "set": f"{kind}{protocol.k}", "clip_id": row.clip_id, "score": s, "rank": r}
                for row, s, r in zip(ranker.rows, scores.tolist(), ranks.tolist(), strict=True)
            ]
    info = {
        "format": RUN_FORMAT,
        "tool": videochat.__version__,
        "protocol": protocol.to_json(),
        "label": protocol.label,
        "caveat": CAVEAT,
        "data_digest": dataset.digest,
        "candidates": manifest["digest"],
        "split_by": data.split_by,
        "simulated": dataset.simulated,
        "seed": seed,
        "limit": limit,
        "num_clips": len(chosen),
        "facts": manifest["facts"],
        "ties": tie_facts(),
        "models": models,
        "rows": rows,
    }
    return _write(workspace, info, kept), info


def to_text(info: dict[str, Any], *, wide: bool = False) -> str:
    """The table: a row a model, the sets beside each other, and what must be known to read it."""
    metrics = list(info["rows"][0]["metrics"]) if wide and info["rows"] else ["R@1", "MRR"]
    k = info["protocol"]["k"]
    names = [f"{kind}{k}" for kind in SETS]
    found = {(row["model"], row["set"]): row["metrics"] for row in info["rows"]}
    width = max([len("model"), *(len(model["name"]) for model in info["models"])])
    lines = []
    if info["simulated"]:
        lines.append("SIMULATED DATA: shows that a mechanism works, never how well.")
    lines.append(f"protocol {info['label']}: {CAVEAT}")
    cell = 8 * len(metrics)
    lines.append(" " * (width + 14) + "".join(name.rjust(cell) for name in names))
    lines.append("model".ljust(width + 2) + "scoring".ljust(12) + "".join(m.rjust(8) for _ in names for m in metrics))
    for model in info["models"]:
        cells = [_figure(found[model["name"], name][metric]) for name in names for metric in metrics]
        lines.append(model["name"].ljust(width + 2) + model["scoring"].ljust(12) + "".join(c.rjust(8) for c in cells))
    ranks = info["ties"]["rank_of_truth_first"]
    lines.append(f"chance: R@1 {_figure(Recall(1).chance(k))}, MRR {_figure(RECIPROCAL_RANK.chance(k))}")
    lines.append(
        "ties: decided by the sort and the order; a truth that stands first among equal scores gets "
        + ", ".join(f"rank {rank} of {size}" for size, rank in ranks.items())
        + f" (torch {info['ties']['torch']}, {info['ties']['device']})"
    )
    lines.append(
        f"clips: {info['num_clips']}, split by {info['split_by']}; means of batch means; duplicates kept, truth first"
    )
    for name in names:
        part = name if info["limit"] is None else f"{name}:first{info['limit']}"
        lines.append(
            str(
                Signature(
                    protocol=info["label"],
                    set=part,
                    data=info["data_digest"][:8],
                    cand=info["candidates"][:8],
                    split=info["split_by"],
                    score="mixed",
                    tool=info["tool"],
                )
            )
        )
    return "\n".join(lines)


def _figure(value: float) -> str:
    return f"{value:.3f}".removeprefix("0") if value < 10 else f"{value:.1f}"


def _write(workspace: Workspace, info: dict[str, Any], kept: list[dict[str, Any]]) -> Path:
    import pyarrow as pa

    names = [model["name"] for model in info["models"] if model["checkpoint"]] or ["scorers"]
    final = workspace.runs_dir / f"released-2025-{'-'.join(names[:3])}-{digest_json(info)[:8]}"
    temporary = final.with_name(f".{final.name}.{unfinished()}")
    temporary.mkdir(parents=True)
    try:
        write_parquet(pa.Table.from_pylist(kept), temporary / "scores.parquet", {"stamp": digest_json(info)})
        write_text(temporary / "table.txt", to_text(info, wide=True) + "\n")
        write_json(temporary / "released.json", info)
        if final.exists():
            shutil.rmtree(final)
        os.replace(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return final
