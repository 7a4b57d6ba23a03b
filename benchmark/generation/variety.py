"""Is it the same comment everywhere, or one that was already there? distinct-n, Self-BLEU, copies, lengths.

distinct-n: Li et al. 2016, "A Diversity-Promoting Objective Function". Self-BLEU: Zhu et al. 2018, "Texygen"; of all
comments against all others it is quadratic, so at most SELF_BLEU_COMMENTS are drawn, by hash of the clip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from videochat.files import stable_hash

from .words import library

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .material import Comments

SELF_BLEU_COMMENTS = 200


def distinct(comments: Comments, n: int) -> float:
    """Distinct n-grams of words / all n-grams of words, 0-1; NaN if no comment has n words."""
    grams = [tuple(found[i : i + n]) for found in comments.words for i in range(len(found) - n + 1)]
    return len(set(grams)) / len(grams) if grams else float("nan")


def distinct_1(comments: Comments) -> float:
    """Distinct words / words, 0-1. It falls with the number of comments: compare rows of one table alone."""
    return distinct(comments, 1)


def distinct_2(comments: Comments) -> float:
    """Distinct pairs of words / pairs, 0-1."""
    return distinct(comments, 2)


def distinct_comments(comments: Comments) -> float:
    """Distinct comments (keys) / comments, 0-1."""
    return len(set(comments.keys)) / len(comments.keys)


def self_bleu(comments: Comments) -> float:
    """Mean BLEU of each drawn comment with the other drawn ones as references, 0-100; NaN for a single comment."""
    order = sorted(range(len(comments.texts)), key=lambda i: stable_hash(comments.material.clip_ids[i], "self-bleu"))
    texts = [comments.texts[i] for i in sorted(order[:SELF_BLEU_COMMENTS])]
    if len(texts) < 2:
        return float("nan")
    metric = library("sacrebleu.metrics.bleu").BLEU(lowercase=True, effective_order=True)
    return float(
        np.mean([metric.sentence_score(text, texts[:i] + texts[i + 1 :]).score for i, text in enumerate(texts)])
    )


def length_ratio(comments: Comments) -> NDArray[np.float64]:
    """Words of the comment / mean words of the clip's references; NaN where these have none."""
    means = [float(np.mean([len(r) for r in references])) for references in comments.material.reference_words]
    return np.array(
        [len(found) / mean if mean else float("nan") for found, mean in zip(comments.words, means, strict=True)]
    )


def copied(comments: Comments) -> NDArray[np.float64]:
    """1 where the comment, by its key, stands in the clip's own context; 0 elsewhere."""
    return np.array(
        [float(key in contexts) for key, contexts in zip(comments.keys, comments.material.context_keys, strict=True)]
    )


def popular(comments: Comments) -> NDArray[np.float64]:
    """1 where the comment is the training split's most frequent one: the generic reply."""
    from ..texts.keys import key

    generic = key(comments.material.popular)
    return np.array([float(found == generic) for found in comments.keys])
