"""Which part of a portrait a clip of another shape shows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..pose import PersonKeypoints

KEEP_PERSON, CENTRE, PAD = "keep person", "centre", "pad"
"""How a portrait is fitted: the person stays whole; the middle is cut out; the whole picture stays."""

_SAME_SHAPE = 0.02
"""How far two aspect ratios may be apart: pose models round the pictures that they look at."""


@dataclass(frozen=True)
class Crop:
    """A part of a picture in pixels. Where it reaches beyond the picture, the picture is padded.

    Attributes:
        picture: width and height of the whole picture.
        left, top: of the part, from the picture's upper left corner; below 0 where it is padded there.
        width, height: of the part, at least 1.
    """

    picture: tuple[int, int]
    left: int
    top: int
    width: int
    height: int

    @property
    def is_padded(self) -> bool:
        """Whether it reaches beyond the picture."""
        return self.width > self.picture[0] or self.height > self.picture[1]

    @property
    def is_middle(self) -> bool:
        """Whether it is what ComfyUI's own nodes cut out: as much of the middle as there is."""
        margins = self.picture[0] - self.width, self.picture[1] - self.height
        return min(margins) >= 0 and 0 in margins and (2 * self.left, 2 * self.top) == margins

    @property
    def shown(self) -> tuple[int, int]:
        """Width and height of what it shows of the picture itself."""
        return min(self.width, self.picture[0]), min(self.height, self.picture[1])

    def fits(self, width: float, height: float) -> bool:
        """Whether a picture of that size has the shape of this one, so that the same part of it can be taken."""
        return abs(width / height / (self.picture[0] / self.picture[1]) - 1) <= _SAME_SHAPE

    def of(self, width: int, height: int) -> Crop:
        """The same part of the same picture at another size, to the nearest pixel."""
        across, down = width / self.picture[0], height / self.picture[1]
        return Crop(
            (width, height), round(self.left * across), round(self.top * down),
            max(1, round(self.width * across)), max(1, round(self.height * down)),
        )  # fmt: skip

    def keypoints(self, person: PersonKeypoints) -> PersonKeypoints:
        """A person in fractions of the picture → in fractions of this part of it; points outside keep their place."""
        points = person.points.astype(np.float64)
        start, size = np.array([self.left, self.top]), np.array([self.width, self.height])
        points[:, :2] = (points[:, :2] * self.picture - start) / size
        return PersonKeypoints.from_points(points)


def crop_for(
    picture: tuple[int, int], clip: tuple[int, int], fit: str, person: tuple[float, float, float, float] | None = None
) -> Crop:
    """The part of a portrait that a clip shows, in the clip's shape to the nearest pixel.

    Args:
        picture, clip: width and height in pixels.
        fit: KEEP_PERSON: as much as there is of that shape round the person, and where the person is larger than that, all of
            the person on a padded picture; the upper part where nobody is known. CENTRE: the middle. PAD: all of the picture.
        person: left, top, right and bottom in fractions of the picture, 0 … 1, of what must stay.
    """
    width, height = _covered(picture, clip)
    middle = Crop(picture, (picture[0] - width) // 2, (picture[1] - height) // 2, width, height)
    if fit == CENTRE:
        return middle
    if fit == PAD:
        whole = _holding((0, 0, *picture), (width, height), picture, clip)
        return replace(whole, top=(picture[1] - whole.height) // 2)
    if person is None:
        return Crop(picture, middle.left, 0, width, height)
    (left, right), (top, bottom) = (_whole(person[axis], person[axis + 2], picture[axis]) for axis in (0, 1))
    return _holding((left, top, right, bottom), (width, height), picture, clip)


def has_shape(picture: tuple[int, int], clip: tuple[int, int]) -> bool:
    """Whether nothing need be cut off a picture."""
    return _covered(picture, clip) == picture


def _covered(picture: tuple[int, int], clip: tuple[int, int]) -> tuple[int, int]:
    """The most of a picture that has the clip's shape, rounded as `comfy.utils.common_upscale` does: equally much goes on both
    sides, of slips all but a pixel or two.
    """
    (width, height), shape, wanted = picture, picture[0] / picture[1], clip[0] / clip[1]
    across = min(max(round((width - width * (wanted / shape)) / 2), 0), (width - 1) // 2)
    down = min(max(round((height - height * (shape / wanted)) / 2), 0), (height - 1) // 2)
    return width - 2 * across, height - 2 * down


def _whole(start: float, end: float, side: int) -> tuple[int, int]:
    """A span in fractions of a side as whole pixels inside it, at least one."""
    first = min(max(math.floor(start * side), 0), side - 1)
    return first, min(max(math.ceil(end * side), first + 1), side)


def _holding(
    box: tuple[int, int, int, int], covered: tuple[int, int], picture: tuple[int, int], clip: tuple[int, int]
) -> Crop:
    """The part with a box in its middle, as far as the picture goes; larger than `covered` only where the box is. What is padded
    in height is so at the top: a body goes on below the picture.
    """
    (left, top, right, bottom), (width, height), shape = box, covered, clip[0] / clip[1]
    if right - left > width or bottom - top > height:
        if right - left > (bottom - top) * shape:
            width, height = right - left, round((right - left) / shape)
        else:
            width, height = round((bottom - top) * shape), bottom - top
    across = _placed(left, right, width, picture[0]) if width <= picture[0] else (picture[0] - width) // 2
    down = _placed(top, bottom, height, picture[1]) if height <= picture[1] else picture[1] - height
    return Crop(picture, across, down, width, height)


def _placed(start: int, end: int, size: int, side: int) -> int:
    """Where a part of that size, inside a side, begins that holds a span: in its middle if there is room."""
    return min(max((start + end - size) // 2, 0), side - size)
