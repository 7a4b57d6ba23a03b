"""Line charts as inline SVG, in the manner of charts.py: no script, texts escaped, colours by class."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from .charts import number, shorten, ticks

LEFT, RIGHT, TOP, HEIGHT = 44, 96, 12, 190  # RIGHT: room for the names at the ends of the lines
NAME_LENGTH = 15
NAME_STEP = 12  # the least distance between two names


@dataclass(frozen=True, kw_only=True)
class Line:
    """points: (x, y) in order of x. tone: a class of report.css."""

    label: str
    points: Sequence[tuple[float, float]]
    tone: str = "plain"


def line_plot(
    lines: Sequence[Line],
    *,
    title: str,
    x_label: str,
    x_domain: tuple[float, float] | None = None,
    markers: bool = False,
    width: int = 400,
) -> Markup:
    """Lines from y = 0 upwards, each named at its end."""
    xs = [x for line in lines for x, _ in line.points]
    low, high = x_domain or (min(xs), max(xs))
    high = high if high > low else low + 1
    top = max([y for line in lines for _, y in line.points] + [1e-6]) * 1.05
    right, bottom = width - RIGHT, HEIGHT

    def at(x: float, y: float) -> tuple[str, str]:
        across = LEFT + (x - low) / (high - low) * (right - LEFT)
        up = bottom - min(max(y, 0.0), top) / top * (bottom - TOP)
        return _n(across), _n(up)

    parts = []
    for value in ticks(0, top):
        _, y = at(low, value)
        parts.append(f'<line x1="{LEFT}" y1="{y}" x2="{right}" y2="{y}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{_n(float(y) + 3)}" text-anchor="end" class="tick">{value:g}</text>')
    for value in ticks(low, high):
        x, _ = at(value, 0)
        parts.append(f'<text x="{x}" y="{bottom + 14}" text-anchor="middle" class="tick">{value:g}</text>')
    parts.append(f'<line x1="{LEFT}" y1="{bottom}" x2="{right}" y2="{bottom}" class="axis"/>')
    middle = _n((LEFT + right) / 2)
    parts.append(f'<text x="{middle}" y="{bottom + 29}" text-anchor="middle" class="tick">{escape(x_label)}</text>')
    for line, place in zip(lines, _places([float(at(*line.points[-1])[1]) for line in lines]), strict=True):
        points = [at(x, y) for x, y in line.points]
        path = " ".join(f"{x},{y}" for x, y in points)
        dots = "".join(f'<circle cx="{x}" cy="{y}" r="3" class="dot"/>' for x, y in points) if markers else ""
        words = ", ".join(f"{x:g}: {number(y)}" for x, y in line.points[:40])
        name = escape(shorten(line.label, NAME_LENGTH))
        parts.append(
            f'<g class="{escape(line.tone)}"><title>{escape(line.label)}: {escape(words)}</title>'
            f'<polyline points="{path}" class="curve"/>{dots}'
            f'<text x="{right + 6}" y="{_n(place + 4)}" class="name">{name}</text></g>'
        )
    return Markup(
        f'<svg class="chart" viewBox="0 0 {width} {bottom + 34}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def _places(wanted: Sequence[float]) -> list[float]:
    """Heights of the names: as wanted, moved apart where they would cover each other."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    places = list(wanted)
    for before, after in itertools.pairwise(order):
        places[after] = max(places[after], places[before] + NAME_STEP)
    excess = max(0.0, max(places, default=0.0) - HEIGHT)
    return [place - excess for place in places]


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
