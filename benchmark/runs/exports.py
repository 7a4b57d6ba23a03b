r"""A run in the forms that other programs and papers take.

    EXPORTS["latex"].write(run)        # a table with booktabs; \usepackage{booktabs} is all it needs
    EXPORTS["csv"].write(run)          # one row for each model, set, stratum, rule and metric

`trec` is a folder of files (qrels and runs), the others are one text.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videochat.errors import MissingInput
from videochat.files import write_text
from videochat.registry import Registry

from ..evaluation.figures import OFFICIAL
from ..metrics.ranks import RECIPROCAL_RANK, Recall
from . import table
from .run import Run

LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "†": r"$\dagger$",
    "–": "--",
    "·": r"\textperiodcentered{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
}


@dataclass(frozen=True, kw_only=True)
class Export:
    """summary: for the help. text: the run as one text; None where it is a folder of files (`files`: name -> text)."""

    summary: str
    text: Callable[[Run], str] | None = None
    files: Callable[[Run], dict[str, str]] | None = None


EXPORTS: Registry[Export] = Registry("export format")


def latex_escape(text: str) -> str:
    """`text` as LaTeX prints it. Characters beyond Latin-1, which pdfLaTeX does not know, become U+XXXX."""
    found = []
    for char in text:
        if char in LATEX:
            found.append(LATEX[char])
        elif char.isspace():
            found.append(" ")
        elif not char.isprintable() or ord(char) > 0xFF:
            found.append(f"U+{ord(char):04X}")
        else:
            found.append(char)
    return "".join(found)


def latex(run: Run) -> str:
    """Models and scorers, the official number with its interval, R@1 and MRR of each headline set, gains and, where
    metrics.json has them, letters: models that share one do not differ."""
    info, metrics = run.info, run.results
    sets = table.headline_sets(metrics["rows"])
    letters = {row["model"]: row["letters"] for row in metrics.get("letters", ())}
    figures = {(r["model"], r["set"], r["rule"]): r["metrics"] for r in metrics["rows"] if r["stratum"] == "all"}
    official = {row["model"]: row for row in metrics["official"]}
    gains = {(r["model"], r["gain"]): r for r in metrics["gains"] if r["set"] == OFFICIAL}
    has_gains = bool(gains)
    models = [m for m in info["models"] if m["kind"] in ("model", "scorer") and not m["skipped"]]
    models.sort(key=lambda m: (m["kind"], -official[m["name"]]["value"] if m["name"] in official else 0.0, m["name"]))
    rows: list[str] = []
    for index, model in enumerate(models):
        if index and model["kind"] != models[index - 1]["kind"]:
            rows.append(r"\midrule")
        name, figure = model["name"], official.get(model["name"])
        cells = [latex_escape(table.label(model)), latex_escape(model["score_rule"])]
        for set_name in sets:
            found = figures.get((name, set_name, model["score_rule"]))
            cells += [latex_escape(table.short(found[m]["value"] if found else None)) for m in ("R@1", "MRR")]
        mark = rf"\textsuperscript{{{latex_escape(letters[name])}}}" if letters.get(name) else ""
        cells += [_number(figure) + mark, rf"{{\scriptsize {table.bounds(figure) if figure else ''}}}"]
        if has_gains:
            cells += [_signed(gains.get((name, gain))) for gain in ("video", "chat")]
        rows.append(" & ".join(cells) + r" \\")
    groups = " & ".join(rf"\multicolumn{{2}}{{c}}{{{latex_escape(name)}}}" for name in sets)
    rules = " ".join(rf"\cmidrule(lr){{{3 + 2 * i}-{4 + 2 * i}}}" for i in range(len(sets) + 1 + has_gains))
    tail = r" & \multicolumn{2}{c}{gain}" if has_gains else ""
    titles = [
        "model",
        "rule",
        *(["R@1", "MRR"] * len(sets)),
        "MRR",
        r"95\,\%",
        *(["video", "chat"] if has_gains else []),
    ]
    caption = [latex_escape(table.heading(info)) + "."]
    if sets:
        k = next(row["k"] for row in metrics["rows"] if row["set"] == sets[0])
        caption.append(f"Chance: R@1 {table.short(Recall(1).chance(k))}, MRR {table.short(RECIPROCAL_RANK.chance(k))}.")
    caption.append(f"Official: MRR, macro over categories, mean of the sets; {info['num_clusters']} clusters.")
    if any(m["text_only"] for m in models):
        caption.append(r"$\dagger$ text-only: the video gain includes 0.")
    if letters:
        caption.append("Models that share a letter do not differ after Holm.")
    if has_gains and any(gain["low"] is not None for gain in gains.values()):
        caption.append("*: the gain's interval excludes 0.")
    failed = [check["check"] for check in info["audit"] if not check["ok"]]
    if failed:
        caption.append(rf"\textbf{{Audit failed: {latex_escape('; '.join(failed))}.}}")
    return "\n".join(
        [
            *(f"% {info['signatures'][name]}" for name in info["sets"]),
            r"% \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering\small\setlength{\tabcolsep}{4pt}",
            rf"\caption{{{' '.join(caption)}}}",
            rf"\begin{{tabular}}{{ll{'rr' * len(sets)}rl{'rr' if has_gains else ''}}}",
            r"\toprule",
            rf" & & {groups} & \multicolumn{{2}}{{c}}{{official}}{tail} \\",
            rules,
            " & ".join(titles) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _number(figure: Any) -> str:
    return latex_escape(table.short(figure["value"] if figure else None))


def _signed(figure: Any) -> str:
    """A gain with a minus sign that LaTeX sets as one."""
    text = table.gain_cell(figure).strip()
    return f"${text.rstrip('*?')}$" + text[len(text.rstrip("*?")) :] if text != table.ABSENT else "--"


def as_csv(run: Run) -> str:
    return str(run.metrics().to_csv(index=False))


def as_json(run: Run) -> str:
    return json.dumps({"run": run.info, "metrics": run.results}, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def trec_files(run: Run) -> dict[str, str]:
    """The files of trec/, as bench wrote them."""
    folder = run.path / "trec"
    found = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*")) if path.is_file()}
    if not found:
        raise MissingInput(f"no TREC files in {run.path}", fix="run `videochat bench` again")
    return found


EXPORTS.add("latex", Export(summary="a table with booktabs", text=latex))
EXPORTS.add("markdown", Export(summary="the whole table", text=Run.to_markdown))
EXPORTS.add("csv", Export(summary="every figure, a row each", text=as_csv))
EXPORTS.add("json", Export(summary="run.json and metrics.json", text=as_json))
EXPORTS.add("trec", Export(summary="qrels and runs, a folder", files=trec_files))


def write_files(run: Run, export: Export, folder: Path) -> list[Path]:
    """Write the files of a format that is a folder."""
    assert export.files is not None
    paths = []
    for name, text in export.files(run).items():
        write_text(folder / name, text)
        paths.append(folder / name)
    return paths
