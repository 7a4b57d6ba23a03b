"""Frame features made elsewhere, brought to this package's form: unit float16 vectors on the 1-fps grid.

Input: .npy (N, D) of any float type, or .npz with `embeddings` and perhaps `frame_ms`; times in milliseconds from a
.npy, from the .npz, or from a constant step. The grid point t gets the last frame with time <= t, so no vector shows
what comes after its time. Frames that are zero or not finite are no frames; their number is reported.

    report = write_features(item.features, times, final=folder / "features.npz", step_ms=None, grid_ms=1000)
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import BadRecording
from ..files import atomic_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK_ROWS = 8192
MAX_DIM = 8192
_EMBEDDINGS = ("embeddings", "features", "clip", "arr_0")
_TIMES = ("frame_ms", "timestamps_ms", "times_ms")


def _bad(why: str, fix: str = "") -> BadRecording:
    return BadRecording("bad-features", why, fix=fix)


def _load(path: Path) -> Any:
    try:
        return np.load(path, mmap_mode="r" if path.suffix == ".npy" else None, allow_pickle=False)
    except OSError as error:
        raise _bad(f"the features file {path} cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise _bad(f"{path.name} is no .npy or .npz of numbers: {error}", "save it with numpy.save") from None


def _pick(archive: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((archive[name] for name in names if name in archive), None)


def load_features(
    features: Path, times: Path | None = None, step_ms: float | None = None
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """(embeddings (N, D) as stored, perhaps mapped from disk; frame times int64 (N,) in ms, floored).

    Raises BadRecording("bad-features") for anything but numbers of these shapes.
    """
    loaded = _load(features)
    inside = None
    if isinstance(loaded, np.lib.npyio.NpzFile):
        with loaded:
            try:
                inside = _pick(loaded, _TIMES)
                embeddings = _pick(loaded, _EMBEDDINGS)
            except (ValueError, zipfile.BadZipFile) as error:
                raise _bad(f"{features.name} is no .npz of numbers: {error}") from None
        if embeddings is None:
            raise _bad(f"{features.name} has no array named {' or '.join(_EMBEDDINGS)}")
    else:
        embeddings = loaded
    if embeddings.ndim != 2 or embeddings.dtype.kind != "f" or not 0 < embeddings.shape[1] <= MAX_DIM:
        raise _bad(f"{features.name} has shape {embeddings.shape} {embeddings.dtype}, (frames, D) of floats expected")
    count = len(embeddings)
    if count == 0:
        raise _bad(f"{features.name} holds no frame")
    if times is not None:
        inside = _load(times)
    if inside is None:
        if step_ms is None or not step_ms > 0:
            raise _bad(f"{features.name} has no frame times", "give feature_times (a .npy of ms) or feature_step_ms")
        return embeddings, np.floor(np.arange(count) * step_ms).astype(np.int64)
    inside = np.asarray(inside)
    if inside.shape != (count,) or inside.dtype.kind not in "iuf":
        raise _bad(f"{count} frames, but the times have shape {inside.shape} {inside.dtype}", "one time in ms a frame")
    if not np.all(np.isfinite(inside)) or np.max(np.abs(inside)) >= 2**31:
        raise _bad("a frame time is not a number of milliseconds below 2^31")
    return embeddings, np.floor(inside).astype(np.int64)


def real_rows(embeddings: NDArray[Any]) -> NDArray[np.bool_]:
    """bool (N,): rows that are finite and not zero."""
    good = np.zeros(len(embeddings), dtype=bool)
    for begin in range(0, len(embeddings), BLOCK_ROWS):
        block = np.asarray(embeddings[begin : begin + BLOCK_ROWS], dtype=np.float32)
        good[begin : begin + BLOCK_ROWS] = np.isfinite(block).all(1) & (np.abs(block).max(1) > 0)
    return good


def resample(times_ms: NDArray[np.int64], grid_ms: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """times_ms ascending (N,) -> (grid times (M,), index of the last frame with time <= grid time (M,)).

    The grid 0, g, 2g, … begins at its first point that has a frame and ends with the last frame.
    """
    first = max(0, -(-int(times_ms[0]) // grid_ms))
    grid = np.arange(first, max(first, int(times_ms[-1]) // grid_ms) + 1, dtype=np.int64) * grid_ms
    index = np.searchsorted(times_ms, grid, side="right") - 1
    has_frame = index >= 0
    return grid[has_frame], index[has_frame]


def write_features(
    features: Path, times: Path | None, *, final: Path, step_ms: float | None, grid_ms: int
) -> dict[str, Any]:
    """Write `final`, an .npz: embeddings float16 (M, D) unit L2, frame_ms int32 (M,), pts_ms int32 (M,) of the frames.

    Returns what `Recording.origin["features"]` says: counts, dim, end_ms (where the last frame's interval ends).
    """
    embeddings, times_ms = load_features(features, times, step_ms)
    good = real_rows(embeddings)
    rows = np.flatnonzero(good)
    if not len(rows):
        raise _bad(f"every frame of {features.name} is zero or not finite")
    unsorted = int(np.count_nonzero(np.diff(times_ms[rows]) < 0))
    rows = rows[np.argsort(times_ms[rows], kind="stable")]
    frame_ms, index = resample(times_ms[rows], grid_ms)
    if not len(frame_ms):
        raise _bad(f"{features.name} has no frame at or before a grid point", "times are ms from the recording's start")
    chosen = np.asarray(embeddings[rows[index]], dtype=np.float32)
    chosen /= np.abs(chosen).max(1, keepdims=True)  # float32 squares of tiny or huge values would vanish or overflow
    unit = chosen / np.linalg.norm(chosen, axis=1, keepdims=True)
    with atomic_path(final) as temporary, temporary.open("wb") as handle:
        np.savez(
            handle,
            embeddings=unit.astype(np.float16),
            frame_ms=frame_ms.astype(np.int32),
            pts_ms=times_ms[rows[index]].astype(np.int32),
        )
    steps = np.diff(times_ms[rows])
    last_step = int(np.median(steps)) if len(steps) else grid_ms
    return {
        "dim": int(embeddings.shape[1]),
        "num_input": len(embeddings),
        "num_frames": len(frame_ms),
        "num_bad_rows": int(len(embeddings) - len(rows)),
        "num_unsorted": unsorted,
        "grid_ms": grid_ms,
        "end_ms": int(times_ms[rows[-1]]) + max(1, last_step),
    }
