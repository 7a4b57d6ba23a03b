"""Drawing the 24 objects: filled silhouettes with an outline, in 10 colours. Coordinates are in [0, 100]².

Shapes differ in silhouette, since the small CLIP sees them at about 32 pixels. Drawn with Pillow at four times the
size and reduced by averaging.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

RGB: dict[str, tuple[int, int, int]] = {
    "red": (214, 24, 32),
    "orange": (250, 130, 10),
    "yellow": (250, 226, 30),
    "green": (24, 150, 40),
    "cyan": (40, 220, 226),
    "blue": (28, 60, 220),
    "purple": (128, 28, 178),
    "pink": (255, 128, 196),
    "white": (248, 248, 248),
    "black": (16, 16, 18),
}
OVERSAMPLE = 4
OUTLINE = 4.0  # in hundredths of the sprite's edge

Points = list[tuple[float, float]]


def _disc(x: float, y: float, rx: float, ry: float | None = None, start: float = 0, end: float = 360) -> Points:
    ry = rx if ry is None else ry
    steps = max(8, int(abs(end - start) / 6))
    angles = [math.radians(start + (end - start) * k / steps) for k in range(steps + 1)]
    return [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles]


def _box(x0: float, y0: float, x1: float, y1: float) -> Points:
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def _star() -> Points:
    radii = (46, 19)
    return [
        (50 + radii[k % 2] * math.sin(math.pi * k / 5), 52 - radii[k % 2] * math.cos(math.pi * k / 5))
        for k in range(10)
    ]


def _heart() -> Points:
    points = []
    for k in range(60):
        t = 2 * math.pi * k / 60
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((50 + x * 2.7, 46 - y * 2.7))
    return points


def _umbrella_hem() -> Points:
    hem: Points = []
    for k in range(3):
        hem += _disc(80 - 30 * k, 52, 15, 9, 0, -180)
    return _disc(50, 52, 45, 42, 180, 360) + hem


def _ghost() -> Points:
    hem: Points = []
    for k in range(3):
        hem += _disc(74 - 24 * k, 86, 12, 9, 0, 180 if k % 2 == 0 else -180)
    return [*_disc(50, 44, 36, 38, 180, 360), (86, 86), *hem]


# Each object: parts in the object's colour, then parts in its detail shade.
SHAPES: dict[str, tuple[list[Points], list[Points]]] = {
    "arrow": ([[(4, 38), (52, 38), (52, 14), (97, 50), (52, 86), (52, 62), (4, 62)]], []),
    "ball": ([_disc(50, 50, 44)], [_box(6, 45, 94, 55), _disc(50, 50, 12)]),
    "bell": (
        [[(10, 80), (22, 66), *_disc(50, 42, 28, 34, 180, 360), (78, 66), (90, 80)], _disc(50, 87, 10)],
        [_box(14, 70, 86, 77)],
    ),
    "boat": (
        [[(4, 66), (96, 66), (78, 92), (22, 92)], [(46, 6), (46, 60), (10, 60)], [(53, 14), (53, 60), (86, 60)]],
        [],
    ),
    "bolt": ([[(58, 2), (18, 56), (46, 56), (34, 98), (82, 38), (53, 38), (74, 2)]], []),
    "bottle": (
        [[(42, 4), (58, 4), (58, 28), (72, 44), (72, 97), (28, 97), (28, 44), (42, 28)]],
        [_box(28, 56, 72, 80)],
    ),
    "cloud": ([_disc(28, 60, 24), _disc(72, 60, 24), _disc(50, 42, 27), _box(26, 58, 74, 84)], []),
    "crown": ([[(6, 84), (4, 26), (28, 54), (50, 14), (72, 54), (96, 26), (94, 84)]], [_box(6, 72, 94, 80)]),
    "cup": ([[(12, 18), (70, 18), (62, 92), (20, 92)], _disc(72, 46, 22)], [_disc(72, 46, 10)]),
    "fish": ([_disc(42, 50, 38, 25), [(70, 50), (97, 22), (97, 78)]], [_disc(22, 44, 5)]),
    "flag": ([[(22, 8), (94, 30), (22, 54)], _box(12, 4, 22, 97)], []),
    "flower": (
        [_disc(50 + 27 * math.cos(k * math.pi / 3), 50 + 27 * math.sin(k * math.pi / 3), 20) for k in range(6)],
        [_disc(50, 50, 16)],
    ),
    "ghost": ([_ghost()], [_disc(38, 42, 7, 10), _disc(62, 42, 7, 10)]),
    "hat": ([_box(26, 16, 74, 74), [(2, 72), (98, 72), (98, 86), (2, 86)]], [_box(26, 58, 74, 69)]),
    "heart": ([_heart()], []),
    "house": ([[(50, 4), (97, 46), (3, 46)], _box(14, 44, 86, 95)], [_box(42, 64, 60, 95)]),
    "key": (
        [_disc(26, 50, 24), _box(44, 44, 97, 56), _box(72, 54, 80, 74), _box(88, 54, 96, 78)],
        [_disc(26, 50, 10)],
    ),
    "moon": ([_disc(50, 50, 45, 45, 50, 310) + _disc(70, 50, 40, 36, 245, 115)], []),
    "mushroom": ([_disc(50, 52, 46, 44, 180, 360), _box(36, 50, 64, 95)], [_disc(32, 36, 8), _disc(62, 30, 9)]),
    "rocket": (
        [
            [(50, 2), (68, 28), (68, 76), (32, 76), (32, 28)],
            [(32, 54), (10, 90), (34, 78)],
            [(68, 54), (90, 90), (66, 78)],
        ],
        [_disc(50, 36, 9), [(40, 78), (60, 78), (50, 98)]],
    ),
    "star": ([_star()], []),
    "sword": (
        [[(50, 2), (58, 14), (58, 66), (42, 66), (42, 14)], _box(22, 64, 78, 73), _box(44, 72, 56, 97)],
        [_box(48, 14, 52, 64)],
    ),
    "tree": ([[(50, 2), (78, 36), (22, 36)], [(50, 20), (92, 76), (8, 76)], _box(42, 74, 58, 97)], []),
    "umbrella": ([_umbrella_hem(), _box(47, 48, 53, 92), _disc(41, 90, 12, 9, 0, 180)], []),
}


def _shade(rgb: tuple[int, int, int], factor: float) -> tuple[int, int, int]:
    return tuple(int(c * factor) for c in rgb) if factor <= 1 else tuple(int(255 - (255 - c) / factor) for c in rgb)  # type: ignore[return-value]


@functools.cache
def sprite(name: str, colour: str, size: int) -> NDArray[np.uint8]:
    """RGBA uint8 (size, size, 4). Black objects get a light outline and details, all others dark ones."""
    rgb = RGB[colour]
    edge = (225, 225, 225) if colour == "black" else (20, 20, 24)
    detail = (90, 90, 96) if colour == "black" else _shade(rgb, 0.55)
    scale = size * OVERSAMPLE / 100
    image = Image.new("RGBA", (size * OVERSAMPLE, size * OVERSAMPLE), (*edge, 0))
    draw = ImageDraw.Draw(image)
    body, details = SHAPES[name]
    parts = [[(4 + x * 0.92) * scale for xy in part for x in xy] for part in body]
    for part in parts:
        draw.polygon(part, fill=(*edge, 255))
        draw.line([*part, *part[:4]], fill=(*edge, 255), width=int(2 * OUTLINE * scale), joint="curve")
    for part in parts:
        draw.polygon(part, fill=(*rgb, 255))
    for piece in details:
        draw.polygon([(4 + x * 0.92) * scale for xy in piece for x in xy], fill=(*detail, 255))
    return np.asarray(image.reduce(OVERSAMPLE))
