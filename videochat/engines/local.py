"""Run one step over many recordings in this machine's processes, with a ledger row for each.

    summary = run_step(workspace, "clean", recordings, functools.partial(clean_recording, workspace.root, rules))

The output never depends on the number of workers: each recording writes its own file.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from ..errors import BadRecording, Damaged, UsageError
from ..ledger import Attempt
from ..progress import progress, say
from ..schema import Recording
from ..workspace import Workspace


class Identified(Protocol):
    """Anything a step may be tried on: a Recording, or something to import that knows its future id."""

    @property
    def recording_id(self) -> str: ...


RETRIED = ("failed", "partial")  # what --retry may name

Item = TypeVar("Item", bound=Identified)

# What a worker returns: None if its output was current, else counts for the ledger ({"skipped": reason} to skip; a
# "reason" beside counts says what is wrong with an output that was made all the same).
Worker = Callable[[Item], dict[str, Any] | None]


@dataclass(kw_only=True)
class StepSummary:
    """How one run of one step went. attempts: one for each recording tried, in order of recording id."""

    step: str
    attempts: list[Attempt] = field(default_factory=list)

    def count(self, status: str) -> int:
        return sum(attempt.status == status for attempt in self.attempts)

    @property
    def failed(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.status == "failed"]

    @property
    def partial(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.status == "partial"]

    @property
    def exit_code(self) -> int:
        return BadRecording.exit_code if self.failed or self.partial else 0

    def total(self, count: str) -> float:
        return sum(float(attempt.counts.get(count, 0)) for attempt in self.attempts)


def available_cores() -> int:
    return len(os.sched_getaffinity(0))


def select(workspace: Workspace, step: str, *, limit: int | None = None, retry: str | None = None) -> list[Recording]:
    """The recordings a step is to try: all, or those whose last attempt matches `retry` (see `to_retry`); at most
    `limit` of them, by recording id."""
    recordings = workspace.recordings()
    if retry is not None:
        wanted = to_retry(workspace, step, retry)
        recordings = [recording for recording in recordings if recording.recording_id in wanted]
    return recordings[:limit]


def to_retry(workspace: Workspace, step: str, retry: str) -> dict[str, Attempt]:
    """Recording id -> last attempt at `step`, of those that match `retry`: "failed" or "partial", each perhaps with
    ":<class>". Raises UsageError for anything else."""
    status, _, error_class = retry.partition(":")
    if status not in RETRIED:
        raise UsageError(
            f"--retry {retry!r} is not understood", fix="write failed, failed:<class>, partial or partial:<class>"
        )
    latest = workspace.ledger.latest(step)
    return {r: a for r, a in latest.items() if a.status == status and error_class in ("", a.error_class)}


def attempt(step: str, recording: Item, worker: Worker[Item]) -> Attempt:
    """Run `worker` on one recording; a bad recording or a damaged file of it becomes a failed attempt, other errors
    propagate."""
    begin = time.monotonic()
    try:
        counts = worker(recording)
    except BadRecording as error:
        outcome: dict[str, Any] = {"status": "failed", "error_class": error.error_class, "reason": str(error)}
    except Damaged as error:
        outcome = {"status": "failed", "error_class": "damaged-file", "reason": str(error)}
    else:
        if counts is None:
            outcome = {"status": "current"}
        elif "skipped" in counts:
            outcome = {"status": "skipped", "reason": counts["skipped"]}
        else:
            reason = counts.get("reason")
            outcome = {"status": "ok", "reason": reason, "counts": {k: v for k, v in counts.items() if k != "reason"}}
    return Attempt(
        step=step, recording_id=recording.recording_id, seconds=round(time.monotonic() - begin, 3), **outcome
    )


def run_step(
    workspace: Workspace,
    step: str,
    recordings: Sequence[Item],
    worker: Worker[Item],
    *,
    num_workers: int | None = None,
) -> StepSummary:
    """Try every recording, add each attempt to the ledger as it ends, and go on past bad recordings.

    worker: a picklable function; num_workers: default all cores, 1 runs in this process.
    """
    num_workers = min(num_workers or available_cores(), max(1, len(recordings)))
    summary = StepSummary(step=step)
    with progress(what=step, total=len(recordings), unit="recording") as bar:
        for result in _attempts(step, recordings, worker, num_workers):
            workspace.ledger.add(result)
            summary.attempts.append(result)
            bar.update()
            if result.reason and result.status != "skipped":
                say(f"{step}: {result.recording_id}: {result.error_class or 'note'}: {result.reason}")
    summary.attempts.sort(key=lambda item: item.recording_id)
    return summary


def end_with_parent() -> None:
    """In a worker: end when the process that started the pool is killed, instead of waiting for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _attempts(step: str, recordings: Sequence[Item], worker: Worker[Item], num_workers: int) -> Iterator[Attempt]:
    if num_workers == 1:
        for recording in recordings:
            yield attempt(step, recording, worker)
        return
    context = multiprocessing.get_context("forkserver")  # fork would copy locked threads of arrow and torch
    with ProcessPoolExecutor(num_workers, mp_context=context, initializer=end_with_parent) as pool:
        futures = [pool.submit(attempt, step, recording, worker) for recording in recordings]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
