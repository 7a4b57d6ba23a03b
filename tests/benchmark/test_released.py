"""Protocol released-2025: each defect on cases where its effect is known by hand, and the switch that mends it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videochat.benchmark.audits.validation import validate_candidates
from videochat.benchmark.metrics.ranks import BadScores
from videochat.benchmark.released.clips import ReleasedDataset, random_clips
from videochat.benchmark.released.files import build_lists
from videochat.benchmark.released.lists import ChatClip, Lists, _of_recording, chat_clips, facts_of, make_lists
from videochat.benchmark.released.protocol import RELEASED, SWITCHES, ReleasedProtocol, mended
from videochat.benchmark.released.ranker import ReleasedRanker
from videochat.benchmark.released.ranking import averaged, rank_counts, sort_ranks, tie_facts
from videochat.benchmark.released.run import CAVEAT, rank_released, to_text
from videochat.benchmark.released.shortcuts import Reversed
from videochat.benchmark.released.similarity import RefittedTfIdf
from videochat.benchmark.scorers.baselines import Constant, TfIdfToContext
from videochat.commenter import ClipScores, view
from videochat.dataset import Dataset
from videochat.errors import Mismatch, UsageError
from videochat.workspace import Workspace


@pytest.fixture(scope="module")
def data(dummies: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    made: Dataset = dummies.make_dataset(
        tmp_path_factory.mktemp("released") / "ws", num_channels=4, recordings_per_channel=1, clips_per_recording=24
    )
    return made


@pytest.fixture(scope="module")
def workspace(data: Dataset) -> Workspace:
    return Workspace.open(data.root)


# -- the declaration


def test_a_declaration_survives_json_and_refuses_what_it_does_not_know() -> None:
    assert ReleasedProtocol.from_json(RELEASED.to_json()) == RELEASED
    with pytest.raises(UsageError, match="num_candidates"):
        ReleasedProtocol.from_json({**RELEASED.to_json(), "num_candidates": 10})
    with pytest.raises(UsageError, match=r"released-2025 1\.0"):
        ReleasedProtocol.from_json({**RELEASED.to_json(), "version": "2.0"})
    with pytest.raises(UsageError, match="ties is 'luck'"):
        ReleasedProtocol(ties="luck")
    with pytest.raises(UsageError, match="k = 30"):
        ReleasedProtocol(k=30)
    with pytest.raises(UsageError, match="no switch 'tie'"):
        mended("tie")


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_switch_mends_one_thing_and_the_label_says_so(switch: str) -> None:
    assert getattr(RELEASED, switch) == SWITCHES[switch][0]
    other = mended(switch)
    assert other.label == f"released-2025-1.0+{switch}={SWITCHES[switch][1]}"
    changed = {name for name, value in other.to_json().items() if value != RELEASED.to_json()[name]}
    assert changed == {switch}


# -- similarity


WORDS = st.sampled_from(["red", "cat", "GG", "x", "the the", "no way", "", "!!", "🙂", "cat cat red"])


@settings(max_examples=30, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=12), st.integers(0, 4))
def test_one_count_equals_a_vectoriser_fitted_anew(strings: list[str], num_context: int) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    context = list(range(min(num_context, len(strings))))
    joined = " ".join(strings[i] for i in context)
    found = RefittedTfIdf(strings).to_context(context)
    try:
        rows = TfidfVectorizer().fit_transform([joined, *strings])
        expected = np.asarray((rows[1:] @ rows[0].T).todense()).ravel()
    except ValueError:  # no word of two characters anywhere
        expected = np.zeros(len(strings))
    np.testing.assert_allclose(found, expected, atol=1e-12)


# -- lists


def chat(*clips: tuple[Sequence[str], Sequence[str]]) -> list[ChatClip]:
    return [
        ChatClip(clip_id=f"c{i}", recording_id="r", context=tuple(context), responses=tuple(responses))
        for i, (context, responses) in enumerate(clips)
    ]


def lists_of(clips: list[ChatClip], protocol: ReleasedProtocol) -> Lists:
    made = Lists()
    _of_recording(clips, protocol, {"c0"}, 0, made)
    return made


CLIPS = chat(
    (["the red cat", "look a cat"], ["omg red cat", "hello there"]),
    (["hello there", "the red cat"], ["omg red cat", "fine"]),
    (["fine", "fine day"], ["nice boat", "the red cat"]),
)
SMALL = ReleasedProtocol(k=4, num_plausible=6, num_popular=4, num_random=5)


def test_the_truth_is_the_response_most_like_the_context_and_copies_of_it_stay() -> None:
    row = lists_of(CLIPS, SMALL).rows[0]
    assert row.truth == "omg red cat"
    assert row.truth in row.plausible  # said again by the next clip: a copy that counts as wrong
    assert row.candidates("cosine", 4)[0] == row.truth
    assert row.popular[0] == "the red cat"  # three times in the pool, its own context included


def test_the_pool_has_the_own_context_and_not_the_own_responses() -> None:
    row = lists_of(CLIPS, SMALL).rows[0]
    assert set(row.plausible) & {"the red cat", "look a cat"}
    others = chat((["aa bb"], ["only here", "cc"]), (["dd", "ee"], ["ff", "gg"]))
    found = lists_of(others, ReleasedProtocol(k=3, num_plausible=5, num_popular=5, num_random=30)).rows[0]
    assert {*found.plausible, *found.popular, *found.random} == {"aa bb", "dd", "ee", "ff", "gg"}


def test_mended_lists_lack_own_context_and_copies() -> None:
    row = lists_of(CLIPS, ReleasedProtocol(**{**SMALL.to_json(), "own_context": "left-out"})).rows[0]
    assert not {*row.plausible, *row.popular, *row.random} & {"the red cat", "look a cat"}
    row = lists_of(CLIPS, ReleasedProtocol(**{**SMALL.to_json(), "duplicates": "removed"})).rows[0]
    for found in (row.plausible, row.popular, row.random):
        assert len(set(found)) == len(found)
        assert row.truth not in found


def test_a_truth_by_hash_does_not_follow_the_similarity() -> None:
    protocol = ReleasedProtocol(**{**SMALL.to_json(), "truth": "drawn"})
    truths = set()
    for seed in range(12):
        made = Lists()
        _of_recording(CLIPS, protocol, {"c0"}, seed, made)
        truths.add(made.rows[0].truth)
    assert truths == {"omg red cat", "hello there"}


def test_argpartition_is_called_as_released_and_exact_is_exact() -> None:
    similarity = np.random.default_rng(0).random(500)
    clip = ChatClip(clip_id="c", recording_id="r", context=(), responses=("t",))
    from videochat.benchmark.released.lists import _stored

    strings = [f"s{i}" for i in range(500)] + ["t"]
    pool = np.arange(500)
    values = np.append(similarity, 0.0)
    released = _stored(clip, strings, 500, pool, values, RELEASED, 0)
    exact = _stored(clip, strings, 500, pool, values, mended("selection"), 0)
    best = [f"s{i}" for i in np.argsort(-similarity)[:20]]
    assert list(exact.plausible) == best
    assert exact.in_true_top == 1.0
    assert released.plausible == tuple(f"s{i}" for i in np.argpartition(similarity, -1)[::-1][:20])
    assert released.plausible[0] == best[0]  # the one thing that it guarantees
    assert released.in_true_top == len(set(released.plausible) & set(best)) / 20


def test_lists_follow_from_the_seed_alone(data: Dataset) -> None:
    wanted = {clip_id for clip_id, split in random_clips(data, test_share=0.1, seed=3).items() if split == "test"}
    first = make_lists(data, RELEASED, wanted, seed=3)
    assert first.rows == make_lists(data, RELEASED, wanted, seed=3).rows
    assert len(first.rows) == len(wanted)
    assert first.rows != make_lists(data, RELEASED, wanted, seed=4).rows
    facts = facts_of(first, RELEASED.k)
    assert facts["num_clips"] == len(wanted)
    assert facts["own_context_of_plausible"] > 0
    assert facts_of(make_lists(data, mended("own_context"), wanted, seed=3), 10)["own_context_of_plausible"] == 0


def test_the_comments_of_a_clip_are_sets(data: Dataset) -> None:
    by_id = {clip.clip_id: clip for clip in data.clips()}
    for _, clips in chat_clips(data, seed=0):
        for clip in clips:
            assert set(clip.context) == {comment.text for comment in by_id[clip.clip_id].context}
            assert len(set(clip.responses)) == len(clip.responses)
        assert [by_id[clip.clip_id].start_ms for clip in clips] == sorted(by_id[c.clip_id].start_ms for c in clips)


# -- ties, order and averages


@pytest.mark.parametrize("k", [2, 10, 16, 17, 20, 100])
def test_ties_fall_as_the_local_sort_has_them(k: int) -> None:
    torch = pytest.importorskip("torch")
    rank = torch.argsort(torch.zeros(k, dtype=torch.float64), descending=True).tolist().index(0) + 1
    scores = np.zeros((40, k))
    assert sort_ranks(scores, 0).tolist() == [rank] * 40
    assert tie_facts([k])["rank_of_truth_first"] == {str(k): rank}
    counts = rank_counts(scores, np.zeros(40, dtype=np.int64), ties="expected")
    assert (counts.above == 0).all()
    assert (counts.equal == k - 1).all()


def test_without_ties_the_sort_and_the_expectation_agree() -> None:
    random = np.random.default_rng(0)
    scores = random.permuted(np.arange(60.0).reshape(6, 10), axis=1)
    truth = random.integers(10, size=6)
    ranks = rank_counts(scores, truth, ties="sort")
    expected = rank_counts(scores, truth, ties="expected")
    assert ranks.above.tolist() == expected.above.tolist()
    assert not expected.equal.any()
    with pytest.raises(BadScores, match="NaN"):
        rank_counts(np.full((1, 3), np.nan), np.zeros(1, dtype=np.int64), ties="sort")


def test_a_short_last_batch_weighs_as_much_as_a_whole_one() -> None:
    hits = np.array([[0.0]] * 32 + [[1.0]])  # 32 clips at rank 6, one at rank 1
    assert averaged(hits, batch_clips=32).tolist() == [0.5]
    assert averaged(hits, batch_clips=None).tolist() == [1 / 33]
    assert averaged(hits[:32], batch_clips=32).tolist() == [0.0]


# -- what is shown


def test_the_split_is_of_clips_and_the_same_recording_lies_on_both_sides(data: Dataset) -> None:
    shown = ReleasedDataset(data, RELEASED, seed=0)
    train, test = list(shown.clips("train")), list(shown.clips("test"))
    assert len(test) == round(0.1 * len(data))
    assert len(train) + len(test) == len(data)
    assert {clip.recording_id for clip in test} <= {clip.recording_id for clip in train}
    assert not {clip.clip_id for clip in test} & {clip.clip_id for clip in train}
    assert shown.table("test", ["clip_id"])["clip_id"].to_pylist() == [clip.clip_id for clip in test]
    assert not list(shown.clips("dev"))
    stored = ReleasedDataset(data, mended("split"), seed=0)
    assert {c.clip_id for c in stored.clips("test")} == {c.clip_id for c in data.clips("test")}
    digests = {s.digest for s in (shown, stored, ReleasedDataset(data, RELEASED, seed=1), data)}
    assert len(digests) == 4
    assert shown.digest == ReleasedDataset(data, RELEASED, seed=0).digest


def test_the_frames_are_of_the_whole_clip_until_that_is_mended(data: Dataset) -> None:
    released = ReleasedDataset(data, RELEASED, seed=0)
    causal = ReleasedDataset(data, mended("frames"), seed=0)
    for clip, plain in zip(released.clips("test"), causal.clips("test"), strict=True):
        seen, before = view(clip), view(plain)
        assert seen.frame_ms is not None
        assert before.frame_ms is not None
        assert seen.frame_ms.tolist() == list(range(clip.start_ms, clip.end_ms, 1000))
        assert max(before.frame_ms) < plain.start_ms + 20_000
        assert seen.context == before.context  # the answers stay unseen


def test_contexts_are_drawn_anew_with_replacement(data: Dataset) -> None:
    released = ReleasedDataset(data, RELEASED, seed=0)
    clip = next(iter(released.clips("test")))
    said = {comment.text: vector for comment, vector in zip(clip.context, clip.context_clip, strict=True)}
    first, again, second = (released.view_of(clip, draw) for draw in (0, 0, 1))
    assert len(first.context) == 15
    assert {comment.text for comment in first.context} < set(said) | {""}
    assert len({comment.text for comment in first.context}) <= 5
    for comment, vector in zip(first.context, first.context_clip, strict=True):  # embeddings stay with their comments
        np.testing.assert_array_equal(vector, said[comment.text])
    assert first.context == again.context
    assert first.context != second.context
    plain = ReleasedDataset(data, mended("context"), seed=0).view_of(clip)
    assert plain.context == clip.context


# -- ranking


class Truths:
    """Scores that are wanted, by text."""

    name = "wanted"
    needs: frozenset[str] = frozenset()

    def __init__(self, scores: dict[str, float]) -> None:
        self.scores = scores

    def score(self, clips: Any, candidates: Any, texts: Any) -> list[ClipScores]:
        return [ClipScores(score=np.array([self.scores.get(texts.texts[i], 0.0) for i in ids])) for ids in candidates]


def ranker(workspace: Workspace, data: Dataset, protocol: ReleasedProtocol) -> ReleasedRanker:
    shown = ReleasedDataset(data, protocol, seed=0)
    wanted = {clip.clip_id for clip in shown.clips("test")}
    return ReleasedRanker(workspace, shown, make_lists(data, protocol, wanted, seed=0).rows, protocol, seed=0)


def test_a_constant_scorer_gets_what_the_sort_gives_the_first_place(workspace: Workspace, data: Dataset) -> None:
    first = tie_facts([10, 20])["rank_of_truth_first"]
    for k in (10, 20):
        made = ranker(workspace, data, ReleasedProtocol(k=k))
        means = made.means(made.scores(Constant(), "random"), "random")
        assert means["R@1"] == float(first[str(k)] == 1)
        assert means["MR"] == first[str(k)]
    mendeds = ranker(workspace, data, mended("ties"))
    assert mendeds.means(mendeds.scores(Constant(), "random"), "random")["R@1"] == pytest.approx(0.1)


def test_a_copy_of_the_truth_ties_with_it_and_the_order_decides(workspace: Workspace, data: Dataset) -> None:
    made = ranker(workspace, data, RELEASED)
    row = made.rows[0]
    wanted = Truths({row.truth: 1.0})
    copies = row.candidates("cosine", 10).count(row.truth) - 1
    scores = made.scores(wanted, "cosine")
    assert (scores[0] == 1.0).sum() == copies + 1
    counts = rank_counts(scores[:1], np.zeros(1, dtype=np.int64), ties="expected")
    assert counts.equal.tolist() == [copies]


def test_shuffling_moves_the_truth_and_nothing_else(workspace: Workspace, data: Dataset) -> None:
    made, shuffled = ranker(workspace, data, RELEASED), ranker(workspace, data, mended("order"))
    ids, places = made.candidates("random")
    other, moved = shuffled.candidates("random")
    assert places.tolist() == [0] * len(ids)
    assert len(set(moved.tolist())) > 1
    for row, same, place in zip(ids, other, moved, strict=True):
        assert sorted(row) == sorted(same)
        assert same[place] == row[0]


def test_a_reversed_scorer_is_the_scorer_upside_down(workspace: Workspace, data: Dataset) -> None:
    made = ranker(workspace, data, RELEASED)
    plain = TfIdfToContext()
    turned = Reversed(plain)
    turned.fit(data.clips("train"))
    assert turned.name == "-tfidf"
    np.testing.assert_array_equal(made.scores(turned, "cosine"), -made.scores(plain, "cosine"))


# -- files


def test_lists_are_frozen_with_a_digest_and_a_change_is_seen(dummies: ModuleType, tmp_path: Path) -> None:
    data = dummies.make_dataset(tmp_path / "ws", num_channels=3, recordings_per_channel=1, clips_per_recording=12)
    workspace = Workspace.open(tmp_path / "ws")
    lists, manifest = build_lists(workspace, data)
    folder = workspace.candidates_dir("released-2025")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    again, same = build_lists(workspace, data)
    assert same == manifest
    assert [(row.truth, row.plausible) for row in again.rows] == [(row.truth, row.plausible) for row in lists.rows]
    assert [finding.ok for finding in validate_candidates(workspace)] == [True]
    (folder / "manifest.json").unlink()  # killed before it was written
    build_lists(workspace, data)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (folder / "lists.parquet").write_bytes(before["lists.parquet"] + b"x")
    with pytest.raises(Mismatch, match="changed after it was frozen"):
        build_lists(workspace, data)
    assert [finding.ok for finding in validate_candidates(workspace)] == [False]


def test_a_run_says_what_it_is_not_and_is_no_run_of_v1(dummies: ModuleType, tmp_path: Path) -> None:
    data = dummies.make_dataset(tmp_path / "ws", num_channels=3, recordings_per_channel=1, clips_per_recording=12)
    workspace = Workspace.open(tmp_path / "ws")
    lists, manifest = build_lists(workspace, data)
    path, info = rank_released(workspace, data, lists, manifest, RELEASED, [Constant(), Truths({})])
    text = (path / "table.txt").read_text()
    assert CAVEAT in text
    assert "decided by the sort and the order" in text
    assert text.count("videochat|released-2025-1.0|") == 3
    assert "SIMULATED DATA" in text
    assert not (path / "run.json").exists()
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    assert rank_released(workspace, data, lists, manifest, RELEASED, [Constant(), Truths({})])[0] == path
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before
    assert json.loads(before["released.json"])["ties"] == tie_facts()
    assert to_text(info).count("\n") < text.count("\n") + 1
    with pytest.raises(UsageError, match="no test clip"):
        rank_released(workspace, data, Lists(), manifest, RELEASED, [Constant()])
