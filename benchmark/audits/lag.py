"""The lag: how long after a frame its comments come, by the similarity of frames and comments in CLIP.

    found = measure(workspace)                       # one RecordingLag a recording, and the pooled estimate
    found.pooled.delay_s, found.pooled.p

For every recording the mean similarity of comments to the frame `d` seconds before them is taken at each whole second
d = 0 .. 30. Frames are taken relative to the mean of the two minutes around them and comments to the recording's mean
comment, so neither the stream's look nor the chat's usual words count, only what goes with the moment. The delay is
the d of the greatest similarity.

Null: the same comments, moved around the recording in a circle by at least two minutes, which keeps the order and the
rhythm of both sides; p = (count + 1)/(n + 1) for the greatest similarity over all delays. Interval: bootstrap of
windows of a minute (pooled: of channels). A recording's null has few shifts, so single recordings can be said to have
a lag only at their own p; the pooled test draws 10,000 shifts of all recordings together, each by a multiple of the
clip length: what chat and screen do at one phase of the clip grid in every recording (as in the sample world, where
context and answers have their seconds) is then in the null, too, and is not taken for a lag.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from videochat.dataset import embeddings_of
from videochat.errors import MissingInput
from videochat.files import parquet_metadata, read_parquet, stable_hash
from videochat.progress import progress

from ..metrics.statistics import MIN_CLUSTERS, NUM_SAMPLES
from ..texts.embeddings import same_encoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from videochat.schema import Recording
    from videochat.workspace import Workspace

    Floats = NDArray[np.float32]

MAX_DELAY_S = 30  # of the search; streams are seen 2-20 s late and people take some seconds to write
LOCAL_S = 120  # frames count relative to their surroundings of this length
GUARD_S = 120  # a shift of the null is at least so long
WINDOW_S = 60  # of the bootstrap
PHASE_S = 30  # the pooled null shifts by multiples of the clip, so that what all recordings do at one phase stays
FOUND_P = 0.01  # below, it is said that there is a lag
MIN_COMMENTS = 50  # fewer tell nothing
AGAIN = "run `videochat build-features` again"


@dataclass(frozen=True, kw_only=True)
class Lag:
    """One estimate. delay_s: seconds from frame to comment, None where nothing could be measured.

    low, high: 95 % interval, None with fewer than 10 windows (pooled: channels); it says where the lag is if there is
    one, not whether there is. similarity: mean centred dot product
    at that delay. z: its distance from the null's mean in the null's standard deviations. p: of no lag at all.
    curve: the similarity at each delay, from 0.
    """

    delay_s: int | None = None
    low: float | None = None
    high: float | None = None
    similarity: float | None = None
    z: float | None = None
    p: float | None = None
    curve: tuple[float, ...] = ()

    @property
    def found(self) -> bool:
        """Whether the comments go with the frames at some delay (p < .01)."""
        return self.p is not None and self.p < FOUND_P

    @property
    def at_the_edge(self) -> bool:
        """Whether the greatest similarity is at the longest delay that was tried: the true one may be longer."""
        return self.found and self.delay_s == len(self.curve) - 1

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"curve": list(self.curve), "found": self.found}


@dataclass(frozen=True, kw_only=True)
class RecordingLag:
    """A recording's estimate, or the reason why there is none. num_comments: those that were embedded and counted."""

    recording_id: str
    channel: str
    num_comments: int = 0
    seconds: int = 0
    lag: Lag = Lag()
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        row = {"recording_id": self.recording_id, "num_comments": self.num_comments, "seconds": self.seconds}
        return row | self.lag.to_json() | {"reason": self.reason}


