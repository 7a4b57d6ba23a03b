"""How long the metrics of a large run take, and how much faster than by pytrec_eval they are.

    python -m videochat.benchmark.speed.metrics_scale            # 5,000 clips x 100 candidates x 12 models
    python -m videochat.benchmark.speed.metrics_scale --small    # 500 x 100 x 4, a few seconds

First everything that `bench` computes from the scores: ranks, metrics with intervals (10,000 resamples of 400
clusters), the official number, all 66 paired tests of the 12 models with Holm's correction, letters and diagnostics.
Limit: 5 s of processor time; wall time, which other work lengthens, is printed too.

Then, side by side in one process, the reciprocal rank and success at 1, 2, 5 and 10 of each clip and model, from the
same float64 arrays: by us, and by pytrec_eval with the dictionaries that it takes. Asked: 10 times faster, and the same
numbers to 1e-12 (the simulated scores have no ties, which pytrec_eval would break by name).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evaluation.evaluate import Entry, evaluate
from ..metrics.ranks import METRICS, RECIPROCAL_RANK, Metric, Recall, tie_counts
from ..scores.blocks import REAL, ScoreBlock
from ..scores.tasks import Layout, Task

NUM_CLIPS, NUM_CANDIDATES, NUM_MODELS = 5_000, 100, 12
NUM_CLUSTERS, NUM_CATEGORIES, NUM_TEXTS = 400, 11, 60_000
LIMIT_SECONDS, ASKED, TOLERANCE = 5.0, 10.0, 1e-12
COMPARED: tuple[Metric, ...] = (RECIPROCAL_RANK, Recall(1), Recall(2), Recall(5), Recall(10))


def simulated_task(num_clips: int = NUM_CLIPS, k: int = NUM_CANDIDATES, split: str = "test", seed: int = 0) -> Task:
    """Clips of 400 channels in 11 categories, each with K of the texts and one truth."""
    random = np.random.default_rng([seed, num_clips, k])
    candidates = np.sort(np.stack([random.choice(NUM_TEXTS, size=k, replace=False) for _ in range(num_clips)]), axis=1)
    cluster = random.integers(NUM_CLUSTERS, size=num_clips)
    ids = np.array([f"{split}-{number:06}" for number in range(num_clips)])
    names = np.array([f"channel-{number:03}" for number in range(NUM_CLUSTERS)])
    return Task(
        name=f"random{k}",
        k=k,
        split=split,
        clip_ids=ids,
        recording_ids=names[cluster],
        categories=np.array([f"Category {number:02}" for number in range(NUM_CATEGORIES)])[cluster % NUM_CATEGORIES],
        clusters=names[cluster],
        group_ids=ids,
        candidates=candidates.astype(np.int32),
        truths=candidates[np.arange(num_clips), random.integers(k, size=num_clips)].astype(np.int32),
        generic=random.random(num_clips) < 0.1,
        num_bytes=random.integers(4, 80, size=(num_clips, k)).astype(np.int32),
    )


def simulated_blocks(task: Task, num_models: int = NUM_MODELS, seed: int = 0) -> list[ScoreBlock]:
    """Models that know more or less: noise, and for the truth a bonus that grows from model to model."""
    layout = Layout.of_task(task)
    blocks = []
    for model in range(num_models):
        noise = np.random.default_rng([seed, model]).standard_normal(task.candidates.shape)
        score = (noise + task.is_truth * (0.2 * model)).ravel()
        blocks.append(ScoreBlock(f"model-{model:02}", REAL, task.split, task.name, layout, score))
    return blocks


def ours(task: Task, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64 (n, len(COMPARED))"""
    counts = tie_counts(scores, task.candidates, task.all_truths)
    return np.stack([metric.values(counts) for metric in COMPARED], axis=1)


def theirs(task: Task, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same by pytrec_eval, its dictionaries included."""
    import pytrec_eval

    documents = [[f"t{candidate}" for candidate in row] for row in task.candidates.tolist()]
    clips = task.clip_ids.tolist()
    qrels = {clip: {f"t{truth}": 1} for clip, truth in zip(clips, task.truths.tolist(), strict=True)}
    run = {
        clip: dict(zip(names, row, strict=True))
        for clip, names, row in zip(clips, documents, scores.tolist(), strict=True)
    }
    found = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank", "success.1,2,5,10"}).evaluate(run)
    columns = ["recip_rank", "success_1", "success_2", "success_5", "success_10"]
    return np.array([[found[clip][column] for column in columns] for clip in clips])


def measure(num_clips: int = NUM_CLIPS, num_models: int = NUM_MODELS, rounds: int = 3) -> dict[str, Any]:
    task = simulated_task(num_clips)
    blocks = simulated_blocks(task, num_models)
    entries = [Entry(name=block.model, kind="model") for block in blocks]
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter(), time.process_time()
        evaluation = evaluate(entries, [task], blocks)
        seconds.append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
    wall, busy = min(seconds)
    assert len(evaluation.metrics["comparisons"]) == 3 * num_models * (num_models - 1) // 2

    times = {"ours": float("inf"), "pytrec_eval": float("inf")}
    matrices = [block.score.reshape(task.candidates.shape) for block in blocks]
    values: dict[str, list[NDArray[np.float64]]] = {}
    for _ in range(rounds):
        for name, way in (("ours", ours), ("pytrec_eval", theirs)):
            start = time.process_time()
            values[name] = [way(task, scores) for scores in matrices]
            times[name] = min(times[name], time.process_time() - start)
    pairs = zip(values["ours"], values["pytrec_eval"], strict=True)
    return {
        "clips": num_clips,
        "candidates": task.k,
        "models": num_models,
        "metrics": [metric.name for metric in METRICS],
        "cores": os.cpu_count(),
        "evaluation": {"seconds": round(wall, 2), "processor_seconds": round(busy, 2)},
        "side by side": {
            **{f"{name}_seconds": round(value, 3) for name, value in times.items()},
            "times faster": round(times["pytrec_eval"] / times["ours"], 1),
            "largest difference": max(float(np.abs(one - other).max()) for one, other in pairs),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="500 clips and 4 models")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    found = measure(500, 4, options.rounds) if options.small else measure(rounds=options.rounds)
    print(json.dumps(found, indent=2))
    side = found["side by side"]
    if side["largest difference"] > TOLERANCE:
        raise SystemExit(f"numbers differ by {side['largest difference']:.1e}")
    if found["evaluation"]["processor_seconds"] > LIMIT_SECONDS or side["times faster"] < ASKED:
        raise SystemExit(f"over {LIMIT_SECONDS:.0f} s, or less than {ASKED:.0f} times faster than pytrec_eval")


if __name__ == "__main__":
    main()
