"""The rights record of a workspace: who said that this data may be collected, on what basis, and until when.

    record = require_statement(workspace, affirmed)        # before the first crawl
    change_record(workspace, basis="public interest research", retain_until=datetime.date(2027, 6, 30))

It is rights.json beside workspace.toml; the tool fills in the date of the statement, everything else is the user's.
The record proves nothing by itself: it is where the people responsible write down what they decided.
"""

from __future__ import annotations

import dataclasses
import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Mismatch, UsageError
from ..files import read_json, write_json

if TYPE_CHECKING:
    from ..workspace import Workspace

STATEMENT = (
    "I may collect these recordings and their chat: the platform's terms, the rights of the people in them and the "
    "law that holds for me allow it, and I will honour requests to be forgotten."
)


@dataclass(frozen=True, kw_only=True)
class RightsRecord:
    """All texts are free words of the user, "" where nothing was said.

    statement, stated_at: what was affirmed before the first crawl, and when (UTC, ISO 8601); "" before that.
    basis: on what ground the data is processed ("consent", "public interest research, ethics vote 12/26", ...).
    jurisdiction: whose law holds. contact: where people write who want to be forgotten.
    retain_until: the last day on which the data may be kept; None if nobody set one.
    """

    statement: str = ""
    stated_at: str = ""
    basis: str = ""
    jurisdiction: str = ""
    contact: str = ""
    retain_until: datetime.date | None = None

    def expired(self, today: datetime.date | None = None) -> bool:
        """Whether the retention date has passed. today: default the date now in UTC."""
        return self.retain_until is not None and (today or utc_today()) > self.retain_until

    def to_json(self) -> dict[str, Any]:
        value = dataclasses.asdict(self)
        value["retain_until"] = None if self.retain_until is None else self.retain_until.isoformat()
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> RightsRecord:
        """Raises UsageError for unknown fields or a date that is none."""
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(value) - known):
            raise UsageError(f"rights.json has unknown fields {unknown}", fix=f"known are {sorted(known)}")
        until = value.get("retain_until")
        return cls(**{**value, "retain_until": None if until is None else parse_date(until)})


def utc_today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()


def parse_date(text: str) -> datetime.date:
    """ "2027-06-30" -> date. Raises UsageError."""
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no date", fix="write YYYY-MM-DD") from None


def record_path(workspace: Workspace) -> Path:
    return workspace.root / "rights.json"


def read_record(workspace: Workspace) -> RightsRecord:
    """The record as it is; an empty one where none was written."""
    path = record_path(workspace)
    return RightsRecord.from_json(read_json(path)) if path.is_file() else RightsRecord()


def change_record(workspace: Workspace, **fields: Any) -> RightsRecord:
    """Write some fields of the record; the others stay."""
    changed = dataclasses.replace(read_record(workspace), **fields)
    write_json(record_path(workspace), changed.to_json())
    return changed


def require_statement(workspace: Workspace, affirmed: bool) -> RightsRecord:
    """The record with its statement, which the first collection writes down if it is `affirmed`.

    Raises UsageError if nobody ever affirmed it; Mismatch if the retention date has passed or the pseudonym key was
    destroyed: such a workspace collects nothing more.
    """
    record = read_record(workspace)
    if record.expired():
        raise Mismatch(
            f"the data of {workspace.root} was to be kept until {record.retain_until} and that day has passed",
            fix="run `videochat purge --expired`, or set another day with `videochat rights --retain-until`",
        )
    workspace.require_living_key()
    if record.stated_at:
        return record
    if not affirmed:
        raise UsageError(
            f'before the first recording is fetched somebody has to state: "{STATEMENT}"',
            fix="pass --i-may-collect-this to state it; it is written into rights.json with today's date",
        )
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return change_record(workspace, statement=STATEMENT, stated_at=now)
