"""Audits of the candidate sets as they are stored: no candidate twice, no truth among negatives, no telling place.

A negative is also a truth if the clip itself holds its key: as another answer, or as what the context already said.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import bdtrc, chdtrc

from ..candidates.sets import CandidateSet
from ..metrics.ranks import truth_mask
from ..texts.corpus import Corpus
from .data import AuditInput, declare
from .gate import Check

MIN_EXPECTED = 5.0  # clips a place, for the chi-square to hold (Cochran 1954)
MAX_P = 1e-6  # five sigma: an accident is no finding


def _for_each_set(given: AuditInput, check: Callable[[CandidateSet], Check]) -> list[Check]:
    return [check(part) for part in given.sets.values() if len(part)] if given.sets is not None else []


def _share(name: str, part: CandidateSet, bad: np.ndarray, what: str, clean: str) -> Check:
    """bad: bool (n,), the clips that break the rule."""
    rows = np.flatnonzero(bad)
    detail = f"{len(rows)} of {len(bad)} clips {what}, {part.clip_ids[rows[0]]} first" if len(rows) else clean
    return Check(check=f"{part.name}: {name}", ok=not len(rows), detail=detail, figure=float(len(rows)))


def _key_numbers(given: AuditInput) -> np.ndarray:
    assert given.sets is not None
    return np.unique(np.asarray(given.sets.texts.keys, dtype=object).astype(str), return_inverse=True)[1]


@declare("duplicate-candidates", "candidates", "no two candidates of a clip are the same comment")
def duplicate_candidates(given: AuditInput) -> list[Check]:
    if given.sets is None:
        return []
    keys = _key_numbers(given)

    def check(part: CandidateSet) -> Check:
        ordered = np.sort(keys[part.candidates], axis=1)
        bad = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
        return _share("duplicate candidates", part, bad, "rank a comment twice", "every key once a clip")

    return _for_each_set(given, check)


@declare("truth-among-negatives", "candidates", "the truth stands once, and no negative was said in the clip")
def truth_among_negatives(given: AuditInput) -> list[Check]:
    if given.sets is None:
        return []
    keys, said = np.asarray(given.sets.texts.keys, dtype=object), _said(given)

    def check(part: CandidateSet) -> Check:
        truths = part.truths[:, None]
        if part.other_truths is not None:
            truths = np.concatenate([truths, part.other_truths], axis=1)
        held = np.stack([(part.candidates == column[:, None]).sum(axis=1) for column in truths.T], axis=1)
        bad = (held != (truths >= 0)).any(axis=1) | (part.truths < 0)
        sound = np.flatnonzero(~bad)
        negatives = ~truth_mask(part.candidates[sound], truths[sound])
        for row, mask in zip(sound.tolist(), negatives, strict=True):
            own = said.get(str(part.clip_ids[row]), frozenset())
            bad[row] = any(key in own for key in keys[part.candidates[row][mask]])
        return _share(
            "truth among negatives", part, bad, "hold a second right answer", "no negative was said in its clip"
        )

    return _for_each_set(given, check)


def _said(given: AuditInput) -> dict[str, frozenset[str]]:
    """clip_id -> the keys of all that was said in the clip."""
    assert given.sets is not None
    splits = sorted({str(split) for part in given.sets.values() for split in np.unique(part.splits)})
    corpus = Corpus.read(given.dataset, splits)
    return {
        clip_id: frozenset(corpus.key_names[number] for number in corpus.keys_of(row))
        for row, clip_id in enumerate(corpus.clip_ids)
    }


@declare("position-bias", "candidates", "the truth's place in the stored order tells nothing")
def position_bias(given: AuditInput) -> list[Check]:
    def check(part: CandidateSet) -> Check:
        counts = np.bincount(part.truth_positions, minlength=part.k)
        p = position_p(counts)
        most = int(counts.argmax())
        detail = f"place {most + 1} of {part.k} holds {counts[most] / counts.sum():.3f} of the truths, p = {p:.2g}"
        return Check(check=f"{part.name}: position bias", ok=bool(p >= MAX_P), detail=detail, figure=p)

    return _for_each_set(given, check)


def position_p(counts: np.ndarray) -> float:
    """p of "the truth is equally likely at each of the K places", in (0, 1]. counts: int (K,).

    Pearson's chi-square where 5 are expected at each place, and the fullest place by the binomial, times K
    (Bonferroni; exact for any number): the smaller of the two, doubled.
    """
    total, k = int(counts.sum()), len(counts)
    if not total or k < 2:
        return 1.0
    p = float(min(1.0, k * bdtrc(counts.max() - 1, total, 1 / k)))
    if total / k >= MIN_EXPECTED:
        statistic = float(((counts - total / k) ** 2).sum() / (total / k))
        p = min(p, float(chdtrc(k - 1, statistic)))
    return min(1.0, 2 * p)
