"""A pose over time that knows its frame rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .following import Followed
from .keypoints import GROUPS, VISIBLE, PersonKeypoints, to_frame

BODY = slice(0, GROUPS["body"])
LEFT_HAND = slice(BODY.stop, BODY.stop + GROUPS["left_hand"])
RIGHT_HAND = slice(LEFT_HAND.stop, LEFT_HAND.stop + GROUPS["right_hand"])
FACE = slice(RIGHT_HAND.stop, RIGHT_HAND.stop + GROUPS["face"])
"""Where the groups are among a track's points."""

_CANVAS = (512.0, 512.0)  # of keypoints in fractions that name none


@dataclass(frozen=True, eq=False)
class Track:
    """One person over T frames.

    Attributes:
        points: float32 [T, 130, 3] in the order of `PersonKeypoints.points`: x and y as fractions of the canvas, confidence.
        fps: frames per second.
        canvas: width and height of the picture that the fractions are of, in pixels.

    Raises:
        ValueError: fps is not positive, or there are no frames.
    """

    points: np.ndarray
    fps: float
    canvas: tuple[float, float] = _CANVAS

    def __post_init__(self) -> None:
        if not self.fps > 0:
            raise ValueError(f"A pose's frame rate cannot be {self.fps}: give the frames per second of its film.")
        if len(self.points) == 0:
            raise ValueError("The pose has no frames: connect a pose with at least one frame.")

    @classmethod
    def of(cls, followed: Followed, fps: float) -> Track:
        """The track of a person in a POSE_KEYPOINT."""
        return cls(np.stack([person.points for person in followed.people]), fps, followed.canvas or _CANVAS)

    def with_points(self, points: np.ndarray) -> Track:
        """The same track with other points [T, 130, 3]."""
        return replace(self, points=points.astype(np.float32))

    @property
    def people(self) -> list[PersonKeypoints]:
        """T frames."""
        return [PersonKeypoints.from_points(points) for points in self.points]

    @property
    def there(self) -> np.ndarray:
        """Bool [T], whether anything of the body is seen."""
        return (self.points[:, BODY, 2] >= VISIBLE).any(1)


def seen(points: np.ndarray) -> np.ndarray:
    """Whether points [..., 3] are seen: bool [...]."""
    return points[..., 2] >= VISIBLE


def to_pose(people: Sequence[PersonKeypoints], canvas: tuple[float, float]) -> list[dict[str, Any]]:
    """POSE_KEYPOINT of T frames on a canvas of that width and height in pixels."""
    width, height = (max(1, round(side)) for side in canvas)
    return [to_frame(person, width, height) for person in people]


def between(first: np.ndarray, second: np.ndarray, share: np.ndarray | float) -> np.ndarray:
    """Points that lie between two others.

    Args:
        first, second: [..., n, 3]. A point that is seen in one of them only stays there, and is seen on that one's side.
        share: 0 … 1 of the second one's, broadcast against [..., n].

    Returns:
        [..., n, 3].
    """
    share = np.broadcast_to(np.asarray(share, dtype=np.float64), first.shape[:-1])
    both = (first[..., 2] >= VISIBLE) & (second[..., 2] >= VISIBLE)
    weight = np.where(both, share, share >= 0.5)[..., None]
    return first + weight * (second - first.astype(np.float64))
