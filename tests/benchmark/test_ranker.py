"""The ranker on dummy shards with real candidate sets: what models see, what is refused, what changes no digit."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from videochat.benchmark.audits.gate import AuditFailed
from videochat.benchmark.candidates.build import build_candidates
from videochat.benchmark.candidates.sets import CandidateSets
from videochat.benchmark.metrics.ranks import BadScores
from videochat.benchmark.ranker import Entrant, bench
from videochat.benchmark.scorers.baselines import Constant, Length, Popularity, Random, TfIdfToContext
from videochat.benchmark.scores.blocks import CHAT_SWAPPED, REAL, VIDEO_SWAPPED
from videochat.benchmark.scores.gains import Place, chat_swapped, partners, video_swapped
from videochat.benchmark.scores.tasks import make_tasks
from videochat.commenter import ClipScores, view
from videochat.errors import Mismatch, MissingInput, UsageError
from videochat.schema import Segment
from videochat.workspace import Workspace


class World:
    """Twelve test recordings with their candidate sets, and what a model that looks could know."""

    def __init__(self, folder: Path, dummies, **sizes):
        self.dataset = dummies.make_dataset(
            folder, split_by="recording", num_channels=3, recordings_per_channel=12, clips_per_recording=24, **sizes
        )
        self.workspace = Workspace.open(folder)
        self.sets = build_candidates(self.workspace, self.dataset, "v1")
        self.truth = {
            clip_id: self.sets.texts.texts[truth]
            for part in self.sets.values()
            for clip_id, truth in zip(part.clip_ids, part.truths, strict=True)
        }

    def bench(self, *entrants, **options):
        return bench(self.workspace, self.dataset, self.sets, entrants, **options)

    def with_set(self, name, **changes) -> CandidateSets:
        changed = dataclasses.replace(self.sets[name], **changes)
        return CandidateSets({**self.sets.sets, name: changed}, self.sets.texts, self.sets.manifest)


@pytest.fixture(scope="module")
def world(tmp_path_factory, dummies):
    return World(tmp_path_factory.mktemp("world"), dummies)


class Knowing:
    """Recognises a clip by its frames or by its chat, and then knows its truth; `names`: frames | context."""

    needs = frozenset({"frames"})

    def __init__(self, world, what, name):
        self.name, self.what = name, what
        views = [view(clip) for split in ("dev", "test") for clip in world.dataset.clips(split)]
        self.known = {self.see(v): world.truth.get(v.clip_id) for v in views}

    def see(self, clip):
        if self.what == "frames":
            return clip.frames.tobytes()
        return tuple((c.offset_ms - clip.start_ms, c.text) for c in clip.context)

    def score(self, clips, candidates, texts):
        return [
            ClipScores(score=np.array([float(texts.texts[i] == self.known.get(self.see(clip))) for i in ids]))
            for clip, ids in zip(clips, candidates, strict=True)
        ]


class Spy:
    """Keeps all it is shown."""

    name = "spy"
    needs = frozenset()

    def __init__(self):
        self.views, self.candidates = [], []

    def score(self, clips, candidates, texts):
        self.views += clips
        self.candidates += candidates
        return [ClipScores(score=np.zeros(len(ids))) for ids in candidates]


class Alike:
    """How many of the other candidates it is shown have the same length: looks at the list, not at the clip."""

    name = "alike"
    needs = frozenset()

    def score(self, clips, candidates, texts):
        lengths = [np.array([len(texts.texts[i]) for i in ids]) for ids in candidates]
        return [ClipScores(score=(x[:, None] == x[None]).sum(axis=1).astype(np.float64)) for x in lengths]


class Moody:
    """Scores that depend on how many clips it is handed."""

    name = "moody"
    needs = frozenset()

    def score(self, clips, candidates, texts):
        return [ClipScores(score=np.arange(len(ids)) * float(len(clips))) for ids in candidates]


class Likely:
    """A likelihood model: the truth has the best likelihood per byte, while short comments have the best sum."""

    name = "likely"
    needs = frozenset()

    def __init__(self, world):
        self.truth = world.truth

    def score(self, clips, candidates, texts):
        found = []
        for clip, ids in zip(clips, candidates, strict=True):
            words = [texts.texts[i] for i in ids]
            rates = np.array([-1.0 if word == self.truth[clip.clip_id] else -1.5 for word in words])
            likelihood = rates * np.array([len(word.encode()) + 1 for word in words]) ** 3
            found.append(
                ClipScores(
                    score=likelihood,
                    log_likelihood=likelihood,
                    num_tokens=np.array([len(word.split()) + 1 for word in words], dtype=np.int32),
                    null_log_likelihood=likelihood * 0.5,
                )
            )
        return found


class Weighing(Length):
    """Offers frame weights."""

    name = "weighing"

    def frame_weights(self, clips):
        return [np.linspace(0, 1, len(clip.frame_ms), dtype=np.float32) for clip in clips]


@pytest.fixture(scope="module")
def entrants(world):
    everyone = [
        *(Random(), Constant(), Length(), Popularity(), TfIdfToContext()),
        *(Knowing(world, "frames", "eyes"), Knowing(world, "context", "reader")),
        *(Spy(), Alike(), Moody(), Likely(world), Weighing()),
    ]
    return {entrant.name: entrant for entrant in everyone}


@pytest.fixture(scope="module")
def run(world, entrants):
    """All entrants of this file in one run."""
    return world.bench(*entrants.values())


def rows(run, **wanted):
    found = run.metrics()
    for column, value in wanted.items():
        found = found[found[column] == value]
    return found


def test_the_thin_path(run):
    assert run.path.name == run.run_id and run.run_id.startswith("v1-eyes+6-")
    constant = rows(run, model="constant", stratum="all", metric="R@1")
    assert constant["value"].to_list() == pytest.approx([0.1] * 3)
    assert (rows(run, model="oracle", metric="MRR")["value"] == 1).all()
    assert run.info["num_clusters"] >= 10
    assert {check["check"] for check in run.info["audit"] if not check["ok"]} == {
        "scores of moody do not depend on the batch"
    }
    assert rows(run, model="constant", metric="R@10")["value"].isna().all()


def test_a_model_that_looks_gains_from_its_frames_alone(run):
    gains = {(g["model"], g["set"], g["gain"], g["metric"]): g for g in run.results["gains"]}
    video = gains["eyes", "official", "video", "MRR"]
    assert video["value"] > 0.5 and video["low"] > 0.4 and video["p"] < 0.01
    assert gains["eyes", "official", "chat", "MRR"]["value"] == 0
    assert gains["length", "official", "video", "MRR"]["value"] == 0
    marks = {m["name"]: m["text_only"] for m in run.info["models"]}
    assert marks["eyes"] is False and marks["length"] is None


def test_a_model_that_reads_only_is_marked_text_only(run):
    assert {m["name"]: m["text_only"] for m in run.info["models"]}["reader"] is True
    assert "reader †" in run.table() and "eyes †" not in run.table()
    gains = {(g["model"], g["gain"]): g["value"] for g in run.results["gains"] if g["set"] == "official"}
    assert gains["reader", "video"] == 0 and gains["reader", "chat"] > 0.01  # the dummies chat about 12 things
    pairs = {(row["a"], row["b"]): row for row in run.results["comparisons"] if row["set"] == "official"}
    assert len(pairs) == 7 * 6 / 2
    pair = pairs["eyes", "reader"]
    assert pair["low"] > 0 and pair["p"] <= pair["p_holm"]
    official = {row["model"]: row["value"] for row in run.results["official"]}
    assert pair["value"] == pytest.approx(official["eyes"] - official["reader"], abs=1e-9)


def test_nothing_later_than_the_context_is_handed_out(run, entrants):
    spy = entrants["spy"]
    assert len(spy.views) > 300
    for seen in spy.views:
        assert seen.now_ms == seen.start_ms + 20_000
        assert all(seen.start_ms <= comment.offset_ms < seen.now_ms for comment in seen.context)
        assert (seen.frame_ms < seen.now_ms).all() and (seen.frame_ms >= seen.start_ms - 10_000).all()
        assert len(seen.frames) == len(seen.frame_ms) and len(seen.context_clip) == len(seen.context)
        assert not hasattr(seen, "responses")
    assert all(list(ids) == sorted(set(ids)) for ids in spy.candidates)


def test_clips_are_scored_once_for_all_sets(world):
    spy = Spy()
    world.bench(spy, swaps=False)
    num_clips = sum(len(world.sets.clip_union(split)) for split in ("dev", "test"))
    probes = len(spy.views) - num_clips
    assert 0 < probes <= 4 * 5 + 1
    assert max(len(ids) for ids in spy.candidates) > 10


def test_partners_are_a_rotation_of_the_group_and_never_neighbours(world):
    tasks = [task for task in make_tasks(world.sets) if task.split == "test"]
    table = world.dataset.table("test", ["clip_id", "recording_id", "start_ms", "end_ms"])
    places = {row["clip_id"]: Place(**row) for row in table.to_pylist()}
    pairs = partners(tasks, places.values())
    assert pairs == partners(tasks, reversed(places.values()))
    for clip_id, other in pairs.items():
        here, there = places[clip_id], places[other]
        assert here.recording_id == there.recording_id
        assert abs(here.start_ms - there.start_ms) > 30_000
    group = dict(zip(tasks[0].clip_ids.tolist(), tasks[0].group_ids.tolist(), strict=True))
    inside = {clip_id: pairs[clip_id] for clip_id in group}
    assert all(group[clip_id] == group[other] for clip_id, other in inside.items())
    assert sorted(inside.values()) == sorted(inside)


def test_swaps_move_the_partner_to_the_clips_own_time(world):
    first, *_, other = (view(clip) for clip in world.dataset.clips("test") if clip.start_ms in (30_000, 300_000))
    video, chat = video_swapped(first, other), chat_swapped(first, other)
    assert (video.frames == other.frames).all() and video.context == first.context
    assert (video.frame_ms - video.start_ms == other.frame_ms - other.start_ms).all()
    assert [c.text for c in chat.context] == [c.text for c in other.context] and chat.frames is first.frames
    assert [c.offset_ms - chat.start_ms for c in chat.context] == [c.offset_ms - other.start_ms for c in other.context]
    assert chat.context_clip is other.context_clip and chat.now_ms == first.now_ms
    said = (Segment(start_ms=first.start_ms, end_ms=first.start_ms + 900, text="mine"),)
    speaking = dataclasses.replace(first, transcript=said)
    assert video_swapped(speaking, other).transcript == chat_swapped(speaking, other).transcript == said


def test_the_order_of_clips_and_of_candidates_changes_no_digit(world):
    random = np.random.default_rng(5)
    before = world.bench(TfIdfToContext(), Random(), run_id="before", swaps=False).results
    shuffled = {}
    for name, part in world.sets.items():
        part = part.take(random.permutation(len(part)))
        shuffled[name] = dataclasses.replace(part, candidates=random.permuted(part.candidates, axis=1))
    sets = CandidateSets(shuffled, world.sets.texts, world.sets.manifest)
    after = bench(
        world.workspace, world.dataset, sets, [TfIdfToContext(), Random()], run_id="after", swaps=False
    ).results
    assert before == after


def test_batches_change_no_digit(world, monkeypatch):
    before = world.bench(TfIdfToContext(), Knowing(world, "frames", "eyes"), run_id="whole").results
    for name in ("BATCH_CLIPS", "CHUNK_CLIPS"):
        monkeypatch.setattr(f"videochat.benchmark.scoring.{name}", 1)
    after = world.bench(TfIdfToContext(), Knowing(world, "frames", "eyes"), run_id="single").results
    assert before == after


def test_a_scorer_that_looks_at_the_other_candidates_is_scored_set_by_set(run):
    """The union of the sets would betray the truth, the one text that has its likes in several of them."""
    scored = {m["name"]: m["scored"] for m in run.info["models"]}
    assert scored["alike"] == "by set" and scored["length"] == "union of the sets"
    assert rows(run, model="alike", stratum="all", metric="R@1")["value"].to_list() == pytest.approx([0.1] * 3)


def test_a_model_whose_scores_depend_on_the_batch_is_named_in_the_table(run):
    assert "AUDIT FAILED: scores of moody do not depend on the batch" in run.table()


class Faulty:
    name = "faulty"
    needs = frozenset()

    def __init__(self, fault):
        self.fault = fault

    def score(self, clips, candidates, texts):
        scores = [np.zeros(len(ids)) for ids in candidates]
        if self.fault == "nan":
            scores[-1][0] = np.nan
        if self.fault == "short":
            scores[0] = scores[0][:-1]
        found = [ClipScores(score=score) for score in scores]
        return found[:-1] if self.fault == "missing" else found


@pytest.mark.parametrize(("fault", "message"), [("nan", "NaN"), ("short", "has shape"), ("missing", "results for")])
def test_nan_and_missing_scores_fail_the_run_and_leave_nothing(world, fault, message):
    with pytest.raises(BadScores, match=message):
        world.bench(Faulty(fault), run_id=f"faulty-{fault}", swaps=False)
    assert not list(world.workspace.runs_dir.glob(f"*faulty-{fault}*"))


def test_minus_infinity_is_ranked(world):
    class Never(Length):
        name = "never"

        def score(self, clips, candidates, texts):
            return [ClipScores(score=np.full(len(ids), -np.inf)) for ids in candidates]

    run = world.bench(Never(), swaps=False)
    assert rows(run, model="never", stratum="all", metric="MRR")["value"].to_list() == pytest.approx(
        [0.2929] * 4, abs=1e-4
    )


def test_other_shards_are_refused(world):
    stale = CandidateSets(world.sets.sets, world.sets.texts, {**world.sets.manifest, "data_digest": "0" * 64})
    with pytest.raises(Mismatch, match="candidate sets were made for shards 00000000"):
        bench(world.workspace, world.dataset, stale, [Length()])


def test_a_set_that_gives_its_answers_away_fails_its_audit(world):
    """Swap one negative of each group's first clip: the group is no longer balanced."""
    part = world.sets["random10"]
    candidates = part.candidates.copy()
    longest = int(np.argmax([len(text) for text in world.sets.texts.texts]))
    for row, ids in enumerate(candidates):
        place = int(np.argmax(ids != part.truths[row]))
        if longest not in ids:
            candidates[row, place] = longest
    leaky = world.with_set("random10", candidates=candidates)
    with pytest.raises(AuditFailed, match="blind panel:"):
        bench(world.workspace, world.dataset, leaky, [Length()])
    run = bench(world.workspace, world.dataset, leaky, [Length()], allow_failed_audit=True, swaps=False)
    assert "AUDIT FAILED: blind panel:length on random10" in run.table()


