"""Pack clips into groups of exactly K so that no two of a group conflict, leaving out as few as possible.

    pack(conflicts, k=10)                       # groups filled in the order of the rows
    pack(conflicts, k=10, similarity=matrix)    # groups of mutually similar rows

Packing independent sets of equal size is NP-hard in general; chat makes it easy enough (a clip conflicts with its two
neighbours and with those that share a popular comment) for greedy filling with repairs:

1. fill floor(n / K) groups: first fit in the given order, or each around the row with most conflicts;
2. a row that fits nowhere pushes another one on, along the shortest chain that ends in a free place;
3. or two groups are split anew together with it (two colours, components turned so that both keep to K): a chain
   cannot find the one way in which 20 clips in a row make two groups, even and odd;
4. or a tabu search moves unplaced rows in and whatever conflicts out (PartialCol: Bloechliger and Zufferey, "A graph
   coloring heuristic using partial solutions and a reactive tabu scheme", 2008, here with groups of limited size);
5. while a group is not full, the smallest is dissolved and its rows are tried again; the only one is looked for
   among all rows, depth first, before it is given up;
6. with a similarity, rows of two groups change places while that makes both together more alike.

All arithmetic is on integers and every tie goes to the lower row, so equal input gives equal groups everywhere.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_CHAIN = 8  # rows that one repair may move
MAX_MOVES = 400  # of the tabu search before a group is given up
MAX_NODES = 20_000  # of the search for a recording's only group; 24 clips need some hundreds
TENURE = 6  # moves for which a row pushed out of a group stays out, at least
MAX_SWEEPS = 8  # of exchanges; later sweeps change next to nothing
NOWHERE = -1
NEVER = 1 << 30


def pack(conflicts: NDArray[np.bool_], *, k: int, similarity: NDArray[np.int64] | None = None) -> list[tuple[int, ...]]:
    """Disjoint groups of k rows without a conflict inside, in order of their first row; rows ascend in a group.

    conflicts: bool (n, n), symmetric, diagonal False. similarity: int64 (n, n), symmetric, higher = more alike.
    """
    packing = _Packing(conflicts, k)
    if similarity is None:
        packing.first_fit()
    else:
        packing.grow(similarity)
    packing.repair()
    while not packing.is_full:
        packing.dissolve()
        packing.repair()
    if similarity is not None:
        packing.exchange(similarity)
    return sorted(tuple(_bits(mask)) for mask in packing.masks)


def groupable(conflicts: NDArray[np.bool_], k: int) -> NDArray[np.int64]:
    """The rows that could be in a group at all: each has k - 1 others among them that it does not conflict with."""
    rows = np.arange(len(conflicts))
    while len(rows):
        partners = len(rows) - 1 - conflicts[np.ix_(rows, rows)].sum(axis=1)
        if (partners >= k - 1).all():
            break
        rows = rows[partners >= k - 1]
    return rows


class _Packing:
    """Groups as bit masks over rows. Invariants: groups are disjoint, free of conflicts and hold at most k rows."""

    def __init__(self, conflicts: NDArray[np.bool_], k: int) -> None:
        self.k = k
        self.matrix = conflicts
        packed = np.packbits(conflicts, axis=1, bitorder="little")
        self.conflicts = [int.from_bytes(row.tobytes(), "little") for row in packed]
        self.masks = [0] * (len(conflicts) // k)
        self.unplaced = set(range(len(conflicts)))

    def room(self, group: int) -> int:
        return self.k - self.masks[group].bit_count()

    @property
    def is_full(self) -> bool:
        return all(mask.bit_count() == self.k for mask in self.masks)

    def put(self, row: int, group: int) -> None:
        self.masks[group] |= 1 << row
        self.unplaced.discard(row)

    def first_fit(self) -> None:
        for row in range(len(self.conflicts)):
            for group, mask in enumerate(self.masks):
                if not mask & self.conflicts[row] and self.room(group):
                    self.put(row, group)
                    break

    def grow(self, similarity: NDArray[np.int64]) -> None:
        """Around the unplaced row with most conflicts (later it would fit nowhere), the most alike one by one."""
        degrees = self.matrix.sum(axis=1)
        free = np.ones(len(degrees), dtype=bool)
        least = np.iinfo(np.int64).min
        for group in range(len(self.masks)):
            row = int(np.where(free, degrees, -1).argmax())
            allowed, likeness = free.copy(), np.zeros(len(degrees), dtype=np.int64)
            for _ in range(self.k):
                self.put(row, group)
                free[row] = allowed[row] = False
                allowed &= ~self.matrix[row]
                likeness += similarity[row]
                if not allowed.any():
                    break
                row = int(np.where(allowed, likeness, least).argmax())

    # -- repairs

    def repair(self) -> None:
        """Place what can be placed, until a whole round places nothing."""
        self._place_simply()
        if not self.is_full:
            self._search()

    def _place_simply(self) -> None:
        progress = True
        while progress:
            progress = False
            for row in sorted(self.unplaced):
                if self.is_full:
                    return
                progress |= self._place_by_chain(row) or self._place_by_split(row)

    def dissolve(self) -> None:
        """Give up the smallest group; the last one only when a search through all rows finds no group."""
        if len(self.masks) == 1 and (found := self._any_group()):
            self.masks, self.unplaced = [found], set(range(len(self.conflicts))) - set(_bits(found))
            return
        smallest = min(range(len(self.masks)), key=lambda group: (self.masks[group].bit_count(), group))
        self.unplaced.update(_bits(self.masks.pop(smallest)))

    def _place_by_chain(self, first: int) -> bool:
        """Breadth first: a row enters a group with room, or enters one and pushes out a row that goes on searching.

        A chain visits no group twice, so each of its moves is checked against the group as it stands.
        """
        came: dict[int, tuple[int, int]] = {first: (NOWHERE, NOWHERE)}  # row -> (who pushed it, out of which group)
        queue = deque([(first, 0, 0)])  # row, length of its chain, groups of the chain as bits
        while queue:
            row, length, visited = queue.popleft()
            for group, mask in enumerate(self.masks):
                if visited >> group & 1:
                    continue
                against = mask & self.conflicts[row]
                if not against and mask.bit_count() < self.k:
                    self._move_along(came, row, group)
                    return True
                if against.bit_count() > 1 or length == MAX_CHAIN:
                    continue
                for pushed in _bits(against or mask):
                    if pushed not in came:
                        came[pushed] = (row, group)
                        queue.append((pushed, length + 1, visited | 1 << group))
        return False

    def _move_along(self, came: dict[int, tuple[int, int]], row: int, group: int) -> None:
        while row != NOWHERE:
            pusher, left = came[row]
            if left != NOWHERE:
                self.masks[left] &= ~(1 << row)
            self.put(row, group)
            row, group = pusher, left

    def _place_by_split(self, row: int) -> bool:
        """Split two groups with room together and `row` anew into two."""
        for one in range(len(self.masks)):
            for other in range(one):
                if self.room(one) + self.room(other) == 0:
                    continue
                halves = self._two_colours(self.masks[one] | self.masks[other] | 1 << row)
                if halves:
                    self.masks[one], self.masks[other] = halves
                    self.unplaced.discard(row)
                    return True
        return False

    def _two_colours(self, rows: int) -> tuple[int, int] | None:
        """`rows` as two sets of at most k without conflicts inside, or None if there are none."""
        components = []
        sizes, rest = 1, rows  # bit s of sizes: the first set can have s rows. Most splits fail here, without a search
        while rest:
            component = self._component(rest & -rest, rest)
            if component is None:
                return None
            left, right = component
            rest &= ~(left | right)
            sizes = (sizes << left.bit_count() | sizes << right.bit_count()) & (2 << self.k) - 1
            components.append(component)
        if not sizes >> max(0, rows.bit_count() - self.k):
            return None
        reachable: dict[int, int] = {0: 0}  # size of the first set -> its rows, over the components so far
        for left, right in components:
            larger: dict[int, int] = {}
            for mask in reachable.values():
                for side in (left, right):
                    larger.setdefault((mask | side).bit_count(), mask | side)
            reachable = larger
        for size, mask in sorted(reachable.items()):
            if size <= self.k and rows.bit_count() - size <= self.k:
                return mask, rows & ~mask
        return None

    def _search(self) -> None:
        """Tabu search for fewer unplaced rows; ends with the best packing that it met."""
        best, best_unplaced = list(self.masks), set(self.unplaced)
        tabu: dict[tuple[int, int], int] = {}  # (row, group) -> first move at which it may go there again
        draw = random.Random(0).random  # a fixed sequence: only to break ties without a pattern
        for move in range(MAX_MOVES):
            least = NEVER
            ties: list[tuple[int, int]] = []
            for row in sorted(self.unplaced):
                for group, mask in enumerate(self.masks):
                    num_out = (mask & self.conflicts[row]).bit_count() or int(mask.bit_count() == self.k)
                    if num_out <= least and tabu.get((row, group), 0) <= move:
                        ties = [*ties, (row, group)] if num_out == least else [(row, group)]
                        least = num_out
            if not ties:
                break
            row, group = ties[int(draw() * len(ties))]
            out = list(_bits(self.masks[group] & self.conflicts[row]))
            if not out and not self.room(group):
                members = list(_bits(self.masks[group]))
                out = [members[int(draw() * len(members))]]
            for pushed in out:
                self.masks[group] &= ~(1 << pushed)
                self.unplaced.add(pushed)
                tabu[pushed, group] = move + TENURE + int(draw() * TENURE) + len(self.unplaced) // 2
            self.put(row, group)
            if len(self.unplaced) < len(best_unplaced):
                best, best_unplaced = list(self.masks), set(self.unplaced)
            if self.is_full:
                break
        self.masks, self.unplaced = best, best_unplaced

    def _any_group(self) -> int:
        """k rows without a conflict among all rows, as bits; 0 if there are none or MAX_NODES were tried."""
        nodes = 0
        order = sorted(range(len(self.conflicts)), key=lambda row: (self.conflicts[row].bit_count(), row))
        stack = [(order, 0)]  # rows that may still join, rows of the group; depth first, least conflicts first
        while stack and nodes < MAX_NODES:
            nodes += 1
            rows, mask = stack.pop()
            if mask.bit_count() == self.k:
                return mask
            if mask.bit_count() + len(rows) < self.k:
                continue
            first, rest = rows[0], rows[1:]
            stack.append((rest, mask))
            stack.append(([row for row in rest if not self.conflicts[first] >> row & 1], mask | 1 << first))
        return 0

    def _component(self, start: int, rows: int) -> tuple[int, int] | None:
        """The two colours of the component of `start` among `rows`; None if it has an odd cycle."""
        colours, frontier, side = [start, 0], start, 0
        while frontier:
            reached = 0
            for row in _bits(frontier):
                reached |= self.conflicts[row] & rows
            if reached & colours[side]:
                return None
            side ^= 1
            frontier = reached & ~colours[side]
            colours[side] |= reached
        return colours[0], colours[1]

    # -- likeness

    def exchange(self, similarity: NDArray[np.int64]) -> None:
        """Let rows of two full groups change places while the sum of similarities inside groups grows."""
        num_groups = len(self.masks)
        if num_groups < 2:
            return
        group_of = np.full(len(self.conflicts), NOWHERE)
        for group, mask in enumerate(self.masks):
            group_of[list(_bits(mask))] = group
        rows = np.flatnonzero(group_of != NOWHERE)  # only these take part; below everything is indexed by them
        group_of, alike = group_of[rows], similarity[np.ix_(rows, rows)].copy()
        np.fill_diagonal(alike, 0)
        against = self.matrix[np.ix_(rows, rows)].astype(np.int64)
        member = (group_of[:, None] == np.arange(num_groups)).astype(np.int64)
        likeness, clashes = alike @ member, against @ member  # (rows, groups): to all members of each group
        everyone = np.arange(len(rows))
        for _ in range(MAX_SWEEPS):
            moved = False
            for row in range(len(rows)):
                here = group_of[row]
                gain = likeness[row, group_of] - likeness[row, here] + likeness[:, here]
                gain -= likeness[everyone, group_of] + 2 * alike[row]
                fits = (clashes[row, group_of] == against[row]) & (clashes[:, here] == against[row])
                gain[~fits | (group_of == here)] = 0
                best = int(gain.argmax())
                if gain[best] <= 0:
                    continue
                there = group_of[best]
                for sums, pairs in ((likeness, alike), (clashes, against)):
                    sums[:, here] += pairs[:, best] - pairs[:, row]
                    sums[:, there] += pairs[:, row] - pairs[:, best]
                group_of[row], group_of[best] = there, here
                moved = True
            if not moved:
                break
        for group in range(num_groups):
            self.masks[group] = sum(1 << int(row) for row in rows[group_of == group])


def _bits(mask: int) -> Iterator[int]:
    """The positions of the ones, ascending."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low
