"""How much of a hand a picture shows: whether there is one, where, and how sharp the picture is there."""

from __future__ import annotations

import numpy as np

from ..pose.keypoints import VISIBLE

MARGIN = 0.025
"""Of the frame's height, round a hand's points: fingers are as wide."""
BRIGHTNESS = (0.299, 0.587, 0.114)


def is_seen(hand: np.ndarray) -> bool:
    """Whether a network that found these points [21, 3] sees a hand there: it is sure enough of them on average."""
    return bool(hand[:, 2].mean() >= VISIBLE)


def hand_box(hand: np.ndarray, height: int, width: int) -> tuple[slice, slice] | None:
    """Rows and columns round the points of a hand [21, 3] that are shown, within the frame; None when fewer than half are."""
    shown = hand[hand[:, 2] >= VISIBLE, :2]
    if len(shown) < len(hand) / 2:
        return None
    places, margin = shown * (width, height), MARGIN * height
    low = np.floor(places.min(0) - margin).astype(int)
    high = np.ceil(places.max(0) + margin).astype(int)
    (left, top), (right, bottom) = np.clip(low, 0, (width - 2, height - 2)), np.clip(high, 2, (width, height))
    return slice(int(top), int(bottom)), slice(int(left), int(right))


def gradient_energy(picture: np.ndarray) -> float:
    """Mean squared difference in brightness of neighbouring pixels: uint8 [h ≥ 2, w ≥ 2, 3], in squared grey levels."""
    bright = picture.astype(np.float64) @ BRIGHTNESS
    return float(np.square(np.diff(bright, axis=0)).mean() + np.square(np.diff(bright, axis=1)).mean())
