"""A run: the folder that `bench` leaves, written whole or not at all, from which every figure can be made again.

    run = Run.open("videochat-data/runs/v1-sfat-1f0c9a2b")
    run.metrics()                       # tidy DataFrame: a row for each model, set, stratum, rule and metric
    print(run.table(wide=True))
    run.ranking("sfat", "random10")     # a row for each candidate of each clip, with its rank

    run.json candidates.parquet scores.parquet     what was ranked, and the scores
    clips.parquet texts.parquet                    what else is known of clips and candidates (evaluation/clip_facts.py)
    metrics.json table.txt trec/ weights.parquet   what follows from them

candidates.parquet repeats the ranked sets by text number, without the texts. There are no wall times in a run: the
same input, models and seed give the same bytes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from videochat.errors import MissingInput
from videochat.files import digest_json, read_json, read_parquet, unfinished, write_json, write_parquet, write_text

from ..evaluation.clip_facts import ClipFacts, read_facts, write_facts
from ..evaluation.evaluate import Entry, Evaluation, evaluate
from ..metrics.ranks import METRICS
from ..scores import rules as score_rules
from ..scores.blocks import REAL, ScoreBlock, read_scores, write_scores
from ..scores.tasks import Task
from . import table
from .signature import Signature
from .trec import write_qrels, write_run

if TYPE_CHECKING:
    import pandas as pd

RUN_FORMAT = 1
NEEDED = ("candidates", "data_digest", "models", "protocol", "run_id", "sets", "settings")  # of run.json
AGAIN = "run `videochat bench` again"
ENTRANTS = ("model", "scorer")
_STRINGS = ("clip_ids", "recording_ids", "categories", "clusters", "group_ids")


class Run:
    """One run folder. path: the folder; info: run.json."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.info: dict[str, Any] = read_json(path / "run.json", needs=NEEDED, fix=AGAIN)

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Raises MissingInput if `path` is no run folder."""
        path = Path(path)
        if not (path / "run.json").is_file():
            raise MissingInput(f"no run at {path}", fix="make one with `videochat bench`")
        return cls(path)

    @property
    def run_id(self) -> str:
        return str(self.info["run_id"])

    @property
    def results(self) -> dict[str, Any]:
        """metrics.json as it is."""
        found: dict[str, Any] = read_json(self.path / "metrics.json", needs=("official", "rows"), fix=AGAIN)
        return found

    def metrics(self) -> pd.DataFrame:
        """One row for each model, set, stratum, rule and metric: value, low, high; official marks the model's rule.

        The official number stands there too, as set "official", metric "MRR"; its clips are those of its sets together.
        """
        import pandas as pd

        results, rules = self.results, {m["name"]: m["score_rule"] for m in self.info["models"]}
        kinds = {m["name"]: m["kind"] for m in self.info["models"]}
        rows = []
        for row in results["rows"]:
            shared = {name: row[name] for name in ("model", "kind", "set", "k", "stratum", "rule")}
            counts = {name: row[name] for name in ("num_clips", "num_clusters")}
            official = rules[row["model"]] == row["rule"]
            for metric in METRICS:
                figure = row["metrics"][metric.name]
                rows.append({**shared, "official": official, "metric": metric.name, **figure, **counts})
        heads = table.headline_sets(results["rows"])
        sizes = {row["set"]: row for row in results["rows"] if row["stratum"] == "all" and row["set"] in heads}
        for row in results["official"]:
            name = row["model"]
            figure = {key: row[key] for key in ("value", "low", "high")}
            shared = {"model": name, "kind": kinds[name], "set": "official", "stratum": "all", "rule": rules[name]}
            counts = {"num_clips": sum(row["num_clips"] for row in sizes.values())}
            counts["num_clusters"] = self.info["num_clusters"]
            k = next(row["k"] for row in sizes.values())
            rows.append({**shared, "k": k, "official": True, "metric": "MRR", **figure, **counts})
        return pd.DataFrame(rows)

    def table(self, *, wide: bool = False) -> str:
        """The printed table; see benchmark/runs/table.py."""
        return table.to_text(self.info, self.results, wide=wide)

    def to_markdown(self) -> str:
        return table.to_markdown(self.info, self.results)

    def blocks(self) -> list[ScoreBlock]:
        return read_scores(self.path / "scores.parquet")

    def tasks(self, split: str | None = None) -> list[Task]:
        """What was ranked, by text number, in the order of the sets (dev and test unless one is named)."""
        return [t for t in read_tasks(self.path / "candidates.parquet") if split in (None, t.split)]

    def scores(self, model: str, condition: str = REAL, split: str = "test") -> pd.DataFrame:
        """The kept scores: set, clip_id, candidates, score, log_likelihood, num_tokens, null_log_likelihood."""
        wanted = [("model", "==", model), ("condition", "==", condition), ("split", "==", split)]
        found = read_parquet(self.path / "scores.parquet", filters=wanted, fix=AGAIN)
        frame: pd.DataFrame = (
            found.drop_columns(["model", "condition", "split"]).replace_schema_metadata(None).to_pandas()
        )
        return frame

    def ranking(self, model: str, set_name: str, split: str = "test", *, condition: str = REAL) -> pd.DataFrame:
        """One row for each candidate of each clip under the model's official rule: clip_id, candidate, score,
        is_truth, rank (the mean rank among ties, 1 = best)."""
        import pandas as pd

        rules = {m["name"]: m["score_rule"] for m in self.info["models"]}
        for task in self.tasks(split):
            for block in self.blocks():
                if (
                    (block.model, block.condition) == (model, condition)
                    and block.covers(task)
                    and task.name == set_name
                ):
                    part = task.only(np.isin(task.clip_ids, block.layout.clip_ids))
                    scores = score_rules.apply(rules[model], block, part, block.layout.gather(part))
                    better = (scores[:, None, :] > scores[:, :, None]).sum(axis=2)
                    equal = (scores[:, None, :] == scores[:, :, None]).sum(axis=2)
                    return pd.DataFrame(
                        {
                            "clip_id": np.repeat(part.clip_ids, part.k).astype(object),
                            "candidate": part.candidates.ravel(),
                            "score": scores.ravel(),
                            "is_truth": part.is_truth.ravel(),
                            "rank": (better + (equal + 1) / 2).ravel(),
                        }
                    )
        raise MissingInput(f"run {self.run_id} has no {condition} scores of {model!r} on {set_name!r} ({split})")


def write_tasks(path: Path, tasks: Sequence[Task]) -> None:
    """candidates.parquet of a run: the columns of the tasks, one row a clip; other_truths only where there are some."""
    import pyarrow as pa

    tables, several = [], any(task.other_truths is not None for task in tasks)
    for task in tasks:
        offsets = pa.array(np.arange(len(task) + 1, dtype=np.int32) * task.k)
        columns: dict[str, Any] = {
            "set": pa.array([task.name] * len(task), pa.string()),
            "k": pa.array([task.k] * len(task), pa.int32()),
            "split": pa.array([task.split] * len(task), pa.string()),
            **{name: pa.array(getattr(task, name).tolist(), pa.string()) for name in _STRINGS},
            "candidates": pa.ListArray.from_arrays(offsets, pa.array(task.candidates.ravel(), pa.int32())),
            "num_bytes": pa.ListArray.from_arrays(offsets, pa.array(task.num_bytes.ravel(), pa.int32())),
            "truths": pa.array(task.truths, pa.int32()),
            "generic": pa.array(task.generic, pa.bool_()),
        }
        if several:
            others = [[]] * len(task) if task.other_truths is None else task.other_truths.tolist()
            columns["other_truths"] = pa.array(others, pa.list_(pa.int32()))
        tables.append(pa.table(columns))
    write_parquet(pa.concat_tables(tables), path, {"stamp": digest_json([t.name for t in tasks])})


def read_tasks(path: Path) -> list[Task]:
    found = read_parquet(path, fix=AGAIN).combine_chunks()
    keys = list(zip(*(found[name].to_pylist() for name in ("set", "k", "split")), strict=True))
    tasks = []
    for name, k, split in dict.fromkeys(keys):
        part = found.filter(np.array([key == (name, k, split) for key in keys]))
        lists: dict[str, Any] = {
            column: part[column].combine_chunks().flatten().to_numpy().reshape(-1, k).astype(np.int32)
            for column in ("candidates", "num_bytes")
        }
        strings: dict[str, Any] = {column: np.asarray(part[column].to_pylist(), dtype=np.str_) for column in _STRINGS}
        truths = part["truths"].to_numpy().astype(np.int32)
        generic = part["generic"].to_numpy().astype(np.bool_)
        if "other_truths" in part.column_names and len(rows := part["other_truths"].to_pylist()) and rows[0]:
            lists["other_truths"] = np.array(rows, dtype=np.int32)
        tasks.append(Task(name=name, k=k, split=split, truths=truths, generic=generic, **lists, **strings))
    return tasks


def evaluated(
    info: dict[str, Any], tasks: Sequence[Task], blocks: Sequence[ScoreBlock], facts: ClipFacts | None = None
) -> Evaluation:
    """Compute all figures and write what they decide (rules, marks, signatures) into `info`."""
    scored = {block.model for block in blocks}
    entries = [Entry(name=m["name"], kind=m["kind"]) for m in info["models"] if m["name"] in scored]
    frames = {m["name"]: bool(m["saw_frames"]) for m in info["models"]}
    found = evaluate(entries, tasks, blocks, seed=info["settings"]["seed"], frames=frames, facts=facts)
    for model in info["models"]:
        name = model["name"]
        model["score_rule"], model["rules"] = found.score_rules.get(name), found.dev.get(name, {})
        model["text_only"] = found.text_only.get(name)
    info["num_clusters"] = found.num_clusters
    info["pools"] = {task.name: "category" for task in tasks if task.pools_recordings}
    info["signatures"] = {name: str(signature(info, name)) for name in info["sets"]}
    return found


def signature(info: Mapping[str, Any], set_name: str, model: str | None = None) -> Signature:
    """The signature of one model's result on a set; without a model, of a table of all ("mixed" if rules differ)."""
    rules = {m["name"]: m["score_rule"] for m in info["models"] if m["kind"] in ENTRANTS and m["score_rule"]}
    likelihood = {rule for rule in rules.values() if rule != "own"}
    rule = rules[model] if model else "mixed" if len(likelihood) > 1 else next(iter(likelihood), "own")
    return Signature(
        protocol=info["protocol_label"],
        set=":".join(filter(None, [set_name, info.get("pools", {}).get(set_name), info["part"]])),
        data=info["data_digest"][:8],
        cand=info["candidates"][set_name][:8],
        split=info["split_by"],
        score=rule,
        tool=info["tool"],
    )


