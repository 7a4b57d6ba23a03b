"""From comments to figures: every metric for every row, with intervals by clusters where a metric has a value a clip.

result = assess({"sfat": comments}, material, perplexities={"sfat": Perplexity(...)})
result["rows"][0]["metrics"]["ROUGE-L"]      # {"value": .21, "low": .19, "high": .23}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from videochat.errors import UsageError

from ..evaluation.figures import number
from ..metrics.ranks import BadScores
from ..metrics.statistics import MIN_CLUSTERS, Bootstrap, macro_mean
from ..runs.table import aligned, short
from .material import ANCHORS, PERSON, Comments, Material
from .overlap import bleu_signature
from .text_metrics import TEXT_METRICS, TextMetric

if TYPE_CHECKING:
    from videochat.commenter import ClipView, Commenter

Json = dict[str, Any]
SCORE_CLIPS = 256  # clips a call of the model


@dataclass(frozen=True, kw_only=True)
class Perplexity:
    """How surprised a model is by what people wrote: per token of its own (not comparable between tokenizers), and
    bits per byte of UTF-8 text (comparable)."""

    per_token: float
    bits_per_byte: float


def perplexity(
    commenter: Commenter, views: Sequence[ClipView], references: Sequence[Sequence[str]]
) -> Perplexity | None:
    """Of the references of each clip, end-of-sequence included; None for a model without likelihoods."""
    from videochat.commenter import TextTable

    from ..texts.keys import keys

    texts = sorted({text for group in references for text in group})
    rows = {text: row for row, text in enumerate(texts)}
    table = TextTable(texts, keys(texts))
    total, tokens, num_bytes = 0.0, 0, 0
    for start in range(0, len(views), SCORE_CLIPS):
        part = [sorted({rows[text] for text in group}) for group in references[start : start + SCORE_CLIPS]]
        for scores, ids in zip(commenter.score(views[start : start + SCORE_CLIPS], part, table), part, strict=True):
            if scores.log_likelihood is None or scores.num_tokens is None:
                return None
            if np.isnan(scores.log_likelihood).any():
                raise BadScores(f"{commenter.name} gave NaN as a likelihood", fix="a text that cannot occur has -inf")
            total += float(scores.log_likelihood.sum())
            tokens += int(scores.num_tokens.sum())
            num_bytes += sum(len(texts[row].encode()) for row in ids)
    return Perplexity(per_token=float(np.exp(-total / tokens)), bits_per_byte=-total / np.log(2) / num_bytes)


def assess(
    written: Mapping[str, Sequence[str]],
    material: Material,
    *,
    perplexities: Mapping[str, Perplexity | None] | None = None,
    seed: int = 0,
) -> Json:
    """All metrics of each row of `written` (a comment for each clip of the material) and of the anchors.

    Raises UsageError if a row has another number of comments, an empty one, or the name of an anchor.
    """
    for name, texts in written.items():
        if name in ANCHORS:
            raise UsageError(f"{name!r} is the name of an anchor row", fix="give the model another name")
        if len(texts) != len(material):
            raise UsageError(f"{name} has {len(texts)} comments for {len(material)} clips", fix="one for each clip")
        if empty := sum(not text.strip() for text in texts):
            raise UsageError(f"{empty} comments of {name} are empty", fix="a model that is asked must say something")
    names = sorted(set(material.clusters))
    clusters = np.searchsorted(np.asarray(names), np.asarray(material.clusters))
    bootstrap = Bootstrap(len(names), seed=seed)
    rows: list[Json] = []
    for name, texts in [*written.items(), *material.anchors().items()]:
        comments = Comments(name=name, texts=texts, material=material)
        figures = {metric.name: _figure(metric, comments, clusters, bootstrap) for metric in TEXT_METRICS.values()}
        found = (perplexities or {}).get(name)
        rows.append(
            {
                "model": name,
                "kind": "anchor" if name in ANCHORS else "model",
                "metrics": figures,
                "perplexity": None if found is None else number(found.per_token),
                "bits_per_byte": None if found is None else number(found.bits_per_byte),
            }
        )
    return {
        "num_clips": len(material),
        "num_left_out": material.num_left_out,
        "num_clusters": len(names),
        "num_references": sum(map(len, material.references)),
        "bleu": bleu_signature(),
        "missing": {
            metric.name: metric.missing
            for metric in TEXT_METRICS.values()
            if all(row["metrics"][metric.name]["value"] is None for row in rows) and metric.missing
        },
        "rows": rows,
    }


def _figure(metric: TextMetric, comments: Comments, clusters: Any, bootstrap: Bootstrap) -> Json:
    found = metric.compute(comments)
    if found is None:
        return dict.fromkeys(("value", "low", "high"))
    if np.ndim(found) == 0:
        return {"value": number(float(found)), "low": None, "high": None}
    kept = ~np.isnan(found)
    if not kept.any():
        return dict.fromkeys(("value", "low", "high"))
    mean = macro_mean(found[kept][:, None], np.zeros(int(kept.sum()), np.int64), clusters[kept], bootstrap)
    low, high = mean.interval()
    return {"value": number(mean.point[0]), "low": number(low[0]), "high": number(high[0])}


ARROWS = {"high": "↑", "low": "↓", "near": " "}


def to_text(result: Json, *, simulated: bool = False) -> str:
    """The table, a line a metric: models first, then the anchors, what the lines mean below."""
    rows = result["rows"]
    lines = [["", *(row["model"] for row in rows)]]
    for metric in TEXT_METRICS.values():
        if metric.name not in result["missing"]:
            cells = [short(row["metrics"][metric.name]["value"], digits=metric.digits) for row in rows]
            lines.append([f"{metric.name} {ARROWS[metric.better]}", *cells])
    for title, name, digits in (("bits a byte ↓", "bits_per_byte", 2), ("perplexity ↓", "perplexity", 1)):
        lines.append([title, *(short(row[name], digits=digits) for row in rows)])
    notes = [
        f"{result['num_clips']} clips, {result['num_references']} references. One comment a clip is held out and is "
        f"the column {PERSON};",
        f"{result['num_left_out']} clips with fewer than two answers are left out. ↑ more is better, ↓ less is better, "
        f"else near {PERSON} is better.",
        "Overlap with a few references rewards what is generic: the ranking table (`videochat bench`) is the headline.",
        f"BLEU: {result['bleu']}",
        *(f"no {name}: {why}" for name, why in result["missing"].items()),
    ]
    if result["num_clusters"] < MIN_CLUSTERS:
        notes.append(f"{result['num_clusters']} clusters: too few (under {MIN_CLUSTERS}) for intervals")
    else:
        notes.append(f"intervals (95 %, bootstrap of {result['num_clusters']} clusters) stand in metrics.json")
    head = "SIMULATED DATA: shows that a mechanism works, never how well. " if simulated else ""
    return "\n".join([f"{head}comments written for clips", aligned(lines, rules=(1,), num_left=1), *notes])
