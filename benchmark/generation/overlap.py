"""Overlap of generated comments with what people said: BLEU, ROUGE-L, CIDEr-D, METEOR, exact matches.

The numbers come from the libraries that the field quotes: sacrebleu (Post 2018), Google's rouge-score (Lin 2004),
pycocoevalcap's CIDEr-D (Vedantam et al. 2015) and nltk's METEOR (Banerjee & Lavie 2005), which needs WordNet's data
and is absent without them. Each function gives one value a clip, float64 (n,), or one for all clips.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from .words import library, words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .material import Comments

CIDER_N, CIDER_SIGMA = 4, 6.0  # of CIDEr-D's authors
WORDNET = "corpora/wordnet"


def bleu(comments: Comments) -> float:
    """Corpus BLEU-4 with several references, 0-100, case-blind; sacrebleu's default smoothing."""
    return float(_bleu_metric().corpus_score(list(comments.texts), reference_streams(comments)).score)


def bleu_signature() -> str:
    """What sacrebleu says of its settings."""
    metric = _bleu_metric()
    metric.corpus_score(["a"], [["a"]])
    return str(metric.get_signature())


def _bleu_metric() -> Any:
    return library("sacrebleu.metrics.bleu").BLEU(lowercase=True, effective_order=False)


def reference_streams(comments: Comments) -> list[list[str | None]]:
    """sacrebleu's form: stream j holds the j-th reference of each clip, None where a clip has fewer."""
    references = comments.material.references
    most = max(len(texts) for texts in references)
    return [[texts[j] if j < len(texts) else None for texts in references] for j in range(most)]


class _Words:
    """The tokenizer that rouge-score asks for; its own drops everything but ASCII letters and digits."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)


def rouge_l(comments: Comments) -> NDArray[np.float64]:
    """F of the longest common subsequence of words, 0-1; of several references the best."""
    scorer = library("rouge_score.rouge_scorer").RougeScorer(["rougeL"], tokenizer=_Words())
    return np.array(
        [
            scorer.score_multi(list(references), text)["rougeL"].fmeasure
            for text, references in zip(comments.texts, comments.material.references, strict=True)
        ]
    )


def cider(comments: Comments) -> NDArray[np.float64]:
    """CIDEr-D, 0-10; document frequencies from the references of these clips. 0 for one clip alone (log 1 = 0)."""
    scorer = library("pycocoevalcap.cider.cider_scorer").CiderScorer(n=CIDER_N, sigma=CIDER_SIGMA)
    for found, references in zip(comments.words, comments.material.reference_words, strict=True):
        scorer += (" ".join(found), [" ".join(reference) for reference in references])
    return np.asarray(scorer.compute_score()[1], dtype=np.float64)


def meteor(comments: Comments) -> NDArray[np.float64] | None:
    """METEOR with WordNet's synonyms, 0-1, of several references the best; None where WordNet is not installed."""
    if not has_wordnet():
        return None
    score = library("nltk.translate.meteor_score").meteor_score
    return np.array(
        [
            score([reference for reference in references if reference] or [["."]], found)
            for found, references in zip(comments.words, comments.material.reference_words, strict=True)
        ]
    )


def has_wordnet() -> bool:
    data = library("nltk.data")
    for name in (WORDNET, f"{WORDNET}.zip"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                data.find(name)
            return True
        except LookupError:
            continue
    return False


def exact_match(comments: Comments) -> NDArray[np.float64]:
    """1 where the comment is, by its key, what somebody said in the clip's answers; 0 elsewhere."""
    return np.array(
        [
            float(key in references)
            for key, references in zip(comments.keys, comments.material.reference_keys, strict=True)
        ]
    )
