"""The shape of a hand as OpenPose's 21 points on a picture."""

from __future__ import annotations

import numpy as np

_FINGER_OFFSETS = (0.21, 0.07, -0.07, -0.20)
_FINGER_LENGTHS = (0.47, 0.52, 0.48, 0.38)
_FINGER_FAN = (0.34, 0.11, -0.13, -0.38)
_STRAIGHT, _CURLED = np.array([0.0, 0.40, 0.70, 1.0]), np.array([0.0, 0.36, 0.24, -0.06])
_THUMB_REACHES = (0.0, 0.16, 0.31, 0.45)


def hand_points(shape: np.ndarray) -> np.ndarray:
    """Hands [..., 6] in the numbers of `shapes.HAND` → [..., 21, 2]: outward and up from the wrist, in hand lengths.

    The wrist comes first, then four points each of thumb, index, middle, ring and little finger. The palm faces the
    viewer: thumbs point outward when fingers point up.
    """
    angle, index, others, thumb, spread, turn = np.moveaxis(np.asarray(shape, dtype=np.float64), -1, 0)
    zero = np.zeros_like(angle)
    thumb_angle = 0.15 + 0.75 * thumb
    points = [(zero, zero)]
    points += [(0.12 + reach * np.cos(thumb_angle), 0.14 + reach * np.sin(thumb_angle)) for reach in _THUMB_REACHES]
    for finger, (offset, length, fan) in enumerate(zip(_FINGER_OFFSETS, _FINGER_LENGTHS, _FINGER_FAN, strict=True)):
        stretched = index if finger == 0 else others
        turned = fan * (0.25 + spread)
        for curled, straight in zip(_CURLED, _STRAIGHT, strict=True):
            reach = (curled + stretched * (straight - curled)) * length
            points.append((0.5 + reach * np.cos(turned), offset + reach * np.sin(turned)))
    forward, sideways = np.moveaxis(np.array(points), 1, 0)  # [21, ...] each
    ahead = np.array([np.sin(angle), np.cos(angle)])
    thumbward = np.array([ahead[1], -ahead[0]]) * turn
    place = forward[None] * ahead[:, None] + sideways[None] * thumbward[:, None]  # [2, 21, ...]
    return np.moveaxis(place, (0, 1), (-1, -2))
