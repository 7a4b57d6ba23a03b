"""Charts as inline SVG, drawn by hand so that the page needs no script and the same figures give the same bytes.

Each function returns Markup with a <title> for readers who cannot see it; all texts are escaped. Colours come from
the classes of report.css, so charts follow the light and the dark scheme; no style attribute is used (the page's
content security policy forbids them). Lengths are SVG user units, about one CSS pixel.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

LABEL_WIDTH = 124
VALUE_WIDTH = 52
ROW_HEIGHT = 22
LABEL_LENGTH = 19  # characters that fit LABEL_WIDTH at 12 units


@dataclass(frozen=True, kw_only=True)
class Dot:
    """One row of an interval plot. low, high: None where there is no interval. tone: a class of report.css."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    tone: str = "plain"
    hollow: bool = False
    note: str = ""


def interval_plot(
    dots: Sequence[Dot],
    *,
    title: str,
    domain: tuple[float, float],
    reference: float,
    reference_label: str,
    signed: bool = False,
    width: int = 360,
) -> Markup:
    """Dots with 95 % intervals, one row each, over a dashed reference line (chance, or no difference)."""
    low, high = domain
    left, right = LABEL_WIDTH, width - VALUE_WIDTH
    bottom = 20 + ROW_HEIGHT * len(dots)

    def x(value: float) -> float:
        return left + (min(max(value, low), high) - low) / (high - low) * (right - left)

    parts = [_grid(ticks(low, high), x, top=16, bottom=bottom, signed=signed)]
    place = x(reference)
    parts.append(_line(place, 12, place, bottom, "reference"))
    parts.append(_text(place, 9, reference_label, "tick", anchor="middle"))
    for index, dot in enumerate(dots):
        y = 20 + ROW_HEIGHT * (index + 0.5)
        words = f"{dot.label}: {number(dot.value, signed)}"
        if dot.low is not None and dot.high is not None:
            words += f", 95 % interval {number(dot.low, signed)} to {number(dot.high, signed)}"
        words += f" ({dot.note})" if dot.note else ""
        row = [f"<title>{escape(words)}</title>"]
        if dot.low is not None and dot.high is not None:
            row.append(_line(x(dot.low), y, x(dot.high), y, "whisker"))
        row.append(f'<circle cx="{_n(x(dot.value))}" cy="{_n(y)}" r="4" class="{"hollow" if dot.hollow else "dot"}"/>')
        row.append(_text(left - 10, y + 4, shorten(dot.label, LABEL_LENGTH), "label", anchor="end"))
        row.append(_text(width - 2, y + 4, number(dot.value, signed), "value", anchor="end"))
        parts.append(f'<g class="{escape(dot.tone)}">{"".join(row)}</g>')
    return _svg(parts, width=width, height=bottom + 18, title=title)


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar: value >= 0, tone a class of report.css, name for the reader's pointer."""

    name: str
    value: float
    tone: str = "plain"


def grouped_bars(
    groups: Sequence[tuple[str, str, Sequence[Bar]]],
    *,
    title: str,
    maximum: float,
    reference: float,
    reference_label: str,
    width: int = 360,
) -> Markup:
    """Horizontal bars in labelled groups (label, note under it, bars), over a dashed reference line."""
    left, right, thick = LABEL_WIDTH, width - 34, 11
    parts: list[str] = []
    y = 20.0

    def x(value: float) -> float:
        return left + min(max(value, 0.0), maximum) / maximum * (right - left)

    body: list[str] = []
    for label, note, bars in groups:
        height = max(thick * len(bars), 26)
        body.append(_text(left - 10, y + 11, shorten(label, LABEL_LENGTH), "label", anchor="end", title=label))
        body.append(_text(left - 10, y + 23, note, "tick", anchor="end"))
        for index, bar in enumerate(bars):
            top = y + index * thick + (height - thick * len(bars)) / 2
            words = escape(f"{label}, {bar.name}: {number(bar.value)}")
            body.append(
                f'<g class="{escape(bar.tone)}"><title>{words}</title><rect x="{left}" y="{_n(top)}" '
                f'width="{_n(x(bar.value) - left)}" height="{thick - 2}" class="bar"/>'
                f"{_text(x(bar.value) + 4, top + thick - 3, number(bar.value), 'tick')}</g>"
            )
        y += height + 12
    parts.append(_grid(ticks(0, maximum), x, top=16, bottom=y - 4))
    parts += body
    parts.append(_line(x(reference), 12, x(reference), y - 4, "reference"))
    parts.append(_text(x(reference), 9, reference_label, "tick", anchor="middle"))
    return _svg(parts, width=width, height=y + 14, title=title)


