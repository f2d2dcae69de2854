"""The face: where the body says it is, where a detector sees it there, and its mesh of 468 landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .body import Body
from .crops import Square, angle_between, crop, square_round
from .detector import Detection
from .network import Network
from .running import run

PRESENT = 0.5
"""The least probability that the network sees a face."""

_OF_BODY = slice(0, 11)
_RIGHT_EYE, _LEFT_EYE = 5, 2  # of the body
_DETECTED_RIGHT_EYE, _DETECTED_LEFT_EYE = 0, 1
_RIGHT_CORNER, _LEFT_CORNER = 33, 263  # outer corners of the eyes in the mesh


@dataclass(frozen=True, eq=False)
class Face:
    """A face in one frame.

    Attributes:
        points: [468, 2], pixels.
        score: the probability that it is one.
    """

    points: np.ndarray
    score: float


def square_from_body(body: Body) -> Square:
    """Roughly where the body has its face."""
    angle = angle_between(body.points[_RIGHT_EYE], body.points[_LEFT_EYE], 0)
    return square_round(body.points[_OF_BODY], angle, scale=3)


def square_from_detection(face: Detection) -> Square:
    """Where to look for a detected face's landmarks."""
    angle = angle_between(face.keypoints[_DETECTED_RIGHT_EYE], face.keypoints[_DETECTED_LEFT_EYE], 0)
    return square_round(face.keypoints, angle, scale=2, shift=-0.1)


def square_from_face(face: Face) -> Square:
    """Where to look for a face in the next frame."""
    angle = angle_between(face.points[_RIGHT_CORNER], face.points[_LEFT_CORNER], 0)
    return square_round(face.points, angle, scale=1.5)


def find_face(network: Network, picture: np.ndarray, square: Square) -> Face | None:
    """The face that a picture [H, W, 3] shows in a square; None when there is none."""
    size = network.size[0]
    landmarks, presence = (output[0] for output in run(network, [crop(picture, square, size)]))
    score = float(1 / (1 + np.exp(-presence.item())))
    if score <= PRESENT:
        return None
    return Face(square.to_picture(landmarks.reshape(-1, 3)[:, :2] / size), score)
