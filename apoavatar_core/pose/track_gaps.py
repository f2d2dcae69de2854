"""Gaps in a track: frames without the person, and points that were not found for a moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .keypoints import LEFT_WRIST, RIGHT_WRIST, VISIBLE
from .track import BODY, FACE, LEFT_HAND, RIGHT_HAND, Track, between

LONGEST = 0.5
"""Seconds for which a point that was seen before and is seen again is taken to be there: longer ones went out of sight."""

_NOSE = 0
_CARRIED_BY = ((LEFT_HAND, LEFT_WRIST), (RIGHT_HAND, RIGHT_WRIST), (FACE, _NOSE))


@dataclass(frozen=True, eq=False)
class Filled:
    """A track without gaps.

    Attributes:
        track: all of its frames show the person.
        frames: how many did not before.
        points: how many of the others lacked a point that they have now.
    """

    track: Track
    frames: int
    points: int

    @property
    def sentences(self) -> list[str]:
        """What a node says about it."""
        count = len(self.track.points)
        said = []
        if self.frames:
            said.append(f"In {self.frames} of the pose's {count} frames nobody was found: the frames around them are blended or held.")
        if self.points:
            said.append(f"In {self.points} of the pose's {count} frames points that lacked for a moment were filled in.")
        return said


def filled(track: Track) -> Filled:
    """Fill gaps from what is seen on both sides.

    In frames without the person the pose goes over from the one before to the one after; at the beginning and at the end the
    nearest is held. Single points are filled when the gap is short (`LONGEST`), hands and face on the wrist and the nose that
    carry them.

    Raises:
        ValueError: the person is in none of the frames.
    """
    there = track.there
    if not there.any():
        raise ValueError(
            "The pose shows nobody in any of its frames: look at it with Render Pose, and extract it from a film in which "
            "the person is seen."
        )
    present = np.flatnonzero(there)
    before, after, share = _neighbours(there)
    before, after = np.where(before < 0, present[0], before), np.where(after < 0, present[-1], after)
    points = np.where(there[:, None, None], track.points, between(track.points[before], track.points[after], share[:, None]))
    complete = _with_points(points, max(1, round(LONGEST * track.fps)))
    more = ((complete[..., 2] >= VISIBLE) & (points[..., 2] < VISIBLE)).any(1)
    return Filled(track.with_points(complete), int((~there).sum()), int(more.sum()))


def _with_points(points: np.ndarray, longest: int) -> np.ndarray:
    """Points [T, 130, 3] with those that lack in at most so many frames in a row."""
    points = points.astype(np.float64)
    points[:, BODY] = _bridged(points[:, BODY], longest)
    for part, carrier in _CARRIED_BY:
        carried = (points[:, carrier, 2] >= VISIBLE).all()
        origin = points[:, carrier, None] * (1, 1, 0) if carried else np.zeros((len(points), 1, 3))
        found = _bridged(points[:, part] - origin, longest) + origin
        points[:, part] = np.where(points[:, part, 2:] >= VISIBLE, points[:, part], found)
    return points


def _bridged(points: np.ndarray, longest: int) -> np.ndarray:
    """Points [T, n, 3], each filled for itself."""
    points = points.copy()
    seen = points[..., 2] >= VISIBLE
    for one in np.flatnonzero(~seen.all(0) & seen.any(0)):
        before, after, share = _neighbours(seen[:, one])
        short = ~seen[:, one] & (before >= 0) & (after >= 0) & (after - before <= longest + 1)
        points[short, one] = between(points[before[short], one], points[after[short], one], share[short])
    return points


def _neighbours(seen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of T frames the last one that is seen, the next one (-1 where there is none), and how far it is on the way from
    the one to the other: 0 … 1, with a speed of 0 at both ends.
    """
    frames = np.arange(len(seen))
    before = np.maximum.accumulate(np.where(seen, frames, -1))
    after = np.minimum.accumulate(np.where(seen, frames, len(seen))[::-1])[::-1]
    after = np.where(after == len(seen), -1, after)
    both = (before >= 0) & (after > before)
    share = np.where(both, (frames - before) / np.where(both, after - before, 1), np.where(before >= 0, 0.0, 1.0))
    return before, after, share**3 * (10 - 15 * share + 6 * share**2)
