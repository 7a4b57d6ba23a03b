"""The report page: what it says comes from the run, what chat says stays text, and equal runs give equal bytes."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from videochat.benchmark.candidates import build_candidates
from videochat.benchmark.evaluation import Entry, evaluate
from videochat.benchmark.golden import GOLDEN, golden_blocks
from videochat.benchmark.report import write_report
from videochat.benchmark.scores import CHAT_SWAPPED, REAL, VIDEO_SWAPPED, ScoreBlock, write_scores
from videochat.benchmark.tasks import Layout, Task
from videochat.dataset import Dataset
from videochat.errors import MissingInput
from videochat.files import read_json, write_json, write_parquet
from videochat.schema import Comment, Recording
from videochat.workspace import Workspace

HOSTILE = (
    "<script>window.planted=1</script>",
    "\"'><img src=x onerror=window.planted=1>",
    "</style><svg onload=window.planted=1>",
    "{{ 7*7 }} {% raw %} &amp; &lt;b&gt;",
    "مرحبا بالعالم \u202e txet desrever",
    "🔥🔥👩‍👩‍👧 Kappa",
    "a" * 600,
    "javascript:window.planted=1",
)
# How much a toy model favours the truth: by itself, and with the frames of another clip
SKILL = {"sfat": (2.0, 0.1), "sfat-mean": (0.5, 0.1), "sfat-text": (0.3, 0.3)}


def make_run(
    folder: Path, dummies: ModuleType, *, dim: int | None = 8, recordings: int = 12, simulated: bool = True,
    skill: float = 1.0, video: bool = True,
) -> tuple[SimpleNamespace, Workspace]:  # fmt: skip
    """A workspace with hostile chat and one video, its candidate sets, and a run of three toy models on them."""
    clips = dummies.make_clips(recordings_per_channel=recordings, clips_per_recording=12, dim=dim)
    clips = [plant(clip, index) for index, clip in enumerate(clips)]
    workspace = Workspace.open(folder, create=True)
    dummies.write_dataset(
        workspace,
        [(clip.split, clip.category, clip.recording_id, dummies.table_of([clip], dim)) for clip in clips],
        dim=dim,
        facts={"simulated": simulated, "split_by": "recording", "clip_fingerprint": {"model": "x"} if dim else None},
    )
    if dim and video:
        for recording_id in sorted({clip.recording_id for clip in clips if clip.split == "test"}):
            add_video(workspace, recording_id)
    dataset = Dataset.open(folder)
    sets = build_candidates(workspace, dataset, "v1", k=4)
    tasks = [Task.of(candidates, sets.texts, split) for candidates in sets.values() for split in ("dev", "test")]
    blocks = [block for task in tasks for block in golden_blocks(task)]
    for split in ("dev", "test"):
        layout = Layout.union([task for task in tasks if task.split == split])
        truths = {c: set() for c in layout.clip_ids.tolist()}
        for task in tasks:
            if task.split == split:
                for clip_id, truth in zip(task.clip_ids.tolist(), task.truths.tolist(), strict=True):
                    truths[clip_id].add(truth)
        for name, (own, swapped) in SKILL.items():
            for condition, bonus in ((REAL, own * skill), (VIDEO_SWAPPED, swapped * skill), (CHAT_SWAPPED, 0.0)):
                blocks.append(toy_block(name, condition, split, layout, truths, bonus))
    entries = [Entry(name=name, kind="model") for name in SKILL] + [Entry(name=n, kind="golden") for n in GOLDEN]
    result = evaluate(entries, tasks, blocks, frames={"sfat-text": False})
    path = workspace.runs_dir / "toy"
    path.mkdir(parents=True)
    write_scores(path / "scores.parquet", blocks, {"stamp": "toy"})
    write_json(path / "metrics.json", result.metrics)
    test_ids = sorted({c for task in tasks if task.split == "test" for c in task.clip_ids.tolist()})
    if dim:
        write_weights(path, dataset, test_ids)
    models = [
        {"name": e.name, "kind": e.kind, "summary": f"{e.name} <b>toy</b>", "trained": e.kind == "model",
         "skipped": None, "score_rule": result.score_rules[e.name], "rules": result.dev[e.name], "seed": 0,
         "checkpoint_digest": None, "text_only": result.text_only[e.name]}
        for e in entries
    ]  # fmt: skip
    models.append({**models[0], "name": "needs-words", "skipped": "the dataset has no <transcript>", "kind": "model"})
    write_json(
        path / "run.json",
        {
            "run_id": "toy", "protocol": "v1", "version": "1.0", "tool": "videochat 0.1.0", "simulated": simulated,
            "split_by": "recording", "num_clusters": result.num_clusters, "data_digest": dataset.digest,
            "candidates": {name: part.digest for name, part in sets.items()},
            "signatures": {name: f"videochat|v1.0|{name}|data:ab|tool:0.1" for name in sets},
            "models": models, "settings": {}, "audit": [{"check": "oracle", "ok": True, "detail": "R@1 = 1"}],
        },
    )  # fmt: skip
    return SimpleNamespace(path=path), workspace


def plant(clip: Any, index: int) -> Any:
    """Hostile strings among the context and the answers of every clip, different in each."""
    context = tuple(
        Comment(offset_ms=clip.start_ms + 1000 * n, author="u", text=f"{text} {index}", emotes=("<i>x</i>",))
        for n, text in enumerate(HOSTILE)
    )
    answer = Comment(offset_ms=clip.start_ms + 21_000, author="u", text=f"{HOSTILE[index % 8]} answer {index}")
    changed = dataclasses.replace(clip, context=context + clip.context[:3], responses=(answer, *clip.responses[1:2]))
    if clip.context_clip is None:
        return changed
    vectors = np.concatenate([np.repeat(clip.context_clip[:1], len(context), axis=0), clip.context_clip[:3]])
    return dataclasses.replace(changed, context_clip=vectors)


def toy_block(
    name: str, condition: str, split: str, layout: Layout, truths: dict[str, set[int]], bonus: float
) -> ScoreBlock:
    owners = np.repeat(layout.clip_ids, np.diff(layout.starts))
    hits = np.array([int(c) in truths[str(o)] for c, o in zip(layout.flat, owners, strict=True)])
    noise = np.random.default_rng(len(name)).standard_normal(len(hits))
    likelihood = -8 + noise + bonus * hits
    tokens = (layout.flat % 5 + 2).astype(np.int32)
    return ScoreBlock(name, condition, split, None, layout, likelihood, likelihood, tokens, likelihood * 0 - 9)


def write_weights(path: Path, dataset: Dataset, clip_ids: list[str]) -> None:
    import pyarrow as pa

    rows = []
    for clip in dataset.clips("test"):
        if clip.clip_id in clip_ids and clip.frame_ms is not None:
            times = clip.frame_ms[clip.frame_ms < clip.context_end_ms]
            bump = np.exp(-(((times - clip.start_ms - 9_500) / 2500.0) ** 2)) + 0.01
            rows.append({"model": "sfat", "clip_id": clip.clip_id, "frame_ms": times, "weight": bump / bump.sum()})
    schema = pa.schema(
        [("model", pa.string()), ("clip_id", pa.string()), ("frame_ms", pa.list_(pa.int32())),
         ("weight", pa.list_(pa.float32()))]
    )  # fmt: skip
    write_parquet(pa.Table.from_pylist(rows, schema), path / "weights.parquet", {"stamp": "toy"})


def add_video(workspace: Workspace, recording_id: str, *, seconds: int = 360) -> None:
    """A small H.264 video whose colour changes with time, and its recording.json."""
    import av

    path = workspace.raw_dir(recording_id) / "video.mp4"
    path.parent.mkdir(parents=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1)
        stream.width, stream.height, stream.pix_fmt = 128, 72, "yuv420p"
        stream.thread_count = 1
        across, down = np.meshgrid(np.arange(128), np.arange(72))
        for second in range(seconds):
            picture = np.stack([(across * 2 + second * 9) % 256, (down * 3 + second * 5) % 256, across + down], axis=2)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture.astype(np.uint8), format="rgb24")))
        container.mux(stream.encode())
    workspace.add_recording(
        Recording(recording_id=recording_id, platform="dummy", platform_id=recording_id, channel="", category="x",
                  duration_ms=seconds * 1000, video="video.mp4", num_messages=0, chat_digest="0")
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, dummies: ModuleType) -> tuple[str, Path, Workspace]:
    run, workspace = make_run(tmp_path_factory.mktemp("report"), dummies)
    target = write_report(run, workspace)
    return target.read_text(encoding="utf-8"), target, workspace


def test_smoke(page: tuple[str, Path, Workspace]) -> None:
    html, target, _ = page
    assert target.name == "report.html"
    assert "Simulated data" in html
