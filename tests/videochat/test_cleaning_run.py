"""The step `clean`: files, stamps, pseudonyms, damage, lists, the funnel of a workspace, and real chats."""

from __future__ import annotations

import gzip
import json
import stat
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

from videochat.cleaning.config import CleaningConfig
from videochat.cleaning.funnel import format_funnel, funnel
from videochat.cleaning.identify import identifier
from videochat.cleaning.pseudonyms import channel_pseudonym, pseudonym
from videochat.cleaning.run import clean
from videochat.errors import UsageError
from videochat.files import parquet_metadata
from videochat.schema import COMMENTS, Recording
from videochat.workspace import Workspace


def put(workspace: Workspace, name: str, messages: list[tuple[int, str | None, str]], **changes: Any) -> Recording:
    """A raw recording of (offset in ms, author, text) messages."""
    values: dict[str, Any] = {
        "recording_id": f"test-{name}",
        "platform": "twitch",
        "platform_id": name,
        "channel": "streamer_one",
        "category": "Art",
        "duration_ms": 60_000,
        "num_messages": len(messages),
        "chat_digest": name,
    }
    recording = Recording(**values | changes)
    folder = workspace.raw_dir(recording.recording_id)
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        {
            "id": f"{name}{n}",
            "offset_ms": at,
            "author": who,
            "author_id": None,
            "badges": [],
            "fragments": [[text, None]],
        }
        for n, (at, who, text) in enumerate(messages)
    ]
    data = b"".join(orjson.dumps(line) + b"\n" for line in lines)
    (folder / recording.chat).write_bytes(gzip.compress(data, mtime=0))
    workspace.add_recording(recording)
    return recording


CHAT: list[tuple[int, str | None, str]] = [
    (1000, "planted_name_1", "hello there"),
    (2000, "Planted_Name_2", "@planted_name_1 hi, and hi planted_name_1"),
    (3000, None, "from a deleted account"),
    (4000, "planted_name_2", "planted_name_1 gifted a Tier 1 sub to planted_name_3!"),
    (90_000, "planted_name_1", "after the end"),
]


def test_rows_metadata_and_rerun(workspace: Workspace) -> None:
    recording = put(workspace, "a", CHAT)
    assert clean(workspace, num_workers=1).count("ok") == 1
    path = workspace.comments_path(recording.recording_id)
    table = pq.read_table(path)
    assert table.schema.remove_metadata() == COMMENTS
    assert table["text"].to_pylist() == ["hello there", "hi, and hi", "from a deleted account", None, "after the end"]
    assert table["reason"].to_pylist() == [None, None, None, "notice", None]
    authors = table["author"].to_pylist()
    assert authors[0] == authors[4] != authors[1] == authors[3] and authors[2] == ""
    metadata = parquet_metadata(path)
    assert metadata["counts"] == {"num_messages": 5, "num_kept": 4, "num_kept_past_end": 1}
    assert set(metadata["lists"]) == {"bots", "third_party_emotes"} and metadata["rules"]["link"] >= 1
    before = path.read_bytes()
    assert clean(workspace, num_workers=1).count("current") == 1
    path.unlink()
    clean(workspace, num_workers=1)
    assert path.read_bytes() == before


def test_no_name_of_an_author_is_left_in_the_file(workspace: Workspace) -> None:
    recording = put(workspace, "a", CHAT)
    clean(workspace, num_workers=1)
    path = workspace.comments_path(recording.recording_id)
    everything = json.dumps([pq.read_table(path).to_pylist(), parquet_metadata(path)]).lower()
    assert "planted" not in everything and "streamer_one" not in everything
    assert stat.S_IMODE((workspace.root / "pseudonym.key").stat().st_mode) == 0o600


