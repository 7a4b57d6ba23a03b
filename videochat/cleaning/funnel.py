"""The funnel: what each rule dropped or changed, summed over the recordings from the metadata of their files.

print(format_funnel(funnel(workspace)))
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..files import parquet_metadata
from ..workspace import Workspace
from .catalog import RULES

ALL = "all"  # the category of rows over all recordings


@dataclass(frozen=True, kw_only=True)
class FunnelRow:
    """One rule's share of the work in one category.

    rule: its name, or "messages" for the first row. category: a category's name, or ALL. drops: whether it drops or
    rewrites. count: rows dropped, or rows that it changed and that were still kept. left: rows still kept after it.
    share: count of all messages, in [0, 1]; 0 where there are none.
    """

    category: str
    rule: str
    summary: str
    drops: bool
    count: int
    left: int
    share: float


def funnel(workspace: Workspace, *, per_category: bool = False) -> list[FunnelRow]:
    """The funnel over all recordings that are cleaned; with `per_category` that of each category after it.

    Recordings without a file (not cleaned yet, or failed) are not in it. [] if none is cleaned.
    """
    files = [parquet_metadata(workspace.comments_path(r.recording_id)) for r in workspace.recordings()]
    files = [value for value in files if "funnel" in value]
    if not files:
        return []
    rows = _sum(ALL, files)
    for category in sorted({value["category"] for value in files}) if per_category else ():
        rows += _sum(category, [value for value in files if value["category"] == category])
    return rows


def _sum(category: str, files: Iterable[Mapping[str, Any]]) -> list[FunnelRow]:
    counts = dict.fromkeys(RULES, 0)
    left = dict.fromkeys(RULES, 0)
    total = 0
    for value in files:
        total += value["counts"]["num_messages"]
        for entry in value["funnel"]:
            if entry["rule"] in counts:  # a file of an older version may know others; it is not current then
                counts[entry["rule"]] += entry["count"]
                left[entry["rule"]] += entry["left"]
    begin = FunnelRow(
        category=category, rule="messages", summary="as imported", drops=False, count=total, left=total, share=1.0
    )
    return [begin] + [
        FunnelRow(
            category=category,
            rule=name,
            summary=rule.summary,
            drops=rule.drops,
            count=counts[name],
            left=left[name],
            share=counts[name] / total if total else 0.0,
        )
        for name, rule in RULES.items()
    ]


def format_funnel(rows: Iterable[FunnelRow]) -> str:
    """The funnel as a table for the terminal; dropping rules carry a minus, rewriting ones a tilde."""
    lines: list[str] = []
    category = None
    for row in rows:
        if row.category != category:
            category = row.category
            lines += ["", category] if lines else [category]
            lines.append(f"{'rule':<14}{'rows':>10}{'share':>8}{'left':>10}  what")
        sign = " " if row.rule == "messages" else "-" if row.drops else "~"
        lines.append(f"{row.rule:<14}{sign}{row.count:>9}{row.share:>8.2%}{row.left:>10}  {row.summary}")
    return "\n".join(lines)
