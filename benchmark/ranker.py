"""Rank: hand out what a model may see of each clip, keep its scores, and make a run of them.

    run = bench(workspace, dataset, sets, [Popularity(), sfat], seed=0)
    print(run.table())

The ranker guarantees causality: a model is given a view of the clip, in which the future does not exist, and candidate
numbers sorted by text, which say nothing of the truth. The union of a clip's candidates over all sets is scored once;
a model whose scores depend on which other candidates it is shown is found out and scored set by set (scoring.py).
Test clips are scored again with the frames, then the chat, of another clip (scores/gains.py). Golden scorers and the
shortcut panel run first: if one of them is off, nothing is ranked (audits/gate.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import videochat
from videochat.commenter import Chooser, Commenter
from videochat.errors import Mismatch, MissingInput, UsageError
from videochat.files import digest_json
from videochat.progress import say
from videochat.schema import slug

from .audits.data import AuditInput, run_audits
from .audits.features import untrained_models
from .audits.gate import Check, audit, enforce
from .candidates.views import Views
from .evaluation.clip_facts import ClipFacts, references, write_facts
from .outside.score_entrant import ScoreEntrant
from .runs.run import RUN_FORMAT, Run, write_run_folder
from .scorers.choice import Asked
from .scorers.entrant import Entrant, lacking
from .scorers.golden import GOLDEN, golden_blocks
from .scorers.panel import NAMES as PANEL_NAMES
from .scorers.panel import Panel
from .scores.blocks import ScoreBlock
from .scores.tasks import Task, make_tasks, ordered_sets
from .scoring import Scoring, write_weights

if TYPE_CHECKING:
    from videochat.dataset import Dataset
    from videochat.workspace import Workspace

    from .candidates.sets import CandidateSets
    from .texts.corpus import Corpus


def bench(
    workspace: Workspace,
    dataset: Dataset,
    sets: CandidateSets,
    commenters: Sequence[Commenter | Chooser | Entrant],
    *,
    scored: Sequence[ScoreEntrant] = (),
    run_id: str | None = None,
    seed: int = 0,
    swaps: bool = True,
    allow_failed_audit: bool = False,
    extra: Mapping[str, Any] | None = None,
) -> Run:
    """Rank `commenters` on all sets and write runs/<run_id>/.

    scored: models whose scores came in as a file; they stand beside the others.
    run_id: default <protocol>-<models>-<digest of everything that was ranked>. seed: of swaps, bootstrap and random
    scorers. swaps: score test clips with swapped frames and chat too. extra: kept in run.json under settings; a
    "limit" there says that `sets` are only the first clips, and signature and table say so too.
    Raises Mismatch if the sets were made for other shards, AuditFailed if the gate fails (unless allowed, then the
    table says so), BadScores if a model returns NaN or too few scores, MissingInput if there are no test clips.
    """
    entrants = [Entrant.of(value) for value in commenters]
    names = [*(entrant.name for entrant in entrants), *(entrant.name for entrant in scored)]
    if len({slug(name) for name in names}) != len(names):
        raise UsageError(f"two entrants share a name: {sorted(names)}", fix="give each its own")
    if taken := sorted(set(names) & {*GOLDEN, *PANEL_NAMES}):
        raise UsageError(f"{taken[0]!r} is the name of a golden or panel scorer", fix="rename the entrant")
    if sets.manifest["data_digest"] != dataset.digest:
        raise Mismatch(
            f"the candidate sets were made for shards {sets.manifest['data_digest'][:8]}, not {dataset.digest[:8]}",
            fix=f"run `videochat candidates --protocol {sets.protocol}`",
        )
    tasks = make_tasks(sets)
    if not any(len(task) for task in tasks if task.split == "test"):
        raise MissingInput(
            "the candidate sets hold no test clips", fix="more or longer recordings, or --split-by recording"
        )
    views = Views.of(workspace, dataset, sets)
    panel = Panel(dataset, sets.texts, sets.declaration, seed=workspace.settings.seed, ends=views.ends)
    blocks, checks = gate(dataset, sets, tasks, seed=seed, panel=panel)
    rows = [_row(entrant, dataset, sets) for entrant in entrants]
    audited = run_audits(AuditInput(workspace=workspace, dataset=dataset, sets=sets))
    checks += [*audited, *untrained_models(rows)]
    if not allow_failed_audit:
        enforce(checks)
    read = [block for entrant in scored for block in entrant.blocks(tasks, sets.manifest)]
    running = [entrant for entrant, row in zip(entrants, rows, strict=True) if row["skipped"] is None]
    for entrant, row in zip(entrants, rows, strict=True):
        if row["skipped"]:
            say(f"skipped {entrant.name}: {row['skipped']}")
        elif callable(fit := getattr(entrant.commenter, "fit", None)):
            fit(dataset.clips("train"))
    scoring = Scoring(dataset, sets.texts, tasks, running, seed=seed, swaps=swaps, look=views)
    found = scoring.run()
    for entrant, row in zip(entrants, rows, strict=True):
        row["scored"] = "by set" if row["name"] in scoring.by_set else "union of the sets"
        if isinstance(entrant.commenter, Asked) and not row["skipped"]:
            row["asked"] = entrant.commenter.facts()
    models = [*rows, *(entrant.row() for entrant in scored), *_house_rows()]
    info = _info(dataset, sets, models, {**dict(extra or {}), "seed": seed, "swaps": swaps})
    info["run_id"] = run_id or default_run_id(info)
    info["audit"] = [check.to_json() for check in [*checks, *scoring.checks]]
    final = workspace.runs_dir / slug_id(info["run_id"])
    facts = clip_facts(workspace, panel.corpus, sets, tasks)

    def write_more(folder: Path) -> None:
        write_weights(folder, scoring.weights)
        write_facts(folder, facts)

    return write_run_folder(final, info, tasks, [*found, *read, *blocks], write_more=write_more)


def _info(
    dataset: Dataset, sets: CandidateSets, models: list[dict[str, Any]], settings: dict[str, Any]
) -> dict[str, Any]:
    """run.json but for the run's id and its audit."""
    return {
        "protocol": sets.protocol,
        "protocol_label": sets.declaration.label,
        "version": sets.version,
        "tool": videochat.__version__,
        "format": RUN_FORMAT,
        "simulated": dataset.simulated,
        "split_by": dataset.split_by,
        "data_digest": dataset.digest,
        "sets": ordered_sets(sets),
        "candidates": {name: part.digest for name, part in sets.items()},
        "models": models,
        "settings": settings,
        "part": f"first{limit}" if (limit := settings.get("limit")) else None,
    }


