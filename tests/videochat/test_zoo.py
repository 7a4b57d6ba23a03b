"""All models by one command: trained side by side to the same bytes, taken up where it stopped, ranked in one run."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from videochat import api
from videochat.cli import main
from videochat.errors import UsageError
from videochat.workspace import Workspace
from videochat.zoo import Job, plan, run_zoo, train_all

QUICK = {"size": "tiny", "epochs": 1, "mlm_epochs": 1, "vocab_size": 400}
TWO = ("sfat-mean", "sfat-text")  # they share stage 1


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
    assert isinstance(done.value.code, int)
    return done.value.code


def small(root: Path, dummies: ModuleType, **sizes: Any) -> Workspace:
    shape = {"num_channels": 3, "recordings_per_channel": 1, "clips_per_recording": 12, "dim": 8, **sizes}
    dataset = dummies.make_dataset(root, **shape)
    api.candidates(dataset, k=4)
    return Workspace.open(root)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_plan_says_what_chat_alone_can_feed_and_what_it_cannot(tmp_path, dummies, capsys):
    workspace = small(tmp_path / "w", dummies, dim=None)
    jobs, left_out = plan(workspace, api.load(workspace.root), options=QUICK)
    given = {job.name: dict(job.options) for job in jobs}
    assert given["sfat-text"] == QUICK
    assert given["livebot-style"] == {**QUICK, "use_video": False}
    reasons = {outcome.name: outcome.reason for outcome in left_out}
    assert reasons["sfat"] == "needs frames and text embeddings, which these data do not hold"
    assert {*given, *reasons} == {name for name, entry in api.catalog().items() if entry.train is not None}
    assert run("zoo", "--data", workspace.root, "--dry-run", "--json") == 0
    assert "train sfat-text, seed 0" in json.loads(capsys.readouterr().out)
    assert not workspace.checkpoint_dir("sfat-text").exists()


def test_the_first_of_each_family_comes_first_and_every_seed_has_its_job(tmp_path, dummies):
    workspace = small(tmp_path / "w", dummies)
    jobs, _ = plan(workspace, api.load(workspace.root), models=("sfat", "sfat-mean", "tte-style"), num_seeds=2)
    assert [(job.name, job.seed) for job in jobs] == [
        (name, seed) for seed in (0, 1) for name in ("sfat", "tte-style", "sfat-mean")
    ]


def test_wrong_names_and_options_are_said_before_any_work(tmp_path, dummies, capsys):
    workspace = small(tmp_path / "w", dummies)
    assert run("zoo", "--data", workspace.root, "--model", "sfatt") == 2
    assert "did you mean 'sfat'" in capsys.readouterr().err
    assert run("zoo", "--data", workspace.root, "--set", "epoch=3") == 2
    assert "did you mean 'epochs'" in capsys.readouterr().err
    assert run("zoo", "--data", workspace.root, "--set", "seed=3") == 2
    with pytest.raises(UsageError, match="no_such"):
        plan(workspace, api.load(workspace.root), options={"no_such": 1})
    assert not (workspace.root / "checkpoints").exists()


def test_train_says_wrong_options_in_dry_runs_and_before_any_of_several_models(tmp_path, dummies, capsys):
    workspace = small(tmp_path / "w", dummies)
    wrong = ("--data", workspace.root, "--model", "sfat", "--model", "livebot-style", "--set", "pooling=mean")
    for extra in ((), ("--dry-run",)):
        assert run("train", *wrong, *extra) == 2
        assert "livebot-style: unknown training option 'pooling'" in capsys.readouterr().err
        assert run("train", "--data", workspace.root, "--set", "eopchs=3", *extra) == 2
        assert "did you mean 'epochs'" in capsys.readouterr().err
    assert not (workspace.root / "checkpoints").exists()


def test_a_file_of_facts_goes_to_the_model_that_reads_it(tmp_path, dummies):
    workspace = small(tmp_path / "w", dummies)
    (tmp_path / "facts.jsonl").write_text('{"text": "the red ball bounces"}\n')
    given = {**QUICK, "facts": str(tmp_path / "facts.jsonl")}
    jobs, left_out = plan(workspace, api.load(workspace.root), models=["sfat-knowledge"], options=given)
    assert ([job.options for job in jobs], left_out) == ([given], [])


@pytest.mark.slow
def test_bytes_do_not_depend_on_the_number_of_processes(tmp_path, dummies):
    found = []
    for workers in (1, 2):
        workspace = small(tmp_path / str(workers), dummies)
        jobs = [Job(root=str(workspace.root), name=name, seed=0, options=QUICK) for name in TWO]
        outcomes = train_all(jobs, num_workers=workers)
        assert [(o.name, o.status) for o in outcomes] == [(name, "trained") for name in TWO]
        assert all(o.cpu_seconds > 0 for o in outcomes)
        found.append(files_of(workspace.root / "checkpoints"))
    assert found[0] == found[1]
    assert len([name for name in found[0] if name.startswith("mlm-")]) == 2, "one stage 1 for both"
    assert [o.status for o in train_all(jobs, num_workers=2)] == ["current", "current"]


@pytest.mark.slow
def test_killed_and_run_again_it_goes_on_to_the_same_bytes(tmp_path, dummies):
    """SIGKILL falls on the parent in the middle of a training; its workers end with it."""
    options = {**QUICK, "epochs": 60, "batch_size": 4}
    whole = small(tmp_path / "whole", dummies)
    train_all([Job(root=str(whole.root), name="sfat-text", seed=0, options=options)])
    killed = small(tmp_path / "killed", dummies)
    pairs = [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
    command = [sys.executable, "-c", "from videochat.cli import main; main()", "zoo", "--data", str(killed.root)]
    command += ["--model", "sfat-text", "--device", "cpu", "--no-report", "--json", *pairs]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    state = killed.checkpoint_dir("sfat-text") / "training" / "answers.safetensors"
    while not state.is_file():
        assert first.poll() is None, "it was to be killed before its end"
        time.sleep(0.02)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert not (state.parent.parent / "training.json").exists(), "it was killed in the middle"
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert {row["model"]: row["status"] for row in result["trainings"]} == {"sfat-text": "trained"}
    assert files_of(killed.checkpoint_dir("sfat-text")) == files_of(whole.checkpoint_dir("sfat-text"))


@pytest.mark.slow
def test_several_seeds_are_averaged_and_the_interval_knows_of_both_draws(tmp_path, dummies, capsys):
    workspace = small(tmp_path / "w", dummies)
    pairs = [word for name, value in QUICK.items() for word in ("--set", f"{name}={value}")]
    line = ["zoo", "--data", workspace.root, "--model", "sfat-mean", "--seeds", 2, "--device", "cpu", *pairs]
    assert run(*line, "--json", "--no-report") == 0
    result = json.loads(capsys.readouterr().out)
    assert [row["seed"] for row in result["trainings"]] == [0, 1]
    assert len(result["runs"]) == 2
    rows = {row["model"]: row for row in result["averages"]["models"]}
    assert rows["sfat-mean"]["seeds"] == [0, 1]
    assert rows["random"]["seeds"] == [0], "a scorer has no seeds to average"
    each = rows["sfat-mean"]["official"]["per_seed"]
    assert rows["sfat-mean"]["official"]["value"] == pytest.approx(np.mean(each))
    for path, value in zip(result["runs"], each, strict=True):
        official = {
            row["model"]: row["value"] for row in json.loads((Path(path) / "metrics.json").read_text())["official"]
        }
        assert official["sfat-mean"] == pytest.approx(value)
    assert json.loads((Path(result["runs"][0]) / "seeds.json").read_text()) == result["averages"]
    assert run(*line, "--no-report") == 0
    assert "MRR of each seed" in capsys.readouterr().out


WORLD = {"num_recordings": 14, "minutes": 12}


@pytest.fixture(scope="module")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A small sample world, ready to train on."""
    from videochat.demo import DemoSize, prepare

    size = DemoSize(**WORLD, split_fractions=(0.66, 0.1, 0.24))
    return prepare(tmp_path_factory.mktemp("zoo") / "screen", world="screen", seed=0, size=size)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_models_train_and_rank_on_a_tiny_world(tiny_world):
    """The whole registry at the size `tiny`, on simulated data: what must hold, holds."""
    with tiny_world.lock():
        result = run_zoo(tiny_world, device="cpu", options={"size": "tiny"})
    trained = {name for name, entry in api.catalog().items() if entry.train is not None}
    assert {o.name for o in result.outcomes if o.ranked} | {
        o.name for o in result.outcomes if o.status == "skipped"
    } >= trained
    assert not result.failed
    info = result.runs[0].info
    official = {row["model"]: row["value"] for row in result.runs[0].results["official"]}
    ranked = {o.name for o in result.outcomes if o.ranked}
    assert ranked <= set(official)
    assert {"clip-zero-shot", "ceiling", *api.SCORERS} <= set(official)
    assert all(math.isfinite(value) and 0 < value <= 1 for value in official.values())
    assert not ranked & {row["name"] for row in info["models"] if row["skipped"]}
    assert official["sfat-oracle"] > official["sfat-text"] + 0.05
    assert official["ceiling"] > official["sfat-text"]
    assert official["oracle"] == 1.0
    for constant in ("constant", "length", "popularity"):
        assert official[constant] == pytest.approx(sum(1 / rank for rank in range(1, 11)) / 10)
    cpu_seconds = sum(o.cpu_seconds for o in result.outcomes)
    assert cpu_seconds < 600, {o.name: round(o.cpu_seconds) for o in result.outcomes}
    print(result.table(), f"\n{cpu_seconds:.0f} CPU seconds")


@pytest.mark.slow
def test_two_models_side_by_side_make_their_common_language_model_once(tmp_path, dummies):
    workspace = small(tmp_path / "w", dummies)
    names = ("video-chatgpt-style", "mllm")
    outcomes = train_all([Job(root=str(workspace.root), name=n, seed=0, options=QUICK) for n in names], num_workers=2)
    assert [outcome.status for outcome in outcomes] == ["trained", "trained"], outcomes
    assert len(list((workspace.root / "checkpoints").glob("chat-lm-*"))) == 1
    assert all((workspace.checkpoint_dir(name) / "training.json").is_file() for name in names)