def test_models_that_lack_something_are_skipped_with_the_reason(tmp_path, dummies):
    text_only = World(tmp_path, dummies, dim=None)

    class Eyes(Length):
        name = "eyes"
        needs = frozenset({"frames", "transcript"})

    class Words(TfIdfToContext):
        name = "words"

    run = text_only.bench(Eyes(), Words(), Length())
    assert "skipped eyes: needs frames and transcript, which this dataset does not hold" in run.table()
    marks = {m["name"]: m["text_only"] for m in run.info["models"]}
    assert marks["words"] is True and marks["length"] is None
    assert {g["gain"] for g in run.results["gains"]} == {"chat"}
    assert run.scores("words", VIDEO_SWAPPED).empty and not run.scores("words", CHAT_SWAPPED).empty


def test_statistics_come_from_train_alone(world):
    class Listening(Length):
        name = "listening"

        def fit(self, train):
            self.splits = {clip.split for clip in train}

    scorer = Listening()
    world.bench(scorer, swaps=False)
    assert scorer.splits == {"train"}


def test_the_score_rule_is_chosen_on_dev_and_named(run):
    model = next(m for m in run.info["models"] if m["name"] == "likely")
    assert set(model["rules"]) == {"sum", "token", "byte", "null"}
    assert model["score_rule"] == max(model["rules"], key=model["rules"].get) == "byte"
    assert {row["rule"] for row in run.results["rows"] if row["model"] == "likely"} == {"sum", "token", "byte", "null"}
    assert run.info["signatures"]["cosine10"].split("|")[6] == "score:byte"
    ranking = run.ranking("likely", "cosine10")
    ours = ranking[ranking["is_truth"]]["rank"]
    expected = rows(run, model="likely", set="cosine10", stratum="all", rule="byte", metric="MR")["value"].item()
    assert ours.mean() == pytest.approx(expected)