def weight_bar(share: float, *, words: str) -> Markup:
    """The bar under one thumbnail: `share` in [0, 1] of the clip's largest weight."""
    height = 22 * min(max(share, 0.0), 1.0)
    return Markup(
        f'<svg class="weight" viewBox="0 0 60 22" preserveAspectRatio="none" role="img"><title>{escape(words)}</title>'
        f'<rect x="0" y="{_n(22 - height)}" width="60" height="{_n(max(height, 0.4))}" class="bar"/></svg>'
    )


def timeline(
    times_ms: Sequence[int],
    weights: Sequence[float] | None,
    marks: Sequence[tuple[int, str]],
    *,
    span_ms: tuple[int, int],
    now_ms: int,
    title: str,
    width: int = 1120,
) -> Markup:
    """Frame weights as steps over the time of the clip, context comments as ticks under them, the cut at `now_ms`.

    times_ms: frame times, ascending; weights: as many, or None. marks: (time, words) of comments. All times on one
    clock; labels count seconds from the start of the clip's context.
    """
    low, high = span_ms
    top, base, left, right = 8, 66 if weights is not None else 12, 8, width - 8

    def x(time: float) -> float:
        return left + (min(max(time, low), high) - low) / (high - low) * (right - left)

    parts = []
    if weights is not None and len(times_ms):
        largest = max(max(weights), 1e-9)
        step = min((b - a for a, b in itertools.pairwise(times_ms)), default=1000)
        points = [f"{_n(x(times_ms[0]))},{base}"]
        for time, weight in zip(times_ms, weights, strict=True):
            y = base - (base - top) * weight / largest
            points += [f"{_n(x(time))},{_n(y)}", f"{_n(x(time + step))},{_n(y)}"]
        points.append(f"{_n(x(times_ms[-1] + step))},{base}")
        parts.append(f'<polygon points="{" ".join(points)}" class="area"/>')
        uniform = base - (base - top) / len(times_ms) / largest
        if uniform > top:
            parts.append(f"<g><title>equal weights</title>{_line(left, uniform, right, uniform, 'reference')}</g>")
    parts.append(_line(left, base, right, base, "axis"))
    for time, words in marks:
        place = _n(x(time))
        parts.append(
            f'<line x1="{place}" y1="{base + 3}" x2="{place}" y2="{base + 13}" class="mark">'
            f"<title>{escape(words)}</title></line>"
        )
    parts.append(_line(x(now_ms), top, x(now_ms), base + 16, "cut"))
    for second in range(math.ceil(low / 5000) * 5, high // 1000 + 1, 5):
        anchor = "start" if second * 1000 == low else "end" if second * 1000 >= high - 500 else "middle"
        parts.append(_text(x(second * 1000), base + 27, f"{second} s".replace("-", "−"), "tick", anchor=anchor))
    return _svg(parts, width=width, height=base + 32, title=title)


def ticks(low: float, high: float) -> list[float]:
    """Four to seven round numbers in [low, high]: multiples of 1, 2, 2.5 or 5 times a power of ten."""
    span = high - low
    power = 10.0 ** math.floor(math.log10(span))
    step = next(power * f for f in (0.1, 0.2, 0.25, 0.5, 1.0, 2.0) if span / (power * f) <= 6)
    first = math.ceil(low / step - 1e-9)
    return [round(step * k, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def number(value: float, signed: bool = False) -> str:
    """0.4137 -> "0.414"; signed: "+0.414", "−0.414" with a true minus, and "0.000" without a sign."""
    text = f"{value:+.3f}" if signed else f"{value:.3f}"
    text = text[1:] if text in ("+0.000", "-0.000") else text
    return text.replace("-", "−")


def shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _grid(values: Sequence[float], x: object, *, top: float, bottom: float, signed: bool = False) -> str:
    assert callable(x)
    lines = []
    for value in values:
        text = f"{value:+g}" if signed and value else f"{value:g}"
        lines.append(_line(x(value), top, x(value), bottom, "grid"))
        lines.append(_text(x(value), bottom + 13, text.replace("-", "−"), "tick", anchor="middle"))
    return "".join(lines)


def _svg(parts: Sequence[str], *, width: float, height: float, title: str) -> Markup:
    return Markup(
        f'<svg class="chart" viewBox="0 0 {_n(width)} {_n(height)}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}" class="{kind}"/>'


def _text(x: float, y: float, text: str, kind: str, *, anchor: str = "start", title: str = "") -> str:
    inner = f"<title>{escape(title)}</title>" if title else ""
    return f'<text x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}" class="{kind}">{inner}{escape(text)}</text>'


def _n(value: float) -> str:
    """A coordinate with at most one decimal: short, and the same bytes everywhere."""
    return f"{value:.1f}".removesuffix(".0")
