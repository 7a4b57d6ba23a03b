"""The Python API: three functions for those who never use the command line, and what the command line shares.

    data = load("videochat-data")
    sets = candidates(data, protocol="v1")
    run = evaluate("sfat", data, sets)
    run.metrics()

This module and `videochat.cli` are the outermost layer: they alone bring the benchmark and the models together.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .commenter import MODELS as MODELS
from .commenter import Chooser, Commenter, LoadContext, ModelEntry, view
from .dataset import Dataset
from .errors import Damaged, Mismatch, MissingInput, UsageError
from .files import digest_json, write_json, write_text
from .schema import slug
from .user_model import is_user_model, user_entry
from .workspace import Workspace

if TYPE_CHECKING:
    from .benchmark.candidates.sets import CandidateSets
    from .benchmark.runs.run import Run
    from .generate import Decoding


def load(root: Path | str = "videochat-data") -> Dataset:
    """The dataset of a workspace (or of any folder with a dataset.json)."""
    return Dataset.open(root)


def candidates(dataset: Dataset, protocol: str = "v1", *, k: int | Sequence[int] | None = None) -> CandidateSets:
    """The frozen candidate sets of a protocol, with `k` candidates a clip (or sets of several sizes).

    Without `k` those that are there are taken, whatever their k; if there are none, the protocol's default is built.
    """
    from .benchmark.candidates.build import build_candidates, load_candidates

    workspace = Workspace.open(dataset.root)
    if k is not None:
        return build_candidates(workspace, dataset, protocol, k=k)
    try:
        return load_candidates(workspace, dataset, protocol)
    except (MissingInput, Mismatch):  # none yet, or of shards that are no more
        return build_candidates(workspace, dataset, protocol)


def evaluate(
    models: str | Commenter | Chooser | Sequence[str | Commenter | Chooser],
    dataset: Dataset,
    sets: CandidateSets | None = None,
    *,
    scores: Mapping[str, Path | str] | None = None,
    device: str = "auto",
    train: bool = False,
    options: dict[str, Any] | None = None,
    limit: int | None = None,
    allow_failed_audit: bool = False,
) -> Run:
    """Rank models, together with the simple scorers, on candidate sets (default: protocol v1's).

    models: names of the registry (`videochat bench --help` lists them), "path/to/file.py:MyModel" for a class of your
    own (see `videochat.user_model`), or Commenter objects; objects with `rank(clip, texts)` instead of `score` are
    asked in several orders. scores: name -> scores file that other code computed. train: train what has no
    checkpoint; without it that is an error which names the `train` line. options: settings of the training
    ("seed", ...). limit: clips of each split (for a try).
    allow_failed_audit: rank although a golden scorer or a shortcut is off; the table then says so.
    """
    from .benchmark.outside.score_entrant import ScoreEntrant
    from .benchmark.ranker import bench
    from .benchmark.scorers.entrant import Entrant

    if scores and limit is not None:
        raise UsageError("a scores file is ranked whole", fix="leave --limit out")
    for label in scores or {}:
        if label in catalog():
            raise UsageError(f"{label!r} is a model of the registry", fix="give the scores another --name")
    workspace = Workspace.open(dataset.root)
    wanted = [models] if isinstance(models, str) or not isinstance(models, Sequence) else list(models)
    sets = sets if sets is not None else candidates(dataset)
    entrants: list[Commenter | Chooser | Entrant] = []
    for name in wanted:
        if not isinstance(name, str):
            entrants.append(name)
            continue
        commenter = load_model(name, workspace, dataset, device=device, train=train, options=options)
        entry = entry_of(name)
        given = Entrant.of(commenter)
        if is_user_model(name):  # what the registry cannot say of it
            trained = entry.train is not None
            given = dataclasses.replace(given, kind="model", summary=entry.summary, trained=trained)
        entrants.append(given)
    return bench(
        workspace,
        dataset,
        sets if limit is None else sets.first(limit),
        entrants,
        scored=[ScoreEntrant.read(path, name=name) for name, path in (scores or {}).items()],
        seed=workspace.settings.seed,
        allow_failed_audit=allow_failed_audit,
        extra={} if limit is None else {"limit": limit},
    )


def evaluate_generation(
    models: Sequence[str],
    dataset: Dataset,
    *,
    decoding: Decoding | None = None,
    files: Mapping[str, Path] | None = None,
    split: str = "test",
    device: str = "auto",
    options: dict[str, Any] | None = None,
    limit: int | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Let models write a comment for each clip of `split`, and measure them with those of `files` (name -> JSON lines).

    Returns the folder generated/<digest> with comments-<model>.jsonl, metrics.json and table.txt, and the content of
    metrics.json (see `videochat.benchmark.generation.assess`).
    """
    from .benchmark.generation.assess import assess, perplexity, to_text
    from .benchmark.generation.comments_file import read_comments, write_comments
    from .benchmark.generation.material import Material
    from .generate import Decoding, generate_comments

    workspace = Workspace.open(dataset.root)
    seed = workspace.settings.seed
    decoding = decoding or Decoding()
    material = Material.read(dataset, split, seed=seed, limit=limit)
    wanted = set(material.clip_ids)
    views = [view(clip) for clip in dataset.clips(split) if clip.clip_id in wanted]
    written = {name: read_comments(Path(path), material.clip_ids) for name, path in (files or {}).items()}
    perplexities, digests = {}, {}
    for name in models:
        commenter = load_model(name, workspace, dataset, device=device, options=options)
        if commenter.name in written:
            raise UsageError(f"two rows are called {commenter.name}", fix="give each its own name")
        written[commenter.name] = [row.comment for row in generate_comments(commenter, views, decoding)]
        if isinstance(commenter, Commenter):  # one that only chooses has no likelihoods
            perplexities[commenter.name] = perplexity(commenter, views, material.references)
        digests[commenter.name] = getattr(commenter, "checkpoint_digest", None)
    facts = {
        "data_digest": dataset.digest,
        "split": split,
        "limit": limit,
        "seed": seed,
        "decoding": dataclasses.asdict(decoding),
        "checkpoints": digests,
        "tool": __version__,
    }
    result = {**facts, **assess(written, material, perplexities=perplexities, seed=seed)}
    folder = workspace.root / "generated" / digest_json([facts, written])[:12]
    for name, comments in written.items():
        write_comments(folder / f"comments-{slug(name)}.jsonl", material.clip_ids, comments)
    write_text(folder / "table.txt", to_text(result, simulated=dataset.simulated) + "\n")
    write_json(folder / "metrics.json", result)
    return folder, result


SCORERS = ("random", "constant", "length", "popularity", "tfidf")  # ranked beside every model


def catalog() -> Mapping[str, ModelEntry]:
    """All models and scorers by name, in the order they are printed."""
    for module in ("videochat.benchmark.scorers.baselines", "videochat.models.catalog", "videochat.sample.ceiling"):
        importlib.import_module(module)  # each registers what it holds
    return MODELS


def entry_of(name: str) -> ModelEntry:
    """The entry of a name of the registry, or of a class in a file ("path/to/file.py:MyModel")."""
    known = catalog()
    return user_entry(name, taken=known) if is_user_model(name) else known[name]


def context_of(
    name: str, workspace: Workspace, dataset: Dataset, *, device: str, options: dict[str, Any], label: str = ""
) -> LoadContext:
    """Where a model of the registry finds its checkpoint. A seed other than the workspace's has a folder of its own.

    label: the folder of a variant of the model, such as "experiment-pooling-max".
    """
    options = dict(options)
    seed = int(options.pop("seed", workspace.settings.seed))
    folder = label or name
    folder = folder if seed == workspace.settings.seed else f"{folder}-seed{seed}"
    return LoadContext(
        workspace=workspace,
        dataset=dataset,
        checkpoint=workspace.checkpoint_dir(folder),
        device=pick_device(device),
        seed=seed,
        options=options,
    )


def load_model(
    name: str,
    workspace: Workspace,
    dataset: Dataset,
    *,
    device: str = "auto",
    train: bool = False,
    options: dict[str, Any] | None = None,
    label: str = "",
) -> Commenter | Chooser:
    """The Commenter `name`; with `train`, trained first if it has no checkpoint. label: see `context_of`."""
    entry = entry_of(name)
    context = context_of(entry.name, workspace, dataset, device=device, options=options or {}, label=label)
    try:
        return entry.load(context)
    except (MissingInput, Mismatch, Damaged):  # no checkpoint, one of other data, or one that is not whole
        if not train or entry.train is None:
            raise
    entry.train(context)
    return entry.load(context)


def trained_entry(name: str) -> ModelEntry:
    """The entry of a model that can be trained. Raises UsageError for an unknown name and for a scorer."""
    entry = entry_of(name)
    if entry.train is None and is_user_model(name):
        raise UsageError(f"{name} has no method train", fix="add `@staticmethod def train(context)`, or just bench it")
    if entry.train is None:
        trained = ", ".join(key for key, value in MODELS.items() if value.train is not None)
        raise UsageError(f"{name} is not a trained model", fix=f"choose one of {trained}")
    return entry


def needs_of_training(name: str, context: LoadContext) -> frozenset[str]:
    """What training the model with the context's options reads of a dataset, as far as its entry tells.

    Raises UsageError for an option that it does not know, with the model's name: several may be given the same ones.
    """
    entry = entry_of(name)
    try:
        return frozenset() if entry.needs is None else entry.needs(context)
    except UsageError as error:
        raise UsageError(f"{name}: {error.what}", fix=error.fix) from error


def train_model(
    name: str,
    workspace: Workspace,
    dataset: Dataset,
    *,
    device: str = "auto",
    options: dict[str, Any] | None = None,
    label: str = "",
) -> Path:
    """Train `name` on train, selecting on dev alone; returns its checkpoint folder. label: see `context_of`."""
    entry = trained_entry(name)
    assert entry.train is not None
    context = context_of(entry.name, workspace, dataset, device=device, options=options or {}, label=label)
    entry.train(context)
    return context.checkpoint


def pick_device(device: str) -> str:
    """ "auto" -> "cuda" where there is one, else "cpu". Raises UsageError for cuda where there is none."""
    if device == "cpu":
        return device
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise UsageError("no CUDA device is usable here", fix="pass --device cpu, or auto to take what there is")
    return "cpu"
