"""Fixtures of these tests: workspaces empty and simulated, the command in this process, a crawl without politeness."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from videochat.cli import main
from videochat.workspace import Workspace


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


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty one."""
    return Workspace.open(tmp_path / "data", create=True)


@pytest.fixture
def hurried() -> Iterator[None]:
    """The loopback needs no politeness: only the server sets the pace."""
    from videochat.crawl.limits import LIMITS, RATES, Rate

    LIMITS.configure({name: Rate(per_second=1000, burst=1000) for name in RATES})
    yield
    LIMITS.configure(RATES)
