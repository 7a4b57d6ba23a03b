"""Run folders: whole or absent, recomputed from their scores alone, tables and signatures that say what they are."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from videochat.benchmark.candidates.build import build_candidates
from videochat.benchmark.metrics.ranks import BadScores
from videochat.benchmark.ranker import bench
from videochat.benchmark.runs.run import Run, rescore
from videochat.benchmark.runs.signature import Signature
from videochat.benchmark.runs.table import short
from videochat.benchmark.scorers.baselines import Length, Popularity, TfIdfToContext
from videochat.benchmark.scores.blocks import ScoreBlock, collect, read_scores, write_scores
from videochat.benchmark.scores.rules import apply, choose, offered
from videochat.benchmark.scores.tasks import Layout
from videochat.commenter import ClipScores
from videochat.errors import Mismatch, MissingInput, UsageError
from videochat.workspace import Workspace


@pytest.fixture(scope="module")
def run(tmp_path_factory, dummies):
    folder = tmp_path_factory.mktemp("runs")
    dataset = dummies.make_dataset(folder, num_channels=3, recordings_per_channel=3, clips_per_recording=40, dim=None)
    workspace = Workspace.open(folder)
    return bench(workspace, dataset, build_candidates(workspace, dataset), [Length(), Popularity(), TfIdfToContext()])


def files(path):
    return {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_metrics_are_computed_again_without_dataset_and_models(run, tmp_path):
    copy = tmp_path / run.path.name
    shutil.copytree(run.path, copy)
    for name in ("metrics.json", "table.txt"):
        (copy / name).unlink()
    shutil.rmtree(copy / "trec")
    assert files(rescore(copy).path) == files(run.path)


def test_a_takedown_drops_whole_groups(run, tmp_path):
    copy = tmp_path / run.path.name
    shutil.copytree(run.path, copy)
    tasks = run.tasks("test")
    gone = str(tasks[0].clip_ids[0])
    allowed = {str(clip) for task in run.tasks() for clip in task.clip_ids} - {gone}
    left = rescore(copy, only=allowed)
    assert left.run_id.startswith(f"{run.run_id}-on-")
    assert left.info["signatures"]["random10"].split("|")[2] == f"random10:{left.info['part']}"
    rows = left.metrics()
    blind = rows[(rows["model"] == "length") & (rows["stratum"] == "all") & (rows["metric"] == "R@1")]
    assert blind["value"].to_list() == pytest.approx([0.1] * len(blind))  # still balanced
    before = run.metrics()
    assert blind["num_clips"].max() <= before["num_clips"].max() - 10
    with pytest.raises(MissingInput, match="no test clip"):
        rescore(copy, only=[])


def test_few_clusters_have_no_intervals(run):
    assert run.info["num_clusters"] < 10
    assert run.metrics()[["low", "high"]].isna().all(axis=None)
    assert "too few (under 10) for intervals" in run.table()


def test_the_table_says_what_it_shows(run):
    text = run.table()
    assert text.startswith("SIMULATED DATA")
    assert text == (run.path / "table.txt").read_text()
    assert max(map(len, text.splitlines())) <= 110
    for name in run.info["sets"]:
        assert run.info["signatures"][name] in text
        assert Signature.parse(run.info["signatures"][name]).set == name  # all of it
    order = [text.index(f"\n{name} ") for name in ("tfidf", "-length", "oracle", "golden-random", "reversed")]
    assert order == sorted(order)
    assert "R@2" in run.table(wide=True) and "no-generic" in run.table(wide=True)
    markdown = run.to_markdown()
    assert markdown.count("\n|") == 2 + 3 + 11 + 4
    assert "| tfidf | own |" in markdown


def test_the_tidy_frame_has_whole_counts_and_the_official_number(run):
    frame = run.metrics()
    assert frame[["k", "num_clips", "num_clusters"]].dtypes.astype(str).tolist() == ["int64"] * 3
    official = frame[frame["set"] == "official"].set_index("model")["value"]
    mean = frame.query("model == 'tfidf' and stratum == 'all' and metric == 'MRR' and k == 10 and set != 'official'")
    assert official["tfidf"] == pytest.approx(mean["value"].mean())  # one category
    assert official["oracle"] == 1


def test_no_wall_time_is_in_a_run(run):
    text = json.dumps(run.info)
    assert "time" not in text and "seconds" not in text and str(run.path.parent) not in text


def test_means_are_those_of_the_ranking(run):
    ranking = run.ranking("tfidf", "cosine10")
    truths = ranking[ranking["is_truth"]]
    rows = run.metrics().query("model == 'tfidf' and set == 'cosine10' and stratum == 'all' and metric == 'MR'")
    assert truths["rank"].mean() == pytest.approx(rows["value"].item())
    assert len(run.scores("tfidf")) == len({clip for task in run.tasks("test") for clip in task.clip_ids.tolist()})
    with pytest.raises(MissingInput, match="nobody"):
        run.ranking("nobody", "cosine10")
    with pytest.raises(MissingInput, match="videochat bench"):
        Run.open(run.path / "absent")


def block_of(**fields):
    layout = Layout(np.array(["a", "b"]), np.array([0, 2, 3]), np.array([1, 4, 0], dtype=np.int32))
    return ScoreBlock("m", "real", "test", None, layout, np.array([1.0, -np.inf, 0.5]), **fields)


def test_scores_are_kept_to_the_bit(tmp_path):
    likelihood = np.array([-1 / 3, -np.inf, -5e-324])
    blocks = [
        block_of(log_likelihood=likelihood, num_tokens=np.array([3, 1, 2], dtype=np.int32)),
        ScoreBlock("n", "chat-swapped", "test", "random10", block_of().layout, np.array([0.1, 0.2, 0.3])),
    ]
    write_scores(tmp_path / "scores.parquet", blocks, {"stamp": "x"})
    back = read_scores(tmp_path / "scores.parquet")
    assert [(b.model, b.condition, b.split, b.set) for b in back] == [
        ("m", "real", "test", None),
        ("n", "chat-swapped", "test", "random10"),
    ]
    assert back[0].log_likelihood is not None and (back[0].log_likelihood == likelihood).all()
    assert (back[0].score == blocks[0].score).all() and back[0].null_log_likelihood is None
    assert back[0].num_tokens is not None and back[0].num_tokens.tolist() == [3, 1, 2]
    assert (back[0].layout.flat == blocks[0].layout.flat).all()


def test_collect_refuses_what_cannot_be_ranked():
    layout = block_of().layout
    good = {"a": ClipScores(np.zeros(2)), "b": ClipScores(np.zeros(1))}
    assert collect("m", "real", "test", layout, good).score.tolist() == [0, 0, 0]
    with pytest.raises(BadScores, match="1 of 2 clips have no score"):
        collect("m", "real", "test", layout, {"a": good["a"]})
    mixed = {**good, "b": ClipScores(np.zeros(1), log_likelihood=np.zeros(1))}
    with pytest.raises(BadScores, match="have no log_likelihood"):
        collect("m", "real", "test", layout, mixed)
    with pytest.raises(BadScores, match="NaN, first in b"):
        collect("m", "real", "test", layout, {**good, "b": ClipScores(np.array([np.nan]))})


def test_rules_by_hand(run):
    task = run.tasks("test")[0]
    task = task.only(np.arange(len(task)) == 0)
    size = task.k
    total = -np.arange(1.0, size + 1)
    total[2] = -np.inf
    block = ScoreBlock(
        *("m", "real", "test", None, Layout.of_task(task), np.zeros(size)),
        log_likelihood=total,
        num_tokens=np.full(size, 4, np.int32),
        null_log_likelihood=np.where(np.arange(size) == 2, -np.inf, -1.0),
    )
    gather = block.layout.gather(task)
    assert offered(block) == ("sum", "token", "byte", "null") and offered(block_of()) == ("own",)
    assert (apply("sum", block, task, gather)[0] == total).all()
    assert (apply("token", block, task, gather)[0] == total / 4).all()
    assert (apply("byte", block, task, gather)[0] == total / (task.num_bytes[0] + 1)).all()
    null = apply("null", block, task, gather)[0]
    assert null[0] == 0 and null[2] == -np.inf and not np.isnan(null).any()
    assert choose({"sum": 0.3, "token": 0.4, "byte": 0.4}) == "token"


def test_unscored_clips_and_candidates_are_refused(run):
    first, second = run.tasks("test")[:2]
    half = first.only(np.arange(len(first)) < 10)
    with pytest.raises(Mismatch, match="have no scores"):
        Layout.of_task(half).gather(first)
    with pytest.raises(Mismatch, match="no scores"):
        Layout.of_task(first).gather(second)
    union = Layout.union([first, second])
    assert (union.flat[union.gather(first)] == first.candidates).all()


def test_signatures_print_and_parse_back():
    line = "videochat|v1.0|cosine10|data:ab12|cand:9f3c|split:channel|score:byte|tool:0.1"
    signature = Signature.parse(line)
    assert str(signature) == line and signature.score == "byte" and signature.cand == "9f3c"
    for wrong in ("", "videochat|v1.0", line.replace("data:", "date:"), line + "|x:y", "other" + line):
        with pytest.raises(UsageError):
            Signature.parse(wrong)
    with pytest.raises(UsageError):
        Signature(protocol="v1.0", set="a|b", data="1", cand="2", split="3", score="4", tool="5")


def test_numbers_print_short():
    assert [short(value) for value in (0.5123, 1.0, 0.0, 5.5, None)] == [".512", "1.000", ".000", "5.500", "–"]
    assert [short(value, sign=True) for value in (0.034, -0.0021, 0.0)] == ["+.034", "-.002", "+.000"]
