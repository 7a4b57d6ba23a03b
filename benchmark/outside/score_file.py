"""Scores that anyone's own code computed, in a file: Parquet, CSV or JSON lines, one row a candidate or one row a clip.

    clip_id,candidate,score                                   # long form; candidate: the id that export-candidates gave
    {"clip_id": "...", "candidates": [3, 7], "scores": [.2, .9]}      # or lists

Optional columns: set (without it one score of a candidate counts in every set), split, condition (real, video-swapped,
chat-swapped), log_likelihood, num_tokens, null_log_likelihood. What the file says of its own origin (the digests that
export-candidates wrote) is read from Parquet's metadata, from a first JSON line {"videochat": {...}}, or from
<name>.manifest.json beside the file. Reading refuses what is no such file; score_matching.py compares with the sets.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from videochat.errors import MissingInput, UsageError
from videochat.files import METADATA_KEY, digest_file

from ..metrics.ranks import BadScores

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIXES = (".parquet", ".csv", ".jsonl")
NUMBERS = ("score", "log_likelihood", "num_tokens", "null_log_likelihood")
WORDS = ("set", "split", "condition")
FORM = "columns clip_id, candidate, score; or clip_id with the lists candidates and scores"
DIGEST_FIELDS = ("protocol", "version", "data_digest", "candidates")


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreFile:
    """n rows, one for each candidate of each clip, as the file gives them.

    clip_ids: str (n,). candidates: int64 (n,), -1 where the file holds no whole number. numbers: float64 (n,) of score
    and, where given, log_likelihood, num_tokens, null_log_likelihood; NaN where the file holds none. words: str (n,) of
    set, split, condition where given. declared: what the file says of the sets it was made for; {} if nothing.
    digest: of the file's bytes. problems: values that are no numbers, counted, a sentence each.
    """

    path: Path
    digest: str
    clip_ids: NDArray[np.str_]
    candidates: NDArray[np.int64]
    numbers: Mapping[str, NDArray[np.float64]]
    words: Mapping[str, NDArray[np.str_]]
    declared: Mapping[str, Any]
    problems: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.clip_ids)

    @cached_property
    def clips(self) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
        """The distinct clips, ascending, and for each row the number of its clip among them."""
        distinct, rows = np.unique(self.clip_ids, return_inverse=True)
        return distinct, rows.astype(np.int64)


def read_score_file(path: Path | str) -> ScoreFile:
    """Read a scores file. Raises MissingInput if there is none, UsageError for an unknown suffix, BadScores if it
    cannot be read as rows of scores."""
    path = Path(path)
    if not path.is_file():
        raise MissingInput(f"there is no scores file {path}", fix=f"a file that ends in {', '.join(SUFFIXES)}")
    readers = {".parquet": _parquet, ".csv": _csv, ".jsonl": _jsonl}
    if path.suffix.lower() not in readers:
        raise UsageError(f"{path.name} is no scores file", fix=f"its name must end in {', '.join(SUFFIXES)}")
    columns, declared = readers[path.suffix.lower()](path)
    if not declared:
        declared = _beside(path)
    columns = {name: values for name, values in columns.items() if name not in WORDS or not _is_empty(values)}
    columns = _long(path, columns)
    if lacking := [name for name in ("clip_id", "candidate", "score") if name not in columns]:
        raise bad(path, f"it has no column {lacking[0]}")
    if not columns["clip_id"]:
        raise bad(path, "it holds no rows")
    problems: list[str] = []
    candidates = _whole(columns["candidate"], problems)
    numbers = {name: _floats(name, columns[name], problems) for name in NUMBERS if name in columns}
    return ScoreFile(
        path=path,
        digest=digest_file(path),
        clip_ids=np.asarray([str(value) for value in columns["clip_id"]], dtype=np.str_),
        candidates=candidates,
        numbers=numbers,
        words={name: np.asarray([str(v) for v in columns[name]], dtype=np.str_) for name in WORDS if name in columns},
        declared=declared,
        problems=tuple(problems),
    )


def _is_empty(values: Sequence[Any]) -> bool:
    """A column of words that says nothing, as `set` in a run's own scores.parquet."""
    return bool(values) and all(value in (None, "") for value in values)


def bad(path: Path, why: str) -> BadScores:
    return BadScores(f"{path.name}: {why}", fix=FORM)


