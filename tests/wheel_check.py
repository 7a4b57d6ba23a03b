"""Run the installed wheel outside the checkout: every package imports from site-packages and the chain works.

Called by .ci/run with the python of an environment that holds the built wheel.
"""

from __future__ import annotations

import importlib
import subprocess
import sysconfig
import tempfile
from pathlib import Path

PACKAGES = ("videochat", "videochat.benchmark", "videochat.models", "videochat.data_cards", "videochat.cli")


def main() -> None:
    site = Path(sysconfig.get_path("purelib"))
    for name in PACKAGES:
        module = importlib.import_module(name)
        assert module.__file__ and Path(module.__file__).is_relative_to(site), f"{name} comes from {module.__file__}"
    command = Path(sysconfig.get_path("scripts")) / "videochat"
    with tempfile.TemporaryDirectory() as folder:
        for line in (
            "--version",
            "sample --recordings 4 --minutes 11",
            "clean",
            "build-features --device cpu",
            "build",
            "candidates",
            "bench --model sfat",
            "validate",
        ):
            print(f"$ videochat {line}", flush=True)
            subprocess.run([command, *line.split()], cwd=folder, check=True)
    print("the wheel works outside the checkout")


if __name__ == "__main__":
    main()
