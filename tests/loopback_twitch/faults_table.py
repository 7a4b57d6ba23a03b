"""Every scenario with every tool that it concerns: a Markdown table on stdout, and all figures as JSON.

    PYTHONPATH=tests python -m loopback_twitch.faults_table --json faults.json [--tool TOOL] [SCENARIO ...]

See `scenarios` for what happens and `tools` for what is counted.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .hls import Media
from .scenarios import SCENARIOS, Scenario
from .server import Authority, LoopbackTwitch
from .tools import ATTEMPTS, measure_chat, measure_crawl, measure_video

Measure = Callable[[Scenario, LoopbackTwitch, Path], dict[str, Any]]
TOOLS: dict[str, tuple[str, Measure]] = {  # name → (what it fetches, how it is measured)
    "chat-downloader": ("chat", partial(measure_chat, revive=False)),
    "chat-downloader, hash revived": ("chat", partial(measure_chat, revive=True)),
    "yt-dlp": ("video", measure_video),
    "videochat crawl": ("", measure_crawl),
}


def measure(names: list[str], tools: list[str]) -> Iterator[dict[str, Any]]:
    """One row for each scenario and tool, each in a fresh loopback Twitch."""
    authority = Authority()
    with tempfile.TemporaryDirectory() as root:
        media = Media(Path(root) / "media")
        for name in names:
            scenario = SCENARIOS[name]
            for tool in tools:
                touches, run = TOOLS[tool]
                if touches not in ("", scenario.touches):
                    continue
                folder = Path(tempfile.mkdtemp(dir=root))
                twitch = LoopbackTwitch(media, authority, folder)
                try:
                    row = run(scenario, twitch, folder)
                finally:
                    twitch.stop()
                if twitch.crashes or twitch.foreign:
                    raise RuntimeError(f"{name}, {tool}: {[*twitch.crashes, *twitch.foreign]}")
                yield {"scenario": name, "summary": scenario.summary, "tool": tool, **row}


def cell(row: dict[str, Any] | None) -> str:
    """Delivered, lost and how it ended, for one tool in one scenario."""
    if row is None:
        return "–"
    doubled = f", {row['doubled']} doubled" if row["doubled"] else ""
    manner = "**silent loss**" if row["silent"] else f"exit {row['exit']}"
    said = f": {row['said']}" if row["said"] and not row["silent"] else ""
    return f"{row['delivered']} / {row['lost']}{doubled} ({manner}{said})".replace("|", "/").replace("\n", " ")


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a line for each scenario, a column for each tool; delivered / lost."""
    tools = [tool for tool in TOOLS if any(row["tool"] == tool for row in rows)]
    lines = ["| what happens | held | " + " | ".join(tools) + " |", "|" + "---|" * (len(tools) + 2)]
    for name in dict.fromkeys(row["scenario"] for row in rows):
        own = {row["tool"]: row for row in rows if row["scenario"] == name}
        first = next(iter(own.values()))
        cells = [cell(own.get(tool)) for tool in tools]
        lines.append(f"| {first['summary']} | {first['held']} {first['unit']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="default: all")
    parser.add_argument("--tool", action="append", choices=list(TOOLS), help="may be repeated; default: all")
    parser.add_argument("--json", type=Path, help="write all figures here")
    given = parser.parse_args()
    rows = []
    for row in measure(given.scenarios or list(SCENARIOS), given.tool or list(TOOLS)):
        print(f"{row['scenario']}, {row['tool']}: {cell(row)}", file=sys.stderr)
        rows.append(row)
    if given.json:
        versions = {name: version(name) for name in ("chat-downloader", "yt-dlp")}
        given.json.write_text(json.dumps({"versions": versions, "attempts": ATTEMPTS, "rows": rows}, indent=1) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
