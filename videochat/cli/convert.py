"""`convert-checkpoint`: weights of the authors' released code as a checkpoint of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..errors import MissingInput, UsageError
from ..workspace import Workspace
from .options import data_option, dry_run_option, emit, emit_plan, example, json_option

MODEL = "sfat-released"


@click.command("convert-checkpoint")
@click.argument("source", type=click.Path(path_type=Path, dir_okay=False))
@data_option
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help=f"The folder.  [default: {MODEL} of the workspace]"
)
@click.option(
    "--tokenizer",
    default="prajjwal1/bert-mini",
    show_default=True,
    help="The word pieces of the weights: a vocab.txt, a folder with one, or a name on the hub.",
)
@click.option(
    "--text-tower",
    type=click.Choice(["tuned", "frozen", "stored"]),
    help="CLIP's text tower in the weights: go on training it, freeze it, or leave it out and read the stored text "
    "features.  [default: tuned where there is one]",
)
@click.option(
    "--frame-norm",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Length of the frame vectors that the weights learnt on; the shards hold unit vectors. Raw ViT-B/32 vectors "
    "are 10.3 long.",
)
@click.option("--overwrite", is_flag=True, help="Replace a checkpoint that is there.")
@dry_run_option
@json_option
@example(
    "videochat convert-checkpoint checkpoint_0.0001_199e.pth --out converted\n"
    "videochat convert-checkpoint weights.safetensors --tokenizer bert-mini/vocab.txt"
)
def convert_checkpoint(
    source: Path,
    data: Path,
    out: Path | None,
    tokenizer: str,
    text_tower: str | None,
    frame_norm: float,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Convert weights with the parameter names of SFAT's released code.

    SOURCE is a safetensors file or a torch checkpoint, which is read weights-only: anything in it but tensors and plain
    containers is refused, and nothing in it is run. The result loads as --model sfat-released.
    """
    if not source.is_file():
        raise MissingInput(f"there is no file {source}", fix="give a .pth, .pt or .safetensors file")
    folder = out if out is not None else Workspace.open(data).checkpoint_dir(MODEL)
    if (folder / "training.json").exists() and not overwrite:
        raise UsageError(f"{folder} holds a checkpoint", fix="pass --overwrite, or another --out")
    if dry_run:
        emit_plan("convert-checkpoint", {"source": str(source), "folder": str(folder)}, as_json)
        return 0
    from ..models.sfat.convert import convert

    fields: dict[str, Any] = {} if text_tower is None else {"text_tower": text_tower}
    info = convert(source, folder, tokenizer=tokenizer, frame_norm=frame_norm, **fields)
    result = {"folder": str(folder), **{key: info[key] for key in ("model", "num_parameters", "needs", "converted")}}
    emit(result, as_json, f"{folder}: {info['model']}, {info['num_parameters']:,} parameters")
    return 0
