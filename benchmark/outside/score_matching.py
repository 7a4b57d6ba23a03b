"""Compare a scores file with the frozen sets: what is missing, double or strange, counted; and the blocks it makes.

    matched = match(read_score_file("mine.parquet"), make_tasks(sets), sets.manifest, name="mine")
    matched.problems          # sentences; empty if the file can be ranked
    matched.blocks            # its scores as bench keeps them

A file without the dev split offers no rule to choose from, so its own score is what counts (rule "own"). A set that
the file does not name is left out and said; a named one must be whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..scores.blocks import CONDITIONS, REAL, ScoreBlock
from ..scores.tasks import Layout, Task
from .score_file import ScoreFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHORTEST_DIGEST = 8  # hex digits, as in the signature line


@dataclass(frozen=True, kw_only=True)
class Matched:
    """blocks: of the whole parts. problems: why it cannot be ranked. notes: what a reader of its row should know.
    sets: the sets that it covers."""

    blocks: list[ScoreBlock] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sets: list[str] = field(default_factory=list)


def match(file: ScoreFile, tasks: Sequence[Task], manifest: Mapping[str, Any], *, name: str) -> Matched:
    """Everything that speaks against ranking `file` on `tasks`, and its blocks.

    manifest: of the candidate sets (protocol, version, data_digest, sets with their digests).
    """
    tasks = [task for task in tasks if len(task)]
    problems = [*file.problems, *check_digests(file.declared, manifest)]
    notes = [] if file.declared else ["it names no digests; only clips and candidates were compared"]
    problems += _words(file, tasks)
    nan = {column: int(np.isnan(values).sum()) for column, values in file.numbers.items()}
    for column, count in nan.items():
        if count:
            first = file.clip_ids[int(np.isnan(file.numbers[column]).argmax())]
            problems.append(f"{count} of {len(file)} values of {column} are NaN or missing, first in {first}")
    tokens = file.numbers.get("num_tokens")
    if tokens is not None and (wrong := int(((tokens < 1) | (tokens % 1 != 0)).sum())):
        problems.append(f"{wrong} of {len(file)} values of num_tokens are no whole number of at least 1")
    names = list(dict.fromkeys(task.name for task in tasks))
    sets: list[str | None] = [None]
    if "set" in file.words:
        given = set(file.words["set"].tolist())
        sets = [each for each in names if each in given]
        if absent := [each for each in names if each not in given]:
            notes.append(f"it has no scores for {', '.join(absent)}")
    if unknown := sorted(set(file.clips[0].tolist()) - {c for t in tasks for c in t.clip_ids.tolist()}):
        problems.append(f"{len(unknown)} clips are in no ranked set, first {unknown[0]}")
    has_dev = _has_split(file, tasks, "dev")
    if not has_dev and any(task.split == "dev" for task in tasks):
        kept = "its own score is the rule" + (", its likelihoods are not used" if len(file.numbers) > 1 else "")
        notes.append(f"it has no dev clips: {kept}")
    blocks: list[ScoreBlock] = []
    for condition in [each for each in CONDITIONS if (_condition(file) == each).any() or each == REAL]:
        for set_name in sets:
            for split in ("dev", "test"):
                part = [task for task in tasks if task.split == split and set_name in (None, task.name)]
                if not part or (split == "dev" and not (has_dev and condition == REAL)):
                    continue
                layout = Layout.union(part) if set_name is None else Layout.of_task(part[0])
                rows = _condition(file) == condition
                if set_name is not None:
                    rows &= file.words["set"] == set_name
                where = " ".join(filter(None, (split, set_name, None if condition == REAL else condition)))
                taken, wrong_rows = _place(file, rows, layout, where, partial=condition != REAL)
                problems += wrong_rows
                if not wrong_rows and taken is not None and len(taken[0]):
                    blocks.append(_block(file, name, condition, split, set_name, *taken, likelihoods=has_dev))
    covered = names if sets == [None] else [each for each in sets if each]
    return Matched(blocks=[] if problems else blocks, problems=problems, notes=notes, sets=covered)


def check_digests(declared: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[str]:
    """What a declaration (protocol, version, data_digest, candidates {set: digest}) says that is not so, a sentence
    each. Digests may be cut to 8 or more digits; what is not declared is not compared."""
    problems = []
    for key, what in (("protocol", "protocol"), ("version", "version of the protocol")):
        if key in declared and str(declared[key]) != str(manifest[key]):
            problems.append(f"it was made for {what} {declared[key]!s:.40}, these sets are {manifest[key]}")
    pairs = [("data", declared.get("data_digest"), manifest["data_digest"])] if "data_digest" in declared else []
    for name, digest in sorted(declared.get("candidates", {}).items()):
        if name not in manifest["sets"]:
            problems.append(f"it names a candidate set {name!s:.40} that is not among {', '.join(manifest['sets'])}")
        else:
            pairs.append((f"candidates {name}", digest, manifest["sets"][name]["digest"]))
    for what, given, own in pairs:
        text = str(given)
        if len(text) < SHORTEST_DIGEST or not own.startswith(text):
            problems.append(f"{what}: it was made for digest {text[:16] or 'nothing'}, here it is {own[:16]}")
    return problems


def _condition(file: ScoreFile) -> NDArray[np.str_]:
    return file.words.get("condition", np.full(len(file), REAL))


def _words(file: ScoreFile, tasks: Sequence[Task]) -> list[str]:
    """Sets, splits and conditions that do not exist, and clips said to be of another split than they are."""
    allowed = {
        "set": {task.name for task in tasks},
        "split": {"dev", "test"},
        "condition": set(CONDITIONS),
    }
    problems = []
    for name, values in file.words.items():
        if strange := sorted(set(values.tolist()) - allowed[name]):
            known = ", ".join(sorted(allowed[name]))
            problems.append(f"it has the {name} {strange[0][:40]!r}, known are {known}")
    if "split" in file.words:
        own = {clip_id: task.split for task in tasks for clip_id in task.clip_ids.tolist()}
        said = zip(file.clip_ids.tolist(), file.words["split"].tolist(), strict=True)
        wrong = sorted({clip_id for clip_id, split in said if clip_id in own and own[clip_id] != split})
        if wrong:
            problems.append(f"{len(wrong)} clips are of another split than it says, first {wrong[0]}")
    return problems


def _has_split(file: ScoreFile, tasks: Sequence[Task], split: str) -> bool:
    ids = [task.clip_ids for task in tasks if task.split == split]
    return bool(ids) and bool(np.isin(file.clips[0], np.concatenate(ids)).any())


def _place(
    file: ScoreFile, rows: NDArray[np.bool_], layout: Layout, where: str, *, partial: bool
) -> tuple[tuple[Layout, NDArray[np.int64]] | None, list[str]]:
    """The layout with the file's row for each of its candidates, and what is wrong with these rows.

    partial: whole clips may be absent (those that have no partner to swap with).
    """
    problems = []
    clip_ids, clip_rows = file.clips
    nearest = np.minimum(np.searchsorted(layout.clip_ids, clip_ids), len(layout) - 1)
    here = np.flatnonzero(rows & (layout.clip_ids[nearest] == clip_ids)[clip_rows])
    own = nearest[clip_rows]
    width = 1 + max(int(layout.flat.max(initial=0)), int(file.candidates.max(initial=0)))
    codes = np.repeat(np.arange(len(layout)), np.diff(layout.starts)) * width + layout.flat
    wanted = own[here] * width + file.candidates[here]
    found = np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)
    ranked = (codes[found] == wanted) & (file.candidates[here] >= 0)
    if not ranked.all():
        first = here[int((~ranked).argmax())]
        what = f"candidate {file.candidates[first]} in {file.clip_ids[first]}"
        problems.append(f"{where}: {int((~ranked).sum())} candidates are not among those of their clip, first {what}")
    counts = np.bincount(found[ranked], minlength=len(codes))
    if (double := counts > 1).any():
        at = int(double.argmax())
        what = f"candidate {layout.flat[at]} in {_owner(layout, at)}"
        problems.append(f"{where}: {int(double.sum())} candidates have more than one score, first {what}")
    clips = np.add.reduceat(counts > 0, layout.starts[:-1]) if len(layout) else np.zeros(0, np.int64)
    absent = counts == 0
    if partial:
        absent &= np.repeat(clips > 0, np.diff(layout.starts))
    if absent.any():
        at = int(absent.argmax())
        num = len(set(np.repeat(np.arange(len(layout)), np.diff(layout.starts))[absent].tolist()))
        what = f"candidate {layout.flat[at]} in {_owner(layout, at)}"
        problems.append(
            f"{where}: {int(absent.sum())} of {len(codes)} scores are missing, in {num} of {len(layout)} clips, "
            f"first {what}"
        )
    if problems:
        return None, problems
    place = np.full(len(codes), -1, dtype=np.int64)
    place[found[ranked]] = here[ranked]
    return (layout.only((clips > 0).tolist()), place[place >= 0]), []


def _owner(layout: Layout, at: int) -> str:
    return str(layout.clip_ids[int(np.searchsorted(layout.starts, at, side="right")) - 1])


def _block(
    file: ScoreFile,
    name: str,
    condition: str,
    split: str,
    set_name: str | None,
    layout: Layout,
    rows: NDArray[np.int64],
    *,
    likelihoods: bool,
) -> ScoreBlock:
    fields: dict[str, Any] = {}
    if likelihoods and "log_likelihood" in file.numbers:
        fields["log_likelihood"] = file.numbers["log_likelihood"][rows]
        if "num_tokens" in file.numbers:
            fields["num_tokens"] = file.numbers["num_tokens"][rows].astype("i4")
        if "null_log_likelihood" in file.numbers:
            fields["null_log_likelihood"] = file.numbers["null_log_likelihood"][rows]
    return ScoreBlock(name, condition, split, set_name, layout, file.numbers["score"][rows], **fields)
