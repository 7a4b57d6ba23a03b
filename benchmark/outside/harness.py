"""The frozen candidates as tasks of lmms-eval and of lm-evaluation-harness, and their logged samples as a scores file.

    hand_to_harness(Path("handout"), Path("tasks"), "lmms-eval")      # from what handout.py wrote
    lmms_eval --include_path tasks --tasks videochat_v1_0_random10_test_choice --log_samples --output_path out ...
    read_samples([Path("out/..._samples_....jsonl")], Path("tasks"))  # -> rows of scores

Two kinds of tasks for each set and split. `likelihood` (multiple_choice): the log-likelihood of each candidate after
the chat, which is what `v1` ranks by. `choice` (generate_until): the candidates by letter, in seeded orders as
`scorers/choice.py` asks, for models that only write; unreadable answers are ties. No task holds the truth: their only
metric says how many answers can be read, the numbers come from `videochat bench`. lmms-eval's models return losses
(lower is better) where lm-evaluation-harness' return log-likelihoods: what is positive throughout is read as a loss.

Sources: docs/guides/task_guide.md of EvolvingLMMs-Lab/lmms-eval 0.7, docs/task_guide.md of lm-evaluation-harness 0.4.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from videochat.errors import MissingInput, UsageError
from videochat.files import read_json, write_json, write_text
from videochat.schema import slug

from ..metrics.ranks import BadScores
from ..scorers.choice import NUM_ORDERS, parse_order, position_bias, ranks_of, seeded_order, sentence

FORMS = ("lmms-eval", "lm-eval")
KINDS = ("likelihood", "choice")
FUNCTIONS = "videochat_tasks.py"


def hand_to_harness(handout: Path, out: Path, form: str, *, seed: int = 0, num_orders: int = NUM_ORDERS) -> list[str]:
    """Write task files, data and functions from a hand-out into `out`; returns the names of the tasks.

    form: "lmms-eval" (with pictures, if the hand-out has them) or "lm-eval" (text). Paths of the data are absolute,
    since the harnesses take them from where they are started. Raises UsageError for another form.
    """
    if form not in FORMS:
        raise UsageError(f"unknown form {form!r}", fix=f"choose one of {', '.join(FORMS)}")
    manifest = read_json(handout / "manifest.json", needs=("candidates", "num_clips"), fix="hand out again")
    names = []
    for set_name, counts in manifest["num_clips"].items():
        for split in counts:
            lines = (handout / f"{set_name}.{split}.jsonl").read_text(encoding="utf-8").splitlines()
            items = [json.loads(line) for line in lines]
            for kind in KINDS if items else ():
                task = f"videochat_{slug(manifest['label']).replace('-', '_')}_{set_name}_{split}_{kind}"
                rows = [row for item in items for row in rows_of(item, manifest, kind, handout, seed, num_orders)]
                data = out / "data" / f"{task}.jsonl"
                write_text(data, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
                write_text(out / f"{task}.yaml", task_yaml(task, kind, data.resolve(), form))
                names.append(task)
    write_text(out / FUNCTIONS, files(__package__ or "").joinpath("harness_functions.txt").read_text(encoding="utf-8"))
    write_json(out / "manifest.json", manifest)
    return names


def rows_of(
    item: Mapping[str, Any], manifest: Mapping[str, Any], kind: str, handout: Path, seed: int, num_orders: int
) -> Iterator[dict[str, Any]]:
    """The documents of one clip: one for its likelihoods, one for each order of a choice."""
    found = [candidate["id"] for candidate in item["candidates"]]
    texts = {candidate["id"]: candidate["text"] for candidate in item["candidates"]}
    pictures = item["frames"] if isinstance(item["frames"], list) else []
    ascending = sorted(found)
    for turn in range(num_orders if kind == "choice" else 1):
        order = seeded_order(seed, item["clip_id"], ascending, turn)
        ids = [ascending[i] for i in order] if kind == "choice" else found
        yield {
            "kind": kind,
            "clip_id": item["clip_id"],
            "set": item["set"],
            "split": item["split"],
            "turn": turn,
            "ids": ids,
            "choices": [texts[i] for i in ids],
            "category": item["category"],
            "chat": [f"[{c['ms'] // 1000:02d} s] {c['text']}" for c in item["context"]],
            "said": [segment["text"] for segment in item["transcript"]],
            "picture_paths": [str((handout / path).resolve()) for path in pictures if path],
            "data_digest": manifest["data_digest"],
            "set_digest": manifest["candidates"][item["set"]],
            "protocol": manifest["protocol"],
        }


def task_yaml(task: str, kind: str, data: Path, form: str) -> str:
    """One task. JSON strings are YAML strings, so any path may stand there."""
    lines = [
        f"task: {task}",
        "dataset_path: json",
        "dataset_kwargs:",
        "  data_files:",
        f"    test: {json.dumps(str(data), ensure_ascii=False)}",
        "test_split: test",
        f"output_type: {'multiple_choice' if kind == 'likelihood' else 'generate_until'}",
        f"doc_to_text: !function videochat_tasks.{'chat' if kind == 'likelihood' else 'question'}",
        "doc_to_target: !function videochat_tasks.no_truth",
        "process_results: !function videochat_tasks.readable",
    ]
    if form == "lmms-eval":
        lines.append("doc_to_visual: !function videochat_tasks.pictures")
    if kind == "likelihood":
        lines += ["doc_to_choice: choices", 'target_delimiter: " "']
    else:
        lines += ["generation_kwargs:", "  max_new_tokens: 64" if form == "lmms-eval" else "  max_gen_toks: 64"]
        lines += ["  do_sample: false", "  temperature: 0", "  until:", '    - "\\n\\n"']
    lines += ["metric_list:", "  - metric: readable", "    aggregation: mean", "    higher_is_better: true"]
    return "\n".join([*lines, "metadata:", "  version: 1.0", ""])


@dataclass(kw_only=True)
class Samples:
    """Scores read from logged samples. rows: clip_id, set, split, candidates, scores, and log_likelihood where it is
    one. declared: the digests. notes: sentences on what was read."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    declared: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_samples(paths: Sequence[Path], tasks: Path) -> Samples:
    """The logged samples of one model as rows of scores.

    paths: files that bear the name of their task; tasks: the folder that `hand_to_harness` wrote, where the documents
    are looked up by number (lmms-eval logs no more of them).
    Raises MissingInput without a file, BadScores for lines that are no samples of these tasks, for tasks of both kinds
    (a model has one score), and for documents that were asked twice or not at all.
    """
    samples = [sample for path in paths for sample in _lines(path, tasks)]
    if not samples:
        raise BadScores("the files hold no samples", fix="run the harness with --log_samples")
    kinds = {sample["doc"]["kind"] for sample in samples}
    if len(kinds) > 1:
        raise BadScores("the files hold likelihoods and choices", fix="make a scores file of each")
    found = Samples(declared=_declared(samples))
    if kinds == {"likelihood"}:
        _likelihoods(samples, found)
    else:
        _choices(samples, found)
    return found