def write_results(folder: Path, info: dict[str, Any], tasks: Sequence[Task], blocks: Sequence[ScoreBlock]) -> None:
    """Everything that follows from the scores: metrics.json, table.txt, trec/ and run.json, last."""
    found = evaluated(info, tasks, blocks, read_facts(folder))
    write_json(folder / "metrics.json", found.metrics)
    write_text(folder / "table.txt", table.to_text(info, found.metrics))
    kinds = {model["name"]: model["kind"] for model in info["models"]}
    for task in tasks:
        if task.split != "test" or not len(task):
            continue
        write_qrels(folder / "trec", task)
        for block in blocks:
            if kinds[block.model] in ENTRANTS and block.condition == REAL and block.covers(task):
                scores = score_rules.apply(found.score_rules[block.model], block, task, block.layout.gather(task))
                write_run(folder / "trec", task, scores, block.model)
    write_json(folder / "run.json", info)


def write_run_folder(
    final: Path,
    info: dict[str, Any],
    tasks: Sequence[Task],
    blocks: Sequence[ScoreBlock],
    *,
    write_more: Callable[[Path], None] | None = None,
) -> Run:
    """Write a run under a temporary name, then rename it; an older run of the same id is replaced."""
    final.parent.mkdir(parents=True, exist_ok=True)
    for leftover in final.parent.glob(f".{final.name}.*"):
        shutil.rmtree(leftover)  # a killed attempt; the caller holds the workspace's lock
    temporary = final.with_name(f".{final.name}.{unfinished()}")
    temporary.mkdir()
    try:
        write_tasks(temporary / "candidates.parquet", tasks)
        write_scores(temporary / "scores.parquet", blocks, {"stamp": digest_json([info["run_id"], RUN_FORMAT])})
        if write_more:
            write_more(temporary)
        write_results(temporary, info, tasks, blocks)
        if final.exists():
            final.rename(final.with_name(f".{final.name}.old"))
        temporary.rename(final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(final.with_name(f".{final.name}.old"), ignore_errors=True)
    descriptor = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return Run.open(final)


def rescore(path: Path | str, *, only: Collection[str] | None = None) -> Run:
    """Compute a run's metrics again from its scores, without models or dataset.

    only: the clips that are still allowed (after a takedown). Groups that lost a clip are dropped whole, so that they
    stay balanced, and the result is a run of its own, `<run>-on-<digest>`; without it the folder is rewritten in place.
    Raises MissingInput if nothing is left.
    """
    run = Run.open(path)
    tasks, blocks = run.tasks(), run.blocks()
    if only is None:
        write_results(run.path, run.info, tasks, blocks)
        return Run.open(run.path)
    allowed = np.asarray(sorted(only), dtype=np.str_)
    kept = []
    for task in tasks:
        broken = set(task.group_ids[~np.isin(task.clip_ids, allowed)].tolist())
        kept.append(task.only(np.array([group not in broken for group in task.group_ids.tolist()], dtype=np.bool_)))
    if not any(len(task) for task in kept if task.split == "test"):
        raise MissingInput("no test clip of this run is left", fix="bench on the new candidate sets")
    part = f"on-{digest_json(allowed.tolist())[:8]}"
    info = dict(run.info, run_id=f"{run.run_id}-{part}", part=part)
    facts = read_facts(run.path)
    more = None if facts is None else lambda folder: write_facts(folder, facts)
    return write_run_folder(run.path.with_name(info["run_id"]), info, kept, blocks, write_more=more)
