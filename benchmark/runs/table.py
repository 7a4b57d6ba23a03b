"""The printed table of a run: models and scorers above the line, the shortcut panel and golden scorers below it.

Each headline set shows R@1 and MRR, then the official number with its interval and both gains; `wide` adds every
metric of every set and what wide_table.py holds. Nothing is computed here: the table is made of run.json and
metrics.json.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..evaluation.evaluate import HEADLINE_K
from ..evaluation.figures import OFFICIAL
from ..metrics.ranks import RECIPROCAL_RANK, Recall
from ..metrics.statistics import MIN_CLUSTERS
from ..scorers.choice import sentence as asked
from .wide_table import wide_parts

Json = Mapping[str, Any]
ABSENT = "–"


def short(value: float | None, *, sign: bool = False, digits: int = 3) -> str:
    """.512, 1.000, 5.500, +.034, -.002; – for an absent value."""
    if value is None:
        return ABSENT
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 and text.lstrip("+-").startswith("0.") else text


def bounds(figure: Json) -> str:
    """[.490, .530], or nothing where there is no interval."""
    return "" if figure["low"] is None else f"[{short(figure['low'])}, {short(figure['high'])}]"


def gain_cell(figure: Json | None) -> str:
    """+.034*: the interval excludes 0; +.004: it does not; +.034?: too few clusters for an interval."""
    if figure is None:
        return ABSENT
    mark = " " if figure["low"] is None or figure["low"] <= 0 <= figure["high"] else "*"
    return short(figure["value"], sign=True) + ("?" if figure["low"] is None else mark)


def headline_sets(rows: Sequence[Json]) -> list[str]:
    sizes = {row["set"]: row["k"] for row in rows}
    k = HEADLINE_K if HEADLINE_K in sizes.values() else min(sizes.values(), default=0)
    return [name for name, size in sizes.items() if size == k]


def label(model: Json) -> str:
    """The row's name; † marks a model whose video gain includes 0."""
    name = str(model["name"]).removeprefix("panel:")
    return f"{name} †" if model["text_only"] else name


