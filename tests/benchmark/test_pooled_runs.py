"""A run on sets of 10 and of 100: what the pool of a category changes in the gate, the table and the signature."""

from __future__ import annotations

import numpy as np
import pytest

from videochat.benchmark.audits.gate import audit, enforce
from videochat.benchmark.candidates.build import build_candidates
from videochat.benchmark.metrics.ranks import RECIPROCAL_RANK, Recall, harmonic, tie_counts
from videochat.benchmark.protocols import PROTOCOLS
from videochat.benchmark.ranker import bench
from videochat.benchmark.runs.run import Run, rescore
from videochat.benchmark.runs.signature import Signature
from videochat.benchmark.scorers.baselines import Length, Random
from videochat.benchmark.scorers.candidate_only import CandidateOnly
from videochat.benchmark.scorers.panel import BLIND, BY_RECORDING, Panel
from videochat.benchmark.scores.tasks import make_tasks
from videochat.commenter import TextTable
from videochat.workspace import Workspace


@pytest.fixture(scope="module")
def world(tmp_path_factory, dummies):
    folder = tmp_path_factory.mktemp("pooled")
    dataset = dummies.make_dataset(
        folder, num_channels=3, recordings_per_channel=3, clips_per_recording=80, dim=None, split_by="recording"
    )
    return Workspace.open(folder), dataset


@pytest.fixture(scope="module")
def run(world):
    workspace, dataset = world
    sets = build_candidates(workspace, dataset, "v1", k=[10, 100])
    return bench(workspace, dataset, sets, [Length(), Random()])


@pytest.mark.slow
def test_the_pool_is_told_in_the_signature_the_table_and_the_run(run):
    assert run.info["pools"] == dict.fromkeys(("random100", "cosine100", "popularity100"), "category")
    lines = run.table().splitlines()
    signed = {Signature.parse(line).set for line in lines if line.startswith("videochat|")}
    assert {"random10", "random100:category"} <= signed
    assert any("cosine100" in line and "groups pool the recordings of a category" in line for line in lines)
    assert "random10 R@1" in run.to_markdown() and "random100 R@1" not in run.to_markdown(), "K = 10 is the headline"


@pytest.mark.slow
def test_clip_blind_scorers_are_exactly_at_chance_among_100(run):
    found = {(row["model"], row["set"]): row for row in run.results["rows"] if row["stratum"] == "all"}
    for name in ("length", "panel:candidate-only", "panel:odd-one-out", "panel:-corpus-frequency"):
        row = found[name, "cosine100"]
        assert row["metrics"]["R@1"]["value"] == pytest.approx(1 / 100, abs=1e-9)
        assert row["metrics"]["MRR"]["value"] == pytest.approx(harmonic(100)[-1] / 100, abs=1e-9)
    assert found["panel:recording-frequency", "random10"]["metrics"]["R@1"]["value"] == pytest.approx(0.1, abs=1e-9)


@pytest.mark.slow
def test_the_stream_is_a_figure_among_100_and_a_check_among_10(run):
    """Counting in the clip's own recording tells streams apart, so it is no check where a group holds several."""
    names = {check["check"] for check in run.info["audit"] if check["ok"]}
    for name in BY_RECORDING:
        assert f"blind panel:{name} on random10 (test)" in names
        assert not any(f"blind panel:{name} on random100" in check["check"] for check in run.info["audit"])
    assert "blind panel:candidate-only on random100 (test)" in names
    row = next(
        row
        for row in run.results["rows"]
        if (row["model"], row["set"], row["stratum"]) == ("panel:recording-frequency", "random100", "all")
    )
    assert row["metrics"]["R@1"]["value"] > 0.01


@pytest.mark.slow
def test_a_run_re_scored_after_a_takedown_keeps_whole_pooled_groups(run):
    gone = next(task for task in run.tasks("test") if task.name == "random100").clip_ids[0]
    allowed = {str(clip) for task in run.tasks() for clip in task.clip_ids} - {str(gone)}
    again = rescore(run.path, only=allowed)
    for task in again.tasks("test"):
        sizes = np.unique(task.group_ids, return_counts=True)[1]
        assert (sizes == task.k).all() and gone not in task.clip_ids
    assert Run.open(again.path).info["pools"] == {
        task.name: "category" for task in again.tasks() if len(task) and task.k == 100
    }


