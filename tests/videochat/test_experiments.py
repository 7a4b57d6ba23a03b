"""Experiments: what is declared can be trained, sentences say no more than the figures, pages hold, runs resume."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from videochat import api
from videochat.benchmark.experiments import signs
from videochat.benchmark.experiments.conclude import sentence, to_text
from videochat.benchmark.experiments.declared import EXPERIMENTS, Experiment, Variant
from videochat.benchmark.experiments.page import render
from videochat.benchmark.experiments.weights import evenness
from videochat.cli import main
from videochat.commenter import view
from videochat.errors import MissingInput, UsageError
from videochat.experiment import checkpoint_label, run_experiment, simulated_world
from videochat.sample.generate import generate
from videochat.workspace import Workspace

QUICK = {"size": "tiny", "epochs": 1, "mlm_epochs": 1, "vocab_size": 400}


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
    assert isinstance(done.value.code, int)
    return done.value.code


def workspace_at(root: Path, dummies: ModuleType, **sizes: Any) -> Workspace:
    shape = {"num_channels": 3, "recordings_per_channel": 1, "clips_per_recording": 12, "dim": 8, **sizes}
    api.candidates(dummies.make_dataset(root, **shape), k=4)
    return Workspace.open(root)


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=lambda each: each.name)
def test_what_is_declared_can_be_trained(experiment: Experiment) -> None:
    from videochat.models.sfat.config import SfatConfig

    catalog = api.catalog()
    for variant in experiment.variants:
        assert catalog[variant.model].train is not None
        SfatConfig(**variant.options)  # an unknown value raises
    assert len(experiment.source) > 20
    assert experiment.question.endswith("?")


def test_an_impossible_experiment_is_refused() -> None:
    one = Variant(label="a")
    for variants, pairs in (((one, one), (("a", "a"),)), ((one,), ()), ((one,), (("a", "b"),))):
        with pytest.raises(UsageError, match="impossible experiment"):
            Experiment(name="x", question="?", source="s", variants=variants, pairs=pairs)


def pair(value: float, low: float | None, high: float | None, p: float) -> dict[str, Any]:
    return {"a": "a", "b": "b", "value": value, "low": low, "high": high, "p_holm": p}


def test_a_sentence_says_no_more_than_the_figures_allow() -> None:
    assert "a is better than b" in sentence(pair(0.3, 0.2, 0.4, 0.001), simulated=False)
    assert "b is better than a" in sentence(pair(-0.3, -0.4, -0.2, 0.001), simulated=False)
    assert "no difference" in sentence(pair(0.3, -0.1, 0.4, 0.001), simulated=False)
    assert "no difference" in sentence(pair(0.3, 0.2, 0.4, 0.06), simulated=False)  # gone after Holm
    assert "say nothing" in sentence(pair(0.3, None, None, 0.001), simulated=False)
    assert "simulated" in sentence(pair(0.3, 0.2, 0.4, 0.001), simulated=True)


def test_evenness_by_hand() -> None:
    assert evenness(np.full(30, 1 / 30)) == pytest.approx(1)
    assert evenness(np.eye(30)[3]) == 0
    assert evenness(np.array([0.5, 0.5, 0, 0])) == pytest.approx(0.5)


def test_signs_by_hand(tmp_path: Path, dummies: ModuleType) -> None:
    views = [view(clip) for clip in dummies.make_clips(num_channels=3, clips_per_recording=8)]
    assert not signs.sparse_chat(views)["occurs"]
    assert signs.uniform_weights(None) is None
    assert signs.uniform_weights({"uniform_share": 0.9})["occurs"]  # type: ignore[index]
    told = signs.generic_replies(["gg", "GG", "ggs", "what a shot", "gg"])
    assert (told["occurs"], told["value"]) == (True, 0.8)
    assert not signs.generic_replies([f"comment {i}" for i in range(20)])["occurs"]
    found = signs.off_topic_chat(views)
    assert found is not None
    assert 0 <= found["value"] <= 1
    assert signs.off_topic_chat(views[:1]) is None  # nobody to compare with


def test_equal_variants_share_a_checkpoint() -> None:
    default = EXPERIMENTS["temperature"].variant("t0.1")
    assert checkpoint_label(default, {}) == checkpoint_label(EXPERIMENTS["pooling"].variant("semantic"), {}) == ""
    other = EXPERIMENTS["temperature"].variant("t1")
    assert re.fullmatch(r"sfat-[0-9a-f]{8}", checkpoint_label(other, {}))
    assert checkpoint_label(other, {}) != checkpoint_label(other, {"epochs": 2})


def test_data_that_lack_what_is_asked_are_told(tmp_path: Path, dummies: ModuleType, capsys: Any) -> None:
    workspace = workspace_at(tmp_path / "w", dummies)
    with pytest.raises(MissingInput, match="needs transcript"):
        run_experiment(workspace, "audio", num_seeds=1)
    dummies.make_dataset(tmp_path / "real", simulated=False, num_channels=3, clips_per_recording=2)
    with pytest.raises(UsageError, match="simulated worlds"):
        run_experiment(Workspace.open(tmp_path / "real"), "reference-rate", num_seeds=1)
    assert run("experiment", "pooling", "--data", workspace.root, "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["trainings"] == 18
    assert run("experiment", "poolin", "--data", workspace.root) == 2
    assert "did you mean 'pooling'" in capsys.readouterr().err
    assert run("experiment") == 0
    assert "temperature" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("pooling", "pooling=mean"),
        ("audio", "transcript=open"),
        ("reference-rate", "pooling=mean"),
        ("pooling", "seed=3"),
    ],
)
def test_what_an_experiment_turns_cannot_be_set_for_all(
    name: str, option: str, tmp_path: Path, dummies: ModuleType, capsys: Any
) -> None:
    root = workspace_at(tmp_path / "w", dummies).root
    for extra in ((), ("--dry-run",)):
        assert run("experiment", name, "--data", root, "--set", option, *extra) == 2
        assert f"leave --set {option.partition('=')[0]}" in capsys.readouterr().err
    assert not (root / "checkpoints").exists()


def test_transcripts_of_simulated_data_are_simulated(tmp_path: Path, dummies: ModuleType, capsys: Any) -> None:
    root = workspace_at(tmp_path / "w", dummies).root
    assert run("experiment", "audio", "--data", root) == 1
    assert f"python -m videochat.sample.speech --data {root}" in capsys.readouterr().err


def test_a_world_that_holds_more_than_is_asked_for_is_not_taken(tmp_path: Path, dummies: ModuleType) -> None:
    workspace = workspace_at(tmp_path / "w", dummies)
    world = Workspace.open(tmp_path / "x" / "rate-0", create=True, seed=workspace.settings.seed, clip="sample")
    generate(world, num_recordings=2, minutes=0.5, num_workers=1)
    with pytest.raises(UsageError, match="holds 2 simulated recordings, 1 are asked for"):
        simulated_world(workspace, tmp_path / "x", 0.0, num_recordings=1)


@pytest.mark.slow
def test_an_experiment_from_end_to_end_and_again(tmp_path: Path, dummies: ModuleType) -> None:
    workspace = workspace_at(tmp_path / "w", dummies)
    with workspace.lock():
        folder, result = run_experiment(workspace, "attention-order", num_seeds=2, options=QUICK, num_workers=2)
        page = (folder / "experiment.html").read_bytes()
        _, again = run_experiment(workspace, "attention-order", num_seeds=2, options=QUICK, num_workers=2)
    assert again == result
    assert (folder / "experiment.html").read_bytes() == page
    assert [row["label"] for row in result["variants"]] == [
        "chat-first",
        "video-first",
        "all-chat-first",
        "all-video-first",
    ]
    for row in result["variants"]:
        assert len(row["MRR"]["per_seed"]) == 2
        assert row["MRR"]["value"] == pytest.approx(sum(row["MRR"]["per_seed"]) / 2)
    for row in result["pairs"]:
        figures = {each["label"]: each["MRR"]["value"] for each in result["variants"]}
        assert row["value"] == pytest.approx(figures[row["a"]] - figures[row["b"]], abs=1e-9)
        assert "say nothing" in row["sentence"]  # one test channel
    assert {sign["name"] for sign in result["signs"]} >= {"sparse chat", "generic replies"}
    assert "say nothing" in to_text(result)


def test_a_page_escapes_and_needs_no_network() -> None:
    figure = {"value": 0.4, "low": 0.3, "high": 0.5}
    facts = {
        "num_clips": 3,
        "evenness": 0.5,
        "quantiles": [0.1, 0.9],
        "top_weight": 0.4,
        "sorted": [0.6, 0.4],
        "uniform_share": 0,
    }
    result = {
        "experiment": "x",
        "question": "<script>alert(1)</script>?",
        "source": "s & t",
        "axis": "size",
        "chance": 0.29,
        "simulated": True,
        "num_seeds": 1,
        "num_clusters": 12,
        "signatures": ["sig"],
        "runs": ["r"],
        "settings": {"epochs": 1},
        "variants": [
            {
                "label": f"<b>{i}",
                "model": "sfat",
                "options": {},
                "x": i,
                "MRR": {**figure, "per_seed": [0.4]},
                "weights": facts,
            }
            for i in (1, 2)
        ],
        "pairs": [
            {**pair(0.1, 0.05, 0.2, 0.01), "a": "<b>1", "b": "<b>2", "p": 0.01, "per_seed": [0.1], "sentence": "s"}
        ],
        "skipped": {"z": "<i>"},
        "signs": [signs.generic_replies(["a", "b"])],
    }
    assert "1 seed: what another training would give" in to_text(result)
    assert "seeds:" not in to_text({**result, "num_seeds": 3})
    page = render(result)
    assert "<script" not in page
    assert "<b>1" not in page
    assert "<i>" not in page
    assert not re.search(r"(src|href)=", page)
    assert page.count("<svg") == 6
    assert "Simulated data" in page


def test_a_file_of_facts_goes_to_the_variants_that_read_one():
    from videochat.benchmark.experiments.declared import EXPERIMENTS
    from videochat.experiment import given

    options = {"facts": "facts.jsonl", "epochs": 2}
    taken = {variant.label: given(variant, options) for variant in EXPERIMENTS["knowledge"].variants}
    assert taken == {"sfat": {"epochs": 2}, "sfat-knowledge": options}
