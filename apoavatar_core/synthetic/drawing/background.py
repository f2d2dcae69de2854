"""The wall behind the presenter."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..identity import Colour
from .canvas import Canvas, darker, lighter, luminance, mix, smooth_curve

_GREENS: tuple[Colour, ...] = ((86, 150, 104), (66, 128, 92), (110, 170, 116))
_POT: Colour = (206, 126, 92)
_SKY: Colour = (206, 232, 248)
_CLOUD: Colour = (246, 251, 255)
_WOOD: Colour = (178, 132, 98)
_BOOKS: tuple[Colour, ...] = ((204, 104, 94), (240, 200, 110), (98, 146, 178), (122, 168, 126), (150, 118, 168))


@lru_cache(maxsize=32)
def background_image(kind: str, wall: Colour, pixels: int) -> np.ndarray:
    """Read-only uint8 RGB [pixels, pixels, 3] of a wall of the given kind and colour."""
    canvas = Canvas(_soft_gradient(wall, pixels))
    match kind:
        case "two-tone":
            _two_tone(canvas, wall)
        case "window":
            _window(canvas)
        case "plant":
            _plant(canvas)
        case "circles":
            _circles(canvas, wall)
        case "shelf":
            _shelf(canvas)
    canvas.pixels.setflags(write=False)
    return canvas.pixels


def _soft_gradient(wall: Colour, pixels: int) -> np.ndarray:
    """The wall, a little lighter at the top."""
    top, bottom = np.array(lighter(wall, 0.16)), np.array(darker(wall, 0.05))
    share = np.linspace(0, 1, pixels)[:, None]
    rows = np.round(top + (bottom - top) * share).astype(np.uint8)
    return np.repeat(rows[:, None, :], pixels, axis=1)


def _rectangle(canvas: Canvas, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
    canvas.polygon(np.array([[left, top], [right, top], [right, bottom], [left, bottom]]), colour)


def _two_tone(canvas: Canvas, wall: Colour) -> None:
    _rectangle(canvas, -0.1, 0.58, 1.1, 1.1, darker(wall, 0.16))
    _rectangle(canvas, -0.1, 0.57, 1.1, 0.592, lighter(wall, 0.55))


def _window(canvas: Canvas) -> None:
    left, top, right, bottom = 0.70, 0.08, 1.05, 0.50
    _rectangle(canvas, left - 0.03, top - 0.03, right, bottom + 0.03, (250, 249, 246))
    _rectangle(canvas, left, top, right, bottom, _SKY)
    for x, y, radius in ((0.80, 0.40, 0.045), (0.86, 0.385, 0.06), (0.93, 0.40, 0.05)):
        canvas.disc(np.array([x, y]), radius, _CLOUD)
    _rectangle(canvas, left, 0.27, right, 0.292, (250, 249, 246))
    _rectangle(canvas, 0.868, top, 0.890, bottom, (250, 249, 246))
    _rectangle(canvas, left - 0.045, bottom + 0.02, right, bottom + 0.05, (232, 228, 222))


def _plant(canvas: Canvas) -> None:
    stem = np.array([0.115, 0.58])
    leaves = ((-1.15, 0.20, 0), (0.95, 0.17, 1), (-0.55, 0.31, 1), (0.42, 0.29, 0), (-0.08, 0.35, 2))
    for angle, length, shade in leaves:
        ahead = np.array([np.sin(angle), -np.cos(angle)])
        across = np.array([-ahead[1], ahead[0]])
        outline = [stem + length * (f * ahead + w * across) for f, w in (
            (0.0, 0.02), (0.45, 0.16), (0.8, 0.11), (1.0, 0.0), (0.8, -0.11), (0.45, -0.16), (0.0, -0.02))]
        canvas.polygon(smooth_curve(np.array(outline)), _GREENS[shade])
    pot = np.array([[0.03, 0.57], [0.20, 0.57], [0.18, 0.76], [0.05, 0.76]])
    canvas.polygon(pot, _POT)
    _rectangle(canvas, 0.018, 0.55, 0.212, 0.60, lighter(_POT, 0.18))


def _circles(canvas: Canvas, wall: Colour) -> None:
    accent = lighter(wall, 0.40) if luminance(wall) < 170 else darker(wall, 0.10)
    warm = mix(wall, (250, 214, 160), 0.55)
    canvas.disc(np.array([0.5, 0.40]), 0.40, accent)
    canvas.disc(np.array([0.92, 0.13]), 0.115, warm)
    canvas.disc(np.array([0.06, 0.60]), 0.085, warm)


def _shelf(canvas: Canvas) -> None:
    for top, books in ((0.32, ((0.02, 0.15, 0), (0.075, 0.19, 2), (0.13, 0.13, 1), (0.185, 0.17, 3))),
                       (0.60, ((-0.01, 0.17, 4), (0.045, 0.14, 3), (0.10, 0.18, 0), (0.155, 0.15, 2)))):
        for left, height, colour in books:
            _rectangle(canvas, left, top - height, left + 0.05, top, _BOOKS[colour])
        _rectangle(canvas, -0.1, top, 0.265, top + 0.026, _WOOD)
