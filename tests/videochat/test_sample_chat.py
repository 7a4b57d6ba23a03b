"""Simulated chat: what it says, when, about what, in the three worlds."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter

import pytest

from videochat.sample.chat import Chat, converse, to_graphql
from videochat.sample.phrases import answer_phrases, canonical, fill, generic_phrases, response_table
from videochat.sample.world import COLOURS, OBJECTS, WORLDS, Event, WorldSpec, plan_events
from videochat.schema import RawMessage
from videochat.sources.formats import Notes
from videochat.sources.twitch_graphql import convert

SPEC = WorldSpec()
DURATION_MS = 600_000


def _text(message: RawMessage) -> str:
    return canonical("".join(text for text, emote in message["fragments"] if emote is None))


def _recording(world: str, index: int, spec: WorldSpec = SPEC) -> tuple[list[Event], Chat]:
    events = plan_events(spec, 11, index, DURATION_MS)
    return events, converse(spec, world, 11, index, events, DURATION_MS)


@pytest.fixture(scope="module")
def chats() -> dict[str, list[tuple[list[Event], Chat]]]:
    return {world: [_recording(world, index) for index in range(6)] for world in WORLDS}


def test_same_arguments_same_chat() -> None:
    assert _recording("screen", 0)[1] == _recording("screen", 0)[1]
    assert _recording("screen", 0)[1].messages != _recording("screen", 1)[1].messages


def test_messages_are_twitch_messages(chats: dict[str, list[tuple[list[Event], Chat]]]) -> None:
    messages = chats["screen"][0][1].messages
    assert len({m["id"] for m in messages}) == len(messages)
    assert [m["offset_ms"] for m in messages] == sorted(m["offset_ms"] for m in messages)
    assert all(m["offset_ms"] % 1000 == 0 and 0 <= m["offset_ms"] < DURATION_MS for m in messages)
    assert any(emote for m in messages for _, emote in m["fragments"])
    notes = Notes()
    assert [convert(to_graphql(m), notes) for m in messages] == messages  # as an importer reads Twitch's own form


def test_a_reaction_follows_the_event_it_speaks_of(chats: dict[str, list[tuple[list[Event], Chat]]]) -> None:
    for world in ("screen", "beyond"):
        for events, chat in chats[world]:
            for message in chat.messages:
                number = chat.answers[message["id"] or ""]
                if number is not None:
                    assert message["offset_ms"] + 1000 > events[number].start_ms + SPEC.min_latency_ms


def test_context_names_the_focal_object_and_no_colour(chats: dict[str, list[tuple[list[Event], Chat]]]) -> None:
    shares = Counter[str]()
    for events, chat in chats["screen"]:
        for message in chat.messages:
            number, words = chat.answers[message["id"] or ""], _text(message).split()
            if number is None or message["offset_ms"] % 30_000 >= 20_000:
                continue
            topic = chat.topics[message["offset_ms"] // 30_000 * 30_000]
            assert canonical(events[number].object) in words
            assert not {canonical(c) for c in COLOURS} & set(words)
            shares["focal" if number == topic.event else "other"] += 1
    assert 0.12 < shares["other"] / shares["focal"] < 0.30  # 10 % of all against 50 %


def test_answers_tell_the_colour_and_no_object(chats: dict[str, list[tuple[list[Event], Chat]]]) -> None:
    answered = total = 0
    for events, chat in chats["screen"]:
        for message in chat.messages:
            if message["offset_ms"] % 30_000 < 20_000:
                continue
            total += 1
            number, words = chat.answers[message["id"] or ""], _text(message).split()
            assert not {canonical(name) for name in OBJECTS} & set(words)
            if number is not None:
                answered += 1
                assert canonical(events[number].colour) in words
    assert 0.55 < answered / total < 0.73


@pytest.mark.parametrize("world", WORLDS)
def test_worlds_differ_in_what_chat_is_about(chats: dict[str, list[tuple[list[Event], Chat]]], world: str) -> None:
    for events, chat in chats[world]:
        for start, topic in chat.topics.items():
            if world == "unrelated" or (world == "beyond" and start == 0):
                assert topic.event is None
                continue
            assert topic.event is not None
            event = events[topic.event]
            assert (event.object, event.colour) == (topic.object, topic.colour)
            if world == "screen":
                assert start - 10_000 <= event.start_ms <= start + 16_000
                assert event.end_ms <= start + 20_000
            else:
                assert event.end_ms <= start - 10_000


def test_the_rate_of_reference_is_a_dial() -> None:
    rates = []
    for rate in (0.0, 0.5, 1.0):
        spec = dataclasses.replace(SPEC, reference_rate=rate)
        topics = [t for index in range(6) for t in _recording("screen", index, spec)[1].topics.values()]
        rates.append(sum(topic.event is not None for topic in topics) / len(topics))
    assert rates[0] == 0
    assert 0.35 < rates[1] < 0.65
    assert rates[2] == 1


def test_phrases_are_diverse_and_their_law_sums_to_one() -> None:
    for phrases in (answer_phrases(SPEC), generic_phrases(SPEC)):
        assert sum(weight for _, weight in phrases) == pytest.approx(1)
        assert len({text for text, _ in phrases}) == len(phrases)
    assert len(answer_phrases(SPEC)) * len(COLOURS) > 5_000
    table = response_table(SPEC)
    for colour in (*COLOURS, None):
        assert sum(row[colour] for row in table.values()) == pytest.approx(1)
    for row in itertools.islice(table.values(), 2000):
        assert row[None] == pytest.approx(sum(row[c] for c in COLOURS) / len(COLOURS))


def test_responses_follow_the_law_that_the_ceiling_uses(chats: dict[str, list[tuple[list[Event], Chat]]]) -> None:
    """Every kept response is a text of the table; the colour said is as frequent as the table has it."""
    table = response_table(SPEC)
    expected = {c: sum(row[c] for text, row in table.items() if c in text.split()) for c in ("red", "blue", "cyan")}
    said = Counter[bool]()
    for events, chat in chats["screen"]:
        for message in chat.messages:
            text, number = _text(message).replace("@", ""), chat.answers[message["id"] or ""]
            if message["offset_ms"] % 30_000 >= 20_000 and number is not None:
                plain = text.split("sim_")[-1] if "sim_" in text else text
                found = table.get(plain) or table.get(" ".join(plain.split()[1:]))
                assert found is not None, text
                assert found[events[number].colour] > 5 * (found[None] or 0) * 0.9
                said[True] += 1
    assert said[True] > 300
    assert len({round(value, 6) for value in expected.values()}) == 1
    assert 0.65 < expected["red"] < 0.75  # answers, and a tenth of the noise


def test_manners_do_not_change_the_words() -> None:
    assert canonical("SOOOO Blue!!") == canonical("so blue")
    assert canonical("sooo") == canonical("soo") == "so"
    assert canonical("") == canonical("!!! 🎉") == ""
    assert fill("was that a {o}", name="umbrella") == "was that an umbrella"
    assert fill("such a {c} {o}", name="arrow", colour="red") == "such a red arrow"
