"""The gestures a speaker knows: where the wrist goes and what the hand looks like.

A wrist's place is (outward, up, forward) from its own shoulder, in arm lengths. A hand is `HAND`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

HAND = ("angle", "index", "fingers", "thumb", "spread", "turn")
"""What describes a hand: the angle of its axis in the picture plane (radians from straight up, outward is positive); how
far the index and the other fingers are stretched (0 curled … 1 straight); how far the thumb stands off (0 … 1); how far
the fingers are spread (0 … 1); how much of its breadth is seen (0 on edge … 1 flat)."""

PLACE = slice(0, 3)
"""The wrist's place in the nine numbers of an arm; the hand follows it."""


@dataclass(frozen=True)
class Shape:
    """One way to gesture.

    home: where the stroke's middle lies; beat: from there to the stroke's end (and back to its beginning) at full
    size; hand: at home; flick: what the hand adds at the stroke's end (and takes off at its beginning).
    """

    home: tuple[float, float, float]
    beat: tuple[float, float, float]
    hand: tuple[float, float, float, float, float, float]
    flick: tuple[float, float, float, float, float, float]


SHAPES: dict[str, Shape] = {
    "beat": Shape(
        home=(-0.12, -0.34, 0.40),
        beat=(0.03, -0.17, 0.04),
        hand=(-0.30, 0.12, 0.08, 0.25, 0.1, 0.85),
        flick=(-0.28, 0.0, 0.0, 0.0, 0.0, 0.0),
    ),
    "open": Shape(
        home=(0.06, -0.34, 0.36),
        beat=(0.15, 0.06, 0.04),
        hand=(0.12, 1.0, 0.95, 0.9, 0.75, 1.0),
        flick=(0.30, 0.0, 0.05, 0.1, 0.25, 0.0),
    ),
    "point": Shape(
        home=(0.02, -0.30, 0.44),
        beat=(0.05, 0.17, 0.06),
        hand=(-0.05, 1.0, 0.05, 0.35, 0.0, 0.8),
        flick=(0.22, 0.0, 0.0, 0.0, 0.0, 0.0),
    ),
    "flat": Shape(
        home=(0.07, -0.27, 0.42),
        beat=(0.05, 0.17, 0.05),
        hand=(0.02, 1.0, 1.0, 0.40, 0.0, 0.85),
        flick=(0.16, 0.0, 0.0, 0.0, 0.0, 0.10),
    ),
}

REST = np.array([0.0, -0.615, 0.26, -1.12, 0.80, 0.72, 0.35, 0.12, 0.85])
"""Wrist and hand of an arm that rests before the belly, fingers inward."""


def stroke_ends(shape: Shape, size: float, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Beginning and end [9] of a stroke: `size` scales it, `place` [3] moves it in arm lengths."""
    return along_stroke(shape, -size, place), along_stroke(shape, size, place)


def along_stroke(shape: Shape, along: float, place: np.ndarray) -> np.ndarray:
    """The arm [9] at a point of a stroke: −1 is a full stroke's beginning, 0 the shape's home, 1 the end."""
    home = np.concatenate([np.asarray(shape.home) + place, shape.hand])
    return _possible(home + along * np.concatenate([shape.beat, shape.flick]))


def _possible(arm: np.ndarray) -> np.ndarray:
    """The arm [9] with its hand's shares within 0 … 1."""
    return np.concatenate([arm[:4], np.clip(arm[4:], 0.0, 1.0)])
