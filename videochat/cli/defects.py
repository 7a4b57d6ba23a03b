"""`defects`: what each defect of the released evaluation is worth on data at hand, and the page that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import api
from ..dataset import Dataset
from ..errors import MissingInput, UsageError
from ..files import digest_json, read_json, write_json, write_text
from ..workspace import Workspace
from .bench import _options, model_option, seed_option, set_option
from .options import data_option, device_option, dry_run_option, emit, emit_plan, example, json_option
from .released import NAME, load_released, training_options

if TYPE_CHECKING:
    from ..benchmark.released.clips import ReleasedDataset
    from ..benchmark.released.defects import Model
    from ..benchmark.released.protocol import ReleasedProtocol
    from ..commenter import Commenter

FILE = "defects.json"  # in the workspace; it holds figures alone


@click.command()
@data_option
@model_option("A model to train and rank beside the simple scorers; may be given several times.")
@device_option
@seed_option
@set_option
@click.option("--limit", type=click.IntRange(min=2), metavar="N", help="Test at most N clips.")
@click.option(
    "--page", type=click.Path(path_type=Path, dir_okay=False), help="Write this page from measured FILES; measure none."
)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@dry_run_option
@json_option
@example(
    "videochat defects --model sfat-released --set epochs=6\n"
    "videochat defects --page docs/defects.md simulated/defects.json real/defects.json"
)
def defects(
    data: Path,
    models: tuple[str, ...],
    device: str,
    seed: int | None,
    settings: tuple[str, ...],
    limit: int | None,
    page: Path | None,
    files: tuple[Path, ...],
    dry_run: bool,
    as_json: bool,
) -> int:
    """Measure what each defect of the released evaluation is worth.

    Each switch of protocol released-2025 is mended alone, on the same clips and models; the figures go to defects.json
    of the workspace. A model is trained up to five times: as released, with the context as it was said, with the frames
    before the answers, on the clean split, and with all of it mended. Killed and run again, the trainings go on.
    """
    from videochat.benchmark.released.defects import Halves, measure
    from videochat.benchmark.released.defects_page import to_text
    from videochat.benchmark.released.protocol import SWITCHES

    if page is not None:
        return _page(page, files, dry_run=dry_run, as_json=as_json)
    if files:
        raise UsageError(f"{files[0]} is not taken here", fix="pass --page PAGE before the files")
    workspace = Workspace.open(data)
    dataset = Dataset.open(workspace.root)
    names = tuple(dict.fromkeys(models))
    for name in names:
        api.trained_entry(name)  # an unknown name is said before any work
    api.pick_device(device)
    chosen = workspace.settings.seed if seed is None else seed
    if dry_run:
        halves = Halves.of(dataset, seed=chosen, limit=limit)
        plan = {"switches": len(SWITCHES), "models": ", ".join(names), "test_clips": len(halves.tested)}
        emit_plan("defects", plan, as_json)
        return 0
    with workspace.lock():
        switched = [_model(name, workspace, device, _options(settings, seed)) for name in names]
        measured = measure(workspace, dataset, switched, seed=chosen, limit=limit)
        measured["settings"] = list(settings)
        path = workspace.root / FILE
        write_json(path, measured)
    emit(measured, as_json, f"{to_text(measured)}\n\nwrote {path}; `videochat defects --page PAGE.md {path}` shows it")
    return 0


def _page(page: Path, files: Sequence[Path], *, dry_run: bool, as_json: bool) -> int:
    from videochat.benchmark.released.defects_page import NEEDED, to_markdown

    if not files:
        raise UsageError("--page needs measured files", fix=f"run `videochat defects` and pass its {FILE}")
    for path in files:
        if not path.is_file():
            raise MissingInput(f"there is no file {path}", fix="run `videochat defects` first")
    again = "run `videochat defects` again"
    measured = [read_json(path, needs=NEEDED, fix=again) for path in files]
    if dry_run:
        emit_plan("defects", {"page": str(page), "files": len(files)}, as_json)
        return 0
    write_text(page, to_markdown(measured))
    emit({"page": str(page)}, as_json, f"page    {page}")
    return 0


def _model(name: str, workspace: Workspace, device: str, options: dict[str, Any]) -> Model:
    """The model, trained once for each way of showing it clips, loaded once for each way of scoring."""
    from videochat.benchmark.released.defects import Model

    known: dict[tuple[Any, ...], Commenter] = {}

    def make(protocol: ReleasedProtocol, data: ReleasedDataset) -> Commenter:
        trained = {**training_options(name, protocol), **options}
        suffix = f"{NAME}-{digest_json([data.digest, trained])[:8]}"
        key = (suffix, protocol.scoring, protocol.candidate_tokens)
        if key not in known:
            known[key] = load_released(
                name, workspace, data, protocol, device=device, train=True, options=options, suffix=suffix
            )
        return known[key]

    return Model(name=name, make=make, pieces=_pieces)


def _pieces(commenter: Any, text: str) -> tuple[int, ...]:
    """All word pieces of a text, as the model's tokenizer cuts it, without begin and end."""
    trained = getattr(commenter, "trained", commenter)
    return tuple(trained.collator.encode(text, (), 10_000)[1:-1])
