"""`videochat bench-generation`: the table, the figures that are kept, and inputs that make no table."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from videochat.cli import main
from videochat.dataset import Dataset


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as done:
        main(["bench-generation", *map(str, arguments)])
    assert isinstance(done.value.code, int)
    return done.value.code


@pytest.fixture
def dataset(tmp_path: Path, dummies: ModuleType) -> Dataset:
    made: Dataset = dummies.make_dataset(tmp_path / "w", num_channels=3, clips_per_recording=6)
    return made


def comments(path: Path, dataset: Dataset, text: str) -> Path:
    rows = [{"clip_id": clip.clip_id, "comment": text} for clip in dataset.clips("test")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_comments_of_a_file_are_measured_beside_the_anchors(tmp_path: Path, dataset: Dataset, capsys: Any) -> None:
    file = comments(tmp_path / "c.jsonl", dataset, "😂 <b>gg</b>")
    assert run("--data", dataset.root, "--comments", f"mine={file}", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    rows = {row["model"]: row["metrics"] for row in told["rows"]}
    assert set(rows) == {"mine", "person", "popular", "copy-last"}
    assert rows["copy-last"]["copied"]["value"] == 1
    assert rows["mine"]["copied"]["value"] == 0
    folder = Path(told["folder"])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert run("--data", dataset.root, "--comments", f"mine={file}") == 0
    printed = capsys.readouterr().out
    assert before["table.txt"].decode().strip() in printed
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_two_rows_of_one_name_and_odd_files_are_refused(tmp_path: Path, dataset: Dataset, capsys: Any) -> None:
    good = comments(tmp_path / "good.jsonl", dataset, "gg")
    empty = comments(tmp_path / "empty.jsonl", dataset, "")
    half = comments(tmp_path / "half.jsonl", dataset, "\ud83d")
    for files, words in (
        ((f"mine={good}", f"mine={empty}"), "two files of comments are called mine"),
        ((f"mine={empty}",), "comments of mine are empty"),
        ((f"mine={half}",), "half a character"),
        ((str(good),), "names no file"),
        ((f"person={good}",), "anchor row"),
    ):
        given = [word for file in files for word in ("--comments", file)]
        assert run("--data", dataset.root, *given) == 2
        assert words in capsys.readouterr().err
    assert not (dataset.root / "generated").exists()
