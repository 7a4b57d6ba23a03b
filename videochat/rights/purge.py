"""`videochat purge --expired`: when the retention date of the rights record has passed, the data goes.

    plan(workspace)        # {"retain_until": ..., "expired": True, "files": 1234, "bytes": ...}
    purge(workspace)

Raw data, everything derived from it and the pseudonym key go; the settings, the rights record, the tombstones with
their key and the count of versions stay, so that what was forgotten stays forgotten if data is collected again.
"""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..ledger import Attempt
from .leavings import sweep
from .record import read_record

if TYPE_CHECKING:
    from ..workspace import Workspace

STEP = "purge"
# What shows the data most readily goes first: a purge that is killed has not left shards whose sources are gone.
DATA = (
    *("runs", "candidates", "shards", ".forgetting", "transcripts", "texts", "frames", "comments", "raw"),
    *(".crawl", ".import"),
    *("splits.json", "forgetting.json", "pseudonym.key", "pseudonym.destroyed.json", "ledger.jsonl"),
)
MODELS = "checkpoints"


def plan(workspace: Workspace, *, checkpoints: bool = False, today: datetime.date | None = None) -> dict[str, Any]:
    """What `purge` would remove. today: default the date now in UTC."""
    record = read_record(workspace)
    files = [path for name in _names(checkpoints) for path in _files(workspace.root / name)]
    return {
        "retain_until": None if record.retain_until is None else record.retain_until.isoformat(),
        "expired": record.expired(today),
        "files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
    }


def purge(workspace: Workspace, *, checkpoints: bool = False, today: datetime.date | None = None) -> dict[str, Any]:
    """Remove the data if its day has passed; what `plan` says, and what was removed. The caller holds the lock.

    checkpoints: models that were trained on the data, too. Killed and run again, it completes.
    Raises UsageError if no retention date was set.
    """
    found = plan(workspace, checkpoints=checkpoints, today=today)
    if found["retain_until"] is None:
        raise UsageError("the rights record has no retention date", fix="set one: videochat rights --retain-until DATE")
    if not found["expired"]:
        return found | {"removed": []}
    removed = []
    for name in _names(checkpoints):
        path = workspace.root / name
        if path.is_dir():
            for marker in ("dataset.json", *(f"{p.name}/recording.json" for p in path.iterdir() if name == "raw")):
                (path / marker).unlink(missing_ok=True)  # what is left half is then known to be unfinished
            shutil.rmtree(path)
            removed.append(name)
        elif path.is_file():
            path.unlink()
            removed.append(name)
    sweep(workspace)
    counts = {"files": found["files"], "bytes": found["bytes"]}
    workspace.ledger.add(Attempt(step=STEP, recording_id="dataset", status="ok", counts=counts))
    return found | {"removed": removed}


def _names(checkpoints: bool) -> tuple[str, ...]:
    return (*DATA, MODELS) if checkpoints else DATA


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return [inner for inner in path.rglob("*") if inner.is_file()]
