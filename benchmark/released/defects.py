"""What each defect of the released evaluation is worth: one switched at a time, on the same clips and models.

    measured = measure(workspace, dataset, make_model, seed=0)      # a JSON value, for `defects_page.to_markdown`

Half of the stored test clips are tested everywhere. The other half goes into the training of the leaked split in place
of as many other clips, so that a leaked and a clean model learn from equally many clips and meet the same test. A
difference is the mended figure minus the released one, paired by clip, with an interval over clusters where there are
ten. Values of a clip are averaged over clips, but for the averaging itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import videochat
from videochat.commenter import Commenter, view
from videochat.errors import UsageError
from videochat.files import stable_hash
from videochat.progress import progress, say

from ..candidates.build import assemble
from ..metrics.ranks import METRICS as ALL_METRICS
from ..metrics.ranks import RECIPROCAL_RANK, Recall, tie_counts
from ..metrics.statistics import Bootstrap, macro_mean
from ..protocols import PROTOCOLS
from ..scorers.baselines import Constant, Length, Popularity, Random, TfIdfToContext
from .clips import ReleasedDataset, redrawn, stored_split
from .lists import StoredLists, facts_of, make_lists
from .protocol import RELEASED, SETS, SWITCHES, ReleasedProtocol, mended
from .ranker import ReleasedRanker
from .ranking import METRICS, tie_facts
from .shortcuts import RecordingFrequency, Reversed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from videochat.dataset import Dataset
    from videochat.workspace import Workspace

    Floats = NDArray[np.float64]

FORMAT = 1
OF_LISTS = frozenset({"truth", "own_context", "duplicates", "selection"})  # switches that change the candidates
OF_MODELS = frozenset({"candidate_tokens", "scoring", "frames"})  # switches that no simple scorer notices
SHOWN = ("R@1", "MRR")
NUM_DRAWS = 5  # of the contexts, to see how far a figure moves by itself
TIE_SIZES = (10, 20)


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model with weights, however it is switched.

    make: (protocol, dataset) -> the model trained on the dataset's training clips, scored as the protocol says.
    pieces: (commenter, text) -> all word pieces of a text.
    """

    name: str
    make: Callable[[ReleasedProtocol, ReleasedDataset], Commenter]
    pieces: Callable[[Commenter, str], Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class Halves:
    """tested: clip ids. leaked, clean: clip id -> split, with equally many training clips and the same test."""

    tested: frozenset[str]
    leaked: Mapping[str, str]
    clean: Mapping[str, str]

    @classmethod
    def of(cls, dataset: Dataset, *, seed: int, limit: int | None = None) -> Halves:
        """limit: test at most so many clips. Raises UsageError if the shards have no training or no test clips."""
        stored = stored_split(dataset)
        parts = {
            split: sorted(
                (clip for clip, here in stored.items() if here == split),
                key=lambda clip: (stable_hash(seed, "halves", clip), clip),
            )
            for split in ("train", "test")
        }
        if len(parts["train"]) < 2 or len(parts["test"]) < 2:
            raise UsageError("these shards have no training or no test clips", fix="build with both splits")
        half = (len(parts["test"]) + 1) // 2
        tested, rest = parts["test"][:half], parts["test"][half:]
        tested, rest = tested[:limit], rest[: len(parts["train"]) - 1]
        test = dict.fromkeys(tested, "test")
        return cls(
            tested=frozenset(tested),
            leaked=test | dict.fromkeys([*parts["train"][len(rest) :], *rest], "train"),
            clean=test | dict.fromkeys(parts["train"], "train"),
        )


def measure(
    workspace: Workspace,
    dataset: Dataset,
    models: Sequence[Model] = (),
    *,
    seed: int = 0,
    limit: int | None = None,
    switches: Sequence[str] = tuple(SWITCHES),
) -> dict[str, Any]:
    """Figures of every switch, of what leaks in each protocol, and of ties by list length. limit: of the test clips."""
    bench = _Bench(workspace, dataset, tuple(models), seed, limit)
    rows: list[dict[str, Any]] = []
    facts: dict[str, Any] = {"lists": facts_of(bench.lists(RELEASED), RELEASED.k)}
    with progress(what="defects", total=len(switches) + 2, unit="switch") as bar:
        for switch in switches:
            rows += bench.switched(switch)
            bar.update(1)
        facts |= {"ties": bench.ties(), "draws": bench.draws(), "pieces": bench.pieces()}
        bar.update(1)
        protocols = bench.protocols()
        bar.update(1)
    return {
        "format": FORMAT,
        "tool": videochat.__version__,
        "name": str(dataset.manifest.get("name", "")),
        "data_digest": dataset.digest,
        "simulated": dataset.simulated,
        "split_by": dataset.split_by,
        "num_test_clips": len(bench.halves.tested),
        "num_train_clips": sum(split == "train" for split in bench.halves.clean.values()),
        "num_clusters": len(bench.test_clusters()),
        "num_recordings": len({row.recording_id for row in bench.lists(RELEASED).rows}),
        "seed": seed,
        "limit": limit,
        "numpy": np.__version__,
        "models": [model.name for model in models],
        "facts": facts,
        "protocols": protocols,
        "rows": rows,
    }


class _Bench:
    """Commenters, rankers and scores by protocol, each made once."""

    def __init__(
        self, workspace: Workspace, dataset: Dataset, models: tuple[Model, ...], seed: int, limit: int | None
    ) -> None:
        self.workspace, self.dataset, self.models, self.seed, self.limit = workspace, dataset, models, seed, limit
        self.halves = Halves.of(dataset, seed=seed, limit=limit)
        self.clusters = dataset.clusters()
        self.frequency = RecordingFrequency(dataset)
        self._lists: dict[tuple[Any, ...], Any] = {}
        self._scorers: dict[str, list[Commenter]] = {}
        self._scores: dict[tuple[Any, ...], tuple[Commenter, Floats]] = {}  # with its scorer, so that no id comes back
        self.clips = {clip.clip_id: clip for clip in dataset.clips("test")}

    # -- what is ranked

    def data(self, protocol: ReleasedProtocol) -> ReleasedDataset:
        assignment = self.halves.leaked if protocol.split == "random-clips" else self.halves.clean
        return ReleasedDataset(self.dataset, protocol, seed=self.seed, assignment=assignment)

    def lists(self, protocol: ReleasedProtocol) -> Any:
        key = (*(getattr(protocol, switch) for switch in sorted(OF_LISTS)), protocol.k)
        if key not in self._lists:
            self._lists[key] = make_lists(self.dataset, protocol, self.halves.tested, seed=self.seed)
        return self._lists[key]

    def ranker(self, protocol: ReleasedProtocol, clip_ids: frozenset[str], *, draw: int = 0) -> ReleasedRanker:
        rows: list[StoredLists] = [row for row in self.lists(protocol).rows if row.clip_id in clip_ids]
        data, seed = self.data(protocol), self.seed
        return ReleasedRanker(self.workspace, data, rows, protocol, seed=seed, draw=draw, clips=self.clips)

    def scores(self, commenter: Commenter, ranker: ReleasedRanker, kind: str, *, draw: int = 0) -> Floats:
        """float64 (n, K). What a scorer is asked twice, with the same candidates and views, it answers once."""
        if isinstance(commenter, Reversed):
            return -self.scores(commenter.commenter, ranker, kind, draw=draw)
        asked = ranker.protocol
        shown = (asked.k, asked.context, asked.frames, asked.split, draw)
        lists = tuple(getattr(asked, switch) for switch in sorted(OF_LISTS))
        key = (id(commenter), kind, shown, lists, tuple(row.clip_id for row in ranker.rows))
        if key not in self._scores:
            self._scores[key] = commenter, ranker.stored_scores(commenter, kind)
        return np.take_along_axis(self._scores[key][1], ranker.order(kind), axis=1)

    # -- who ranks

    def scorers(self, protocol: ReleasedProtocol) -> list[Commenter]:
        """The simple scorers and their reverses, fitted on the training clips."""
        if protocol.split not in self._scorers:
            made: list[Any] = [Random(self.seed), Constant(), Length(), Popularity(), TfIdfToContext(), self.frequency]
            clips = list(self.data(protocol).clips("train"))
            for scorer in made:
                if callable(fit := getattr(scorer, "fit", None)):
                    fit(clips)
            self._scorers[protocol.split] = [*made, *(Reversed(scorer) for scorer in made[2:])]
        return self._scorers[protocol.split]

    def trained(self, protocol: ReleasedProtocol) -> list[Commenter]:
        data = self.data(protocol)
        return [model.make(protocol, data) for model in self.models if self.runs(model, protocol, data)]

    def runs(self, model: Model, protocol: ReleasedProtocol, data: ReleasedDataset) -> bool:
        return not set(model.make(protocol, data).needs) - self.dataset.provides

    # -- figures

    def switched(self, switch: str) -> list[dict[str, Any]]:
        """Rows of one switch: each commenter on each set, released and mended."""
        other = mended(switch)
        common = frozenset(row.clip_id for row in self.lists(RELEASED).rows) & frozenset(
            row.clip_id for row in self.lists(other).rows
        )
        before, after = self.ranker(RELEASED, common), self.ranker(other, common)
        pairs = [] if switch in OF_MODELS else list(zip(self.scorers(RELEASED), self.scorers(other), strict=True))
        if switch != "frames" or self.dataset.dim is not None:
            pairs += zip(self.trained(RELEASED), self.trained(other), strict=True)
        rows = []
        for first, second in pairs:
            if switch == "scoring" and getattr(first, "scoring", "") == getattr(second, "scoring", ""):
                continue  # a model without such a decode is ranked by its likelihood either way
            for kind in SETS:
                scores = self.scores(first, before, kind), self.scores(second, after, kind)
                rows.append(
                    {
                        "switch": switch,
                        "model": first.name,
                        "set": kind,
                        "num_clips": len(common),
                        **self.compared(before, after, scores, kind),
                    }
                )
        return rows

    def compared(
        self, before: ReleasedRanker, after: ReleasedRanker, scores: tuple[Floats, Floats], kind: str
    ) -> dict[str, Any]:
        """Released, mended and their difference, for R@1 and MRR."""
        if before.protocol.averaging != after.protocol.averaging:
            old, new = before.means(scores[0], kind), after.means(scores[1], kind)
            plain = {name: _cell(new[name] - old[name]) for name in SHOWN}
            return {
                "released": {n: old[n] for n in SHOWN},
                "mended": {n: new[n] for n in SHOWN},
                "difference": plain,
            }
        columns = [[metric.name for metric in METRICS].index(name) for name in SHOWN]
        first = before.values(scores[0], kind)[:, columns]
        second = after.values(scores[1], kind)[:, columns]
        names = sorted({self.clusters[row.clip_id] for row in before.rows})
        codes = np.array([names.index(self.clusters[row.clip_id]) for row in before.rows])
        mean = macro_mean(second - first, np.zeros_like(codes), codes, Bootstrap(len(names), seed=self.seed))
        low, high = mean.interval()
        return {
            "released": {name: _round(first[:, i].mean()) for i, name in enumerate(SHOWN)},
            "mended": {name: _round(second[:, i].mean()) for i, name in enumerate(SHOWN)},
            "difference": {name: _cell(mean.point[i], low[i], high[i]) for i, name in enumerate(SHOWN)},
        }

    def ties(self) -> list[dict[str, Any]]:
        """A constant scorer by length and order of the list, with the sort's ties: R@1."""
        rows = []
        for k in TIE_SIZES:
            for order in SWITCHES["order"]:
                protocol = dataclasses.replace(RELEASED, k=k, order=order)
                ranker = self.ranker(protocol, self.halves.tested)
                means = ranker.means(ranker.scores(Constant(), "random"), "random")
                rows.append({"k": k, "order": order, "metrics": means})
        return [*rows, {"local": tie_facts()}]

    def draws(self) -> dict[str, Any]:
        """How many of the drawn comments differ, and how far a figure moves from draw to draw."""
        own: list[tuple[int, int]] = []
        for clip in self.data(RELEASED).clips("test"):
            seen = {comment.text for comment in clip.context}
            generator = np.random.default_rng(stable_hash(self.seed, clip.clip_id, "context", 0))
            own.append((len(set(redrawn(clip.context, RELEASED.test_draws, generator))), len(seen)))
        known = [c for c in self.scorers(RELEASED) if c.name == "tfidf"] + self.trained(RELEASED)
        moved: dict[str, list[float]] = {commenter.name: [] for commenter in known}
        for draw in range(NUM_DRAWS):
            ranker = self.ranker(RELEASED, self.halves.tested, draw=draw)
            for commenter in known:
                means = ranker.means(self.scores(commenter, ranker, "cosine", draw=draw), "cosine")
                moved[commenter.name].append(means["R@1"])
        drawn, there = np.array(own).mean(axis=0)
        return {"distinct_drawn": _round(drawn), "distinct_said": _round(there), "cosine R@1 by draw": moved}

    def pieces(self) -> dict[str, Any]:
        """Of each model's word pieces: candidates that are cut, and clips where the truth then equals another."""
        found: dict[str, Any] = {}
        for model, commenter in zip(self.models, self.trained(RELEASED), strict=False):
            most = RELEASED.candidate_tokens
            known: dict[str, tuple[int, ...]] = {}
            cut, equal, total = 0, 0, 0
            rows = self.lists(RELEASED).rows
            for row in rows:
                alike = False
                for kind in SETS:
                    texts = row.candidates(kind, RELEASED.k)
                    for text in texts:
                        if text not in known:
                            known[text] = tuple(model.pieces(commenter, text))
                        cut += len(known[text]) > most
                        total += 1
                    start = known[row.truth][:most]
                    alike |= any(text != row.truth and known[text][:most] == start for text in texts[1:])
                equal += alike
            found[model.name] = {
                "cut": _round(cut / max(1, total)),
                "truth_equals_another": _round(equal / max(1, len(rows))),
            }
        return found

    def protocols(self) -> list[dict[str, Any]]:
        """R@1 and MRR of everybody under released-2025, under all of it mended, and under classic and v1."""
        everything = mended(*SWITCHES)
        rows = []
        for protocol in (RELEASED, everything):
            ranker = self.ranker(protocol, self.halves.tested)
            for commenter in [*self.scorers(protocol), *self.trained(protocol)]:
                for kind in SETS:
                    means = ranker.means(self.scores(commenter, ranker, kind), kind)
                    rows.append(self.row("released" if protocol is RELEASED else "mended", commenter, kind, means))
        commenters = [*self.scorers(everything), *self.trained(everything)]
        for name in ("classic", "v1"):
            rows += self.sound(name, commenters)
        return rows

    def row(self, protocol: str, commenter: Commenter, kind: str, means: Mapping[str, float]) -> dict[str, Any]:
        return {"protocol": protocol, "model": commenter.name, "set": kind, **{n: means[n] for n in SHOWN}}

    def sound(self, protocol: str, commenters: Sequence[Commenter]) -> list[dict[str, Any]]:
        """All stored test clips, in whole groups, with expected ties and views that end before the answers."""
        try:
            sets = assemble(self.workspace, self.dataset, PROTOCOLS[protocol])
        except UsageError as error:
            say(f"{protocol} is left out: {error.what}")
            return []
        sets = sets if self.limit is None else sets.first(self.limit)
        rows = []
        for part in (part.split("test") for part in sets.values() if part.k == RELEASED.k):
            if not len(part):
                continue
            shown = [view(self.clips[clip_id]) for clip_id in part.clip_ids.tolist()]
            for commenter in commenters:
                plain = commenter.commenter if isinstance(commenter, Reversed) else commenter
                answers: list[Any] = []
                for start in range(0, len(shown), RELEASED.batch_clips):
                    block = slice(start, start + RELEASED.batch_clips)
                    answers += plain.score(shown[block], part.candidates[block].tolist(), sets.texts)
                scores = np.stack([answer.score for answer in answers]) * (1.0 if plain is commenter else -1.0)
                counts = tie_counts(scores, part.candidates, part.truths, what=commenter.name)
                means = {m.name: _round(m.values(counts).mean()) for m in ALL_METRICS if m.name in SHOWN}
                rows.append(self.row(protocol, commenter, part.kind, means))
        return rows

    def test_clusters(self) -> set[str]:
        return {self.clusters[row.clip_id] for row in self.lists(RELEASED).rows}


def chance(k: int = RELEASED.k) -> dict[str, float]:
    return {"R@1": Recall(1).chance(k), "MRR": RECIPROCAL_RANK.chance(k)}


def _round(value: Any) -> float:
    return round(float(value), 6)


def _cell(value: Any, low: Any = float("nan"), high: Any = float("nan")) -> dict[str, float | None]:
    """A difference with its interval; None where the clusters are too few."""
    bounds = {name: None if np.isnan(bound) else _round(bound) for name, bound in (("low", low), ("high", high))}
    return {"value": _round(value), **bounds}