def test_frame_weights_are_kept(world, run):
    import pyarrow.parquet as pq

    table = pq.read_table(run.path / "weights.parquet").to_pylist()
    assert len(table) == len(world.sets.clip_union("test"))
    assert all(len(row["frame_ms"]) == len(row["weight"]) for row in table)


def test_a_part_of_the_sets_never_signs_as_the_whole(world):
    first = world.sets.first(20)
    run = bench(world.workspace, world.dataset, first, [Length()], extra={"limit": 20}, swaps=False)
    assert run.info["signatures"]["random10"].split("|")[2] == "random10:first20"
    assert "ONLY A PART OF THE SETS (first20)" in run.table()


def test_who_may_enter(world):
    with pytest.raises(UsageError, match="share a name"):
        world.bench(Length(), Length())
    with pytest.raises(UsageError, match="no commenter"):
        world.bench("length")

    class Cheat(Length):
        name = "oracle"

    with pytest.raises(UsageError, match="golden or panel"):
        world.bench(Cheat())
    assert Entrant.of(Length()).kind == "scorer" and Entrant.of(Spy()).kind == "model"


def test_no_test_clips(world):
    empty = {name: part.take(part.splits == "dev") for name, part in world.sets.items()}
    with pytest.raises(MissingInput, match="no test clips"):
        bench(
            world.workspace,
            world.dataset,
            CandidateSets(empty, world.sets.texts, world.sets.manifest),
            [Length()],
        )


