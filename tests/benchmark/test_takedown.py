"""After a takedown: version n + 1 = n without the groups that lost something, and old runs on what is left."""

from __future__ import annotations

import json
import shutil

import pytest

from videochat.benchmark.audits.validation import validate_candidates
from videochat.benchmark.candidates.build import build_candidates, load_candidates
from videochat.benchmark.candidates.coverage import describe
from videochat.benchmark.candidates.takedown import succeed
from videochat.benchmark.ranker import bench
from videochat.benchmark.runs.run import rescore
from videochat.benchmark.scorers.baselines import Length, TfIdfToContext
from videochat.build import write_dataset
from videochat.cli import main
from videochat.dataset import Dataset
from videochat.errors import Damaged, Mismatch, MissingInput, UsageError
from videochat.workspace import Workspace


def rewritten(data, folder, *, without=(), unsaid=()):
    """The shards again, without some clips, and without one response in others: {clip_id: text}."""
    import pyarrow as pa

    unsaid = dict(unsaid)
    rows = [row for row in data.table().to_pylist() if row["clip_id"] not in without]
    for row in rows:
        row["responses"] = [c for c in row["responses"] if c["text"] != unsaid.get(row["clip_id"])]
    table = pa.Table.from_pylist(rows, schema=data.table().schema)
    workspace = Workspace.open(folder, create=not (folder / "workspace.toml").exists())
    write_dataset(
        workspace,
        [
            (row["split"], row["category"], row["recording_id"], table.slice(number, 1))
            for number, row in enumerate(rows)
        ],
        dim=None,
        facts={"simulated": True, "split_by": "channel", "clip_fingerprint": None},
    )
    return workspace, Dataset.open(folder)


@pytest.fixture
def published(tmp_path, dummies):
    """A workspace with sets and a run, a copy of its sets, and the first item of the test split."""
    data = dummies.make_dataset(tmp_path / "ws", num_channels=3, clips_per_recording=40, dim=None)
    workspace = Workspace.open(tmp_path / "ws")
    sets = build_candidates(workspace, data, "v1")
    run = bench(workspace, data, sets, [Length(), TfIdfToContext()], allow_failed_audit=True)
    shutil.copytree(workspace.candidates_dir("v1"), tmp_path / "published")
    return tmp_path, workspace, data, sets, run


@pytest.mark.slow
def test_only_the_groups_that_lost_something_go(published):
    folder, _, data, old, run = published
    test = old["random10"].split("test")
    gone, unsaid = test.clip_ids[0], {test.clip_ids[15]: old.texts.texts[test.truths[15]]}
    workspace, smaller = rewritten(data, folder / "ws", without={gone}, unsaid=unsaid.items())
    with pytest.raises(Mismatch, match="made for shards"):
        load_candidates(workspace, smaller, "v1")
    sets = succeed(workspace, smaller, folder / "published")
    touched = {gone, *unsaid}
    for name, part in old.items():
        broken = {g for g, row in zip(part.group_ids, part.sources, strict=True) if touched & set(row)}
        kept = {d for d, g in zip(part.digests, part.group_ids, strict=True) if g not in broken}
        assert (1 if name == "random10" else 0) <= len(broken) <= 2
        assert set(sets[name].digests) == kept
        assert (sets[name].digest == part.digest) is not bool(broken) and len(sets[name]) == len(part) - 10 * len(
            broken
        )
        assert sets.manifest["sets"][name]["left_out"]["taken-down"] == 10 * len(broken)
    again = load_candidates(workspace, smaller, "v1")
    assert again.manifest == sets.manifest and again.manifest["succeeds"]["revision"] == 2
    assert again.manifest["succeeds"]["sets"] == {name: part.digest for name, part in old.items()}
    texts = {text for part in again.values() for row in part.candidates for text in row}
    assert texts == set(range(len(again.texts))) and "revision 2" in describe(again)
    assert all(finding.ok for finding in validate_candidates(workspace) if finding.check.startswith("v1"))

    fresh = bench(workspace, smaller, again, [Length()], allow_failed_audit=True)
    blind = [r for r in fresh.results["rows"] if r["model"] == "length" and r["stratum"] == "all"]
    assert all(row["metrics"]["R@1"]["value"] == pytest.approx(0.1, abs=1e-9) for row in blind)

    left = rescore(run.path, only={str(clip) for part in again.values() for clip in part.clip_ids})
    for task in left.tasks():
        assert set(task.clip_ids.tolist()) == set(again[task.name].split(task.split).clip_ids)

    twice = rewritten(smaller, folder / "ws", without={test.clip_ids[30]})
    assert succeed(*twice, workspace.candidates_dir("v1")).manifest["succeeds"]["revision"] == 3


def test_what_cannot_be_taken_over_is_refused(published, dummies):
    folder, workspace, data, _, _ = published
    with pytest.raises(UsageError, match="of these very shards"):
        succeed(workspace, data, folder / "published")
    with pytest.raises(MissingInput, match="no candidate sets"):
        succeed(workspace, data, folder)
    other = dummies.make_dataset(folder / "other", num_channels=3, clips_per_recording=4, dim=None, seed=7)
    with pytest.raises(MissingInput, match="no group"):
        succeed(Workspace.open(folder / "other"), other, folder / "published")
    path = folder / "published" / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "weights": 3}))
    with pytest.raises(Damaged, match="'weights' that this version does not know"):
        succeed(Workspace.open(folder / "other"), other, folder / "published")
    manifest["sets"]["random10"]["hint"] = 1
    path.write_text(json.dumps(manifest))
    with pytest.raises(Damaged, match="random10 has a field 'hint'"):
        succeed(Workspace.open(folder / "other"), other, folder / "published")


def test_the_command_takes_frozen_sets_over(published, capsys):
    folder, _, data, old, _ = published
    rewritten(data, folder / "ws", without={old["random10"].split("test").clip_ids[0]})
    arguments = ["candidates", "--data", str(folder / "ws"), "--from", str(folder / "published")]
    with pytest.raises(SystemExit) as done:
        main(arguments)
    out = capsys.readouterr().out
    assert done.value.code == 0 and "revision 2: the sets of data" in out and "10 taken-down" in out
    with pytest.raises(SystemExit) as refused:
        main([*arguments, "--k", "5"])
    assert refused.value.code == 2
