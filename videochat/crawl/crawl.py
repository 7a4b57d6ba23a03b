"""`videochat crawl`: VODs with their chat become raw/<recording>/, complete or loudly incomplete.

    summary = crawl(workspace, read_targets(["1234567890"]), CrawlOptions(affirmed=True))
    summary = crawl_recipe(workspace, recipe, CrawlOptions(affirmed=True))

Several VODs are fetched at once by threads (they wait for the network, and share one rate limit for each host); of
each, chat and video at the same time. Every recording leaves a row in the ledger: ok, partial with reasons, failed,
skipped, or current when there was nothing to do. Killed at any time, the next run goes on.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..engines.local import StepSummary, to_retry
from ..errors import BadRecording, UsageError, VideochatError
from ..ledger import Attempt
from ..progress import progress, say
from ..rights.record import require_statement
from ..rights.tombstones import Tombstones
from ..schema import Recording
from ..workspace import Workspace
from .jobs import STAGING, CrawlOptions, Job, job_of, vod_of
from .scrub import scrub
from .targets import Target, resolve
from .vod import Known, crawl_vod

STEP = "crawl"


def crawl(workspace: Workspace, targets: Sequence[Target], options: CrawlOptions) -> StepSummary:
    """Fetch the VODs of `targets`; with `options.retry`, those of them, or of all, whose last attempt ended so.

    Raises UsageError if nobody stated the right to collect, VideochatError if a channel or collection is not there.
    """
    require_statement(workspace, options.affirmed)
    jobs = [options.job(vod) for vod in resolve(targets)]
    if options.retry is not None:
        jobs = retried_jobs(workspace, options.retry, jobs if targets else None)
    elif not targets:
        raise UsageError("there is nothing to crawl", fix="name VODs, or follow a recipe")
    return run_jobs(workspace, jobs[: options.limit], options)


def retried_jobs(workspace: Workspace, retry: str, among: Sequence[Job] | None = None) -> list[Job]:
    """The jobs behind the recordings that match `retry`, as they were first asked for; in order of id.

    among: only VODs of these jobs, or None for all that the workspace knows.
    """
    asked = {job.recording_id: job for job in among or ()}
    there: dict[str, Job] = {}
    for recording in crawled(workspace):
        if (vod := vod_of(recording.recording_id)) and (job := job_of(recording)):
            there[vod.recording_id] = job
    found: dict[str, Job] = {}
    for recording_id in sorted(to_retry(workspace, STEP, retry)):
        vod = vod_of(recording_id)
        if vod is None or (among is not None and vod.recording_id not in asked):
            continue
        name = vod.recording_id
        first_asked = Job.load(workspace.root / STAGING / name) or there.get(name) or asked.get(name)
        found[name] = first_asked or CrawlOptions().job(vod)
    return list(found.values())


def run_jobs(workspace: Workspace, jobs: Sequence[Job], options: CrawlOptions) -> StepSummary:
    """Fetch every job; a bad one is a row in the ledger and the others go on."""
    known = Known(workspace, Tombstones.open(workspace), retry=options.retry is not None)
    summary = StepSummary(step=STEP)
    with progress(what=STEP, total=len(jobs), unit="VOD") as bar:
        for attempts in _at_once(lambda job: _attempts(known, job), jobs, options.at_once):
            for attempt in attempts:
                workspace.ledger.add(attempt)
                summary.attempts.append(attempt)
                if attempt.status in ("failed", "partial"):
                    say(f"{STEP}: {attempt.recording_id}: {attempt.status}: {attempt.error_class}: {attempt.reason}")
            bar.update()
    summary.attempts.sort(key=lambda item: item.recording_id)
    return summary


def _attempts(known: Known, job: Job) -> list[Attempt]:
    """One VOD: an attempt for each of its recordings, or one for the VOD where it does not come so far."""
    begin = time.monotonic()

    def row(recording_id: str, **outcome: Any) -> Attempt:
        return Attempt(step=STEP, recording_id=recording_id, seconds=round(time.monotonic() - begin, 3), **outcome)

    counts = {"job": job.digest}
    try:
        outcomes = crawl_vod(known, job)
    except BadRecording as error:
        return [
            row(
                job.recording_id,
                status="failed",
                error_class=error.error_class,
                reason=scrub(str(error)),
                counts=counts,
            )
        ]
    except VideochatError as error:
        name = getattr(error, "slug", "fetch-failed")
        return [row(job.recording_id, status="failed", error_class=name, reason=scrub(str(error)), counts=counts)]
    rows = [
        row(
            outcome.recording_id,
            status=outcome.status,
            error_class=outcome.error_class,
            reason=scrub(outcome.reason) if outcome.reason else None,
            counts=counts | outcome.counts,
        )
        for outcome in outcomes
    ]
    if job.recording_id not in {attempt.recording_id for attempt in rows} and known.is_open(job):
        reason = "what was asked of the VOD as a whole is answered by its segments"
        rows.append(row(job.recording_id, status="skipped", error_class="in-segments", reason=reason))
    return rows


def _at_once(work: Callable[[Job], list[Attempt]], jobs: Sequence[Job], num_threads: int) -> Iterator[list[Attempt]]:
    """The results of `work`, as they come. The threads are daemons: an interrupt does not wait for downloads."""
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    results: queue.SimpleQueue[list[Attempt] | BaseException] = queue.SimpleQueue()
    stop = threading.Event()
    for job in jobs:
        waiting.put(job)

    def worker() -> None:
        while not stop.is_set():
            try:
                job = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                results.put(work(job))
            except BaseException as error:  # noqa: BLE001 - raised again in the main thread
                results.put(error)

    for number in range(min(num_threads, len(jobs))):
        threading.Thread(target=worker, name=f"crawl-{number}", daemon=True).start()
    try:
        for _ in jobs:
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        stop.set()


def plan(workspace: Workspace | None, jobs: Sequence[Job]) -> dict[str, Any]:
    """What a crawl of these jobs would do; nothing is fetched. workspace: None if there is none yet."""
    known = None if workspace is None else Known(workspace, Tombstones.open(workspace))
    there = 0 if known is None else sum(known.finished(job) is not None for job in jobs)
    return {"vods": len(jobs), "already_there": there, "to_fetch": len(jobs) - there}


def crawled(workspace: Workspace) -> list[Recording]:
    """The recordings that a crawl has brought."""
    return [recording for recording in workspace.recordings() if "crawl" in recording.origin]
