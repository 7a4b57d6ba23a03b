"""All models of the registry on one workspace: train what has no current checkpoint, rank all of them, average seeds.

    result = run_zoo(Workspace.open("videochat-data"), num_seeds=3)
    print(result.table())

Each training is a job with one thread: two such beat one with two (FACTS §9), and the bytes of a checkpoint depend
neither on the number of jobs at a time nor on what ran before. Called again, it goes on where it was stopped. It
belongs to the outermost layer, like `videochat.api`.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import api
from .commenter import LoadContext, ModelEntry
from .dataset import Dataset
from .engines.local import available_cores, end_with_parent
from .errors import MissingInput, UsageError, VideochatError
from .progress import NO_BARS, progress, say
from .workspace import Workspace

if TYPE_CHECKING:
    from .benchmark.runs.run import Run

TRAINED, CURRENT, SKIPPED, FAILED = "trained", "current", "skipped", "failed"


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """One training: model `name` on the workspace `root` with `seed` and `options`. label: see `api.context_of`.
    title: what people call it, if not by the label or the name."""

    root: str
    name: str
    label: str = ""
    title: str = ""
    seed: int
    device: str = "cpu"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a job went. status: "trained", "current" (nothing to do), "skipped" or "failed", these two with a reason.

    options: those it was trained with beyond the common ones. cpu_seconds: of this process, user and system.
    """

    name: str
    seed: int
    status: str
    reason: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0

    @property
    def ranked(self) -> bool:
        return self.status in (TRAINED, CURRENT)


@dataclass(frozen=True, kw_only=True)
class ZooResult:
    """outcomes: one for each model and seed. runs: one for each seed. averages: of several (`benchmark.runs.seeds`)."""

    outcomes: list[Outcome]
    runs: list[Run]
    averages: dict[str, Any] | None = None

    @property
    def failed(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.status == FAILED]

    def table(self, *, wide: bool = False) -> str:
        """The table of the run, or that of the averages over the seeds; then what was left out, and why."""
        if self.averages is None:
            text = self.runs[0].table(wide=wide)
        else:
            from .benchmark.runs.seeds import to_text

            text = to_text(self.runs[0].info, self.averages)
        return text.rstrip("\n") + "".join(f"\n{line}" for line in self.notes())

    def notes(self) -> list[str]:
        """Lines on models that were left out, or given other options than the rest."""
        lines = []
        for outcome in {(o.name, o.status, o.reason): o for o in self.outcomes}.values():
            if not outcome.ranked:
                lines.append(f"{outcome.status} {outcome.name}: {outcome.reason}")
            elif outcome.options:
                pairs = ", ".join(f"{name}={str(value).lower()}" for name, value in outcome.options.items())
                lines.append(f"{outcome.name}: trained with {pairs}, as these data hold chat alone")
        return list(dict.fromkeys(lines))


def run_zoo(
    workspace: Workspace,
    *,
    models: Sequence[str] = (),
    num_seeds: int = 1,
    device: str = "auto",
    options: Mapping[str, Any] | None = None,
    protocol: str | None = None,
    num_workers: int | None = None,
    limit: int | None = None,
) -> ZooResult:
    """Train and rank `models` (default: all of the registry) with the seeds s, s + 1, ... of the workspace's seed s.

    limit: clips of each split to train on and to rank (for a try). The caller holds the workspace's lock. Raises
    MissingInput if no model is left to rank.
    """
    dataset = Dataset.open(workspace.root)
    options = {**(options or {}), **({} if limit is None else {"limit": limit})}
    sets = api.candidates(dataset, protocol or workspace.settings.protocol)  # what cannot be ranked is not trained
    jobs, outcomes = plan(workspace, dataset, models=models, num_seeds=num_seeds, device=device, options=options)
    outcomes += train_all(jobs, num_workers=num_workers)
    outcomes.sort(key=lambda outcome: outcome.seed)
    runs = []
    for seed in seeds_of(workspace, num_seeds):
        names = [outcome.name for outcome in outcomes if outcome.ranked and outcome.seed == seed]
        if seed == workspace.settings.seed:
            names += untrained(workspace, dataset, models, outcomes)
        if names:
            runs.append(api.evaluate(names, dataset, sets, device=device, options={"seed": seed}, limit=limit))
    if not runs:
        raise MissingInput("no model is left to rank", fix="; ".join(f"{o.name}: {o.reason}" for o in outcomes))
    averages = None
    if len(runs) > 1:
        from .benchmark.runs.seeds import average, write

        averages = average(runs)
        write(runs[0], averages)
    return ZooResult(outcomes=outcomes, runs=runs, averages=averages)


def seeds_of(workspace: Workspace, num_seeds: int) -> range:
    return range(workspace.settings.seed, workspace.settings.seed + num_seeds)


