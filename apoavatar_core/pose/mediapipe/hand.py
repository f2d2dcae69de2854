"""Hands: where the body says they are, where that turns out to be, and their 21 landmarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .body import Body
from .crops import Square, angle_between, crop, square_at, square_round, turned_square_round
from .detector import detect
from .network import Network
from .running import run

PRESENT = 0.5
"""The least probability that the network sees a hand."""

WRIST_VISIBLE = 0.1
"""The least visibility of a wrist from which its hand is looked for."""

SIDES = ((15, 17, 19), (16, 18, 20))
"""Wrist, little finger and index finger of the left and the right hand among the body's landmarks."""

_WRIST, _INDEX, _MIDDLE, _RING = 0, 5, 9, 13  # the fingers' knuckles
_PALM_WRIST, _PALM_MIDDLE = 0, 2  # of a detected palm
_PALM = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)


@dataclass(frozen=True, eq=False)
class Hand:
    """A hand in one frame.

    Attributes:
        points: [21, 2], pixels, in the order of `PersonKeypoints`.
        score: the probability that it is one.
    """

    points: np.ndarray
    score: float


def square_from_body(body: Body, hand: tuple[int, int, int]) -> Square | None:
    """Roughly where the body has a hand; None when it hides its wrist."""
    if body.visibility[hand[0]] <= WRIST_VISIBLE:
        return None
    wrist, little, index = body.points[list(hand)]
    return square_at((2 * index + little) / 3, wrist, -90, scale=2.7, shift=-0.1)


def square_from_hand(hand: Hand) -> Square:
    """Where to look for a hand in the next frame."""
    wrist, index, middle, ring = hand.points[[_WRIST, _INDEX, _MIDDLE, _RING]]
    angle = angle_between(wrist, ((index + ring) / 2 + middle) / 2, 90)
    return turned_square_round(hand.points[list(_PALM)], angle, scale=2, shift=-0.1)


def closer_squares(network: Network, picture: np.ndarray, squares: Sequence[Square]) -> list[Square]:
    """Where the hands are that a picture [H, W, 3] shows in rough squares."""
    if not squares:
        return []
    size = network.size[0]
    (found,) = run(network, [crop(picture, square, size) for square in squares])
    places = [square.to_picture(points) for square, points in zip(squares, found.reshape(-1, 2, 2) / size)]
    return [square_at(centre, edge, -90, scale=1, shift=-0.1) for centre, edge in places]


def square_from_palm(network: Network, picture: np.ndarray, rough: Square, wrist: np.ndarray) -> Square | None:
    """Where a palm detector sees the hand of a wrist [2] in a rough square of a picture [H, W, 3]; None when nowhere."""
    palms = detect(network, picture, rough, darkest=0)
    if not palms:
        return None
    palm = min(palms, key=lambda palm: float(np.linalg.norm(palm.keypoints[_PALM_WRIST] - wrist)))
    angle = angle_between(palm.keypoints[_PALM_WRIST], palm.keypoints[_PALM_MIDDLE], 90)
    return square_round(palm.box, angle, scale=2.6, shift=-0.5)


def find_hands(network: Network, picture: np.ndarray, squares: Sequence[Square]) -> list[Hand | None]:
    """The hands that a picture [H, W, 3] shows in squares; None where there is none."""
    if not squares:
        return []
    size = network.size[0]
    landmarks, presence = run(network, [crop(picture, square, size) for square in squares])
    points = landmarks.reshape(len(squares), -1, 3)[:, :, :2] / size
    return [
        Hand(square.to_picture(found), float(score)) if score > PRESENT else None
        for square, found, score in zip(squares, points, presence.reshape(-1))
    ]