def test_pseudonyms_are_keyed_and_apart() -> None:
    key = bytes(32)
    name = pseudonym(key, "author", "twitch", "Some_One")
    assert name == pseudonym(key, "author", "twitch", "some_one") and len(name) == 18 and name.startswith("u_")
    others = {
        pseudonym(key, "channel", "twitch", "some_one")[2:],
        pseudonym(key, "author", "youtube", "some_one")[2:],
        pseudonym(b"x" * 32, "author", "twitch", "some_one")[2:],
        pseudonym(key, "author", "twitc", "hsome_one")[2:],
    }
    assert len(others) == 4 and name[2:] not in others
    assert pseudonym(key, "author", "twitch", None) == pseudonym(key, "author", "twitch", "") == ""


def test_a_channel_without_a_name_is_one_of_its_own(workspace: Workspace) -> None:
    first, second = put(workspace, "a", []), put(workspace, "b", [])
    lone, other = put(workspace, "c", [], channel=""), put(workspace, "d", [], channel="")
    assert channel_pseudonym(workspace, first) == channel_pseudonym(workspace, second)
    assert len({channel_pseudonym(workspace, each) for each in (first, lone, other)}) == 3


def test_settings_lists_and_key_make_it_again(workspace: Workspace) -> None:
    put(workspace, "a", [*CHAT, (5000, "fan", "myOwnEmote"), (6000, "helper", "I help")])
    clean(workspace, num_workers=1)
    assert clean(workspace, config=CleaningConfig(max_chars=5), num_workers=1).count("ok") == 1
    assert clean(workspace, num_workers=1).count("ok") == 1
    (workspace.root / "lists").mkdir()
    (workspace.root / "lists" / "emotes.txt").write_text("# the channel's own\nmyOwnEmote\n")
    (workspace.root / "lists" / "bots.txt").write_text("Helper\n")
    assert clean(workspace, num_workers=1).count("ok") == 1
    rows = pq.read_table(workspace.comments_path("test-a")).to_pylist()
    assert [row["reason"] for row in rows if row["time_ms"] in (5000, 6000)] == ["emote-only", "bot"]
    (log,) = parquet_metadata(workspace.comments_path("test-a"))["bots"]
    assert log["evidence"] == ["list"] and log["num_comments"] == 1 and log["author"].startswith("u_")
    (workspace.root / "lists" / "allow.txt").write_text("helper\n")
    clean(workspace, num_workers=1)
    assert parquet_metadata(workspace.comments_path("test-a"))["bots"] == []
    (workspace.root / "pseudonym.key").unlink()
    assert clean(workspace, num_workers=1).count("ok") == 1
    (workspace.root / "lists" / "bots.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="readable list"):
        clean(workspace)


def test_an_empty_chat_is_a_file_without_rows(workspace: Workspace) -> None:
    recording = put(workspace, "a", [])
    assert clean(workspace, num_workers=1).count("ok") == 1
    assert pq.read_table(workspace.comments_path(recording.recording_id)).num_rows == 0
    assert "0.00%" in format_funnel(funnel(workspace))


@pytest.mark.parametrize(
    ("damage", "error_class"),
    [
        (lambda path: path.unlink(), "no-chat"),
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), "bad-chat"),
        (lambda path: path.write_bytes(b"not gzip"), "bad-chat"),
        (lambda path: path.write_bytes(gzip.compress(b'{"id": 1\n')), "bad-chat"),
        (lambda path: path.write_bytes(gzip.compress(b'{"id": null}\n')), "bad-chat"),
        (lambda path: path.write_bytes(gzip.compress(b"[1, 2]\n")), "bad-chat"),
    ],
)
def test_a_damaged_chat_is_a_row_and_the_run_goes_on(workspace: Workspace, damage: Any, error_class: str) -> None:
    bad = put(workspace, "a", CHAT)
    put(workspace, "b", CHAT)
    damage(workspace.raw_dir(bad.recording_id) / bad.chat)
    summary = clean(workspace, num_workers=1)
    assert [(attempt.status, attempt.error_class) for attempt in summary.attempts] == [
        ("failed", error_class),
        ("ok", None),
    ]
    assert summary.exit_code == 3 and not workspace.comments_path(bad.recording_id).exists()
    put(workspace, "a", CHAT)
    assert clean(workspace, retry=f"failed:{error_class}", num_workers=1).count("ok") == 1