@dataclass(frozen=True, kw_only=True)
class Lags:
    """recordings in order of id. pooled: over all measured recordings. notes: what must be said beside it."""

    recordings: tuple[RecordingLag, ...]
    pooled: Lag
    num_channels: int
    max_delay_s: int
    notes: tuple[str, ...] = ()

    @property
    def num_measured(self) -> int:
        return sum(row.reason is None for row in self.recordings)

    def to_json(self) -> dict[str, Any]:
        return {
            "max_delay_s": self.max_delay_s,
            "num_channels": self.num_channels,
            "pooled": self.pooled.to_json() | {"num_recordings": self.num_measured},
            "recordings": [row.to_json() for row in self.recordings],
            "notes": list(self.notes),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Aligned:
    """A recording on a grid of seconds. comments float32 (S, D): summed embeddings of each second's comments, relative
    to the mean comment. frames float32 (S, D): relative to their surroundings, 0 where there is none. num_comments:
    int64 (S,)."""

    comments: Floats
    frames: Floats
    num_comments: NDArray[np.int64]

    def correlation(self) -> NDArray[np.float64]:
        """float64 (S,): the summed similarity of comments to the frames L seconds before them, in a circle."""
        total = np.zeros(len(self.frames), dtype=np.float64)
        for start in range(0, self.frames.shape[1], 64):  # bounds memory
            part = slice(start, start + 64)
            product = np.fft.rfft(self.comments[:, part], axis=0) * np.conj(np.fft.rfft(self.frames[:, part], axis=0))
            total += np.fft.irfft(product.sum(axis=1), n=len(total))
        return total

    def windows(self, num_delays: int) -> NDArray[np.float64]:
        """float64 (W, num_delays): what each minute of comments adds to `correlation` at the first delays."""
        curves = np.stack(
            [np.einsum("sd,sd->s", self.comments, np.roll(self.frames, delay, axis=0)) for delay in range(num_delays)]
        )
        bounds = np.arange(0, curves.shape[1], WINDOW_S)
        return np.asarray(np.add.reduceat(curves.astype(np.float64), bounds, axis=1).T)


def min_seconds(max_delay_s: int) -> int:
    """How long a recording must be: below, its comments cannot be moved far enough in enough ways."""
    return 2 * (GUARD_S + max_delay_s) + 4 * PHASE_S


def align(
    comment_s: NDArray[np.int64], comments: Floats, frame_s: NDArray[np.int64], frames: Floats, num_seconds: int
) -> Aligned:
    """comment_s int64 (N,) with embeddings (N, D), frame_s int64 (M,) with embeddings (M, D); what lies outside of
    [0, num_seconds) is left out."""
    inside = (comment_s >= 0) & (comment_s < num_seconds)
    comment_s, comments = comment_s[inside], comments[inside]
    summed = np.zeros((num_seconds, frames.shape[1]), np.float32)
    np.add.at(summed, comment_s, comments - comments.mean(axis=0) if len(comments) else comments)
    shown = np.zeros((num_seconds, frames.shape[1]), np.float32)
    there = np.zeros(num_seconds, np.bool_)
    inside = (frame_s >= 0) & (frame_s < num_seconds)
    shown[frame_s[inside]], there[frame_s[inside]] = frames[inside], True
    sums = np.concatenate([np.zeros((1, shown.shape[1])), np.cumsum(shown, axis=0, dtype=np.float64)])
    counts = np.concatenate([[0], np.cumsum(there)])
    low = np.maximum(0, np.arange(num_seconds) - LOCAL_S // 2)
    high = np.minimum(num_seconds, np.arange(num_seconds) + LOCAL_S // 2)
    local = (sums[high] - sums[low]) / np.maximum(1, counts[high] - counts[low])[:, None]
    centred = np.where(there[:, None], shown - local, 0.0).astype(np.float32)
    return Aligned(comments=summed, frames=centred, num_comments=np.bincount(comment_s, minlength=num_seconds))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Measured:
    """What the pooled estimate needs of one recording. null: (shifts, delays), the curves at the shifts of the null."""

    channel: str
    total: int
    curve: NDArray[np.float64]
    null: NDArray[np.float64]


def measure(workspace: Workspace, *, max_delay_s: int = MAX_DELAY_S, seed: int = 0) -> Lags:
    """The lag of every recording and of all together. Raises MissingInput if the workspace holds no recordings."""
    recordings = workspace.recordings()
    if not recordings:
        raise MissingInput(f"no recordings in {workspace.root}", fix="import some with `videochat import`")
    rows: list[RecordingLag] = []
    measured: list[_Measured] = []
    notes: set[str] = set()
    with progress(what="lag", total=len(recordings), unit="recording") as bar:
        for recording in recordings:
            given = _read(workspace, recording, max_delay_s, notes)
            row = RecordingLag(recording_id=recording.recording_id, channel=recording.channel_key)
            if isinstance(given, str):
                rows.append(dataclasses.replace(row, reason=given))
            else:
                lag, kept = estimate(given, recording.channel_key, max_delay_s, seed=seed)
                total = int(given.num_comments.sum())
                rows.append(dataclasses.replace(row, num_comments=total, seconds=len(given.frames), lag=lag))
                measured.append(kept)
            bar.update(1)
    channels = len({kept.channel for kept in measured})
    pooled = _pooled(measured, seed=seed) if measured else Lag()
    return Lags(
        recordings=tuple(rows),
        pooled=pooled,
        num_channels=channels,
        max_delay_s=max_delay_s,
        notes=tuple(sorted(notes)),
    )


def _read(workspace: Workspace, recording: Recording, max_delay_s: int, notes: set[str]) -> Aligned | str:
    """The recording on its grid, or why it cannot be measured."""
    name = recording.recording_id
    frames_path, texts_path = workspace.frames_path(name), workspace.texts_path(name)
    if not frames_path.is_file():
        return "no frames: text-only" if recording.video is None and recording.features is None else "no frame features"
    if not texts_path.is_file() or not workspace.comments_path(name).is_file():
        return "no embedded comments"
    made = parquet_metadata(frames_path).get("fingerprint")
    if not same_encoder(parquet_metadata(texts_path).get("fingerprint"), made):
        return "frames and comments are of different encoders"
    if (made or {}).get("trained") is False:
        notes.add("the features are of an untrained CLIP: similarities mean nothing")
    frames = read_parquet(frames_path, columns=["frame_ms", "embedding"], fix=AGAIN)
    texts = read_parquet(texts_path, fix=AGAIN)
    said = read_parquet(workspace.comments_path(name), columns=["time_ms", "text", "kept"], fix="clean it again")
    place = {text: row for row, text in enumerate(texts["text"].to_pylist())}
    pairs = [
        (time_ms // 1000, place[text])
        for time_ms, text, kept in zip(*(said[c].to_pylist() for c in ("time_ms", "text", "kept")), strict=True)
        if kept and text in place
    ]
    seconds = recording.duration_ms // 1000
    if len(pairs) < MIN_COMMENTS:
        return f"{len(pairs)} comments, fewer than {MIN_COMMENTS}"
    if seconds < min_seconds(max_delay_s):
        return f"{seconds} s long, shorter than {min_seconds(max_delay_s)} s"
    vectors = embeddings_of(texts["embedding"].combine_chunks()).astype(np.float32)
    shown = embeddings_of(frames["embedding"].combine_chunks()).astype(np.float32)
    times, rows = np.array(pairs, dtype=np.int64).T
    return align(times, vectors[rows], frames["frame_ms"].to_numpy().astype(np.int64) // 1000, shown, seconds)


def estimate(given: Aligned, channel: str, max_delay_s: int, *, seed: int = 0) -> tuple[Lag, _Measured]:
    """The lag of one recording, and what the pooled estimate takes from it."""
    num = max_delay_s + 1
    total = max(1, int(given.num_comments.sum()))
    around = given.correlation() / total
    curve = around[:num]
    first = GUARD_S + max_delay_s
    shifts = np.lib.stride_tricks.sliding_window_view(around, num)[first : len(around) - GUARD_S - num]
    on_grid = shifts[-first % PHASE_S :: PHASE_S]
    kept = _Measured(channel=channel, total=total, curve=curve, null=on_grid)
    windows = given.windows(num)
    return _lag(curve, shifts.max(axis=1), windows, seed=seed), kept


def _lag(
    curve: NDArray[np.float64], null: NDArray[np.float64], parts: NDArray[np.float64], *, seed: int, num: int = 2000
) -> Lag:
    """The estimate from a curve (delays,), the null's maxima and the parts (windows or channels, delays) that the
    curve is a sum of, which are drawn again."""
    delay = int(curve.argmax())
    peak = float(curve[delay])
    low = high = None
    if len(parts) >= MIN_CLUSTERS:
        random = np.random.default_rng(stable_hash(seed, "lag", len(parts)))
        draws = random.multinomial(len(parts), np.full(len(parts), 1 / len(parts)), size=num)
        delays = (draws @ parts).argmax(axis=1)
        low, high = (float(np.quantile(delays, q, method="nearest")) for q in (0.025, 0.975))
    spread = float(null.std())
    return Lag(
        delay_s=delay,
        low=low,
        high=high,
        similarity=round(peak, 6),
        z=round((peak - float(null.mean())) / spread, 3) if spread > 0 else None,
        p=round(float(((null >= peak).sum() + 1) / (len(null) + 1)), 6),
        curve=tuple(round(float(value), 6) for value in curve),
    )


def _pooled(measured: Sequence[_Measured], *, seed: int) -> Lag:
    """All recordings together, each weighing by its comments."""
    total = sum(kept.total for kept in measured)
    curve = np.sum([kept.curve * kept.total for kept in measured], axis=0) / total
    random = np.random.default_rng(stable_hash(seed, "lag-null", len(measured)))
    drawn = np.zeros((NUM_SAMPLES, len(curve)))
    for kept in measured:
        drawn += kept.null[random.integers(len(kept.null), size=NUM_SAMPLES)] * (kept.total / total)
    channels: dict[str, NDArray[np.float64]] = {}
    for kept in measured:
        channels[kept.channel] = channels.get(kept.channel, np.zeros_like(curve)) + kept.curve * kept.total
    return _lag(curve, drawn.max(axis=1), np.stack([channels[name] for name in sorted(channels)]), seed=seed)
