"""Type-check the packages under their installed names: a tree of links with everything inside `videochat/`.

mypy cannot follow the mapping of top-level folders into the package (pyproject's package-dir), so it gets the layout
that a wheel has. Usage: python tests/run_mypy.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "videochat"
        package.mkdir()
        for path in (ROOT / "videochat").iterdir():
            (package / path.name).symlink_to(path)
        for mapped in ("benchmark", "models", "data_cards"):
            (package / mapped).symlink_to(ROOT / mapped)
        command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "-p", "videochat"]
        command += ["--cache-dir", str(ROOT / ".mypy_cache")]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    print(done.stdout + done.stderr, end="")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
