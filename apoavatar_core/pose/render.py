"""Keypoints as the coloured stick figure of OpenPose, the picture that pose-conditioned video models are trained on."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

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
_FULLER = (0.125, 0.0625, 0.5)  # pixels that limbs' half widths, dots' radii and bones' widths gain, as smooth outlines do
_FARTHEST = 100.0  # pictures beyond the canvas from which no limb reaches into it, and the drawing's integers overflow soon


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
    zoom = 8 if min(width, height) <= 256 else 4
    frames = np.empty((len(people), height, width, 3), dtype=np.uint8)
    for frame, person in zip(frames, people):
        canvas = Image.new("RGB", (width * zoom, height * zoom))
        _draw_person(canvas, person, max(1.5, min(width, height) / 128 * 2), zoom)
        frame[:] = canvas.reduce(zoom)
    return frames


def _draw_person(canvas: Image.Image, person: PersonKeypoints, stick: float, zoom: int) -> None:
    """Draw onto the canvas in place; `stick` is the limbs' width in the picture's pixels, and the canvas `zoom` times larger."""
    draw = ImageDraw.Draw(canvas)
    fuller_limb, fuller_dot, fuller_bone = _FULLER
    limb, bone = zoom * (stick / 2 + fuller_limb), round(zoom * (stick / 3 + fuller_bone))
    joint, small = zoom * (stick / 2 + fuller_dot), zoom * (stick / 3 + fuller_dot)
    places = person.points[:, :2] * np.array(canvas.size) - 0.5  # Pillow's pixel centres are at whole numbers
    near = np.abs(person.points[:, :2]).max(1) <= _FARTHEST
    seen = (person.points[:, 2] >= VISIBLE) & near
    starts = dict(zip(GROUPS, np.cumsum([0, *GROUPS.values()]).tolist()))

    def visible(group: str, count: int) -> dict[int, int]:
        """Where the first points of a group are among all, by index, only of what is seen."""
        start = starts[group]
        return {i: start + i for i in np.flatnonzero(seen[start : start + count]).tolist()}

    def dot(point: int, radius: float, colour: tuple[int, int, int]) -> None:
        x, y = places[point].tolist()
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)

    body = visible("body", GROUPS["body"])
    for (start, end), colour in zip(LIMBS, COLOURS):
        if start in body and end in body:
            darker = tuple(round(_LIMB_BRIGHTNESS * value) for value in colour)
            draw.polygon(_ellipse(places[start], places[end], limb), fill=darker)
    for i, point in body.items():
        dot(point, joint, COLOURS[i])

    for hand in (visible("left_hand", GROUPS["left_hand"]), visible("right_hand", GROUPS["right_hand"])):
        for colour, (start, end) in zip(_BONE_COLOURS, FINGER_BONES):
            if start in hand and end in hand:
                ends = (*places[hand[start]].tolist(), *places[hand[end]].tolist())
                draw.line(ends, fill=colour, width=bone)
        for point in hand.values():
            dot(point, small, BLUE)

    for point in visible("face", _LANDMARKS).values():
        dot(point, small, WHITE)


_BONE_COLOURS = [
    tuple(round(255 * value) for value in colorsys.hsv_to_rgb(bone / len(FINGER_BONES), 1.0, 1.0))
    for bone in range(len(FINGER_BONES))
]


def _ellipse(start: np.ndarray, end: np.ndarray, half_width: float) -> list[float]:
    """36 corners x, y, x, y, … of an ellipse whose long axis joins two places."""
    middle, along = (start + end) / 2, (end - start) / 2
    length = np.hypot(*along)
    across = np.array([-along[1], along[0]]) * (half_width / length) if length else np.zeros(2)
    turn = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    return (middle + np.outer(np.cos(turn), along) + np.outer(np.sin(turn), across)).ravel().tolist()
