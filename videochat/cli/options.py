"""Options and output that the commands share."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ..engines.local import StepSummary

F = TypeVar("F", bound=Callable[..., Any])

data_option = click.option(
    "--data",
    type=click.Path(path_type=Path),
    envvar="VIDEOCHAT_DATA",
    default="videochat-data",
    show_default=True,
    show_envvar=True,
    help="The workspace folder.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
limit_option = click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Take at most N recordings.")
workers_option = click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", help="Processes to use.  [default: all cores]"
)
retry_option = click.option("--retry", metavar="failed[:CLASS]", help="Take only recordings that failed before.")
device_option = click.option(
    "--device", type=click.Choice(["cpu", "cuda", "auto"]), default="auto", show_default=True, help="Where to compute."
)
protocol_option = click.option(
    "--protocol",
    help="v1, v1-at-comment, classic, livebot, released-2025, or a TOML or JSON file.  [default: the workspace's, v1]",
)


def example(text: str) -> Callable[[F], F]:
    """Append an example to a command's help; every command has one."""

    def add(function: F) -> F:
        lines = "\n".join(f"  {line}" for line in text.strip().splitlines())
        function.__doc__ = f"{inspect.cleandoc(function.__doc__ or '')}\n\n\b\nExample:\n{lines}\n"
        return function

    return add


def emit(value: Any, as_json: bool, text: str) -> None:
    """The result on stdout: as JSON where a machine reads, else as text."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False) if as_json else text)


def emit_summary(
    summary: StepSummary, as_json: bool, *, extra: str = "", facts: Any = None, can_retry: bool = False
) -> int:
    """Print how a step went; returns the exit code (3 if a recording failed or is partial).

    can_retry: the command has --retry.
    """
    value = {
        "step": summary.step,
        "ok": summary.count("ok"),
        "current": summary.count("current"),
        "skipped": summary.count("skipped"),
        "partial": [
            {"recording_id": a.recording_id, "error_class": a.error_class, "reason": a.reason} for a in summary.partial
        ],
        "failed": [
            {"recording_id": a.recording_id, "error_class": a.error_class, "reason": a.reason} for a in summary.failed
        ],
    }
    if facts is not None:
        value["result"] = facts
    lines = [
        f"{summary.step}: {value['ok']} done, {value['current']} already current, {value['skipped']} skipped, "
        f"{len(summary.failed)} failed"
    ]
    if summary.partial:
        lines[0] += f", {len(summary.partial)} partial"
    if not (sys.stdout.isatty() and sys.stderr.isatty()):  # on a terminal each was said as it ended
        lines += [f"  partial {a.recording_id}: {a.error_class}: {a.reason}" for a in summary.partial]
        lines += [f"  failed  {a.recording_id}: {a.error_class}: {a.reason}" for a in summary.failed]
    reasons = {a.reason for a in summary.attempts if a.status == "skipped"}
    lines += [f"  skipped {sum(a.reason == r for a in summary.attempts)}: {r}" for r in sorted(map(str, reasons))]
    emit(value, as_json, "\n".join(lines) + (f"\n{extra}" if extra else ""))
    if summary.failed:
        again = f"run `videochat {summary.step} --retry failed`" if can_retry else "run the same command again"
        click.echo(f"fix: mend what failed as the reasons say, then {again}; the others are done", err=True)
    return summary.exit_code


def emit_plan(command: str, plan: dict[str, Any], as_json: bool) -> None:
    """What a dry run found."""
    width = max(map(len, plan), default=0)
    lines = [f"{command} would take:"] + [f"  {name.ljust(width)}  {_human(name, plan[name])}" for name in plan]
    emit(plan, as_json, "\n".join(lines))


def _human(name: str, value: Any) -> str:
    if name.endswith("bytes") and isinstance(value, (int, float)):
        return human_bytes(value)
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def human_bytes(count: float) -> str:
    """1536 -> "1.5 KiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
