"""The curve of a training where people watch curves: TensorBoard or Weights & Biases, if asked for and installed.

    with run_log.opened("tensorboard", checkpoint / "logs", name="sfat", settings={...}):
        run_stage(...)                  # each step's loss and each epoch's row are sent there
    videochat train --model sfat --set log=tensorboard

Nothing is sent anywhere unless it is asked for. Accelerate's trackers do the work; they are loaded when one is opened.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from videochat.errors import MissingInput, UsageError

KINDS = {"tensorboard": "tensorboard", "wandb": "wandb"}  # name -> the package that it needs
_current: ContextVar[Any] = ContextVar("run_log", default=None)


def check(kind: str) -> None:
    """Raises UsageError for an unknown kind, MissingInput with the install line for one that is not installed."""
    if not kind:
        return
    if kind not in KINDS:
        raise UsageError(f"log is {kind!r}", fix=f"choose one of {', '.join(KINDS)}, or leave it out")
    if importlib.util.find_spec(KINDS[kind]) is None:
        raise MissingInput(
            f"log={kind} needs the package {KINDS[kind]}",
            fix=f"pip install 'videochat-toolkit[{kind}]', or leave out --set log={kind}",
        )


@contextmanager
def opened(kind: str, folder: Path, *, name: str, settings: Mapping[str, Any]) -> Iterator[None]:
    """Inside the block `write` sends its figures to the logger; kind "": to none. Only the main process logs."""
    from accelerate import PartialState

    check(kind)
    if not kind or not PartialState().is_main_process:
        yield
        return
    tracker: Any
    if kind == "tensorboard":
        from accelerate.tracking import TensorBoardTracker

        folder.mkdir(parents=True, exist_ok=True)
        tracker = TensorBoardTracker(name, logging_dir=str(folder))
    else:
        from accelerate.tracking import WandBTracker

        folder.mkdir(parents=True, exist_ok=True)
        tracker = WandBTracker("videochat", name=name, dir=str(folder))
    if hasattr(tracker, "start"):  # older versions of Accelerate start when they are made
        tracker.start()
    if kind == "wandb":  # TensorBoard's are in training.json, beside the curve
        tracker.store_init_configuration(dict(settings))
    token = _current.set(tracker)
    try:
        yield
    finally:
        _current.reset(token)
        tracker.finish()


def write(stage: str, step: int, figures: Mapping[str, float | None]) -> None:
    """Send the figures of a step of a stage, those that are None left out; nothing without a logger."""
    tracker = _current.get()
    if tracker is not None:
        tracker.log({f"{stage}/{name}": value for name, value in figures.items() if value is not None}, step=step)
