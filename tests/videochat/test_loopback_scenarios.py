"""What the real tools do alone when Twitch misbehaves, by their own commands: the reason for a crawler of our own."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def tools(twitch: Any) -> Any:
    """loopback_twitch.tools, which the fixture's package holds."""
    return importlib.import_module(f"{type(twitch).__module__.partition('.')[0]}.tools")


def scenario(twitch: Any, name: str) -> Any:
    return importlib.import_module(f"{type(twitch).__module__.partition('.')[0]}.scenarios").SCENARIOS[name]


@pytest.mark.parametrize(
    ("name", "delivered", "is_silent", "status"),
    [
        ("healthy", 600, False, 0),
        ("integrity", 118, True, 0),  # two pages of 59, and an exit as if that were all
        ("null-once", 236, True, 0),
        ("rate-limit", 295, False, 1),  # a traceback, in the middle
        ("html-page", 600, False, 0),
    ],
)
def test_chat_downloader_alone(
    twitch: Any, tmp_path: Path, name: str, delivered: int, is_silent: bool, status: int
) -> None:
    row = tools(twitch).measure_chat(scenario(twitch, name), twitch, tmp_path, revive=True)
    assert (row["held"], row["delivered"], row["silent"], row["exit"]) == (600, delivered, is_silent, status)
    assert row["doubled"] == row["foreign"] == 0
    assert not twitch.foreign


@pytest.mark.parametrize(
    ("name", "delivered"), [("cut-fragment", 120), ("missing-fragment", 110), ("muted", 100), ("gap", 100)]
)
def test_yt_dlp_alone_exits_well_whatever_is_missing(twitch: Any, tmp_path: Path, name: str, delivered: int) -> None:
    row = tools(twitch).measure_video(scenario(twitch, name), twitch, tmp_path)
    assert (row["delivered"], row["exit"]) == (delivered, 0)
    assert row["false_success"] == (delivered < 120)
    assert not twitch.foreign
