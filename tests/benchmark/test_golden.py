"""The theorem of the balanced groups, the leak of chosen negatives, and the gate that tells them apart."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from videochat.benchmark.audits.gate import NUM_SIGMA, AuditFailed, audit, enforce
from videochat.benchmark.candidates.build import build_candidates
from videochat.benchmark.metrics.ranks import METRICS, harmonic, tie_counts
from videochat.benchmark.protocols import PROTOCOLS
from videochat.benchmark.ranker import gate
from videochat.benchmark.scorers.golden import GOLDEN, expected, golden_blocks
from videochat.benchmark.scorers.panel import BLIND, CONTEXT, Panel
from videochat.benchmark.scores.blocks import ScoreBlock
from videochat.benchmark.scores.tasks import make_tasks
from videochat.workspace import Workspace


@pytest.fixture(scope="module")
def built(tmp_path_factory, dummies):
    folder = tmp_path_factory.mktemp("golden")
    dataset = dummies.make_dataset(folder, num_channels=3, recordings_per_channel=3, clips_per_recording=40, dim=None)
    workspace = Workspace.open(folder)
    sets = {protocol: build_candidates(workspace, dataset, protocol) for protocol in ("v1", "classic")}
    tasks = {name: [task for task in make_tasks(part) if len(task)] for name, part in sets.items()}
    return dataset, sets, tasks


def means(scores, task):
    counts = tie_counts(scores, task.candidates, task.truths)
    return {metric.name: metric.values(counts).mean() for metric in METRICS}


def test_there_is_something_to_rank(built):
    _, _, tasks = built
    assert {task.name for task in tasks["v1"]} == {"random10", "cosine10", "popularity10"}
    assert {task.name for task in tasks["classic"]} == {"random10", "cosine10", "popularity10"}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(seed=st.integers(0, 2**32), num_levels=st.integers(1, 50))
def test_any_text_only_scorer_is_exactly_at_chance_on_balanced_groups(built, seed, num_levels):
    """PROTOCOL v1: R@1 = 1/K and MRR = H(K)/K for an arbitrary function of the text, with ties or without."""
    _, sets, tasks = built
    of_text = np.random.default_rng(seed).integers(num_levels, size=len(sets["v1"].texts)).astype(np.float64)
    for task in tasks["v1"]:
        found = means(of_text[task.candidates], task)
        assert found["R@1"] == pytest.approx(1 / 10, abs=1e-12)
        assert found["R@5"] == pytest.approx(5 / 10, abs=1e-12)
        assert found["MR"] == pytest.approx(5.5, abs=1e-12)
        assert found["MRR"] == pytest.approx(harmonic(10)[-1] / 10, abs=1e-12)


def test_the_blind_panel_is_exactly_at_chance_on_v1_and_not_on_classic(built):
    dataset, sets, tasks = built
    for protocol, clean in (("v1", True), ("classic", False)):
        panel = Panel(dataset, sets[protocol].texts, PROTOCOLS[protocol])
        off = {
            (block.model, task.name)
            for task in tasks[protocol]
            for block in panel.blocks(task)
            if block.model.removeprefix("panel:") in BLIND
            and abs(means(block.score[block.layout.gather(task)], task)["R@1"] - 0.1) > 1e-9
        }
        assert (not off) is clean, off


def test_reversed_statistics_win_chosen_negatives(built):
    """The figure behind v1: on classic popularity the least frequent candidate is the truth far above chance.

    Without the truths "lol", which every clip of the dummies answers: they are the most frequent themselves.
    """
    dataset, sets, tasks = built
    panel = Panel(dataset, sets["classic"].texts, PROTOCOLS["classic"])
    task = next(task for task in tasks["classic"] if (task.name, task.split) == ("popularity10", "test"))
    task = task.only(np.array([sets["classic"].texts.keys[truth] != "lol" for truth in task.truths]))
    found = {block.model: means(block.score[block.layout.gather(task)], task)["R@1"] for block in panel.blocks(task)}
    assert found["panel:-recording-frequency"] > 0.3
    assert found["panel:recording-frequency"] < 0.05


def test_reversed_scorers_are_the_negatives_of_their_twins(built):
    dataset, sets, tasks = built
    task = tasks["v1"][0]
    panel = Panel(dataset, sets["v1"].texts, PROTOCOLS["v1"])
    scores = {block.model.removeprefix("panel:"): block.score for block in panel.blocks(task)}
    assert set(scores) == {*BLIND, *CONTEXT}
    for name in ("length", "recording-frequency", "corpus-frequency", "context-tfidf"):
        assert (scores[name] == -scores[f"-{name}"]).all()
    assert (scores["central"] == -scores["odd-one-out"]).all()


def test_frequencies_by_hand(built):
    dataset, sets, tasks = built
    task, texts = tasks["v1"][0], sets["v1"].texts
    panel = {block.model: block.score for block in Panel(dataset, texts, PROTOCOLS["v1"]).blocks(task)}
    clips = list(dataset.clips())
    comments = [(c.recording_id, comment.text) for c in clips for comment in (*c.context, *c.responses)]
    row, candidate = 0, int(task.candidates[0, 0])
    same = [r for r, text in comments if text == texts.texts[candidate]]
    assert panel["panel:corpus-frequency"][0] >= len(same)  # other texts may share the key
    assert panel["panel:recording-frequency"][0] >= same.count(str(task.recording_ids[row])) > 0
    assert panel["panel:length"][0] == len(texts.texts[candidate])


@pytest.mark.parametrize("protocol", ["v1", "classic"])
def test_golden_scorers_are_at_their_closed_form(built, protocol):
    for task in built[2][protocol]:
        for block in golden_blocks(task):
            found = means(block.score.reshape(task.candidates.shape), task)
            for metric in METRICS:
                allowed = 1e-12 if block.model != "golden-random" else metric.chance(10) * 20 / np.sqrt(len(task))
                if metric.is_defined(10):
                    assert found[metric.name] == pytest.approx(expected(block.model, metric, 10), abs=allowed)


def test_the_gate_opens_for_both_protocols_and_sees_a_broken_ranker(built):
    dataset, sets, tasks = built
    for protocol in ("v1", "classic"):
        _, checks = gate(dataset, sets[protocol], tasks[protocol], seed=0)
        enforce(checks)
    blocks, _ = gate(dataset, sets["v1"], tasks["v1"], seed=0)
    broken = [
        dataclasses.replace(block, score=block.score[::-1].copy()) if block.model == "oracle" else block
        for block in blocks
    ]
    with pytest.raises(AuditFailed, match="golden oracle"):
        enforce(audit(tasks["v1"], broken, clip_blind_at_chance=True))


def test_a_biased_random_scorer_is_noticed(built):
    _, _, tasks = built
    task = max(tasks["classic"], key=len)
    truth = (task.candidates == task.truths[:, None]).ravel()
    blocks = [
        ScoreBlock(b.model, b.condition, b.split, b.set, b.layout, b.score + truth * 0.9)
        if b.model == "golden-random"
        else b
        for b in golden_blocks(task)
    ]
    checks = audit([task], blocks, clip_blind_at_chance=False)
    assert [check.ok for check in checks] == [name != "golden-random" for name in GOLDEN]
    assert NUM_SIGMA == 5