def _lines(path: Path, tasks: Path) -> list[dict[str, Any]]:
    """{"doc", "answers"} of each document of the task that the file is named by."""
    if not path.is_file():
        raise MissingInput(f"there is no file {path}", fix="the samples of a run with --log_samples")
    known = sorted(data.stem for data in (tasks / "data").glob("*.jsonl"))
    named = [name for name in known if name in path.name]
    if len(named) != 1:
        raise BadScores(f"{path.name} bears the name of no task of {tasks}", fix="pass --tasks FOLDER of the export")
    data = (tasks / "data" / f"{named[0]}.jsonl").read_text(encoding="utf-8").splitlines()
    docs = [json.loads(line) for line in data]
    answers: dict[int, Any] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            sample = json.loads(line)
            doc_id, answer = sample["doc_id"], sample["filtered_resps"]
            fits = type(doc_id) is int and 0 <= doc_id < len(docs)
        except (ValueError, KeyError, TypeError, RecursionError):
            fits = False
        if not fits:
            raise BadScores(f"{path.name}: line {number} is no sample of {named[0]}", fix="--log_samples")
        if doc_id in answers:
            raise BadScores(f"{path.name}: document {doc_id} was logged twice", fix="read the samples of one run")
        answers[doc_id] = answer
    if absent := len(docs) - len(answers):
        raise BadScores(f"{path.name}: {absent} of {len(docs)} documents were not asked", fix="run without --limit")
    return [{"doc": docs[doc_id], "answers": answers[doc_id]} for doc_id in sorted(answers)]


