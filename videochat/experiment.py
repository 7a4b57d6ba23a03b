"""An experiment from end to end: train the variants, rank them, draw the conclusion, write the page.

    folder, result = run_experiment(Workspace.open("videochat-data"), "pooling", num_seeds=3)

Trainings are those of `videochat.zoo`: several at a time, resumed where they stopped, checkpoints shared with equal
variants of other experiments. It belongs to the outermost layer, like `videochat.api`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import api
from .commenter import view
from .dataset import Dataset
from .errors import MissingInput, UsageError, VideochatError
from .files import digest_json
from .progress import say
from .workspace import Workspace
from .zoo import Job, Outcome, seeds_of, train_all

if TYPE_CHECKING:
    from .benchmark.experiments.conclude import Ranked
    from .benchmark.experiments.declared import Experiment, Variant

SIGN_CLIPS = 200  # test clips that the baseline writes a comment for
KNOWING = ("sfat-knowledge", "klvcg-style")  # models that read facts
WORLD_RECORDINGS, WORLD_MINUTES = 60, 12.0  # of a simulated world with a dial: as the demo's


def run_experiment(
    workspace: Workspace,
    name: str,
    *,
    num_seeds: int = 3,
    device: str = "auto",
    options: Mapping[str, Any] | None = None,
    num_workers: int | None = None,
    world_recordings: int = WORLD_RECORDINGS,
) -> tuple[Path, dict[str, Any]]:
    """Run the experiment with the seeds s, s + 1, ... of the workspace's seed; returns its folder and its figures.

    options: settings of every training ("epochs", "size"). world_recordings: how many are simulated for each value of a
    dial. The caller holds the workspace's lock. Raises UsageError for an unknown name, MissingInput if the data lack
    what the experiment needs, VideochatError if a training fails.
    """
    from .benchmark.experiments.conclude import Ranked, conclude
    from .benchmark.experiments.declared import EXPERIMENTS
    from .benchmark.experiments.page import write_page

    experiment = EXPERIMENTS[name]
    device, options = api.pick_device(device), dict(options or {})
    check_options(experiment, options)
    folder = workspace.root / "experiments" / name
    worlds: dict[float | None, Workspace] = {}
    for rate in dict.fromkeys(variant.world for variant in experiment.variants):
        worlds[rate] = (
            workspace if rate is None else simulated_world(workspace, folder, rate, num_recordings=world_recordings)
        )
    for each in worlds.values():
        check_needs(experiment, Dataset.open(each.root))
    jobs = [
        Job(
            root=str(worlds[variant.world].root),
            name=variant.model,
            label=checkpoint_label(variant, given(variant, options)),
            title=variant.label,
            seed=seed,
            device=device,
            options={**given(variant, options), **variant.options},
        )
        for seed in seeds_of(workspace, num_seeds)
        for variant in experiment.variants
    ]
    outcomes = dict(zip(jobs, train_all(jobs, num_workers=num_workers), strict=True))
    skipped = _skipped(experiment, jobs, outcomes)
    ranked: list[Ranked] = []
    for rate, each in worlds.items():
        runs = []
        for seed in seeds_of(workspace, num_seeds):
            variants = [v for v in experiment.variants if v.world == rate and v.label not in skipped]
            if variants:
                runs.append(_rank(each, name, variants, options=options, seed=seed, device=device))
        if runs:
            ranked.append(Ranked(world=rate, runs=runs))
    if not ranked:
        raise MissingInput("no variant is left to rank", fix="; ".join(f"{k}: {v}" for k, v in skipped.items()))
    result = conclude(experiment, ranked, skipped=skipped)
    result["settings"] = options
    if None not in worlds:
        result["world_recordings"] = world_recordings
    baseline = experiment.variant(experiment.pairs[0][0])
    if baseline.label not in skipped:
        result["signs"] = _signs(worlds[baseline.world], baseline, result, options=options, device=device)
    write_page(folder, result)
    return folder, result


def check_options(experiment: Experiment, options: Mapping[str, Any]) -> None:
    """Raises UsageError for an option that the experiment itself turns: its labels would no longer be true."""
    for option in options:
        if option in experiment.turned:
            raise UsageError(
                f"the variants of experiment {experiment.name} differ in {option}", fix=f"leave --set {option}=... out"
            )
        if option == "seed":
            raise UsageError("an experiment trains with several seeds", fix="leave --set seed out, and pass --seeds N")


def check_needs(experiment: Experiment, dataset: Dataset) -> None:
    """Raises MissingInput if the data lack what the experiment is about."""
    if missing := sorted(experiment.needs - dataset.provides):
        transcripts = "run `videochat transcribe` and `videochat build`"
        if dataset.simulated:  # their videos have no sound
            transcripts = (
                f"simulate it: `python -m videochat.sample.speech --data {dataset.root} --say colour --out speech`, "
                "then `videochat transcribe --from speech` and `videochat build`"
            )
        fixes = {"transcript": transcripts}
        raise MissingInput(
            f"experiment {experiment.name} needs {', '.join(missing)}, which these data do not hold",
            fix=fixes.get(missing[0], "run `videochat build-features` and `videochat build`"),
        )


def given(variant: Variant, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of every training that this variant takes: a file of facts is for models that read knowledge."""
    reads = variant.model in KNOWING or variant.options.get("knowledge", "off") != "off"
    return {name: value for name, value in options.items() if name != "facts" or reads}


