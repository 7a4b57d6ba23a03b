"""One idiom for everything that comes in kinds: models, scorers, rules, formats, candidate sets, metrics.

FORMATS = Registry[Format]("chat format")
FORMATS.add("twitch-gql", parse)          # or as a decorator: @FORMATS.register("twitch-gql")
FORMATS["twitch-gpl"]                     # UsageError: unknown chat format 'twitch-gpl', did you mean 'twitch-gql'?
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from .errors import UsageError

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """Named objects of one kind, in the order they were added. A duplicate name raises ValueError."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def add(self, name: str, entry: T) -> T:
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._entries[name] = entry
        return entry

    def register(self, name: str) -> Callable[[T], T]:
        return lambda entry: self.add(name, entry)

    def __getitem__(self, name: str) -> T:
        if name in self._entries:
            return self._entries[name]
        near = difflib.get_close_matches(name, self._entries, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(self._entries)}"
        raise UsageError(f"unknown {self.kind} {name!r}", fix=hint)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