def _declared(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    docs = [sample["doc"] for sample in samples]
    data = {(str(doc["protocol"]), str(doc["data_digest"])) for doc in docs}
    digests = {(str(doc["set"]), str(doc["set_digest"])) for doc in docs}
    if len(data) > 1 or len({name for name, _ in digests}) < len(digests):
        raise BadScores("the samples are of different data", fix="read those of one hand-out")
    ((protocol, digest),) = data
    return {"protocol": protocol, "data_digest": digest, "candidates": dict(sorted(digests))}


def _likelihoods(samples: Sequence[Mapping[str, Any]], found: Samples) -> None:
    values = []
    for sample in samples:
        doc, answers = sample["doc"], sample["answers"]
        try:
            row = [float(answer[0]) for answer in answers]
        except (TypeError, ValueError, IndexError, KeyError):
            row = []
        if len(row) != len(doc["ids"]):
            raise BadScores(f"{doc['clip_id']}: {len(row)} likelihoods for {len(doc['ids'])} candidates", fix="rerun")
        values.append(row)
    is_loss = min(min(row) for row in values) >= 0 and max(max(row) for row in values) > 0
    if is_loss:
        found.notes.append(
            "the values are positive: losses, as lmms-eval's models return them; their negative is ranked"
        )
    for sample, row in zip(samples, values, strict=True):
        scores = [-value for value in row] if is_loss else row
        found.rows.append(_row(sample["doc"], sample["doc"]["ids"], scores, None if is_loss else scores))


def _choices(samples: Sequence[Mapping[str, Any]], found: Samples) -> None:
    """Minus the mean rank over the orders; ids ascending."""
    ranks: dict[tuple[str, str], list[np.ndarray[Any, np.dtype[np.float64]]]] = {}
    docs: dict[tuple[str, str], Mapping[str, Any]] = {}
    first: list[tuple[int, int]] = []
    unreadable = partial = 0
    for sample in samples:
        doc, answer = sample["doc"], sample["answers"]
        while isinstance(answer, list) and answer:
            answer = answer[0]
        order = parse_order(answer if isinstance(answer, str) else None, len(doc["ids"]))
        unreadable += order is None
        if order is not None:
            first.append((order[0], len(doc["ids"])))
            partial += len(order) < len(doc["ids"])
        by_id = np.empty(len(doc["ids"]))
        by_id[np.argsort(np.argsort(doc["ids"]))] = ranks_of(order, len(doc["ids"]))
        key = (str(doc["clip_id"]), str(doc["set"]))
        ranks.setdefault(key, []).append(by_id)
        docs[key] = doc
    for key, doc in docs.items():
        found.rows.append(_row(doc, sorted(doc["ids"]), (-np.mean(ranks[key], axis=0)).tolist(), None))
    facts = {"orders": len(ranks[key]), "asked": len(samples), "unparsable": unreadable, "partial": partial}
    found.notes.append(sentence("the model", facts | {"first_choice": position_bias(first)}))


def _row(
    doc: Mapping[str, Any], ids: Sequence[int], scores: Sequence[float], likelihoods: Sequence[float] | None
) -> dict[str, Any]:
    row = {"clip_id": doc["clip_id"], "set": doc["set"], "split": doc["split"]}
    row |= {"candidates": list(ids), "scores": list(scores)}
    return row | ({} if likelihoods is None else {"log_likelihood": list(likelihoods)})


def write_scores_file(found: Samples, out: Path) -> None:
    """The rows as a scores file of JSON lines, the digests in its first line."""
    lines = [json.dumps({"videochat": found.declared}), *(json.dumps(row) for row in found.rows)]
    write_text(out, "\n".join(lines) + "\n")