def checkpoint_label(variant: Variant, options: Mapping[str, Any]) -> str:
    """The checkpoint folder of a variant: that of the model itself where nothing is varied, so that it is shared."""
    if not variant.options and not options:
        return ""
    return f"{variant.model}-{digest_json([dict(variant.options), dict(options)])[:8]}"


def simulated_world(workspace: Workspace, folder: Path, rate: float, *, num_recordings: int) -> Workspace:
    """A workspace under the experiment's folder whose chat refers to the screen in this share of the clips."""
    from .build import build
    from .cleaning.run import clean
    from .frames.features import build_features
    from .sample.generate import generate
    from .sample.world import WorldSpec

    if not Dataset.open(workspace.root).simulated:
        raise UsageError(
            "this experiment turns a dial of simulated worlds", fix="run it in a workspace made by `videochat sample`"
        )
    settings = workspace.settings
    world = Workspace.open(
        folder / f"rate-{rate:g}",
        create=True,
        seed=settings.seed,
        clip="sample",
        split_fractions=settings.split_fractions,
    )
    with world.lock():
        if (held := len(world.recordings())) > num_recordings:
            raise UsageError(
                f"{world.root} holds {held} simulated recordings, {num_recordings} are asked for",
                fix=f"remove {folder}, or pass --world-recordings {held}",
            )
        spec = dataclasses.replace(WorldSpec(), reference_rate=rate)
        generate(world, num_recordings=num_recordings, minutes=WORLD_MINUTES, spec=spec)
        clean(world)
        build_features(world, device="auto")
        build(world)
        api.candidates(Dataset.open(world.root))
    return world


def _skipped(experiment: Experiment, jobs: Sequence[Job], outcomes: Mapping[Job, Outcome]) -> dict[str, str]:
    """Label -> why it was not trained. Raises VideochatError if a training failed."""
    found = {}
    for job, variant in zip(jobs, itertools.cycle(experiment.variants), strict=False):
        outcome = outcomes[job]
        if outcome.status == "failed":
            raise VideochatError(f"{variant.label}: {outcome.reason}", fix="mend that, then run this again")
        if not outcome.ranked:
            found[variant.label] = outcome.reason
    return found


def _rank(
    workspace: Workspace,
    name: str,
    variants: Sequence[Variant],
    *,
    options: Mapping[str, Any],
    seed: int,
    device: str,
) -> Any:
    from .benchmark.ranker import bench
    from .benchmark.scorers.entrant import Entrant

    dataset = Dataset.open(workspace.root)
    sets = api.candidates(dataset)
    entrants = []
    for variant in variants:
        commenter = _load(workspace, dataset, variant, options=options, seed=seed, device=device)
        entrants.append(dataclasses.replace(Entrant.of(commenter), kind="model", trained=True, seed=seed))
    say(f"rank {len(entrants)} variants, seed {seed}")
    return bench(
        workspace, dataset, sets, entrants, seed=workspace.settings.seed, extra={"experiment": name, "training": seed}
    )


def _load(
    workspace: Workspace, dataset: Dataset, variant: Variant, *, options: Mapping[str, Any], seed: int, device: str
) -> Any:
    commenter = api.load_model(
        variant.model,
        workspace,
        dataset,
        device=device,
        options={**given(variant, options), **variant.options, "seed": seed},
        label=checkpoint_label(variant, given(variant, options)),
    )
    commenter.name = variant.label
    return commenter


def _signs(
    workspace: Workspace, variant: Variant, result: Mapping[str, Any], *, options: Mapping[str, Any], device: str
) -> list[dict[str, Any]]:
    """The failure signatures of the baseline's first seed, on test clips."""
    from .benchmark.experiments import signs
    from .generate import Decoding, generate_comments

    dataset = Dataset.open(workspace.root)
    views = [view(clip) for clip in dataset.clips("test")]
    facts = next((row["weights"] for row in result["variants"] if row["label"] == variant.label), None)
    found = [signs.uniform_weights(facts), signs.sparse_chat(views), signs.off_topic_chat(views)]
    commenter = _load(workspace, dataset, variant, options=options, seed=workspace.settings.seed, device=device)
    if callable(getattr(commenter, "generate", None)):
        step = max(1, len(views) // SIGN_CLIPS)
        written = generate_comments(commenter, views[::step][:SIGN_CLIPS], Decoding())
        found.append(signs.generic_replies([row.comment for row in written]))
    return [sign for sign in found if sign is not None]