def _parquet(path: Path) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, partitioning=None)
        columns = {name: table[name].to_pylist() for name in table.column_names if name in _KNOWN}
    except (pa.ArrowException, OSError, ValueError) as error:
        raise bad(path, f"it is not Parquet ({str(error).splitlines()[0][:120]})") from None
    raw = (table.schema.metadata or {}).get(METADATA_KEY, b"{}")
    try:
        declared = json.loads(raw)
    except ValueError:
        raise bad(path, "its metadata `videochat` is not JSON") from None
    return columns, _declaration(path, declared)


def _csv(path: Path) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    reader = csv.DictReader(io.StringIO(_text(path)))
    rows = list(reader)
    names = [name for name in reader.fieldnames or () if name in _KNOWN]
    if "candidates" in names:
        raise bad(path, "a CSV holds no lists")
    if short := sum(None in row or None in row.values() for row in rows):
        raise bad(path, f"{short} of {len(rows)} rows have more or fewer cells than the first line")
    return {name: [row[name].strip() for row in rows] for name in names}, {}


def _jsonl(path: Path) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    declared: dict[str, Any] = {}
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise bad(path, f"line {number} is not JSON") from None
        if not isinstance(row, dict):
            raise bad(path, f"line {number} is not a JSON object")
        if not rows and set(row) == {"videochat"}:
            declared = _declaration(path, row["videochat"])
            continue
        rows.append(row)
    names = [name for name in (rows[0] if rows else ()) if name in _KNOWN]
    for name in names:
        if absent := sum(name not in row for row in rows):
            raise bad(path, f"{absent} of {len(rows)} lines have no {name}, which the first has")
    return {name: [row[name] for row in rows] for name in names}, declared


_KNOWN = ("clip_id", "candidate", "candidates", "scores", *NUMBERS, *WORDS)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise bad(path, "it is not UTF-8 text") from None


def _beside(path: Path) -> dict[str, Any]:
    """What <name>.manifest.json beside the file declares; {} without one."""
    manifest = path.with_name(f"{path.stem}.manifest.json")
    if not manifest.is_file():
        return {}
    try:
        return _declaration(manifest, json.loads(_text(manifest)))
    except ValueError:
        raise bad(manifest, "it is not JSON") from None


def _declaration(path: Path, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not isinstance(value.get("candidates", {}), dict):
        raise bad(path, "what it declares is no object with data_digest and candidates {set: digest}")
    return {name: value[name] for name in DIGEST_FIELDS if name in value}


def _long(path: Path, columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Rows of lists as one row a candidate."""
    if "candidates" not in columns:
        return columns
    if "candidate" in columns:
        raise bad(path, "it has both candidate and candidates")
    lists = {"candidate": columns.pop("candidates")}
    if "scores" in columns:
        lists["score"] = columns.pop("scores")
    lists |= {name: columns.pop(name) for name in NUMBERS if name in columns and name not in lists}
    for row, ids in enumerate(lists["candidate"]):
        for name, values in lists.items():
            if not isinstance(values[row], list) or len(values[row]) != len(ids):
                size = len(values[row]) if isinstance(values[row], list) else "no list"
                raise bad(path, f"row {row + 1} has {len(ids)} candidates, but {name}: {size}")
    long = {name: [v for values in column for v in values] for name, column in lists.items()}
    sizes = [len(ids) for ids in lists["candidate"]]
    for name, column in columns.items():
        long[name] = [value for value, size in zip(column, sizes, strict=True) for _ in range(size)]
    return long


def _floats(name: str, values: Sequence[Any], problems: list[str]) -> NDArray[np.float64]:
    found = np.full(len(values), np.nan)
    wrong: list[int] = []
    for row, value in enumerate(values):
        try:
            found[row] = np.nan if value is None or isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            wrong.append(row)
    if wrong:
        shown = str(values[wrong[0]])[:40]
        problems.append(f"{len(wrong)} of {len(values)} values of {name} are no numbers, first {shown!r}")
    return found


def _whole(values: Sequence[Any], problems: list[str]) -> NDArray[np.int64]:
    """Candidate ids; -1 where there is none. "12", 12, 12.0 and "t12" (as in TREC files) are 12."""
    found = np.full(len(values), -1, dtype=np.int64)
    wrong: list[int] = []
    for row, value in enumerate(values):
        text = str(value).removeprefix("t").removesuffix(".0")
        if text.isascii() and text.isdigit() and len(text) < 10:
            found[row] = int(text)
        else:
            wrong.append(row)
    if wrong:
        shown = str(values[wrong[0]])[:40]
        problems.append(f"{len(wrong)} of {len(values)} candidates are no ids, first {shown!r}")
    return found
