"""`v1`: the promises of balanced groups, and the theorem that a scorer which ignores the clip is exactly at chance."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from fractions import Fraction

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videochat.benchmark.candidates.groups import make_groups
from videochat.benchmark.candidates.material import Built, Material
from videochat.benchmark.candidates.truth import NO_TRUTH, draw_truths, eligible_responses, generic_keys
from videochat.benchmark.protocols import PROTOCOLS
from videochat.benchmark.texts.corpus import Corpus
from videochat.benchmark.texts.keys import key, num_alphanumeric
from videochat.build import table_of
from videochat.files import stable_hash
from videochat.schema import Clip, Comment, clip_id

KINDS = PROTOCOLS["v1"].sets
WORDS = ("cat", "dog", "boss", "gg", "lol", "nice", "run", "left", "heal", "rip", "what", "wow", "blue", "red")


def comment(time_ms: int, text: str) -> Comment:
    return Comment(offset_ms=time_ms, author="u", text=text)


def clip(recording: str, tile: int, context: list[str], responses: list[str], category: str = "Music") -> Clip:
    start = tile * 30_000
    return Clip(
        clip_id=clip_id(recording, start),
        recording_id=recording,
        channel_id=recording[:1],
        category=category,
        language="en",
        split="test",
        start_ms=start,
        context_end_ms=start + 20_000,
        end_ms=start + 30_000,
        context=tuple(comment(start + 1_000 * n, text) for n, text in enumerate(context)),
        responses=tuple(comment(start + 20_000 + 1_000 * n, text) for n, text in enumerate(responses)),
    )


def chat(
    seed: int,
    *,
    num_recordings: int = 2,
    num_tiles: int = 24,
    gaps: float = 0.1,
    category: str = "Music",
) -> list[Clip]:
    """Random chat of a small vocabulary with popular one-word comments and missing tiles."""
    draw = random.Random(seed)

    def say() -> str:
        if draw.random() < 0.2:
            return draw.choice(WORDS[:6]).upper() + "!" * draw.randrange(4)
        return " ".join(draw.choice(WORDS) for _ in range(draw.randrange(1, 5))) + f" {draw.randrange(400)}"

    return [
        clip(
            f"{category[::-1]}{number}",
            tile,
            [say() for _ in range(3)],
            [say() for _ in range(draw.randrange(1, 4))],
            category,
        )
        for number in range(num_recordings)
        for tile in range(num_tiles)
        if draw.random() >= gaps
    ]


def material(clips: list[Clip], *, seed: int = 0) -> Material:
    corpus = Corpus.from_table(table_of(clips, None))
    return Material(corpus, corpus, PROTOCOLS["v1"], seed=seed)


def groups_of(built: Built) -> dict[str, list]:
    groups = defaultdict(list)
    for item in built.items:
        groups[item.group_id].append(item)
    return groups


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.sampled_from([2, 3, 5, 10]))
@pytest.mark.parametrize("kind", KINDS)
def test_every_promise_of_a_group(kind: str, seed: int, k: int) -> None:
    clips = chat(seed)
    made = material(clips)
    corpus = made.corpus
    by_id = {c.clip_id: c for c in clips}
    built = make_groups(made, kind, k)
    placed = [item.clip for item in built.items]
    assert len(placed) == len(set(placed))
    with_truth = made.clips_with_truth(range(len(corpus)))
    assert len(placed) + sum(built.left_out.values()) == len(with_truth)
    for items in groups_of(built).values():
        assert len(items) == k
        assert len({item.candidates for item in items}) == 1, "one order for all clips of a group"
        assert len({corpus.recording_ids[item.clip] for item in items}) == 1
        truths = [corpus.texts[made.truths[item.clip]] for item in items]
        assert sorted(truths) == sorted(corpus.texts[c] for c in items[0].candidates)
        assert len({key(text) for text in truths}) == k
        assert [corpus.texts[made.truths[s]] for s in items[0].sources] == [
            corpus.texts[c] for c in items[0].candidates
        ]
        for item in items:
            own = by_id[corpus.clip_ids[item.clip]]
            said = {key(c.text) for c in (*own.context, *own.responses)}
            for other in items:
                if other is not item:
                    assert key(corpus.texts[made.truths[other.clip]]) not in said
                    assert abs(corpus.start_ms[other.clip] - corpus.start_ms[item.clip]) > 30_000


def expected_under_ties(scores: list[int], truth: int) -> tuple[Fraction, Fraction, Fraction]:
    """E[R@1], E[R@2] and E[RR] of one clip by PROTOCOL's formulas, in exact arithmetic."""
    above = sum(score > scores[truth] for score in scores)
    tied = sum(score == scores[truth] for score in scores) - 1
    recall = [min(Fraction(1), max(Fraction(0), Fraction(k - above, tied + 1))) for k in (1, 2)]
    reciprocal = sum((Fraction(1, rank) for rank in range(above + 1, above + tied + 2)), Fraction(0)) / (tied + 1)
    return recall[0], recall[1], reciprocal


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    scorer=st.integers(0, 10_000),
    levels=st.integers(1, 30),
    sees_text=st.booleans(),
    sees_position=st.booleans(),
    k=st.sampled_from([2, 5, 10]),
)
@pytest.mark.parametrize("kind", KINDS)
def test_any_scorer_that_ignores_the_clip_is_exactly_at_chance(
    kind: str, seed: int, scorer: int, levels: int, sees_text: bool, sees_position: bool, k: int
) -> None:
    """The theorem of v1, for each group by itself: R@1 = 1/K, R@2 = 2/K, MRR = H(K)/K, ties and all."""
    made = material(chat(seed, num_recordings=1))
    for items in groups_of(make_groups(made, kind, k)).values():
        totals = [Fraction(0)] * 3
        for item in items:
            scores = [
                stable_hash(scorer, made.corpus.texts[text] if sees_text else "", position if sees_position else "")
                % levels
                for position, text in enumerate(item.candidates)
            ]
            truth = item.candidates.index(int(made.truths[item.clip]))
            for n, value in enumerate(expected_under_ties(scores, truth)):
                totals[n] += value
        harmonic = sum((Fraction(1, rank) for rank in range(1, k + 1)), Fraction(0))
        assert [total / k for total in totals] == [Fraction(1, k), Fraction(min(2, k), k), harmonic / k]