def test_the_same_seed_gives_the_same_bytes(world):
    def files(run):
        return {path.relative_to(run.path): path.read_bytes() for path in run.path.rglob("*") if path.is_file()}

    first = world.bench(TfIdfToContext(), Random())
    before = files(first)
    second = world.bench(TfIdfToContext(), Random())
    assert second.path == first.path and files(second) == before
    assert {REAL, CHAT_SWAPPED, VIDEO_SWAPPED} == {
        block.condition for block in second.blocks() if block.model == "tfidf"
    }


def test_a_downloaded_dataset_feeds_models_that_read_context_embeddings_alone(
    tmp_path: Path, dummies: ModuleType
) -> None:
    """Shards without the workspace's texts/: the context has its embeddings, the candidates have none."""
    dataset = dummies.make_dataset(tmp_path / "w", num_channels=3, recordings_per_channel=1, clips_per_recording=12)
    workspace = Workspace.open(tmp_path / "w")

    class Reads(Constant):
        name = "reads"
        needs = frozenset({"frames", "text_embeddings"})

    class Compares(Constant):
        name = "compares"
        needs = frozenset({"candidate_embeddings"})

    sets = build_candidates(workspace, dataset, k=4)
    run = bench(workspace, dataset, sets, [Reads(), Compares()], swaps=False)
    skipped = {row["name"]: row["skipped"] for row in run.info["models"] if row["kind"] in ("model", "scorer")}
    assert skipped == {"reads": None, "compares": "needs candidate embeddings, which this dataset does not hold"}
