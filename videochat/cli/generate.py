"""`generate`: a model writes comments for clips."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from .. import api
from ..clock import parse_ms
from ..commenter import ClipView
from ..dataset import Dataset
from ..errors import MissingInput, UsageError
from ..generate import METHODS, Decoding, chosen_clips, generate_comments
from ..moment import view_at
from ..progress import say
from ..schema import SPLITS, Clip
from ..workspace import Workspace
from .options import data_option, device_option, dry_run_option, emit, emit_plan, example, json_option

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@data_option
@click.option(
    "--model", default="sfat", show_default=True, help="A model that writes, by name or as path/to/file.py:MyModel."
)
@click.option("--split", type=click.Choice(SPLITS), help="The split to write for.  [default: test; any with --clip]")
@click.option("--clip", "clip_ids", multiple=True, metavar="ID", help="Just this clip; may be given several times.")
@click.option("--chat", type=FILE, help="Write for one moment of this chat, in any format that import reads.")
@click.option("--video", type=FILE, help="The video of --chat; all of its frames are embedded.")
@click.option("--at", metavar="TIME", help="The moment, such as 12:30 or 1:02:03.5.")
@click.option("--category", default="", help="The game or topic of --chat.")
@click.option("--offset-ms", type=int, default=0, show_default=True, help="Added to the times of --chat.")
@click.option("--method", type=click.Choice(METHODS), default="greedy", show_default=True, help="How to decode.")
@click.option("--max-tokens", type=int, default=20, show_default=True, help="The longest comment, in tokens.")
@click.option("--temperature", type=float, help="Of sampling.  [default: 1]")
@click.option("--top-k", type=int, help="Sample among so many tokens.  [default: all]")
@click.option("--top-p", type=float, help="Sample among tokens of so much probability.  [default: all]")
@click.option("--beams", type=int, help="Width of the beam search.  [default: 4]")
@click.option("--sampling-seed", type=int, default=0, show_default=True, help="Seed of sampling.")
@click.option("--seed", type=int, help="Seed of the training whose checkpoint is taken.  [default: the workspace's]")
@device_option
@click.option("--limit", type=click.IntRange(min=1), help="Write for at most N clips.")
@dry_run_option
@json_option
@example(
    "videochat generate --model sfat --limit 5\nvideochat generate --method sample --temperature 0.8 --json\n"
    "videochat generate --video vod.mp4 --chat chat.json --at 12:30 --category Minecraft"
)
def generate(
    data: Path,
    model: str,
    split: str | None,
    clip_ids: tuple[str, ...],
    chat: Path | None,
    video: Path | None,
    at: str | None,
    category: str,
    offset_ms: int,
    method: str,
    max_tokens: int,
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
    beams: int | None,
    sampling_seed: int,
    seed: int | None,
    device: str,
    limit: int | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Write comments for the clips of a split.

    One line a clip: its id, a tab, the comment. Models see what they see when they are ranked, nothing later. With
    --chat (and --video) and --at, for one moment of your own files instead, which stay out of the workspace.
    """
    decoding = Decoding(
        method=method,
        max_new_tokens=max_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        beams=beams,
        seed=sampling_seed,
    )
    workspace = Workspace.open(data)
    dataset = Dataset.open(workspace.root)
    api.entry_of(model)  # an unknown name is said before any work
    api.pick_device(device)
    at_ms = _moment(chat, video, at, category, exclusive=bool(split or clip_ids))
    clips: list[Clip | ClipView] = []
    if at_ms is None:
        clips += chosen_clips(dataset, split or (None if clip_ids else "test"), clip_ids=clip_ids, limit=limit)
    if dry_run:
        emit_plan("generate", {"model": model, "method": method, "clips": len(clips) if at_ms is None else 1}, as_json)
        return 0
    options = {} if seed is None else {"seed": seed}
    commenter = api.load_model(model, workspace, dataset, device=device, options=options)
    if at_ms is not None:
        assert chat is not None
        if getattr(getattr(commenter, "collator", None), "focal", None) is not None:
            raise UsageError(
                f"{commenter.name} is shown the events of simulated clips, which other recordings do not have",
                fix="pass --model sfat",
            )
        if video is None and "frames" in commenter.needs:
            raise MissingInput(
                f"{commenter.name} needs frames, and there is no video of this moment",
                fix="pass --video, or take a model that reads chat alone, such as sfat-text",
            )
        clips.append(
            moment := view_at(
                workspace,
                dataset,
                chat=chat,
                video=video,
                at_ms=at_ms,
                category=category,
                offset_ms=offset_ms,
                device=device,
            )
        )
        if not moment.context:
            seconds = workspace.settings.geometry.context_ms / 1000
            say(f"note: the chat has no kept comment in the {seconds:g} s before {at}; {commenter.name} reads none")
    written = generate_comments(commenter, clips, decoding)
    text = "\n".join(f"{row.clip_id}\t{row.comment}" for row in written)
    emit([dataclasses.asdict(row) for row in written], as_json, text)
    return 0


def _moment(chat: Path | None, video: Path | None, at: str | None, category: str, *, exclusive: bool) -> int | None:
    """The moment that is asked for in milliseconds, None if clips of the dataset are."""
    if chat is None and video is None and at is None:
        return None
    if chat is None or at is None:
        raise UsageError("one moment needs --chat and --at", fix="add them; --video is optional")
    if exclusive:
        raise UsageError("--chat takes the place of --split and --clip", fix="leave those out")
    if not category:
        raise UsageError("--category is missing", fix="name the game or topic, such as --category Minecraft")
    return parse_ms(at)