def test_a_scorer_that_sees_the_clip_can_beat_chance() -> None:
    """The theorem is about blindness: who knows the clip's responses is always right."""
    made = material(chat(3))
    items = make_groups(made, "random", 5).items
    assert len(items) >= 30
    for item in items:
        said = set(made.corpus.responses.of(item.clip).tolist())
        assert [c for c in item.candidates if c in said] == [made.truths[item.clip]]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_the_rows_changes_nothing(kind: str, seed: int) -> None:
    clips = chat(seed)
    mixed = list(clips)
    random.Random(seed).shuffle(mixed)
    first, second = (make_groups(material(rows), kind, 5) for rows in (clips, mixed))
    assert first == second


def test_another_seed_gives_other_groups() -> None:
    clips = chat(1)
    assert make_groups(material(clips), "random", 5) != make_groups(material(clips, seed=1), "random", 5)


def test_sets_are_what_they_are_called() -> None:
    """Cosine groups share more words than random ones; Popularity groups differ less in frequency."""
    made = material(chat(5, num_recordings=3, num_tiles=120))
    words, distance = {}, {}
    for kind in KINDS:
        shared, apart = [], []
        for items in groups_of(make_groups(made, kind, 5)).values():
            rows = made.tfidf.transform([made.corpus.texts[c] for c in items[0].candidates])
            shared.append((rows @ rows.T).sum())
            counts = [made.train_counts[key(made.corpus.texts[c])] for c in items[0].candidates]
            apart.append(max(counts) - min(counts))
        words[kind], distance[kind] = sum(shared) / len(shared), sum(apart) / len(apart)
    assert words["cosine"] > 1.5 * words["random"]
    assert distance["popularity"] < 0.7 * distance["random"]


