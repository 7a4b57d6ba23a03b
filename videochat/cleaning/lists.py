"""Dated lists: text files, one entry a line, `#` comments; the shipped ones carry their date in the first line.

    lists = load_lists(workspace.root)     # shipped: bots, third-party emotes; a workspace's lists/*.txt add to them
    lists.dates                            # {"bots": "2026-11-01", "third_party_emotes": "2026-11-01"}

A workspace may hold lists/bots.txt (more bots), lists/allow.txt (accounts that are never bots) and lists/emotes.txt
(more third-party emote codes, such as a channel's own). Emote lists of the services change and can be empty in
silence (FACTS), hence a dated snapshot in the tree instead of a download.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from ..files import digest_json

SHIPPED = Path(__file__).parent / "lists"


@dataclass(frozen=True, kw_only=True)
class Lists:
    """bots, allowed: lower-case logins. emotes: codes, case counts. dates: of the shipped lists, YYYY-MM-DD."""

    bots: frozenset[str]
    allowed: frozenset[str]
    emotes: frozenset[str]
    dates: dict[str, str]

    @property
    def digest(self) -> str:
        """Part of the stamp: a changed list rebuilds the comments."""
        return digest_json([sorted(self.bots), sorted(self.allowed), sorted(self.emotes)])


def load_lists(root: Path | None = None) -> Lists:
    """The shipped lists with those of the workspace folder `root`. Raises UsageError for an unreadable one."""
    bots_date, bots = _dated(SHIPPED / "bots.txt")
    emotes_date, emotes = _dated(SHIPPED / "third_party_emotes.txt")

    def own(name: str) -> set[str]:
        return _entries(root / "lists" / name) if root else set()

    return Lists(
        bots=frozenset(login.casefold() for login in bots | own("bots.txt")),
        allowed=frozenset(login.casefold() for login in own("allow.txt")),
        emotes=frozenset(emotes | own("emotes.txt")),
        dates={"bots": bots_date, "third_party_emotes": emotes_date},
    )


def _dated(path: Path) -> tuple[str, set[str]]:
    date = path.read_text(encoding="utf-8").partition("\n")[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", date), f"{path} begins with {date!r}, not a date"
    return date, _entries(path) - {date}


def _entries(path: Path) -> set[str]:
    """The words of a list file, one a line; empty if there is no such file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return set()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not a readable list: {error}", fix="one entry a line, UTF-8") from None
    lines = (line.strip() for line in text.splitlines())
    return {line.lstrip("@") for line in lines if line and not line.startswith("#")}
