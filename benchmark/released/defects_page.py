"""The page that walks through the defects of the released evaluation, written from measured figures alone.

    to_markdown([simulated, real])      # docs/defects.md, by `videochat defects --page docs/defects.md FILE FILE`

What a defect is stands in `defect_texts`; every figure comes from `defects.measure`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .defect_texts import DEFECTS, INTRODUCTION, MODELS, Defect
from .protocol import RELEASED, SETS, SWITCHES, mended
from .ranking import averaged

NEEDED = ("facts", "models", "num_test_clips", "protocols", "rows", "simulated")
Measured = Mapping[str, Any]
COLUMNS = ("released", "mended", "classic", "v1")


def to_markdown(files: Sequence[Measured]) -> str:
    """The whole page."""
    parts = [INTRODUCTION, _data(files), _leaks(files)]
    batches, clips = worst_average()
    for number, defect in enumerate(DEFECTS, start=2):
        parts.append(f"## {number}. {defect.title}\n\n{defect.text}\n")
        parts += [part for measured in files if (part := _table(defect, measured))]
        parts += [_facts(defect, files), _verdicts(defect, files), f"{defect.reading}\n"]
    parts.append(
        f"In the worst case much hangs on it: of 32 clips at rank 6 and one at rank 1 the released R@1 is "
        f"{_n(batches)}, the mean over clips {_n(clips)}.\n"
    )
    return "\n".join(wrapped(part) for part in parts if part)


def wrapped(text: str) -> str:
    """Paragraphs at 120 columns; tables as they are."""
    lines = [
        line
        if line.startswith("|")
        else textwrap.fill(line, 120, subsequent_indent="  " * line.startswith("- "), break_on_hyphens=False)
        for line in text.split("\n")
    ]
    return "\n".join(lines)


def to_text(measured: Measured) -> str:
    """What the command prints: each switch with its largest effects on R@1."""
    lines = ["SIMULATED DATA: shows that a mechanism works, never how well."] if measured["simulated"] else []
    lines.append(f"{'switch':18}{'model':22}{'set':12}{'released':>10}{'mended':>10}{'difference':>12}  R@1")
    for switch in SWITCHES:
        rows = [row for row in measured["rows"] if row["switch"] == switch]
        rows.sort(key=lambda row: -abs(row["difference"]["R@1"]["value"]))
        for row in rows[:3]:
            figures = row["released"]["R@1"], row["mended"]["R@1"]
            lines.append(
                f"{switch:18}{row['model']:22}{row['set']:12}{_n(figures[0]):>10}{_n(figures[1]):>10}"
                f"{_difference(row['difference']['R@1'], interval=False):>12}"
            )
    return "\n".join(lines)


def _data(files: Sequence[Measured]) -> str:
    lines = ["## The data and the commands\n"]
    for measured in files:
        kind = "simulated" if measured["simulated"] else "recorded"
        models = "".join(f" --model {name}" for name in measured["models"])
        settings = "".join(f" --set {setting}" for setting in measured.get("settings", []))
        settings += f" --limit {measured['limit']}" if measured.get("limit") else ""
        lines.append(
            f"- **{title(measured)}** ({kind}): {measured['num_test_clips']:,} test clips of "
            f"{measured['num_recordings']} recordings, {measured['num_clusters']} clusters (by "
            f"{measured['split_by']}), {measured['num_train_clips']:,} training clips, seed {measured['seed']}, data "
            f"`{measured['data_digest'][:8]}`, NumPy {measured['numpy']}: `videochat defects{models}{settings}`"
        )
    lines.append(
        "\nHalf of the stored test clips are tested everywhere. The other half takes the place of as many training "
        "clips in the leaked split, so that leaked and clean models learn from equally many clips and meet one test. "
        "`classic` and `v1` are ranked on all stored test clips, or with `--limit` on the first whole groups, by the "
        "models of the clean split and their summed likelihood (`bench` would choose a score rule on dev)."
    )
    if any(measured["split_by"] == "recording" for measured in files):
        lines.append(
            "Where the split is by recording, one streamer's channel may lie on both sides: such a clean split is "
            "clean of the stream, not of its chatters, and the clusters are not all independent."
        )
    lines.append("")
    return "\n".join(lines)


def title(measured: Measured) -> str:
    return "Sample world" if measured["simulated"] else "Real chats"


def _leaks(files: Sequence[Measured]) -> str:
    parts = [
        "## 1. Negatives chosen by a statistic that the truth does not follow\n",
        "The Cosine negatives are near the context, the Popularity negatives frequent; the truth is neither, so a "
        "scorer turned upside down finds it. *released* is as released; *mended* has all twelve switches below "
        "mended, and still chooses its negatives; `classic` is the field's construction without accidents; `v1` "
        "makes balanced groups, in which every string is the truth once.\n",
    ]
    for measured in files:
        found = {(row["protocol"], row["set"], row["model"]): row for row in measured["protocols"]}
        names = [name for name in dict.fromkeys(row["model"] for row in measured["protocols"]) if name != "random"]
        there = [name for name in COLUMNS if any(key[0] == name for key in found)]
        head = [f"{kind}: {protocol}" for kind in SETS for protocol in there]
        parts += [
            f"{title(measured)}, R@1:\n",
            f"| scorer | {' | '.join(head)} |",
            "|---|" + "---|" * len(head),
            *(
                f"| {_name(name)} | "
                + " | ".join(_n(found.get((p, kind, name), {}).get("R@1")) for kind in SETS for p in there)
                + " |"
                for name in names
            ),
            "",
        ]
    parts.append(_sentence(files))
    return "\n".join(parts)


def _sentence(files: Sequence[Measured]) -> str:
    """The sentence that the numbers allow: the best scorer that ignores meaning, in each protocol."""
    lines = []
    for measured in files:
        told = []
        for protocol in COLUMNS:
            rows = [r for r in measured["protocols"] if r["protocol"] == protocol and r["model"] not in _AS_THEY_ARE]
            rows = [row for row in rows if row["model"] not in measured["models"]]
            if rows:
                best = max(rows, key=lambda row: (row["R@1"], row["model"], row["set"]))
                told.append(f"{_n(best['R@1'])} under {protocol} ({_name(best['model'])}, {best['set']})")
        lines.append(f"{title(measured)}: the most that a simple scorer or its reverse gets is {', '.join(told)}.")
        for name in measured["models"]:
            spans = []
            for protocol in COLUMNS:
                values = [r["R@1"] for r in measured["protocols"] if (r["protocol"], r["model"]) == (protocol, name)]
                if values:
                    spans.append(f"{_n(min(values))} to {_n(max(values))} under {protocol}")
            if spans:
                lines.append(f"{_name(name)}, by the set, gets {', '.join(spans)}.")
    return "\n".join(lines) + "\n"


_AS_THEY_ARE = frozenset({"constant", "random"})


def _table(defect: Defect, measured: Measured) -> str:
    rows = _rows(defect, measured)
    if not rows:
        return ""
    lines = [
        f"{title(measured)}, {rows[0]['num_clips']:,} clips, `{mended(defect.switch).label.partition('+')[2]}`:\n",
        "| scorer | set | R@1 released | mended | difference | MRR released | mended | difference |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [_name(row["model"]), row["set"]]
        for metric in ("R@1", "MRR"):
            cells += [_n(row["released"][metric]), _n(row["mended"][metric]), _difference(row["difference"][metric])]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _verdicts(defect: Defect, files: Sequence[Measured]) -> str:
    """For each data set the sentence that the numbers allow: whose R@1 the mending changes, beyond its interval."""
    lines = []
    for measured in files:
        rows = [row for row in _rows(defect, measured) if row["difference"]["R@1"]["low"] is not None]
        if not rows:
            continue
        sure = [row for row in rows if not _includes_zero(row["difference"]["R@1"])]
        told = ", ".join(
            f"{_name(row['model'])} {row['set']} {_difference(row['difference']['R@1'], interval=False)}"
            for row in sure
        )
        lines.append(
            f"{title(measured)}: mended, R@1 changes beyond its interval for {told}; {len(sure)} of {len(rows)} rows."
            if sure
            else f"{title(measured)}: no interval of a difference in R@1 excludes 0."
        )
    return "\n".join(lines) + "\n" if lines else ""


def _includes_zero(cell: Mapping[str, float]) -> bool:
    return cell["low"] <= 0 <= cell["high"]


def _rows(defect: Defect, measured: Measured) -> list[dict[str, Any]]:
    """What the table of a defect shows of one data set."""
    shown: list[str] = []
    for name in defect.shown:
        shown += measured["models"] if name == MODELS else [name]
    found = {(row["model"], row["set"]): row for row in measured["rows"] if row["switch"] == defect.switch}
    return [found[name, kind] for name in shown for kind in defect.sets if (name, kind) in found]


def _facts(defect: Defect, files: Sequence[Measured]) -> str:
    tell = _FACTS.get(defect.switch)
    lines = [] if tell is None else [line for measured in files if (line := tell(measured))]
    return "\n".join(lines) + "\n" if lines else ""


def _of_lists(measured: Measured, text: str) -> str:
    facts = measured["facts"]["lists"]
    return f"{title(measured)}: {text.format(**facts)}"


def _duplicates(measured: Measured) -> str:
    facts = measured["facts"]["lists"]
    shares = ", ".join(f"{100 * facts[f'truth_repeated_{kind}']:.1f} % ({kind})" for kind in SETS)
    return (
        f"{title(measured)}: {facts['duplicates_of_plausible']:.1f} of 20 plausible strings repeat another; the truth "
        f"is among its own negatives in {shares} of the clips."
    )


def _ties(measured: Measured) -> str:
    rows = [row for row in measured["facts"]["ties"] if "k" in row]
    local = next(row["local"] for row in measured["facts"]["ties"] if "local" in row)
    told = [f"{_n(row['metrics']['R@1'])} with {row['k']} candidates {row['order'].replace('-', ' ')}" for row in rows]
    return (
        f"{title(measured)}: with the released sort the constant scorer's R@1 is {', '.join(told)} "
        f"(torch {local['torch']}, {local['device']})."
    )


def _draws(measured: Measured) -> str:
    facts = measured["facts"]["draws"]
    moved = "; ".join(
        f"{_name(name)} {_n(min(values))} to {_n(max(values))}" for name, values in facts["cosine R@1 by draw"].items()
    )
    return (
        f"{title(measured)}: the {RELEASED.test_draws} draws hold {facts['distinct_drawn']:.1f} distinct comments of "
        f"{facts['distinct_said']:.1f}; R@1 on the Cosine set over five evaluations: {moved}."
    )


def _pieces(measured: Measured) -> str:
    return " ".join(
        f"{title(measured)}, {_name(name)}: {100 * facts['cut']:.0f} % of the candidates are cut, and in "
        f"{100 * facts['truth_equals_another']:.1f} % of the clips the truth then equals another candidate."
        for name, facts in measured["facts"]["pieces"].items()
    )


def worst_average() -> tuple[float, float]:
    """R@1 of 32 clips at rank 6 and one at rank 1 (FACTS §3): as the mean of batch means, and over clips."""
    hits = np.array([[0.0]] * RELEASED.batch_clips + [[1.0]])
    return float(averaged(hits, batch_clips=RELEASED.batch_clips)[0]), float(averaged(hits, batch_clips=None)[0])


_FACTS = {
    "own_context": lambda m: _of_lists(m, "{own_context_of_plausible:.1f} of 20 plausible strings are own context."),
    "duplicates": _duplicates,
    "selection": lambda m: (
        f"{title(m)}: {100 * m['facts']['lists']['plausible_in_true_top']:.1f} % of the plausible "
        f"strings are as near as the true top 20, under NumPy {m['numpy']}."
    ),
    "ties": _ties,
    "candidate_tokens": _pieces,
    "context": _draws,
}


def _name(name: str) -> str:
    return f"`{name}`"


def _n(value: float | None) -> str:
    """Three digits without the leading zero; – for nothing."""
    if value is None:
        return "–"
    text = f"{value:.3f}"
    text = text.removeprefix("-") if float(text) == 0 else text
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def _difference(cell: Mapping[str, float | None], *, interval: bool = True) -> str:
    value = cell["value"]
    assert value is not None
    text = f"{'-' if round(value, 3) < 0 else '+'}{_n(abs(value))}"
    if not interval or cell["low"] is None or cell["high"] is None:
        return text
    return f"{text} [{_n(cell['low'])}, {_n(cell['high'])}]"
