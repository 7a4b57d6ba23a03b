"""Each oddity of real chats: kept or counted, never lost in silence."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from videochat.errors import BadRecording
from videochat.schema import Recording
from videochat.sources.local import ImportItem, import_recordings
from videochat.workspace import Workspace


def node(number: int = 0, seconds: float | None = 1, text: str = "hi", **changes: Any) -> dict[str, Any]:
    return {
        "id": f"id{number}",
        "commenter": {"id": "1", "login": "ann"},
        "contentOffsetSeconds": seconds,
        "message": {"fragments": [{"emote": None, "text": text}], "userBadges": []},
    } | changes


def message(**changes: Any) -> dict[str, Any]:
    return {"message": {"fragments": [{"emote": None, "text": "hi"}], "userBadges": []} | changes}


@pytest.fixture
def take(tmp_path: Path) -> Any:
    """Import a chat and return (recording, its stored messages)."""

    def run(chat: Any, **more: Any) -> tuple[Recording, list[dict[str, Any]]]:
        path = tmp_path / "chat.json"
        path.write_bytes(chat if isinstance(chat, bytes) else json.dumps(chat).encode())
        workspace = Workspace.open(tmp_path / "data", create=True)
        summary = import_recordings(workspace, [ImportItem(chat=path, category="Art", **more)], num_workers=1)
        for attempt in summary.failed:
            raise BadRecording(attempt.error_class or "", attempt.reason or "")
        (recording,) = workspace.recordings()
        raw = gzip.decompress((workspace.raw_dir(recording.recording_id) / recording.chat).read_bytes())
        return recording, [json.loads(line) for line in raw.splitlines()]

    return run


def oddities(recording: Recording) -> dict[str, int]:
    return recording.origin["oddities"]


def test_rows_are_ordered_by_offset_then_arrival(take: Any):
    recording, rows = take([node(0, 5), node(1, 2), node(2, 5), node(3, 2), node(4, 1)])
    assert [row["id"] for row in rows] == ["id4", "id1", "id3", "id0", "id2"]
    assert oddities(recording) == {"out-of-order": 3}


def test_many_comments_of_one_second_stay(take: Any):
    _, rows = take([node(number, 7, "same") for number in range(100)])
    assert [row["id"] for row in rows] == [f"id{number}" for number in range(100)]


def test_the_same_id_is_taken_once_wherever_it_comes_again(take: Any):
    recording, rows = take([node(0, 1), node(1, 2), node(0, 1), node(1, 2, "edited"), node(2, 3), node(0, 1)])
    assert [row["id"] for row in rows] == ["id0", "id1", "id2"]
    assert rows[1]["fragments"] == [["hi", None]]
    assert oddities(recording) == {"duplicate-id": 3, "duplicate-id-differs": 1}


def test_rows_without_an_id_are_all_kept(take: Any):
    recording, rows = take([node(0, 1, id=None), node(0, 1, id=None)])
    assert [row["id"] for row in rows] == [None, None]
    assert oddities(recording) == {}


def test_a_deleted_account_keeps_its_row(take: Any):
    recording, rows = take([node(commenter=None)])
    assert (rows[0]["author"], rows[0]["author_id"]) == (None, None)
    assert oddities(recording) == {"null-commenter": 1}


@pytest.mark.parametrize("emote", [None, {}])
def test_no_emote_has_two_spellings(take: Any, emote: Any):
    _, rows = take([node(**message(fragments=[{"emote": emote, "text": "hi"}]))])
    assert rows[0]["fragments"] == [["hi", None]]


def test_older_answers_name_emotes_and_badges_otherwise(take: Any):
    old = message(
        fragments=[{"text": "Kappa", "emote": {"emoticon_id": "25"}}], userBadges=[{"_id": "moderator", "version": "1"}]
    )
    _, rows = take([node(**old)])
    assert rows[0]["fragments"] == [["Kappa", "25"]]
    assert rows[0]["badges"] == ["moderator"]


@pytest.mark.parametrize("badges", [None, [], [{"id": "Ozs=", "setID": "", "version": ""}]])
def test_badges_may_be_empty(take: Any, badges: Any):
    _, rows = take([node(**message(userBadges=badges))])
    assert rows[0]["badges"] == []


def test_a_message_may_be_empty(take: Any):
    recording, rows = take([node(**message(fragments=[]))])
    assert rows[0]["fragments"] == []
    assert oddities(recording) == {"empty-message": 1}


def test_a_body_stands_in_for_missing_fragments(take: Any):
    _, rows = take([node(message={"body": "whole", "fragments": None})])
    assert rows[0]["fragments"] == [["whole", None]]


def test_comments_past_the_end_are_kept_and_counted(take: Any):
    recording, rows = take([node(0, 10), node(1, 60), node(2, 238)], duration_ms=60_000)
    assert len(rows) == 3
    assert (recording.duration_ms, recording.origin["duration_from"]) == (60_000, "declared")
    assert oddities(recording) == {"past-end": 2}


def test_negative_offsets_are_kept_and_counted(take: Any):
    recording, rows = take([node(0, -3), node(1, 4), node(2, -0.5)])
    assert [row["offset_ms"] for row in rows] == [-3000, -500, 4000]
    assert oddities(recording) == {"negative-offset": 2, "out-of-order": 1}


def test_fractions_of_seconds(take: Any):
    _, rows = take([node(0, 12.345), node(1, 1.1), node(2, 6.0999999046326)])
    assert [row["offset_ms"] for row in rows] == [1100, 6100, 12_345]


def test_created_at_moves_nothing(take: Any):
    _, rows = take([node(0, 1, createdAt="2030-01-01T00:00:00Z"), node(1, 2, createdAt="1970-01-01T00:00:00Z")])
    assert [row["offset_ms"] for row in rows] == [1000, 2000]


@pytest.mark.parametrize(
    "bad",
    [
        node(contentOffsetSeconds=None),
        node(contentOffsetSeconds="12"),
        node(contentOffsetSeconds=True),
        node(message=None),
        node(**message(fragments=[{"text": None}])),
        node(**message(fragments="hi")),
        node(commenter="ann"),
        node(id=[1]),
        {"id": "x"},
        "text",
        None,
        5,
    ],
    ids=lambda bad: json.dumps(bad)[:40],
)
def test_a_malformed_message_is_counted_and_the_others_stay(take: Any, bad: Any):
    recording, rows = take([node(10), bad, node(11)])
    assert [row["id"] for row in rows] == ["id10", "id11"]
    assert oddities(recording) == {"malformed-message": 1}


def test_an_offset_beyond_any_recording_is_counted(take: Any):
    recording, rows = take([node(0, 1), node(1, 1e12), node(2, -(10**12))])
    assert [row["id"] for row in rows] == ["id0"]
    assert oddities(recording) == {"impossible-offset": 2}


def test_half_surrogates_and_bad_bytes_are_repaired_and_counted(take: Any):
    text = json.dumps([node(0, 1, "A"), node(1, 2, "B"), node(2, 3, "C")]).encode()
    text = text.replace(b'"A"', rb'"A\ud83d!"').replace(b'"B"', b'"B\xff"')
    recording, rows = take(text)
    assert [row["fragments"][0][0] for row in rows] == ["A\ufffd!", "B\ufffd", "C"]
    assert oddities(recording) == {"repaired-text": 2}


def test_raw_control_characters_are_read(take: Any):
    recording, rows = take(json.dumps([node(0, 1, "A")]).encode().replace(b'"A"', b'"A\x01\n"'))
    assert rows[0]["fragments"] == [["A\x01\n", None]]
    assert oddities(recording) == {"repaired-text": 1}


def test_one_broken_element_does_not_take_its_neighbours(take: Any):
    text = b"[" + b",".join([json.dumps(node(0)).encode(), b'{"id": nope}', json.dumps(node(1)).encode()]) + b"]"
    recording, rows = take(text)
    assert [row["id"] for row in rows] == ["id0", "id1"]
    assert oddities(recording) == {"malformed-message": 1}


def test_a_broken_line_does_not_take_its_neighbours(take: Any):
    text = b"\n".join([json.dumps(node(0)).encode(), b'{"id": "tor', json.dumps(node(1)).encode(), b""])
    recording, rows = take(text)
    assert [row["id"] for row in rows] == ["id0", "id1"]
    assert oddities(recording) == {"malformed-message": 1}


def pages(*pages_of_nodes: list[dict[str, Any]] | None, more: bool = False) -> list[Any]:
    answers: list[Any] = []
    for number, nodes in enumerate(pages_of_nodes):
        info = {"hasNextPage": more or number + 1 < len(pages_of_nodes)}
        comments = None if nodes is None else {"edges": [{"node": n} for n in nodes], "pageInfo": info}
        answers.append({"data": {"video": {"id": "1", "comments": comments}}})
    return answers


def test_overlapping_pages_are_joined_by_id(take: Any):
    recording, rows = take(pages([node(0, 1), node(1, 2)], [node(1, 2), node(2, 3)]))
    assert [row["id"] for row in rows] == ["id0", "id1", "id2"]
    assert oddities(recording) == {"duplicate-id": 1}


def test_a_refused_page_is_counted(take: Any):
    recording, _ = take(pages([node(0, 1)], None))
    assert oddities(recording) == {"ends-before-last-page": 1, "null-page": 1}


def test_a_chat_that_stops_before_its_last_page_says_so(take: Any):
    recording, _ = take(pages([node(0, 1)], [node(1, 2)], more=True))
    assert oddities(recording) == {"ends-before-last-page": 1}


def test_a_chat_of_refused_pages_only_is_refused(take: Any):
    with pytest.raises(BadRecording, match="comments: null") as caught:
        take(pages(None))
    assert caught.value.error_class == "no-messages"


def test_an_in_band_error_is_counted(take: Any):
    answer = pages([node(0, 1)])[0] | {"errors": [{"message": "service error"}]}
    recording, _ = take([answer])
    assert oddities(recording)["error-page"] == 1


def test_an_action_is_marked(take: Any):
    comment = {
        "_id": "1",
        "content_offset_seconds": 1,
        "commenter": None,
        "message": {"body": "waves", "fragments": [{"text": "waves"}], "is_action": True, "user_badges": None},
    }
    _, rows = take({"comments": [comment]})
    assert rows[0]["action"] is True
