"""Memory that is kept: steps of a model that allocates much fetch no pages from the kernel any more."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, resource, sys
from videochat.models.heap import keep_freed_memory

kept = keep_freed_memory() if sys.argv[1] == "kept" else None
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"x" * 40_000_000  # beyond what glibc would keep by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(json.dumps([kept, [faults() for _ in range(4)]]))
"""


def faults_of(mode: str) -> tuple[bool | None, list[int]]:
    done = subprocess.run([sys.executable, "-c", SCRIPT, mode], check=True, capture_output=True, text=True)
    kept, faults = json.loads(done.stdout)
    return kept, faults


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_a_large_block_takes_no_new_pages_once_its_memory_is_kept():
    _, plain = faults_of("plain")
    kept, faults = faults_of("kept")
    assert kept
    assert min(plain) >= 15, "each takes its pages from the kernel: 20 huge ones at least"
    assert max(faults[1:]) < 5, "after the first, none does"
