"""The body: where to look for it, its 33 landmarks, and the two that say where it will be.

Landmarks in MediaPipe's order: 0 nose, 1-3 left eye, 4-6 right eye, 7-8 ears, 9-10 mouth, then left and right in turn:
11-12 shoulders, 13-14 elbows, 15-16 wrists, 17-18 little, 19-20 index fingers, 21-22 thumbs, 23-24 hips, 25-26 knees,
27-28 ankles, 29-32 feet.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .crops import Square, crop, square_at
from .detector import Detection
from .network import Network
from .running import run
from .smoothing import LowPass, OneEuro

PRESENT = 0.5
"""The least probability that the network sees a body."""

_LANDMARKS = 33
_CENTRE, _TOP = 33, 34  # of the circle round the whole body
_RADIUS = 4  # of the heatmaps' window, in cells; MediaPipe's graph says 3, but its Python package runs with 4
_UPRIGHT = np.array([0.75, 1.0])  # half of the width and height of a person's box, in that circle's radii
_ROOM = 1.25  # side of the square round that circle, in its diameters


@dataclass(frozen=True, eq=False)
class Body:
    """A body in one frame.

    Attributes:
        points: [33, 2], pixels.
        visibility: [33], the probability that a point is in the picture and not hidden.
        circle: [2, 2], centre and top of the circle round the body, standing or not, pixels.
    """

    points: np.ndarray
    visibility: np.ndarray
    circle: np.ndarray


def body_square(circle: np.ndarray) -> Square:
    """Where to look for a body, given the centre and top of its circle [2, 2] in pixels."""
    return square_at(circle[0], circle[1], 90, scale=_ROOM)


def detected_square(person: Detection) -> Square:
    """Where to look for a person's body."""
    return body_square(person.keypoints[:2])


def reach(circle: np.ndarray) -> np.ndarray:
    """The box [4] that a body may fill, given the centre and top of its circle: left, top, right and bottom in pixels."""
    centre, top = circle
    half = np.linalg.norm(top - centre) * _UPRIGHT
    return np.concatenate([centre - half, centre + half])


def find_body(network: Network, picture: np.ndarray, square: Square) -> Body | None:
    """The body that a picture [H, W, 3] shows in a square; None when there is none."""
    size = network.size[0]
    landmarks, presence, heatmaps = (output[0] for output in run(network, [crop(picture, square, size)]))
    if presence.item() <= PRESENT:
        return None
    landmarks = landmarks.reshape(-1, 5)
    points = square.to_picture(sharpened(landmarks[:, :2] / size, heatmaps))
    visibility = 1 / (1 + np.exp(-landmarks[:_LANDMARKS, 3]))
    return Body(points[:_LANDMARKS], visibility, points[[_CENTRE, _TOP]])


def sharpened(points: np.ndarray, heatmaps: np.ndarray) -> np.ndarray:
    """Points [n, 2] moved to the centre of mass of their heatmap around them, where it is sure of itself.

    Args:
        points: fractions of the picture.
        heatmaps: [n, h, w], logits. A cell's place is its upper left corner.

    Returns:
        [n, 2].
    """
    height, width = heatmaps.shape[1:]
    cells = np.trunc(points * (width, height)).astype(int)
    columns, rows = (cells[:, axis, None] + np.arange(-_RADIUS, _RADIUS + 1) for axis in (0, 1))
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    inside &= ((cells >= 0) & (cells < (width, height))).all(-1)[:, None, None]
    each = np.arange(len(points))[:, None, None]
    logits = heatmaps[each, rows.clip(0, height - 1)[:, :, None], columns.clip(0, width - 1)[:, None, :]]
    weights = np.where(inside, 1 / (1 + np.exp(-logits)), 0)
    total = np.maximum(weights.sum((1, 2)), 1e-9)
    x = (weights.sum(1) * columns).sum(1) / total / width
    y = (weights.sum(2) * rows).sum(1) / total / height
    sure = weights.max((1, 2)) >= 0.5
    return np.where(sure[:, None], np.stack([x, y], axis=-1), points)


class BodySmoothing:
    """Smooths a body frame after frame."""

    def __init__(self) -> None:
        self.visibility = LowPass(0.1)
        self.points = OneEuro(cutoff=0.05, beta=80)
        self.circle = OneEuro(cutoff=0.01, beta=10)

    def __call__(self, body: Body) -> Body:
        diameter = 2 * float(np.linalg.norm(body.circle[1] - body.circle[0]))
        return Body(
            self.points(body.points, diameter), self.visibility(body.visibility), self.circle(body.circle, diameter)
        )
