"""The one protocol in which the benchmark and the models meet; neither imports the other.

A Commenter scores candidate comments for clips. It is handed `ClipView`s, in which the future does not exist.

    class Longest:
        name = "longest"
        needs = frozenset()
        def score(self, clips, candidates, texts):
            return [ClipScores(score=np.array([len(texts.texts[i]) for i in ids], dtype=np.float64))
                    for ids in candidates]
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from .errors import MissingInput
from .registry import Registry
from .schema import Clip, Comment, Segment

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .dataset import Dataset
    from .workspace import Workspace

# text_embeddings: of the context comments (in the shards); candidate_embeddings: of the candidates (in their sets)
NEEDS = frozenset({"frames", "text_embeddings", "candidate_embeddings", "transcript"})


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ClipView:
    """What a model may see of a clip: all strictly before `now_ms`.

    context: comments in order of time. frame_ms int32 (N,), frames float16 (N, D) L2-normalised, at most 30 rows
    (fewer at the start of a recording), None without features. context_clip float16 (len(context), D) or None.
    """

    clip_id: str
    recording_id: str
    channel_id: str
    category: str
    language: str
    start_ms: int
    now_ms: int
    context: tuple[Comment, ...]
    frame_ms: NDArray[np.int32] | None = None
    frames: NDArray[np.float16] | None = None
    context_clip: NDArray[np.float16] | None = None
    transcript: tuple[Segment, ...] = ()


def view(clip: Clip) -> ClipView:
    """The clip as a model sees it under PROTOCOL v1: context comments, frames of [start - 10 s, start + 20 s),
    transcript segments that end by then. Responses and everything later are absent, not masked."""
    now_ms = clip.context_end_ms
    seen = None if clip.frame_ms is None else clip.frame_ms < now_ms
    said = [index for index, comment in enumerate(clip.context) if comment.offset_ms < now_ms]
    return ClipView(
        clip_id=clip.clip_id,
        recording_id=clip.recording_id,
        channel_id=clip.channel_id,
        category=clip.category,
        language=clip.language,
        start_ms=clip.start_ms,
        now_ms=now_ms,
        context=tuple(clip.context[index] for index in said),
        frame_ms=None if clip.frame_ms is None else clip.frame_ms[seen],
        frames=None if clip.frames is None else clip.frames[seen],
        context_clip=None if clip.context_clip is None else clip.context_clip[said],
        transcript=tuple(segment for segment in clip.transcript if segment.end_ms <= now_ms),
    )


@dataclass(frozen=True, eq=False)
class TextTable:
    """The candidate texts of a protocol, each once. Candidates are row numbers of this table.

    texts: list of str. keys: key(text) of each (PROTOCOL). embeddings: float16 (len(texts), D), L2-normalised CLIP
    text embeddings, or None in a text-only dataset.
    """

    texts: Sequence[str]
    keys: Sequence[str]
    embeddings: NDArray[np.float16] | None = None

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, eq=False)
class ClipScores:
    """Scores of the K candidates of one clip, float64 (K,), higher = more likely; -inf is legal, NaN is not.

    score: the model's own score. Likelihood models also give log_likelihood (sum over the tokens of the candidate,
    end-of-sequence included), num_tokens (int32, end-of-sequence included) and null_log_likelihood (the same for a
    clip without context, frames or transcript).
    """

    score: NDArray[np.float64]
    log_likelihood: NDArray[np.float64] | None = None
    num_tokens: NDArray[np.int32] | None = None
    null_log_likelihood: NDArray[np.float64] | None = None


@runtime_checkable
class Commenter(Protocol):
    """A model or scorer. needs: what a dataset must hold (of NEEDS); where it lacks, the model is skipped.

    Optional: generate(clips, **options) -> list[str]; fit(train: Iterable[Clip]) -> None (statistics from train only).
    """

    name: str
    needs: frozenset[str]

    def score(
        self, clips: Sequence[ClipView], candidates: Sequence[Sequence[int]], texts: TextTable
    ) -> list[ClipScores]: ...


@runtime_checkable
class Chooser(Protocol):
    """A model that only chooses or orders, such as one behind an API; the ranker makes a Commenter of it.

    rank(clip, texts): the candidates of one clip in a given order -> their positions from 0, best first (some, or one
    alone, leave the rest tied), or a string with letters or numbers from 1. It is asked in several orders.
    """

    name: str
    needs: frozenset[str]

    def rank(self, clip: ClipView, texts: Sequence[str]) -> Sequence[int] | int | str | None: ...


@dataclass(frozen=True, kw_only=True)
class LoadContext:
    """What a model may use to load itself. checkpoint: the folder that `train` wrote (or is to write)."""

    workspace: Workspace
    dataset: Dataset
    checkpoint: Path
    device: str = "cpu"
    seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """How to get a Commenter by name.

    load: builds it (a Chooser only from a user's file); raises MissingInput (with the `train` line as its fix) if
        there is no checkpoint.
    train: None for scorers; else trains and writes `context.checkpoint`, selecting on dev alone.
    needs: what training with the context's options reads of a dataset (of NEEDS); None: known only when it is tried.
    text_only: options with which the model learns from chat alone; empty where it cannot.
    """

    name: str
    summary: str
    load: Callable[[LoadContext], Commenter | Chooser]
    train: Callable[[LoadContext], None] | None = None
    needs: Callable[[LoadContext], frozenset[str]] | None = None
    text_only: Mapping[str, Any] = field(default_factory=dict)


MODELS: Registry[ModelEntry] = Registry("model")


def lacking(name: str, missing: Collection[str]) -> MissingInput:
    """That the model `name` reads what the shards do not hold: of "frames", "text_embeddings", "transcript"."""
    features = set(missing) - {"transcript"}
    step = "videochat build-features" if features else "videochat transcribe"
    return MissingInput(
        f"{name} needs {', '.join(sorted(missing))}, which these shards lack",
        fix=f"run `{step}` and `videochat build`, or train {'sfat-text' if features else 'sfat'}",
    )
