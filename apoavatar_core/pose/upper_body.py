"""Where head, shoulders and hands are in a picture: what a portrait must show of a person."""

from __future__ import annotations

import numpy as np

from .keypoints import LANDMARKS, VISIBLE, PersonKeypoints

_HEAD = (0, 14, 15, 16, 17)
_SHOULDERS_AND_WRISTS = (1, 2, 4, 5, 7)
_ABOVE, _BESIDE, _BELOW = 0.9, 0.35, 0.5
"""Hair and neck: how far a head reaches beyond what is known of the face, in the larger side of that."""
_ROOM = 0.05
"""What is round joints of shoulders and fingers, in the larger side of the box of all joints."""


def upper_body(person: PersonKeypoints, width: int, height: int) -> tuple[float, float, float, float] | None:
    """The box of head, shoulders and hands as far as they are in the picture.

    Args:
        person: keypoints in fractions of a picture.
        width, height: of the picture, in pixels.

    Returns:
        Left, top, right and bottom in fractions of the picture, 0 … 1; None where nothing of them is seen in it.
    """
    size = np.array([width, height])
    face = np.concatenate([_seen(person.face[:LANDMARKS]), _seen(person.body[list(_HEAD)])])
    joints = _seen(np.concatenate([person.body[list(_SHOULDERS_AND_WRISTS)], person.left_hand, person.right_hand]))
    corners = np.concatenate([_head(face * size), _with_room(joints * size)])
    if not len(corners):
        return None
    left, top, right, bottom = (np.concatenate([corners.min(0), corners.max(0)]) / [*size, *size]).clip(0, 1)
    return (left, top, right, bottom) if left < right and top < bottom else None


def _seen(points: np.ndarray) -> np.ndarray:
    """Points [n, 3] → the places [m, 2] of those that are seen."""
    return points[points[:, 2] >= VISIBLE, :2]


def _head(points: np.ndarray) -> np.ndarray:
    """Points of a face [n, 2] in pixels → two corners of the head [2, 2]; [0, 2] where too few are known."""
    if len(points) < 2:
        return points[:0]
    low, high = points.min(0), points.max(0)
    size = (high - low).max()
    return np.array([low - size * np.array([_BESIDE, _ABOVE]), high + size * np.array([_BESIDE, _BELOW])])


def _with_room(joints: np.ndarray) -> np.ndarray:
    """Joints [n, 2] in pixels → two corners round them [2, 2]; [0, 2] where none is known."""
    if not len(joints):
        return joints
    low, high = joints.min(0), joints.max(0)
    room = _ROOM * (high - low).max()
    return np.array([low - room, high + room])
