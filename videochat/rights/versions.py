"""Dataset version n + 1 = n without what was forgotten; no row, split or feature changes otherwise.

    version_facts(workspace)                       # {"version": 2, "takedowns": [...]}, for dataset.json
    made = make_version(workspace, wanted, 2)      # a whole new shards/ in a scratch folder, or None: nothing to do
    publish_version(workspace, made)               # put in the place of the old one

versions.json counts the versions, so that a later `build` goes on from there. It and dataset.json tell how much each
version lost, and the digests before and after, never which rows: that list would point at the people in version n.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import digest_json, read_json, write_json
from .wanted import Wanted

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from ..shards import Part
    from ..workspace import Workspace

SCRATCH = ".forgetting"  # beside shards/; holds the new ones until they are whole
SIDES = ("context", "responses")


@dataclass(kw_only=True)
class Lost:
    """What a version lost. changed_clips: rows that stayed with fewer comments or less speech. comments: in clips, both
    sides; segments: of speech, in clips that stayed."""

    recordings: int = 0
    clips: int = 0
    changed_clips: int = 0
    comments: int = 0
    segments: int = 0

    def to_json(self) -> dict[str, int]:
        """Without segments where none was lost: most data sets hold no speech."""
        return {name: value for name, value in asdict(self).items() if value or name != "segments"}

    def __bool__(self) -> bool:
        return any(asdict(self).values())


@dataclass(kw_only=True)
class _Group:
    """What stays of one recording in one (split, category)."""

    paths: list[Path] = field(default_factory=list)
    num_clips: int = 0
    num_context: int = 0
    num_responses: int = 0


def version_facts(workspace: Workspace) -> dict[str, Any]:
    """The version of the workspace's dataset: 1, and one more for each time something was forgotten."""
    path = workspace.root / "versions.json"
    takedowns = read_json(path)["takedowns"] if path.is_file() else []
    return {"version": takedowns[-1]["version"], "takedowns": takedowns} if takedowns else {"version": 1}


def make_version(workspace: Workspace, wanted: Wanted, version: int) -> dict[str, Any] | None:
    """Write the shards without `wanted` into the scratch folder; the takedown's entry, None if nothing is in them.

    An entry without "digest" means that no clip is left.
    """
    from ..build import describe, row_bytes, write_dataset
    from ..cards import REQUIRED
    from ..dataset import Dataset
    from ..shards import Part
    from ..workspace import Workspace

    shutil.rmtree(workspace.root / SCRATCH, ignore_errors=True)
    dataset = Dataset.open(workspace.root)
    manifest, dim = dataset.manifest, dataset.dim
    groups, lost, drops = _scan(dataset, wanted)
    if not lost:
        return None
    entry: dict[str, Any] = {"version": version, "previous": dataset.digest, **lost.to_json()}
    if not groups:
        return entry
    parts: list[tuple[str, str, str, Part | pa.Table]] = [
        (
            *key,
            Part(
                num_clips=group.num_clips,
                num_bytes=row_bytes(group.num_clips, group.num_context, group.num_responses, dim),
                read=partial(_read, tuple(group.paths), key[2], wanted),
            ),
        )
        for key, group in groups.items()
    ]
    facts = {
        **{name: value for name, value in manifest.items() if name not in ("tool", "schema_version")},
        **_figures(workspace, manifest, wanted, drops),
        "version": version,
        "stamp": digest_json([manifest.get("stamp"), "takedown", version]),  # the next build makes them from scratch
    }
    scratch = Workspace(workspace.root / SCRATCH, workspace.settings)
    made = write_dataset(scratch, parts, dim=dim, facts=facts)
    entry["digest"] = made["digest"]
    made["takedowns"] = [*version_facts(workspace).get("takedowns", []), entry]
    write_json(scratch.shards_dir / "dataset.json", made)
    if set(made) >= REQUIRED:
        describe(workspace, made, scratch.shards_dir)
    return entry


