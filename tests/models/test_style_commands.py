"""KLVCG-style, Video-ChatGPT-style and mllm through the commands, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from videochat.cli import main

QUICK = {
    "klvcg-style": ("width=32", "epochs=1", "mlm_epochs=1", "vocab_size=400"),
    "video-chatgpt-style": ("epochs=1", "mlm_epochs=1", "vocab_size=400"),
    "mllm": ("epochs=1", "mlm_epochs=1", "vocab_size=400", "lora_rank=2"),
}


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
    assert isinstance(done.value.code, int)
    return done.value.code


@pytest.mark.slow
def test_train_bench_and_generate_by_name(
    tmp_path: Path, dummies: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "w"
    dummies.make_dataset(root, num_channels=3, recordings_per_channel=1, clips_per_recording=12, dim=8)
    assert run("candidates", "--data", root, "--k", 4) == 0
    for name, settings in QUICK.items():
        pairs = (word for setting in settings for word in ("--set", setting))
        assert run("train", "--data", root, "--model", name, "--device", "cpu", *pairs) == 0
    names = [word for name in QUICK for word in ("--model", name)]
    capsys.readouterr()
    assert run("bench", "--data", root, *names, "--device", "cpu", "--json", "--no-report") == 0
    result = json.loads(capsys.readouterr().out)
    info = json.loads((Path(result["run"]) / "run.json").read_text())
    rows = {row["name"]: row for row in info["models"]}
    for name in QUICK:
        assert rows[name]["kind"] == "model"
        assert rows[name]["skipped"] is None
        assert any(row["model"] == name for row in result["metrics"]["rows"])
        assert run("generate", "--data", root, "--model", name, "--device", "cpu", "--limit", 2, "--json") == 0
        assert all(row["comment"] for row in json.loads(capsys.readouterr().out))


@pytest.mark.slow
def test_a_text_only_dataset_skips_them_with_a_reason(
    tmp_path: Path, dummies: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "w"
    dummies.make_dataset(root, num_channels=3, recordings_per_channel=1, clips_per_recording=12, dim=None)
    for name, settings in QUICK.items():
        pairs = (word for setting in settings for word in ("--set", setting))
        assert run("train", "--data", root, "--model", name, "--device", "cpu", *pairs) == 1
        assert f"{name} needs frames" in capsys.readouterr().err
    blind = ("--set", "use_video=false", *(w for s in QUICK["klvcg-style"] for w in ("--set", s)))
    assert run("train", "--data", root, "--model", "klvcg-style", "--device", "cpu", *blind) == 0
    assert run("generate", "--data", root, "--model", "klvcg-style", "--device", "cpu", "--limit", 1) == 0


def test_what_the_second_model_lacks_is_said_before_the_first_is_trained(dummies, tmp_path, capsys):
    dummies.make_dataset(tmp_path / "w", num_channels=4, clips_per_recording=3, dim=None)
    assert run("train", "--data", tmp_path / "w", "--model", "sfat-text", "--model", "sfat", "--device", "cpu") == 1
    error = capsys.readouterr().err
    assert "sfat needs frames, text_embeddings, which these shards lack" in error
    assert "build-features" in error
    assert not (tmp_path / "w" / "checkpoints" / "sfat-text").exists()
