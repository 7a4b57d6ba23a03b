"""Scores of other people's code: the hand-out without truth, files in three forms, and all that is wrong, counted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from videochat.benchmark.candidates.build import build_candidates
from videochat.benchmark.candidates.views import Views
from videochat.benchmark.metrics.ranks import BadScores
from videochat.benchmark.outside.handout import hand_out
from videochat.benchmark.outside.score_entrant import ScoreEntrant
from videochat.benchmark.outside.score_file import read_score_file
from videochat.benchmark.outside.score_matching import match
from videochat.benchmark.outside.submit_check import check_submission, describe
from videochat.benchmark.ranker import bench
from videochat.benchmark.runs.run import Run
from videochat.benchmark.scorers.baselines import Length
from videochat.benchmark.scores.tasks import make_tasks
from videochat.commenter import ClipScores
from videochat.errors import MissingInput, UsageError
from videochat.files import stable_hash
from videochat.workspace import Workspace


class Hashing:
    """Scores by the clip's chat, its frames and the text, with likelihoods: what an outsider's model may be."""

    name = "hashing"
    needs = frozenset({"frames"})

    def score(self, clips, candidates, texts):
        return [self.one(clip, [texts.texts[i] for i in ids]) for clip, ids in zip(clips, candidates, strict=True)]

    def one(self, clip, texts):
        seen = [comment.text for comment in clip.context], np.round(clip.frames.astype(float).sum(), 3)
        draws = np.array([-5 - stable_hash(str(seen), text) / 2**64 for text in texts])
        return ClipScores(draws, draws, np.array([len(t.split()) + 1 for t in texts], np.int32))


class World:
    def __init__(self, folder: Path, dummies: ModuleType) -> None:
        sizes = {"num_channels": 3, "recordings_per_channel": 10, "clips_per_recording": 12}
        self.dataset = dummies.make_dataset(folder / "ws", split_by="recording", **sizes)
        self.workspace = Workspace.open(folder / "ws")
        self.sets = build_candidates(self.workspace, self.dataset, "v1", k=4)
        self.tasks = make_tasks(self.sets)
        self.out = folder / "handout"
        self.manifest = hand_out(self.workspace, self.dataset, self.sets, self.out, frames="npy")
        self.run = bench(self.workspace, self.dataset, self.sets, [Hashing(), Length()], run_id="inside")

    def lines(self, split: str = "*") -> list[dict]:
        files = sorted(self.out.glob(f"*.{split}.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]

    def lengths(self, **more: str) -> pd.DataFrame:
        """What an outsider makes of the hand-out: the length of each text."""
        rows = [
            {"clip_id": line["clip_id"], "candidate": c["id"], "score": float(len(c["text"]))}
            | {column: line[key] for column, key in more.items()}
            for line in self.lines()
            for c in line["candidates"]
        ]
        return pd.DataFrame(rows).drop_duplicates(ignore_index=True)

    def problems(self, path: Path) -> list[str]:
        return match(read_score_file(path), self.tasks, self.sets.manifest, name="mine").problems


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, dummies: ModuleType) -> World:
    return World(tmp_path_factory.mktemp("outside"), dummies)


def test_the_hand_out_shows_what_a_model_sees_and_no_truth(world: World) -> None:
    task = next(task for task in world.tasks if (task.name, task.split) == ("random4", "test"))
    lines = {line["clip_id"]: line for line in world.lines("test") if line["set"] == "random4"}
    assert sorted(lines) == task.clip_ids.tolist()
    clips = {clip.clip_id: clip for clip in world.dataset.clips("test")}
    firsts = []
    for clip_id, row, truth in zip(task.clip_ids.tolist(), task.candidates.tolist(), task.truths, strict=True):
        line, clip = lines[clip_id], clips[clip_id]
        ids = [candidate["id"] for candidate in line["candidates"]]
        assert sorted(ids) == row
        firsts.append(ids.index(truth))
        assert [c["text"] for c in line["context"]] == [c.text for c in clip.context]
        assert max(c["ms"] for c in line["context"]) < line["now_ms"] == 20_000
        assert max(line["frame_ms"]) < line["now_ms"]
        frames = np.load(world.out / line["frames"], allow_pickle=False)
        assert frames.shape == (len(line["frame_ms"]), 8)
        said = json.dumps(line["context"])
        assert not any(response.text in said for response in clip.responses)
        assert {"truth", "group_id", "generic", "responses"}.isdisjoint(line)
    assert len(set(firsts)) == 4, "the truth stands in every place"
    assert world.manifest["candidates"]["random4"] == world.sets["random4"].digest


@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl", "lists", "by-set"])
def test_a_file_of_any_form_ranks_as_the_same_scorer_inside(world: World, tmp_path: Path, form: str) -> None:
    table = world.lengths(set="set", split="split") if form == "by-set" else world.lengths()
    path = tmp_path / {"csv": "m.csv", "jsonl": "m.jsonl"}.get(form, "m.parquet")
    if form == "csv":
        table.to_csv(path, index=False)
    elif form == "jsonl":
        table.to_json(path, orient="records", lines=True)
    elif form == "lists":
        grouped = table.groupby("clip_id", sort=False)
        lists = grouped.agg(candidates=("candidate", list), scores=("score", list)).reset_index()
        lists.to_parquet(path)
    else:
        table.sample(frac=1, random_state=0).to_parquet(path)
    shutil.copy(world.out / "manifest.json", tmp_path / "m.manifest.json")
    entrant = ScoreEntrant.read(path, name="outside")
    for block in entrant.blocks(world.tasks, world.sets.manifest):
        lengths = [float(len(world.sets.texts.texts[i])) for i in block.layout.flat]
        assert block.score.tolist() == lengths
    if form != "csv":
        return
    run = bench(world.workspace, world.dataset, world.sets, [Length()], scored=[entrant], run_id="outside")
    found = run.metrics().set_index(["model", "set", "stratum", "metric"])["value"]
    assert found["outside"].equals(found["length"])
    row = next(m for m in run.info["models"] if m["name"] == "outside")
    assert (row["kind"], row["score_rule"], row["text_only"], row["notes"]) == ("model", "own", None, [])
    assert Run.open(run.path).tasks("test"), "the folder is a run like others"


def test_likelihoods_and_swaps_in_a_file_give_the_same_row_as_inside(world: World, tmp_path: Path) -> None:
    inside = pd.read_parquet(world.run.path / "scores.parquet")
    inside = inside[inside.model == "hashing"]
    columns = ["condition", "clip_id", "candidates", "score", "log_likelihood", "num_tokens"]
    inside[columns].to_parquet(tmp_path / "all.parquet")
    entrant = ScoreEntrant.read(tmp_path / "all.parquet", name="outside")
    run = bench(world.workspace, world.dataset, world.sets, [Hashing()], scored=[entrant], run_id="twins")
    results, rows = run.results, {m["name"]: m for m in run.info["models"]}
    assert rows["outside"]["score_rule"] == rows["hashing"]["score_rule"] in ("sum", "token", "byte")
    of = {name: [g for g in results["gains"] if g["model"] == name] for name in ("outside", "hashing")}
    assert of["outside"] == [g | {"model": "outside"} for g in of["hashing"]]
    assert len(of["outside"]) > 10
    test = inside[(inside.split == "test") & (inside.condition == "real")]
    test[columns].to_parquet(tmp_path / "test.parquet")
    found = check_submission(tmp_path / "test.parquet", world.sets)
    assert found.rule == "own"
    assert "it has no dev clips: its own score is the rule, its likelihoods are not used" in found.notes


def spoil(table: pd.DataFrame, how: str) -> pd.DataFrame:
    table = table.copy()
    if how == "missing":
        return table.drop(index=[3, 4])
    if how == "double":
        return pd.concat([table, table.iloc[:3]])
    if how == "strange candidate":
        table.loc[0, "candidate"] = 99_999
    if how == "strange clip":
        table.loc[0, "clip_id"] = "nobody_0"
    if how == "NaN":
        table.loc[[1, 2], "score"] = np.nan
    if how == "words":
        return table.astype({"score": object}).replace({"score": {table.score[0]: "high"}})
    if how == "no id":
        return table.astype({"candidate": object}).replace({"candidate": {table.candidate[0]: "1e3"}})
    if how == "strange set":
        table["set"] = "random7"
    if how == "strange condition":
        table["condition"] = "reversed"
    if how == "wrong split":
        table["split"] = "test"
    if how == "tokens":
        table["log_likelihood"], table["num_tokens"] = -1.0, 0
    return table


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("missing", "scores are missing, in"),
        ("double", "3 candidates have more than one score"),
        ("strange candidate", "1 candidates are not among those of their clip, first candidate 99999"),
        ("strange clip", "1 clips are in no ranked set, first nobody_0"),
        ("NaN", "2 of .* values of score are NaN or missing"),
        ("words", "values of score are no numbers, first 'high'"),
        ("no id", "candidates are no ids, first '1e3'"),
        ("strange set", "it has the set 'random7', known are"),
        ("strange condition", "it has the condition 'reversed'"),
        ("wrong split", "clips are of another split than it says"),
        ("tokens", "num_tokens are no whole number of at least 1"),
    ],
)
def test_every_defect_is_named_and_counted(world: World, tmp_path: Path, how: str, words: str) -> None:
    spoil(world.lengths(), how).to_csv(tmp_path / "m.csv", index=False)
    problems = world.problems(tmp_path / "m.csv")
    assert any(pd.Series([p]).str.contains(words).item() for p in problems), problems
    with pytest.raises(BadScores):
        ScoreEntrant.read(tmp_path / "m.csv").blocks(world.tasks, world.sets.manifest)
    found = check_submission(tmp_path / "m.csv", world.sets)
    assert found.problems
    assert "refused" in describe(found)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("m.csv", "clip,score\na,1\n", "no column clip_id"),
        ("m.csv", "clip_id,candidate,score\n", "it holds no rows"),
        ("m.csv", "clip_id,candidate,score\na,1\n", "1 of 1 rows have more or fewer cells"),
        ("m.jsonl", '{"clip_id": "a"\n', "line 1 is not JSON"),
        ("m.jsonl", "[1]\n", "line 1 is not a JSON object"),
        ("m.jsonl", '{"clip_id": "a", "candidates": [1, 2], "scores": [1]}\n', "row 1 has 2 candidates, but score: 1"),
        ("m.jsonl", '{"clip_id": "a", "candidates": [1], "scores": [1]}\n{"clip_id": "b"}\n', "1 of 2 lines have no"),
        ("m.parquet", "not parquet", "it is not Parquet"),
        ("m.csv", b"clip_id\n\xff", "it is not UTF-8"),
    ],
)
def test_what_is_no_scores_file_says_why(tmp_path: Path, name: str, content: str | bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BadScores, match=words):
        read_score_file(tmp_path / name)
    with pytest.raises(MissingInput, match="no scores file"):
        read_score_file(tmp_path / "none.csv")
    (tmp_path / "m.pkl").write_bytes(b"\x80\x04N.")
    with pytest.raises(UsageError, match="no scores file"):
        read_score_file(tmp_path / "m.pkl")


def test_other_digests_are_refused_wherever_they_are_declared(world: World, tmp_path: Path) -> None:
    table = world.lengths()
    table.to_csv(tmp_path / "m.csv", index=False)
    wrong = world.manifest | {"data_digest": "0" * 64}
    (tmp_path / "m.manifest.json").write_text(json.dumps(wrong))
    assert [p for p in world.problems(tmp_path / "m.csv") if "it was made for digest 0000" in p]
    header = {"videochat": {"candidates": {"random4": "abcd", "other9": "1"}}}
    lines = table.to_json(orient="records", lines=True)
    (tmp_path / "n.jsonl").write_text(json.dumps(header) + "\n" + lines)
    problems = world.problems(tmp_path / "n.jsonl")
    assert len(problems) == 2
    assert "other9 that is not among" in " ".join(problems)


def test_one_set_alone_is_ranked_without_an_official_number(world: World, tmp_path: Path) -> None:
    table = world.lengths(set="set")
    table[table.set == "cosine4"].to_csv(tmp_path / "m.csv", index=False)
    entrant = ScoreEntrant.read(tmp_path / "m.csv")
    run = bench(world.workspace, world.dataset, world.sets, [Hashing()], scored=[entrant], run_id="part")
    assert {row["set"] for row in run.results["rows"] if row["model"] == "m"} == {"cosine4"}
    assert "m" not in {row["model"] for row in run.results["official"]}
    assert "m is a scores file: it has no scores for random4, popularity4" in run.table()


SUBMISSION = """
name = "my-model"
authors = ["A. Author"]
url = "https://example.org"
scores = "m.csv"
training_data = "the train split"
seeds = [0]
protocol = "v1"
data_digest = "{data_digest}"
[candidates]
"""


def test_a_submission_is_checked_line_by_line_and_becomes_a_row(world: World, tmp_path: Path) -> None:
    world.lengths().to_csv(tmp_path / "m.csv", index=False)
    text = SUBMISSION.format(**world.manifest)
    text += "".join(f'{name} = "{digest[:12]}"\n' for name, digest in world.manifest["candidates"].items())
    path = tmp_path / "submission.toml"
    path.write_text(text)
    found = check_submission(path, world.sets)
    assert found.problems == []
    assert "score:own" in describe(found)
    assert "my-model: can be ranked" in describe(found)
    entrant = ScoreEntrant.read(path)
    run = bench(world.workspace, world.dataset, world.sets, [], scored=[entrant], run_id="submitted")
    row = next(m for m in run.info["models"] if m["name"] == "my-model")
    assert row["submission"]["authors"] == ["A. Author"]
    bad = text.replace('authors = ["A. Author"]', "authors = 3\nspam = 1").replace("https", "javascript")
    path.write_text(bad.replace("seeds = [0]\n", "").replace('"my-model"', '"<b>"'))
    problems = " ".join(check_submission(path, world.sets).problems)
    for words in ("no field seeds", "unknown field spam", "authors is no list", "url does not begin", "no name of a"):
        assert words in problems
    path.write_text(text.replace("m.csv", "../m.csv"))
    assert "the name of a file beside it" in " ".join(check_submission(path, world.sets).problems)
    path.write_text("name = [")
    assert "is no TOML" in " ".join(check_submission(path, world.sets).problems)


def test_the_hand_out_of_another_track_shows_that_tracks_view(world: World, tmp_path: Path) -> None:
    sets = build_candidates(world.workspace, world.dataset, "v1-at-comment", k=4)
    hand_out(world.workspace, world.dataset, sets, tmp_path, splits=["test"])
    look = Views.of(world.workspace, world.dataset, sets)
    views = {clip.clip_id: look(clip) for clip in world.dataset.clips("test")}
    later = 0
    for file in tmp_path.glob("*.test.jsonl"):
        for line in map(json.loads, file.read_text(encoding="utf-8").splitlines()):
            seen = views[line["clip_id"]]
            assert line["now_ms"] == seen.now_ms - seen.start_ms
            assert [c["text"] for c in line["context"]] == [c.text for c in seen.context]
            later += line["now_ms"] > 20_000
    assert later > 0


def test_a_hand_out_of_nothing_is_refused_and_writes_nothing(world: World, tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="rank no clip of train"):
        hand_out(world.workspace, world.dataset, world.sets, tmp_path / "none", splits=["train"])
    assert not (tmp_path / "none").exists()
