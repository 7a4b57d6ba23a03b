"""Decode no more than the wanted pictures need, and get exactly the pictures that a full decode would show.

Packets carry presentation times, so the picture on screen at each wanted time is known before anything is decoded.
In each group of pictures (a keyframe and what follows it) the decoder gets the packets up to the last wanted picture;
the rest of the group is left out, and so are pictures that no other refers to. Groups without a wanted picture cost
only their reading. Nothing is assumed about the file: if a wanted picture does not come out, or comes out damaged,
`PlanFailed` is raised and the caller decodes everything from the start.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

MAX_GROUP_PACKETS = 20_000  # 5 minutes at 60 fps without a keyframe: held in memory, so there is a limit
SKIP_UNUSED = "NONREF"
SKIP_NOTHING = "DEFAULT"


class PlanFailed(Exception):
    """The file does not keep what its packets promise; decode it in full."""


@dataclass(slots=True)
class Group:
    """Packets from one keyframe to before the next, in decoding order."""

    packets: list[Any] = field(default_factory=list)

    @property
    def key_pts(self) -> int:
        return int(self.packets[0].pts)

    def shown(self) -> list[int]:
        """Presentation times of the packets that are to be shown, unsorted."""
        return [packet.pts for packet in self.packets if not packet.is_discard]


def groups(packets: Iterator[Any]) -> Iterator[Group]:
    """Cut a stream of packets at its keyframes. Raises PlanFailed on packets without time and on endless groups."""
    group = Group()
    for packet in packets:
        if packet.size == 0:
            continue  # the demuxer's end marker
        if packet.pts is None or packet.is_corrupt:
            raise PlanFailed("a packet has no presentation time or is cut")
        if packet.is_keyframe and group.packets:
            yield group
            group = Group()
        if not group.packets and not packet.is_keyframe:
            raise PlanFailed("the stream does not begin with a keyframe")
        group.packets.append(packet)
        if len(group.packets) > MAX_GROUP_PACKETS:
            raise PlanFailed("a group of pictures is too long to hold")
    if group.packets:
        yield group


class Plan:
    """Which presentation times are wanted, found group by group.

    times: wanted times on the stream's own clock, in units of its time base, exact and ascending. zero: pts of the
    first presentable frame; nothing before it counts.
    """

    def __init__(self, times: Iterator[Fraction], zero: int) -> None:
        self._times = times
        self._next = next(self._times, None)
        self._zero = zero

    @property
    def done(self) -> bool:
        return self._next is None

    def wanted(self, pts: set[int], until: int | None) -> set[int]:
        """The pictures among `pts` that are on screen at a wanted time before `until` (None: to the end)."""
        ordered = sorted(value for value in pts if value >= self._zero)
        found = set()
        while self._next is not None and (until is None or self._next < until):
            place = bisect_right(ordered, self._next)
            if not place:
                raise PlanFailed("the picture on screen lies before this group")
            found.add(ordered[place - 1])
            if until is None and place == len(ordered):
                break  # every later time shows the same last picture
            self._next = next(self._times, None)
        return found


class Decoder:
    """Feeds groups to a codec context and hands out the wanted frames as they come."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._missing: set[int] = set()
        self._last: int | None = None  # pts of the last frame handed out

    def decode(self, group: Group, wanted: set[int], *, whole: bool) -> Iterator[Any]:
        """Decode as much of a group as its wanted pictures need; empty the decoder afterwards unless `whole`."""
        self._missing |= wanted
        last = max((i for i, packet in enumerate(group.packets) if packet.pts in wanted), default=-1)
        for packet in group.packets if whole else group.packets[: last + 1]:
            self._context.skip_frame = SKIP_NOTHING if packet.pts in wanted else SKIP_UNUSED
            yield from self._wanted(packet)
        if whole:
            return
        yield from self._wanted(None)
        self._context.flush_buffers()
        if self._missing:
            raise PlanFailed("a wanted picture did not come out of the decoder")

    def _wanted(self, packet: Any) -> Iterator[Any]:
        import av

        try:
            frames = self._context.decode(packet)
        except av.error.FFmpegError as error:
            raise PlanFailed("a packet does not decode") from error
        for frame in frames:
            if frame.pts not in self._missing:
                continue
            if frame.is_corrupt or (self._last is not None and frame.pts < self._last):
                raise PlanFailed("a wanted picture is damaged or out of order")
            self._missing.discard(frame.pts)
            self._last = frame.pts
            yield frame


def planned(context: Any, packets: Iterator[Any], plan: Plan) -> Iterator[Any]:
    """The wanted frames in presentation order, decoded from `packets` by `context`.

    Raises PlanFailed where a wanted picture did not come out whole; what was yielded before is right.
    """
    decoder = Decoder(context)
    incoming = groups(packets)
    group = next(incoming, None)
    leading: set[int] = set()  # wanted pictures of this group that are shown before its own keyframe
    while group is not None:
        following = next(incoming, None)
        until = None if following is None else following.key_pts
        if len(set(group.shown())) < len(group.shown()):
            raise PlanFailed("two pictures have the same presentation time")
        if until is not None and until <= group.key_pts:
            raise PlanFailed("keyframes go backward in time")
        own = {pts for pts in group.shown() if pts >= group.key_pts}
        ahead = {pts for pts in following.shown() if pts < following.key_pts} if following else set()
        wanted = plan.wanted(own | ahead, until)
        whole = bool(wanted & ahead)  # the next group's leading pictures refer to this group: no cut, no flush
        mine = (wanted & own) | leading
        if mine or whole:
            yield from decoder.decode(group, mine, whole=whole)
        if plan.done and not whole:
            return
        leading, group = wanted & ahead, following
