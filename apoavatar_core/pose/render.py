"""Keypoints as the coloured stick figure of OpenPose, the picture that pose-conditioned video models are trained on."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence

import numpy as np

from .keypoints import GROUPS, VISIBLE, PersonKeypoints

LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
"""Body points joined by a limb, in the order of their colours."""

FINGER_BONES = tuple(
    (4 * finger + joint if joint else 0, 4 * finger + joint + 1) for finger in range(5) for joint in range(4)
)
"""Hand points joined by a line: from the wrist along each finger."""

COLOURS = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85),
    (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255),
    (255, 0, 170), (255, 0, 85),
)  # fmt: skip
"""RGB of body point i; limb i has the same hue, darker."""

BLUE, WHITE = (0, 0, 255), (255, 255, 255)

_LIMB_BRIGHTNESS = 0.6  # DWPose's, so that joints stand out from limbs
_LANDMARKS = 68  # pupils are body points already
_FARTHEST = 100.0  # pictures beyond the canvas from which no limb reaches into it, and OpenCV's integers overflow soon
_SHIFT = 4  # OpenCV takes fixed-point coordinates with this many fractional bits


def refuse_empty(width: int, height: int) -> None:
    """Raise ValueError unless a picture of this size in pixels has any."""
    if width < 1 or height < 1:
        raise ValueError(f"A pose cannot be drawn at {width} x {height} pixels: use a width and height of at least 1.")


def render_pose(people: Sequence[PersonKeypoints], width: int, height: int) -> np.ndarray:
    """Draw one stick figure per frame.

    The figure is drawn larger and scaled down, so that lines thinner than a pixel and movements smaller than one
    survive. Line widths grow with the smaller side and are those of DWPose at 512 pixels.

    Args:
        people: T frames; points with a confidence below 0.3 are left out, and those a hundred pictures away.
        width: pixels, at least 1.
        height: pixels, at least 1.

    Returns:
        Uint8 RGB [T, height, width, 3] on black.

    Raises:
        ValueError: when width or height is not positive.
    """
    refuse_empty(width, height)
    import cv2

    zoom = 4 if min(width, height) <= 256 else 2
    frames = np.empty((len(people), height, width, 3), dtype=np.uint8)
    for frame, person in zip(frames, people):
        canvas = np.zeros((height * zoom, width * zoom, 3), dtype=np.uint8)
        _draw_person(canvas, person, stick=zoom * max(1.5, min(width, height) / 128 * 2))
        frame[:] = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    return frames


def _draw_person(canvas: np.ndarray, person: PersonKeypoints, stick: float) -> None:
    """Draw onto canvas [H, W, 3] in place; `stick` is the limbs' width in its pixels."""
    import cv2

    scale = np.array([canvas.shape[1], canvas.shape[0]])
    places = person.points[:, :2] * scale - 0.5  # OpenCV's pixel centres are at whole numbers
    near = np.abs(person.points[:, :2]).max(1) <= _FARTHEST
    seen = (person.points[:, 2] >= VISIBLE) & near
    fixed = np.where(near[:, None], np.rint(places * (1 << _SHIFT)), 0).astype(np.int64).tolist()
    starts = dict(zip(GROUPS, np.cumsum([0, *GROUPS.values()]).tolist()))

    def visible(group: str, count: int) -> dict[int, int]:
        """Where the first points of a group are among all, by index, only of what is seen."""
        start = starts[group]
        return {i: start + i for i in np.flatnonzero(seen[start : start + count]).tolist()}

    def dot(point: int, radius: int, colour: tuple[int, int, int]) -> None:
        cv2.circle(canvas, fixed[point], radius, colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)

    joint, small = round(stick / 2 * (1 << _SHIFT)), round(stick / 3 * (1 << _SHIFT))
    body = visible("body", GROUPS["body"])
    for (start, end), colour in zip(LIMBS, COLOURS):
        if start in body and end in body:
            middle, along = (places[start] + places[end]) / 2, places[end] - places[start]
            corners = _ellipse(middle, np.hypot(*along) / 2, stick / 2, math.atan2(along[1], along[0]))
            darker = tuple(_LIMB_BRIGHTNESS * value for value in colour)
            fixed_corners = np.round(corners * (1 << _SHIFT)).astype(np.int32)
            cv2.fillConvexPoly(canvas, fixed_corners, darker, cv2.LINE_AA, _SHIFT)
    for i, point in body.items():
        dot(point, joint, COLOURS[i])

    thickness = max(1, round(stick / 3))
    for hand in (visible("left_hand", GROUPS["left_hand"]), visible("right_hand", GROUPS["right_hand"])):
        for colour, (start, end) in zip(_BONE_COLOURS, FINGER_BONES):
            if start in hand and end in hand:
                cv2.line(canvas, fixed[hand[start]], fixed[hand[end]], colour, thickness, cv2.LINE_AA, _SHIFT)
        for point in hand.values():
            dot(point, small, BLUE)

    for point in visible("face", _LANDMARKS).values():
        dot(point, small, WHITE)


_BONE_COLOURS = [
    tuple(255 * value for value in colorsys.hsv_to_rgb(bone / len(FINGER_BONES), 1.0, 1.0)) for bone in range(len(FINGER_BONES))
]


def _ellipse(centre: np.ndarray, long: float, short: float, angle: float) -> np.ndarray:
    """Corners [36, 2] of an ellipse with the given half axes, the long one at `angle` radians."""
    turn = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    x, y = long * np.cos(turn), short * np.sin(turn)
    cosine, sine = np.cos(angle), np.sin(angle)
    return centre + np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=-1)
