"""Fixtures for all tests: the dummy builders, and the folder of real material where it is present."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

TESTS = Path(__file__).parent
FIXTURES = TESTS.parent.parent / "shared" / "fixtures"

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach a model hub
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _load(name: str) -> ModuleType:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, TESTS / f"{name}.py")
        assert spec and spec.loader
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="session")
def dummies() -> ModuleType:
    """tests/dummies.py: builders of small data sets."""
    return _load("dummies")


@pytest.fixture(scope="session")
def real() -> Path:
    """The folder of real chats, videos and vectors; the test is skipped where it is not there."""
    if not FIXTURES.is_dir():
        pytest.skip("the real material of ../shared/fixtures is not here")
    return FIXTURES
