"""Keypoints drawn as other nodes draw them, pixel by pixel: ComfyUI's SDPose node and DWPose of controlnet-aux.

Their lines are those of OpenCV: limbs are ellipses with corners on whole pixels, dots whole pixels within the radius.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from .keypoints import VISIBLE, PersonKeypoints
from .render import BLUE, COLOURS, FINGER_BONES, LIMBS, WHITE, refuse_empty

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class DrawingStyle:
    """What differs between the two.

    Attributes:
        limb_brightness: of a limb, in shares of its points' colour.
        right_hand_first: which hand lies under the other.
        to_byte: how a finger's colour becomes whole numbers.
    """

    limb_brightness: float
    right_hand_first: bool
    to_byte: Callable[[float], int]

    @property
    def bone_colours(self) -> list[Colour]:
        """Of each bone of a hand, round the colour wheel."""
        hues = np.arange(len(FINGER_BONES)) / len(FINGER_BONES)
        return [tuple(self.to_byte(255 * value) for value in colorsys.hsv_to_rgb(hue, 1.0, 1.0)) for hue in hues]


SDPOSE = DrawingStyle(limb_brightness=1.0, right_hand_first=True, to_byte=int)
CONTROLNET_AUX = DrawingStyle(limb_brightness=0.6, right_hand_first=False, to_byte=round)

_LIMB_WIDTH, _JOINT, _FACE_DOT = 4, 4, 3  # half axes and radii in pixels, whatever the size of the picture
_LANDMARKS = 68
_TURN = np.radians(np.arange(361))
_CROSS = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
_NUDGE = 1e-4  # pixels: fractions of a width do not give back whole pixels exactly


def draw_openpose(people: Sequence[PersonKeypoints], width: int, height: int, style: DrawingStyle) -> np.ndarray:
    """Draw one stick figure per frame.

    Args:
        people: T frames; points with a confidence below 0.3 are left out.
        width, height: pixels, at least 1.
        style: SDPOSE or CONTROLNET_AUX.

    Returns:
        Uint8 RGB [T, height, width, 3] on black.

    Raises:
        ValueError: when width or height is not positive.
    """
    refuse_empty(width, height)
    frames = np.empty((len(people), height, width, 3), dtype=np.uint8)
    for frame, person in zip(frames, people):
        picture = Image.new("RGB", (width, height))
        _draw_person(ImageDraw.Draw(picture), person, width, height, style)
        frame[:] = np.asarray(picture)
    return frames


def _draw_person(draw: ImageDraw.ImageDraw, person: PersonKeypoints, width: int, height: int, style: DrawingStyle) -> None:
    scale = np.array([width, height])

    def inside(points: np.ndarray) -> dict[int, tuple[int, int]]:
        """Pixels by index, of what is seen and in the picture."""
        pixels = np.floor(points[:, :2].astype(np.float64) * scale + _NUDGE)
        kept = (points[:, 2] >= VISIBLE) & ((pixels >= 0) & (pixels < scale)).all(1)
        return {int(i): (int(pixels[i, 0]), int(pixels[i, 1])) for i in np.flatnonzero(kept)}

    body = person.body[:, :2].astype(np.float64) * scale + _NUDGE
    for (start, end), colour in zip(LIMBS, COLOURS):
        if min(person.body[start, 2], person.body[end, 2]) >= VISIBLE:
            shade = tuple(int(value * style.limb_brightness) for value in colour)
            draw.polygon(_limb(body[start], body[end]), fill=shade)
    for i, place in inside(person.body).items():
        draw.point(_discs([place], _JOINT), fill=COLOURS[i])

    bone_colours = style.bone_colours
    hands = [inside(person.left_hand), inside(person.right_hand)]
    for hand in reversed(hands) if style.right_hand_first else hands:
        # Their nodes take the first row and column for "not found".
        hand = {i: place for i, place in hand.items() if min(place) > 0}
        for colour, (start, end) in zip(bone_colours, FINGER_BONES):
            if start in hand and end in hand:
                _bone(draw, hand[start], hand[end], colour)
        draw.point(_discs(list(hand.values()), _JOINT), fill=BLUE)

    face = [place for place in inside(person.face[:_LANDMARKS]).values() if min(place) > 0]
    draw.point(_discs(face, _FACE_DOT), fill=WHITE)


def _limb(start: np.ndarray, end: np.ndarray) -> list[int]:
    """Corners x, y, x, y, … of the ellipse between two places: a corner a degree, on whole pixels."""
    middle, along = ((start + end) / 2).astype(int), start - end
    half = int(np.hypot(*along) / 2)
    angle = math.radians(int(math.degrees(math.atan2(along[1], along[0]))))
    x, y = half * np.cos(_TURN), _LIMB_WIDTH * np.sin(_TURN)
    corners = np.rint(
        middle[:, None] + [x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)]
    ).astype(int)
    kept = np.concatenate([[True], (np.diff(corners) != 0).any(0)])
    return corners[:, kept].T.ravel().tolist()


def _bone(draw: ImageDraw.ImageDraw, start: tuple[int, int], end: tuple[int, int], colour: Colour) -> None:
    """A line two pixels wide, as OpenCV draws it: a rectangle with corners on whole pixels and small round ends."""
    x, y = end[0] - start[0], end[1] - start[1]
    length = math.hypot(x, y)
    if length:
        aside, up = -y / length, x / length
        corners = [(at[0] + side * aside, at[1] + side * up) for at, side in ((start, 1), (start, -1), (end, -1), (end, 1))]
        draw.polygon([(math.floor(cx + 0.5), math.floor(cy + 0.5)) for cx, cy in corners], fill=colour)
    draw.point([(at[0] + dx, at[1] + dy) for at in (start, end) for dx, dy in _CROSS], fill=colour)


def _disc(radius: int) -> np.ndarray:
    """Pixels [n, 2] that lie within a radius of the middle one."""
    offsets = np.stack(np.meshgrid(*[np.arange(-radius, radius + 1)] * 2), -1).reshape(-1, 2)
    return offsets[(offsets**2).sum(1) <= radius**2]


_DISCS = {radius: _disc(radius) for radius in (_JOINT, _FACE_DOT)}


def _discs(places: Sequence[tuple[int, int]], radius: int) -> list[int]:
    """Pixels x, y, x, y, … of dots."""
    if not places:
        return []
    return (np.array(places)[:, None] + _DISCS[radius]).ravel().tolist()
