"""One truth a clip: the response that a model is to find among the candidates (PROTOCOL, "Truth").

Drawn by a key-free hash among the responses whose key has at least two letters or digits and is not in the clip's
own context. A clip without such a response is dropped and counted.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from videochat.files import stable_hash

from ..texts.keys import MIN_ALPHANUMERIC, num_alphanumeric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..protocols import Protocol
    from ..texts.corpus import Corpus

NO_TRUTH = -1


def eligible_responses(corpus: Corpus, clip: int) -> list[int]:
    """Text numbers of the responses that may be the truth of `clip`, in order of (time, text), repeats kept."""
    return [text for _, text in eligible_with_times(corpus, clip)]


def eligible_with_times(corpus: Corpus, clip: int) -> list[tuple[int, int]]:
    """The same as pairs (time in ms, text number)."""
    own_context = set(corpus.key_of[corpus.context.of(clip)].tolist())
    bounds = corpus.responses.bounds
    times, texts = corpus.responses.times_ms[bounds[clip] : bounds[clip + 1]], corpus.responses.of(clip)
    columns = (times.tolist(), texts.tolist(), corpus.key_of[texts].tolist(), corpus.may_be_truth[texts].tolist())
    return sorted(  # equal times: by text, not by arrival
        (time_ms, text)
        for time_ms, text, number, possible in zip(*columns, strict=True)
        if possible and number not in own_context
    )


def draw_truths(corpus: Corpus, *, seed: int) -> NDArray[np.int32]:
    """int32 (len(corpus),): the text number of each clip's truth, NO_TRUTH where no response is eligible."""
    truths = np.full(len(corpus), NO_TRUTH, dtype=np.int32)
    for clip in range(len(corpus)):
        if eligible := eligible_responses(corpus, clip):
            draw = stable_hash(seed, corpus.recording_ids[clip], int(corpus.start_ms[clip]), "truth")
            truths[clip] = eligible[draw % len(eligible)]
    return truths


def draw_other_truths(
    corpus: Corpus, truths: NDArray[np.int32], protocol: Protocol, *, seed: int
) -> dict[int, tuple[int, ...]]:
    """clip -> the text numbers of its further truths, where it has some; none where the protocol has one truth a clip.

    Drawn by hash among the eligible responses of other keys, each key once, that were said in the same second as the
    truth (in a second in which the truth was said, should it have been said twice) or anywhere in the responses.
    """
    found: dict[int, tuple[int, ...]] = {}
    for clip in range(len(corpus) if protocol.max_truths > 1 else 0):
        if truths[clip] == NO_TRUTH:
            continue
        said = eligible_with_times(corpus, clip)
        seconds = {time_ms // 1000 for time_ms, text in said if text == truths[clip]}
        taken = {int(corpus.key_of[truths[clip]])}
        others: list[int] = []
        for _, text in sorted(
            (stable_hash(seed, corpus.clip_ids[clip], corpus.texts[text], "also"), text)
            for text in {
                text for time_ms, text in said if protocol.truths_from == "responses" or time_ms // 1000 in seconds
            }
        ):
            if (key := int(corpus.key_of[text])) not in taken and len(others) < protocol.max_truths - 1:
                taken.add(key)
                others.append(text)
        if others:
            found[clip] = tuple(others)
    return found


def generic_keys(train_counts: Counter[str], protocol: Protocol) -> frozenset[str]:
    """The most frequent keys of the training split that could be truths; equal counts in order of the key.

    How many: the lesser of `generic_top` and `generic_share` of the distinct keys, rounded up. Empty without a
    training split.
    """
    possible = (
        (-count, name)
        for name, count in train_counts.items()
        if count > 0 and num_alphanumeric(name) >= MIN_ALPHANUMERIC
    )
    num_possible = sum(1 for _ in itertools.islice(possible, _enough(protocol)))
    size = min(protocol.generic_top, math.ceil(protocol.generic_share * num_possible))
    # Looked for among the most frequent ones first: of millions of keys nearly all were said once.
    counts = np.fromiter(train_counts.values(), dtype=np.int64, count=len(train_counts))
    frequent = int(np.partition(counts, -4 * size)[-4 * size]) if 0 < 4 * size < len(counts) else 1
    for least in (frequent, 1):
        found = sorted(
            (-count, name)
            for name, count in train_counts.items()
            if count >= max(1, least) and num_alphanumeric(name) >= MIN_ALPHANUMERIC
        )
        if len(found) >= size:
            break
    return frozenset(name for _, name in found[:size])


def _enough(protocol: Protocol) -> int:
    """So many possible keys make `generic_top` the lesser bound, whatever comes after them."""
    return math.ceil((protocol.generic_top + 1) / protocol.generic_share) if protocol.generic_share else 0
