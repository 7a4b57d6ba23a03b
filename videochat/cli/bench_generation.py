"""`bench-generation`: comments that models write, measured against what people said."""

from __future__ import annotations

from pathlib import Path

import click

from .. import api
from ..dataset import Dataset
from ..errors import UsageError
from ..generate import METHODS, Decoding
from ..schema import SPLITS
from ..workspace import Workspace
from .options import data_option, device_option, dry_run_option, emit, emit_plan, example, json_option


@click.command("bench-generation")
@data_option
@click.option("--model", "models", multiple=True, help="A model that writes; may be given several times.")
@click.option(
    "--comments",
    "files",
    multiple=True,
    metavar="NAME=FILE",
    help="Comments of any other code: JSON lines with clip_id and comment.",
)
@click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True, help="The clips to write for.")
@click.option("--method", type=click.Choice(METHODS), default="greedy", show_default=True, help="How to decode.")
@click.option("--temperature", type=float, help="Of sampling.  [default: 1]")
@click.option("--top-p", type=float, help="Sample among tokens of so much probability.  [default: all]")
@click.option("--beams", type=int, help="Width of the beam search.  [default: 4]")
@click.option("--max-tokens", type=int, default=20, show_default=True, help="The longest comment, in tokens.")
@click.option("--seed", type=int, help="Seed of the training whose checkpoint is taken.  [default: the workspace's]")
@device_option
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Take the first N clips.")
@dry_run_option
@json_option
@example(
    "videochat bench-generation --model sfat --model sfat-text\n"
    "videochat bench-generation --comments mine=comments.jsonl"
)
def bench_generation(
    data: Path,
    models: tuple[str, ...],
    files: tuple[str, ...],
    split: str,
    method: str,
    temperature: float | None,
    top_p: float | None,
    beams: int | None,
    max_tokens: int,
    seed: int | None,
    device: str,
    limit: int | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Measure the comments that models write.

    BLEU, ROUGE-L, CIDEr-D and METEOR against several references, variety, copies from the context, and how surprised
    the model is by what people wrote. Three anchor rows show what a person, the most popular comment and a copy of
    the last one get. Comments and figures are kept in the workspace under generated/.
    """
    from videochat.benchmark.generation.assess import to_text

    workspace = Workspace.open(data)
    dataset = Dataset.open(workspace.root)
    names = tuple(dict.fromkeys(models)) or (() if files else ("sfat",))
    for name in names:
        api.entry_of(name)  # an unknown name is said before any work
    decoding = Decoding(method=method, max_new_tokens=max_tokens, temperature=temperature, top_p=top_p, beams=beams)
    given: dict[str, Path] = {}
    for name, path in map(_named, files):
        if name in given:
            raise UsageError(f"two files of comments are called {name}", fix="give each its own name")
        given[name] = path
    if dry_run:
        rows = next((row["clips"] for row in dataset.manifest["per_split"] if row["split"] == split), 0)
        clips = rows if limit is None else min(rows, limit)
        emit_plan("bench-generation", {"models": ", ".join([*names, *given]), "clips": clips}, as_json)
        return 0
    with workspace.lock():
        folder, result = api.evaluate_generation(
            names,
            dataset,
            decoding=decoding,
            files=given,
            split=split,
            device=device,
            options={} if seed is None else {"seed": seed},
            limit=limit,
        )
    text = to_text(result, simulated=dataset.simulated) + f"\n\nkept in {folder}"
    emit({"folder": str(folder), **result}, as_json, text)
    return 0


def _named(pair: str) -> tuple[str, Path]:
    name, equals, path = pair.partition("=")
    if not equals or not name or not path:
        raise UsageError(f"--comments {pair!r} names no file", fix="write --comments mine=comments.jsonl")
    return name, Path(path)
