"""Video gain and chat gain: the same model, the same candidates, but the frames (or the chat) of another clip.

Each clip has one fixed partner: the next member of its group in hash order, so that within a group everyone's frames
are used once. The group is that of the first headline set that holds the clip in a group (random first); a clip
without a group (protocol classic) gets another clip of its recording that is no neighbour, by hash. The partner is
always of the same recording: what is lost with the swap is what the moment tells, not what the stream tells. What is
said stays the clip's own under both: it is neither frames nor chat.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from videochat.commenter import ClipView
from videochat.files import stable_hash

from .tasks import Task


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a clip lies: [start_ms, end_ms) of its recording."""

    clip_id: str
    recording_id: str
    start_ms: int
    end_ms: int


def partners(tasks: Sequence[Task], places: Iterable[Place], *, seed: int = 0) -> dict[str, str]:
    """clip_id -> clip_id of its partner, for the clips of the tasks; a clip that has no possible partner is left out.

    tasks: of one split, in order of preference for their groups. places: all clips of that split.
    """

    def draw(clip_id: str) -> tuple[int, str]:
        return stable_hash(seed, "swap", clip_id), clip_id

    chosen: dict[str, str] = {}
    for task in tasks:
        groups: dict[tuple[str, str], list[str]] = {}
        for clip_id, recording, group in zip(
            task.clip_ids.tolist(), task.recording_ids.tolist(), task.group_ids.tolist(), strict=True
        ):
            groups.setdefault((recording, group), []).append(clip_id)
        for members in groups.values():
            order = sorted(members, key=draw)
            if len(order) > 1:
                for clip_id, partner in zip(order, [*order[1:], order[0]], strict=True):
                    chosen.setdefault(clip_id, partner)
    recordings: dict[str, list[Place]] = {}
    known: dict[str, Place] = {}
    for place in places:
        recordings.setdefault(place.recording_id, []).append(place)
        known[place.clip_id] = place
    for clip_id in sorted({clip_id for task in tasks for clip_id in task.clip_ids.tolist()} - set(chosen)):
        here = known[clip_id]
        length = here.end_ms - here.start_ms
        far = [p.clip_id for p in recordings[here.recording_id] if abs(p.start_ms - here.start_ms) > length]
        if far:
            chosen[clip_id] = min(far, key=lambda other: (stable_hash(seed, "swap", clip_id, other), other))
    return chosen


def video_swapped(view: ClipView, partner: ClipView) -> ClipView:
    """`view` with the partner's frames, moved so that both views end at the same time."""
    if partner.frame_ms is None:
        return view
    shift = view.now_ms - partner.now_ms
    return dataclasses.replace(view, frames=partner.frames, frame_ms=partner.frame_ms + shift)


def chat_swapped(view: ClipView, partner: ClipView) -> ClipView:
    """`view` with the partner's context comments (and their embeddings), moved so that both views end at the same time.

    What would then lie before the clip is left out (on the track v1-at-comment, where views differ in length).
    """
    shift = view.now_ms - partner.now_ms
    kept = [index for index, comment in enumerate(partner.context) if comment.offset_ms + shift >= view.start_ms]
    moved = [(partner.context[index], partner.context[index].offset_ms + shift) for index in kept]
    context = tuple(dataclasses.replace(comment, offset_ms=time) for comment, time in moved)
    vectors = partner.context_clip
    if vectors is not None and len(kept) < len(vectors):
        vectors = vectors[kept]
    return dataclasses.replace(view, context=context, context_clip=vectors)


def swapped(views: Mapping[str, ClipView], pairs: Mapping[str, str], condition: str) -> dict[str, ClipView]:
    """The views of the clips that have a partner, under a swapped condition ("video-swapped" or "chat-swapped")."""
    swap = {"video-swapped": video_swapped, "chat-swapped": chat_swapped}[condition]
    return {
        clip_id: swap(view, views[pairs[clip_id]]) for clip_id, view in views.items() if pairs.get(clip_id, "") in views
    }
