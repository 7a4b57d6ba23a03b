"""Some clips to look at: what the first trained model saw, where it looked, and how it ranked the candidates.

The choice is not ours to make: one clip is the model's best, one its worst, the others are drawn by hash of the clip
ids, so that nobody can pick flattering ones and the same run shows the same clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from videochat.clock import format_ms
from videochat.commenter import ClipView, TextTable
from videochat.errors import VideochatError
from videochat.files import stable_hash

from ..metrics.ranks import MEAN_RANK, RECIPROCAL_RANK, tie_counts
from ..scores import rules as score_rules
from ..scores.tasks import Task
from .charts import timeline, weight_bar
from .inputs import ClipSource, RunData
from .thumbnails import thumbnails

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from videochat.schema import Clip
    from videochat.workspace import Workspace

    from .inputs import Weights

SHOWN_COMMENTS = 15  # the latest ones, as many as SFAT reads


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One line of a ranking. share: the score between the list's lowest (0) and highest (1), for the bar."""

    text: str
    score: str
    share: float
    rank: str
    is_truth: bool


@dataclass(frozen=True, kw_only=True)
class Ranking:
    set: str
    rank: str
    candidates: list[Candidate]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """seconds: from the start of the context. image: a data URL or "". bar: the weight as SVG, or ""."""

    seconds: str
    image: str
    bar: Markup | str


@dataclass(frozen=True, kw_only=True)
class Said:
    """A context comment: seconds from the start of the context, text, emote codes."""

    seconds: str
    text: str
    emotes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    why: str
    clip_id: str
    category: str
    at: str
    frames: list[Frame]
    note: str
    timeline: Markup | None
    context: list[Said]
    num_context: int
    rankings: list[Ranking]


@dataclass(frozen=True, eq=False)
class Ranked:
    """One set's scores by the shown model: rows as in the task. scores float64 (n, K); ranks float64 (n,)."""

    scores: NDArray[np.float64]
    ranks: NDArray[np.float64]
    reciprocal: NDArray[np.float64]


def shown_model(run: RunData) -> str | None:
    """The first trained model of the run that was not skipped, else the first model of any kind with scores."""
    ranked = [model for model in run.info["models"] if not model.get("skipped")]
    trained = [m["name"] for m in ranked if m.get("trained")]
    others = [m["name"] for kind in ("model", "scorer") for m in ranked if m["kind"] == kind]
    return next(iter([*trained, *others]), None)


def exhibits(run: RunData, source: ClipSource, workspace: Workspace, model: str, *, num_clips: int) -> list[Exhibit]:
    """`num_clips` clips of the test split, or all if there are fewer."""
    ranked = {name: found for name in run.tasks if (found := rank_model(run, model, name)) is not None}
    chosen = choose(ranked, run.tasks, num_clips)
    clips = source.clips(set(chosen))
    weights = run.weights(model, set(chosen))
    return [
        _exhibit(clips[clip_id], source.views(clips[clip_id]), why, ranked, run.tasks, source.texts, weights, workspace)
        for clip_id, why in chosen.items()
        if clip_id in clips
    ]


def choose(ranked: dict[str, Ranked], tasks: dict[str, Task], num_clips: int) -> dict[str, str]:
    """clip_id -> why it is shown. Clips that are in every set come first where there are enough."""
    quality: dict[str, list[float]] = {}
    for name, found in ranked.items():
        for clip_id, value in zip(tasks[name].clip_ids.tolist(), found.reciprocal, strict=True):
            quality.setdefault(clip_id, []).append(float(value))
    everywhere = [clip for clip, values in quality.items() if len(values) == len(ranked)]
    pool = everywhere if len(everywhere) >= num_clips else list(quality)
    by_hash = sorted(pool, key=lambda clip: stable_hash("report", clip))
    if not by_hash or num_clips < 1:
        return {}
    if num_clips == 1 or len(by_hash) == 1:
        return {by_hash[0]: "drawn by hash"}
    mean = {clip: float(np.mean(quality[clip])) for clip in by_hash}
    best = max(by_hash, key=lambda clip: mean[clip])
    worst = min((clip for clip in by_hash if clip != best), key=lambda clip: mean[clip])
    drawn = [clip for clip in by_hash if clip not in (best, worst)][: num_clips - 2]
    return {best: "the model's best clip"} | dict.fromkeys(drawn, "drawn by hash") | {worst: "the model's worst clip"}


def rank_model(run: RunData, model: str, name: str) -> Ranked | None:
    """How the model ranks a set under its official rule; None if it has no scores of it."""
    rule = run.models[model]["score_rule"]
    task, block = run.tasks[name], run.block(model, name)
    if block is None:
        return None
    scores = score_rules.apply(rule, block, task, block.layout.gather(task))
    counts = tie_counts(scores, task.candidates, task.all_truths, what=f"{model} on {name}")
    return Ranked(scores, MEAN_RANK.values(counts), RECIPROCAL_RANK.values(counts))


