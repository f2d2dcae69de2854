"""Smoothing of points over time that follows fast movements and stills slow ones.

The One-Euro filter (Casiez, Roussel, Vogel 2012) with speeds measured in sizes of the object, as MediaPipe has it.
"""

from __future__ import annotations

import math

import numpy as np

RATE = 30.0
"""Frames a second that MediaPipe takes a film to have; its cutoffs are made for it."""

_SPEED_CUTOFF = 1.0  # Hz


class OneEuro:
    """Smooths points [n, 2] frame after frame.

    Args:
        cutoff: Hz, the lowest: how much still points are smoothed.
        beta: how fast the cutoff rises with speed, in Hz per object size a second.
    """

    def __init__(self, cutoff: float, beta: float) -> None:
        self.cutoff, self.beta = cutoff, beta
        self.last: np.ndarray | None = None

    def __call__(self, points: np.ndarray, size: float) -> np.ndarray:
        """The next frame's points, and the object's size, in pixels."""
        if self.last is None:
            self.smooth, self.speed = points, np.zeros_like(points)
        else:
            speed = (points - self.last) / size * RATE
            self.speed = self.speed + _share(_SPEED_CUTOFF) * (speed - self.speed)
            share = _share(self.cutoff + self.beta * np.abs(self.speed))
            self.smooth = self.smooth + share * (points - self.smooth)
        self.last = points
        return self.smooth


class LowPass:
    """Smooths values: the newest one has the weight `share`."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.smooth: np.ndarray | None = None

    def __call__(self, values: np.ndarray) -> np.ndarray:
        self.smooth = values if self.smooth is None else self.smooth + self.share * (values - self.smooth)
        return self.smooth


def _share(cutoff):
    """The weight of the newest value in a low pass with that cutoff in Hz."""
    return 1 / (1 + RATE / (2 * math.pi * cutoff))
