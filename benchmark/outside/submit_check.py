"""Everything that would make a submission be refused, at once and without a model: fields, digests, clips, candidates.

found = check_submission(Path("submission.toml"), sets)
found.problems        # a sentence each; empty: the signature lines and metrics follow
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import videochat
from videochat.errors import VideochatError

from ..evaluation.evaluate import Entry, evaluate, headline
from ..runs import table
from ..runs.signature import Signature
from ..scores.blocks import REAL
from ..scores.tasks import make_tasks
from .score_file import ScoreFile, read_score_file
from .score_matching import Matched, match
from .submission import Submission, check_fields, is_submission

if TYPE_CHECKING:
    from ..candidates.sets import CandidateSets


@dataclass(frozen=True, kw_only=True)
class Checked:
    """problems, notes: sentences. signatures: set -> line. metrics: those of evaluation, where the file is sound."""

    name: str
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    signatures: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, Any] | None = None
    rule: str | None = None
    submission: Submission | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "ok": not self.problems,
            "problems": self.problems,
            "notes": self.notes,
            "rule": self.rule,
            "signatures": self.signatures,
            "official": self.metrics and self.metrics["official"],
            "rows": self.metrics and self.metrics["rows"],
            "submission": self.submission and self.submission.to_json(),
        }


def check_submission(path: Path, sets: CandidateSets, *, taken: Container[str] = ()) -> Checked:
    """Check a submission file, or a scores file alone. taken: names that no submission may bear."""
    name, problems, submission, file = path.stem, [], None, None
    try:
        if is_submission(path):
            submission = Submission.read(path)
            name = submission.name or name
            problems += [f"{path.name}: {problem}" for problem in check_fields(submission)]
            if submission.scores:
                file = submission.scores_file()
        else:
            file = read_score_file(path)
    except VideochatError as error:
        problems.append(str(error))
    if name in taken:
        problems.append(f"{path.name}: {name!r} is the name of a model of the toolkit")
    if file is None:
        return Checked(name=name, problems=problems, submission=submission)
    tasks = make_tasks(sets)
    matched = match(file, tasks, sets.manifest, name=name)
    problems += [f"{file.path.name}: {problem}" for problem in matched.problems]
    if submission is not None:
        problems += _whole(file, matched, sets)
    if problems or not any(block.condition == REAL and block.split == "test" for block in matched.blocks):
        problems = problems or [f"{file.path.name}: it has no scores of test clips"]
        return Checked(name=name, problems=problems, notes=matched.notes, submission=submission)
    covered = [task for task in tasks if task.name in matched.sets]
    found = evaluate([Entry(name=name, kind="model")], covered, matched.blocks)
    rule = found.score_rules[name]
    if any(task.name not in matched.sets for task in headline(task for task in tasks if task.split == "test")):
        found.metrics["official"] = []  # a mean of some of its sets is not the official number
    return Checked(
        name=name,
        notes=matched.notes,
        signatures={each: str(_signature(sets, each, rule)) for each in matched.sets},
        metrics=found.metrics,
        rule=rule,
        submission=submission,
    )


def _whole(file: ScoreFile, matched: Matched, sets: CandidateSets) -> list[str]:
    """A submission names its digests and covers the sets that make the official number."""
    declared = file.declared.get("candidates", {})
    heads = [task.name for task in headline(task for task in make_tasks(sets) if task.split == "test")]
    problems = [f"no digest of the candidate set {name}" for name in heads if name not in declared]
    if absent := [name for name in heads if name not in matched.sets]:
        problems.append(f"{file.path.name}: no scores for {', '.join(absent)}, which the official number needs")
    return problems


def _signature(sets: CandidateSets, name: str, rule: str) -> Signature:
    return Signature(
        protocol=sets.declaration.label,
        set=name,
        data=sets.manifest["data_digest"][:8],
        cand=sets[name].digest[:8],
        split=sets.manifest["split_by"],
        score=rule,
        tool=videochat.__version__,
    )


def describe(found: Checked) -> str:
    """What the command prints."""
    lines = [f"problem  {problem}" for problem in found.problems] + [f"note     {note}" for note in found.notes]
    if found.problems:
        return "\n".join([*lines, f"{found.name}: refused, {len(found.problems)} problems"])
    assert found.metrics is not None
    rows = [["set", "clips", "R@1", "R@2", "R@5", "MR", "MRR", "95 %"]]
    for row in found.metrics["rows"]:
        if row["stratum"] == "all" and row["rule"] == found.rule:
            figures = row["metrics"]
            cells = [table.short(figures[m]["value"]) for m in ("R@1", "R@2", "R@5", "MR", "MRR")]
            rows.append([row["set"], str(row["num_clips"]), *cells, table.bounds(figures["MRR"])])
    lines += [table.aligned(rows, rules=[1], num_left=1)]
    for row in found.metrics["official"]:
        lines.append(f"official MRR {table.short(row['value'])} {table.bounds(row)} by rule {found.rule}".rstrip())
    return "\n".join([*lines, *found.signatures.values(), f"{found.name}: can be ranked"])
