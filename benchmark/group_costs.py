"""What balanced groups cost, in figures: the tables of docs/decisions/0008, from any workspace with shards.

    python -m videochat.benchmark.group_costs --data DIR --k 10 --k 100
    python -m videochat.benchmark.group_costs --data DIR --json

Counted over the groups of all splits, `v1` beside `classic`:

    coverage      share of the clips with a truth that found a place, and why the others did not
    near by       share of negatives whose key is said elsewhere in the clip's recording within 60 s of the clip: it
                  was in the air, so a person might have written it here, too; the truth's own key beside it
    like truth    share of negatives whose TF-IDF cosine to the truth is at least .8, and of clips with such a negative
    panel         R@1 of the shortcut panel on the test split
    stream        R@1 on the test split of counting the candidate's key in the clip's recording, the clip that the
                  candidate comes from left out: what knowing the stream is worth (nothing within one recording)
    elimination   R@1 on the test split of preferring what is not said in the recording outside of the clip: a negative
                  was said by another clip, the truth perhaps by none. No view holds what it needs; a model with a
                  memory of the recording's other responses would have it
    neighbours    how often the truth of another clip is said in a clip, by the distance of the two clips in tiles;
                  and the coverage of the random set if neighbours might share a group

Nothing is written; sets are made in memory as `videochat candidates` makes them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from videochat.dataset import Dataset
from videochat.schema import SPLITS
from videochat.workspace import Workspace

from .candidates.build import assemble
from .candidates.groups import conflicts_of, pools
from .candidates.material import Material
from .candidates.packing import groupable, pack
from .candidates.sets import CandidateSet, CandidateSets
from .metrics.ranks import Recall, tie_counts
from .protocols import PROTOCOLS
from .scorers.baselines import cosines
from .scorers.panel import Panel
from .scores.tasks import Task
from .texts.corpus import Corpus

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEAR_MS = 60_000  # on either side of the clip
ALIKE = 0.8  # TF-IDF cosine from which two comments say nearly the same
DISTANCES = ((1, 1), (2, 2), (3, 5), (6, 20), (21, None))  # tiles, both ends included


class Chat:
    """When each key was said in each recording: sorted codes (recording, key, time)."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus
        self.clip_numbers = {clip_id: number for number, clip_id in enumerate(corpus.clip_ids)}
        self.key_numbers = {name: number for number, name in enumerate(corpus.key_names)}
        self.recording = np.unique(corpus.recording_ids, return_inverse=True)[1].astype(np.int64)
        codes, times = [], []
        for comments in (corpus.context, corpus.responses):
            owners = np.repeat(self.recording, np.diff(comments.bounds))
            codes.append(owners * len(corpus.key_names) + corpus.key_of[comments.texts])
            times.append(comments.times_ms.astype(np.int64))
        self.step = int(max((part.max(initial=0) for part in times), default=0)) + 2 * NEAR_MS
        self.codes = np.sort(np.concatenate(codes) * self.step + np.concatenate(times))

    def times_said(
        self, clips: NDArray[np.int64], keys: NDArray[np.int64], *, within_ms: int | None = None
    ) -> NDArray[np.int64]:
        """How often keys[i] was said in the recording of clips[i], int64 (n,).

        within_ms: in the clip and that far on either side of it; None: in the whole recording.
        """
        base = (self.recording[clips] * len(self.corpus.key_names) + keys) * self.step
        start, end = self.corpus.start_ms[clips], self.corpus.start_ms[clips] + self.corpus.clip_ms[clips]
        low = np.maximum(start - within_ms, 0) if within_ms is not None else np.zeros_like(start)
        high = np.minimum(end + within_ms, self.step) if within_ms is not None else np.full_like(start, self.step)
        found = np.searchsorted(self.codes, base + high) - np.searchsorted(self.codes, base + low)
        return np.asarray(found, dtype=np.int64)


