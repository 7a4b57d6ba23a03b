"""Audits: clean data passes, every planted leak is found, and a failed audit stops a run unless it is allowed."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from click.testing import CliRunner

from videochat.benchmark.audits.candidates import MAX_P, position_p
from videochat.benchmark.audits.data import AUDITS, GROUPS, AuditInput, load_audits, run_audits
from videochat.benchmark.audits.features import untrained_models
from videochat.benchmark.audits.gate import AuditFailed
from videochat.benchmark.audits.matches import leaking
from videochat.benchmark.audits.near_chat import chat_matches
from videochat.benchmark.audits.near_video import video_matches
from videochat.benchmark.candidates.build import build_candidates
from videochat.benchmark.candidates.sets import CandidateSets
from videochat.benchmark.ranker import bench
from videochat.benchmark.scorers.baselines import Length
from videochat.build import table_of, write_dataset
from videochat.cli import cli
from videochat.dataset import Dataset
from videochat.errors import UsageError
from videochat.schema import Comment, clip_id
from videochat.workspace import Workspace

DIM = 16
FINGERPRINT = {"model": "m", "weights": "abc", "trained": True, "dim": DIM}
WORDS = [f"{a}{b}" for a in ("ka", "lo", "mi", "ru", "te") for b in ("ban", "dor", "fel", "gim", "zup")]
SIZES = {"num_channels": 3, "recordings_per_channel": 2, "clips_per_recording": 24, "dim": DIM}


def moving(random, num_seconds):
    """Frames of a picture that moves: unit vectors, each near the one before."""
    scene, frames = 2 * random.standard_normal(DIM), np.zeros((num_seconds, DIM))
    for second in range(1, num_seconds):
        frames[second] = 0.9 * frames[second - 1] + 0.5 * random.standard_normal(DIM)
    frames += scene
    return frames / np.linalg.norm(frames, axis=1, keepdims=True)


def clips_of(dummies, **sizes):
    """Clips whose frames move on through their recording, one picture a second."""
    clips = dummies.make_clips(**(SIZES | sizes))
    random = np.random.default_rng(1)
    films = {name: moving(random, 24 * 30) for name in sorted({clip.recording_id for clip in clips})}
    return [with_frames(talkative(clip, random), films[clip.recording_id]) for clip in clips]


def talkative(clip, random):
    """The clip with twelve comments more in its context."""
    said = [" ".join(random.choice(WORDS, size=3)) for _ in range(12)]
    more = tuple(
        Comment(offset_ms=clip.start_ms + 1_500 * n, author=f"v_{n}", text=text, emotes=())
        for n, text in enumerate(said)
    )
    context = tuple(sorted((*clip.context, *more), key=lambda comment: comment.offset_ms))
    return dataclasses.replace(clip, context=context, context_clip=np.zeros((len(context), DIM), np.float16))


def with_frames(clip, film):
    return dataclasses.replace(clip, frames=film[clip.frame_ms // 1000].astype(np.float16))


def write(folder, clips, *, fingerprint=FINGERPRINT, split_by="channel", dim=DIM):
    workspace = Workspace.open(folder, create=True)
    write_dataset(
        workspace,
        [(clip.split, clip.category, clip.recording_id, table_of([clip], dim)) for clip in clips],
        dim=dim,
        facts={"simulated": True, "split_by": split_by, "clip_fingerprint": fingerprint},
    )
    return AuditInput(workspace=workspace, dataset=Dataset.open(folder))


def failed(given, *groups):
    return [check.check for check in run_audits(given, groups or GROUPS) if not check.ok]


@pytest.fixture(scope="module")
def clean(tmp_path_factory, dummies):
    given = write(tmp_path_factory.mktemp("clean"), clips_of(dummies))
    sets = build_candidates(given.workspace, given.dataset)
    return dataclasses.replace(given, sets=sets)


def test_clean_data_passes_every_audit(clean):
    checks = run_audits(clean)
    assert all(check.ok for check in checks), [check for check in checks if not check.ok]
    assert len(checks) == 4 + 3 * len(clean.sets) + 2
    assert {audit.group for audit in load_audits().values()} == set(GROUPS) and len(AUDITS) == 9
    assert all(check.figure is not None for check in checks if not check.check.startswith("features"))
    with pytest.raises(UsageError, match="no audits of 'split'"):
        run_audits(clean, ("split",))


def test_recordings_and_channels_on_both_sides_are_found(tmp_path, dummies):
    clips = clips_of(dummies)
    moved = [dataclasses.replace(c, split="test") if c.clip_id == "dummy-00-0_30000" else c for c in clips]
    found = run_audits(write(tmp_path / "a", moved), ("splits",))
    assert [check.check for check in found if not check.ok] == ["splits: same recording", "splits: same channel"]
    assert found[0].detail == "dummy-00-0 is in test and train"
    moved = [dataclasses.replace(c, split="test") if c.recording_id == "dummy-00-1" else c for c in clips]
    assert failed(write(tmp_path / "b", moved), "splits") == ["splits: same channel"]
    chosen = write(tmp_path / "c", moved, split_by="recording")
    assert failed(chosen, "splits") == []
    assert "by choice" in run_audits(chosen, ("splits",))[1].detail


def copied(clips, source, target, *, shift=0, **fields):
    """The clips with those of `target` showing `source`, `shift` clips later; fields: what of them is copied."""
    originals = {clip.start_ms: clip for clip in clips if clip.recording_id == source}
    result = []
    for clip in clips:
        other = originals.get(clip.start_ms + 30_000 * shift)
        result.append(fields["copy"](clip, other) if clip.recording_id == target and other is not None else clip)
    return result


def same_chat(clip, other):
    """What `other` said, shouted, at the clip's times, by other people."""
    move = clip.start_ms - other.start_ms

    def moved(comments):
        return tuple(
            Comment(offset_ms=c.offset_ms + move, author="x", text=f" {c.text.upper()}", emotes=()) for c in comments
        )

    said = moved(other.context)
    vectors = np.zeros((len(said), DIM), np.float16)
    return dataclasses.replace(clip, context=said, responses=moved(other.responses), context_clip=vectors)