def _exhibit(
    clip: Clip,
    seen: ClipView,
    why: str,
    ranked: dict[str, Ranked],
    tasks: dict[str, Task],
    texts: TextTable,
    weights: Weights,
    workspace: Workspace,
) -> Exhibit:
    rankings = []
    for name, found in ranked.items():
        row = np.flatnonzero(tasks[name].clip_ids == clip.clip_id)
        if len(row):
            rankings.append(_ranking(tasks[name], texts, found, int(row[0])))
    frames, note = _frames(seen, weights.get(clip.clip_id), workspace)
    shown = seen.context[-SHOWN_COMMENTS:]
    return Exhibit(
        why=why,
        clip_id=clip.clip_id,
        category=clip.category,
        at=format_ms(clip.start_ms),
        frames=frames,
        note=note,
        timeline=_timeline(seen, weights.get(clip.clip_id)),
        context=[
            Said(seconds=_seconds(c.offset_ms - clip.start_ms), text=printable(c.text), emotes=c.emotes) for c in shown
        ],
        num_context=len(seen.context),
        rankings=rankings,
    )


def _ranking(task: Task, texts: TextTable, found: Ranked, row: int) -> Ranking:
    scores = found.scores[row]
    finite = scores[np.isfinite(scores)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    order = sorted(range(task.k), key=lambda i: (-scores[i], task.candidates[row, i]))
    lines = []
    for index in order:
        score, candidate = float(scores[index]), int(task.candidates[row, index])
        above, equal = int((scores > score).sum()), int((scores == score).sum()) - 1
        share = (score - low) / (high - low) if high > low and np.isfinite(score) else 0.0
        lines.append(
            Candidate(
                text=printable(texts.texts[candidate]),
                score=f"{score:.2f}".replace("-", "−"),
                share=share,
                rank=_rank_text(above + 1 + equal / 2),
                is_truth=bool(task.is_truth[row, index]),
            )
        )
    return Ranking(set=task.name, rank=_rank_text(float(found.ranks[row])), candidates=lines)


def _frames(
    seen: ClipView, weights: tuple[NDArray[np.int32], NDArray[np.float32]] | None, workspace: Workspace
) -> tuple[list[Frame], str]:
    """The frames of the view with their weights, and a note where pictures or weights are missing."""
    if seen.frame_ms is None:
        return [], ""
    times = [int(time) for time in seen.frame_ms]
    images, note = _images(seen.recording_id, times, workspace)
    values = dict(zip(*(array.tolist() for array in weights), strict=True)) if weights else {}
    largest = max(values.values(), default=0.0)
    frames = []
    for time in times:
        seconds = _seconds(time - seen.start_ms)
        bar: Markup | str = ""
        if time in values and largest > 0:
            bar = weight_bar(values[time] / largest, words=f"{seconds}: weight {values[time]:.3f}")
        frames.append(Frame(seconds=seconds, image=images.get(time, ""), bar=bar))
    if not images:
        return [], note
    return frames, note if values else "This model offers no frame weights."


def _images(recording_id: str, times: Sequence[int], workspace: Workspace) -> tuple[dict[int, str], str]:
    recording = next((r for r in workspace.recordings() if r.recording_id == recording_id), None)
    if recording is None or recording.video is None:
        return {}, "No video of this recording is in the workspace, so no frames are shown."
    path: Path = workspace.raw_dir(recording_id) / recording.video
    try:
        return thumbnails(path, times), ""
    except VideochatError as error:
        return {}, f"No frames are shown: {error.what}"


def _timeline(seen: ClipView, weights: tuple[NDArray[np.int32], NDArray[np.float32]] | None) -> Markup:
    start = seen.start_ms
    times = [] if weights is None else [int(time) - start for time in weights[0]]
    low = min([0, *times, *([] if seen.frame_ms is None else [int(t) - start for t in seen.frame_ms[:1]])])
    marks = [(c.offset_ms - start, f"{_seconds(c.offset_ms - start)}: {printable(c.text, 60)}") for c in seen.context]
    what = "Comments over time" if weights is None else "Frame weights and comments over time"
    return timeline(
        times,
        None if weights is None else [float(w) for w in weights[1]],
        marks,
        span_ms=(low, seen.now_ms - start),
        now_ms=seen.now_ms - start,
        title=f"{what}, clip {seen.clip_id}",
    )


def printable(text: str, length: int = 200) -> str:
    """Chat text for a page: control characters gone, at most `length` characters."""
    clean = "".join(c for c in text if c >= " " and not "\x7f" <= c <= "\x9f")
    return clean if len(clean) <= length else clean[: length - 1] + "…"


def _seconds(ms: int) -> str:
    return f"{ms / 1000:+.0f} s".replace("-", "−").replace("+0 s", "0 s").replace("−0 s", "0 s").replace("+", "")


def _rank_text(rank: float) -> str:
    return f"{rank:.1f}".removesuffix(".0")
