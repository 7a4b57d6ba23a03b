"""What a model may see of a clip, on each track of a protocol. The ranker cuts the views; a model never sees a clip.

context-end   (v1) the context comments, the frames of [-10, 20) s, transcript segments that ended by 20 s
at-comment    (v1-at-comment) the same up to the truth's own second, excluded

On the track at-comment the view ends with the last whole second before the truth's key was first said among the
responses, so no comment with that key is in it; the truth's key is not in the context either (PROTOCOL "Truth"). The
responses before that second are chat like the context, and the window of 30 frames moves on with the end: a trained
model meets as many frames as it learnt with. The truths, the groups and the strings are those of v1, in which no truth
stands in the context or any response of another clip of its group, and so in no view: the difference to v1 is what the
seconds between are worth, clip by clip. A clip that is no item of a set (a partner of the swaps) is shown as in v1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from videochat.clock import ClipGeometry
from videochat.commenter import ClipView, TextTable, view
from videochat.errors import Mismatch, MissingInput
from videochat.schema import Clip

from ..texts.embeddings import text_embeddings
from ..texts.keys import key

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from videochat.dataset import Dataset
    from videochat.workspace import Workspace

    from .sets import CandidateSets

SECOND_MS = 1_000
RANKED_SPLITS = ("dev", "test")


@dataclass(frozen=True, kw_only=True, eq=False)
class Views:
    """Shows clips: views(clip) -> ClipView.

    ends: clip_id -> now_ms, for clips whose view ends later than their context. window_ms: how far back frames reach.
    vectors: (recording_id, text) -> CLIP text embedding, float16 (D,), of the responses before `ends`; {} where the
    data set holds none.
    """

    ends: Mapping[str, int] = field(default_factory=dict)
    window_ms: int = ClipGeometry().frames_before_ms + ClipGeometry().context_ms
    vectors: Mapping[tuple[str, str], NDArray[np.float16]] = field(default_factory=dict)

    @classmethod
    def of(cls, workspace: Workspace, dataset: Dataset, sets: CandidateSets) -> Views:
        """The views of a protocol's track.

        Raises Mismatch if a truth is no response of its clip, MissingInput if candidates have embeddings and the
        responses before them have not.
        """
        if sets.declaration.track == "context-end":
            return cls()
        truths = {
            clip_id: sets.texts.keys[truth]
            for part in sets.values()
            for clip_id, truth in zip(part.clip_ids.tolist(), part.truths.tolist(), strict=True)
        }
        ends, earlier = view_ends(dataset, truths)
        geometry = workspace.settings.geometry
        vectors = _embedded(workspace, dataset, sets.texts, sorted(earlier))
        return cls(ends=ends, window_ms=geometry.frames_before_ms + geometry.context_ms, vectors=vectors)

    def __call__(self, clip: Clip) -> ClipView:
        seen = view(clip)
        now_ms = self.ends.get(clip.clip_id, seen.now_ms)
        if now_ms == seen.now_ms:
            return seen
        earlier = tuple(comment for comment in clip.responses if comment.offset_ms < now_ms)
        frames = clip.frame_ms is not None and (clip.frame_ms < now_ms) & (clip.frame_ms >= now_ms - self.window_ms)
        context_clip = seen.context_clip
        if earlier and context_clip is not None:
            later = [self.vectors[clip.recording_id, comment.text] for comment in earlier] if self.vectors else None
            context_clip = None if later is None else np.concatenate([context_clip, np.stack(later)])
        return dataclasses.replace(
            seen,
            now_ms=now_ms,
            context=(*seen.context, *earlier),
            context_clip=context_clip,
            frame_ms=None if clip.frame_ms is None else clip.frame_ms[frames],
            frames=None if clip.frames is None else clip.frames[frames],
            transcript=tuple(segment for segment in clip.transcript if segment.end_ms <= now_ms),
        )


def view_ends(dataset: Dataset, truths: Mapping[str, str]) -> tuple[dict[str, int], set[tuple[str, str]]]:
    """clip_id -> where its view ends on the track at-comment, and (recording_id, text) of the responses before that.

    truths: clip_id -> key of its truth. The end is the start of the second in which the key was first said among the
    responses, and never before the context ends.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    ends: dict[str, int] = {}
    earlier: set[tuple[str, str]] = set()
    for split in RANKED_SPLITS:
        table = dataset.table(split, ["clip_id", "recording_id", "context_end_ms", "responses"])
        wanted = pc.is_in(table["clip_id"], pa.array(sorted(truths), pa.string()))
        for row in table.filter(wanted).to_pylist():
            truth = truths[row["clip_id"]]
            times = [said["offset_ms"] for said in row["responses"] if key(said["text"]) == truth]
            if not times:
                raise Mismatch(
                    f"the truth of {row['clip_id']} is none of its responses", fix="run `videochat candidates` again"
                )
            end = max(row["context_end_ms"], min(times) // SECOND_MS * SECOND_MS)
            ends[row["clip_id"]] = end
            earlier |= {(row["recording_id"], said["text"]) for said in row["responses"] if said["offset_ms"] < end}
    return ends, earlier


def _embedded(
    workspace: Workspace, dataset: Dataset, texts: TextTable, earlier: list[tuple[str, str]]
) -> dict[tuple[str, str], NDArray[np.float16]]:
    if texts.embeddings is None or not earlier:
        return {}
    recordings, said = zip(*earlier, strict=True)
    vectors = text_embeddings(workspace, dataset, said, recordings)
    if vectors is None:
        raise MissingInput(
            "the responses before the truths have no CLIP embeddings in this workspace",
            fix="rank where texts/ is, or run `videochat build-features`",
        )
    return dict(zip(earlier, vectors, strict=True))
