"""The report page: what it says comes from the run, what chat says stays text, and equal runs give equal bytes."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import itertools
import re
import shutil
from html import unescape
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from videochat.benchmark.candidates.build import build_candidates
from videochat.benchmark.ranker import Entrant, bench
from videochat.benchmark.report import write_report
from videochat.benchmark.report.charts import Dot, interval_plot, ticks, timeline
from videochat.benchmark.report.exhibits import printable
from videochat.benchmark.report.inputs import RunData
from videochat.benchmark.report.results import Comparison, Difference, Value, comparisons, probability, table_rows
from videochat.benchmark.runs.run import Run
from videochat.benchmark.scorers.baselines import Length, Popularity
from videochat.commenter import ClipScores, ClipView, TextTable
from videochat.dataset import Dataset
from videochat.files import read_json, stable_hash, write_json
from videochat.schema import Clip, Comment, Recording
from videochat.workspace import Workspace

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = (
    "<script>window.planted=1</script>",
    "\"'><img src=x onerror=window.planted=1>",
    "</style><svg onload=window.planted=1>",
    "{{ 7*7 }} {% raw %} &amp; &lt;b&gt;",
    "مرحبا بالعالم \u202e txet desrever",
    "🔥🔥👩‍👩‍👧 Kappa",
    "a" * 600,
    "javascript:window.planted=1",
)
NUM_TEST_RECORDINGS = 12


class Toy:
    """Knows the answer to a clip with a given skill, by its frames (looks) or by its id."""

    needs: frozenset[str] = frozenset()

    def __init__(self, name: str, skill: float, answers: dict[str, str], *, looks: bool) -> None:
        self.name = name
        self.skill = skill
        self.answers = answers
        self.looks = looks

    def score(self, clips: list[ClipView], candidates: list[list[int]], texts: TextTable) -> list[ClipScores]:
        return [self._one(clip, ids, texts) for clip, ids in zip(clips, candidates, strict=True)]

    def _one(self, clip: ClipView, ids: list[int], texts: TextTable) -> ClipScores:
        seen = "" if clip.frames is None or not self.looks else str(clip.frames.sum())
        words = [texts.texts[i] for i in ids]
        noise = np.array([stable_hash(self.name, seen, clip.clip_id, word) / 2**64 for word in words])
        likelihood = (
            -9.0 + noise + self.skill * np.array([word == self.answers.get(seen or clip.clip_id) for word in words])
        )
        tokens = np.array([len(word.split()) + 1 for word in words], np.int32)
        return ClipScores(likelihood, likelihood, tokens, np.full(len(ids), -9.5))

    def frame_weights(self, clips: list[ClipView]) -> list[np.ndarray]:
        found = []
        for clip in clips:
            assert clip.frame_ms is not None
            bump = np.exp(-(((clip.frame_ms - clip.start_ms - 9_500) / 2500.0) ** 2)) + 0.01
            found.append((bump / bump.sum()).astype(np.float32))
        return found


class NeedsWords(Toy):
    needs = frozenset({"transcript"})


def make_run(
    folder: Path, dummies: ModuleType, *, dim: int | None = 8, simulated: bool = True, skill: float = 1.0,
    recordings: int = NUM_TEST_RECORDINGS, video: bool = False,
) -> tuple[Run, Workspace]:  # fmt: skip
    """A workspace with hostile chat (and a video for each test recording), and a run of toy models on it."""
    clips = dummies.make_clips(num_channels=3, recordings_per_channel=recordings, clips_per_recording=12, dim=dim)
    clips = [clip for clip in clips if clip.split == "test" or clip.recording_id.endswith("-0")]
    clips = [plant(clip, index) for index, clip in enumerate(clips)]
    recordings_of = [list(group) for _, group in itertools.groupby(clips, key=lambda clip: clip.recording_id)]
    workspace = Workspace.open(folder, create=True)
    dummies.write_dataset(
        workspace,
        [
            (part[0].split, part[0].category, part[0].recording_id, dummies.table_of(part, dim))
            for part in recordings_of
        ],
        dim=dim,
        facts={"simulated": simulated, "split_by": "recording", "clip_fingerprint": {"model": "x"} if dim else None},
    )
    if video:
        for recording_id in sorted({clip.recording_id for clip in clips if clip.split == "test"}):
            add_video(workspace, recording_id)
    dataset = Dataset.open(folder)
    answers = {clip.clip_id: clip.responses[0].text for clip in clips}
    for clip in dataset.clips():  # a toy that looks knows a clip by its frames, as the ranker shows them
        if clip.frames is not None and clip.frame_ms is not None:
            answers[str(clip.frames[clip.frame_ms < clip.context_end_ms].sum())] = answers[clip.clip_id]
    toys = [
        Toy("sfat", 0.8 * skill, answers, looks=dim is not None),
        Toy("sfat-mean", 0.3 * skill, answers, looks=dim is not None),
        Toy("sfat-text", 0.2 * skill, answers, looks=False),
    ]
    entrants = [
        Entrant(commenter=toy, trained=True, summary=f"{toy.name} <b>toy</b>", checkpoint_digest="0" * 64)
        for toy in toys
    ]
    entrants.append(
        Entrant(commenter=NeedsWords("needs-words", 1, answers, looks=False), trained=True, checkpoint_digest="0")
    )
    sets = build_candidates(workspace, dataset, "v1", k=4)
    return bench(workspace, dataset, sets, [*entrants, Length(), Popularity()], run_id="toy"), workspace


def plant(clip: Clip, index: int) -> Clip:
    """Hostile strings among the context and the answers of every clip, different in each."""
    context = tuple(
        Comment(offset_ms=clip.start_ms + 1000 * n, author="u", text=f"{text} {index}", emotes=("<i>x</i>",))
        for n, text in enumerate(HOSTILE)
    )
    answer = Comment(offset_ms=clip.start_ms + 21_000, author="u", text=f"{HOSTILE[index % 8]} answer {index}")
    changed = dataclasses.replace(clip, context=context + clip.context[:3], responses=(answer,))
    if clip.context_clip is None:
        return changed
    vectors = np.concatenate([np.repeat(clip.context_clip[:1], len(context), axis=0), clip.context_clip[:3]])
    return dataclasses.replace(changed, context_clip=vectors)


def add_video(workspace: Workspace, recording_id: str, *, seconds: int = 360) -> None:
    """A small H.264 video whose colour changes with time, and its recording.json."""
    import av

    path = workspace.raw_dir(recording_id) / "video.mp4"
    path.parent.mkdir(parents=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1)
        stream.width, stream.height, stream.pix_fmt = 128, 72, "yuv420p"
        stream.thread_count = 1
        across, down = np.meshgrid(np.arange(128), np.arange(72))
        for second in range(seconds):
            picture = np.stack([(across * 2 + second * 9) % 256, (down * 3 + second * 5) % 256, across + down], axis=2)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture.astype(np.uint8), format="rgb24")))
        container.mux(stream.encode())
    workspace.add_recording(
        Recording(recording_id=recording_id, platform="dummy", platform_id=recording_id, channel="", category="x",
                  duration_ms=seconds * 1000, video="video.mp4", num_messages=0, chat_digest="0")
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, dummies: ModuleType) -> tuple[Run, Workspace]:
    return make_run(tmp_path_factory.mktemp("report"), dummies)


@pytest.fixture(scope="module")
def page(made: tuple[Run, Workspace]) -> str:
    return write_report(*made).read_text(encoding="utf-8")


def visible(html: str) -> str:
    """The text between the tags, entities resolved, white space collapsed."""
    body = re.sub(r"<style>.*?</style>", " ", html, flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_every_figure_of_the_table_is_the_run_s(page: str, made: tuple[Run, Workspace]) -> None:
    run, _ = made
    table = re.search(r'<table class="results">.*?</table>', page, re.S)
    assert table
    for row in run.results["rows"]:
        rule = next(model["score_rule"] for model in run.info["models"] if model["name"] == row["model"])
        if row["stratum"] == "all" and row["rule"] == rule:
            for metric in ("R@1", "MRR"):
                figure = row["metrics"][metric]
                assert f"{figure['value']:.3f}" in table[0]
                if row["kind"] in ("model", "scorer"):
                    assert f"[{figure['low']:.3f}, {figure['high']:.3f}]" in table[0]
    for model in run.info["models"]:
        assert model["name"].replace("panel:-", "−").removeprefix("panel:") in table[0]
    for line in run.info["signatures"].values():
        assert line in page


def test_it_says_what_matters_in_words(page: str, made: tuple[Run, Workspace]) -> None:
    text = visible(page)
    run, _ = made
    first = next(r for r in run.results["comparisons"] if (r["a"], r["b"], r["metric"]) == ("sfat", "sfat-mean", "R@1"))
    interval = f"[{first['low']:+.3f}, {first['high']:+.3f}]".replace("-", "−")
    assert f"sfat − sfat-mean: {first['value']:+.3f} R@1 {interval} on {first['set']}; the interval excludes 0" in text
    assert "sfat is ahead of sfat-mean on all 3 sets." in text
    assert "Simulated data. The pictures and the chat in this run were made by a program." in text
    assert "skipped: needs transcript, which this dataset does not hold" in text
    assert re.search(r"sfat-text ?[a-z]* score: \w+ text-only", text)
    assert not re.search(r"sfat ?[a-z]* (score: \w+ )?text-only", text)
    assert re.search(r"All \d+ checks passed", text)


def test_nothing_in_the_page_runs_or_reaches_out(page: str) -> None:
    assert re.findall(r"<script|<iframe|<object|<embed|<form|@import|url\(", page, re.I) == []
    assert re.findall(r"\son\w+=", re.sub(r">[^<]*<", "><", page)) == []
    assert " style=" not in re.sub(r">[^<]*<", "><", page)
    assert set(re.findall(r'(?:src|href)="([^"#][^:"]*:)', page)) <= {"data:"}
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    style = re.search(r"<style>(.*?)</style>", page, re.S)
    assert policy and style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert "default-src 'none'" in policy[1] and f"'sha256-{digest}'" in policy[1]


def test_the_closer_look_is_the_run_s(page: str, made: tuple[Run, Workspace]) -> None:
    run, _ = made
    text = unescape(re.sub(r"<[^>]+>", " ", page))
    for row in run.results["letters"]:
        assert f'<sup class="letters">{row["letters"]}</sup>' in page
    for row in run.results["calibration"]:
        assert re.search(rf"{re.escape(row['model'])}\s+{row['set']}\s+{row['ece']:.3f}", text)
    ties = [row["tie_rate"] for row in run.results["diagnostics"] if row["model"] == "popularity"]
    assert re.search(rf"popularity\s+{np.mean(ties):.3f}", text)
    for by in ("chat-density", "truth-offset", "num-context"):
        bins = {row["bin"] for row in run.results["breakdowns"] if row["by"] == by}
        assert all(
            any(f"{name}, " in title for title in re.findall(r"<title>([^<]*)</title>", unescape(page)))
            for name in bins
        )
    best, worst = page.split('id="extremes"')[1].split("<h3>Worst</h3>")
    assert best.count("1.000") == 5
    assert worst.split("</section>")[0].count("<code>") == 5
    assert "What the old evaluation" not in page  # its defects were not measured here


def test_defects_that_were_measured_on_the_same_data_are_shown(made: tuple[Run, Workspace], tmp_path: Path) -> None:
    run, workspace = made
    row = {"switch": "order", "model": "constant", "set": "random", "released": {"R@1": 1.0}, "mended": {"R@1": 0.1}}
    path = workspace.root / "defects.json"
    try:
        write_json(path, {"data_digest": run.info["data_digest"], "rows": [row]})
        shown = write_report(run, workspace, num_clips=0).read_text()
        write_json(path, {"data_digest": "0" * 64, "rows": [row]})
        other = write_report(run, workspace, num_clips=0).read_text()
        path.write_text("{")
        broken = write_report(run, workspace, num_clips=0).read_text()
    finally:
        path.unlink()
    assert "What the old evaluation" in shown
    assert "order: −0.900 (constant on random)" in unescape(shown)
    assert "What the old evaluation" not in other + broken


def test_hostile_chat_is_shown_as_text(page: str) -> None:
    text = visible(page)
    for planted in HOSTILE[:4]:
        assert planted in text
    assert "<script>window" not in page and "<img src=x" not in page and "<i>x</i>" not in page
    assert "49" not in {word for word in text.split() if word == "49"}  # {{ 7*7 }} was not evaluated
    assert "a" * 199 + "…" in text and "a" * 201 not in text
    assert re.search(r'<bdi dir="auto">مرحبا', page)


def test_equal_runs_give_equal_bytes(page: str, made: tuple[Run, Workspace]) -> None:
    assert write_report(*made).read_text(encoding="utf-8") == page


def test_the_shown_clips_are_the_best_the_worst_and_drawn_ones(page: str, made: tuple[Run, Workspace]) -> None:
    run, _ = made
    quality: dict[str, list[float]] = {}
    for name in run.info["sets"]:
        table = run.ranking("sfat", name)
        for row in table[table.is_truth].itertuples():
            quality.setdefault(str(row.clip_id), []).append(1 / float(row.rank))
    mean = {clip: float(np.mean(values)) for clip, values in quality.items() if len(values) == len(run.info["sets"])}
    shown = re.findall(r'class="tag">([^<]*)</span></h3>\s*<p class="clip-id"><code>([^<]*)</code>', page)
    assert [why for why, _ in shown] == [
        "the model&#39;s best clip",
        *["drawn by hash"] * 4,
        "the model&#39;s worst clip",
    ]
    assert mean[shown[0][1]] == max(mean.values()) and mean[shown[-1][1]] == min(mean.values())
    assert len({clip for _, clip in shown}) == 6


def test_scores_truth_and_rank_of_a_clip_are_the_run_s(page: str, made: tuple[Run, Workspace]) -> None:
    run, _ = made
    article = page.split('<article class="exhibit">')[1]
    clip_id = re.search(r"<code>([^<]*)</code>", article)
    assert clip_id
    for name in run.info["sets"]:
        table = run.ranking("sfat", name)
        mine = table[table.clip_id == clip_id[1]].sort_values("score", ascending=False)
        block = article.split(f"<h4>{name} ")[1].split("</ol>")[0]
        scores = re.findall(r'class="score">([^<]*)<', block)
        assert scores == [f"{score:.2f}".replace("-", "−") for score in mine.score]
        assert [('class="truth"' in item) for item in block.split("<li")[1:]] == mine.is_truth.tolist()
        assert f"truth at rank {mine[mine.is_truth]['rank'].iloc[0]:g}" in block


def test_text_only_runs_have_no_pictures_and_no_promise_of_any(tmp_path: Path, dummies: ModuleType) -> None:
    run, workspace = make_run(tmp_path, dummies, dim=None, simulated=False, recordings=3)
    html = write_report(run, workspace, num_clips=2).read_text(encoding="utf-8")
    text = visible(html)
    assert "<img" not in html and "Under each frame" not in text and "Simulated" not in text
    assert "No intervals: the test split has 3 clusters (recordings)" in text and "Hollow: text-only" in text
    assert "no interval, only 3 clusters where 10 are needed" in text
    assert html.count('<article class="exhibit">') == 2
    assert "Comments over time" in html


def test_without_its_workspace_a_run_still_has_a_report(
    tmp_path: Path, made: tuple[Run, Workspace], dummies: ModuleType
) -> None:
    run, _ = made
    dummies.make_dataset(tmp_path)
    copy = Run.open(shutil.copytree(run.path, tmp_path / "runs" / "copy"))
    text = visible(write_report(copy, Workspace.open(tmp_path)).read_text(encoding="utf-8"))
    assert "No clips are shown: the shards in the workspace are not those that this run ranked." in text


def test_other_worlds_stand_beside_the_run(made: tuple[Run, Workspace], tmp_path: Path) -> None:
    run, workspace = made
    blind = shutil.copytree(run.path, tmp_path / "unrelated" / "runs" / "blind")
    metrics = read_json(blind / "metrics.json")
    for row in metrics["comparisons"]:
        row.update(value=0.004, low=-0.02, high=0.03, p_holm=0.8)
    write_json(blind / "metrics.json", metrics)
    report = write_report(run, workspace, num_clips=0, extra_runs=[Run.open(blind)])
    text = visible(report.read_text(encoding="utf-8"))
    assert "Compared with: unrelated" in text
    assert "sfat against sfat-mean: no difference is established on all 3 sets." in text
    assert "sfat − sfat-mean: +0.004 R@1 [−0.020, +0.030] on random4; the interval includes 0" in text


def test_a_failed_audit_is_said_first(made: tuple[Run, Workspace], tmp_path: Path) -> None:
    run, workspace = made
    broken = Run.open(shutil.copytree(run.path, tmp_path / "runs" / "broken"))
    info = read_json(broken.path / "run.json")
    info["audit"][0]["ok"] = False
    write_json(broken.path / "run.json", info)
    html = write_report(Run.open(broken.path), workspace, num_clips=0).read_text(encoding="utf-8")
    assert f"1 of {len(info['audit'])} checks failed: do not trust the numbers" in visible(html)
    assert html.count("FAILED") >= 1 and "No clips were asked for." in visible(html)


@pytest.mark.slow
def test_the_workspace_s_video_is_shown_with_its_weights(tmp_path: Path, dummies: ModuleType) -> None:
    run, workspace = make_run(tmp_path, dummies, recordings=2, video=True)
    html = write_report(run, workspace, num_clips=2).read_text(encoding="utf-8")
    pictures = re.findall(r'<img src="data:image/jpeg;base64,([^"]*)" alt="frame at ([^"]*)"', html)
    assert len(pictures) in (40, 50, 60)  # 30 frames a clip, 20 where it starts the recording
    from PIL import Image

    assert Image.open(io.BytesIO(base64.b64decode(pictures[0][0]))).size == (128, 72)
    articles = html.split('<article class="exhibit">')[1:]
    assert all(article.count('<svg class="weight"') == article.count("<img") for article in articles)
    run_weights = RunData(run).weights("sfat", {re.findall(r"<code>([^<]*)</code>", articles[0])[0]})
    (_, weights), *_ = run_weights.values()
    assert f"weight {weights.max():.3f}" in articles[0]


def test_comparisons_sum_up_what_the_intervals_say() -> None:
    def pair(*intervals: tuple[float, float] | None) -> Comparison:
        differences = [
            Difference(
                a="a", b="b", set=f"s{i}", metric="R@1", p_holm=None, num_clusters=12,
                value=Value(value=sum(bounds) / 2, low=bounds[0], high=bounds[1]) if bounds else Value(value=0.1),
            )
            for i, bounds in enumerate(intervals)
        ]  # fmt: skip
        return Comparison(a="a", b="b", differences=differences)

    ahead, behind, none = (0.1, 0.3), (-0.3, -0.1), (-0.1, 0.1)
    assert pair(ahead, ahead).summary == "a is ahead of b on all 2 sets."
    assert (
        pair(ahead, none, none).summary
        == "a is ahead of b on 1 of 3 sets; no difference is established on 2 of 3 sets."
    )
    assert pair(none).summary == "a against b: no difference is established on the one set."
    assert pair(ahead).flipped().summary == "b is behind a on the one set."
    assert pair(behind, ahead).flipped().differences[0].value == Value(value=0.2, low=0.1, high=0.3)
    assert pair(None).summary == "a against b: no interval, too few clusters to tell."
    assert [probability(p) for p in (0.00003, 0.0012, 0.04)] == ["< 0.0001", "0.0012", "0.04"]


def test_rows_hold_the_official_order(made: tuple[Run, Workspace]) -> None:
    data = RunData(made[0])
    official = [row.official.value for row in table_rows(data) if row.official]
    assert official == sorted(official, reverse=True)
    assert table_rows(data)[-1].skipped and {(pair.a, pair.b) for pair in comparisons(data)} >= {("sfat", "sfat-mean")}


def test_charts_escape_names_and_stay_inside(made: tuple[Run, Workspace]) -> None:
    dots = [Dot(label="<b>&", value=2.0, low=-1.0, high=3.0), Dot(label="x" * 40, value=0.0)]
    plot = interval_plot(dots, title='a"b', domain=(0, 1), reference=0.1, reference_label="chance")
    assert "<b>" not in plot and 'aria-label="a&#34;b"' in plot
    assert max(float(x) for x in re.findall(r'(?:cx|x1|x2)="([^"]*)"', plot)) <= 360
    assert ticks(0, 9) == [0, 2, 4, 6, 8]
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0] and ticks(-0.25, 1) == [-0.25, 0, 0.25, 0.5, 0.75, 1]
    empty = timeline([], None, [], span_ms=(0, 20_000), now_ms=20_000, title="nothing")
    assert "polygon" not in empty
    assert printable("a\x00b\x1b[31m\x9bc") == "ab[31mc"


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_browser_shows_it_without_a_complaint(made: tuple[Run, Workspace], width: int, scheme: str) -> None:
    """No console message, no request but for data, nothing planted ran, no sideways scrolling."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = write_report(*made)
    flags = "no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update"
    problems: list[str] = []
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[f"--{flag}" for flag in (*flags.split(), "disable-sync")]
        )
        tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        tab.on("console", lambda message: problems.append(message.text))
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on(
            "request", lambda request: problems.append(request.url) if request.url[:5] not in ("file:", "data:") else 0
        )
        tab.goto(path.as_uri())
        tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert tab.evaluate("typeof window.planted") == "undefined"
        assert tab.evaluate("document.scripts.length") == 0
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.evaluate("getComputedStyle(document.querySelector('.truth .bar')).fill") != "rgb(0, 0, 0)"
        headings = tab.evaluate("[...document.querySelectorAll('h2')].map(h => h.textContent)")
        browser.close()
    assert problems == []
    assert headings[0] == "Results" and "Clips" in headings
