"""Audits of the splits: nothing of dev or test stands in an earlier split, by id, by channel, by chat or by video."""

from __future__ import annotations

from collections.abc import Sequence

from .data import AuditInput, declare
from .gate import Check
from .matches import MIN_CLIPS, Match, leaking
from .near_chat import COLUMNS, chat_matches
from .near_video import video_matches


def _on_both_sides(given: AuditInput, column: str) -> list[tuple[str, list[str]]]:
    """(value, splits) of the values of a column that occur in more than one split."""
    table = given.dataset.table(columns=["split", column])
    found: dict[str, set[str]] = {}
    for split, value in set(zip(table["split"].to_pylist(), table[column].to_pylist(), strict=True)):
        found.setdefault(value, set()).add(split)
    return [(value, sorted(splits)) for value, splits in sorted(found.items()) if len(splits) > 1]


@declare("same-recording", "splits", "every recording lies in one split")
def same_recording(given: AuditInput) -> list[Check]:
    both = _on_both_sides(given, "recording_id")
    detail = f"{both[0][0]} is in {' and '.join(both[0][1])}" if both else "each lies in one split"
    return [Check(check="splits: same recording", ok=not both, detail=detail, figure=float(len(both)))]


@declare("same-channel", "splits", "every channel lies in one split, unless the split is by recording")
def same_channel(given: AuditInput) -> list[Check]:
    both = _on_both_sides(given, "channel_id")
    by_choice = given.dataset.split_by == "recording"
    detail = "each lies in one split"
    if both:
        where = " and ".join(both[0][1])
        detail = f"{len(both)} channels on both sides, {both[0][0]} in {where}" + (
            ": split by recording, by choice" if by_choice else ""
        )
    ok = not both or by_choice
    return [Check(check="splits: same channel", ok=ok, detail=detail, figure=float(len(both)))]


@declare("near-duplicate-chat", "splits", "no clip's chat stands in an earlier split")
def near_duplicate_chat(given: AuditInput) -> list[Check]:
    matches = chat_matches(given.dataset.table(columns=list(COLUMNS)))
    return [_matched("splits: near-duplicate chat", matches, "by runs of three comments")]


@declare("near-duplicate-video", "splits", "no clip's frames run as those of an earlier split")
def near_duplicate_video(given: AuditInput) -> list[Check]:
    name = "splits: near-duplicate video"
    if "frames" not in given.dataset.provides:
        return [Check(check=name, ok=True, detail="not looked at: the dataset holds no frames", figure=None)]
    return [_matched(name, video_matches(given.dataset), "by frame embeddings, second by second")]


def _matched(name: str, matches: Sequence[Match], how: str) -> Check:
    """Fails if a recording shares at least MIN_CLIPS clips with one of another split."""
    pairs = leaking(matches)
    clips = len({match.clip_id for match in matches})
    if pairs:
        own, other, count = pairs[0]
        detail = f"{len(pairs)} pairs of recordings, {count} clips of {own} stand in {other}, {how}"
    elif clips:
        detail = f"{clips} lone clips ({matches[0].clip_id} in {matches[0].other}), fewer than {MIN_CLIPS} of a pair"
    else:
        detail = f"none, {how}"
    return Check(check=name, ok=not pairs, detail=detail, figure=float(clips))
