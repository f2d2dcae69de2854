"""How far human joints go, and where a performance leaves their range."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .body import Arm
from .performance import BodyTrack

# Degrees, after the American Academy of Orthopaedic Surgeons' Joint Motion (1965).
ELBOW = 150.0
"""Flexion; 0 is a straight arm."""
SHOULDER_BACK = 60.0
"""How far an upper arm goes behind the body."""
WRIST = 80.0
"""Bend of a hand from its forearm."""
NECK_TURN, NECK_NOD, NECK_TILT = 80.0, 50.0, 45.0


def outside_range(arms: Iterable[Arm], track: BodyTrack) -> np.ndarray:
    """Whether a joint of T poses is beyond what a human one reaches: bool [T]."""
    outside = np.zeros(len(track), bool)
    for arm in arms:
        outside |= between(arm.upper, arm.fore) > ELBOW
        outside |= -np.degrees(np.arcsin(np.clip(arm.upper[:, 2], -1, 1))) > SHOULDER_BACK
        outside |= between(arm.fore, arm.axis) > WRIST
    for angle, limit in ((track.head_turn, NECK_TURN), (track.head_nod, NECK_NOD), (track.head_tilt, NECK_TILT)):
        outside |= np.abs(np.degrees(angle)) > limit
    return outside


def between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Degrees [T] between unit vectors [T, 3]."""
    return np.degrees(np.arccos(np.clip((first * second).sum(1), -1.0, 1.0)))


def within_range(arm: Arm) -> Arm:
    """The arm with elbow and wrist bent no farther than a human's; hands go with their axes."""
    fore = bent_at_most(ELBOW, arm.upper, arm.fore)
    axis = bent_at_most(WRIST, fore, arm.axis)
    reach = np.linalg.norm(arm.hand, axis=-1, keepdims=True)
    return Arm(arm.upper, fore, arm.hand + reach * (axis - arm.axis)[:, None, :2], axis)


def bent_at_most(degrees: float, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The second of two unit vectors [T, 3], turned toward the first where it is farther than that from it."""
    across = second - (first * second).sum(1, keepdims=True) * first
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    limit = np.radians(degrees - 1e-6)
    turned = np.cos(limit) * first + np.sin(limit) * across
    return np.where(between(first, second)[:, None] > degrees, turned, second)
