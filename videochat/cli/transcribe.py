"""`transcribe`: what the streamer says, by a speech-recognition model or from ready files."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import UsageError
from ..workspace import Workspace
from .options import (
    data_option,
    device_option,
    dry_run_option,
    emit_plan,
    emit_summary,
    example,
    json_option,
    limit_option,
    retry_option,
)

DEFAULT_ASR = "openai/whisper-medium"  # what the field's dataset was transcribed with (FACTS §2)


@click.command()
@data_option
@click.option(
    "--asr",
    metavar="NAME|FOLDER",
    help=f"A speech-recognition model of transformers, in safetensors.  [default: {DEFAULT_ASR}]",
)
@click.option(
    "--from",
    "folder",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Take ready transcripts instead: <recording id>.vtt, .srt or .jsonl.",
)
@device_option
@click.option("--language", metavar="CODE|auto", help="What is spoken, such as en.  [default: each recording's]")
@click.option("--replace", is_flag=True, help="Recognise speech also where a transcript was imported.")
@limit_option
@retry_option
@dry_run_option
@json_option
@example(
    "videochat transcribe --device cuda\n"
    "videochat transcribe --asr models/whisper-tiny --language de\n"
    "videochat transcribe --from subtitles/"
)
def transcribe(
    data: Path,
    asr: str | None,
    folder: Path | None,
    device: str,
    language: str | None,
    replace: bool,
    limit: int | None,
    retry: str | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Write down what is said in the recordings.

    Then run `videochat build` again: the clips get the segments that reach into them, and a model reads those that end
    before its moment (`videochat train --model sfat-audio`). A recording without sound is a failed row with its
    reason, and the run goes on. A line of a .jsonl is {"start": seconds, "end": seconds, "text": "..."}; files may
    also bear the platform's id, and a language (1234567890.en.vtt).
    """
    from ..speech import transcribe as step

    if folder is not None and (asr or language or replace):
        raise UsageError("--from takes files as they are", fix="leave out --asr, --language and --replace")
    workspace = Workspace.open(data)
    if dry_run:
        plan = step.plan_transcribe(workspace, asr=asr or DEFAULT_ASR, folder=folder, limit=limit, retry=retry)
        emit_plan("transcribe", plan, as_json)
        return 0
    with workspace.lock():
        if folder is not None:
            summary = step.import_transcripts(workspace, folder, limit=limit, retry=retry)
        else:
            summary = step.transcribe(
                workspace,
                asr=asr or DEFAULT_ASR,
                device=device,
                language=language,
                limit=limit,
                retry=retry,
                replace=replace,
            )
    facts = {name: int(summary.total(name)) for name in ("segments", "words")}
    done = f"{facts['segments']:,} segments, {facts['words']:,} words; now run `videochat build`"
    return emit_summary(summary, as_json, extra=done if summary.count("ok") else "", facts=facts, can_retry=True)