def publish_version(workspace: Workspace, entry: Mapping[str, Any]) -> None:
    """Put the new shards in the place of the old ones and count the version; may be done again after a kill."""
    from ..shards import replace_folder

    scratch = workspace.root / SCRATCH
    if (scratch / "shards" / "dataset.json").is_file():
        replace_folder(scratch / "shards", workspace.shards_dir)
    elif "digest" not in entry:
        shutil.rmtree(workspace.shards_dir, ignore_errors=True)
    takedowns = version_facts(workspace).get("takedowns", [])
    if not takedowns or takedowns[-1]["version"] < entry["version"]:
        write_json(workspace.root / "versions.json", {"takedowns": [*takedowns, dict(entry)]})
    shutil.rmtree(scratch, ignore_errors=True)


def _scan(dataset: Any, wanted: Wanted) -> tuple[dict[tuple[str, str, str], _Group], Lost, Counter[str]]:
    """What stays, by (split, category, recording), what is lost, and the lost clips by reason."""
    import pyarrow.parquet as pq

    lost, drops = Lost(), Counter[str]()
    groups: dict[tuple[str, str, str], _Group] = {}
    gone: set[str] = set()
    for file in dataset.manifest["files"]:
        path = dataset.folder / file["path"]
        with pq.ParquetFile(path) as parquet:
            for number in range(parquet.num_row_groups):
                table = parquet.read_row_group(number, columns=["recording_id", "channel_id", *SIDES, "transcript"])
                spoken = [len(found) for found in _named_segments(table["transcript"], wanted)]
                names = table["recording_id"].to_pylist()
                taken = _taken_rows(table, wanted)
                gone |= {name for name, out in zip(names, taken, strict=True) if out}
                before, after = zip(*(_lengths(table[side], wanted) for side in SIDES), strict=True)
                for row, name in enumerate(names):
                    was, left = [int(b[row]) for b in before], [int(a[row]) for a in after]
                    if taken[row] or not all(left):
                        lost.clips += 1
                        lost.comments += sum(was)
                        drops[_reason(left)] += not taken[row]
                        continue
                    lost.changed_clips += was != left or spoken[row] > 0
                    lost.segments += spoken[row]
                    lost.comments += sum(was) - sum(left)
                    group = groups.setdefault((file["split"], file["category"], name), _Group())
                    if path not in group.paths:
                        group.paths.append(path)
                    group.num_clips += 1
                    group.num_context += left[0]
                    group.num_responses += left[1]
    lost.recordings = len(gone)
    return groups, lost, drops


def _reason(left: list[int]) -> str:
    """How `cut` calls a clip with so many context and response comments."""
    if not any(left):
        return "clips: no comment at all"
    return "clips: no response comment" if left[0] else "clips: no context comment"


def _taken_rows(table: pa.Table, wanted: Wanted) -> NDArray[np.bool_]:
    """bool (n,): clips whose recording or channel is wanted."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    masks = [
        pc.is_in(table[column], value_set=pa.array(sorted(values), pa.string())).to_numpy()
        for column, values in (("recording_id", wanted.recordings), ("channel_id", wanted.channel_pseudonyms))
    ]
    return np.asarray(masks[0] | masks[1], dtype=bool)


def _comments(column: pa.ChunkedArray, wanted: Wanted) -> tuple[NDArray[np.int64], NDArray[np.bool_], pa.Array]:
    """Of a column of comment lists: the offsets (n + 1,), which comments stay, and the comments, all flat."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    array = pa.concat_arrays(column.chunks)
    offsets = np.concatenate([[0], np.cumsum(pc.list_value_length(array).to_numpy(zero_copy_only=False))])
    flat = array.flatten()
    return offsets.astype(np.int64), ~wanted.rows_of(flat.field("author"), flat.field("text")), flat