def test_what_is_left_out_is_counted_by_reason() -> None:
    few = [clip("r1", tile, ["hello there"], [f"answer number {tile}"]) for tile in range(4)]
    rest = [clip("r2", tile, ["hello there"], [f"reply number {tile}"]) for tile in range(0, 26, 2)]
    same = [clip("r3", tile, ["hi all"], ["always the same"]) for tile in range(0, 12, 2)]
    built = make_groups(material(few + rest + same), "random", 5)
    assert built.left_out == {"too-few-clips": 4, "remainder": 3, "conflicts": 6}
    assert len(built.items) == 10


# -- truths


def test_a_truth_is_new_to_its_context_and_says_something() -> None:
    clips = [
        clip("r", 0, ["LOL", "nice shot"], ["lmao!!", "...", "<3", "x", "Nice  shot!", "gg"]),
        clip("r", 1, ["hello"], ["HELLO!", "?"]),
        clip("r", 2, ["hello"], ["42"]),
    ]
    corpus = Corpus.from_table(table_of(clips, None))
    assert [[corpus.texts[t] for t in eligible_responses(corpus, c)] for c in range(3)] == [["gg"], [], ["42"]]
    truths = draw_truths(corpus, seed=0)
    assert truths[1] == NO_TRUTH
    assert corpus.texts[truths[0]] == "gg"


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000))
def test_truths_are_eligible_and_depend_on_no_order_or_pseudonym(seed: int) -> None:
    clips = chat(seed, num_recordings=1)
    corpus = Corpus.from_table(table_of(clips, None))
    truths = [corpus.texts[t] if t != NO_TRUTH else None for t in draw_truths(corpus, seed=seed)]
    for made, truth in zip(clips, truths, strict=True):
        context = {key(c.text) for c in made.context}
        possible = [c.text for c in made.responses if key(c.text) not in context and num_alphanumeric(key(c.text)) >= 2]
        assert truth in possible if possible else truth is None
    tied = clip("t", 0, ["hi"], [])
    answers = [comment(25_000, text) for text in ("one thing", "two things", "three things")]
    drawn = set()
    for order in (answers, answers[::-1]):
        renamed = [Comment(offset_ms=a.offset_ms, author=str(n), text=a.text) for n, a in enumerate(order)]
        row = table_of([Clip(**{f: getattr(tied, f) for f in Clip.__slots__} | {"responses": tuple(renamed)})], None)
        again = Corpus.from_table(row)
        drawn.add(again.texts[draw_truths(again, seed=seed)[0]])
    assert len(drawn) == 1, "comments of one second are told apart by their text"


def test_truths_are_drawn_evenly() -> None:
    clips = [clip(f"r{n}", 0, ["hi"], ["aa one", "bb two", "cc three", "dd four"]) for n in range(800)]
    corpus = Corpus.from_table(table_of(clips, None))
    drawn = [corpus.texts[t] for t in draw_truths(corpus, seed=0)]
    assert all(150 < drawn.count(text) < 250 for text in set(drawn)), "4 of 200 each, five standard deviations are 61"
    assert len(set(drawn)) == 4


def test_generic_keys_are_the_most_frequent_of_train() -> None:
    protocol = PROTOCOLS["v1"]
    counts = Counter({f"word {n:04}": 10_000 - n for n in range(2_000)}) + Counter({"": 99_999, "w": 99_999})
    assert generic_keys(counts, protocol) == {f"word {n:04}" for n in range(20)}, "one percent, nothing unspeakable"
    many = Counter({f"word {n:05}": 1 for n in range(50_000)})
    assert generic_keys(many, protocol) == {f"word {n:05}" for n in range(100)}, "at most 100, ties by name"
    assert generic_keys(Counter(), protocol) == frozenset()


