"""Whole files or no files: write to a temporary name, fsync, rename; what has its final name is complete.

    with atomic_path(workspace.comments_path(rid)) as temporary:
        pq.write_table(table, temporary)

Every derived Parquet file carries one metadata key, `videochat`, a JSON object with at least `stamp`: the digest of
the inputs and settings it was made from. A step compares stamps to see whether a file is current.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import Damaged

if TYPE_CHECKING:
    import pyarrow as pa

METADATA_KEY = b"videochat"
CHUNK = 1 << 20
SWEPT_DEPTH = 2  # raw/<recording>/, candidates/<protocol>/, checkpoints/<model>/
_TEMPORARY = re.compile(r"\..+\.(?:tmp-|old-)?([0-9a-f]{6})[0-9a-f]{2}")  # of files, shards and runs


def unfinished() -> str:
    """The last 8 hex digits of a temporary name: 6 say which process writes there, 2 are drawn."""
    return f"{os.getpid() & 0xFFFFFF:06x}{secrets.token_hex(1)}"


def sweep(root: Path) -> int:
    """Remove what killed processes have left under temporary names, three folders deep; how many. What living ones
    write stays. The caller holds the workspace's lock."""
    found = []
    for folder, folders, names in os.walk(root):
        depth = len(Path(folder).relative_to(root).parts)
        found += [Path(folder, name) for name in (*folders, *names) if _is_left(name)]
        folders[:] = [name for name in folders if not name.startswith(".")] if depth < SWEPT_DEPTH else []
    for path in found:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return len(found)


def _is_left(name: str) -> bool:
    match = _TEMPORARY.fullmatch(name)
    return match is not None and not _lives(int(match[1], 16))


def _lives(process: int) -> bool:
    if process == 0:
        return False
    try:
        os.kill(process, 0)  # signal 0 asks if there is such a process
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it is not ours, or there is no /proc to ask
    return state[:1] != ["Z"]  # ended, and nobody has asked how


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Wait until no other process holds `folder`, which is made where it is missing, then hold it. The kernel lets go
    of it when the process ends, however it ends; no file is left."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """A temporary path beside `final`; renamed onto it when the block ends well, removed when it raises."""
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.name}.tmp-{unfinished()}")
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_text(final: Path, text: str) -> None:
    with atomic_path(final) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(final: Path, value: Any) -> None:
    """JSON with sorted keys and a final newline: equal values give equal bytes."""
    write_text(final, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def damaged(path: Path, why: object, fix: str = "") -> Damaged:
    """The error about a file of ours that is not whole. fix: how to get it back, by default to make it again."""
    first = (str(why).strip() or type(why).__name__).splitlines()[0][:200]
    what = f"{path} is damaged: {first.replace(str(path), path.name)}"
    return Damaged(what, fix=fix or "remove it and run the step that made it again")


def read_json(path: Path, *, needs: Collection[str] = (), fix: str = "") -> Any:
    """The JSON value of a file that this package wrote; `needs`: keys of the object that it must be.

    Raises Damaged, with `fix`, if it is no such JSON, and FileNotFoundError.
    """
    try:
        value = json.loads(path.read_bytes())
    except IsADirectoryError:
        raise damaged(path, "it is a folder", fix) from None
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"it is not JSON ({error})", fix) from None
    if needs and not isinstance(value, dict):
        raise damaged(path, "it is not a JSON object", fix)
    if lacking := sorted(set(needs) - set(value)) if needs else []:
        raise damaged(path, f"it has no {', '.join(lacking)}", fix)
    return value


def digest_file(path: Path) -> str:
    """SHA-256 of the bytes, hex."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def digest_json(value: Any) -> str:
    """SHA-256, hex, of a JSON value in canonical form (sorted keys, no white space)."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def stable_hash(*parts: object) -> int:
    """A 64-bit hash of the parts' texts, equal on every machine and run: the source of all key-free draws."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def hashing(*first: object) -> Callable[..., int]:
    """`stable_hash` of parts that begin alike: hashing(a, b)(c) == stable_hash(a, b, c), at half the cost."""
    start = hashlib.blake2b("".join(f"{part}\x1f" for part in first).encode(), digest_size=8)

    def finish(*parts: object) -> int:
        hasher = start.copy()
        hasher.update("\x1f".join(map(str, parts)).encode())
        return int.from_bytes(hasher.digest(), "big")

    return finish


def write_parquet(
    table: pa.Table, final: Path, metadata: Mapping[str, Any], *, row_group_size: int | None = None
) -> None:
    """Write `table` as zstd Parquet under `final`, with `metadata` (JSON-able, has "stamp") in its schema."""
    import pyarrow.parquet as pq

    encoded = json.dumps(dict(metadata), sort_keys=True, ensure_ascii=False).encode()
    table = table.replace_schema_metadata({METADATA_KEY: encoded})
    with atomic_path(final) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=row_group_size)


def read_parquet(path: Path, *, columns: Sequence[str] | None = None, filters: Any = None, fix: str = "") -> pa.Table:
    """The rows of a Parquet file that this package wrote. Raises Damaged, with `fix`, if it cannot be read as such."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = None if columns is None else list(columns)
    try:
        table = pq.read_table(path, columns=wanted, filters=filters, partitioning=None)
        table.validate()
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise damaged(path, error, fix) from None
    return table


def parquet_metadata(path: Path) -> dict[str, Any]:
    """The `videochat` metadata of a Parquet file; {} if the file is absent, damaged or not written by this package."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        raw = pq.read_schema(path).metadata
        value = json.loads(raw[METADATA_KEY]) if raw and METADATA_KEY in raw else {}
    except (OSError, pa.ArrowException, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def is_current(path: Path, stamp: str) -> bool:
    """True if `path` exists and was made from exactly the inputs and settings that `stamp` digests."""
    return parquet_metadata(path).get("stamp") == stamp
