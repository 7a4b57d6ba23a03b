"""How often the intervals of a table hold the truth and its tests cry wolf: simulated, at 10, 30 and 100 clusters.

    python -m videochat.benchmark.interval_coverage              # the table, nominal .95
    python -m videochat.benchmark.interval_coverage --json

Each world is a population of channels: a model's chance to rank the truth first varies between channels and, for a
pair of models, so does their difference. Tables are drawn from it, with the benchmark's own `macro_mean` and
`sign_flip_p`, and it is counted how often the 95 % interval holds the population's value. A channel has 20 clips on
average; even: each has as many, uneven: log-normal numbers of clips (sigma 1), as real channels have.

    set        the mean over the clips of one set
    official   macro over 5 categories, mean of three sets
    gain       the paired difference of two models that differ by .05
    test       share of sign-flip tests with p < .05 between two models that do not differ; nominal .05
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from videochat.files import stable_hash

from .metrics.statistics import LEVEL, Bootstrap, Resampled, cluster_sums, macro_mean, sign_flip_p

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

NUM_CLUSTERS = (10, 30, 100)
SIZES = ("even", "uneven")
NUM_CATEGORIES = 5
NUM_SETS = 3
CLIPS_PER_CLUSTER = 20
BASE, SPREAD = 0.4, 0.15  # share of truths ranked first, and its standard deviation between channels
GAIN, GAIN_SPREAD = 0.05, 0.05  # of two models, and how much it varies between channels
K = 10
NUM_TABLES = 1_000
STEP = 100  # tables that share one bootstrap: bounds memory to 100 columns of 10,000 samples
ALPHA = 0.05


def coverage(
    num_clusters: int, sizes: str, *, num_tables: int = NUM_TABLES, num_samples: int = 10_000, seed: int = 0
) -> list[dict[str, Any]]:
    """One row for each statistic: {statistic, num_clusters, sizes, share, error, nominal}.

    share: of the tables whose interval holds the population's value (for the test: with p < .05). error: the standard
    error of that share from counting `num_tables`.
    """
    held: dict[str, list[NDArray[np.bool_]]] = {}
    for start in range(0, num_tables, STEP):
        num = min(STEP, num_tables - start)
        random = np.random.default_rng(stable_hash(seed, "coverage", num_clusters, sizes, start))
        bootstrap = Bootstrap(num_clusters, seed=start, num_samples=num_samples)
        clusters = _clusters(random, num_clusters, sizes)
        categories = clusters % NUM_CATEGORIES
        for name, found in _tables(random, clusters, categories, num, bootstrap).items():
            held.setdefault(name, []).append(found)
    rows = []
    for name, parts in held.items():
        share = float(np.concatenate(parts).mean())
        nominal = ALPHA if name == "test" else LEVEL
        error = float(np.sqrt(nominal * (1 - nominal) / num_tables))
        rows.append({"statistic": name, "num_clusters": num_clusters, "sizes": sizes, "share": share})
        rows[-1] |= {"error": error, "nominal": nominal}
    return rows


def _clusters(random: np.random.Generator, num_clusters: int, sizes: str) -> NDArray[np.int64]:
    """The cluster of each clip."""
    counts = np.full(num_clusters, CLIPS_PER_CLUSTER)
    if sizes == "uneven":
        drawn = random.lognormal(sigma=1.0, size=num_clusters)
        counts = np.maximum(2, np.rint(CLIPS_PER_CLUSTER * drawn / drawn.mean())).astype(np.int64)
    return np.repeat(np.arange(num_clusters), counts)


def _reciprocal_ranks(random: np.random.Generator, chances: Floats) -> Floats:
    """1/rank of clips whose truth is first with the given chance, else anywhere from 2 to K."""
    first = random.random(chances.shape) < chances
    return np.asarray(np.where(first, 1.0, 1.0 / random.integers(2, K + 1, size=chances.shape)))


def _mean_of(chance: float) -> float:
    """The expected 1/rank: a straight line in the chance, so the mean over channels has the mean chance."""
    return chance + (1 - chance) * float(np.mean(1.0 / np.arange(2, K + 1)))


def _tables(
    random: np.random.Generator,
    clusters: NDArray[np.int64],
    categories: NDArray[np.int64],
    num: int,
    bootstrap: Bootstrap,
) -> dict[str, NDArray[np.bool_]]:
    """For each statistic whether each of `num` tables held (or, for the test, cried wolf)."""
    shape = (bootstrap.num_clusters, num)
    plain = np.zeros_like(clusters)

    def normal(spread: float) -> Floats:
        return np.clip(random.standard_normal(shape), -2, 2) * spread  # symmetric: clipping leaves the mean

    def holds(mean: Resampled, value: float) -> NDArray[np.bool_]:
        low, high = mean.interval()
        return np.asarray((low <= value) & (value <= high))

    channel = BASE + normal(SPREAD)
    single = macro_mean(_reciprocal_ranks(random, channel[clusters]), plain, clusters, bootstrap)
    levels = 0.05 * (np.arange(NUM_CATEGORIES) - (NUM_CATEGORIES - 1) / 2)  # categories are not equally hard
    hard = channel[clusters] + levels[categories][:, None]
    sets = [macro_mean(_reciprocal_ranks(random, hard), categories, clusters, bootstrap) for _ in range(NUM_SETS)]
    better = channel + GAIN + normal(GAIN_SPREAD)
    gain = _reciprocal_ranks(random, better[clusters]) - _reciprocal_ranks(random, channel[clusters])
    other = channel + normal(GAIN_SPREAD)
    none = _reciprocal_ranks(random, other[clusters]) - _reciprocal_ranks(random, channel[clusters])
    sums = cluster_sums(none, clusters, bootstrap.num_clusters)
    return {
        "set": holds(single, _mean_of(BASE)),
        "official": holds(Resampled.average(sets), _mean_of(BASE)),
        "gain": holds(macro_mean(gain, plain, clusters, bootstrap), _mean_of(BASE + GAIN) - _mean_of(BASE)),
        "test": sign_flip_p(sums, seed=bootstrap.seed, num_flips=bootstrap.num_samples) < ALPHA,
    }


def to_text(rows: Sequence[dict[str, Any]]) -> str:
    """One line for each number of clusters and kind of sizes, the statistics side by side."""
    from .runs.table import aligned, short

    names = list(dict.fromkeys(row["statistic"] for row in rows))
    found = {(row["num_clusters"], row["sizes"], row["statistic"]): row["share"] for row in rows}
    lines = [["clusters", "clips", *names]]
    for num, sizes in dict.fromkeys((row["num_clusters"], row["sizes"]) for row in rows):
        lines.append([str(num), sizes, *(short(found[num, sizes, name]) for name in names)])
    lines.append(["nominal", "", *(short(ALPHA if name == "test" else LEVEL) for name in names)])
    error = max(row["error"] for row in rows)
    return f"{aligned(lines, rules=[1, len(lines) - 1])}\nstandard error of a share: {short(error)}"


def main(arguments: Sequence[str] | None = None, *, echo: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(description="Simulated coverage of the intervals of a table.")
    parser.add_argument("--tables", type=int, default=NUM_TABLES, help="tables for each layout (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    layouts = [(num, sizes) for num in NUM_CLUSTERS for sizes in SIZES]
    rows = [row for num, sizes in layouts for row in coverage(num, sizes, num_tables=options.tables)]
    echo(json.dumps(rows, indent=2) if options.json else to_text(rows))


if __name__ == "__main__":
    main()
