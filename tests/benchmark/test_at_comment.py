"""Track `v1-at-comment`: v1's groups, asked in the second before the truth was first said."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from videochat.benchmark.audits.validation import validate_candidates
from videochat.benchmark.candidates.build import build_candidates
from videochat.benchmark.candidates.views import Views, view_ends
from videochat.benchmark.metrics.ranks import harmonic
from videochat.benchmark.protocols import PROTOCOLS
from videochat.benchmark.ranker import bench
from videochat.benchmark.scorers.baselines import Length, TfIdfToContext
from videochat.benchmark.scorers.panel import Panel
from videochat.benchmark.scores.gains import chat_swapped, video_swapped
from videochat.benchmark.scores.tasks import make_tasks
from videochat.benchmark.texts.keys import key
from videochat.build import table_of, write_dataset
from videochat.commenter import ClipScores, view
from videochat.dataset import Dataset
from videochat.errors import Mismatch, UsageError
from videochat.files import write_parquet
from videochat.frames.text_files import stamp_of
from videochat.schema import Segment, texts_schema
from videochat.workspace import Workspace

NAME = "v1-at-comment"
DIM = 8
CLIP_FINGERPRINT = {"model": "dummy"}


@pytest.fixture(scope="module")
def world(tmp_path_factory, dummies):
    """Dummies with transcripts and embeddings of all texts; the responses lie at 20.0, 23.4 and 26.8 s."""
    workspace = Workspace.open(tmp_path_factory.mktemp("at-comment"), create=True)
    clips = []
    for clip in dummies.make_clips(num_channels=3, recordings_per_channel=2, clips_per_recording=36):
        said = tuple(
            dataclasses.replace(comment, offset_ms=clip.start_ms + 20_000 + 3_400 * number)
            for number, comment in enumerate(clip.responses)
        )
        spoken = tuple(
            Segment(start_ms=clip.start_ms + t, end_ms=clip.start_ms + t + 1_500, text=f"word {t}")
            for t in range(0, 30_000, 2_500)
        )
        clips.append(dataclasses.replace(clip, responses=said, transcript=spoken))
    write_dataset(
        workspace,
        [(clip.split, clip.category, clip.recording_id, table_of([clip], DIM)) for clip in clips],
        dim=DIM,
        facts={"simulated": True, "split_by": "channel", "clip_fingerprint": CLIP_FINGERPRINT},
    )
    random = np.random.default_rng(0)
    for recording in {clip.recording_id for clip in clips}:
        mine = [c for c in clips if c.recording_id == recording]
        texts = sorted({c.text for clip in mine for c in (*clip.context, *clip.responses)})
        vectors = random.standard_normal((len(texts), DIM)).astype(np.float16)
        columns = {"text": texts, "embedding": list(vectors)}
        import pyarrow as pa

        table = pa.table(columns, schema=texts_schema(DIM))
        path = workspace.texts_path(recording)
        path.parent.mkdir(exist_ok=True)
        write_parquet(table, path, {"stamp": stamp_of(texts, CLIP_FINGERPRINT), "fingerprint": CLIP_FINGERPRINT})
    return workspace, Dataset.open(workspace.root)


@pytest.fixture(scope="module")
def sets(world):
    return build_candidates(*world, NAME)


@pytest.fixture(scope="module")
def views(world, sets):
    return Views.of(*world, sets)


def truth_of(sets):
    return {
        clip: sets.texts.keys[truth]
        for part in sets.values()
        for clip, truth in zip(part.clip_ids, part.truths, strict=True)
    }


def test_the_track_is_declared_and_an_unknown_one_refused():
    declared = PROTOCOLS[NAME]
    assert declared.track == "at-comment" and declared.label == "v1-at-comment-1.0" and declared.clip_blind_at_chance
    assert PROTOCOLS["v1"].track == PROTOCOLS["classic"].track == "context-end"
    with pytest.raises(UsageError, match="track 'whenever'"):
        type(declared).from_json({**declared.to_json(), "track": "whenever"})


def test_the_groups_are_those_of_v1_with_digests_of_their_own(world, sets):
    plain = build_candidates(*world, "v1")
    for name, part in plain.items():
        mine = sets[name]
        assert mine.group_ids.tolist() == part.group_ids.tolist() and mine.clip_ids.tolist() == part.clip_ids.tolist()
        texts = [[plain.texts.texts[c] for c in row] for row in part.candidates]
        assert [[sets.texts.texts[c] for c in row] for row in mine.candidates] == texts
        assert mine.digest != part.digest and not set(mine.digests) & set(part.digests)
    checks = [finding for finding in validate_candidates(world[0]) if finding.check.startswith(NAME)]
    assert len(checks) > 10 and all(finding.ok for finding in checks)


def test_nothing_of_the_truths_second_or_later_is_in_a_view(world, sets, views):
    truths, longer = truth_of(sets), 0
    for clip in world[1].clips("test"):
        if clip.clip_id not in truths:
            continue
        seen, said = views(clip), [c for c in clip.responses if key(c.text) == truths[clip.clip_id]]
        first = min(c.offset_ms for c in said)
        assert seen.now_ms == max(clip.context_end_ms, first // 1_000 * 1_000) <= first
        assert [c for c in (*clip.context, *clip.responses) if c.offset_ms < seen.now_ms] == list(seen.context)
        assert truths[clip.clip_id] not in {key(c.text) for c in seen.context}
        assert (seen.frame_ms < seen.now_ms).all() and (seen.frame_ms >= seen.now_ms - 30_000).all()
        wanted = (clip.frame_ms < seen.now_ms) & (clip.frame_ms >= seen.now_ms - 30_000)
        assert seen.frames.tobytes() == clip.frames[wanted].tobytes() and len(seen.frame_ms) == wanted.sum() <= 30
        assert all(segment.end_ms <= seen.now_ms for segment in seen.transcript)
        assert len(seen.context_clip) == len(seen.context) and not hasattr(seen, "responses")
        longer += seen.now_ms > clip.context_end_ms
    assert longer > 40, "two of three responses come later than the first second"


def test_what_is_said_after_the_views_end_changes_no_view(world, views):
    """The causality of PROTOCOL: another future, the same view, to the last byte."""
    for clip in world[1].clips("test"):
        if clip.clip_id not in views.ends:
            continue
        end = views.ends[clip.clip_id]
        later = tuple(c if c.offset_ms < end else dataclasses.replace(c, text="spoiler") for c in clip.responses)
        frames = np.where((clip.frame_ms < end)[:, None], clip.frames, np.float16(7))
        spoken = tuple(s if s.end_ms <= end else dataclasses.replace(s, text="spoiler") for s in clip.transcript)
        one, other = views(clip), views(dataclasses.replace(clip, responses=later, frames=frames, transcript=spoken))
        assert (one.context, one.transcript, one.now_ms) == (other.context, other.transcript, other.now_ms)
        assert one.frames.tobytes() == other.frames.tobytes()
        assert one.context_clip.tobytes() == other.context_clip.tobytes()


def test_the_embeddings_of_earlier_responses_are_theirs(world, views):
    workspace, data = world
    clip = next(c for c in data.clips("test") if views.ends.get(c.clip_id, 0) > c.context_end_ms)
    seen = views(clip)
    import pyarrow.parquet as pq

    table = pq.read_table(workspace.texts_path(clip.recording_id))
    known = dict(zip(table["text"].to_pylist(), table["embedding"].to_pylist(), strict=True))
    assert (seen.context_clip[: len(clip.context)] == clip.context_clip).all()
    for row, comment in zip(seen.context_clip[len(clip.context) :], seen.context[len(clip.context) :], strict=True):
        assert row.tolist() == known[comment.text]


def test_the_first_saying_of_the_key_ends_the_view(world, tmp_path, dummies):
    """A truth drawn from the second LOL of a clip must not stand in its own view as the first one."""
    data = dummies.make_dataset(tmp_path, num_channels=1, clips_per_recording=3, split_by="test", dim=None)
    clip = next(iter(data.clips("test")))
    times = {c.text: c.offset_ms for c in clip.responses}
    last = clip.responses[-1]
    ends, earlier = view_ends(data, {clip.clip_id: key(last.text)})
    assert ends == {clip.clip_id: last.offset_ms // 1_000 * 1_000}
    assert earlier == {(clip.recording_id, text) for text, time in times.items() if time < ends[clip.clip_id]}
    again = dataclasses.replace(clip.responses[0], text=f"{last.text.upper()}!!")
    said = dataclasses.replace(clip, responses=(again, *clip.responses[1:]))
    workspace = Workspace.open(tmp_path / "twice", create=True)
    facts = {"simulated": True, "split_by": "test", "clip_fingerprint": None}
    rows = [("test", clip.category, clip.recording_id, table_of([said], None))]
    write_dataset(workspace, rows, dim=None, facts=facts)
    assert view_ends(Dataset.open(workspace.root), {clip.clip_id: key(last.text)})[0] == {
        clip.clip_id: clip.context_end_ms
    }
    with pytest.raises(Mismatch, match="none of its responses"):
        view_ends(data, {clip.clip_id: "never said"})


def test_swapped_views_end_where_the_view_ends_and_hold_no_candidate(world, sets, views):
    truths = truth_of(sets)
    part = sets["random10"].split("test")
    groups = {}
    for clip_id, group in zip(part.clip_ids, part.group_ids, strict=True):
        groups.setdefault(group, []).append(clip_id)
    shown = {clip.clip_id: views(clip) for clip in world[1].clips("test") if clip.clip_id in truths}
    plain = {clip.clip_id: view(clip) for clip in world[1].clips("test")}
    for members in groups.values():
        strings = {truths[member] for member in members}
        for one, other in zip(members, [*members[1:], members[0]], strict=True):
            here, there = shown[one], shown[other]
            video, chat = video_swapped(here, there), chat_swapped(here, there)
            assert (video.frame_ms < here.now_ms).all() and (here.now_ms - video.frame_ms <= 30_000).all()
            assert (here.now_ms - video.frame_ms).tolist() == (there.now_ms - there.frame_ms).tolist()
            assert all(here.start_ms <= c.offset_ms < here.now_ms for c in chat.context)
            assert len(chat.context_clip) == len(chat.context)
            assert not strings & {key(c.text) for c in chat.context}
            assert plain[one].now_ms <= here.now_ms


class Spy:
    """Keeps all it is shown; scores by what it sees of the clip, so that nothing is at chance by itself."""

    name = "spy"
    needs = frozenset({"frames", "text_embeddings"})

    def __init__(self):
        self.views = {}

    def score(self, clips, candidates, texts):
        self.views.update({(clip.clip_id, clip.context, clip.frames.tobytes()): clip for clip in clips})
        return [ClipScores(score=np.array([len(texts.texts[i]) % (1 + len(c.context)) for i in ids], dtype=float))
                for c, ids in zip(clips, candidates, strict=True)]  # fmt: skip


@pytest.mark.slow
def test_a_run_on_the_track(world, sets, views):
    spy = Spy()
    run = bench(*world, sets, [spy, Length(), TfIdfToContext()])
    assert run.run_id.startswith("v1-at-comment-") and "videochat|v1-at-comment-1.0|random10|" in run.table()
    found = {(row["model"], row["set"]): row["metrics"] for row in run.results["rows"] if row["stratum"] == "all"}
    for kind in PROTOCOLS[NAME].sets:
        for name in ("length", "panel:candidate-only", "panel:recording-frequency"):
            assert found[name, f"{kind}10"]["R@1"]["value"] == pytest.approx(0.1, abs=1e-9)
            assert found[name, f"{kind}10"]["MRR"]["value"] == pytest.approx(harmonic(10)[-1] / 10, abs=1e-9)
    assert all(check["ok"] for check in run.info["audit"])
    real = [seen for seen in spy.views.values() if seen.now_ms == views.ends.get(seen.clip_id)]
    assert {seen.clip_id for seen in real} == set(truth_of(sets))
    assert all(c.offset_ms < seen.now_ms for seen in spy.views.values() for c in seen.context)
    assert all((seen.frame_ms < seen.now_ms).all() for seen in spy.views.values())


def test_the_panel_reads_the_chat_of_the_track(world, sets, views):
    """± TF-IDF to context is a baseline for models that see the later chat, so it sees it, too."""
    task = next(task for task in make_tasks(sets) if task.split == "test" and len(task))
    late, plain = (Panel(world[1], sets.texts, PROTOCOLS[NAME], ends=ends) for ends in (views.ends, {}))
    block = next(b for b in late.blocks(task) if b.model == "panel:context-tfidf")
    scorer = TfIdfToContext(late.tfidf)
    clips = {clip.clip_id: views(clip) for clip in world[1].clips("test") if clip.clip_id in views.ends}
    mine = scorer.score([clips[c] for c in task.clip_ids.tolist()], task.candidates.tolist(), sets.texts)
    assert block.score == pytest.approx(np.concatenate([scores.score for scores in mine]))
    other = next(b for b in plain.blocks(task) if b.model == "panel:context-tfidf")
    assert (block.score != other.score).any()
