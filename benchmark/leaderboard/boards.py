"""From runs to boards: what may stand in one table, and the rows of it.

A board holds the runs of one protocol version, one data digest and the same headline candidate sets; a run of a part of
the sets, or of simulated data, never shares a board with others. A model that stands in several runs with the same
weights, seed and figures is one row. Figures are made again from the scores of each run (`check_run`), so that a
metrics.json edited by hand is found out.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from videochat.errors import Mismatch
from videochat.files import digest_json
from videochat.schema import slug

from ..evaluation.figures import OFFICIAL
from ..metrics.ranks import RECIPROCAL_RANK, Recall
from ..report.results import UPPER_BOUNDS
from ..runs import table
from ..runs.run import Run, evaluated
from ..scorers.choice import sentence

CLEARLY = 0.02  # MRR above chance from which the panel is shown open
DIGITS = 9  # to which figures made again must agree


@dataclass(frozen=True, kw_only=True)
class BoardRow:
    """One model.

    kind: that of run.json, or "bound" for those that are told the simulated truth. cells: set -> (R@1, MRR), None where
    it was not ranked. official: value, low, high, or None. gains: "video", "chat" -> {value, low, high, p}. also_in:
    other runs with the same row. notes: sentences for its cell.
    """

    name: str
    kind: str
    rule: str
    text_only: bool
    run_id: str
    seed: int
    official: dict[str, Any] | None
    cells: dict[str, tuple[float, float] | None]
    gains: dict[str, dict[str, Any]]
    submission: dict[str, Any] | None = None
    scored_outside: bool = False
    digest: str | None = None
    notes: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    also_in: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Board:
    """One table. slug: its folder. entrants: models and scorers, the best official number first. house: panel and
    golden scorers. runs: in the order they came. chance: (R@1, MRR)."""

    slug: str
    protocol: str
    simulated: bool
    part: str | None
    split_by: str
    data_digest: str
    sets: list[str]
    candidates: dict[str, str]
    num_clips: dict[str, int]
    num_clusters: int
    k: int
    entrants: list[BoardRow]
    house: list[BoardRow]
    runs: list[Run]

    @property
    def chance(self) -> tuple[float, float]:
        return Recall(1).chance(self.k), RECIPROCAL_RANK.chance(self.k)

    @property
    def best(self) -> list[BoardRow]:
        """The entrants that were told nothing, the best first."""
        return [row for row in self.entrants if row.kind != "bound"]

    @property
    def statistic_wins(self) -> bool:
        """Whether a scorer of the shortcut panel is clearly above chance, so that it must be seen."""
        return any(row.kind == "panel" and _value(row) > self.chance[1] + CLEARLY for row in self.house)

    @property
    def signatures(self) -> list[str]:
        """The part of the signature that all rows share, one line a set; the rule stands in the row."""
        return [
            f"videochat|{self.protocol}|{name}|data:{self.data_digest[:8]}|cand:{self.candidates[name][:8]}"
            f"|split:{self.split_by}"
            for name in self.sets
        ]


def check_run(run: Run) -> None:
    """Make the official numbers again from the scores. Raises Mismatch if metrics.json says something else."""
    found = evaluated(copy.deepcopy(run.info), run.tasks(), run.blocks()).metrics
    kept = run.results
    for part, keys in (("official", ("model",)), ("rows", ("model", "set", "stratum", "rule"))):
        made = {tuple(row[key] for key in keys): _figures(row) for row in found[part]}
        said = {tuple(row[key] for key in keys): _figures(row) for row in kept[part]}
        if made != said:
            wrong = sorted({key for key in {*made, *said} if made.get(key) != said.get(key)})
            raise Mismatch(
                f"{run.path / 'metrics.json'} does not follow from its scores: {' '.join(wrong[0])} of {part}",
                fix="make the run again with `videochat bench`",
            )


def _figures(row: dict[str, Any]) -> Any:
    figures = row.get("metrics", {"MRR": row})
    return {
        name: tuple(None if each[key] is None else round(each[key], DIGITS) for key in ("value", "low", "high"))
        for name, each in sorted(figures.items())
    }


def boards_of(runs: Sequence[Run]) -> list[Board]:
    """The boards of `runs`, in the order of their first run."""
    grouped: dict[str, list[Run]] = {}
    for run in runs:
        grouped.setdefault(_key(run), []).append(run)
    return [_board(members) for members in grouped.values()]


def _heads(run: Run) -> list[str]:
    return table.headline_sets(run.results["rows"])


def _key(run: Run) -> str:
    info = run.info
    candidates = [[name, info["candidates"][name]] for name in _heads(run)]
    same = [info["protocol_label"], info["data_digest"], candidates, info["split_by"], info["part"], info["simulated"]]
    return digest_json(same)


def _board(runs: list[Run]) -> Board:
    first, sets = runs[0], _heads(runs[0])
    rows: dict[str, BoardRow] = {}
    for run in runs:
        for row in _rows(run, sets):
            same = digest_json([row.name, row.kind, row.rule, row.digest, row.seed, row.official, row.cells])
            if same in rows:
                rows[same].also_in.append(run.run_id)
            else:
                rows[same] = row
    ordered = sorted(rows.values(), key=lambda row: (-_value(row), row.name, row.run_id))
    sizes = {r["set"]: r for r in first.results["rows"] if r["stratum"] == "all"}
    info = first.info
    return Board(
        slug=slug(f"{info['protocol_label']}-{info['data_digest'][:8]}-{_key(first)[:6]}"),
        protocol=info["protocol_label"],
        simulated=bool(info["simulated"]),
        part=info["part"],
        split_by=info["split_by"],
        data_digest=info["data_digest"],
        sets=sets,
        candidates={name: info["candidates"][name] for name in sets},
        num_clips={name: sizes[name]["num_clips"] for name in sets},
        num_clusters=info["num_clusters"],
        k=next((sizes[name]["k"] for name in sets), 10),
        entrants=[row for row in ordered if row.kind in ("model", "scorer", "bound")],
        house=[row for row in ordered if row.kind in ("panel", "golden")],
        runs=runs,
    )


def _value(row: BoardRow) -> float:
    return row.official["value"] if row.official else -1.0


def _rows(run: Run, sets: Sequence[str]) -> list[BoardRow]:
    metrics = run.results
    official = {row["model"]: {key: row[key] for key in ("value", "low", "high")} for row in metrics["official"]}
    figures = {(r["model"], r["set"], r["rule"]): r["metrics"] for r in metrics["rows"] if r["stratum"] == "all"}
    gains = {(r["model"], r["gain"]): r for r in metrics["gains"] if r["set"] == OFFICIAL}
    failed = [check["check"] for check in run.info["audit"] if not check["ok"]]
    rows = []
    for model in run.info["models"]:
        name, rule = model["name"], model["score_rule"]
        cells: dict[str, tuple[float, float] | None] = {}
        for set_name in sets:
            found = figures.get((name, set_name, rule))
            cells[set_name] = (found["R@1"]["value"], found["MRR"]["value"]) if found else None
        if model["skipped"] or not any(cells.values()):
            continue
        asked = [sentence(name, model["asked"]).removeprefix(f"{name} ")] if model.get("asked") else []
        rows.append(
            BoardRow(
                name=name.removeprefix("panel:"),
                kind="bound" if run.info["simulated"] and name in UPPER_BOUNDS else model["kind"],
                rule=rule,
                text_only=bool(model["text_only"]),
                run_id=run.run_id,
                seed=model["seed"],
                official=official.get(name),
                cells=cells,
                gains={gain: gains[name, gain] for gain in ("video", "chat") if (name, gain) in gains},
                submission=model.get("submission"),
                scored_outside=model.get("scored") == "in a file",
                digest=model["checkpoint_digest"],
                notes=[*model.get("notes", ()), *asked],
                failed=failed,
            )
        )
    return rows
