"""What balanced groups cost: the counts behind decision 8, by hand on a few clips, and the command."""

from __future__ import annotations

import numpy as np
import pytest

from videochat.benchmark.candidates.material import Material
from videochat.benchmark.group_costs import Chat, costs, neighbour_costs, to_text
from videochat.benchmark.protocols import PROTOCOLS
from videochat.benchmark.texts.corpus import Corpus
from videochat.build import table_of
from videochat.schema import Clip, Comment, clip_id


def clip(recording: str, tile: int, context: list[str], responses: list[str]) -> Clip:
    start = tile * 30_000
    said = [(start + 1_000 * n, text) for n, text in enumerate(context)]
    said += [(start + 20_000 + 1_000 * n, text) for n, text in enumerate(responses)]
    comments = tuple(Comment(offset_ms=time, author="u", text=text) for time, text in said)
    return Clip(
        clip_id=clip_id(recording, start),
        recording_id=recording,
        channel_id="c",
        category="Music",
        language="en",
        split="test",
        start_ms=start,
        context_end_ms=start + 20_000,
        end_ms=start + 30_000,
        context=comments[: len(context)],
        responses=comments[len(context) :],
    )


def test_what_is_said_when_and_where() -> None:
    clips = [
        clip("a", 0, ["hello"], ["boss"]),
        clip("a", 1, ["boss"], ["nice one"]),
        clip("a", 3, ["hello"], ["BOSS!"]),
        clip("b", 1, ["boss"], ["boss"]),
    ]
    chat = Chat(Corpus.from_table(table_of(clips, None)))
    boss, hello = chat.key_numbers["boss"], chat.key_numbers["hello"]

    def said(recording: str, tile: int, key: int, within_ms: int | None) -> int:
        number = np.array([chat.clip_numbers[clip_id(recording, tile * 30_000)]])
        return int(chat.times_said(number, np.array([key]), within_ms=within_ms)[0])

    assert [said("a", tile, boss, None) for tile in (0, 1, 3)] == [3, 3, 3]
    assert said("b", 1, boss, None) == 2 and said("b", 1, hello, None) == 0
    assert [said("a", tile, boss, 0) for tile in (0, 1, 3)] == [1, 1, 1]
    assert said("a", 0, boss, 60_000) == 2, "the one of 1:50 is more than a minute after 0:30"
    assert said("a", 1, boss, 60_000) == 3, "0:20, 0:30 and 1:50, the last within a minute of 1:00"
    assert said("a", 3, hello, 0) == 1 and said("a", 1, hello, 0) == 0


def test_neighbours_are_counted_by_distance() -> None:
    """Truths that the next clip repeats: nobody else says them."""
    words = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliet"]
    clips = [
        clip("a", n, [f"after {words[n - 1]}", words[n - 1]] if n else ["start"], [word])
        for n, word in enumerate(words)
    ]
    corpus = Corpus.from_table(table_of(clips, None))
    found = neighbour_costs(Material(corpus, corpus, PROTOCOLS["v1"], seed=0), 3)
    assert found["said_by_distance"] == {"1": 0.5, "2": 0, "3–5": 0, "6–20": 0}
    assert found["coverage"] == 0.9 and found["coverage_without"] == 0.9


@pytest.mark.slow
def test_the_command_tells_the_costs_of_both_protocols(tmp_path, dummies) -> None:
    dummies.make_dataset(
        tmp_path, num_channels=3, recordings_per_channel=2, clips_per_recording=40, dim=None, split_by="recording"
    )
    found = costs(tmp_path, [10, 100])
    rows = {(row["protocol"], row["set"]): row for row in found["sets"]}
    assert rows["v1", "random10"]["coverage"] > 0.8
    assert rows["v1", "random10"]["panel"]["candidate-only"] == pytest.approx(0.1, abs=1e-9)
    assert rows["v1", "random10"]["stream"] == pytest.approx(0.1, abs=1e-9), "within one recording all know the stream"
    assert rows["v1", "random10"]["elimination"] > 0.2
    assert rows["v1", "random100"]["coverage"] == 0.0 and "near_by" not in rows["v1", "random100"]
    assert 0 <= rows["classic", "cosine10"]["like_truth"] < 1
    text = to_text(found)
    assert text.startswith("SIMULATED DATA") and "| v1 random100 | 0 | 0.0% |" in text
    assert found == costs(tmp_path, [10, 100])
