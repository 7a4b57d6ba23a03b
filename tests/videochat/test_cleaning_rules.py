"""Every cleaning rule: what it drops and why, what it changes, and what it must leave alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from videochat.cleaning.catalog import RULES
from videochat.cleaning.chat import Chat, build_chat, parse_lines
from videochat.cleaning.config import CleaningConfig
from videochat.cleaning.lists import Lists, load_lists
from videochat.cleaning.run import run_rules, to_table
from videochat.errors import UsageError
from videochat.schema import RawMessage, Recording

LISTS = load_lists()
ENGLAND = "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"  # a flag spelt in tag characters


def recording(**changes: Any) -> Recording:
    values: dict[str, Any] = {
        "recording_id": "test-1",
        "platform": "twitch",
        "platform_id": "1",
        "channel": "streamer",
        "category": "Art",
        "duration_ms": 3_600_000,
        "num_messages": 0,
        "chat_digest": "0",
    }
    return Recording(**values | changes)


def message(text: str | list[tuple[str, str | None]], **changes: Any) -> RawMessage:
    values: dict[str, Any] = {
        "id": None,
        "offset_ms": 1000,
        "author": "somebody",
        "author_id": "1",
        "badges": [],
        "fragments": [(text, None)] if isinstance(text, str) else text,
    }
    return RawMessage(**values | changes)  # type: ignore[typeddict-item]


def cleaned(messages: list[RawMessage], lists: Lists = LISTS, **changes: Any) -> list[dict[str, Any]]:
    """The rows of a chat after all rules."""
    chat = chat_of(messages, lists, **changes)
    return to_table(chat, [f"u_{index}" for index in range(len(chat.logins))]).to_pylist()


def chat_of(messages: list[RawMessage], lists: Lists = LISTS, **changes: Any) -> Chat:
    lines = b"\n".join(orjson.dumps(each) for each in messages)
    chat = build_chat(iter([parse_lines(lines, Path("chat"))]), recording(**changes), CleaningConfig(), lists)
    chat.notes["funnel"] = run_rules(chat)
    return chat


def one(text: str | list[tuple[str, str | None]], **changes: Any) -> dict[str, Any]:
    return cleaned([message(text, **changes)])[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("somebody_else gifted a Tier 1 sub to a_friend! They have given 5 Gift Subs in the channel!", "notice"),
        ("17 raiders from other_channel have joined!", "notice"),
        ("somebody subscribed at Tier 1. They've subscribed for 29 months!", "notice"),
        ("somebody redeemed heart for 50 Bits", "notice"),
        ("write to jane.doe+x@example.co.uk please", "email"),
        ("call me on +44 20 7946 0958", "phone"),
        ("my number is (555) 123-4567", "phone"),
        ("look https://example.com/a?b=c", "link"),
        ("www.example.org", "link"),
        ("join discord.gg/abc123", "link"),
        ("it is on youtu.be/xyz now", "link"),
        ("cheap viewers on example .com", "link"),
        ("go to example(dot)com", "link"),
        ("watch at twitch.tv", "link"),
        ("!drops", "command"),
        ("/commands", "command"),
        ("!so someone", "command"),
        ("@streamer !lurk", "command"),
        ("@streamer", "empty"),
        (" \u200b\U000e0000 ", "empty"),
        ("", "empty"),
        ("PogU Clap", "emote-only"),
        ("word " * 80, "over-long"),
        ("ich verstehe überhaupt nicht, was hier gerade passiert", "language"),
        ("спасибо за стрим, удачи тебе", "language"),
        ("ありがとうございます、配信お疲れ様でした", "language"),
    ],
)
def test_a_text_is_dropped_for_its_reason(text: str, reason: str) -> None:
    row = one(text)
    assert (row["kept"], row["reason"]) == (False, reason)
    assert (row["text"] is None) == RULES[reason].private


@pytest.mark.parametrize(
    "text",
    [
        "lol.it is fine",
        "I paid $599.99 for 1.5k",
        "hola.de",
        "Mr.Mime is creepy",
        "score 1000000000",
        "the 10.10.2010 patch",
        "wait what...",
        "!!",
        "?",
        "! no",
        "/v/ again",
        "nice",
        "ez clap",
        "gg wp",
        "ok",
        "hahahaha",
        "😂😂",
        "I gifted a sub to him",
        "raiders have joined the party",
        "we subscribed at some point",
    ],
)
def test_ordinary_chat_stays_as_it_is(text: str) -> None:
    row = one(text)
    assert (row["kept"], row["reason"], row["text"]) == (True, None, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("loooool", "lool"),
        ("what!!!!!!", "what!!"),
        ("hmm.......", "hmm..."),
        ("10000 points", "10000 points"),
        ("  a \t b\u3000c ", "a b c"),
        ("ｆｕｌｌ ｗｉｄｔｈ", "full width"),
        ("it’s “ok”", "it's \"ok\""),
        ("nep \u034f", "nep"),
        ("zero\u200bwidth", "zerowidth"),
        ("¯\\_(ツ)_/¯", "¯\\_(ツ)_/¯"),
        ("ㅋㅋㅋㅋ", "ㅋㅋ"),
        ("family 👨\u200d👩\u200d👧 here", "family 👨\u200d👩\u200d👧 here"),
        ("❤️\u200d🔥 hot", "❤️\u200d🔥 hot"),
        ("👍🏽 ok", "👍🏽 ok"),
        (ENGLAND, ENGLAND),
        ("#️⃣ one", "#️⃣ one"),
        ("cafe\u0301", "café"),
        ("שלום \u202eחברים\u202c", "שלום חברים"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("hi @streamer!", "hi!"),
        ("@a_b, @c_d hello", "hello"),
        ("you @日本語さん there", "you there"),
        ("hello SOME_body_9's cat", "hello cat"),
        ("ask viewer_77 or POV:viewer_77", "ask or POV:"),
        ("x_1 subscribed with Prime. They've subscribed for 6 months, currently on a 6 month streak! hey", "hey"),
    ],
)  # fmt: skip
def test_a_text_is_rewritten(text: str, expected: str) -> None:
    messages = [message(text), message("x", author="some_body_9"), message("y", author="viewer_77")]
    assert cleaned(messages, language="")[0]["text"] == expected


def test_emotes_leave_the_text_and_keep_their_order() -> None:
    row = one([("hey ", None), ("channelWave", "12"), (" so PogU good ", None), ("Kappa", "25")])
    assert (row["text"], row["emotes"]) == ("hey so good", ["channelWave", "PogU", "Kappa"])
    assert one([("Kappa", "25"), (" ", None), ("Kappa", "25")])["reason"] == "emote-only"
    assert one("Cheer100 take my bits")["emotes"] == ["Cheer100"]
    assert one("pogu is a word in lower case")["emotes"] == []


def test_an_emote_typed_as_a_word_is_known_from_the_same_recording() -> None:
    rows = cleaned([message([("channelWave", "12")]), message("hi channelWave")])
    assert (rows[1]["text"], rows[1]["emotes"]) == ("hi", ["channelWave"])


def test_negative_times_duplicates_and_order() -> None:
    rows = cleaned(
        [
            message("late", offset_ms=9000, id="c"),
            message("early", offset_ms=-1, id="a"),
            message("first", offset_ms=1000, id="b"),
            message("second", offset_ms=1000, id="d"),
            message("first", offset_ms=1000, id="b"),
        ]
    )
    assert [row["text"] for row in rows] == ["early", "first", "second", "first", "late"]
    assert [row["reason"] for row in rows] == ["before-start", None, None, "duplicate", None]
    assert [row["position"] for row in rows] == list(range(5))
    assert [row["time_ms"] for row in cleaned([message("x", offset_ms=500)], offset_ms=-2000)] == [-1500]


@pytest.mark.parametrize(
    ("changes", "evidence"),
    [({"author": "NightBot"}, "list"), ({"author": "my_own_bot"}, "name"), ({"badges": ["bot-badge"]}, "badge")],
)
def test_bots_are_known_by_list_name_and_badge(changes: dict[str, Any], evidence: str) -> None:
    chat = chat_of([message("hello everyone", **changes), message("hi", author="human")])
    assert [entry["evidence"] for entry in chat.bots] == [[evidence]]
    assert chat.kept.tolist() == [False, True]


def test_a_clock_is_a_bot_and_a_fan_is_not() -> None:
    text = "remember to drink some water everybody"
    clock = [message(text, author="timer", offset_ms=600_000 * n + 100 * n) for n in range(6)]
    fan = [message(text + "!", author="fan", offset_ms=at * 1000) for at in (50, 700, 900, 2500, 2600, 3300)]
    chat = chat_of(clock + fan)
    assert [(chat.logins[entry["author"]], entry["num_comments"]) for entry in chat.bots] == [("timer", 6)]
    assert "every 600 s" in chat.bots[0]["evidence"][0]


def test_who_answers_commands_is_a_bot_unless_allowed() -> None:
    messages = [message(f"talk number {n}", author="human", offset_ms=7000 * n) for n in range(300)]
    for n in range(6):
        messages.append(message("!uptime", author=f"asker{n}", offset_ms=300_000 * n + 500))
        messages.append(message(f"live for {n} hours", author="helper", offset_ms=300_000 * n + 1500))
    assert [entry["evidence"] for entry in chat_of(messages).bots] == [["6 of 6 comments follow a command"]]
    allowed = Lists(bots=frozenset(), allowed=frozenset({"helper"}), emotes=frozenset(), dates={})
    assert chat_of(messages, allowed).bots == []


def test_copypasta_and_repeats_keep_the_first_ones() -> None:
    pasta = "this is a very long copypasta that everybody posts"
    rows = cleaned([message(pasta + "!" * (n % 2), author=f"user{n}", offset_ms=n * 60_000) for n in range(5)])
    assert [row["reason"] for row in rows] == [None, None, None, "copypasta", "copypasta"]
    rows = cleaned([message("moo", offset_ms=n * 20_000) for n in range(3)] + [message("moo", offset_ms=900_000)])
    assert [row["reason"] for row in rows] == [None, "repeat", "repeat", None]
    rows = cleaned([message("lol", author=f"user{n}") for n in range(9)])
    assert all(row["kept"] for row in rows)


def test_personal_data_is_removed_whatever_dropped_the_row() -> None:
    rows = cleaned([message("!pay jane@example.com"), message("mail jane@example.com", offset_ms=-5)])
    assert [row["text"] for row in rows] == [None, None]
    assert [row["reason"] for row in rows] == ["before-start", "email"]


def test_language_is_kept_with_a_score_and_short_texts_are_left_open() -> None:
    row = one("I really think that she should have taken the other door")
    assert row["language"] == "en"
    assert 0.9 < row["language_score"] <= 1
    row = one("lol")
    assert (row["kept"], row["language"], row["language_score"]) == (True, None, None)


def test_other_target_languages() -> None:
    german = "ich verstehe überhaupt nicht, was hier gerade passiert"
    english = "I really do not understand what is happening here"
    assert [row["reason"] for row in cleaned([message(german), message(english)], language="de")] == [None, "language"]
    assert all(row["kept"] for row in cleaned([message(german), message(english)], language=""))
    assert all(row["kept"] for row in cleaned([message(german)], language="xx"))


def test_danmaku() -> None:
    texts = [
        "主播好强啊这波操作",
        "23333333",
        "哈哈/n哈哈哈哈",
        "awsl",
        "前方高能！",
        "これは素晴らしい配信でした、ありがとう",
    ]
    rows = cleaned([message(text, author=None, author_id=None) for text in texts], language="zh", platform="bilibili")
    assert [row["reason"] for row in rows] == [None] * 5 + ["language"]
    assert [row["text"] for row in rows[:4]] == ["主播好强啊这波操作", "23333333", "哈哈 哈哈", "awsl"]
    assert rows[0]["author"] == "" and rows[0]["language"] == "zh"


def test_the_funnel_adds_up() -> None:
    messages = [message(text) for text in ("hi @you", "!so", "looool", "", "see https://a.b", "PogU")]
    chat = chat_of(messages)
    left = len(messages)
    for entry in chat.notes["funnel"]:
        left -= entry["count"] if entry["drops"] else 0
        assert entry["left"] == left
    counts = {entry["rule"]: entry["count"] for entry in chat.notes["funnel"]}
    assert list(counts) == list(RULES)
    assert (counts["mention"], counts["elongation"], counts["emotes"], counts["link"]) == (1, 1, 1, 1)


def test_impossible_thresholds_are_refused() -> None:
    with pytest.raises(UsageError, match="max_chars"):
        CleaningConfig(max_chars=0)
    with pytest.raises(UsageError, match="language_prior"):
        CleaningConfig(language_prior=1.0)


SAMPLES = (
    "@name @ a@b.com https://x.yz www. .com !cmd PogU xddd aaaa ... 1234 👨 \u200d \u200b \ufe0f \u0301 \U000e0000 ❤ "
    "גם \U000e0067 می\u200cخ ﷺ ﬁ Å 555-123-4567 ㅋㅋㅋ ½ ´ somebody_9 (dot)com :// ' , !!! ＠x ｗｗｗ． \x7f"
)
PARTS = st.one_of(st.text(max_size=12), st.sampled_from(SAMPLES.split(" ")))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(PARTS, max_size=8), st.sampled_from(["", " "]))
def test_cleaning_what_is_clean_changes_nothing(parts: list[str], glue: str) -> None:
    first = cleaned([message(glue.join(parts), author="somebody_9")], language="")[0]
    if not first["kept"]:
        return
    text = first["text"]
    assert text and text == text.strip()
    assert not any(word.startswith("@") and word[1:2].isalnum() for word in text.split())
    assert "https://x" not in text and "@b.com" not in text and not re.search(r"\bsomebody_9\b", text)
    second = cleaned([message(text, author="somebody_9")], language="")[0]
    assert (second["kept"], second["text"], second["emotes"]) == (True, text, [])
