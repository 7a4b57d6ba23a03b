"""What a request to be forgotten takes out, told in every form in which it lies in a workspace.

A person is in raw chat under login and platform id, in what others wrote by name, in comments and shards under a
pseudonym; a recording under its id, its channel under a name and a pseudonym.

    wanted = Wanted(names=frozenset({"somebody"}), words=frozenset({"somebody"}), pseudonyms=frozenset({"u_5f0c..."}))
    wanted.is_author("Somebody", None)             # True
    wanted.redact("thanks @Somebody, somebody!")   # "thanks @someone, @someone!"
    wanted.is_named_in("thanks somebody")          # True: a derived text cannot be rewritten, its row goes
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .tombstones import SOMEONE

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from ..schema import RawMessage

ID_AUTHOR = "id:"  # how cleaning names an author of whom the platform gives only the id


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """names: logins, casefolded. ids: platform ids of authors. words: those of `names` that go from texts without an
    @, too. pseudonyms: "u_..." of all these on every platform. recordings: ids. channels: names, casefolded.
    channel_pseudonyms: "c_...", for rows whose recording is no longer in raw/.
    """

    names: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()
    pseudonyms: frozenset[str] = frozenset()
    recordings: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()
    channel_pseudonyms: frozenset[str] = frozenset()

    @property
    def people(self) -> bool:
        """Whether people are wanted, not recordings alone."""
        return bool(self.names or self.ids or self.pseudonyms)

    def to_json(self) -> dict[str, list[str]]:
        return {field.name: sorted(getattr(self, field.name)) for field in dataclasses.fields(self)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Wanted:
        return cls(**{name: frozenset(values) for name, values in value.items()})

    def joined(self, other: Wanted) -> Wanted:
        """Both together."""
        names = (field.name for field in dataclasses.fields(self))
        return Wanted(**{name: getattr(self, name) | getattr(other, name) for name in names})

    # -- raw chat

    def is_author(self, login: str | None, user_id: str | None) -> bool:
        return bool(login and login.casefold() in self.names) or bool(user_id and user_id in self.ids)

    def wrote(self, message: RawMessage) -> bool:
        return self.is_author(message["author"], message["author_id"])

    def redact(self, text: str) -> str:
        """A text of somebody else with the names replaced by SOMEONE, which cleaning removes as any @name."""
        return self._mentions.sub(SOMEONE, text) if self._mentions else text

    def redact_message(self, message: RawMessage) -> bool:
        """Redact in place; whether anything changed. Codes of emotes stay."""
        fragments = [(text if emote else self.redact(text or ""), emote) for text, emote in message["fragments"]]
        changed = any(new != (old or "") for (new, _), (old, _) in zip(fragments, message["fragments"], strict=True))
        if changed:
            message["fragments"] = fragments
        return changed

    def redact_titles(self, value: Any) -> Any:
        """A JSON value with `redact` done to each text that is called a title: the only free words beside chat."""
        if isinstance(value, dict):
            return {
                key: self.redact(item) if key == "title" and isinstance(item, str) else self.redact_titles(item)
                for key, item in value.items()
            }
        return [self.redact_titles(item) for item in value] if isinstance(value, list) else value

    def is_in_line(self, line: bytes) -> bool:
        """A quick test that passes every JSON line which may hold a person (with odd letters in names: every line)."""
        return self._needles is None or self._needles.search(line) is not None

    @cached_property
    def _needles(self) -> re.Pattern[bytes] | None:
        needles = sorted(self.names | self.ids)
        if not needles:
            return re.compile(b"(?!)")
        if not all(needle.isascii() and needle.isprintable() and not set(needle) & {'"', "\\"} for needle in needles):
            return None  # JSON may write it in another way
        return re.compile(b"|".join(re.escape(needle.encode()) for needle in needles), re.IGNORECASE)

    @cached_property
    def _mentions(self) -> re.Pattern[str] | None:
        if not self.names:
            return None
        at = f"@(?:{_any_of(self.names)})"
        bare = rf"|(?<![\w@])(?:{_any_of(self.words)})" if self.words else ""
        return re.compile(rf"(?:{at}{bare})(?!\w)", re.IGNORECASE)

    # -- comments and shards

    def is_named_in(self, text: str | None) -> bool:
        """Whether a cleaned text names a person, as written or as cleaning shortens it ("coool_1" -> "cool_1")."""
        return bool(text) and self._named is not None and self._named.search(text or "") is not None

    @cached_property
    def _named(self) -> re.Pattern[str] | None:
        if not self.names:
            return None
        from ..cleaning.characters import shorten

        names, words = (found | set(shorten(sorted(found), 2) if found else ()) for found in (self.names, self.words))
        bare = rf"|(?<!\w)(?:{_any_of(words)})" if words else ""
        return re.compile(rf"(?:@(?:{_any_of(names)}){bare})(?!\w)", re.IGNORECASE)

    def rows_of(self, authors: pa.Array, texts: pa.Array) -> NDArray[np.bool_]:
        """bool (n,): comments whose author is wanted or whose text names somebody who is."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        written = pc.is_in(authors, value_set=pa.array(sorted(self.pseudonyms), pa.string()))
        rows: NDArray[np.bool_] = pc.fill_null(written, False).to_numpy(zero_copy_only=False).astype(bool)
        if self._named is not None and len(texts):
            encoded = texts.dictionary_encode()
            naming = np.array([self.is_named_in(text) for text in encoded.dictionary.to_pylist()] + [False], dtype=bool)
            rows = rows | naming[encoded.indices.fill_null(len(naming) - 1).to_numpy(zero_copy_only=False)]
        return rows


def _any_of(names: frozenset[str] | set[str]) -> str:
    return "|".join(re.escape(name) for name in sorted(names, key=lambda name: (-len(name), name)))
