"""From frame to frame: where a hand or a face was is where to look, as long as the body agrees."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .crops import Square


@dataclass(frozen=True)
class Loyalty:
    """How far the square of the frame before may be from the one that this frame suggests.

    Attributes:
        turn: degrees.
        move: along the suggested square's sides, in its sides.
        growth: likewise.
        margin: how much of the suggested square, in its sides, is a rim that the landmarks must keep out of.
    """

    turn: float
    move: float
    growth: float
    margin: float


HAND = Loyalty(turn=40, move=0.2, growth=0.4, margin=0.1)
FACE = Loyalty(turn=15, move=0.1, growth=0.3, margin=0.2)


def followed(before: Square | None, landmarks: np.ndarray | None, suggested: Square, loyalty: Loyalty) -> Square:
    """The square to look in.

    Args:
        before: the square round the landmarks of the frame before; None when there were none.
        landmarks: those landmarks, [n, 2] in pixels.
        suggested: the square that this frame's body, or a detector, suggests.
        loyalty: what the two must have in common.

    Returns:
        The one before, or the suggested one when the thing has moved too far.
    """
    if before is None or landmarks is None:
        return suggested
    turn = math.degrees(abs((before.angle - suggested.angle + math.pi) % (2 * math.pi) - math.pi))
    centre = suggested.from_picture(np.array([before.x, before.y])) - 0.5
    places = suggested.from_picture(landmarks) - 0.5
    close = (
        turn <= loyalty.turn
        and np.abs(centre).max() <= loyalty.move
        and abs(before.side / suggested.side - 1) <= loyalty.growth
        and np.abs(places).max() < (1 - loyalty.margin) / 2
    )
    return before if close else suggested
