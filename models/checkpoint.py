"""Checkpoints: a folder that transformers reads, with what it was trained on beside the weights.

    config.json model.safetensors tokenizer.json tokenizer_config.json     from_pretrained reads these
    training.json     data digest, CLIP fingerprint, seed, settings, versions, recordings seen, result
    training.jsonl    one line an epoch     README.md    the model card, written from the run

A checkpoint is refused where its features would mean something else, or where it has seen recordings that the
dataset at hand would test it on.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videochat.errors import Damaged, Mismatch, MissingInput
from videochat.files import damaged, digest_file, read_json, write_json, write_text

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from videochat.commenter import LoadContext
    from videochat.dataset import Dataset

FORMAT = 1
INFO = "training.json"
FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")  # what loading reads
NEEDED = ("clip_dim", "clip_fingerprint", "data_digest", "needs", "seed", "train_recordings")
TOOLS = {"tool", "open_clip", "decoder", "precision", "version"}  # of a fingerprint: what may differ by rounding only


def clip_fingerprint(dataset: Dataset) -> dict[str, Any] | None:
    """Which CLIP made the dataset's features; None in a text-only dataset."""
    value = dataset.manifest.get("clip_fingerprint")
    return dict(value) if value else None


def recordings_of(dataset: Dataset, *splits: str) -> list[str]:
    found: set[str] = set()
    for split in splits:
        found.update(dataset.table(split, columns=["recording_id"])["recording_id"].to_pylist())
    return sorted(found)


def write(
    folder: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    info: dict[str, Any],
    log: list[dict[str, Any]],
    card: str,
) -> None:
    """Fill the folder; training.json comes last, so a checkpoint that has it is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in (folder / INFO, *(folder / name for name in FILES)):
        if path.is_dir():  # some accident's; nothing of ours
            shutil.rmtree(path)
    (folder / INFO).unlink(missing_ok=True)
    with quiet():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # safetensors makes it readable by its owner alone
    write_text(folder / "training.jsonl", "".join(json.dumps(row, sort_keys=True) + "\n" for row in log))
    write_text(folder / "README.md", card)
    files = {name: digest_file(folder / name) for name in FILES if (folder / name).is_file()}
    write_json(folder / INFO, {**info, "files": files})


@contextmanager
def quiet() -> Iterator[None]:
    """transformers without its progress bars, which would come up even where stderr is no terminal."""
    from transformers.utils import logging

    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()


def read_info(folder: Path, *, fix: str = "") -> dict[str, Any] | None:
    """training.json, or None where training has not ended. Raises Damaged, with `fix`, if a file has changed since."""
    path = folder / INFO
    if not path.is_file():
        return None
    info = read_json(path, needs=NEEDED, fix=fix)
    for name, digest in info.get("files", {}).items():
        if not (folder / name).is_file() or digest_file(folder / name) != digest:
            raise damaged(folder / name, "it is missing or was changed after the training", fix)
    return dict(info)


def is_current(folder: Path, stamp: str) -> bool:
    """Whether the folder holds a whole checkpoint of exactly these data and settings."""
    try:
        return (read_info(folder) or {}).get("stamp") == stamp
    except Damaged:
        return False


def train_line(name: str, context: LoadContext) -> str:
    """What makes the checkpoint that `context` looks for."""
    own = context.checkpoint == context.workspace.checkpoint_dir(name)
    return f"run `videochat train --model {name}{'' if own else f' --seed {context.seed}'}`"


def find(context: LoadContext, name: str, *, bundled: Path | None = None) -> tuple[Path, dict[str, Any]]:
    """The checkpoint to load for the dataset at hand: the workspace's own, else the bundled one where it fits.

    Raises MissingInput if there is none, Mismatch if it must not be used here, Damaged if it is not whole; all name the
    `train` line.
    """
    dataset = context.dataset
    info = read_info(context.checkpoint, fix=train_line(name, context))
    if info is not None:
        if info["data_digest"] != dataset.digest and not context.options.get("allow_other_data"):
            raise Mismatch(
                f"the checkpoint of {name} was trained on data {info['data_digest'][:8]}, these are "
                f"{dataset.digest[:8]}",
                fix=train_line(name, context),
            )
        check_fits(
            name,
            info,
            dataset,
            train_line(name, context),
            may_have_seen=bool(context.options.get("allow_seen_recordings")),
        )
        return context.checkpoint, info
    standard = context.checkpoint == context.workspace.checkpoint_dir(name)  # not a seed of its own
    info = None if bundled is None or not standard else read_info(bundled)
    sample = dataset.simulated and all(recording.simulated for recording in context.workspace.recordings())
    if bundled is None or info is None or not sample or dataset.dim is None:
        raise MissingInput(f"{name} has no checkpoint in {context.checkpoint}", fix=train_line(name, context))
    check_fits(name, info, dataset, train_line(name, context))
    return bundled, info


def check_fits(name: str, info: dict[str, Any], dataset: Dataset, fix: str, *, may_have_seen: bool = False) -> None:
    """Raise Mismatch if features differ in meaning, or if dev or test recordings were trained on.

    may_have_seen: the latter is wanted, to measure what such a leak is worth (protocol released-2025).
    """
    if info["needs"]:
        theirs, ours = info["clip_fingerprint"], clip_fingerprint(dataset)
        if info["clip_dim"] != dataset.dim or meaning(theirs) != meaning(ours):
            raise Mismatch(
                f"{name} was trained on features of {_named(theirs)}, these are of {_named(ours)}",
                fix=fix,
            )
    seen = set(info["train_recordings"]) & set(recordings_of(dataset, "dev", "test"))
    if seen and not may_have_seen:
        raise Mismatch(
            f"{name} was trained on {len(seen)} of the recordings that this dataset would test it on",
            fix=fix,
        )


def meaning(fingerprint: dict[str, Any] | None) -> dict[str, Any] | None:
    """The part of a fingerprint that says what a feature means: weights, tokenizer and preprocessing, not the tools."""
    if fingerprint is None:
        return None
    tools = TOOLS | ({"model"} if fingerprint.get("weights") else set())  # the weights' digest says more than a name
    return {key: value for key, value in fingerprint.items() if key not in tools}


def _named(fingerprint: dict[str, Any] | None) -> str:
    if not fingerprint:
        return "no CLIP"
    return ", ".join(f"{key} {str(value)[:12]}" for key, value in sorted(fingerprint.items())[:4])
