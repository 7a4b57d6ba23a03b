"""What a cleaning rule is: a name, a reason, and one vectorised function over the columns of a recording.

    @drop("over-long", "longer than max_chars characters")
    def over_long(chat):
        return chat.rows(pc.greater(pc.utf8_length(chat.texts), chat.config.max_chars))

A dropping rule answers which rows it would drop; the first that drops a row is its reason. A rewriting rule changes
the texts of all rows, dropped ones too (a dropped row must not keep a name), and answers which rows it changed. The
idea of a filter that answers keep or a reason is datatrove's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .chat import Chat

Apply = Callable[[Chat], NDArray[np.bool_]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """name: in the funnel and in `reason`. summary: one line for people. drops: else it rewrites.
    private: the texts of the rows it drops are removed, because they hold personal data.
    version: raise it when the rule's outcome changes; it is part of the stamp."""

    name: str
    summary: str
    apply: Apply
    drops: bool
    private: bool = False
    version: int = 1

    def run(self, chat: Chat) -> int:
        """Apply the rule; the number of rows that it dropped or, of those still kept, changed."""
        hit = self.apply(chat)
        if not self.drops:
            return int(np.count_nonzero(hit & chat.kept))
        if self.private:
            chat.private |= hit
        return chat.drop(hit, self.name)


def drop(name: str, summary: str, *, private: bool = False, version: int = 1) -> Callable[[Apply], Rule]:
    """Declare a rule that drops rows."""
    return lambda apply: Rule(name=name, summary=summary, apply=apply, drops=True, private=private, version=version)


def rewrite(name: str, summary: str, *, version: int = 1) -> Callable[[Apply], Rule]:
    """Declare a rule that changes texts."""
    return lambda apply: Rule(name=name, summary=summary, apply=apply, drops=False, version=version)
