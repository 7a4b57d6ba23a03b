"""`import-dataset`: published data sets of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .data import _open_or_create
from .options import data_option, emit_summary, example, json_option, limit_option


class _Form(click.Argument):
    """Checked against the registry, which is loaded only when the command runs."""

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        from ..sources.published import importing  # noqa: F401  (registers the forms)
        from ..sources.published.stream import STREAMS

        return STREAMS[value].name


@click.command("import-dataset")
@click.argument("form", cls=_Form)
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@data_option
@click.option("--features", type=click.Path(path_type=Path), help="The folder of their frame features (.npy).")
@click.option(
    "--features-clip", default="ViT-B-32:openai", show_default=True, help="The encoder that made the features."
)
@click.option("--replace", is_flag=True, help="Replace recordings of the same id and other content.")
@limit_option
@json_option
@example(
    "videochat import-dataset livechat train.json test_with_candidates.json --features features\n"
    "videochat import-dataset livebot train.json dev.json test.json\n"
    "videochat import-dataset videoic VideoIC/data"
)
def import_dataset(
    form: str,
    files: tuple[Path, ...],
    data: Path,
    features: Path | None,
    features_clip: str,
    replace: bool,
    limit: int | None,
    as_json: bool,
) -> int:
    """Import a published data set of others.

    LiveChat 2023 / VideoChat 2025 (JSON of clips), LiveBot (JSON lines of comments by the second), VideoIC (its folder
    data/, or processed JSON lines, also MovieLC's of that form). What the files do not tell, such as authors and, in
    LiveChat, the times of comments, is written into each recording. Go on with clean, build-features and build.
    """
    from ..sources.published.importing import import_published

    workspace = _open_or_create(data)
    with workspace.lock():
        summary, facts = import_published(
            workspace, form, files, features=features, features_clip=features_clip, limit=limit, replace=replace
        )
    lines = [f"not in these files: {facts['unknown']}"]
    lines += [f"  {count:>9,} {name}" for name, count in facts["oddities"].items()]
    return emit_summary(summary, as_json, extra="\n".join(lines), facts=facts)
