"""Runs beside each other and in other forms: paired differences, refusals, the intersection, tables that hold."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from videochat.benchmark.candidates.build import build_candidates
from videochat.benchmark.ranker import bench
from videochat.benchmark.runs.compare import compare, describe
from videochat.benchmark.runs.exports import EXPORTS, latex_escape
from videochat.benchmark.runs.run import Run, rescore
from videochat.benchmark.scorers.baselines import Length, Random
from videochat.benchmark.scorers.entrant import Entrant
from videochat.cli import main
from videochat.commenter import ClipScores
from videochat.dataset import Dataset
from videochat.errors import Mismatch, UsageError
from videochat.files import stable_hash, write_json
from videochat.workspace import Workspace


class Knowing:
    """Knows the truth with a chance of `skill`."""

    needs: frozenset[str] = frozenset()

    def __init__(self, name: str, skill: float, truths: dict[str, set[str]]) -> None:
        self.name, self.skill, self.truths = name, skill, truths

    def score(self, clips, candidates, texts):
        found = []
        for clip, ids in zip(clips, candidates, strict=True):
            knows = stable_hash(self.name, clip.clip_id) / 2**64 < self.skill
            rows = [(texts.texts[i], stable_hash(self.name, clip.clip_id, texts.texts[i]) / 2**64) for i in ids]
            found.append(ClipScores(np.array([n + 2 * (knows and t in self.truths[clip.clip_id]) for t, n in rows])))
        return found


@dataclasses.dataclass
class Runs:
    workspace: Workspace
    first: Run
    second: Run
    other_k: Run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, dummies: ModuleType) -> Runs:
    folder = tmp_path_factory.mktemp("runs")
    sizes = {"num_channels": 3, "recordings_per_channel": 12, "clips_per_recording": 8, "dim": None}
    dataset = dummies.make_dataset(folder, split_by="recording", **sizes)
    workspace = Workspace.open(folder)
    truths = {clip.clip_id: {response.text for response in clip.responses} for clip in dataset.clips()}
    good, better = Knowing("mine", 0.3, truths), Knowing("mine", 0.9, truths)
    sets = build_candidates(workspace, dataset, "v1", k=4)
    options = {"swaps": False, "allow_failed_audit": True}  # small dummies repeat each other by chance
    first = bench(workspace, dataset, sets, [good, Length(), Random()], run_id="first", **options)
    entrants = [Entrant(commenter=better), Knowing("new<&_model", 0.5, truths), Length()]
    second = bench(workspace, dataset, sets, entrants, run_id="second", **options)
    bigger = build_candidates(workspace, dataset, "v1", k=3)
    return Runs(workspace, first, second, bench(workspace, dataset, bigger, [good], run_id="k3", **options))


def test_differences_are_those_of_one_run_with_both(runs: Runs) -> None:
    found = compare([runs.first, runs.second])
    official = [row for row in found.rows if row["set"] == "official"]
    assert [(row["a"], row["b"]) for row in official] == [("mine (A)", "mine (B)")]
    numbers = [{r["model"]: r["value"] for r in run.results["official"]}["mine"] for run in (runs.first, runs.second)]
    assert official[0]["value"] == pytest.approx(numbers[0] - numbers[1], abs=1e-9)
    assert official[0]["high"] < 0
    assert official[0]["p"] == official[0]["p_holm"] < 0.05
    assert found.alone == ["new<&_model (B)"]
    within = {(r["set"], r["metric"]): r for r in runs.second.results["comparisons"] if r["a"] == "mine"}
    again = compare([runs.second, runs.second], models=["mine", "new<&_model"], all_pairs=True)
    for row in again.rows:
        if (row["a"], row["b"]) == ("mine (A)", "new<&_model (B)"):
            same = within[row["set"], row["metric"]]
            assert {k: row[k] for k in ("value", "low", "high", "p")} == {
                k: same[k] for k in ("value", "low", "high", "p")
            }
    flipped = compare([runs.second, runs.first]).rows[0]
    assert flipped["value"] == -found.rows[0]["value"]
    text = describe(found)
    assert "SIMULATED" in text
    assert "not compared (pass --all-pairs): new<&_model (B)" in text


def test_scorers_are_compared_when_they_are_named(runs: Runs) -> None:
    found = compare([runs.first, runs.second], models=["length"])
    assert {row["value"] for row in found.rows} == {0.0}
    with pytest.raises(UsageError, match="no run ranks 'tfidf'"):
        compare([runs.first, runs.second], models=["tfidf"])


def test_other_items_are_refused_unless_their_intersection_is_wanted(runs: Runs, tmp_path: Path) -> None:
    with pytest.raises(Mismatch, match="ranked other candidates"):
        compare([runs.first, runs.other_k])
    clips = runs.first.tasks("test")[0].clip_ids.tolist()
    copy = tmp_path / "runs" / "first"
    shutil.copytree(runs.first.path, copy)
    left = rescore(copy, only=[clip for clip in clips if not clip.startswith("dummy-02-0_")])  # one recording less
    with pytest.raises(Mismatch, match="other parts of the sets"):
        compare([left, runs.second])
    found = compare([runs.second, left], intersection=True)
    assert found.intersection
    assert 0 < found.sets["random4"] < len(clips)
    assert found.left_out["random4"] == len(clips) - found.sets["random4"]
    assert "ONLY ON THE INTERSECTION" in describe(found)
    changed = runs.first.path.parent / "changed"
    shutil.copytree(runs.first.path, changed)
    info = json.loads((changed / "run.json").read_text())
    info["protocol_label"] = "classic-1.0"
    write_json(changed / "run.json", info)
    with pytest.raises(Mismatch, match="of protocols"):
        compare([Run.open(changed), runs.first])
    shutil.rmtree(changed)
    with pytest.raises(UsageError, match="1 runs to compare"):
        compare([runs.first])


def test_every_form_holds_the_figures(runs: Runs, tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(EXPORTS["csv"].text(runs.second))))
    assert len(rows) == len(runs.second.metrics())
    value = json.loads(EXPORTS["json"].text(runs.second))
    assert value["metrics"] == runs.second.results
    assert EXPORTS["markdown"].text(runs.second) == runs.second.to_markdown()
    files = EXPORTS["trec"].files(runs.second)
    assert {"qrels.random4.txt", "mine.random4.run"} <= set(files)


def test_the_latex_table_is_escaped_and_balanced(runs: Runs) -> None:
    info = json.loads((runs.second.path / "metrics.json").read_text())
    info["letters"] = [{"model": "mine", "letters": "a"}, {"model": "new<&_model", "letters": "b"}]
    copy = runs.second.path.parent / "lettered"
    shutil.copytree(runs.second.path, copy)
    write_json(copy / "metrics.json", info)
    text = EXPORTS["latex"].text(Run.open(copy))
    shutil.rmtree(copy)
    body = [line for line in text.splitlines() if not line.startswith("%")]
    assert r"new\textless{}\&\_model" in text
    assert r"\textsuperscript{a}" in text
    assert "SIMULATED DATA" in text
    rows = [line for line in body if line.endswith(r"\\") and "multicolumn" not in line]
    assert len({line.replace(r"\&", "").count("&") for line in rows}) == 1
    assert text.count("{") == text.count("}")
    assert all(ord(char) < 256 for char in text)


def test_escapes_leave_nothing_that_latex_would_run() -> None:
    assert latex_escape(r"\input{x} 100% $a_b^c# ~{}&") == (
        r"\textbackslash{}input\{x\} 100\% \$a\_b\textasciicircum{}c\# \textasciitilde{}\{\}\&"
    )
    assert latex_escape("a\nb\u202ec🔥é") == "a bU+202EcU+1F525é"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex with booktabs")
@pytest.mark.slow
def test_the_latex_table_compiles(runs: Runs, tmp_path: Path) -> None:
    page = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n%s\\end{document}\n"
    (tmp_path / "t.tex").write_text(page % EXPORTS["latex"].text(runs.second), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "t.pdf").stat().st_size > 1000


def run_command(*arguments: object) -> int:
    with pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
    assert isinstance(done.value.code, int)
    return done.value.code


def test_the_commands_take_ids_and_folders(runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = runs.workspace.root
    assert run_command("compare", "--data", root, "first", runs.second.path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["runs"] == {"A": "first", "B": "second"}
    assert run_command("compare", "--data", root, "first") == 2
    assert run_command("compare", "--data", root, "first", "nothing") == 1
    assert "no run at nothing" in capsys.readouterr().err
    assert run_command("export", "--data", root, "first", "--format", "latex", "--out", tmp_path / "t.tex") == 0
    assert (tmp_path / "t.tex").read_text().startswith("% videochat|v1.0|random4")
    assert run_command("export", "--data", root, "first", "--format", "trec") == 2
    assert run_command("export", "--data", root, "first", "--format", "trec", "--out", tmp_path / "trec") == 0
    before = (runs.first.path / "metrics.json").read_bytes()
    assert run_command("rescore", "--data", root, "first") == 0
    assert (runs.first.path / "metrics.json").read_bytes() == before
    build_candidates(runs.workspace, Dataset.open(root), "v1", k=4)
    capsys.readouterr()
    assert run_command("rescore", "--data", root, "first", "--current", "--json") == 0
    again = json.loads(capsys.readouterr().out)
    assert again["metrics"]["official"] == runs.first.results["official"], "nothing was taken down"
    assert Path(again["run"]).name.startswith("first-on-")
    original = runs.first.path / "trec" / "qrels.random4.txt"
    assert (tmp_path / "trec" / "qrels.random4.txt").read_bytes() == original.read_bytes()