def _lengths(column: pa.ChunkedArray, wanted: Wanted) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(comments of each row before, after)."""
    import numpy as np

    offsets, stays, _ = _comments(column, wanted)
    running = np.concatenate([[0], np.cumsum(stays)])
    return np.diff(offsets), np.diff(running[offsets])


def _named_segments(column: pa.ChunkedArray, wanted: Wanted) -> list[list[int]]:
    """For each row the numbers of the transcript segments in which somebody wanted is named."""
    return [
        [number for number, segment in enumerate(segments or ()) if wanted.is_named_in(segment["text"])]
        for segments in column.to_pylist()
    ]


def _read(paths: tuple[Path, ...], recording_id: str, wanted: Wanted) -> pa.Table:
    """The rows of one recording without what is wanted."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    only = [("recording_id", "==", recording_id)]
    tables = [pq.read_table(path, filters=only, partitioning=None) for path in paths]
    return without(pa.concat_tables(tables).replace_schema_metadata(None), wanted)


def without(table: pa.Table, wanted: Wanted) -> pa.Table:
    """Shard rows without the wanted comments and without the clips that are wanted or lose one side wholly."""
    import numpy as np
    import pyarrow as pa

    stay = ~_taken_rows(table, wanted)
    for side in SIDES:
        offsets, stays, flat = _comments(table[side], wanted)
        running = np.concatenate([[0], np.cumsum(stays)])
        fresh = pa.array(running[offsets], pa.int32())
        stay &= np.diff(running[offsets]) > 0
        columns = {side: pa.ListArray.from_arrays(fresh, flat.filter(pa.array(stays)))}
        if side == "context" and "context_clip" in table.column_names and not table["context_clip"].null_count:
            vectors = pa.concat_arrays(table["context_clip"].chunks).flatten()
            columns["context_clip"] = pa.ListArray.from_arrays(fresh, vectors.filter(pa.array(stays)))
        for name, values in columns.items():
            place = table.schema.get_field_index(name)
            table = table.set_column(place, table.schema.field(name), values.cast(table.schema.field(name).type))
    named = _named_segments(table["transcript"], wanted)
    if any(named):
        left = [
            [segment for number, segment in enumerate(segments) if number not in found]
            for segments, found in zip(table["transcript"].to_pylist(), named, strict=True)
        ]
        place = table.schema.get_field_index("transcript")
        table = table.set_column(place, table.schema.field(place), pa.array(left, table.schema.field(place).type))
    return table.filter(pa.array(stay))


def _figures(
    workspace: Workspace, manifest: Mapping[str, Any], wanted: Wanted, drops: Mapping[str, int]
) -> dict[str, Any]:
    """The manifest's figures that its rows do not tell, without what is gone. Raw and comments are done before."""
    lengths = manifest.get("durations_ms")
    if lengths is None:
        return {}
    stays = {name: ms for name, ms in lengths.items() if name not in wanted.recordings}
    figures: dict[str, Any] = {"durations_ms": stays}
    if "left_out" in manifest:
        left_out = manifest["left_out"].items()
        figures["left_out"] = {name: why for name, why in left_out if name not in wanted.recordings}
    known = {recording.recording_id: recording for recording in workspace.recordings()}
    if all(name in known and workspace.comments_path(name).is_file() for name in stays):
        figures["num_messages"] = sum(known[name].num_messages for name in stays)
        figures["drops"] = _drops(workspace, [known[name] for name in stays])
    elif "drops" in manifest:
        total = Counter(manifest["drops"]) + Counter(drops)
        figures["drops"] = {name: total[name] for name in sorted({*manifest["drops"], *total})}
    return figures


def _drops(workspace: Workspace, recordings: list[Any]) -> dict[str, int]:
    """What cutting the recordings into clips leaves out, counted again."""
    import pyarrow.parquet as pq

    from ..cut import KEPT_COLUMNS, cut

    total = Counter[str]()
    for recording in recordings:
        comments = pq.read_table(
            workspace.comments_path(recording.recording_id), columns=KEPT_COLUMNS, partitioning=None
        )
        total += Counter(cut(recording, comments, workspace.settings.geometry).drops)
    return dict(sorted(total.items()))
