"""Training by name on a workspace, loading, and the refusals."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from videochat import api
from videochat.commenter import MODELS, LoadContext, TextTable, view
from videochat.errors import Damaged, Mismatch, MissingInput, UsageError
from videochat.models import catalog  # noqa: F401 (registers the models)
from videochat.workspace import Workspace

QUICK: dict[str, Any] = {"width": 32, "epochs": "2", "mlm_epochs": 1, "vocab_size": 400, "batch_size": 8}


@pytest.fixture
def context(tmp_path: Path, dummies: ModuleType) -> LoadContext:
    return make_context(tmp_path / "w", dummies)


def make_context(root: Path, dummies: ModuleType, name: str = "sfat", **sizes: Any) -> LoadContext:
    data = dummies.make_dataset(root, **{"num_channels": 4, "clips_per_recording": 6, "dim": 8, **sizes})
    workspace = Workspace.open(root)
    return LoadContext(
        workspace=workspace, dataset=data, checkpoint=workspace.checkpoint_dir(name), options=dict(QUICK)
    )


def variant(context: LoadContext, name: str, **options: Any) -> LoadContext:
    return dataclasses.replace(
        context,
        checkpoint=context.workspace.checkpoint_dir(name),
        options={**context.options, **options},
    )


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_training_writes_a_whole_checkpoint_and_loading_it_scores(context):
    MODELS["sfat"].train(context)
    info = json.loads((context.checkpoint / "training.json").read_text())
    assert info["data_digest"] == context.dataset.digest
    assert info["train_recordings"] == ["dummy-00-0", "dummy-00-1", "dummy-01-0", "dummy-01-1"]
    rows = [json.loads(line) for line in (context.checkpoint / "training.jsonl").read_text().splitlines()]
    assert [row["stage"] for row in rows] == ["mlm", "answers", "answers"]
    assert "simulated data" in (context.checkpoint / "README.md").read_text()
    assert not (context.checkpoint / "training").exists()
    model = MODELS["sfat"].load(context)
    views = [view(clip) for clip in context.dataset.clips("test")]
    found = model.score(views, [[0, 1]] * len(views), TextTable(["red one", "lol"], ["red one", "lol"]))
    assert len(found) == len(views)
    assert model.name == "sfat"
    assert len(model.checkpoint_digest) == 64


def test_training_again_does_nothing_and_elsewhere_gives_the_same_bytes(context, tmp_path, dummies):
    MODELS["sfat"].train(context)
    before = {path: path.stat().st_mtime_ns for path in context.checkpoint.iterdir()}
    MODELS["sfat"].train(context)
    assert before == {path: path.stat().st_mtime_ns for path in context.checkpoint.iterdir()}
    other = make_context(tmp_path / "other", dummies)
    MODELS["sfat"].train(other)
    assert files_of(other.checkpoint) == files_of(context.checkpoint)


def test_variants_share_one_mlm_stage_with_the_same_result(context):
    MODELS["sfat"].train(context)
    (shared,) = context.checkpoint.parent.glob("mlm-*")
    before = files_of(shared)
    for name in ("sfat-mean", "sfat-text"):
        MODELS[name].train(variant(context, name))
        assert MODELS[name].load(variant(context, name)).name == name
    assert list(context.checkpoint.parent.glob("mlm-*")) == [shared]
    assert files_of(shared) == before
    expected = files_of(context.checkpoint)
    for path in [*context.checkpoint.iterdir(), *shared.iterdir()]:
        path.unlink()
    MODELS["sfat"].train(context)  # makes stage 1 anew
    assert files_of(context.checkpoint) == expected


def test_a_text_only_dataset_trains_the_text_variant_and_refuses_the_others(tmp_path, dummies):
    context = make_context(tmp_path / "w", dummies, "sfat-text", dim=None, simulated=False)
    MODELS["sfat-text"].train(context)
    assert MODELS["sfat-text"].load(context).needs == frozenset()
    assert "local workspace" in (context.checkpoint / "README.md").read_text()
    with pytest.raises(MissingInput, match="sfat-text"):
        MODELS["sfat"].train(variant(context, "sfat"))


def test_without_a_checkpoint_the_error_names_the_train_line(context):
    for name in ("sfat-mean", "sfat-text", "sfat-all"):
        with pytest.raises(MissingInput, match=f"videochat train --model {name}"):
            MODELS[name].load(variant(context, name))


def test_sfat_on_features_of_another_clip_than_the_reference_is_refused(context):
    with pytest.raises((MissingInput, Mismatch), match="videochat train --model sfat"):
        MODELS["sfat"].load(context)


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("config.json", "tokenizer.json", "training.json")),
    ],
)
def test_a_damaged_checkpoint_names_the_train_line_which_heals_it(context, name):
    MODELS["sfat"].train(context)
    whole = files_of(context.checkpoint)
    (context.checkpoint / name).write_bytes(whole[name][: len(whole[name]) // 2])
    with pytest.raises(Damaged, match="videochat train --model sfat") as error:
        MODELS["sfat"].load(context)
    assert name in error.value.what
    MODELS["sfat"].train(context)
    assert files_of(context.checkpoint) == whole


def test_a_folder_in_the_place_of_a_file_is_replaced(context):
    MODELS["sfat"].train(context)
    whole = files_of(context.checkpoint)
    for name in ("model.safetensors", "training.json"):
        (context.checkpoint / name).unlink()
        (context.checkpoint / name).mkdir()
    MODELS["sfat"].train(context)
    assert files_of(context.checkpoint) == whole


def test_the_train_line_of_another_seed_says_so(context):
    other = dataclasses.replace(context, checkpoint=context.workspace.checkpoint_dir("sfat-seed9"), seed=9)
    with pytest.raises(MissingInput, match="videochat train --model sfat --seed 9"):
        MODELS["sfat"].load(other)


def test_a_damaged_mlm_stage_is_trained_again(context):
    MODELS["sfat"].train(context)
    (shared,) = context.checkpoint.parent.glob("mlm-*")
    whole = files_of(shared)
    shutil.rmtree(context.checkpoint)
    (shared / "model.safetensors").write_bytes(whole["model.safetensors"][:500])
    MODELS["sfat"].train(context)
    assert files_of(shared) == whole


def test_train_on_the_way_replaces_a_checkpoint_of_other_data(context, tmp_path, dummies):
    other = make_context(tmp_path / "other", dummies, seed=5)
    MODELS["sfat"].train(other)
    shutil.copytree(other.checkpoint, context.checkpoint)
    with pytest.raises(Mismatch):
        api.load_model("sfat", context.workspace, context.dataset, device="cpu", options=dict(QUICK))
    api.load_model("sfat", context.workspace, context.dataset, device="cpu", train=True, options=dict(QUICK))
    assert json.loads((context.checkpoint / "training.json").read_text())["data_digest"] == context.dataset.digest


def test_a_checkpoint_of_other_data_is_refused(context, tmp_path, dummies):
    MODELS["sfat"].train(context)
    other = make_context(tmp_path / "other", dummies, seed=1)
    moved = dataclasses.replace(other, checkpoint=context.checkpoint)
    with pytest.raises(Mismatch, match="was trained on data"):
        MODELS["sfat"].load(moved)
    allowed = dataclasses.replace(moved, options={"allow_other_data": True})
    assert MODELS["sfat"].load(allowed).name == "sfat"  # the same recordings are for training in both


def test_a_checkpoint_that_has_seen_the_test_recordings_is_refused(context, tmp_path, dummies):
    MODELS["sfat"].train(context)
    other = make_context(tmp_path / "other", dummies, num_channels=3)  # channel 1 was for training, here for dev
    moved = dataclasses.replace(other, checkpoint=context.checkpoint, options={"allow_other_data": True})
    with pytest.raises(Mismatch, match="2 of the recordings"):
        MODELS["sfat"].load(moved)


def test_the_bundled_model_serves_simulated_workspaces_with_its_own_clip(context, tmp_path, dummies):
    from videochat.models.checkpoint import find

    MODELS["sfat"].train(context)
    bundled = context.checkpoint
    fresh = make_context(tmp_path / "fresh", dummies, seed=1)
    assert find(fresh, "sfat", bundled=bundled)[0] == bundled
    other_seed = dataclasses.replace(fresh, checkpoint=fresh.workspace.checkpoint_dir("sfat-seed1"))
    with pytest.raises(MissingInput, match="videochat train"):
        find(other_seed, "sfat", bundled=bundled)
    with pytest.raises(MissingInput, match="videochat train"):
        find(make_context(tmp_path / "real", dummies, simulated=False), "sfat", bundled=bundled)
    fresh.dataset.manifest["clip_fingerprint"] = {"model": "dummy", "tool": "videochat 9.9"}
    assert find(fresh, "sfat", bundled=bundled)[0] == bundled  # another version of the tool, the same features
    fresh.dataset.manifest["clip_fingerprint"] = {"model": "another"}
    with pytest.raises(Mismatch, match="features of"):
        find(fresh, "sfat", bundled=bundled)
    seen = make_context(tmp_path / "seen", dummies, num_channels=3)
    with pytest.raises(Mismatch, match="of the recordings"):
        find(seen, "sfat", bundled=bundled)


def test_oracle_frames_need_simulated_data(tmp_path, dummies):
    context = make_context(tmp_path / "w", dummies, "sfat-oracle", simulated=False)
    with pytest.raises(MissingInput, match="simulated"):
        MODELS["sfat-oracle"].train(context)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epoch": 3}, "unknown training option 'epoch'"),
        ({"epochs": "many"}, "epochs is 'many'"),
        ({"pooling": "best"}, "pooling is 'best'"),
        ({"size": "huge"}, "size is 'huge'"),
        ({"learn_temperature": "perhaps"}, "learn_temperature is 'perhaps'"),
    ],
)
def test_wrong_options_are_refused_before_any_work(context, options, said):
    with pytest.raises(UsageError, match=said):
        MODELS["sfat"].train(dataclasses.replace(context, options=options))


def test_an_interrupted_training_leaves_no_checkpoint_and_goes_on(context, monkeypatch):
    """Interrupted after the first epoch of stage 2, the next call takes up the state and gives the same weights."""
    from videochat.models import training

    other = variant(context, "sfat-elsewhere")
    MODELS["sfat"].train(other)
    wanted = (other.checkpoint / "model.safetensors").read_bytes()
    end_epoch = training._Stage._end_epoch

    def stop_in_the_second(stage: Any) -> None:
        if stage.stage == "answers" and stage.step > stage.steps_per_epoch:
            raise KeyboardInterrupt
        end_epoch(stage)

    monkeypatch.setattr(training._Stage, "_end_epoch", stop_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        MODELS["sfat"].train(context)
    monkeypatch.undo()
    assert (context.checkpoint / "training" / "answers.safetensors").is_file()
    with pytest.raises((MissingInput, Mismatch)):
        MODELS["sfat"].load(context)
    MODELS["sfat"].train(context)
    assert (context.checkpoint / "model.safetensors").read_bytes() == wanted


def test_importing_the_catalog_loads_no_torch():
    import subprocess
    import sys

    code = "import sys, videochat.models.catalog; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_weighting_beats_mean_pooling_beats_text_where_the_answer_is_in_the_frames(tmp_path, dummies):
    """The dummies' answer is the colour of the object that the context names, seen in 4 frames of 30."""
    context = make_context(tmp_path / "w", dummies, num_channels=10, clips_per_recording=20, dim=32)
    test = list(context.dataset.clips("test"))
    texts = TextTable([f"{colour} one number 3" for colour in dummies.COLOURS], list(dummies.COLOURS))
    truth = [dummies.COLOURS.index(clip.responses[0].text.split()[0]) for clip in test]
    right = {}
    for name in ("sfat", "sfat-mean", "sfat-text"):
        here = dataclasses.replace(
            context,
            checkpoint=context.workspace.checkpoint_dir(name),
            options={"width": 64, "epochs": 10, "batch_size": 16, "mlm_epochs": 1},
        )
        MODELS[name].train(here)
        scores = MODELS[name].load(here).score([view(c) for c in test], [range(8)] * len(test), texts)
        right[name] = np.mean([int(found.score.argmax()) == row for found, row in zip(scores, truth, strict=True)])
    assert right["sfat"] > 0.8
    assert right["sfat"] > right["sfat-mean"] + 0.1
    assert right["sfat-mean"] > right["sfat-text"]
    assert right["sfat-text"] < 0.35  # chance is 1 in 8
