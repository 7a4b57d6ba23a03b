"""Write the site: index.html, a folder for each board and for each run, nothing from the network, no date.

    out/index.html                    the boards
    out/<board>/index.html            a table that sorts by a click, and stands as it is without scripts
    out/runs/<run>/index.html         the run's table, signatures, audit; beside report.html, metrics.json, table.txt

Each page carries its style and its few lines of script, allowed by hash in a content security policy that forbids all
else. The files are listed in site.json: a site is replaced only where one was, and pages that are gone are removed.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from videochat.errors import Mismatch, UsageError
from videochat.files import atomic_path, digest_json, read_json, write_json, write_text
from videochat.progress import progress
from videochat.schema import slug

from ..runs import table
from ..runs.run import Run
from .boards import Board, boards_of, check_run

COPIED = ("metrics.json", "table.txt")
SITE = "site.json"


def build_site(
    runs: Sequence[Run], out: Path, *, title: str = "Leaderboard", reports: bool = True, check: bool = True
) -> list[Board]:
    """Write the site of `runs` into `out` and return its boards.

    reports: copy report.html, which shows chat and pictures. check: make each run's figures again from its scores.
    Raises UsageError without runs or if `out` holds something else, Mismatch if a run's figures do not follow from its
    scores or two different runs share an id.
    """
    if not runs:
        raise UsageError("a leaderboard of no runs", fix="name run folders, or a folder that holds them")
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / SITE).is_file())):
        raise UsageError(f"{out} is there and is no site", fix="choose a new folder with --out")
    runs = _distinct(runs)
    if check:
        with progress(what="check runs", total=len(runs), unit="run") as bar:
            for run in runs:
                check_run(run)
                bar.update(1)
    boards = boards_of(runs)
    pages = {"index.html": _page("index.html.j2", title=title, boards=boards, root="")}
    for board in boards:
        pages[f"{board.slug}/index.html"] = _page(
            "board.html.j2",
            title=title,
            board=board,
            root="../",
            run_slugs={run.run_id: slug(run.run_id) for run in runs},
        )
        for run in board.runs:
            folder = f"runs/{slug(run.run_id)}"
            report = reports and (run.path / "report.html").is_file()
            pages[f"{folder}/index.html"] = _page(
                "run.html.j2", title=title, board=board, run=run, info=run.info, report=report, root="../../"
            )
    copies = {
        f"runs/{slug(run.run_id)}/{name}": run.path / name
        for run in runs
        for name in (*COPIED, *(["report.html"] if reports else []))
        if (run.path / name).is_file()
    }
    _write(out, pages, copies)
    return boards


def _distinct(runs: Sequence[Run]) -> list[Run]:
    """Each run once. Raises Mismatch if two differ under one id (or one folder name)."""
    found: dict[str, tuple[Run, str]] = {}
    for run in runs:
        digest = digest_json([run.info, run.results])
        known = found.setdefault(slug(run.run_id), (run, digest))
        if known[1] != digest:
            raise Mismatch(
                f"{known[0].path} and {run.path} are different runs of one id, {run.run_id}",
                fix="bench one of them again with another --run-id, or leave it out",
            )
    return [run for run, _ in found.values()]


def _write(out: Path, pages: dict[str, str], copies: dict[str, Path]) -> None:
    old = read_json(out / SITE, needs=("files",), fix=f"remove {out}")["files"] if (out / SITE).is_file() else []
    names = sorted({*pages, *copies})
    write_json(out / SITE, {"files": sorted({*names, *old})})
    for name, text in pages.items():
        write_text(out / name, text)
    for name, source in copies.items():
        with atomic_path(out / name) as temporary:
            shutil.copyfile(source, temporary)
    for name in set(old) - set(names):
        path = out / str(name)
        if ".." not in path.parts and out.resolve() in path.resolve().parents:
            path.unlink(missing_ok=True)
            if path.parent != out and path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()
    write_json(out / SITE, {"files": names})


def _page(template: str, **values: Any) -> str:
    import jinja2

    loader = jinja2.FunctionLoader(_resource)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, loader=loader)
    environment.filters["count"] = lambda value: f"{value:,}"
    environment.filters["short"] = table.short
    environment.filters["signed"] = lambda value: table.short(value, sign=True)
    environment.filters["bounds"] = table.bounds
    environment.filters["gain"] = table.gain_cell
    environment.filters["link"] = lambda url: url if str(url).startswith(("https://", "http://")) else ""
    style, script = _resource("site.css"), _resource("sort.js")
    return environment.get_template(template).render(
        style=Markup(style), style_hash=_hash(style), script=Markup(script), script_hash=_hash(script), **values
    )


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _resource(name: str) -> str:
    return files(__package__ or "").joinpath(name).read_text(encoding="utf-8")
