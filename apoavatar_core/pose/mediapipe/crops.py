"""Rotated squares of a picture: what a network sees of it, and where in the picture the network's points lie.

Points are in pixels of the picture, whose first pixel's centre is at (0, 0) for cropping, as MediaPipe does it. Angles
are in radians, clockwise as one sees the picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..sampling import bilinear


@dataclass(frozen=True)
class Square:
    """A square of the picture: centre, side and the angle by which it is turned."""

    x: float
    y: float
    side: float
    angle: float = 0.0

    def to_picture(self, points: np.ndarray) -> np.ndarray:
        """Points [..., 2] in fractions of the square -> pixels of the picture."""
        return (points - 0.5) @ _turn(self.angle).T * self.side + (self.x, self.y)

    def from_picture(self, points: np.ndarray) -> np.ndarray:
        """Points [..., 2] in pixels of the picture -> fractions of the square."""
        return (points - (self.x, self.y)) @ _turn(self.angle) / self.side + 0.5


def whole(width: int, height: int) -> Square:
    """The smallest upright square round a picture."""
    return Square(width / 2, height / 2, max(width, height))


def parts(width: int, height: int) -> list[Square]:
    """Squares as wide as a picture's shorter side that cover it, each overlapping half of the next."""
    side = min(width, height)
    count = math.ceil(2 * max(width, height) / side) - 1
    across, down = (np.linspace(side / 2, length - side / 2, count) for length in (width, height))
    return [Square(float(x), float(y), side) for x, y in zip(across, down)]


def square_round(points: np.ndarray, angle: float, *, scale: float, shift: float = 0.0) -> Square:
    """The square round the upright bounding box of points [n, 2], turned by `angle`.

    Args:
        points: pixels of the picture.
        angle: of the square.
        scale: the square's side in longer sides of the box.
        shift: how far the square is moved downwards, as it is turned, in heights of the box.
    """
    low, high = points.min(0), points.max(0)
    return _moved((low + high) / 2, high - low, angle, scale, shift)


def turned_square_round(points: np.ndarray, angle: float, *, scale: float, shift: float = 0.0) -> Square:
    """The square round the bounding box of points [n, 2] that is turned by `angle`; arguments as `square_round`."""
    turn = _turn(angle)
    straight = points @ turn
    low, high = straight.min(0), straight.max(0)
    return _moved(turn @ (low + high) / 2, high - low, angle, scale, shift)


def square_at(centre: np.ndarray, edge: np.ndarray, upwards: float, *, scale: float, shift: float = 0.0) -> Square:
    """The square with a centre [2] and a point [2] in the middle of one of its edges.

    Args:
        centre: pixels of the picture.
        edge: likewise; the one above the centre in the upright crop for an `upwards` of 90 degrees.
        upwards: the direction of that point in the upright crop, counterclockwise from the right, in degrees.
        scale: the square's side in distances between opposite edges.
        shift: how far the square is moved downwards, as it is turned, likewise.
    """
    side = 2 * math.dist(centre, edge)
    return _moved(centre, np.array([side, side]), angle_between(centre, edge, upwards), scale, shift)


def angle_between(start: np.ndarray, end: np.ndarray, wanted: float) -> float:
    """The angle [-pi, pi) of a square in which the way from start to end points in the wanted direction.

    Directions are counterclockwise from the right, in degrees.
    """
    angle = math.radians(wanted) - math.atan2(-(end[1] - start[1]), end[0] - start[0])
    return (angle + math.pi) % (2 * math.pi) - math.pi


def crop(picture: np.ndarray, square: Square, size: int, *, outside: str = "edge") -> np.ndarray:
    """What a picture shows in a square.

    Args:
        picture: uint8 [H, W, 3].
        square: where.
        size: pixels of the result's side.
        outside: what lies beyond the picture: "edge", its nearest pixel, or "black".

    Returns:
        Uint8 [size, size, 3].
    """
    steps = (np.arange(size) - size / 2) * (square.side / size)
    cosine, sine = math.cos(square.angle), math.sin(square.angle)
    x = np.add.outer(-sine * steps, cosine * steps) + square.x
    y = np.add.outer(cosine * steps, sine * steps) + square.y
    return bilinear(picture, x, y, outside=outside)


def _turn(angle: float) -> np.ndarray:
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def _moved(centre: np.ndarray, extent: np.ndarray, angle: float, scale: float, shift: float) -> Square:
    x, y = centre + _turn(angle) @ (0.0, shift * extent[1])
    return Square(float(x), float(y), float(scale * extent.max()), angle)
