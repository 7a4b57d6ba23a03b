"""Tasks for lmms-eval and lm-evaluation-harness: what they hold, and logged samples as both write them read back."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml

from videochat.benchmark.candidates.build import build_candidates
from videochat.benchmark.metrics.ranks import BadScores
from videochat.benchmark.outside.handout import hand_out
from videochat.benchmark.outside.harness import hand_to_harness, read_samples, write_scores_file
from videochat.benchmark.outside.score_file import read_score_file
from videochat.benchmark.outside.score_matching import match
from videochat.benchmark.scorers.choice import Asked
from videochat.benchmark.scores.tasks import make_tasks
from videochat.commenter import view
from videochat.errors import MissingInput, UsageError
from videochat.workspace import Workspace


class Tasks:
    def __init__(self, folder: Path, dummies: ModuleType) -> None:
        sizes = {"num_channels": 3, "recordings_per_channel": 2, "clips_per_recording": 12, "dim": None}
        self.dataset = dummies.make_dataset(folder / "ws", split_by="recording", **sizes)
        workspace = Workspace.open(folder / "ws")
        self.sets = build_candidates(workspace, self.dataset, "v1", k=4)
        self.handout, self.folder = folder / "handout", folder / "tasks"
        hand_out(workspace, self.dataset, self.sets, self.handout, frames="none", names=["random4"])
        self.names = hand_to_harness(self.handout, self.folder, "lmms-eval")

    def docs(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "data" / f"{name}.jsonl").read_text().splitlines()]

    def matched(self, path: Path) -> Any:
        return match(read_score_file(path), make_tasks(self.sets), self.sets.manifest, name="mine")


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory, dummies: ModuleType) -> Tasks:
    return Tasks(tmp_path_factory.mktemp("harness"), dummies)


class Loader(yaml.SafeLoader):
    """YAML as the harnesses read it: `!function module.name` is a function of a file beside it."""


Loader.add_constructor("!function", lambda loader, node: ("function", loader.construct_scalar(node)))


def functions(tasks: Tasks) -> ModuleType:
    spec = importlib.util.spec_from_file_location("videochat_tasks", tasks.folder / "videochat_tasks.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_task_names_data_and_functions_that_are_there_and_no_truth(tasks: Tasks) -> None:
    assert len(tasks.names) == 4
    module = functions(tasks)
    truths = dict(zip(tasks.sets["random4"].clip_ids, tasks.sets["random4"].truths, strict=True))
    for name in tasks.names:
        config = yaml.load((tasks.folder / f"{name}.yaml").read_text(), Loader=Loader)
        assert config["task"] == name
        assert config["output_type"] == ("multiple_choice" if name.endswith("likelihood") else "generate_until")
        assert Path(config["dataset_kwargs"]["data_files"]["test"]).is_file()
        named = [value[1] for value in config.values() if isinstance(value, tuple)]
        assert len(named) == 4
        for each in named:
            assert callable(getattr(module, each.removeprefix("videochat_tasks.")))
        for doc in tasks.docs(name):
            assert module.no_truth(doc) in (0, "A")
            prompt = module.chat(doc) if doc["kind"] == "likelihood" else module.question(doc)
            assert all(line in prompt for line in doc["chat"])
            assert doc["kind"] == "likelihood" or all(text in prompt for text in doc["choices"])
            assert "truth" not in doc
    places = [doc["ids"].index(truths[doc["clip_id"]]) for doc in tasks.docs(tasks.names[-1])]
    assert len(set(places)) == 4
    with pytest.raises(UsageError, match="unknown form"):
        hand_to_harness(tasks.handout, tasks.folder, "helm")


def log(tasks: Tasks, folder: Path, kind: str, answer: Any, *, framework: str = "lm-eval") -> list[Path]:
    """Samples as the frameworks log them: lm_eval 0.4.13 with the document, lmms_eval 0.7.3 with its number alone."""
    paths = []
    for name in [each for each in tasks.names if each.endswith(kind)]:
        lines = []
        for doc_id, doc in enumerate(tasks.docs(name)):
            line = {"doc_id": doc_id, "target": "0", "filtered_resps": answer(doc)}
            lines.append(json.dumps(line | ({"doc": doc, "filter": "none"} if framework == "lm-eval" else {})))
        date = "2026-11-23T15-35-37.387970"
        file = f"samples_{name}_{date}.jsonl" if framework == "lm-eval" else f"20261123_233356_samples_{name}.jsonl"
        (folder / file).write_text("\n".join(lines) + "\n")
        paths.append(folder / file)
    return paths


def test_likelihoods_come_back_as_scores_with_digests(tasks: Tasks, tmp_path: Path) -> None:
    paths = log(tasks, tmp_path, "likelihood", lambda doc: [[str(-float(len(t))), "False"] for t in doc["choices"]])
    found = read_samples(paths, tasks.folder)
    write_scores_file(found, tmp_path / "mine.jsonl")
    file = read_score_file(tmp_path / "mine.jsonl")
    assert file.declared["candidates"] == {"random4": tasks.sets["random4"].digest}
    matched = tasks.matched(tmp_path / "mine.jsonl")
    assert matched.problems == []
    assert {block.split for block in matched.blocks} == {"dev", "test"}
    lengths = [-float(len(tasks.sets.texts.texts[i])) for i in matched.blocks[0].layout.flat]
    assert matched.blocks[0].score.tolist() == lengths
    assert matched.blocks[0].log_likelihood is not None


def test_losses_are_turned_round_and_never_taken_for_likelihoods(tasks: Tasks, tmp_path: Path) -> None:
    answer = lambda doc: [[float(len(text)), False] for text in doc["choices"]]  # noqa: E731
    found = read_samples(log(tasks, tmp_path, "likelihood", answer, framework="lmms-eval"), tasks.folder)
    assert "losses" in found.notes[0]
    assert all(max(row["scores"]) < 0 and "log_likelihood" not in row for row in found.rows)


class Longest:
    name = "longest"
    needs: frozenset[str] = frozenset()

    def rank(self, clip, texts):
        return " > ".join("ABCD"[i] for i in sorted(range(len(texts)), key=lambda i: -len(texts[i])))


@pytest.mark.parametrize("framework", ["lm-eval", "lmms-eval"])
def test_choices_come_back_as_the_ranker_asks_them(tasks: Tasks, tmp_path: Path, framework: str) -> None:
    def answer(doc: dict[str, Any]) -> Any:
        said = Longest().rank(None, doc["choices"])
        return [said] if framework == "lm-eval" else said

    found = read_samples(log(tasks, tmp_path, "choice", answer, framework=framework), tasks.folder)
    write_scores_file(found, tmp_path / "mine.jsonl")
    matched = tasks.matched(tmp_path / "mine.jsonl")
    assert matched.problems == []
    block = next(block for block in matched.blocks if block.split == "test")
    clips = {clip.clip_id: view(clip) for clip in tasks.dataset.clips("test")}
    ids = [block.layout.flat[block.layout.row(clip_id)].tolist() for clip_id in block.layout.clip_ids]
    inside = Asked(Longest()).score([clips[c] for c in block.layout.clip_ids], ids, tasks.sets.texts)
    assert np.allclose(np.concatenate([each.score for each in inside]), block.score)
    assert "0 of" in found.notes[0]


def test_samples_that_do_not_fit_are_refused(tasks: Tasks, tmp_path: Path) -> None:
    likely = log(tasks, tmp_path, "likelihood", lambda doc: [[-1.0, False]] * 4)
    chosen = log(tasks, tmp_path, "choice", lambda doc: "A")
    with pytest.raises(BadScores, match="likelihoods and choices"):
        read_samples([*likely, *chosen], tasks.folder)
    with pytest.raises(MissingInput, match="there is no file"):
        read_samples([tmp_path / "none.jsonl"], tasks.folder)
    with pytest.raises(BadScores, match="the name of no task"):
        read_samples(likely, tmp_path)
    lines = likely[0].read_text().splitlines()
    for text, words in (
        ("\n".join(lines[1:]), "1 of .* documents were not asked"),
        ("\n".join([*lines, lines[0]]), "logged twice"),
        ("\n".join(["[1]", *lines]), "line 1 is no sample"),
        ("\n".join(lines).replace('"doc_id": 0,', '"doc_id": 999,'), "line 1 is no sample"),
        ("\n".join(lines).replace("[[-1.0, false], ", "[", 1), "3 likelihoods for 4 candidates"),
    ):
        likely[0].write_text(text + "\n")
        with pytest.raises(BadScores, match=words):
            read_samples(likely[:1], tasks.folder)
