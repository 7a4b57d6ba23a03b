"""The main job from end to end on simulated data: the mechanism at work, and a world where it must not win.

Two worlds share their videos. In `screen` the chat refers to what is shown; in `unrelated` it does not. In both, SFAT
is compared with its own variants; the tables and the report say whether the paired differences exclude zero.

    run, control = run_demo(Path("videochat-demo"), seed=0)

It belongs to the outermost layer, like `videochat.api`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import api
from .dataset import Dataset
from .errors import VideochatError
from .progress import say
from .workspace import Workspace
from .zoo import Job, train_all

if TYPE_CHECKING:
    from .benchmark.runs.run import Run

SCREEN_MODELS = ("sfat", "sfat-mean", "sfat-text", "sfat-oracle")
UNRELATED_MODELS = ("sfat", "sfat-mean")


@dataclass(frozen=True, kw_only=True)
class DemoSize:
    """How much is simulated. The default is what FACTS §9 found to fit five minutes on two cores."""

    num_recordings: int = 60
    minutes: float = 12  # 24 clips: two groups of 10 without neighbours, and four to spare
    split_fractions: tuple[float, float, float] = (0.68, 0.1, 0.22)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Say on stderr what begins and how long it took."""
    begin = time.monotonic()
    say(f"── {name}")
    yield
    say(f"   {time.monotonic() - begin:.0f} s")


def run_demo(folder: Path, *, seed: int = 0, size: DemoSize | None = None) -> tuple[Run, Run]:
    """The whole chain for both worlds; returns the run of `screen` and the run of `unrelated`.

    Each step resumes where an earlier call stopped.
    """
    from .benchmark.report import write_report

    size = size or DemoSize()
    screen = prepare(folder / "screen", world="screen", seed=seed, size=size)
    unrelated = prepare(folder / "unrelated", world="unrelated", seed=seed, size=size, videos=screen)
    with stage("train SFAT and its variants (MLM, then teacher forcing), two at a time"):
        jobs = [(screen, "sfat"), (unrelated, "sfat")]  # first: they make the MLM stage that the others share
        jobs += [(screen, name) for name in SCREEN_MODELS[1:]] + [(unrelated, name) for name in UNRELATED_MODELS[1:]]
        with screen.lock(), unrelated.lock():
            device = api.pick_device("auto")
            todo = [Job(root=str(w.root), name=name, seed=w.settings.seed, device=device) for w, name in jobs]
            for outcome in train_all(todo):
                if not outcome.ranked:
                    raise VideochatError(f"{outcome.name}: {outcome.reason}", fix="mend that, then run this again")
    with stage("rank on three candidate sets"):
        run = rank(screen, SCREEN_MODELS)
        control = rank(unrelated, UNRELATED_MODELS)
    with stage("report"):
        write_report(control, unrelated)
        write_report(run, screen, extra_runs=[control])
    return run, control


def prepare(folder: Path, *, world: str, seed: int, size: DemoSize, videos: Workspace | None = None) -> Workspace:
    """Simulate, clean, embed, build and draw candidate sets for one world. videos: a world to take the videos from."""
    from .build import build
    from .cleaning.run import clean
    from .frames.features import build_features
    from .sample.generate import generate

    workspace = Workspace.open(folder, create=True, seed=seed, clip="sample", split_fractions=size.split_fractions)
    shared = None if videos is None else videos.root
    with workspace.lock():
        with stage(f"simulate {size.num_recordings} recordings of {size.minutes:g} minutes: world '{world}'"):
            generate(
                workspace, world=world, num_recordings=size.num_recordings, minutes=size.minutes, videos_from=shared
            )
        with stage("clean"):
            clean(workspace)
        with stage("CLIP features"):
            build_features(workspace, device="auto", reuse=shared)
        with stage("shards and candidate sets"):
            build(workspace)
            api.candidates(Dataset.open(workspace.root))
    return workspace


def rank(workspace: Workspace, models: Sequence[str]) -> Run:
    """Rank the models, the ceiling and the scorers of one world."""
    dataset = Dataset.open(workspace.root)
    with workspace.lock():
        return api.evaluate([*models, "ceiling", "clip-zero-shot", *api.SCORERS], dataset)