def plan(
    workspace: Workspace,
    dataset: Dataset,
    *,
    models: Sequence[str] = (),
    num_seeds: int = 1,
    device: str = "auto",
    options: Mapping[str, Any] | None = None,
) -> tuple[list[Job], list[Outcome]]:
    """The trainings to do, and those that the data cannot feed, with the reason. Raises UsageError for an unknown name
    or option. First comes one model of each family, as a family shares its stage 1, then the others."""
    entries = {name: api.entry_of(name) for name in models or api.catalog()}
    device, options = api.pick_device(device), dict(options or {})
    jobs, left_out = [], []
    for name in _families_first([name for name, entry in entries.items() if entry.train is not None]):
        entry = entries[name]
        for seed in seeds_of(workspace, num_seeds):
            given = {**options, "seed": seed}
            context = api.context_of(entry.name, workspace, dataset, device=device, options=given)
            missing, extra = _missing(name, entry, context)
            if missing:
                reason = f"needs {' and '.join(missing)}, which these data do not hold".replace("_", " ")
                left_out.append(Outcome(name=name, seed=seed, status=SKIPPED, reason=reason))
                continue
            root = str(workspace.root)
            jobs.append(Job(root=root, name=name, seed=seed, device=device, options={**options, **extra}))
    return sorted(jobs, key=lambda job: job.seed), left_out


def _families_first(names: Sequence[str]) -> list[str]:
    families: dict[str, list[str]] = {}
    for name in names:
        families.setdefault(name.partition("-")[0], []).append(name)
    return [members[0] for members in families.values()] + [n for members in families.values() for n in members[1:]]


def _missing(name: str, entry: ModelEntry, context: LoadContext) -> tuple[list[str], Mapping[str, Any]]:
    """What the model reads and the data lack, and the options that it needs beyond those of the context."""
    if entry.needs is None:
        return [], {}
    missing = sorted(api.needs_of_training(name, context) - context.dataset.provides)
    if missing and entry.text_only:
        blind = LoadContext(**{**vars(context), "options": {**context.options, **entry.text_only}})
        if not api.needs_of_training(name, blind) - context.dataset.provides:
            return [], entry.text_only
    return missing, {}


def untrained(workspace: Workspace, dataset: Dataset, models: Sequence[str], outcomes: list[Outcome]) -> list[str]:
    """Names of models without weights and of the simple scorers that can be loaded; others are added to `outcomes`."""
    wanted = [name for name in models or api.catalog() if api.entry_of(name).train is None]
    found = []
    for name in dict.fromkeys([*wanted, *api.SCORERS]):
        try:
            api.load_model(name, workspace, dataset, device="cpu")
        except MissingInput as error:
            outcomes.append(Outcome(name=name, seed=workspace.settings.seed, status=SKIPPED, reason=error.what))
        else:
            found.append(name)
    return found


def train_all(jobs: Sequence[Job], *, num_workers: int | None = None) -> list[Outcome]:
    """Do the jobs in processes of one thread each, as many at a time as there are cores (one on a GPU).

    A model that cannot be trained on its data is skipped, one whose training fails is named; the others go on. The
    outcomes come in the order of the jobs.
    """
    if not jobs:
        return []
    alone = any(job.device != "cpu" for job in jobs)
    num_workers = min(num_workers or (1 if alone else available_cores()), len(jobs))
    for name, value in {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}.items():
        os.environ.setdefault(name, value)
    context = multiprocessing.get_context("spawn")  # a fresh process reads the thread count anew
    with (
        ProcessPoolExecutor(
            num_workers, mp_context=context, initializer=_begin_worker, initargs=(num_workers > 1,)
        ) as pool,
        progress(what="train", total=len(jobs), unit="model") as bar,
    ):
        futures = {pool.submit(_train, job): job for job in jobs}
        outcomes: dict[Job, Outcome] = {}
        try:
            for future in as_completed(futures):
                outcome = outcomes[futures[future]] = future.result()
                bar.update()
                cost = f"{outcome.wall_seconds:.0f} s, {outcome.cpu_seconds:.0f} CPU seconds"
                say(f"{outcome.status} {outcome.name}, seed {outcome.seed}: {outcome.reason or cost}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [outcomes[job] for job in jobs]


def _begin_worker(quiet: bool) -> None:
    end_with_parent()
    if quiet:  # the bars of several processes would write over each other
        os.environ[NO_BARS] = "1"
    import torch

    torch.set_num_threads(1)


def _train(job: Job) -> Outcome:
    workspace = Workspace.open(job.root)
    folder = workspace.checkpoint_dir(job.name)
    options = {**job.options, "seed": job.seed}
    begin, begin_cpu = time.monotonic(), time.process_time()
    status, reason, before = TRAINED, "", None
    try:
        dataset = Dataset.open(job.root)
        name = api.entry_of(job.name).name
        context = api.context_of(name, workspace, dataset, device=job.device, options=options, label=job.label)
        folder = context.checkpoint
        before = _written(folder)
        api.train_model(job.name, workspace, dataset, device=job.device, options=options, label=job.label)
    except UsageError:
        raise  # a wrong option: the user's to mend, before any more work
    except MissingInput as error:
        status, reason = SKIPPED, error.what
    except VideochatError as error:
        status, reason = FAILED, str(error)
    else:
        status = CURRENT if before is not None and before == _written(folder) else TRAINED
    return Outcome(
        name=job.title or job.label or job.name,
        seed=job.seed,
        status=status,
        reason=reason,
        options={name: value for name, value in job.options.items() if name == "use_video"},
        cpu_seconds=time.process_time() - begin_cpu,
        wall_seconds=time.monotonic() - begin,
    )


def _written(folder: Path) -> int | None:
    """When the checkpoint in the folder was finished, None if it has none."""
    path = folder / "training.json"
    return path.stat().st_mtime_ns if path.is_file() else None
