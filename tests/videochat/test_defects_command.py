"""`videochat defects` and `--protocol released-2025` as a user meets them, and the page that they make."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner

from videochat.benchmark.released.defect_texts import DEFECTS
from videochat.benchmark.released.defects import Halves, Model, measure
from videochat.benchmark.released.defects_page import to_markdown, worst_average
from videochat.benchmark.released.protocol import SETS, SWITCHES
from videochat.cli import cli
from videochat.dataset import Dataset
from videochat.errors import MissingInput, UsageError
from videochat.workspace import Workspace


@pytest.fixture(scope="module")
def root(dummies: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("defects") / "ws"
    dummies.make_dataset(folder, num_channels=4, recordings_per_channel=1, clips_per_recording=32)
    return folder


@pytest.fixture(scope="module")
def measured(root: Path) -> dict[str, Any]:
    done = run("defects", "--data", str(root), "--json")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def run(*arguments: str) -> Any:
    done = CliRunner().invoke(cli, arguments, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done


def test_every_switch_is_measured_for_every_scorer_that_notices(measured: dict[str, Any]) -> None:
    found = {(row["switch"], row["set"]) for row in measured["rows"]}
    for switch in SWITCHES:
        seen = switch not in ("candidate_tokens", "scoring", "frames")  # of models alone, and there is none
        assert all(((switch, kind) in found) == seen for kind in SETS)
    by = {(row["switch"], row["model"], row["set"]): row for row in measured["rows"]}
    row = by["ties", "constant", "random"]
    first = next(fact["local"] for fact in measured["facts"]["ties"] if "local" in fact)["rank_of_truth_first"]["10"]
    assert row["released"]["R@1"] == float(first == 1)
    assert row["mended"]["R@1"] == pytest.approx(0.1)
    assert row["difference"]["R@1"]["value"] == pytest.approx(0.1 - row["released"]["R@1"])
    assert row["difference"]["R@1"]["low"] is None  # one test channel: no interval


def test_v1_leaves_nothing_to_a_scorer_that_ignores_the_clip(measured: dict[str, Any]) -> None:
    rows = [
        r for r in measured["protocols"] if r["protocol"] == "v1" and r["model"] in ("constant", "length", "-length")
    ]
    assert rows
    assert {round(row["R@1"], 6) for row in rows} == {0.1}


def test_leaked_and_clean_halves_are_alike_but_for_the_leak(root: Path) -> None:
    data = Dataset.open(root)
    halves = Halves.of(data, seed=0)
    recording = {clip.clip_id: clip.recording_id for clip in data.clips()}
    parts = {}
    for name, assignment in (("leaked", halves.leaked), ("clean", halves.clean)):
        train = {clip for clip, split in assignment.items() if split == "train"}
        assert {clip for clip, split in assignment.items() if split == "test"} == halves.tested
        parts[name] = train
    assert len(parts["leaked"]) == len(parts["clean"])
    tested = {recording[clip] for clip in halves.tested}
    assert tested <= {recording[clip] for clip in parts["leaked"]}
    assert not tested & {recording[clip] for clip in parts["clean"]}


def test_the_page_shows_what_was_measured(measured: dict[str, Any], root: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    run("defects", "--page", str(page), str(root / "defects.json"))
    text = page.read_text(encoding="utf-8")
    assert text == to_markdown([measured])
    for defect in DEFECTS:
        assert f". {defect.title}\n" in text
    assert "(simulated)" in text
    assert "R@1 is .500, the mean over clips .030" in " ".join(text.split())
    assert worst_average() == (0.5, 1 / 33)
    assert {defect.switch for defect in DEFECTS} == set(SWITCHES)
    assert str(root) not in text


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes(measured: dict[str, Any], root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "ws")
    before = (root / "defects.json").read_bytes()
    run("defects", "--data", str(tmp_path / "ws"))
    assert (tmp_path / "ws" / "defects.json").read_bytes() == before


def test_a_model_is_made_for_each_way_of_showing_it_clips(root: Path) -> None:
    from videochat.benchmark.scorers.baselines import Length

    made: list[tuple[str, str, str]] = []

    def make(protocol: Any, data: Any) -> Any:
        made.append((protocol.split, protocol.frames, protocol.scoring))
        return Length()

    model = Model(name="length", make=make, pieces=lambda commenter, text: tuple(text.split()))
    workspace = Workspace.open(root)
    found = measure(workspace, Dataset.open(root), [model], switches=("split", "frames"))
    assert {("random-clips", "whole-clip", "one-decode"), ("stored", "whole-clip", "one-decode")} <= set(made)
    assert ("random-clips", "before-the-answer", "one-decode") in made
    assert {row["model"] for row in found["rows"] if row["switch"] == "frames"} == {"length"}
    assert 0 < found["facts"]["pieces"]["length"]["cut"] < 1


def test_candidates_and_bench_under_the_protocol(root: Path) -> None:
    done = run("candidates", "--data", str(root), "--protocol", "released-2025")
    assert "the clip's own context" in done.stdout
    done = run("bench", "--data", str(root), "--protocol", "released-2025", "--model", "random", "--wide", "--json")
    found = json.loads(done.stdout)
    assert {row["model"] for row in found["rows"]} >= {"random", "constant", "-tfidf"}
    assert (Path(found["run"]) / "table.txt").is_file()
    plan = json.loads(run("bench", "--data", str(root), "--protocol", "released-2025", "--dry-run", "--json").stdout)
    assert plan["test_clips"] == round(0.1 * 128)


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        (("candidates", "--protocol", "released-2025", "--k", "100"), UsageError, "10 candidates a clip"),
        (("bench", "--protocol", "released-2025", "--model", "sfat-text"), MissingInput, "no checkpoint"),
        (("defects", "--model", "length"), UsageError, "not a trained model"),
        (("defects", "some.json"), UsageError, "not taken here"),
        (("defects", "--page", "page.md"), UsageError, "needs measured files"),
        (("defects", "--page", "page.md", "nowhere.json"), MissingInput, "no file nowhere.json"),
    ],
)
def test_mistakes_are_said_in_a_line(root: Path, arguments: tuple[str, ...], kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        run(arguments[0], "--data", str(root), *arguments[1:])
