"""A model outside the package, named by its file, through train, bench and generate."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from videochat import api
from videochat.cli import main
from videochat.errors import UsageError
from videochat.user_model import is_user_model, user_entry

COUNTER = '''
"""How often people said it."""
from collections import Counter
from dataclasses import dataclass

import numpy as np
from helper_of_counter import twice
from videochat.commenter import ClipScores


class Counting:
    """Frequent comments first, twice."""

    name = "counting"
    needs = frozenset()

    def __init__(self, context):
        self.path = context.checkpoint / "counts.txt"
        self.counts = Counter(self.path.read_text().splitlines())

    @staticmethod
    def train(context):
        said = [c.text for clip in context.dataset.clips("train") for c in clip.responses]
        context.checkpoint.mkdir(parents=True, exist_ok=True)
        (context.checkpoint / "counts.txt").write_text("\\n".join(said))

    def score(self, clips, candidates, texts):
        return [ClipScores(score=np.array([twice(self.counts[texts.texts[i]]) for i in ids])) for ids in candidates]

    def generate(self, clips, *, max_new_tokens=20):
        return [self.counts.most_common(1)[0][0] for _ in clips]


@dataclass
class Longest:
    name = "longest"
    needs = frozenset()

    def score(self, clips, candidates, texts):
        return [ClipScores(score=np.array([len(texts.texts[i]) for i in ids], dtype=float)) for ids in candidates]
'''


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
    assert isinstance(done.value.code, int)
    return done.value.code


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "helper_of_counter.py").write_text("def twice(n):\n    return 2.0 * n\n")
    (tmp_path / "counter.py").write_text(COUNTER)
    return tmp_path / "counter.py"


def test_a_class_in_a_file_is_trained_ranked_and_writes(
    file: Path, tmp_path: Path, dummies: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "w"
    dummies.make_dataset(root, num_channels=3, recordings_per_channel=1, clips_per_recording=12, dim=None)
    name = f"{file}:Counting"
    assert run("train", "--data", root, "--model", name) == 0
    assert (root / "checkpoints" / "counting" / "counts.txt").is_file()
    assert run("candidates", "--data", root, "--k", 4) == 0
    capsys.readouterr()
    bench = ("bench", "--data", root, "--model", name, "--model", f"{file}:Longest", "--json", "--no-report")
    assert run(*bench) == 0
    result = json.loads(capsys.readouterr().out)
    info = json.loads((Path(result["run"]) / "run.json").read_text())
    rows = {row["name"]: row for row in info["models"]}
    assert (rows["counting"]["kind"], rows["counting"]["trained"]) == ("model", True)
    assert rows["counting"]["summary"] == "Frequent comments first, twice."
    assert (rows["longest"]["kind"], rows["longest"]["trained"]) == ("model", False)
    found = {(row["model"], row["set"]): row["metrics"]["MRR"]["value"] for row in result["metrics"]["rows"]}
    for kind in ("random4", "cosine4"):
        assert found["longest", kind] == found["length", kind], "the same statistic, the same number"
    assert run("generate", "--data", root, "--model", name, "--limit", 2) == 0
    assert capsys.readouterr().out.splitlines() == ["dummy-02-0_0\tlol", "dummy-02-0_30000\tlol"]
    changed = file.with_name("other.py")
    changed.write_text(COUNTER + "# a comment\n")
    assert run("bench", "--data", root, "--model", f"{changed}:Longest", "--json", "--no-report") == 0
    other = json.loads((Path(json.loads(capsys.readouterr().out)["run"]) / "run.json").read_text())
    digests = {row["name"]: row["checkpoint_digest"] for row in other["models"]}
    assert digests["longest"] != rows["longest"]["checkpoint_digest"], "a changed file gives a run of its own"


def test_what_is_a_file_and_what_a_name() -> None:
    assert is_user_model("a/b.py:Mine")
    assert is_user_model("b.py")
    assert not is_user_model("sfat")
    assert not is_user_model("clip:zero")


PLAIN = "needs = frozenset()\n    def score(self, clips, candidates, texts): ...\n"


@pytest.mark.parametrize(
    ("text", "attribute", "words"),
    [
        (f"class A:\n    name = 'a'\n    {PLAIN}", "B", "has no class 'B' .it has A"),
        ("class A:\n    name = 'a'\n    needs = frozenset()\n", "A", "no method score"),
        (f"class A:\n    {PLAIN}", "A", "the name None"),
        (f"class A:\n    name = '../a'\n    {PLAIN}", "A", "the name '../a'"),
        (f"class A:\n    name = 'sfat'\n    {PLAIN}", "A", "of a model of the registry"),
        (
            "class A:\n    name = 'a'\n    needs = {'sound'}\n    def score(self): ...\n",
            "A",
            "known are candidate_embeddings",
        ),
        ("x = 1\nimport no_such_module\n", "A", "mine.py, line 2 fails: ModuleNotFoundError"),
        ("class A(:\n", "A", "mine.py fails: SyntaxError"),
    ],
)
def test_a_file_that_does_not_fit_says_why(tmp_path: Path, text: str, attribute: str, words: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(UsageError, match=words):
        user_entry(f"{tmp_path / 'mine.py'}:{attribute}", taken=api.catalog())


def test_a_missing_file_or_class_is_one_clear_line(
    file: Path, tmp_path: Path, dummies: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    dummies.make_dataset(tmp_path / "w", num_channels=3, recordings_per_channel=1, clips_per_recording=4, dim=None)
    for name, words in (
        ("none.py:Mine", "there is no file none.py"),
        (str(file), "names no class"),
        (f"{file}:Longest", "has no method train"),
    ):
        assert run("train", "--data", tmp_path / "w", "--model", name) == 2
        error = capsys.readouterr().err
        assert words in error
        assert "fix:" in error
