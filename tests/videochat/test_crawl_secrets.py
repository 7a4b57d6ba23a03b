"""Nothing secret and no name in what a failing crawl says and writes down; the interrupt key ends it at once."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from videochat.crawl.scrub import scrub

COMMAND = [sys.executable, "-c", "from videochat.cli import main; main()", "crawl", "--i-may-collect-this"]
LOGIN = "planted_login"
FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("missing-fragment", {"segment": 3}),
    ("restricted", {}),
    ("unauthorized", {"n": 4}),
    ("html-page", {"host": "media", "status": 403}),
    ("integrity-after-page", {"n": 1}),
    ("gone", {}),
]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("GET https://usher.ttvnw.net/vod/1.m3u8?sig=abcd&token=efgh failed", "GET usher.ttvnw.net failed"),
        ("Authorization: Bearer abcdefgh", "Authorization: Bearer …"),
        ('{"token": "abcdefgh", "x": 1}', '{"token": "…", "x": 1}'),
        ("cookie=abcdef; other", "cookie=…; other"),
        ("said by @somebody there", "said by @… there"),
        ("two\nlines  and   spaces", "two lines and spaces"),
        ("the token failed", "the token failed"),
    ],
)
def test_scrubbing(text: str, left: str) -> None:
    assert scrub(text) == left


def test_scrubbing_knows_the_secrets_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWITCH_CLIENT_SECRET", "s3cr3tvalue")
    assert scrub("it was s3cr3tvalue") == "it was <TWITCH_CLIENT_SECRET>"
    assert len(scrub("x" * 10_000)) <= 500


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), FAULTS)
def test_a_failing_crawl_gives_nothing_away(
    twitch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, options: dict[str, Any]
) -> None:
    for variable, value in twitch.credentials.items():
        monkeypatch.setenv(variable, value)
    vod = twitch.add_vod(
        twitch.Vod(channel=LOGIN, title=f"hello @{LOGIN}", comments=twitch.comments(600, 120, users=200))
    )
    twitch.fault(name, **options)
    done = subprocess.run(
        [*COMMAND, vod.id, "--data", "data"], cwd=tmp_path, capture_output=True, timeout=120, env=dict(os.environ)
    )
    said = done.stdout + done.stderr + (tmp_path / "data" / "ledger.jsonl").read_bytes()
    assert done.returncode in (0, 3) and b"Traceback" not in done.stderr
    assert len(twitch.secrets) >= 2
    for secret in [*twitch.secrets, *twitch.credentials.values()]:
        assert secret.encode() not in said
    assert LOGIN.encode() not in said.lower() and not re.search(rb"viewer_\d+_\d+", said.lower())
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for secret in twitch.secrets:
        assert secret.encode() not in everything, "not even in staging or raw"


@pytest.mark.slow
def test_the_interrupt_key_ends_it_and_the_next_run_goes_on(twitch: Any, tmp_path: Path) -> None:
    vod = twitch.add_vod(twitch.Vod(comments=twitch.comments(600, 120)))
    slow = twitch.fault("slow", latency_s=0.5)
    process = subprocess.Popen([*COMMAND, vod.id, "--data", "data"], cwd=tmp_path, stderr=subprocess.PIPE)
    while not twitch.fragments():
        assert process.poll() is None
        time.sleep(0.01)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130 and time.monotonic() - begin < 3
    assert b"run the same command again to continue" in stderr and b"Traceback" not in stderr
    slow.remove()
    num_pages = len(twitch.pages())
    done = subprocess.run([*COMMAND, vod.id, "--data", "data"], cwd=tmp_path, capture_output=True, timeout=60)
    assert done.returncode == 0
    assert len(twitch.pages()) - num_pages < 11, "it went on from the last page"
