"""Progress bars and log lines on stderr; bars stay quiet when stderr is not a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any, TypeVar

T = TypeVar("T")

NO_BARS = "VIDEOCHAT_NO_BARS"  # set in worker processes, whose bars would write over each other


def progress(items: Iterable[T] | None = None, *, what: str, total: float | None = None, unit: str = "it") -> Any:
    """A tqdm bar over `items`, or to be updated by hand with `total`."""
    from tqdm import tqdm

    return tqdm(
        items,
        desc=what,
        total=total,
        unit=unit,
        file=sys.stderr,
        disable=True if os.environ.get(NO_BARS) else None,
        leave=False,
        dynamic_ncols=True,
    )


def say(line: str) -> None:
    """One log line on stderr, clear of any bar."""
    if "tqdm" in sys.modules:
        sys.modules["tqdm"].tqdm.write(line, file=sys.stderr)
    else:
        print(line, file=sys.stderr)
