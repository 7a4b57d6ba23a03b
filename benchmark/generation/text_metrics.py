"""The registry of metrics of generated comments: one more is one function and one line.

>>> list(TEXT_METRICS)[:3]
['BLEU', 'ROUGE-L', 'CIDEr-D']
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from videochat.registry import Registry

from . import overlap, variety

if TYPE_CHECKING:
    from .material import Comments


@dataclass(frozen=True, kw_only=True)
class TextMetric:
    """compute: Comments -> one value a clip, float64 (n,), one number for all, or None where it cannot be had.

    better: "high", "low", or "near" (near the person's row: neither more nor less is better). digits: in the table.
    """

    name: str
    better: str
    compute: Callable[[Comments], Any]
    digits: int = 3
    missing: str = ""  # why None

    @property
    def summary(self) -> str:
        """The first paragraph of the function's docstring."""
        return " ".join((self.compute.__doc__ or "").strip().split("\n\n")[0].split())


TEXT_METRICS: Registry[TextMetric] = Registry("metric of comments")


def _add(name: str, better: str, compute: Callable[[Comments], Any], *, digits: int = 3, missing: str = "") -> None:
    TEXT_METRICS.add(name, TextMetric(name=name, better=better, compute=compute, digits=digits, missing=missing))


_add("BLEU", "high", overlap.bleu, digits=2)
_add("ROUGE-L", "high", overlap.rouge_l)
_add("CIDEr-D", "high", overlap.cider)
_add("METEOR", "high", overlap.meteor, missing="nltk has no WordNet data here (python -m nltk.downloader wordnet)")
_add("exact", "high", overlap.exact_match)
_add("distinct-1", "near", variety.distinct_1)
_add("distinct-2", "near", variety.distinct_2)
_add("distinct", "near", variety.distinct_comments)
_add("Self-BLEU", "near", variety.self_bleu, digits=1)
_add("length", "near", variety.length_ratio, digits=2)
_add("copied", "low", variety.copied)
_add("popular", "low", variety.popular)
