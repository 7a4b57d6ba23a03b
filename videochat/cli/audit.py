"""`audit`: what a benchmark checks before it prints a number, and the lag between frames and comments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..dataset import Dataset
from ..errors import Mismatch, MissingInput, UsageError
from ..workspace import Workspace
from .options import data_option, emit, example, json_option

if TYPE_CHECKING:
    from ..benchmark.audits.lag import Lag, Lags
    from ..benchmark.candidates.sets import CandidateSets

GROUPS = ("splits", "candidates", "features")
LAG = "lag"
MAX_DELAY_S = 30


@click.command()
@click.argument("what", type=click.Choice([*GROUPS, "all", LAG]), default="all")
@data_option
@click.option("--protocol", help="candidates: those of one protocol.  [default: all that are there]")
@click.option(
    "--max-delay",
    "max_delay_s",
    type=click.IntRange(min=1, max=300),
    metavar="SECONDS",
    help=f"lag: the longest delay to try.  [default: {MAX_DELAY_S}]",
)
@json_option
@example("videochat audit\nvideochat audit splits --json\nvideochat audit lag --max-delay 60")
def audit(what: str, data: Path, protocol: str | None, max_delay_s: int | None, as_json: bool) -> int:
    """Audit splits, candidates and features, or measure the lag.

    splits: no recording, channel, near-duplicate chat or near-duplicate video on both sides. candidates: no comment
    twice, no truth among the negatives, no telling place of the truth. features: of a known, trained encoder. Every
    `bench` runs all of these; exits with 1 if one fails.

    lag: how many seconds after a frame its comments come, by CLIP similarity, for each recording and for all together,
    against the same comments moved around the recording.
    """
    workspace = Workspace.open(data)
    if what == LAG:
        return _lag(workspace, max_delay_s or MAX_DELAY_S, as_json)
    if max_delay_s is not None:
        raise UsageError("--max-delay belongs to the lag", fix="write `videochat audit lag --max-delay 60`")
    return _audit(workspace, GROUPS if what == "all" else (what,), protocol, as_json)


def _audit(workspace: Workspace, groups: tuple[str, ...], protocol: str | None, as_json: bool) -> int:
    from ..benchmark.audits.data import AuditInput, run_audits

    dataset = Dataset.open(workspace.root)
    known = ("candidates" in groups and _sets(workspace, dataset, protocol, needed=len(groups) == 1)) or {}
    checks = run_audits(
        AuditInput(workspace=workspace, dataset=dataset), tuple(group for group in groups if group != "candidates")
    )
    for name, sets in known.items():
        for check in run_audits(AuditInput(workspace=workspace, dataset=dataset, sets=sets), ("candidates",)):
            checks.append(type(check)(**(check.to_json() | {"check": f"{name} {check.check}"})))
    width = max((len(check.check) for check in checks), default=0)
    lines = [f"{'ok  ' if check.ok else 'FAIL'}  {check.check.ljust(width)}  {check.detail}" for check in checks]
    if "candidates" in groups and not known:
        lines.append("no candidate sets yet: make them with `videochat candidates`")
    failed = sum(not check.ok for check in checks)
    lines.append(f"{failed} of {len(checks)} checks failed" if failed else f"all {len(checks)} checks passed")
    emit([check.to_json() for check in checks], as_json, "\n".join(lines))
    return 1 if failed else 0


def _sets(workspace: Workspace, dataset: Dataset, protocol: str | None, *, needed: bool) -> dict[str, CandidateSets]:
    """The frozen sets by protocol: of one, or of all that are there. Raises MissingInput if they were asked for."""
    from ..benchmark.candidates.build import load_candidates
    from ..benchmark.protocols import PROTOCOLS

    if protocol is not None:
        PROTOCOLS[protocol]
        return {protocol: load_candidates(workspace, dataset, protocol)}
    found = {}
    for name in PROTOCOLS:
        try:
            found[name] = load_candidates(workspace, dataset, name)
        except MissingInput:
            continue
        except Mismatch:
            if needed:
                raise
    if needed and not found:
        raise MissingInput(f"no candidate sets in {workspace.root}", fix="make them with `videochat candidates`")
    return found


def _lag(workspace: Workspace, max_delay_s: int, as_json: bool) -> int:
    from ..benchmark.audits.lag import measure

    found = measure(workspace, max_delay_s=max_delay_s, seed=workspace.settings.seed)
    emit(found.to_json(), as_json, lag_text(found, simulated=any(r.simulated for r in workspace.recordings())))
    return 0


def lag_text(found: Lags, *, simulated: bool) -> str:
    """The table of the lag: a line a recording, then all together, then the sentence that the figures allow."""
    from ..benchmark.runs.table import aligned

    rows = [["recording", "comments", "delay", "95 %", "similarity", "z", "p", ""]]
    for row in found.recordings:
        cells = _cells(row.lag) if row.reason is None else ["–", "", "", "", ""]
        rows.append([row.recording_id, str(row.num_comments or "–"), *cells, row.reason or ""])
    total = sum(row.num_comments for row in found.recordings)
    rows.append(["all together", str(total), *_cells(found.pooled), ""])
    lines = ["SIMULATED DATA: shows that a mechanism works, never how well."] if simulated else []
    lines.append(aligned(rows, rules=[1, len(rows) - 1], num_left=1))
    measured = [row.lag for row in found.recordings if row.reason is None]
    low = sum(lag.p is not None and lag.p < 0.05 for lag in measured)
    if measured:
        lines.append(
            f"recordings with p < .05: {low} of {len(measured)}; {0.05 * len(measured):.1f} would be accidents"
        )
    lines.append(sentence(found))
    return "\n".join([*lines, *found.notes])


def _cells(lag: Lag) -> list[str]:
    if lag.delay_s is None:
        return ["–", "", "", "", ""]
    bounds = "" if lag.low is None or lag.high is None else f"[{lag.low:.0f}, {lag.high:.0f}]"
    z = "–" if lag.z is None else f"{lag.z:.1f}"
    return [f"{lag.delay_s} s", bounds, f"{lag.similarity:+.4f}", z, f"{lag.p:.4f}"]


def sentence(found: Lags) -> str:
    """What the pooled figures allow to be said."""
    lag = found.pooled
    if lag.delay_s is None:
        return "No recording could be measured."
    if not lag.found:
        return f"No lag was found: comments go with frames no more than the same comments moved (p = {lag.p:.2g})."
    within = "" if lag.low is None else f" (95 %: {lag.low:.0f} to {lag.high:.0f} s, {found.num_channels} channels)"
    text = f"Comments go best with the frame {lag.delay_s} s before them{within}, p = {lag.p:.2g}."
    if lag.at_the_edge:
        text += f" That is the longest delay tried: try --max-delay {2 * found.max_delay_s}."
    return text
