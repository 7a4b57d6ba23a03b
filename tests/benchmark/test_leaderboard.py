"""The leaderboard: what may share a table, figures that follow from scores, a site that opens from disk."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from videochat.benchmark.candidates.build import build_candidates
from videochat.benchmark.leaderboard import boards_of, build_site
from videochat.benchmark.outside.score_entrant import ScoreEntrant
from videochat.benchmark.ranker import bench
from videochat.benchmark.runs.run import Run
from videochat.benchmark.scorers.baselines import Length, Random
from videochat.cli import main
from videochat.commenter import ClipScores
from videochat.errors import Mismatch, UsageError
from videochat.files import stable_hash, write_json
from videochat.workspace import Workspace

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = "<script>window.planted=1</script>\"'><img src=x onerror=window.planted=1>"


class Guess:
    needs: frozenset[str] = frozenset()

    def __init__(self, name: str, truths: dict[str, set[str]], skill: float) -> None:
        self.name, self.truths, self.skill = name, truths, skill

    def score(self, clips, candidates, texts):
        return [
            ClipScores(
                np.array(
                    [
                        stable_hash(self.name, clip.clip_id, i) / 2**64
                        + self.skill * (texts.texts[i] in self.truths[clip.clip_id])
                        for i in ids
                    ]
                )
            )
            for clip, ids in zip(clips, candidates, strict=True)
        ]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, dummies: ModuleType) -> list[Run]:
    """Two runs of one protocol and data, the second with a hostile submission, and one of another size."""
    folder = tmp_path_factory.mktemp("boards")
    sizes = {"num_channels": 3, "recordings_per_channel": 11, "clips_per_recording": 8, "dim": None}
    dataset = dummies.make_dataset(folder / "ws", split_by="recording", **sizes)
    workspace = Workspace.open(folder / "ws")
    truths = {clip.clip_id: {response.text for response in clip.responses} for clip in dataset.clips()}
    sets = build_candidates(workspace, dataset, "v1", k=4)
    options = {"swaps": False, "allow_failed_audit": True}
    first = bench(workspace, dataset, sets, [Guess("<i>guess</i>", truths, 0.5), Length()], run_id="a+b", **options)
    scores = first.scores("<i>guess</i>", split="test")[["clip_id", "candidates", "score"]]
    scores.to_parquet(folder / "s.parquet")
    submission = {
        "name": "submitted",
        "authors": ["A", HOSTILE],
        "url": "https://example.org/?a=<b>",
        "scores": "s.parquet",
        "training_data": HOSTILE,
        "seeds": [0, 1],
        "protocol": "v1",
        "data_digest": dataset.digest,
        "candidates": {name: part.digest for name, part in sets.items()},
    }
    (folder / "submission.json").write_text(json.dumps(submission))
    entrant = ScoreEntrant.read(folder / "submission.json")
    models = [Guess("better", truths, 2.0), Length(), Random()]
    second = bench(workspace, dataset, sets, models, scored=[entrant], run_id="second", **options)
    (second.path / "report.html").write_text("<!doctype html><title>report</title>")
    small = build_candidates(workspace, dataset, "v1", k=3)
    return [first, second, bench(workspace, dataset, small, [Length()], run_id="other", **options)]


def test_one_board_for_the_same_candidates_and_one_row_for_the_same_scorer(runs: list[Run]) -> None:
    boards = boards_of(runs)
    assert [[run.run_id for run in board.runs] for board in boards] == [["a+b", "second"], ["other"]]
    names = [row.name for row in boards[0].entrants]
    assert sorted(names) == ["<i>guess</i>", "better", "length", "random", "submitted"]
    assert names[0] == "better"
    assert next(row for row in boards[0].entrants if row.name == "length").also_in == ["second"]
    values = [row.official["value"] for row in boards[0].entrants if row.official]
    assert values == sorted(values, reverse=True)
    again = boards_of(list(reversed(runs)))
    assert {board.slug for board in again} == {board.slug for board in boards}


def test_figures_that_do_not_follow_from_the_scores_are_found_out(runs: list[Run], tmp_path: Path) -> None:
    copy = tmp_path / "edited"
    shutil.copytree(runs[0].path, copy)
    metrics = json.loads((copy / "metrics.json").read_text())
    next(row for row in metrics["official"] if row["model"] == "length")["value"] = 0.999
    write_json(copy / "metrics.json", metrics)
    with pytest.raises(Mismatch, match="does not follow from its scores: length of official"):
        build_site([Run.open(copy)], tmp_path / "site")
    assert not (tmp_path / "site").exists()
    with pytest.raises(Mismatch, match="different runs of one id"):
        build_site([runs[0], Run.open(copy)], tmp_path / "site", check=False)


def test_the_site_escapes_links_and_replaces_only_itself(runs: list[Run], tmp_path: Path) -> None:
    out = tmp_path / "site"
    boards = build_site(runs, out)
    pages = {str(path.relative_to(out)): path.read_text() for path in out.rglob("*.html")}
    assert {"index.html", f"{boards[0].slug}/index.html", "runs/second/report.html"} <= set(pages)
    for name, page in pages.items():
        assert "<i>guess" not in page, name
        assert "<img" not in page, name
        assert page.count("<script>") == (0 if name.endswith("report.html") else 1), name
        for target in re.findall(r'href="([^"]+)"', page):
            if not target.startswith(("data:", "https://example.org")):
                assert (out / name).parent.joinpath(target.partition("#")[0]).resolve().is_file(), f"{name}: {target}"
    assert "simulated data" in pages["index.html"]
    assert "videochat|v1.0|random4|data:" in pages[f"{boards[0].slug}/index.html"]
    assert "audit failed" in pages[f"{boards[0].slug}/index.html"] or all(c["ok"] for c in runs[0].info["audit"])
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    build_site(runs, out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    build_site(runs[:1], out, reports=False)
    assert not (out / "runs" / "second").exists()
    assert not (out / boards[1].slug).exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="is there and is no site"):
        build_site(runs, tmp_path / "other")
    with pytest.raises(UsageError, match="no runs"):
        build_site([], out)


def test_the_command_takes_folders_of_runs(runs: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([runs[0].path.parent], ["a+b", "second", "other"], []):
        command = ["leaderboard", "--data", runs[0].path.parent.parent, "--no-check", "--json"]
        with pytest.raises(SystemExit) as done:
            main([str(a) for a in [*command, "--out", tmp_path / "s", *arguments]])
        assert done.value.code == 0
        value = json.loads(capsys.readouterr().out)
        assert sorted(run for board in value["boards"] for run in board["runs"]) == ["a+b", "other", "second"]


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium on PATH")
def test_the_site_opens_from_disk_sorts_and_asks_the_network_for_nothing(runs: list[Run], tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    out = tmp_path / "site"
    board = build_site(runs, out, check=False)[0]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        messages: list[str] = []
        requests: list[str] = []
        page = context.new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        for path in sorted(out.rglob("index.html")):
            page.goto(path.as_uri())
            assert page.evaluate("window.planted === undefined")
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        page.goto((out / board.slug / "index.html").as_uri())
        names = "[...document.querySelectorAll('#entrants tbody th')].map(cell => cell.dataset.value)"
        start = page.evaluate(names)
        assert start == [row.name for row in board.entrants]
        page.get_by_role("button", name="model").first.click()
        assert page.evaluate(names) == sorted(start)
        page.get_by_role("button", name="model").first.click()
        assert page.evaluate(names) == sorted(start, reverse=True)
        title = page.locator("#entrants thead tr:last-child th").nth(2)
        title.get_by_role("button").click()
        assert title.get_attribute("aria-sort") == "descending"
        assert page.evaluate(names)[0] == "better"
        title.get_by_role("button").click()
        cells = "[...document.querySelectorAll('#entrants tbody tr')].map(row => row.cells[2].dataset.value)"
        values = [float(value) for value in page.evaluate(cells)]
        assert values == sorted(values)
        page.get_by_role("link", name="better").click()
        assert page.title().startswith("second")
        page.get_by_role("link", name="Report").click()
        assert page.title() == "report"
        assert messages == []
        assert all(url.startswith("file://") for url in requests), requests
        plain = browser.new_context(java_script_enabled=False).new_page()
        plain.goto((out / board.slug / "index.html").as_uri())
        assert plain.locator("#entrants tbody tr").count() == len(board.entrants)
        browser.close()