def test_copied_chat_is_found_in_test_and_in_dev(tmp_path, dummies):
    clips = clips_of(dummies)
    for target in ("dummy-02-1", "dummy-01-0"):
        given = write(tmp_path / target, copied(clips, "dummy-00-0", target, shift=3, copy=same_chat))
        matches = chat_matches(given.dataset.table())
        assert leaking(matches)[0] == (target, "dummy-00-0", 21)
        assert failed(given, "splits") == ["splits: near-duplicate chat"]
    part = [c if c.clip_id != "dummy-02-1_150000" else same_chat(c, clips[7]) for c in clips]
    lone = run_audits(write(tmp_path / "lone", part), ("splits",))[2]
    assert lone.ok and "lone clips" in lone.detail and lone.figure > 0


def test_spam_and_common_sayings_are_no_copies(tmp_path, dummies):
    clips = clips_of(dummies)

    def spam(clip, words):
        said = tuple(
            Comment(offset_ms=clip.start_ms + 500 * n, author="x", text=words[n % len(words)], emotes=())
            for n in range(12)
        )
        return dataclasses.replace(clip, context=said, context_clip=np.zeros((12, DIM), np.float16))

    same = [spam(clip, ("buy the new song now",)) for clip in clips]  # one comment over and over
    assert chat_matches(write(tmp_path / "spam", same).dataset.table()) == []
    short = [spam(clip, ("w", "gg", "lol")) for clip in clips]
    assert chat_matches(write(tmp_path / "short", short).dataset.table()) == []


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_copied_video_is_found_at_any_whole_second(tmp_path, dummies, noise):
    clips = clips_of(dummies)
    random = np.random.default_rng(2)
    film = next(np.stack([c.frames[-30:] for c in clips if c.recording_id == "dummy-00-1"]) for _ in [0])
    film = film.reshape(-1, DIM).astype(np.float64)[7:]  # the copy starts 7 s later
    film = np.concatenate([film, moving(random, 7)])
    film += noise * random.standard_normal(film.shape)
    film /= np.linalg.norm(film, axis=1, keepdims=True)
    given = write(tmp_path, [with_frames(c, film) if c.recording_id == "dummy-02-0" else c for c in clips])
    matches = video_matches(given.dataset)
    assert leaking(matches) == [("dummy-02-0", "dummy-00-1", 23)]
    assert {match.shift_ms for match in matches} == {7000}
    assert failed(given, "splits") == ["splits: near-duplicate video"]


def test_still_pictures_and_the_same_scene_are_no_copies(tmp_path, dummies):
    clips = clips_of(dummies)
    still = np.ones((24 * 30, DIM)) / np.sqrt(DIM)
    assert video_matches(write(tmp_path / "a", [with_frames(c, still) for c in clips]).dataset) == []
    film = moving(np.random.default_rng(3), 24 * 30)
    shuffled = film[np.random.default_rng(4).permutation(len(film))]
    mixed = [with_frames(c, shuffled if c.split == "test" else film) for c in clips if c.split != "dev"]
    assert video_matches(write(tmp_path / "b", mixed).dataset) == []


def test_without_frames_it_says_so(tmp_path, dummies):
    given = write(tmp_path, dummies.make_clips(**(SIZES | {"dim": None})), dim=None, fingerprint=None)
    checks = run_audits(given)
    assert all(check.ok for check in checks)
    assert sum("not looked at" in check.detail for check in checks) == 3


def planted(clean, name, **columns):
    part = clean.sets[name]
    parts = {**clean.sets.sets, name: dataclasses.replace(part, **columns)}
    sets = CandidateSets(parts, clean.sets.texts, clean.sets.manifest)
    return dataclasses.replace(clean, sets=sets)


