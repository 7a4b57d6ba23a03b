"""One contract for every chat format: three messages, written as each tool writes them, come back the same."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from videochat.errors import BadRecording
from videochat.schema import RawMessage
from videochat.sources.chat_file import ChatFile
from videochat.sources.formats import Notes
from videochat.sources.recognise import CHAT_FORMATS, recognise

# (id, seconds, author, author id, badges, fragments); the third has fractions, an emote and non-Latin text
Row = tuple[str, float, str, str, list[str], list[tuple[str, str | None]]]
ROWS: list[Row] = [
    ("a1", 3, "ann", "11", ["moderator"], [("hello, world", None)]),
    ("b2", 3, "bob", "12", [], [("Kappa", "25"), (" nice", None)]),
    ("c3", 65.5, "שלום", "13", ["subscriber", "bot-badge"], [('so "good" 😀 ', None), ("LUL", "425618")]),
]


def body(row: Row) -> str:
    return "".join(text for text, _ in row[5])


def graphql(row: Row) -> dict[str, Any]:
    return {
        "id": row[0],
        "commenter": {"id": row[3], "login": row[2], "displayName": row[2].title()},
        "contentOffsetSeconds": row[1],
        "createdAt": "1999-01-01T00:00:00Z",
        "message": {
            "fragments": [
                {"emote": emote and {"id": f"{emote};0;4", "emoteID": emote, "from": 0}, "text": text}
                for text, emote in row[5]
            ],
            "userBadges": [{"id": "x", "setID": name, "version": "1"} for name in row[4]],
        },
    }


def graphql_page(rows: list[Row], more: bool = False) -> dict[str, Any]:
    edges = [{"cursor": "c", "node": graphql(row)} for row in rows]
    return {"data": {"video": {"id": "77", "comments": {"edges": edges, "pageInfo": {"hasNextPage": more}}}}}


def v5(row: Row) -> dict[str, Any]:
    return {
        "_id": row[0],
        "content_id": "1087",
        "content_offset_seconds": row[1],
        "commenter": {"display_name": row[2].title(), "_id": row[3], "name": row[2]},
        "message": {
            "body": body(row),
            "fragments": [
                {"text": text} if emote is None else {"text": text, "emoticon": {"emoticon_id": emote}}
                for text, emote in row[5]
            ],
            "is_action": False,
            "user_badges": [{"_id": name, "version": "1"} for name in row[4]],
        },
    }


def twitch_downloader(row: Row) -> dict[str, Any]:
    comment = v5(row)
    comment["message"] |= {"bits_spent": 0, "user_badges": comment["message"]["user_badges"] or None}
    return comment


def chat_downloader(row: Row) -> dict[str, Any]:
    emotes, at = [], 0
    for text, emote in row[5]:
        if emote:
            emotes.append({"id": emote, "name": text, "locations": f"{at}-{at + len(text) - 1}"})
        at += len(text)
    badges = [{"name": name.replace("-", "_"), "version": 1} for name in row[4]]
    return {
        "message_id": row[0],
        "time_in_seconds": row[1],
        "message": body(row),
        "message_type": "text_message",
        "timestamp": 1,
        "author": {"id": row[3], "name": row[2]} | ({"badges": badges} if badges else {}),
    } | ({"emotes": emotes} if emotes else {})


def raw(row: Row) -> dict[str, Any]:
    names = ("id", "offset_ms", "author", "author_id", "badges", "fragments")
    return dict(zip(names, (row[0], round(row[1] * 1000), *row[2:]), strict=True))


def lines(records: list[Any]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


FILES: dict[str, tuple[str, Callable[[list[Row]], str]]] = {
    "array of nodes": ("twitch-graphql", lambda rows: json.dumps([graphql(r) for r in rows])),
    "indented array": ("twitch-graphql", lambda rows: json.dumps([graphql(r) for r in rows], indent=2)),
    "nodes a line": ("twitch-graphql", lambda rows: lines([graphql(r) for r in rows])),
    "array of pages": ("twitch-graphql", lambda rows: json.dumps([graphql_page(rows[:2]), graphql_page(rows[2:])])),
    "pages a line": ("twitch-graphql", lambda rows: lines([graphql_page(rows[:2]), graphql_page(rows[2:])])),
    "one page": ("twitch-graphql", lambda rows: json.dumps(graphql_page(rows), indent=1)),
    "batched answers": (
        "twitch-graphql",
        lambda rows: json.dumps([[graphql_page(rows[:1])], [graphql_page(rows[1:])]]),
    ),
    "v5": ("twitch-v5", lambda rows: json.dumps({"video": {"title": "T"}, "comments": [v5(r) for r in rows]})),
    "v5 array": ("twitch-v5", lambda rows: json.dumps([v5(r) for r in rows])),
    "twitch-downloader": (
        "twitch-downloader",
        lambda rows: json.dumps(
            {
                "FileInfo": {"Version": {"Major": 1}},
                "streamer": {"name": "Streamer", "id": 2},
                "video": {"title": "T", "start": 0, "end": 99.5, "chapters": [{"id": "x"}]},
                "comments": [twitch_downloader(r) for r in rows],
                "embeddedData": {"thirdParty": [{"data": "[{" * 800_000}]},
            }
        ),
    ),
    "chat-downloader json": ("chat-downloader", lambda rows: json.dumps([chat_downloader(r) for r in rows])),
    "chat-downloader jsonl": ("chat-downloader", lambda rows: lines([chat_downloader(r) for r in rows])),
    "raw": ("raw-jsonl", lambda rows: lines([raw(r) for r in rows])),
}


def read(path: Path) -> tuple[str, list[RawMessage], Notes]:
    file, notes = ChatFile(path), Notes()
    chat_format = recognise(file)
    return chat_format.name, [message for batch in chat_format.read(file, notes) for message in batch], notes


def write(path: Path, text: str, *, packed: bool = False) -> Path:
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    return path


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("what", FILES)
def test_every_form_gives_the_same_messages(tmp_path: Path, what: str, packed: bool):
    name, build = FILES[what]
    found, messages, notes = read(write(tmp_path / "chat.any", build(ROWS), packed=packed))
    assert found == name
    assert messages == [raw(row) for row in ROWS]
    assert not notes.oddities


def test_a_byte_order_mark_does_no_harm(tmp_path: Path):
    found, messages, _ = read(write(tmp_path / "c.json", "\ufeff" + FILES["array of nodes"][1](ROWS)))
    assert (found, len(messages)) == ("twitch-graphql", 3)


def test_headers_say_channel_title_and_length(tmp_path: Path):
    _, _, notes = read(write(tmp_path / "c", FILES["twitch-downloader"][1](ROWS)))
    assert (notes.channel, notes.title, notes.duration_ms, notes.platform_ids) == ("Streamer", "T", 99_500, {"1087"})
    _, _, notes = read(write(tmp_path / "c", FILES["one page"][1](ROWS)))
    assert notes.platform_ids == {"77"}


BILIBILI = """<?xml version="1.0" encoding="UTF-8"?><i><chatid>555</chatid>
<d p="65.5,1,25,16777215,1296965347,0,c4c06db0,14089276">a &lt; b 太闪了！</d>
<d p="3,7,25,16777215,1296965347,0,c4c06db1,14089277">[0,0,"1-1",3.8,"placed",0,0]</d>
<d p="4,7,25,16777215,1296965347,0,c4c06db1,14089278">[no program</d>
<d p="5,8,25,16777215,1296965347,0,c4c06db1,14089279">while (true) {}</d>
<d p="6,1,25,16777215,1296965347">no user</d>
<d p="six,1,25">bad</d><d>worse</d></i>"""


def test_bilibili(tmp_path: Path):
    found, messages, notes = read(write(tmp_path / "c.txt", BILIBILI))
    assert found == "bilibili-xml"
    assert [(m["id"], m["offset_ms"], m["author"], m["fragments"]) for m in messages] == [
        ("14089276", 65_500, "c4c06db0", [("a < b 太闪了！", None)]),
        ("14089277", 3_000, "c4c06db1", [("placed", None)]),
        ("14089278", 4_000, "c4c06db1", [("[no program", None)]),
        ("14089279", 5_000, "c4c06db1", []),
        (None, 6_000, None, [("no user", None)]),
    ]
    assert notes.platform_ids == {"555"}
    assert notes.oddities == {
        "placed-comment": 2,
        "placed-comment-unreadable": 1,
        "script-comment": 1,
        "malformed-message": 2,
    }


def test_control_characters_in_xml_become_spaces(tmp_path: Path):
    _, messages, notes = read(write(tmp_path / "c.xml", '<i><d p="1,1,2,3,4,5,u,9">a\x0b\x08b</d></i>'))
    assert messages[0]["fragments"] == [("a  b", None)]
    assert notes.oddities == {"control-character": 2}


def test_acfun(tmp_path: Path):
    text = json.dumps(
        [
            {"c": "98.2,16777215,1,25,guest,1315564729.0", "m": "hi"},
            {"c": "5.2,16777215,7,99,211467,1386243321,138", "m": '{"n": "GO!", "x": 1}'},
            {"c": "5.3,16777215,1,99,211467,1386243321,138", "m": "not the same"},
            {"c": "x", "m": "bad"},
        ]
    )
    found, messages, notes = read(write(tmp_path / "c.json", text))
    assert found == "acfun-json"
    assert [(m["id"], m["offset_ms"], m["author"], m["fragments"]) for m in messages] == [
        (None, 98_200, None, [("hi", None)]),
        (None, 5_200, "211467", [("GO!", None)]),
        (None, 5_300, "211467", [("not the same", None)]),
    ]
    assert notes.oddities["malformed-message"] == 1


@pytest.mark.parametrize(
    ("header", "times"),
    [
        ("time,user,message", ["3", "0:03", "65.5"]),
        ("offset_ms,author,text", ["3000", "3000", "65500"]),
        ("Timestamp;Nick;Comment", ["00:00:03", "3.0", "1:05.5"]),
        ("content_offset_seconds\tlogin\tbody", ["3", "3", "65.5"]),
    ],
)
def test_csv_headers_and_times(tmp_path: Path, header: str, times: list[str]):
    delimiter = next(d for d in ",;\t" if d in header)
    rows = [f'{time}{delimiter}ann{delimiter}"he said ""hi""{delimiter}\nand\u2028left"\n' for time in times]
    found, messages, notes = read(write(tmp_path / "c.csv", header + "\n" + "".join(rows)))
    assert found == "csv"
    assert [m["offset_ms"] for m in messages] == [3_000, 3_000, 65_500]
    assert {m["fragments"][0][0] for m in messages} == {f'he said "hi"{delimiter}\nand\u2028left'}
    assert {m["author"] for m in messages} == {"ann"}
    assert not notes.oddities


def test_csv_bad_rows_are_counted(tmp_path: Path):
    text = "id,time,author,text,badges\n1,2,ann,hi,mod|vip\n2,soon,ann,hi,\n3,4,ann\n4,-0:05,,early,\n\n"
    _, messages, notes = read(write(tmp_path / "c.csv", text))
    assert [(m["id"], m["offset_ms"], m["author"], m["badges"]) for m in messages] == [
        ("1", 2_000, "ann", ["mod", "vip"]),
        ("4", -5_000, None, []),
    ]
    assert notes.oddities == {"malformed-message": 2}


def test_chat_downloader_emotes(tmp_path: Path):
    base = {"message_id": "1", "time_in_seconds": 1, "message_type": "text_message", "author": {"id": "1"}}
    records = [
        base | {"message": "Kappa 123 Kappa", "emotes": [{"id": "25", "name": "Kappa", "locations": ["0-4", "10-14"]}]},
        base | {"message": "moved Kappa", "emotes": [{"id": "25", "name": "Kappa", "locations": "0-4"}]},
        base | {"message": "hi:smile::smile:", "emotes": [{"id": "u/1", "name": ":smile:", "is_custom_emoji": True}]},
        base | {"message": None, "emotes": []},
        {"message_id": "9", "message_type": "text_message", "author": {"id": "1"}, "message": "live", "timestamp": 5},
    ]
    _, messages, notes = read(write(tmp_path / "c.jsonl", lines(records)))
    assert [m["fragments"] for m in messages] == [
        [("Kappa", "25"), (" 123 ", None), ("Kappa", "25")],
        [("moved ", None), ("Kappa", "25")],
        [("hi", None), (":smile:", "u/1"), (":smile:", "u/1")],
        [],
    ]
    assert notes.oddities == {"emote-misplaced": 1, "malformed-message": 1}


def test_every_format_is_registered_with_a_summary():
    assert {name for name, _ in FILES.values()} | {"bilibili-xml", "acfun-json", "csv"} == set(CHAT_FORMATS)
    assert all(chat_format.name == name and chat_format.summary for name, chat_format in CHAT_FORMATS.items())


def test_a_document_type_is_refused_before_it_expands(tmp_path: Path):
    bomb = '<?xml version="1.0"?><!DOCTYPE i [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><i><d p="1,1">&b;</d></i>'
    with pytest.raises(BadRecording) as caught:
        read(write(tmp_path / "c.xml", bomb))
    assert caught.value.error_class == "invalid-xml"
    assert "DOCTYPE" in caught.value.what
