"""The rights record and tombstones: a statement once, dates, and digests that can be obeyed but not read."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videochat.errors import Mismatch, UsageError
from videochat.rights.record import RightsRecord, change_record, read_record, require_statement
from videochat.rights.tombstones import KINDS, Tombstones
from videochat.rights.wanted import Wanted
from videochat.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "ws", create=True)


def stones(workspace: Workspace, **names: list[str]) -> Tombstones:
    made = Tombstones.open(workspace)
    for kind, values in names.items():
        made.add(kind.replace("_", "-"), values)
    made.save()
    return Tombstones.open(workspace)


def message(text: str, author: str | None = "al", author_id: str | None = None, emote: str | None = None) -> Any:
    return {"id": None, "offset_ms": 0, "author": author, "author_id": author_id, "badges": [],
            "fragments": [[text, emote]]}  # fmt: skip


def test_a_statement_is_asked_for_once(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="somebody has to state"):
        require_statement(workspace, False)
    assert not (workspace.root / "rights.json").exists()
    first = require_statement(workspace, True)
    assert datetime.datetime.fromisoformat(first.stated_at).tzinfo is not None
    assert require_statement(workspace, False) == require_statement(workspace, True) == first


def test_fields_are_changed_one_by_one(workspace: Workspace) -> None:
    change_record(workspace, basis="consent", retain_until=datetime.date(2030, 1, 31))
    change_record(workspace, contact="data@lab.example")
    found = read_record(workspace)
    assert (found.basis, found.contact, found.retain_until) == (
        "consent",
        "data@lab.example",
        datetime.date(2030, 1, 31),
    )
    with pytest.raises(UsageError, match="'2030-02-30' is no date"):
        RightsRecord.from_json({"retain_until": "2030-02-30"})
    with pytest.raises(UsageError, match="unknown fields"):
        RightsRecord.from_json({"expiry": 1})


def test_the_last_day_still_belongs_to_the_data(workspace: Workspace) -> None:
    record = RightsRecord(retain_until=datetime.date(2026, 5, 1))
    assert not record.expired(datetime.date(2026, 5, 1))
    assert record.expired(datetime.date(2026, 5, 2))
    assert not RightsRecord().expired()
    change_record(workspace, retain_until=datetime.date(2020, 1, 1))
    with pytest.raises(Mismatch, match="that day has passed"):
        require_statement(workspace, True)


def test_names_are_forgotten_in_any_case_and_cannot_be_read(workspace: Workspace) -> None:
    assert not Tombstones.open(workspace)
    assert not (workspace.root / "tombstone.key").exists(), "no key without a tombstone"
    made = stones(workspace, user=["Straße_1", "Bob"], user_id=["12"], channel=["Ch"], recording=["twitch-1"])
    assert len(made) == 5
    assert made.forgets(user="STRASSE_1") and made.forgets(user="bOb") and made.forgets(channel="cH")
    assert made.forgets(user="other", user_id="12")
    assert not made.forgets(user="12") and not made.forgets(user_id="bob") and not made.forgets(channel="bob")
    assert not made.forgets(user=None, user_id=None, channel="", recording_id="")
    text = (workspace.root / "tombstones.json").read_text()
    assert "bob" not in text.casefold()
    other = Workspace.open(workspace.root.parent / "other", create=True)
    stones(other, user=["Bob"])
    assert not set(json.loads(text)["digests"]["user"]) & set(
        json.loads((other.root / "tombstones.json").read_text())["digests"]["user"]
    ), "another key, other digests"


def test_a_recording_is_forgotten_with_its_parts(workspace: Workspace) -> None:
    made = stones(workspace, recording=["twitch-1", "twitch-2-t600"], has_part=["twitch-2"])
    for name in ("twitch-1", "twitch-1-t600", "twitch-2-t600", "twitch-2"):
        assert made.forgets(recording_id=name), name
    for name in ("twitch-2-t1200", "twitch-11", "twitch-3"):
        assert not made.forgets(recording_id=name), name


def test_without_their_key_tombstones_stop_everything(workspace: Workspace) -> None:
    stones(workspace, user=["bob"])
    (workspace.root / "tombstone.key").unlink()
    with pytest.raises(Mismatch, match="cannot be told"):
        Tombstones.open(workspace)


def test_messages_and_names_are_taken_out_of_batches(workspace: Workspace) -> None:
    made = stones(workspace, user=["bob", "cat"], user_id=["7"], word=["bob"])
    batch = [
        message("mine", author="BOB"),
        message("also mine", author=None, author_id="7"),
        message("hi @Bob! and @bobby, bob's cat @cat"),
        message("Kappa", emote="25"),
        message("bob", emote="26"),
        message("", author=None),
    ]
    (left,) = made.without([batch])
    assert made.num_left_out == 2
    assert [m["fragments"][0][0] for m in left] == [
        "hi @someone! and @bobby, @someone's cat @someone",
        "Kappa",
        "bob",
        "",
    ]
    assert list(Tombstones.open(Workspace.open(workspace.root.parent / "e", create=True)).without([batch])) == [batch]


@given(st.text(alphabet="ab_1 @,.é", max_size=30))
@settings(max_examples=300, deadline=None)
def test_forget_and_import_redact_alike(text: str) -> None:
    made = Tombstones(Path(), {kind: set() for kind in KINDS}, b"k" * 32)
    made.add("user", ["ab_1", "aé"])
    made.add("word", ["ab_1"])
    wanted = Wanted(names=frozenset({"ab_1", "aé"}), words=frozenset({"ab_1"}))
    assert made.redacted(text) == wanted.redact(text)
    assert wanted.redact(wanted.redact(text)) == wanted.redact(text)
    assert not wanted.is_named_in(wanted.redact(text))
