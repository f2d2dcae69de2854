"""Movements measured on keypoints: how far the mouth is open, how fast the hands move."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .keypoints import LEFT_WRIST, RIGHT_WRIST, VISIBLE, PersonKeypoints

UPPER_INNER_LIP = (61, 62, 63)
LOWER_INNER_LIP = (67, 66, 65)


def mouth_opening(person: PersonKeypoints) -> float:
    """Vertical distance between the inner lips.

    Returns:
        Fraction of the frame's height (0 = closed), the mean over the three facing pairs of inner-lip landmarks; NaN
        when the lips are not seen.
    """
    upper, lower = person.face[list(UPPER_INNER_LIP)], person.face[list(LOWER_INNER_LIP)]
    if min(upper[:, 2].mean(), lower[:, 2].mean()) < VISIBLE:
        return float("nan")
    return float((lower[:, 1] - upper[:, 1]).mean())


def hand_speed(people: Sequence[PersonKeypoints], aspect: float = 1.0) -> np.ndarray:
    """How far the wrists moved since the frame before.

    Args:
        people: T consecutive frames.
        aspect: frame width / frame height, which turns horizontal fractions into fractions of the height.

    Returns:
        Float64 [T], fractions of the frame's height per frame, the mean over the wrists seen in both frames; NaN when
        there is none. The first frame, which has no predecessor, is 0.
    """
    if not people:
        return np.zeros(0)
    wrists = np.stack([person.body[[RIGHT_WRIST, LEFT_WRIST]] for person in people]).astype(np.float64)
    seen = wrists[..., 2] >= VISIBLE
    seen = seen[1:] & seen[:-1]
    distance = np.linalg.norm(np.diff(wrists[..., :2], axis=0) * (aspect, 1.0), axis=-1)
    count = seen.sum(axis=1)
    mean = np.where(count > 0, (distance * seen).sum(axis=1) / np.maximum(count, 1), np.nan)
    return np.concatenate([[0.0], mean])


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson correlation of two tracks [T], over the frames where neither is NaN; NaN when one does not vary there."""
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    valid = np.isfinite(first) & np.isfinite(second)
    if valid.sum() < 2 or np.ptp(first[valid]) == 0 or np.ptp(second[valid]) == 0:
        return float("nan")
    return float(np.corrcoef(first[valid], second[valid])[0, 1])
