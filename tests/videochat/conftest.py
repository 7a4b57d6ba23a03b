"""Fixtures of these tests: a small simulated workspace, made once, and the command in this process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from videochat.cli import main


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one simulated recording, up to its shards (all of them test), for tests that only read it."""
    root = tmp_path_factory.mktemp("made") / "w"
    for line in (
        "sample --recordings 1 --minutes 1 --workers 1",
        "clean --workers 1",
        "build-features --device cpu --workers 1",
        "build --split-by test",
    ):
        with pytest.raises(SystemExit) as done:
            main([*line.split(), "--data", str(root)])
        assert done.value.code == 0, line
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy of it that the test may change."""
    return Path(shutil.copytree(made, tmp_path / "w"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """(exit code, stdout, stderr) of `videochat ARGUMENTS`, run in this process."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as done:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        assert isinstance(done.value.code, int)
        return done.value.code, out, err

    return call
