"""Fixtures for all tests: the dummy builders, and the folder of real material where it is present."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from videochat.workspace import Workspace

TESTS = Path(__file__).parent
FIXTURES = TESTS.parent.parent / "shared" / "fixtures"

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach a model hub
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "PYTEST_XDIST_WORKER" in os.environ:  # as many workers as cores, so threads of each would only wait for each other;
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when numpy and torch are loaded, which comes after this file


def _load(name: str) -> ModuleType:
    if name not in sys.modules:
        path = TESTS / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path if path.exists() else TESTS / name / "__init__.py")
        assert spec and spec.loader
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="session")
def dummies() -> ModuleType:
    """tests/dummies.py: builders of small data sets."""
    return _load("dummies")


@pytest.fixture(scope="session")
def planted() -> ModuleType:
    """tests/planted.py: a workspace with a planted person, and the search for what is left of them."""
    return _load("planted")


@pytest.fixture(scope="session")
def planted_root(planted: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of such a workspace, made once: tests take a copy. The imported files lie beside it."""
    root: Path = planted.make_workspace(tmp_path_factory.mktemp("planted")).root
    return root


@pytest.fixture
def planted_copy(planted_root: Path, tmp_path: Path) -> Workspace:
    """A copy that the test may change."""
    from videochat.workspace import Workspace

    shutil.copytree(planted_root, tmp_path / "ws", symlinks=True)
    return Workspace.open(tmp_path / "ws")


@pytest.fixture(scope="session")
def real() -> Path:
    """The folder of real chats, videos and vectors; the test is skipped where it is not there."""
    if not FIXTURES.is_dir():
        pytest.skip("the real material of ../shared/fixtures is not here")
    return FIXTURES


@pytest.fixture(scope="session")
def loopback(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModuleType, Any, Any]:
    """The package tests/loopback_twitch, its media folder (one for all xdist workers) and its certificate authority."""
    module = _load("loopback_twitch")
    base = tmp_path_factory.getbasetemp()
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    return module, module.Media(folder / "loopback_media"), module.Authority()


@pytest.fixture
def twitch(
    loopback: tuple[ModuleType, Any, Any], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """A loopback Twitch (tests/loopback_twitch) that real clients, child processes too, take for the real one."""
    module, media, authority = loopback
    service = module.LoopbackTwitch(media, authority, tmp_path_factory.mktemp("loopback"))
    for name, value in service.environment.items():
        monkeypatch.setenv(name, value)
    yield service
    service.stop()
    assert not service.crashes, service.crashes[0]
