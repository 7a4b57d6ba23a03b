"""A simulated dataset of the size of the published one, to measure speed with: text alone, written as real shards.

    dataset = full_size(Path("/tmp/full"))          # 876 recordings, 52,560 clips, about 3.2 M comments; a minute

Counts from FACTS §2 and §7: 438 hours in 11 categories, 61 comments a clip on average. Words follow Zipf's law,
recordings differ in how busy they are, and about two thirds of the texts occur once, as in real chat; a third
are the stock phrases that everyone types. Simulated: it says how long a step takes and nothing about chat.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from videochat.build import write_dataset
from videochat.dataset import Dataset
from videochat.schema import clip_id, shard_schema
from videochat.shards import Part
from videochat.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

NUM_RECORDINGS = 876
CLIPS_PER_RECORDING = 60  # half an hour
COMMENTS_PER_CLIP = 61.0
NUM_CATEGORIES = 11
RECORDINGS_PER_CHANNEL = 2
NUM_WORDS = 60_000
NUM_PHRASES = 3_000
PHRASE_SHARE = 0.33
WORDS_PER_COMMENT = 5.0  # mean of a Poisson, plus 1: the real chats of the fixtures have 5.9
CONTEXT_SHARE = 2 / 3  # 20 of 30 seconds


def full_size(
    folder: Path,
    *,
    num_recordings: int = NUM_RECORDINGS,
    comments_per_clip: float = COMMENTS_PER_CLIP,
    seed: int = 0,
) -> Dataset:
    """Write the shards into the workspace `folder` and open them. Of every ten channels one is dev, one is test."""
    workspace = Workspace.open(folder, create=True)
    random = np.random.default_rng([seed, 0])
    words = _words(random)
    phrases = _texts(words, random, NUM_PHRASES)
    busy = random.lognormal(sigma=0.7, size=num_recordings)
    busy *= comments_per_clip / busy.mean()
    parts = []
    for number in range(num_recordings):
        channel = number // RECORDINGS_PER_CHANNEL
        split = {8: "dev", 9: "test"}.get(channel % 10, "train")
        category = f"Category {channel // 10 % NUM_CATEGORIES:02}"
        read = partial(_rows, number, split, category, float(busy[number]), words, phrases, seed)
        size = int(busy[number] * CLIPS_PER_RECORDING)
        parts.append(
            (split, category, _name(number), Part(num_clips=CLIPS_PER_RECORDING, num_bytes=60 * size, read=read))
        )
    facts = {"simulated": True, "split_by": "channel", "clip_fingerprint": None}
    write_dataset(workspace, parts, dim=None, facts=facts)
    return Dataset.open(folder)


def _name(number: int) -> str:
    return f"sim-{number:04}"


def _words(random: np.random.Generator) -> NDArray[np.str_]:
    """Pronounceable words, each once, short ones first: the frequent words are the short ones."""
    syllables = np.array([a + b for a in "bcdfghklmnprstvw" for b in ("a", "e", "i", "o", "u", "ay", "ee", "er")])
    drawn = random.integers(len(syllables), size=(3 * NUM_WORDS, 4))
    sizes = random.integers(1, 5, size=3 * NUM_WORDS)
    found = list(dict.fromkeys("".join(syllables[row[:n]]) for row, n in zip(drawn, sizes.tolist(), strict=True)))
    return np.array(sorted(found[:NUM_WORDS], key=len))


def _zipf(random: np.random.Generator, size: int, num: int) -> NDArray[np.int64]:
    """Ranks in [0, num) with probability proportional to about 1/(rank + 3)."""
    return np.asarray(3 * (np.exp(random.random(size) * np.log1p(num / 3)) - 1)).astype(np.int64).clip(0, num - 1)


def _texts(words: NDArray[np.str_], random: np.random.Generator, num: int) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    bounds = np.concatenate([[0], np.cumsum(1 + random.poisson(WORDS_PER_COMMENT, size=num))])
    chosen = pa.array(words).take(pa.array(_zipf(random, int(bounds[-1]), len(words))))
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(bounds, pa.int32()), chosen), " ")


def _rows(
    number: int, split: str, category: str, busy: float, words: NDArray[np.str_], phrases: pa.Array, seed: int
) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    random = np.random.default_rng([seed, 1, number])
    starts = np.arange(CLIPS_PER_RECORDING, dtype=np.int64) * 30_000
    columns: dict[str, Any] = {}
    for name, share, after, length in (
        ("context", CONTEXT_SHARE, 0, 20_000),
        ("responses", 1 - CONTEXT_SHARE, 20_000, 10_000),
    ):
        sizes = 1 + random.poisson(max(0.0, busy * share - 1), size=CLIPS_PER_RECORDING)
        total = int(sizes.sum())
        own = _texts(words, random, total)
        stock = phrases.take(pa.array(_zipf(random, total, len(phrases))))
        texts = pc.if_else(pa.array(random.random(total) < PHRASE_SHARE), stock, own)
        times = np.repeat(starts + after, sizes) + random.integers(length, size=total)
        times = times[np.lexsort((times, np.repeat(starts, sizes)))]
        users = pa.array(random.integers(int(busy * 20) + 1, size=total)).cast(pa.string())
        nothing = pa.ListArray.from_arrays(pa.array(np.zeros(total + 1, np.int32)), pa.array([], pa.string()))
        said = pa.StructArray.from_arrays(
            [pa.array(times, pa.int32()), pc.binary_join_element_wise("u_", users, ""), texts, nothing],
            ["offset_ms", "author", "text", "emotes"],
        )
        columns[name] = pa.ListArray.from_arrays(pa.array(np.concatenate([[0], np.cumsum(sizes)]), pa.int32()), said)
    same = {"recording_id": _name(number), "channel_id": f"c_{number // RECORDINGS_PER_CHANNEL:04}", "language": "en"}
    columns |= {name: [value] * CLIPS_PER_RECORDING for name, value in same.items()}
    columns |= {"split": [split] * CLIPS_PER_RECORDING, "category": [category] * CLIPS_PER_RECORDING}
    columns |= {"start_ms": starts, "context_end_ms": starts + 20_000, "end_ms": starts + 30_000}
    columns["clip_id"] = [clip_id(_name(number), start) for start in starts.tolist()]
    columns |= {"transcript": [[]] * CLIPS_PER_RECORDING, "flags": [[]] * CLIPS_PER_RECORDING}
    schema = shard_schema(None)
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)
