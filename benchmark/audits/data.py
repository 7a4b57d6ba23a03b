"""Audits of the data, before a number is printed: leaks between splits, unsound candidates, features of no known make.

    checks = run_audits(AuditInput(workspace=workspace, dataset=dataset, sets=sets))
    checks = run_audits(given, groups=("splits",))

An audit is declared once, with a name and a group, and gives Checks (gate.py) with the figure that decides. `bench`
runs all of them beside the gate, `videochat audit` by themselves; one that fails stops the run.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from videochat.errors import UsageError
from videochat.registry import Registry

from .gate import Check

if TYPE_CHECKING:
    from videochat.dataset import Dataset
    from videochat.workspace import Workspace

    from ..candidates.sets import CandidateSets

GROUPS = ("splits", "candidates", "features")


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditInput:
    """What is audited. sets: None if no candidates are (then their audits say nothing)."""

    workspace: Workspace
    dataset: Dataset
    sets: CandidateSets | None = None


@dataclass(frozen=True, kw_only=True)
class Audit:
    """One declared audit. group: of GROUPS. summary: what must hold. run: gives one check or one for each set."""

    name: str
    group: str
    summary: str
    run: Callable[[AuditInput], list[Check]]


AUDITS: Registry[Audit] = Registry("audit")


def declare(
    name: str, group: str, summary: str
) -> Callable[[Callable[[AuditInput], list[Check]]], Callable[[AuditInput], list[Check]]]:
    """Register a function as an audit."""

    def add(run: Callable[[AuditInput], list[Check]]) -> Callable[[AuditInput], list[Check]]:
        AUDITS.add(name, Audit(name=name, group=group, summary=summary, run=run))
        return run

    return add


def load_audits() -> Registry[Audit]:
    """All audits; each module registers what it holds."""
    for module in GROUPS:
        importlib.import_module(f"{__package__}.{module}")
    return AUDITS


def run_audits(given: AuditInput, groups: Sequence[str] = GROUPS) -> list[Check]:
    """The checks of all audits of some groups, in the order of declaration."""
    if unknown := [group for group in groups if group not in GROUPS]:
        raise UsageError(f"no audits of {unknown[0]!r}", fix=f"choose from {', '.join(GROUPS)}")
    audits = load_audits().values()
    return [check for group in groups for audit in audits if audit.group == group for check in audit.run(given)]
