"""Backgrounds: one scene for each category, muted so that every object colour stands out, varied by recording."""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .world import WorldSpec, generator, scene_slug

Shade = tuple[int, int, int]


def _mix(rng: random.Random, base: Shade, spread: int = 9) -> Shade:
    return tuple(max(60, min(190, channel + rng.randint(-spread, spread))) for channel in base)  # type: ignore[return-value]


def background(spec: WorldSpec, seed: int, index: int, category: str) -> NDArray[np.uint8]:
    """RGB uint8 (height, width, 3) of the empty scene of one recording."""
    rng = generator(spec.version, seed, index, "scene")
    image = Image.new("RGB", (spec.width, spec.height))
    draw = ImageDraw.Draw(image)
    _DRAW.get(scene_slug(category), _stage)(draw, rng, spec.width, spec.height)
    margin = (spec.width - spec.height) // 2  # outside the central square: a panel as stream overlays have
    panel = _mix(rng, (84, 84, 92), 6)
    side = rng.random() < 0.5
    x0 = 0 if side else spec.width - margin + 8
    draw.rectangle((x0, 8, x0 + margin - 9, 60), fill=panel, outline=_mix(rng, (150, 150, 156), 6))
    for row in range(4):
        draw.rectangle((x0 + 6, 16 + row * 10, x0 + rng.randint(18, margin - 16), 19 + row * 10), fill=(140, 140, 146))
    return np.asarray(image)


def _bands(draw: ImageDraw.ImageDraw, width: int, height: int, top: Shade, bottom: Shade, horizon: int) -> None:
    draw.rectangle((0, 0, width, horizon), fill=top)
    draw.rectangle((0, horizon, width, height), fill=bottom)


def _blocks(draw: ImageDraw.ImageDraw, rng: random.Random, width: int, height: int) -> None:
    horizon = rng.randint(80, 100)
    _bands(draw, width, height, _mix(rng, (138, 150, 162)), _mix(rng, (112, 118, 100)), horizon)
    for x in range(0, width, 16):
        for y in range(horizon - 16 * rng.randint(0, 1), height, 16):
            draw.rectangle((x, y, x + 15, y + 15), fill=_mix(rng, (118, 112, 98), 7), outline=(100, 96, 86))


def _room(draw: ImageDraw.ImageDraw, rng: random.Random, width: int, height: int) -> None:
    horizon = rng.randint(104, 116)
    _bands(draw, width, height, _mix(rng, (150, 142, 136)), _mix(rng, (116, 104, 96)), horizon)
    for k in range(4):
        x = 12 + k * 64 + rng.randint(-6, 6)
        draw.rectangle((x, 14, x + 36, 40), fill=_mix(rng, (136, 130, 126), 6), outline=(118, 112, 108))


def _hills(draw: ImageDraw.ImageDraw, rng: random.Random, width: int, height: int) -> None:
    _bands(draw, width, height, _mix(rng, (146, 154, 164)), _mix(rng, (118, 128, 112)), 96)
    for k in range(5):
        x, radius = k * 64 + rng.randint(-20, 20), rng.randint(36, 60)
        draw.ellipse((x - radius, 100 - radius // 2, x + radius, 160), fill=_mix(rng, (112, 122, 108), 6))


def _canvas(draw: ImageDraw.ImageDraw, rng: random.Random, width: int, height: int) -> None:
    draw.rectangle((0, 0, width, height), fill=_mix(rng, (126, 118, 110)))
    draw.rectangle((38, 6, width - 38, height - 8), fill=_mix(rng, (168, 162, 152), 5), outline=(104, 96, 88), width=3)
    for _ in range(10):
        x, y = rng.randint(46, width - 60), rng.randint(12, height - 20)
        draw.line((x, y, x + rng.randint(-18, 18), y + rng.randint(-6, 6)), fill=_mix(rng, (158, 152, 144), 5), width=2)


def _lanes(draw: ImageDraw.ImageDraw, rng: random.Random, width: int, height: int) -> None:
    draw.rectangle((0, 0, width, height), fill=_mix(rng, (106, 116, 108)))
    shift = rng.randint(-30, 30)
    for k in (-1, 0, 1):
        x = shift + k * 110
        draw.line((x, height, x + 190, 0), fill=_mix(rng, (134, 128, 116), 5), width=22)


def _stage(draw: ImageDraw.ImageDraw, rng: random.Random, width: int, height: int) -> None:
    draw.rectangle((0, 0, width, height), fill=_mix(rng, (120, 112, 124)))
    for k in range(5):
        x = 24 + k * 52 + rng.randint(-8, 8)
        draw.polygon((x, 0, x - 24, height - 30, x + 24, height - 30), fill=_mix(rng, (134, 128, 140), 5))
    draw.rectangle((0, height - 26, width, height), fill=_mix(rng, (104, 98, 100), 6))


def _castle(draw: ImageDraw.ImageDraw, rng: random.Random, width: int, height: int) -> None:
    _bands(draw, width, height, _mix(rng, (140, 140, 154)), _mix(rng, (112, 110, 106)), 104)
    for k in range(4):
        x, top = k * 70 + rng.randint(-12, 12), rng.randint(34, 60)
        draw.rectangle((x, top, x + 30, 104), fill=_mix(rng, (124, 120, 122), 6))


def _walls(draw: ImageDraw.ImageDraw, rng: random.Random, width: int, height: int) -> None:
    draw.rectangle((0, 0, width, height), fill=_mix(rng, (146, 138, 122)))
    for row, y in enumerate(range(0, height, 18)):
        for x in range(-18 * (row % 2), width, 36):
            draw.rectangle((x, y, x + 35, y + 17), outline=_mix(rng, (126, 120, 108), 4))


def _city(draw: ImageDraw.ImageDraw, rng: random.Random, width: int, height: int) -> None:
    draw.rectangle((0, 0, width, height), fill=_mix(rng, (136, 142, 152)))
    for k in range(7):
        x, top = k * 38 + rng.randint(-6, 6), rng.randint(40, 92)
        draw.rectangle((x, top, x + 30, height), fill=_mix(rng, (112, 114, 122), 6))


def _arena(draw: ImageDraw.ImageDraw, rng: random.Random, width: int, height: int) -> None:
    draw.rectangle((0, 0, width, height), fill=_mix(rng, (124, 122, 118)))
    for radius in range(120, 20, -24):
        draw.ellipse(
            (width // 2 - radius, height // 2 - radius // 2, width // 2 + radius, height // 2 + radius // 2),
            fill=_mix(rng, (124, 122, 118), 8),
        )


def _hall(draw: ImageDraw.ImageDraw, rng: random.Random, width: int, height: int) -> None:
    _bands(draw, width, height, _mix(rng, (132, 128, 124)), _mix(rng, (108, 106, 110)), 112)
    for x in range(rng.randint(0, 20), width, 34):
        draw.rectangle((x, 10, x + 9, 112), fill=_mix(rng, (146, 142, 136), 5))


_DRAW = {
    "minecraft": _blocks,
    "just-chatting": _room,
    "fortnite": _hills,
    "art": _canvas,
    "league-of-legends": _lanes,
    "music": _stage,
    "world-of-warcraft": _castle,
    "counter-strike": _walls,
    "overwatch-2": _city,
    "valorant": _arena,
    "special-events": _hall,
}