def set_costs(sets: CandidateSets, name: str, chat: Chat, panel: Panel) -> dict[str, Any]:
    """The figures of one set over all its clips."""
    part, facts = sets[name], sets.manifest["sets"][name]
    with_truth = sum(sets.manifest["num_clips"].values()) - sum(sets.manifest["drops"]["no-truth"].values())
    row: dict[str, Any] = {
        "protocol": sets.protocol,
        "set": name,
        "clips": len(part),
        "coverage": len(part) / with_truth if with_truth else 0.0,
        "left_out": facts["left_out"],
    }
    if not len(part):
        return row
    clips, keys, is_truth = _pairs(part, sets, chat)
    near = chat.times_said(clips, keys, within_ms=NEAR_MS) > chat.times_said(clips, keys, within_ms=0)
    truths = np.repeat(part.truths.astype(np.int64), part.k)
    alike = cosines(panel.rows, part.candidates.ravel().astype(np.int64), panel.rows, truths) >= ALIKE
    alike &= ~is_truth
    row |= {
        "near_by": float(near[~is_truth].mean()),
        "truth_near_by": float(near[is_truth].mean()),
        "like_truth": float(alike[~is_truth].mean()),
        "clips_like_truth": float(alike.reshape(-1, part.k).any(axis=1).mean()),
        "recordings_a_group": _recordings_a_group(part),
    }
    task = Task.of(part, sets.texts, "test")
    if len(task):
        row["panel"] = {
            block.model.removeprefix("panel:"): _recall(block.score.reshape(-1, task.k), task)
            for block in panel.blocks(task)
        }
        row |= _stream(part.split("test"), sets, chat)
    return row


def _stream(part: CandidateSet, sets: CandidateSets, chat: Chat) -> dict[str, float]:
    """R@1 of two scorers that have read the whole chat of the clip's recording."""
    clips, keys, _ = _pairs(part, sets, chat)
    sources = np.array([chat.clip_numbers[clip] for clip in part.sources.ravel().tolist()], dtype=np.int64)
    everywhere = chat.times_said(clips, keys)
    at_home = chat.recording[sources] == chat.recording[clips]
    scores = {
        "stream": everywhere - at_home * chat.times_said(sources, keys, within_ms=0),
        "elimination": chat.times_said(clips, keys, within_ms=0) - everywhere,
    }
    counts = {
        name: tie_counts(values.reshape(-1, part.k).astype(np.float64), part.candidates, part.truths)
        for name, values in scores.items()
    }
    return {name: float(Recall(1).values(found).mean()) for name, found in counts.items()}


def neighbour_costs(material: Material, k: int) -> dict[str, Any]:
    """How often a truth is said in another clip of its recording, by distance; coverage without the rule."""
    corpus = material.corpus
    said, pairs = np.zeros(len(DISTANCES)), np.zeros(len(DISTANCES))
    with_truth = placed = placed_anyway = 0
    for _, clips in pools(material, k):
        rows = material.clips_with_truth(clips)
        with_truth += len(rows)
        if not rows:
            continue
        conflicts, free = conflicts_of(material, rows), conflicts_of(material, rows, neighbours=False)
        for matrix, is_rule in ((conflicts, True), (free, False)):
            possible = groupable(matrix, k)
            groups = pack(matrix[np.ix_(possible, possible)], k=k) if len(possible) else []
            placed += k * len(groups) * is_rule
            placed_anyway += k * len(groups) * (not is_rule)
        tiles = corpus.start_ms[rows] // corpus.clip_ms[rows]
        apart = np.abs(tiles[:, None] - tiles)
        holds = np.zeros((len(rows), len(rows)), dtype=bool)
        truths = [material.truth_key(clip) for clip in rows]
        for position, clip in enumerate(rows):
            holds[position] = np.isin(truths, list(corpus.keys_of(clip)))
        for number, (low, high) in enumerate(DISTANCES):
            inside = (apart >= low) & (apart <= (high or apart.max()))
            said[number] += holds[inside].sum()
            pairs[number] += inside.sum()
    shares = {_label(low, high): said[i] / pairs[i] for i, (low, high) in enumerate(DISTANCES) if pairs[i]}
    total = max(with_truth, 1)
    return {"said_by_distance": shares, "coverage": placed / total, "coverage_without": placed_anyway / total}