def _cells(info: Json, metrics: Json) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Column titles and (kind, cells) of each row, best official number first within entrants, panel and golden."""
    sets = headline_sets(metrics["rows"])
    titles = ["model", "rule", *(f"{name} {m}" for name in sets for m in ("R@1", "MRR")), "MRR", "95 %"]
    titles += ["video gain", "chat gain"]
    found = {(r["model"], r["set"], r["rule"]): r["metrics"] for r in metrics["rows"] if r["stratum"] == "all"}
    official = {row["model"]: row for row in metrics["official"]}
    gains = {(row["model"], row["gain"]): row for row in metrics["gains"] if row["set"] == OFFICIAL}
    rows = []
    for model in info["models"]:
        if model["skipped"]:
            continue
        name, rule = model["name"], model["score_rule"]
        cells = [label(model), rule if model["kind"] in ("model", "scorer") else model["kind"]]
        for set_name in sets:
            figures = found.get((name, set_name, rule))
            cells += [short(figures[m]["value"]) if figures else ABSENT for m in ("R@1", "MRR")]
        figure = official.get(name)
        cells += [short(figure["value"]), bounds(figure)] if figure else [ABSENT, ""]
        cells += [gain_cell(gains.get((name, gain))) for gain in ("video", "chat")]
        group = 0 if model["kind"] in ("model", "scorer") else 1 if model["kind"] == "panel" else 2
        rows.append((group, -figure["value"] if figure else 0.0, name, model["kind"], cells))
    rows.sort(key=lambda row: row[:3])
    return titles, [(kind, cells) for *_, kind, cells in rows]


def heading(info: Json) -> str:
    simulated = "SIMULATED DATA: shows that a mechanism works, never how well. " if info["simulated"] else ""
    part = f"ONLY A PART OF THE SETS ({info['part']}). " if info["part"] else ""
    return f"{simulated}{part}protocol {info['protocol_label']}, test clips, split by {info['split_by']}"


def golden_constant(rows: Sequence[Json], set_name: str) -> dict[str, float]:
    """What all ties get on a set: chance, also where clips have several truths; {} in a run without golden scorers."""
    for row in rows:
        if (row["model"], row["set"], row["stratum"]) == ("golden-constant", set_name, "all"):
            return {name: figure["value"] for name, figure in row["metrics"].items() if figure["value"] is not None}
    return {}


def notes(info: Json, metrics: Json) -> list[str]:
    """What must stand under the table: chance, marks, intervals, what was skipped or failed, signatures."""
    rows = metrics["rows"]
    sizes = {row["set"]: row for row in rows if row["stratum"] == "all"}
    headline = [sizes[name] for name in headline_sets(rows)]
    lines = []
    if headline:
        by_chance, k = golden_constant(rows, headline[0]["set"]), headline[0]["k"]
        recall = by_chance.get("R@1", Recall(1).chance(k))
        reciprocal = by_chance.get("MRR", RECIPROCAL_RANK.chance(k))
        clips = ", ".join(f"{row['set']} {row['num_clips']}" for row in headline)
        lines.append(f"chance: R@1 {short(recall)}, MRR {short(reciprocal)}. clips: {clips}")
    if pooled := info.get("pools"):
        sets = ", ".join(sorted(pooled))
        lines.append(f"{sets}: groups pool the recordings of a category; knowing the stream is worth something there")
    lines.append(f"MRR: macro over categories, mean of the sets. clusters: {info['num_clusters']}")
    if info["num_clusters"] < MIN_CLUSTERS:
        lines[-1] += f", too few (under {MIN_CLUSTERS}) for intervals"
    else:
        lines[-1] += "; 95 %: bootstrap of clusters; *: the gain's excludes 0"
    if any(model["text_only"] for model in info["models"]):
        lines.append("† text-only: the video gain includes 0")
    lines += [f"skipped {m['name']}: {m['skipped']}" for m in info["models"] if m["skipped"]]
    lines += [asked(m["name"], m["asked"]) for m in info["models"] if m.get("asked")]
    lines += [f"{m['name']} is a scores file: {note}" for m in info["models"] for note in m.get("notes", ())]
    lines += [f"AUDIT FAILED: {check['check']}: {check['detail']}" for check in info["audit"] if not check["ok"]]
    if empty := [name for name in info["sets"] if name not in sizes]:
        lines.append(f"no test clip found a group: {', '.join(empty)}")
    return lines + [info["signatures"][name] for name in info["sets"] if name in sizes]


def aligned(rows: Sequence[Sequence[str]], *, rules: Sequence[int] = (), num_left: int = 2, gap: str = "  ") -> str:
    """Columns padded to their widest cell; the first num_left are left-aligned; a rule line before the given rows."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        if number in rules:
            lines.append("─" * (sum(widths) + len(gap) * (len(widths) - 1)))
        cells = [c.ljust(w) if i < num_left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append(gap.join(cells).rstrip())
    return "\n".join(lines)


def to_text(info: Json, metrics: Json, *, wide: bool = False) -> str:
    """The table as plain text, at most about 110 columns."""
    _, rows = _cells(info, metrics)
    sets = headline_sets(metrics["rows"])
    titles = ["model", "rule", *(["R@1", "MRR"] * len(sets)), "MRR", "95 %", "video", "chat"]
    kinds = [kind for kind, _ in rows]
    changes = [1 + i for i, kind in enumerate(kinds) if i and group_of(kind) != group_of(kinds[i - 1])]
    cells = [titles, *(cells for _, cells in rows)]
    parts = [heading(info), _top_line(cells, sets), aligned(cells, rules=[1, *changes])]
    if wide:
        parts += wide_parts(info, metrics)
    return "\n".join([*parts, *notes(info, metrics)]) + "\n"


def group_of(kind: str) -> int:
    return {"panel": 1, "golden": 2}.get(kind, 0)


def _top_line(rows: Sequence[Sequence[str]], sets: Sequence[str], gap: int = 2) -> str:
    """The line over the titles: each set's name right-aligned over its two columns, "official", "gain"."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    spans = [widths[0] + gap + widths[1]]
    spans += [widths[i] + gap + widths[i + 1] for i in range(2, len(widths), 2)]
    return (" " * gap).join(name.rjust(span) for name, span in zip(["", *sets, "official", "gain"], spans, strict=True))


def to_markdown(info: Json, metrics: Json) -> str:
    """The same table for a README or docs/results.md."""
    titles, rows = _cells(info, metrics)
    lines = [f"**{heading(info)}**", "", "| " + " | ".join(titles) + " |"]
    lines.append("|" + "|".join(["---", "---", *["---:"] * (len(titles) - 2)]) + "|")
    lines += ["| " + " | ".join(cell.strip() for cell in cells) + " |" for _, cells in rows]
    remarks = notes(info, metrics)
    signatures = set(info["signatures"].values())
    lines += ["", *(f"{'`' + line + '`' if line in signatures else line}  " for line in remarks)]
    return "\n".join(lines).rstrip() + "\n"