def clip_facts(workspace: Workspace, corpus: Corpus, sets: CandidateSets, tasks: Sequence[Task]) -> ClipFacts:
    """What breakdowns and diagnostics need to know of the test clips."""
    test = [task for task in tasks if task.split == "test"]
    recordings = sorted({name for task in test for name in task.recording_ids.tolist()})
    context_ms = workspace.settings.geometry.context_ms
    return ClipFacts.of(corpus, test, sets.texts, context_ms=context_ms, refers=references(workspace, recordings))


def gate(
    dataset: Dataset, sets: CandidateSets, tasks: Sequence[Task], *, seed: int, panel: Panel | None = None
) -> tuple[list[ScoreBlock], list[Check]]:
    """Scores of the panel and the golden scorers, and the checks they must pass. panel: made here if not given."""
    panel = panel or Panel(dataset, sets.texts, sets.declaration, seed=seed)
    blocks = [block for task in tasks if len(task) for block in (*panel.blocks(task), *golden_blocks(task, seed=seed))]
    return blocks, audit(tasks, blocks, clip_blind_at_chance=sets.declaration.clip_blind_at_chance)


def default_run_id(info: Mapping[str, Any]) -> str:
    """<protocol>-<models>-<8 hex digits of the digest of everything that decides the scores>."""
    rows = [row for row in info["models"] if row["kind"] in ("model", "scorer")]
    shown = [row["name"] for row in rows if row["kind"] == "model"] or ["scorers"]
    label = "+".join(shown) if len(shown) <= 3 else f"{shown[0]}+{len(shown) - 1}"
    what = [[row["name"], row["seed"], row["checkpoint_digest"], row["skipped"]] for row in rows]
    decides = [info[name] for name in ("protocol", "version", "format", "data_digest", "candidates", "settings")]
    return slug_id(f"{info['protocol']}-{label}-{digest_json([what, *decides])[:8]}")


def slug_id(text: str) -> str:
    """A run id as a folder name: letters, digits, `_ . + -`, not starting with a dot."""
    kept = "".join(c if c.isalnum() or c in "_.+-" else "-" for c in text).lstrip(".")
    if not kept:
        raise UsageError(f"{text!r} is no run id", fix="letters, digits, _ . + -")
    return kept[:120]


def _row(entrant: Entrant, dataset: Dataset, sets: CandidateSets) -> dict[str, Any]:
    """The entrant's line in run.json; rule, rules and text_only are filled in by the evaluation."""
    return {
        "name": entrant.name,
        "kind": entrant.kind,
        "summary": entrant.summary,
        "trained": entrant.trained,
        "skipped": lacking(entrant, dataset, sets.texts, at_comment=sets.declaration.track == "at-comment"),
        "saw_frames": "frames" in dataset.provides,
        "seed": entrant.seed,
        "checkpoint_digest": entrant.checkpoint_digest,
    }


def _house_rows() -> list[dict[str, Any]]:
    plain = {"summary": "", "trained": False, "skipped": None, "saw_frames": False, "seed": 0}
    kinds = [*((name, "panel") for name in PANEL_NAMES), *((name, "golden") for name in GOLDEN)]
    return [
        {"name": name, "kind": kind, **plain, "checkpoint_digest": None, "scored": "by set"} for name, kind in kinds
    ]