# -- K = 100: the recordings of a category are one pool


@pytest.fixture(scope="module")
def pooled() -> Material:
    return material(chat(2, num_recordings=5, num_tiles=70) + chat(3, num_recordings=2, num_tiles=20, category="Art"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_group_of_100_takes_clips_of_several_recordings_of_one_category(kind: str, pooled: Material) -> None:
    built = make_groups(pooled, kind, 100)
    corpus = pooled.corpus
    groups = groups_of(built)
    assert len(groups) == 2 or kind != "random", "some 315 clips of one category, of which popular words clash"
    assert groups
    for name, items in groups.items():
        assert name.startswith("test-music-") and len(items) == 100
        assert len({item.candidates for item in items}) == 1
        assert len({corpus.recording_ids[item.clip] for item in items}) > 1
        assert {corpus.categories[item.clip] for item in items} == {"Music"}
        truths = {pooled.truth_key(item.clip) for item in items}
        assert len(truths) == 100
        for item in items:
            assert corpus.keys_of(item.clip) & truths == {pooled.truth_key(item.clip)}
            near = [
                other
                for other in items
                if corpus.recording_ids[other.clip] == corpus.recording_ids[item.clip]
                and abs(corpus.start_ms[other.clip] - corpus.start_ms[item.clip]) <= 30_000
            ]
            assert near == [item]
    with_truth = len(pooled.clips_with_truth(range(len(corpus))))
    assert len(built.items) + sum(built.left_out.values()) == with_truth
    art = pooled.clips_with_truth([clip for clip, name in enumerate(corpus.categories) if name == "Art"])
    assert built.left_out["too-few-clips"] == len(art) < 100


def test_the_theorem_holds_for_100_of_a_category(pooled: Material) -> None:
    for kind in KINDS:
        for items in groups_of(make_groups(pooled, kind, 100)).values():
            recall = reciprocal = Fraction(0)
            for item in items:
                scores = [stable_hash(pooled.corpus.texts[text]) % 40 for text in item.candidates]
                truth = item.candidates.index(int(pooled.truths[item.clip]))
                at_1, _, value = expected_under_ties(scores, truth)
                recall, reciprocal = recall + at_1, reciprocal + value
            assert recall / 100 == Fraction(1, 100)
            assert reciprocal / 100 == sum((Fraction(1, rank) for rank in range(1, 101)), Fraction(0)) / 100


def test_a_large_pool_is_packed_in_parts_of_whole_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    tiles = [clip(f"r{n % 7}", n, ["hello there"], ["answer " + " ".join(str(n))]) for n in range(0, 1_400, 2)]
    made = material(tiles)
    assert make_groups(made, "random", 100).left_out == {}
    monkeypatch.setattr("videochat.benchmark.candidates.groups.MAX_PART", 250)
    built = make_groups(made, "random", 100)
    assert built.left_out == {}
    assert len(groups_of(built)) == 7


def test_categories_with_one_slug_are_two_pools() -> None:
    categories = ("Art", "Art!")
    tiles = [clip(name, 2 * n, ["hi"], [f"answer {n + 100}"], name) for name in categories for n in range(100)]
    groups = groups_of(make_groups(material(tiles), "random", 100))
    assert len(groups) == 2
    assert len({name.rsplit("_", 2)[0] for name in groups}) == 2


def test_an_empty_corpus_makes_empty_sets() -> None:
    empty = Corpus.from_table(pa.Table.from_batches([], schema=table_of(chat(0), None).schema))
    made = Material(empty, empty, PROTOCOLS["v1"], seed=0)
    assert all(make_groups(made, kind, 10) == Built() for kind in KINDS)