@pytest.mark.slow
def test_a_set_without_a_group_is_named_and_signs_nothing(tmp_path, dummies):
    dataset = dummies.make_dataset(tmp_path, num_channels=3, clips_per_recording=24, dim=None)
    workspace = Workspace.open(tmp_path)
    sets = build_candidates(workspace, dataset, "v1", k=[10, 100])
    table = bench(workspace, dataset, sets, [Length()], allow_failed_audit=True).table()
    assert "no test clip found a group: random100, cosine100, popularity100" in table
    assert {Signature.parse(line).set for line in table.splitlines() if line.startswith("videochat|")} == {
        f"{kind}10" for kind in PROTOCOLS["v1"].sets
    }


# -- the candidate-only classifier


def means(scores, task):
    counts = tie_counts(scores, task.candidates, task.truths)
    return [metric.values(counts).mean() for metric in (Recall(1), RECIPROCAL_RANK)]


def test_the_candidate_only_classifier_finds_chosen_negatives_and_nothing_in_balanced_groups(world):
    workspace, dataset = world
    found = {}
    for name in ("v1", "classic"):
        sets = build_candidates(workspace, dataset, name, k=10)
        panel = Panel(dataset, sets.texts, PROTOCOLS[name])
        for task in make_tasks(sets):
            if task.split == "test":
                found[name, task.name] = means(
                    panel.candidate_only.scores(task.name[:-2], 10, sets.texts)[task.candidates], task
                )
    for kind in PROTOCOLS["v1"].sets:
        assert found["v1", f"{kind}10"] == pytest.approx([0.1, harmonic(10)[-1] / 10], abs=1e-9)
        assert found["classic", f"{kind}10"][0] > 0.15, "truths of the dummies are no context comments"
    assert "candidate-only" in BLIND


def test_what_it_learns_depends_on_no_order_and_on_train_alone(world, tmp_path, dummies):
    _, dataset = world
    texts = TextTable(
        ["red one number 1", "lol", "look at the cat 3"], ["red one number 1", "lol", "look at the cat 3"]
    )
    mixed = TextTable(texts.texts[::-1], texts.keys[::-1])
    first = CandidateOnly(dataset, PROTOCOLS["classic"], {"lol": 50}, seed=0)
    again = CandidateOnly(dataset, PROTOCOLS["classic"], {"lol": 50}, seed=0)
    assert (first.scores("cosine", 10, texts) == again.scores("cosine", 10, mixed)[::-1]).all()
    assert (first.scores("cosine", 100, texts) == first.scores("cosine", 10, texts)).all()
    alone = dummies.make_dataset(tmp_path, num_channels=1, clips_per_recording=60, dim=None, split_by="test")
    blank = CandidateOnly(alone, PROTOCOLS["classic"], {}, seed=0)
    assert (blank.scores("cosine", 10, texts) == 0).all(), "a data set without a training split teaches nothing"


def test_a_leaky_set_fails_by_the_classifier_too(world):
    """Truths that are worded unlike the negatives: only a classifier of the text could know."""
    workspace, dataset = world
    sets = build_candidates(workspace, dataset, "classic", k=10)
    tasks = [task for task in make_tasks(sets) if len(task)]
    panel = Panel(dataset, sets.texts, PROTOCOLS["classic"])
    from videochat.benchmark.scorers.golden import golden_blocks

    blocks = [block for task in tasks for block in (*panel.blocks(task), *golden_blocks(task))]
    checks = audit(tasks, blocks, clip_blind_at_chance=True)
    assert not any(check.ok for check in checks if check.check.startswith("blind panel:candidate-only"))
    enforce(audit(tasks, blocks, clip_blind_at_chance=False))