def costs(root: Path, sizes: Sequence[int]) -> dict[str, Any]:
    """All figures of one workspace."""
    workspace, dataset = Workspace.open(root), Dataset.open(root)
    splits = [split for split in SPLITS if any(file["split"] == split for file in dataset.manifest["files"])]
    chat = Chat(Corpus.read(dataset, splits))
    rows = []
    for name in ("v1", "classic"):
        wanted = [k for k in sizes if k <= PROTOCOLS[name].max_pooled_k]
        sets = assemble(workspace, dataset, PROTOCOLS[name], k=wanted, splits=splits)
        panel = Panel(dataset, sets.texts, PROTOCOLS[name], seed=workspace.settings.seed)
        rows += [set_costs(sets, each, chat, panel) for each in sets]
    material = Material.read(dataset, splits, PROTOCOLS["v1"], seed=workspace.settings.seed)
    return {
        "simulated": dataset.simulated,
        "clips": len(chat.corpus),
        "recordings": len(set(chat.corpus.recording_ids)),
        "no_truth": len(chat.corpus) - len(material.clips_with_truth(range(len(chat.corpus)))),
        "sets": rows,
        "neighbours": neighbour_costs(material, PROTOCOLS["v1"].k),
    }


def to_text(found: dict[str, Any]) -> str:
    """The figures as tables in Markdown."""
    simulated = "SIMULATED DATA. " if found["simulated"] else ""
    lines = [
        f"{simulated}{found['clips']:,} clips of {found['recordings']} recordings, {found['no_truth']:,} without truth",
        "",
        "| set | clips | coverage | left out | negatives near by | truth near by | like truth | clips with one |",
        "|---|---:|---:|---|---:|---:|---:|---:|",
    ]
    for row in found["sets"]:
        left = ", ".join(f"{count} {reason}" for reason, count in row["left_out"].items()) or "none"
        names = ("near_by", "truth_near_by", "like_truth", "clips_like_truth")
        cells = [f"{row['protocol']} {row['set']}", f"{row['clips']:,}", f"{row['coverage']:.1%}", left]
        lines.append("| " + " | ".join(cells + [f"{row[n]:.1%}" if n in row else "–" for n in names]) + " |")
    shown = (
        "context-tfidf",
        "-context-tfidf",
        "recording-frequency",
        "-recording-frequency",
        "length",
        "candidate-only",
    )
    lines += ["", "| R@1 on test | " + " | ".join(shown) + " | stream | elimination | recordings a group |"]
    lines.append("|---|" + "---:|" * (len(shown) + 3))
    for row in found["sets"]:
        if "panel" in row:
            cells = [
                *(f"{row['panel'][n]:.3f}" for n in shown),
                *(f"{row[n]:.3f}" for n in ("stream", "elimination")),
                f"{row['recordings_a_group']:.1f}",
            ]
            lines.append(f"| {row['protocol']} {row['set']} | " + " | ".join(cells) + " |")
    near = found["neighbours"]
    lines += ["", "| tiles apart | " + " | ".join(near["said_by_distance"]) + " |"]
    lines.append("|---|" + "---:|" * len(near["said_by_distance"]))
    shares = " | ".join(f"{share:.2%}" for share in near["said_by_distance"].values())
    lines.append(f"| the other's truth is said | {shares} |")
    lines += [
        "",
        f"coverage {near['coverage']:.2%} with the rule of neighbours, {near['coverage_without']:.2%} without",
    ]
    return "\n".join(lines)


def _pairs(
    part: CandidateSet, sets: CandidateSets, chat: Chat
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Clip number, key number and whether it is the truth, of every candidate of every clip."""
    clips = np.repeat([chat.clip_numbers[clip] for clip in part.clip_ids.tolist()], part.k).astype(np.int64)
    numbers = np.array([chat.key_numbers[name] for name in sets.texts.keys], dtype=np.int64)
    return clips, numbers[part.candidates].ravel(), (part.candidates == part.truths[:, None]).ravel()


def _recordings_a_group(part: CandidateSet) -> float:
    groups = len(set(part.group_ids.tolist()))
    return len(set(zip(part.group_ids.tolist(), part.recording_ids.tolist(), strict=True))) / groups


def _recall(scores: NDArray[np.float64], task: Task) -> float:
    return float(Recall(1).values(tie_counts(scores, task.candidates, task.truths)).mean())


def _label(low: int, high: int | None) -> str:
    return f"{low}+" if high is None else f"{low}–{high}" if high > low else str(low)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a workspace with shards")
    parser.add_argument("--k", type=int, action="append", help="candidates a clip; several times (default 10)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = costs(arguments.data, arguments.k or [10])
    print(json.dumps(found, indent=2) if arguments.json else to_text(found))


if __name__ == "__main__":
    main()
