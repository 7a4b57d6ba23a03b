"""The page that walks through the defects of the released evaluation, written from measured figures alone.

    to_markdown([simulated, real])      # docs/defects.md, by `videochat defects --page docs/defects.md FILE FILE`

What a defect is and why it flatters or hides is told here; every figure comes from `defects.measure`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .released.protocol import RELEASED, SETS, SWITCHES, mended
from .released.ranking import averaged

NEEDED = ("facts", "models", "num_test_clips", "protocols", "rows", "simulated")
Measured = Mapping[str, Any]
MODELS = "*models*"  # stands for all models with weights
COLUMNS = ("released", "mended", "classic", "v1")


@dataclass(frozen=True, kw_only=True)
class Defect:
    """switch: of the protocol. shown: scorers of the table; sets: its sets. text: what it is. reading: how to read."""

    switch: str
    title: str
    text: str
    reading: str
    shown: tuple[str, ...]
    sets: tuple[str, ...] = SETS


DEFECTS = (
    Defect(
        switch="truth",
        title="The truth is the response most like the context",
        text="Of a clip's responses the one with the highest TF-IDF cosine to the joined context is asked for. A word "
        "overlap then tells the truth from negatives that were not chosen so, and a clip without overlap asks for an "
        "arbitrary response. Mended: the response is drawn by a hash.",
        reading="What TF-IDF loses on the Popularity and Random sets is what the choice had given it. The Cosine set "
        "goes the other way: its negatives are nearer still, so the reversed scorer wins with either truth.",
        shown=("tfidf", "-tfidf", MODELS),
    ),
    Defect(
        switch="own_context",
        title="The clip's own context is in the pool of negatives",
        text="Comments that the model has just read stand among the candidates, and a model that copies them is "
        "punished, one that avoids them rewarded. Mended: nothing of the own context is a negative.",
        reading="What is nearest to the joined context is the context itself; without it the reversed scorer has less "
        "to go by.",
        shown=("tfidf", "-tfidf", "recording-frequency", MODELS),
        sets=("cosine", "random"),
    ),
    Defect(
        switch="duplicates",
        title="Duplicates are kept",
        text="One string may stand several times among the ten, the truth's own string too; a copy of the truth that "
        "counts as wrong ties with it. Mended: each string once, none equal to the truth.",
        reading="Copies make fewer alternatives, which helps everybody; copies of the truth leave the rank to the "
        "sort.",
        shown=("tfidf", "-tfidf", "-popularity", "length", MODELS),
    ),
    Defect(
        switch="selection",
        title="The nearest strings are not the nearest",
        text="`argpartition(similarity, -1)[::-1]` guarantees its first element alone. What follows depends on NumPy "
        "and on the processor, so one code makes different test sets on different machines. Mended: sorted exactly.",
        reading="Where this NumPy's argpartition happens to sort, there is nothing to gain or lose; the set of an "
        "older NumPy cannot be had here.",
        shown=("tfidf", "-tfidf", MODELS),
        sets=("cosine",),
    ),
    Defect(
        switch="order",
        title="The truth stands first",
        text="The truth is candidate 0 of every clip. Alone that is harmless; with ties it decides. Mended: shuffled "
        "by a hash, ties still left to the sort.",
        reading="Whoever scores many candidates alike loses what the first place gave him: the constant scorer falls "
        "from all to chance.",
        shown=("constant", "popularity", "-popularity", "length", "tfidf", "-tfidf", MODELS),
        sets=("random",),
    ),
    Defect(
        switch="ties",
        title="Ties fall as the sort has them",
        text="`torch.argsort` is not stable, and equal scores come back in an order that depends on the length of the "
        "list, the device and the version. It is not always in the truth's favour: it is decided by the sort and the "
        "order. Mended: the expectation over all orders of the tied.",
        reading="The difference is what the sort had decided.",
        shown=("constant", "popularity", "-popularity", "length", "tfidf", "-tfidf", MODELS),
        sets=("random",),
    ),
    Defect(
        switch="candidate_tokens",
        title="Candidates are cut to three word pieces",
        text="Five ids with begin and end leave three word pieces of a comment; candidates with one beginning tie. "
        "Mended: as many pieces as the model was trained on, still by one decode where that is the scoring.",
        reading="Simple scorers read whole texts and do not notice.",
        shown=(MODELS,),
    ),
    Defect(
        switch="scoring",
        title="One decode is shared by all candidates",
        text="The logits come from one free-running greedy decode that never sees the candidate, so a score is a sum "
        "of unigrams, one for each place; a word in the second place is never judged after the candidate's own first. "
        "Mended: the likelihood of each candidate, of its first three pieces as before.",
        reading="Models that have no such decode are ranked by their likelihood either way, and are left out here.",
        shown=(MODELS,),
    ),
    Defect(
        switch="context",
        title="Contexts are drawn anew at every read",
        text="Fifteen comments are drawn with replacement from the context in each evaluation, unseeded: one model has "
        "as many figures as there are evaluations. Mended: the context as it was said.",
        reading="Below the table is how far a figure moves from draw to draw with nothing else changed.",
        shown=("tfidf", "-tfidf", MODELS),
    ),
    Defect(
        switch="frames",
        title="The frames show the time of the answers",
        text="The 30 frames span the whole clip, its last ten seconds included, in which the answers were written; "
        "the ten seconds before the clip are not shown. Mended: the 30 frames that end before the answers, in training "
        "too.",
        reading="Where chat reacts within the window, the future shows what is talked about. In the sample world an "
        "answer's object was on screen before it, so little can be gained there.",
        shown=(MODELS,),
    ),
    Defect(
        switch="split",
        title="The split is of clips, not of recordings",
        text="Clips are shuffled 90/10, so that the same stream, even the neighbouring half minute, lies on both "
        "sides. Mended: training clips of other recordings, as many as before; the tested clips are the same.",
        reading="What is lost was known from the same stream: its phrases, its people, its scene.",
        shown=("popularity", "-popularity", "tfidf", MODELS),
    ),
    Defect(
        switch="averaging",
        title="Metrics are means of batch means",
        text="Each batch of 32 counts alike, so the clips of a last, short batch count more. Mended: the mean over "
        "clips.",
        reading="No interval: the one number is another average of the same ranks.",
        shown=("random", "tfidf", "-tfidf", "length", MODELS),
        sets=("random",),
    ),
)


def to_markdown(files: Sequence[Measured]) -> str:
    """The whole page."""
    parts = [_INTRODUCTION, _data(files), _leaks(files)]
    batches, clips = worst_average()
    for number, defect in enumerate(DEFECTS, start=2):
        parts.append(f"## {number}. {defect.title}\n\n{defect.text}\n")
        parts += [part for measured in files if (part := _table(defect, measured))]
        parts += [_facts(defect, files), f"{defect.reading}\n"]
    parts.append(
        f"In the worst case much hangs on it: of 32 clips at rank 6 and one at rank 1 the released R@1 is "
        f"{_n(batches)}, the mean over clips {_n(clips)}.\n"
    )
    return "\n".join(wrapped(part) for part in parts if part)


def wrapped(text: str) -> str:
    """Paragraphs at 120 columns; tables as they are."""
    lines = [
        line if line.startswith("|") else textwrap.fill(line, 120, subsequent_indent="  " * line.startswith("- "))
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


_INTRODUCTION = """# The defects, one at a time

