"""Wrong names, numbers and devices on the command line: one line before any work, never a traceback."""

from __future__ import annotations

import dataclasses
import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from videochat.cli import data as data_commands
from videochat.errors import Damaged
from videochat.sources.items import ImportItem
from videochat.workspace import Workspace

Run = Callable[..., tuple[int, str, str]]


def test_usage_errors_have_the_shape_of_all_others(run: Run) -> None:
    code, _, err = run("bench", "--device", "gpu")
    assert code == 2
    assert err == (
        "error: invalid value for '--device': 'gpu' is not one of 'cpu', 'cuda', 'auto'\n"
        "fix: see `videochat bench --help`\n"
    )


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "error: the disk is full"),
        (OSError(errno.EFBIG, "File too large"), "error: the disk is full"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "error: the disk is full"),
        (OSError(errno.EROFS, "Read-only file system", "w/x"), "error: w/x: Read-only file system"),
        (MemoryError(), "error: the memory is full"),
        (KeyError("x"), "error: unexpected KeyError in test_bad_commands.py"),
    ],
)
def test_what_no_command_foresees_is_one_line_too(
    error: Exception, said: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(data_commands, "_open_or_create", fail)
    monkeypatch.delenv("VIDEOCHAT_DEBUG", raising=False)
    code, _, err = run("import", "--chat", __file__, "--category", "X")
    assert code == 1
    assert said in err
    assert err.count("\n") == 2
    assert "\nfix: " in err


def test_a_damaged_file_is_said_on_one_line(tmp_path: Path) -> None:
    from videochat.files import read_json

    path = tmp_path / "x.json"
    path.write_text("{\n\n")
    with pytest.raises(Damaged) as error:
        read_json(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("train --model nope", "unknown model 'nope'"),
        ("train --model random", "random is not a trained model"),
        ("train --set epochs=x", "epochs is 'x', not a whole number"),
        ("train --set epochs=1.5", "epochs is 1.5, not a whole number"),
        ("train --set epochs=1e400", "epochs is inf, not a whole number"),
        ("train --set mlm_batch_size=0", "batch_size is 0"),
        ("train --set epoch=1", "unknown training option 'epoch'"),
        ("train --set learning_rate=nan", "learning_rate is nan"),
        ("train --set max_minutes=nan", "max_minutes is nan"),
        ("train --set num_heads=0", "num_heads is 0"),
        ("bench --model nope", "unknown model 'nope'"),
        ("candidates --protocol v9", "unknown protocol 'v9'"),
        ("candidates --k 1001", "K = 1001 is not between"),
        ("candidates --limit 3", "made whole or not at all"),
        ("build-features --clip nope", "'nope' is not a CLIP model"),
        ("build-features --clip ViT-B-32:nope", "no pretrained weights 'nope'"),
        ("build-features --retry fialed", "--retry 'fialed' is not understood"),
    ],
)
def test_a_wrong_name_or_number_is_said_before_any_work(
    root: Path, run: Run, line: str, said: str, dry: tuple[str, ...]
) -> None:
    if "--set" in line:
        dry = ()  # a dry run of training does not read its settings
    code, _, err = run(*line.split(), *dry, "--data", root)
    assert code == 2
    assert said in err
    assert err.count("\n") == 2
    assert not (root / "checkpoints").exists()


@pytest.mark.parametrize("command", ["train", "bench", "build-features"])
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_cuda_where_there_is_none(root: Path, run: Run, command: str, dry: tuple[str, ...]) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    code, _, err = run(command, "--device", "cuda", *dry, "--data", root)
    assert code == 2
    assert "no CUDA device" in err
    assert "--device cpu" in err


def test_weights_that_cannot_be_fetched_name_the_choices(
    root: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    code, _, err = run("build-features", "--clip", "ViT-B-32:openai", "--data", root)
    assert code == 1
    assert "CLIP ViT-B-32:openai could not be loaded" in err
    assert "the hub cannot be reached from here" in err
    assert "fix: choose --clip sample, a local open_clip folder, or import precomputed features" in err
    assert Workspace.open(root).settings.clip == "sample"


def test_features_of_a_workspace_that_is_not_there(root: Path, run: Run) -> None:
    code, _, err = run("build-features", "--reuse", root / "nowhere", "--data", root)
    assert code == 1
    assert "nowhere" in err


def test_a_dry_run_of_bench_makes_no_candidate_sets(root: Path, run: Run) -> None:
    code, out, _ = run("bench", "--dry-run", "--json", "--data", root)
    assert code == 0
    assert json.loads(out)["models"] == "sfat"
    assert not (root / "candidates").exists()


def test_the_same_model_twice_is_one_entrant(root: Path, run: Run) -> None:
    code, out, _ = run("bench", "--dry-run", "--model", "random", "--model", "random", "--json", "--data", root)
    assert code == 0
    assert json.loads(out)["models"] == "random"


def test_the_help_of_import_names_every_column_of_a_list(run: Run) -> None:
    code, out, _ = run("import", "--help")
    assert code == 0
    assert [field.name for field in dataclasses.fields(ImportItem) if field.name not in out] == []


def test_an_impossible_sample_makes_no_workspace(tmp_path: Path, run: Run) -> None:
    code, _, err = run("sample", "--minutes", "nan", "--data", tmp_path / "w")
    assert code == 2
    assert "nan minutes" in err
    assert not (tmp_path / "w").exists()


def test_an_option_without_its_value_names_the_command(run: Run) -> None:
    code, _, err = run("import", "--category")
    assert code == 2
    assert "fix: see `videochat import --help`" in err
