"""Two charts: paired differences with their intervals, and how a difference changes with the share that the voice explains."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .questions import Answer
from .statistics import Difference

FINENESS = 2
"""So many times larger they are drawn, and then scaled down, which smooths lines."""
PAPER, INK, FAINT, PALE = (255, 255, 255), (60, 64, 74), (160, 166, 178), (236, 239, 244)
COLOURS = {"better": (40, 140, 90), "worse": (200, 60, 50), "the same": (70, 110, 180), "undecided": (150, 150, 150)}
LINES = ((206, 84, 60), (70, 110, 180), (40, 140, 90))
FOREST_WIDTH, ROW, LABELS = 860, 24, 500
FARTHEST = 6.0
"""Multiples of what is worth noticing, at which the forest's axis ends at the latest."""
CURVE_SIZE, MARGIN = (620, 360), 60


def forest(answers: Sequence[Answer]) -> np.ndarray:
    """One line for each answer: its interval in multiples of the smallest difference worth noticing, right where the first is
    better.

    Returns:
        uint8 RGB [H, FOREST_WIDTH, 3].
    """
    height = ROW * (len(answers) + 2)
    image, draw, font = _canvas(FOREST_WIDTH, height)
    reach = min(FARTHEST, max([1.5, *(abs(end) for answer in answers for end in _interval(answer) if math.isfinite(end))]))
    middle, unit = (LABELS + FOREST_WIDTH) / 2, (FOREST_WIDTH - LABELS - 20) / 2 / reach

    def x(multiple: float) -> float:
        return (middle + unit * min(max(multiple, -reach), reach)) * FINENESS

    bottom = (height - ROW) * FINENESS
    draw.rectangle([x(-1), ROW * FINENESS / 2, x(1), bottom], fill=PALE)
    draw.line([x(0), ROW * FINENESS / 2, x(0), bottom], FAINT, FINENESS)
    for row, answer in enumerate(answers):
        y = (row + 1) * ROW * FINENESS
        text = f"{answer.measured.title}: {answer.first.key} - {answer.second.key}"
        draw.text((8 * FINENESS, y), text, INK, font, anchor="lm")
        low, high = sorted(_interval(answer))
        colour = COLOURS[answer.verdict]
        draw.line([x(low), y, x(high), y], colour, 3 * FINENESS)
        dot = x(answer.difference.mean * answer.measured.better / answer.measured.worth)
        draw.ellipse([dot - 4 * FINENESS, y - 4 * FINENESS, dot + 4 * FINENESS, y + 4 * FINENESS], fill=colour)
    draw.text((x(-reach), bottom + ROW * FINENESS / 2), "worse", INK, font, anchor="lm")
    draw.text((x(reach), bottom + ROW * FINENESS / 2), "better", INK, font, anchor="rm")
    return _reduced(image)


def _interval(answer: Answer) -> tuple[float, float]:
    """In multiples of what is worth noticing, above 0 where the first is better."""
    factor = answer.measured.better / answer.measured.worth
    return answer.difference.low * factor, answer.difference.high * factor


def curve(lines: Mapping[str, Sequence[Difference]], shares: Sequence[float], title: str) -> np.ndarray:
    """Differences with their intervals over the share of the hands' motion that the voice explains: uint8 RGB [H, W, 3].

    Args:
        lines: up to three by their names, a difference for each share.
        shares: 0 … 1, in ascending order.
        title: of the upright axis.
    """
    width, height = CURVE_SIZE
    image, draw, font = _canvas(width, height)
    ends = [end for line in lines.values() for found in line for end in (found.low, found.high) if math.isfinite(end)]
    reach = 1.1 * max([1e-3, *map(abs, ends)])

    def x(share: float) -> float:
        return (MARGIN + share * (width - 2 * MARGIN)) * FINENESS

    def y(value: float) -> float:
        return (height / 2 - min(max(value, -reach), reach) / reach * (height / 2 - MARGIN)) * FINENESS

    draw.line([x(0), y(0), x(1), y(0)], FAINT, FINENESS)
    for value in (-reach, 0, reach):
        draw.text((x(0) - 4 * FINENESS, y(value)), f"{value:+.2f}", INK, font, anchor="rm")
    for share in shares:
        draw.text((x(share), (height - MARGIN + 12) * FINENESS), f"{share:.0%}", INK, font, anchor="mm")
    draw.text((x(1), (height - 16) * FINENESS), "of the hands' speed explained by the voice", INK, font, anchor="rm")
    draw.text((8 * FINENESS, 14 * FINENESS), title, INK, font, anchor="lm")
    for number, (name, line) in enumerate(lines.items()):
        colour, aside = LINES[number], (number - 1) * 4 * FINENESS
        points = [(x(share) + aside, y(found.mean)) for share, found in zip(shares, line, strict=True)]
        draw.line(points, colour, 2 * FINENESS)
        for (place, _), found in zip(points, line):
            draw.line([place, y(found.low), place, y(found.high)], colour, 2 * FINENESS)
        draw.text((x(0) + 10 * FINENESS, (34 + 16 * number) * FINENESS), name, colour, font, anchor="lm")
    return _reduced(image)


def _canvas(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw, ImageFont.FreeTypeFont]:
    image = Image.new("RGB", (width * FINENESS, height * FINENESS), PAPER)
    return image, ImageDraw.Draw(image), ImageFont.load_default(12 * FINENESS)


def _reduced(image: Image.Image) -> np.ndarray:
    return np.array(image.resize((image.width // FINENESS, image.height // FINENESS), Image.Resampling.BOX))
