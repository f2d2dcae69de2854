"""What models share that look at one person's upright box in one frame: the crop, and the way back from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from .keypoints import PersonKeypoints
from .layouts import person_from
from .model import Frames
from .sampling import bilinear

PADDING = 1.25
"""Sides of the crop in those of the person's box."""

IMAGENET_MEAN, IMAGENET_DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Of red, green and blue, in levels out of 255."""


@dataclass(frozen=True)
class Crop:
    """An upright part of a picture, in pixels of it: left, top, width and height."""

    left: float
    top: float
    width: float
    height: float

    def to_picture(self, points: np.ndarray) -> np.ndarray:
        """Points [..., 3] in fractions of the crop -> pixels of the picture; confidence unchanged."""
        return points * (self.width, self.height, 1) + (self.left, self.top, 0)


def crop_round(box: np.ndarray, picture: tuple[int, int], size: tuple[int, int]) -> Crop:
    """What a model sees of a person: the box, padded, and widened or heightened to the model's shape.

    Args:
        box: [4], left, top, right and bottom in fractions of the picture.
        picture: its width and height.
        size: width and height of what the model sees.
    """
    low, high = box[:2] * picture, box[2:] * picture
    width, height = PADDING * (high - low)
    aspect = size[0] / size[1]
    width, height = max(width, height * aspect), max(height, width / aspect)
    left, top = (low + high) / 2 - (width / 2, height / 2)
    return Crop(float(left), float(top), float(width), float(height))


def cut(picture: np.ndarray, crop: Crop, size: tuple[int, int], *, unbiased: bool) -> np.ndarray:
    """A crop of a picture [H, W, 3] at a model's width and height; black beyond the picture.

    unbiased: the crop reaches from the first to the last pixel's centre (UDP) instead of one pixel further.
    """
    across, down = ((length / (side - unbiased)) for side, length in zip(size, (crop.width, crop.height)))
    x, y = np.meshgrid(crop.left + across * np.arange(size[0]), crop.top + down * np.arange(size[1]))
    return bilinear(picture, x, y, outside="black")


class TopDown:
    """A pose model that looks at a person's box in each frame on its own."""

    size: tuple[int, int]
    """Width and height of what it sees."""

    unbiased: bool
    """Whether its crops and points follow UDP."""

    detect_every = 1

    def points(self, crops: np.ndarray) -> np.ndarray:
        """Uint8 crops [B, h, w, 3] -> [B, 133 or 308, 3]: x and y in fractions of the crop, and the confidence."""
        raise NotImplementedError

    def people(self, batches: Iterable[Frames]) -> Iterator[list[PersonKeypoints]]:
        """See `PoseModel.people`."""
        for batch in batches:
            height, width = batch.pictures.shape[1:3]
            crops = [crop_round(box, (width, height), self.size) for box in batch.boxes]
            seen = [cut(picture, crop, self.size, unbiased=self.unbiased) for picture, crop in zip(batch.pictures, crops)]
            found = self.points(np.stack(seen))
            yield [person_from(crop.to_picture(points) / (width, height, 1)) for crop, points in zip(crops, found)]
