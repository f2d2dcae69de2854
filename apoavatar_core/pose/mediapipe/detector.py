"""Boxes and keypoints from the detectors' raw numbers: anchors, decoding, suppression of duplicates.

The three detectors are single-shot: each anchor, a point on a grid, has a score and a box with keypoints around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from .crops import Square, crop
from .network import Network
from .running import run

SCORE = 0.5
"""What a detection must have."""

OVERLAP = 0.3
"""Boxes that share more than this part of their union are one thing."""

STRIDES = {224: (8, 16, 32, 32, 32), 192: (8, 16, 16, 16), 128: (8, 16, 16, 16)}
"""Pixels between anchors in each layer of a detector, by the side of its picture. Every layer has two per point."""


@dataclass(frozen=True, eq=False)
class Detection:
    """Something found.

    Attributes:
        box: [2, 2], two opposite corners.
        keypoints: [k, 2].
        score: 0.5 to 1.
    """

    box: np.ndarray
    keypoints: np.ndarray
    score: float


def detect(network: Network, picture: np.ndarray, square: Square, *, darkest: float) -> list[Detection]:
    """Find things in a square of a picture.

    Args:
        network: the detector.
        picture: uint8 [H, W, 3].
        square: where to look.
        darkest: the value of black that the detector was trained with.

    Returns:
        The detections, best first, in pixels of the picture.
    """
    shown = crop(picture, square, network.size[0], outside="black")
    boxes, scores = (output[0] for output in run(network, [shown], darkest=darkest))
    found = merged(*decode(boxes, scores[:, 0], network.size[0]))
    return [
        Detection(square.to_picture(points[:2]), square.to_picture(points[2:]), score) for points, score in found
    ]


@cache
def anchors(size: int) -> np.ndarray:
    """[n, 2]: the anchors of the detector with pictures of that side, in fractions of it."""
    layers = []
    strides = STRIDES[size]
    for stride in sorted(set(strides)):
        cells = -(-size // stride)
        y, x = np.mgrid[:cells, :cells]
        points = np.stack([x.ravel(), y.ravel()], axis=-1) + 0.5
        layers.append(np.repeat(points / cells, 2 * strides.count(stride), axis=0))
    return np.concatenate(layers)


def decode(boxes: np.ndarray, scores: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Raw numbers -> detections.

    Args:
        boxes: [n, 4 + 2k]: centre, width and height, k keypoints, all x before y, in pixels from the anchor.
        scores: [n], logits.
        size: side of the detector's picture in pixels.

    Returns:
        Points [m, 2 + k, 2] in fractions of the picture: upper left and lower right corner, then the keypoints; and
        scores [m] of at least 0.5.
    """
    scores = torch.sigmoid(torch.from_numpy(scores).clamp(-100, 100)).numpy()
    good = (scores >= SCORE) & (boxes[:, 2] >= 0) & (boxes[:, 3] >= 0)
    points = boxes[good].reshape(-1, boxes.shape[1] // 2, 2) / size
    centre, extent = points[:, 0] + anchors(size)[good], points[:, 1]
    corners = np.stack([centre - extent / 2, centre + extent / 2], axis=1)
    return np.concatenate([corners, points[:, 2:] + anchors(size)[good, None]], axis=1), scores[good]


def merged(points: np.ndarray, scores: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Detections that overlap become one, their mean weighted by score. Best first, with the best one's score."""
    order = np.argsort(-scores, kind="stable")
    found = []
    while len(order):
        same = overlap(points[order[0], :2], points[order, :2]) > OVERLAP
        same[0] = True
        group = order[same]
        mean = np.average(points[group], axis=0, weights=scores[group])
        found.append((mean, float(scores[order[0]])))
        order = order[~same]
    return found


def overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of a box [2, 2] with boxes [n, 2, 2]."""
    low, high = np.maximum(box[0], boxes[:, 0]), np.minimum(box[1], boxes[:, 1])
    shared = (high - low).clip(0).prod(-1)
    areas = (boxes[:, 1] - boxes[:, 0]).prod(-1)
    together = (box[1] - box[0]).prod() + areas - shared
    return np.divide(shared, together, out=np.zeros_like(shared), where=together > 0)
