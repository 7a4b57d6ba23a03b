"""`classic`: what is in its sets, by the book, and the leak that it is kept to show."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import pytest

from videochat.benchmark.candidates.classic import make_classic
from videochat.benchmark.candidates.material import Item, Material
from videochat.benchmark.protocols import PROTOCOLS
from videochat.benchmark.texts.corpus import Corpus
from videochat.benchmark.texts.keys import key
from videochat.build import table_of
from videochat.schema import Clip, Comment, clip_id

KINDS = PROTOCOLS["classic"].sets


def chat(seed: int, num_recordings: int = 2, num_tiles: int = 30) -> list[Clip]:
    """Chat about one topic a clip, with popular comments and spelling variants of one key."""
    draw = random.Random(seed)
    topics = ("boss", "cat", "song", "build", "raid", "snack")
    clips = []
    for number in range(num_recordings):
        for tile in range(num_tiles):
            start, topic = tile * 30_000, draw.choice(topics)
            lines = [f"the {topic} is {draw.choice(('good', 'bad', 'odd'))} {draw.randrange(30)}" for _ in range(6)]
            lines += [draw.choice(("LOL", "lol!", "lmao", "gg", "GGs", "nice one", "Nice  one!!"))]
            draw.shuffle(lines)
            said = [Comment(offset_ms=start + 3_000 * n, author="u", text=text) for n, text in enumerate(lines)]
            said.append(Comment(offset_ms=start + 29_000, author="u", text=f"what a day {number} {tile}"))
            clips.append(
                Clip(
                    clip_id=clip_id(f"r{number}", start),
                    recording_id=f"r{number}",
                    channel_id="c",
                    category="Art",
                    language="en",
                    split="test",
                    start_ms=start,
                    context_end_ms=start + 20_000,
                    end_ms=start + 30_000,
                    context=tuple(c for c in said if c.offset_ms < start + 20_000),
                    responses=tuple(c for c in said if c.offset_ms >= start + 20_000),
                )
            )
    return clips


def material(clips: list[Clip]) -> Material:
    corpus = Corpus.from_table(table_of(clips, None))
    return Material(corpus, corpus, PROTOCOLS["classic"], seed=0)


def negatives(made: Material, item: Item) -> list[str]:
    return [made.corpus.texts[c] for c in item.candidates if c != made.truths[item.clip]]


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return chat(0)


def test_every_promise_of_an_item(clips: list[Clip]) -> None:
    made = material(clips)
    by_id = {c.clip_id: c for c in clips}
    said = {c.clip_id: {key(x.text) for x in (*c.context, *c.responses)} for c in clips}
    for kind, built in make_classic(made, 10).items():
        assert len(built.items) == len(clips)
        assert len({item.group_id for item in built.items}) == len(clips)
        for item in built.items:
            own = made.corpus.clip_ids[item.clip]
            texts = [made.corpus.texts[c] for c in item.candidates]
            assert len({key(text) for text in texts}) == 10, kind
            assert [key(text) in said[own] for text in texts].count(True) == 1
            assert made.corpus.texts[made.truths[item.clip]] in {c.text for c in by_id[own].responses}
            for text, source in zip(texts, item.sources, strict=True):
                origin = by_id[made.corpus.clip_ids[source]]
                assert origin.recording_id == by_id[own].recording_id
                assert text in {c.text for c in (*origin.context, *origin.responses)}


def test_one_text_stands_for_a_key_and_it_is_the_usual_one(clips: list[Clip]) -> None:
    made = material(clips)
    spelled: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for c in clips:
        for x in (*c.context, *c.responses):
            spelled[c.recording_id, key(x.text)][x.text] += 1
    for item in make_classic(made, 10)["popularity"].items:
        for text in negatives(made, item):
            counts = spelled[made.corpus.recording_ids[item.clip], key(text)]
            assert text == min(counts, key=lambda other: (-counts[other], other))


def test_popularity_takes_the_keys_in_most_other_clips(clips: list[Clip]) -> None:
    made = material(clips)
    for item in make_classic(made, 10)["popularity"].items:
        own, recording = made.corpus.clip_ids[item.clip], made.corpus.recording_ids[item.clip]
        others = [c for c in clips if c.recording_id == recording and c.clip_id != own]
        counts = Counter(name for c in others for name in {key(x.text) for x in (*c.context, *c.responses)})
        here = next({key(x.text) for x in (*c.context, *c.responses)} for c in clips if c.clip_id == own)
        best = sorted((count for name, count in counts.items() if name not in here), reverse=True)[:9]
        assert sorted((counts[key(text)] for text in negatives(made, item)), reverse=True) == best


def test_cosine_takes_the_nearest_to_the_joined_context(clips: list[Clip]) -> None:
    made = material(clips)
    by_id = {c.clip_id: c for c in clips}
    for item in make_classic(made, 10)["cosine"].items[::7]:
        own = by_id[made.corpus.clip_ids[item.clip]]
        here = {key(x.text) for x in (*own.context, *own.responses)}
        pool = {x.text for c in clips if c.recording_id == own.recording_id for x in (*c.context, *c.responses)}
        context = made.tfidf.transform([" ".join(c.text for c in own.context)])
        nearness = {
            key(text): float((made.tfidf.transform([text]) @ context.T).toarray()[0, 0])
            for text in pool
            if key(text) not in here
        }
        found = sorted((nearness[key(text)] for text in negatives(made, item)), reverse=True)
        assert found == pytest.approx(sorted(nearness.values(), reverse=True)[:9], abs=1e-6)


def test_random_draws_evenly_and_positions_tell_nothing() -> None:
    clips = chat(1, num_recordings=1, num_tiles=200)
    made = material(clips)
    items = make_classic(made, 10)["random"].items
    spread = Counter(item.candidates.index(int(made.truths[item.clip])) for item in items)
    assert set(spread) == set(range(10))
    assert max(spread.values()) < 40, "20 each, 40 is more than four standard deviations"
    drawn = Counter(text for item in items for text in negatives(made, item))
    assert max(drawn.values()) < 30, "9 of several hundred keys for each of 200 clips"
    assert len(drawn) > 200


def test_the_reversed_statistic_wins_and_that_is_the_defect(clips: list[Clip]) -> None:
    """R@1 of the candidate farthest from the context, on negatives chosen to be near."""
    made = material(clips)
    hits = 0
    items = make_classic(made, 10)["cosine"].items
    for item in items:
        texts = [made.corpus.texts[c] for c in item.candidates]
        context = made.tfidf.transform([" ".join(made.corpus.texts[t] for t in made.corpus.context.of(item.clip))])
        scores = (made.tfidf.transform(texts) @ context.T).toarray().ravel()
        hits += int(item.candidates[int(scores.argmin())] == made.truths[item.clip])
    assert hits / len(items) > 0.5, "chance is 0.1"


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_rows_changes_nothing(seed: int) -> None:
    clips = chat(seed)
    mixed = list(clips)
    random.Random(seed).shuffle(mixed)
    assert make_classic(material(clips), 10) == make_classic(material(mixed), 10)


def test_blocks_of_clips_change_nothing(clips: list[Clip], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make_classic(material(clips), 10)
    monkeypatch.setattr("videochat.benchmark.candidates.classic.BLOCK_CLIPS", 7)
    assert make_classic(material(clips), 10) == whole


def test_a_recording_that_says_too_little_is_left_out() -> None:
    built = make_classic(material(chat(0, num_recordings=1, num_tiles=1)), 10)
    assert all(part.items == [] and part.left_out == {"too-few-negatives": 1} for part in built.values())
