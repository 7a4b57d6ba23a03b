"""The step `clean`: raw/<recording>/ -> comments/<recording>.parquet (schema.COMMENTS).

    summary = clean(Workspace.open("videochat-data"))
    files.parquet_metadata(workspace.comments_path("twitch-1"))["funnel"]

The metadata of each file holds the funnel (for each rule the rows it dropped or changed), the rules' versions, the
dates of the lists, the languages found, and the log of bots.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .. import __version__
from ..engines.local import StepSummary, run_step, select
from ..errors import BadRecording
from ..files import digest_file, digest_json, is_current, write_parquet
from ..rights.tombstones import Tombstones
from ..schema import COMMENTS, Recording
from ..workspace import Workspace
from .catalog import RULES
from .chat import Chat, read_chat
from .config import CleaningConfig
from .identify import identifier_version
from .lists import Lists, load_lists
from .pseudonyms import author_pseudonyms

FORMAT = 1  # of the file; raise it when columns or metadata change their meaning
_INT32 = np.iinfo(np.int32)


def clean(
    workspace: Workspace,
    *,
    config: CleaningConfig | None = None,
    limit: int | None = None,
    retry: str | None = None,
    num_workers: int | None = None,
) -> StepSummary:
    """Clean every recording whose comments are not current.

    limit: at most so many recordings, by id. retry: "failed" or "failed:<class>", those alone.
    num_workers: processes, default all cores; the output never depends on it.
    Raises UsageError for an unreadable list of the workspace; a damaged chat is a failed row of the summary.
    """
    workspace.pseudonym_key()  # made here, once, not by workers at the same time
    worker = functools.partial(clean_recording, workspace.root, config or CleaningConfig(), load_lists(workspace.root))
    recordings = select(workspace, "clean", limit=limit, retry=retry)
    return run_step(workspace, "clean", recordings, worker, num_workers=num_workers)


def clean_recording(root: Path, config: CleaningConfig, lists: Lists, recording: Recording) -> dict[str, Any] | None:
    """Clean one recording; counts for the ledger, None if its comments are current."""
    workspace = Workspace.open(root)
    source = workspace.raw_dir(recording.recording_id) / recording.chat
    stamp = _stamp(workspace, config, lists, recording, source)
    final = workspace.comments_path(recording.recording_id)
    if is_current(final, stamp):
        return None
    stones = Tombstones.open(workspace)  # a chat restored from a backup may hold them again
    if stones.forgets(channel=recording.channel, recording_id=recording.recording_id):
        raise BadRecording("forgotten", "this recording was forgotten on request", fix="remove it from raw/")
    chat = read_chat(source, recording, config, lists, stones)
    funnel = run_rules(chat)
    pseudonyms = author_pseudonyms(workspace.pseudonym_key(), recording.platform, chat.logins)
    table = to_table(chat, pseudonyms)
    counts = {
        "num_messages": len(chat),
        "num_kept": int(np.count_nonzero(chat.kept)),
        "num_kept_past_end": int(np.count_nonzero(chat.kept & (chat.time_ms >= recording.duration_ms))),
    }
    metadata = {
        "stamp": stamp,
        "tool": __version__,
        "recording_id": recording.recording_id,
        "category": recording.category,
        "config": dataclasses.asdict(config),
        "rules": {rule.name: rule.version for rule in RULES.values()},
        "lists": lists.dates,
        "identifier": identifier_version(),
        "languages": chat.notes.get("languages", {}),
        "bots": [entry | {"author": pseudonyms[entry["author"]]} for entry in chat.bots],
        "counts": counts,
        "funnel": funnel,
    }
    write_parquet(table, final, metadata)
    return counts


def run_rules(chat: Chat) -> list[dict[str, Any]]:
    """Run all rules over `chat`; the funnel: for each rule its name, whether it drops, how many rows, how many stay."""
    funnel = []
    for rule in RULES.values():
        count = rule.run(chat)
        funnel.append({"rule": rule.name, "drops": rule.drops, "count": count, "left": int(chat.kept.sum())})
    return funnel


def to_table(chat: Chat, pseudonyms: list[str]) -> pa.Table:
    """The rows as COMMENTS. pseudonyms: one for each of `chat.logins`."""
    codes = pa.array(chat.codes)
    texts = pc.if_else(pa.array(chat.private), pa.scalar(None, pa.string()), chat.texts.take(codes))
    reason = _named(chat.reasons, chat.reason)
    found = np.full(len(chat.texts), -1) if chat.language is None else chat.language
    score = np.zeros(len(chat.texts)) if chat.language_score is None else chat.language_score
    unknown = found[chat.codes] < 0
    columns = [
        pa.array(np.arange(len(chat), dtype=np.int32)),
        pa.array(chat.ids, pa.string()),
        pa.array(np.clip(chat.time_ms, _INT32.min, _INT32.max).astype(np.int32)),
        _named([*pseudonyms, ""], np.where(chat.author < 0, len(pseudonyms), chat.author)),
        texts,
        _emotes(chat),
        pa.array(chat.kept),
        reason,
        _named(list(chat.languages), found[chat.codes]),
        pa.array(score[chat.codes].astype(np.float32), mask=unknown),
    ]
    return pa.table(columns, schema=COMMENTS)


def _named(names: list[str], codes: Any) -> pa.Array:
    """Strings for indices into `names`; null for negative ones."""
    return pa.array(names, pa.string()).take(pa.array(codes.astype(np.int32), mask=codes < 0))


def _emotes(chat: Chat) -> pa.Array:
    lengths = np.zeros(len(chat) + 1, dtype=np.int32)
    for row, codes in chat.emotes.items():
        lengths[row + 1] = len(codes)
    flat = [code for row in sorted(chat.emotes) for code in chat.emotes[row]]
    return pa.ListArray.from_arrays(pa.array(np.cumsum(lengths, dtype=np.int32)), pa.array(flat, pa.string()))


def _stamp(workspace: Workspace, config: CleaningConfig, lists: Lists, recording: Recording, source: Path) -> str:
    return digest_json(
        {
            "format": FORMAT,
            "chat": digest_file(source) if source.is_file() else None,
            "recording": [
                getattr(recording, name)
                for name in ("recording_id", "platform", "channel", "category", "language", "offset_ms", "duration_ms")
            ],
            "config": dataclasses.asdict(config),
            "rules": [[rule.name, rule.version] for rule in RULES.values()],
            "lists": lists.digest,
            "key": workspace.pseudonym_key_digest(),
            "identifier": identifier_version(),
        }
    )