The evaluation that the authors of SFAT released is imitated here as protocol `released-2025`, from what is known of its
code, with every defect as a switch. This page turns one switch at a time from *released* to *mended* and shows what it
is worth on the same clips and the same models. Made by `videochat defects`; no figure is typed.

**How to read.** R@1 and MRR of ten candidates; chance is .100 and .293. *Difference* is mended minus released, paired
by clip, with a 95 % interval over clusters where there are ten or more. Everything but the switch is as released, ties
by the sort with the truth first included: figures near 1 for a scorer that scores most candidates alike are that tie
rule at work (defects 6 and 7), not knowledge. Figures are means over clips but for the last defect. A scorer with a
minus is the other upside down; `recording-frequency` counts the recording's comments, which no model may. Nothing on
this page is comparable with the paper's tables.
"""


def _data(files: Sequence[Measured]) -> str:
    lines = ["## The data and the commands\n"]
    for measured in files:
        kind = "simulated" if measured["simulated"] else "real chats"
        models = "".join(f" --model {name}" for name in measured["models"])
        settings = "".join(f" --set {setting}" for setting in measured.get("settings", []))
        lines.append(
            f"- **{title(measured)}** ({kind}): {measured['num_test_clips']:,} test clips of "
            f"{measured['num_recordings']} recordings, {measured['num_clusters']} clusters (by "
            f"{measured['split_by']}), {measured['num_train_clips']:,} training clips, seed {measured['seed']}, data "
            f"`{measured['data_digest'][:8]}`, NumPy {measured['numpy']}: `videochat defects{models}{settings}`"
        )
    lines.append(
        "\nHalf of the stored test clips are tested everywhere. The other half takes the place of as many training "
        "clips in the leaked split, so that leaked and clean models learn from equally many clips and meet one test.\n"
    )
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
    return "\n".join(lines) + "\n"


_AS_THEY_ARE = frozenset({"constant", "random"})


def _table(defect: Defect, measured: Measured) -> str:
    shown: list[str] = []
    for name in defect.shown:
        shown += measured["models"] if name == MODELS else [name]
    found = {(row["model"], row["set"]): row for row in measured["rows"] if row["switch"] == defect.switch}
    rows = [found[name, kind] for name in shown for kind in defect.sets if (name, kind) in found]
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