def test_unsound_candidates_are_found(clean):
    part = clean.sets["random10"]
    first = np.array([[t, *(c for c in row if c != t)] for t, row in zip(part.truths, part.candidates, strict=True)])
    assert failed(planted(clean, "random10", candidates=first)) == ["random10: position bias"]
    twice = part.candidates.copy()
    row = twice[3]
    places = [i for i in range(part.k) if row[i] != part.truths[3]]
    row[places[0]] = row[places[1]]
    found = planted(clean, "random10", candidates=twice)
    assert failed(found, "candidates") == ["random10: duplicate candidates"]
    own = next(
        c.text for clip in clean.dataset.clips("test") if clip.clip_id == part.clip_ids[-1] for c in clip.context
    )
    texts = clean.sets.texts
    number = next((i for i, text in enumerate(texts.texts) if text == own), None)
    assert number is None  # what was said in the context is no candidate anywhere near
    wrong = part.truths.copy()
    wrong[2] = -1
    assert failed(planted(clean, "random10", truths=wrong), "candidates") == ["random10: truth among negatives"]


def test_a_second_right_answer_among_the_negatives_is_found(clean):
    part = clean.sets["cosine10"]
    said = {clip.clip_id: {c.text for c in clip.responses} for clip in clean.dataset.clips()}
    texts = clean.sets.texts.texts
    for row, clip in enumerate(part.clip_ids):
        others = [i for i, text in enumerate(texts) if text in said[clip] and i not in part.candidates[row]]
        if others:
            break
    candidates = part.candidates.copy()
    place = next(i for i in range(part.k) if candidates[row, i] != part.truths[row])
    candidates[row, place] = others[0]
    checks = run_audits(planted(clean, "cosine10", candidates=candidates), ("candidates",))
    bad = [check for check in checks if not check.ok]
    assert [check.check for check in bad] == ["cosine10: truth among negatives"]
    assert f"1 of {len(part)} clips hold a second right answer, {clip} first" == bad[0].detail


def test_position_p_is_small_only_for_telling_places():
    assert position_p(np.full(10, 7)) == 1
    assert position_p(np.array([0] * 9 + [9])) < MAX_P  # nine clips, always last: by the binomial
    assert position_p(np.array([0, 3, 0])) > 0.01 and position_p(np.zeros(4, int)) == 1
    random = np.random.default_rng(0)
    p = [position_p(np.bincount(random.integers(10, size=200), minlength=10)) for _ in range(500)]
    assert np.mean(np.array(p) < 0.05) < 0.09


def test_features_of_no_known_or_untrained_make_are_found(tmp_path, dummies):
    clips = clips_of(dummies, clips_per_recording=3)
    names = ("features: fingerprint", "features: untrained weights")
    for number, (fingerprint, expected) in enumerate(
        [
            (FINGERPRINT, []),
            ({}, [names[0]]),
            ({"imported": True, "model": "unnamed", "beside": "m"}, [names[0]]),
            (FINGERPRINT | {"model": "untrained:ViT-B-32", "trained": False}, [names[1]]),
            ({"imported": True, "model": "x", "beside": "untrained:ViT-B-32"}, [names[1]]),
        ]
    ):
        given = write(tmp_path / str(number), clips, fingerprint=fingerprint)
        assert failed(given, "features") == expected, fingerprint


def test_models_without_a_checkpoint_are_found():
    import videochat.models.catalog  # noqa: F401  (registers the models)

    row = {"name": "sfat", "trained": True, "skipped": None, "checkpoint_digest": "ab" * 20}
    assert [check.ok for check in untrained_models([row])] == [True]
    assert [check.ok for check in untrained_models([row | {"checkpoint_digest": None}])] == [False]
    assert untrained_models([row | {"name": "mine", "checkpoint_digest": None}, row | {"skipped": "no frames"}]) == []


@pytest.mark.slow
def test_a_failed_audit_stops_the_run_and_if_allowed_stands_in_the_table(tmp_path, dummies):
    clips = copied(clips_of(dummies), "dummy-00-0", "dummy-02-1", copy=same_chat)
    given = write(tmp_path, clips)
    sets = build_candidates(given.workspace, given.dataset)
    with pytest.raises(AuditFailed, match=r"1 of \d+ checks failed; first: splits: near-duplicate chat"):
        bench(given.workspace, given.dataset, sets, [Length()])
    run = bench(given.workspace, given.dataset, sets, [Length()], allow_failed_audit=True)
    assert "AUDIT FAILED: splits: near-duplicate chat: 1 pairs of recordings, 24 clips of dummy-02-1" in run.table()
    command = ["audit", "--data", str(tmp_path)]
    result = CliRunner().invoke(cli, command, standalone_mode=False)
    assert result.return_value == 1 and "FAIL  splits: near-duplicate chat" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("1 of ")
    result = CliRunner().invoke(cli, [*command, "--json"], standalone_mode=False)
    assert [row["check"] for row in json.loads(result.stdout) if not row["ok"]] == ["splits: near-duplicate chat"]


def test_the_command_on_clean_data(clean):
    for what, number in (("splits", 4), ("features", 2), ("all", 15), ("candidates", 9)):
        result = CliRunner().invoke(cli, ["audit", what, "--data", str(clean.workspace.root)], standalone_mode=False)
        assert result.return_value == 0, result.stdout
        assert result.stdout.splitlines()[-1] == f"all {number} checks passed"
    assert clip_id("a", 0) == "a_0"
