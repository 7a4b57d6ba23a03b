"""How long candidate sets take at full size, and how much faster they are made than by the released procedure.

    python -m videochat.benchmark.speed.candidates_scale            # 52,560 clips; some minutes, most to simulate them
    python -m videochat.benchmark.speed.candidates_scale --small    # a tenth of it

First the whole command at full size: simulated chats (full_size.py) read from their shards, then the three sets of `v1`
and of `classic` with 10 and with 100 candidates for the test split, with their digests, each protocol in a process of
its own. Limits: 60 s of processor time for both together, 4 GB at the peak. Wall time is printed too; it is the same on
a free machine, as all of it goes by one thread, and longer beside other work.

Then, side by side in one process and with one thread, the sets of `classic` with 10 candidates for the same clips, from
comments in memory: as the toolkit makes them (texts numbered, keys, training statistics, one product a recording), and
as the released code does it (FACTS §3): TfidfVectorizer of scikit-learn fitted anew for every clip on its joined
context and all comments of the recording, the truth the response nearest to the context, 20 similar, 20 popular and 39
random ones. Asked: 30 times faster.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from videochat.dataset import Dataset
from videochat.workspace import Workspace

from ..candidates.build import assemble
from ..candidates.classic import make_classic
from ..candidates.material import Material
from ..protocols import PROTOCOLS
from ..texts.corpus import Corpus
from .full_size import NUM_RECORDINGS, full_size

SIZES = (10, 100)
NAMES = ("v1", "classic")
LIMIT_SECONDS, LIMIT_GB, ASKED = 60.0, 4.0, 30.0
STORED = (20, 20, 39)  # similar, popular and random candidates that the released code stores
RIVAL_CLIPS = 60  # clips that the rival is given: one recording; it takes as long for each


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a tenth of the recordings")
    parser.add_argument("--data", type=Path, help="keep the simulated data set in this folder, or take it from there")
    options = parser.parse_args()
    num_recordings = NUM_RECORDINGS // 10 if options.small else NUM_RECORDINGS
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.data or Path(temporary)
        if not (folder / "shards" / "dataset.json").is_file():
            full_size(folder, num_recordings=num_recordings)
        found = {"full size": whole(folder), "side by side": side_by_side(folder)}
    print(json.dumps(found, indent=2))
    if not options.small and not found["full size"]["within the limits"]:
        raise SystemExit(f"more than {LIMIT_SECONDS:.0f} s or {LIMIT_GB:.0f} GB")
    if found["side by side"]["times faster"] < ASKED:
        raise SystemExit(f"less than {ASKED:.0f} times faster than the released way")


def whole(folder: Path) -> dict[str, Any]:
    """All sets of both protocols from the shards, each protocol in a fresh process."""
    context = multiprocessing.get_context("spawn")
    parts = {}
    for name in NAMES:
        with context.Pool(1) as pool:
            parts[name] = pool.apply(_one_protocol, (str(folder), name))
    dataset = Dataset.open(folder)
    seconds = sum(part["seconds"] for part in parts.values())
    busy = sum(part["processor_seconds"] for part in parts.values())
    peak = max(part["peak_gb"] for part in parts.values())
    return {
        "clips": len(dataset),
        "comments": dataset.manifest["num_comments"],
        "simulated": True,
        "protocols": parts,
        "seconds": round(seconds, 1),
        "processor_seconds": round(busy, 1),
        "peak_gb": peak,
        "within the limits": busy <= LIMIT_SECONDS and peak <= LIMIT_GB,
    }


def _one_protocol(folder: str, name: str) -> dict[str, Any]:
    begin, busy = time.perf_counter(), time.process_time()
    workspace = Workspace.open(Path(folder))
    sets = assemble(workspace, Dataset.open(Path(folder)), PROTOCOLS[name], k=SIZES, splits=("test",))
    return {
        "seconds": round(time.perf_counter() - begin, 2),
        "processor_seconds": round(time.process_time() - busy, 2),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "clips": {set_name: len(part) for set_name, part in sets.items()},
        "digests": {set_name: part.digest[:8] for set_name, part in sets.items()},
    }


# -- the released way


@dataclass(frozen=True, kw_only=True)
class Chat:
    """Comments of one clip, as the released code holds them."""

    context: list[str]
    responses: list[str]


def released_way(clip: int, clips: Sequence[Chat], random: np.random.Generator) -> dict[str, list[str]]:
    """The released candidates of one clip of a recording, its wastefulness included (FACTS §3)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    here = clips[clip]
    joined = " ".join(here.context)
    pool = [
        text
        for number, other in enumerate(clips)
        for text in other.context + (other.responses if number != clip else [])
    ]
    matrix = TfidfVectorizer().fit_transform([joined, *here.responses, *pool])
    similarity = (matrix[1:] @ matrix[0].T).toarray().ravel()
    truth = here.responses[int(similarity[: len(here.responses)].argmax())]
    near = similarity[len(here.responses) :]
    num_similar, num_popular, num_random = STORED
    similar = [pool[i] for i in np.argpartition(near, -1)[::-1][:num_similar]]
    popular = [text for text, _ in Counter(pool).most_common(num_popular)]
    drawn = [pool[i] for i in random.integers(len(pool), size=num_random)]
    return {
        name: [truth, *texts[:9]] for name, texts in (("cosine", similar), ("popularity", popular), ("random", drawn))
    }


def side_by_side(folder: Path) -> dict[str, Any]:
    """Seconds a clip of both ways on one recording of middling size, and of ours on the whole test split."""
    dataset = Dataset.open(folder)
    table = dataset.table("test")
    sizes = Counter(dict.fromkeys(dict.fromkeys(table["recording_id"].to_pylist()), 0))
    for clip in dataset.clips("test"):
        sizes[clip.recording_id] += len(clip.context) + len(clip.responses)
    middling = sorted(sizes, key=lambda name: (sizes[name], name))[len(sizes) // 2]
    chats = [
        Chat(context=[c.text for c in clip.context], responses=[c.text for c in clip.responses])
        for clip in dataset.clips("test")
        if clip.recording_id == middling
    ]
    random = np.random.default_rng(0)
    released_way(0, chats, random)  # imports
    begin = time.process_time()
    for number in range(min(RIVAL_CLIPS, len(chats))):
        released_way(number, chats, random)
    theirs = (time.process_time() - begin) / min(RIVAL_CLIPS, len(chats))

    rows = table.filter(np.array([name == middling for name in table["recording_id"].to_pylist()]))
    ours = {}
    for what, some in (("the same recording", rows), ("the whole test split", table)):
        best = float("inf")
        for _ in range(3):
            begin = time.process_time()
            corpus = Corpus.from_table(some)
            made = make_classic(Material(corpus, corpus, PROTOCOLS["classic"], seed=0), 10)
            best = min(best, time.process_time() - begin)
        assert len(made) == 3 and all(len(built.items) == some.num_rows for built in made.values())
        ours[what] = best / some.num_rows
    return {
        "comments of the recording": sizes[middling],
        "released_ms_a_clip": round(theirs * 1000, 2),
        "ours_ms_a_clip": {what: round(seconds * 1000, 3) for what, seconds in ours.items()},
        "times faster": round(theirs / ours["the same recording"], 1),
        "times faster on the test split": round(theirs / ours["the whole test split"], 1),
        "cores": os.cpu_count(),
    }


if __name__ == "__main__":
    main()
