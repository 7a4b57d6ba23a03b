"""Significance letters: models that share a letter do not differ.

    letters_of(["a", "b", "c"], differs={("a", "c")})        # {"a": "a", "b": "ab", "c": "b"}

Each letter is a set of models of which no two differ; every pair that does not differ has a letter in common. (Piepho
2004, "An algorithm for a letter-based representation of all-pairwise comparisons". Its columns are found here by
growing one set for each pair that has no letter yet, so the work is polynomial.)
"""

from __future__ import annotations

import string
from collections.abc import Collection, Sequence

LETTERS = string.ascii_lowercase + string.ascii_uppercase


def letters_of(names: Sequence[str], differs: Collection[tuple[str, str]]) -> dict[str, str]:
    """name -> its letters, in order; names: best first. differs: pairs, in either order.

    Two names share a letter exactly if they do not differ. A single name gets "a", no name nothing.
    """
    apart = {frozenset(pair) for pair in differs}

    def alike(one: int, other: int) -> bool:
        return frozenset((names[one], names[other])) not in apart

    groups: list[list[int]] = []
    shared: set[tuple[int, int]] = set()
    for first in range(len(names)):
        for second in range(first, len(names)):
            if (first, second) in shared or not alike(first, second):
                continue
            if first == second and any(alike(first, other) for other in range(len(names)) if other != first):
                continue  # it gets its letter with a companion
            group = sorted({first, second})
            for other in range(len(names)):
                if other not in group and all(alike(other, member) for member in group):
                    group.append(other)
            groups.append(sorted(group))
            shared |= {(a, b) for a in group for b in group}
    groups.sort()
    found = dict.fromkeys(names, "")
    for number, group in enumerate(groups):
        mark = LETTERS[number] if number < len(LETTERS) else f"({number})"
        for member in group:
            found[names[member]] += mark
    return found
