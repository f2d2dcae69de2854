"""Minimum-jerk movements, and paths made of them.

A path is where it began plus the sum of its moves' displacements, each eased on its own. Moves that overlap blend, as
people's arms do when a target changes on the way (Henis & Flash 1995), so velocity and acceleration never jump.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Move:
    """From `start` for `duration` (seconds, above 0) to `target` [D]."""

    start: float
    duration: float
    target: np.ndarray

    @property
    def end(self) -> float:
        return self.start + self.duration


def minimum_jerk(share: np.ndarray) -> np.ndarray:
    """Share of the way after a share of the time (Flash & Hogan 1985): 0 before 0, 1 after 1, at rest at both ends."""
    share = np.clip(share, 0.0, 1.0)
    return share**3 * (10 - 15 * share + 6 * share**2)


def follow(origin: np.ndarray, moves: Sequence[Move], times: np.ndarray) -> np.ndarray:
    """Places [T, D] at ascending `times` [T] of a path that waits at `origin` [D] and makes `moves` one by one.

    A move's displacement goes from the target before it to its own.
    """
    path = np.tile(np.asarray(origin, dtype=np.float64), (len(times), 1))
    before = np.asarray(origin, dtype=np.float64)
    for move in moves:
        begin, done = np.searchsorted(times, [move.start, move.end])
        step = move.target - before
        path[begin:done] += minimum_jerk((times[begin:done] - move.start) / move.duration)[:, None] * step
        path[done:] += step
        before = move.target
    return path