def test_the_funnel_sums_recordings_and_categories(workspace: Workspace) -> None:
    assert funnel(workspace) == []
    put(workspace, "a", CHAT)
    put(workspace, "b", [(0, "x", "!so"), (1, "y", "ok")], category="Music")
    clean(workspace, num_workers=1)
    rows = {(row.category, row.rule): row for row in funnel(workspace, per_category=True)}
    assert rows["all", "messages"].count == 7 and rows["Music", "messages"].count == 2
    assert rows["all", "command"].count == 1 and rows["all", "command"].share == pytest.approx(1 / 7)
    assert rows["all", "language"].left == 5 == rows["Art", "language"].left + rows["Music", "language"].left
    printed = format_funnel(funnel(workspace, per_category=True))
    assert "Music" in printed and "command" in printed


def test_control_characters_in_a_text_do_no_harm(workspace: Workspace) -> None:
    put(workspace, "a", [(0, "x", "a\x00b\x01c\nd"), (1, "y", "line\u2028two\ttabs"), (2, "z", "\ud7ff\ue000")])
    clean(workspace, num_workers=1)
    rows = pq.read_table(workspace.comments_path("test-a"))
    assert rows["text"].to_pylist()[:2] == ["abc d", "line two tabs"]
    assert rows["emotes"].to_pylist()[0] == []


def test_batched_identification_equals_py3langid() -> None:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    reference = LanguageIdentifier.from_model_file(MODEL_FILE)
    ours = identifier()
    texts = ["what is he doing", "guten abend zusammen", "que buena jugada", "привет всем", "主播好强", "gg", "", "é"]
    scores = ours.log_likelihoods(texts)
    for text, row in zip(texts, scores, strict=True):
        expected = dict(reference.rank(text))
        for language in ("de", "es", "ja", "ru", "fr"):  # languages that stand for themselves
            if text not in ("gg", "", "é"):
                column = ours.languages.index(language)
                assert row[column] * len(text.encode()) ** 0.5 == pytest.approx(expected[language], rel=1e-4, abs=1e-3)
    assert (scores[6] == 0).all()
    one_by_one = [ours.log_likelihoods([text])[0] for text in texts]
    for row, alone in zip(scores, one_by_one, strict=True):
        assert row == pytest.approx(alone, abs=1e-4)


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    files = []
    for workers in (1, 2):
        workspace = Workspace.open(tmp_path / str(workers), create=True)
        (workspace.root / "pseudonym.key").write_bytes(b"k" * 32)
        for name in "abc":
            put(workspace, name, CHAT)
        clean(workspace, num_workers=workers)
        files.append([workspace.comments_path(f"test-{name}").read_bytes() for name in "abc"])
    assert files[0] == files[1]


@pytest.mark.fixtures
@pytest.mark.slow
def test_real_chats(workspace: Workspace, real: Path) -> None:
    from videochat.sources.local import ImportItem, import_recordings

    items = [
        ImportItem(chat=path, category="Real", channel=path.name[:2])
        for path in sorted((real / "chat" / "gql").glob("*.comments.json.gz"))
    ]
    import_recordings(workspace, items, num_workers=1)
    assert clean(workspace, num_workers=1).count("ok") == len(items) == 29
    rows = {row.rule: row for row in funnel(workspace)}
    total = rows["messages"].count
    assert total == 93_965
    assert 0.70 < rows["language"].left / total < 0.85
    assert rows["language"].count < 60  # English channels: what is dropped is Polish, German, French, Swedish, laughter
    assert rows["notice"].count > 900 and 400 < rows["bot"].count < 1000
    assert 0.15 < rows["emote-only"].share < 0.25
    for recording in workspace.recordings():
        for text in pq.read_table(workspace.comments_path(recording.recording_id), filters=[("kept", "=", True)])[
            "text"
        ]:
            assert "@user_" not in text.as_py() and "://" not in text.as_py()
