"""Looping a track to any length without a jump."""

from __future__ import annotations

import numpy as np

from .keypoints import VISIBLE
from .track import BODY, Track, between

OVERLAP = 0.5
"""Seconds over which the end goes over into the beginning."""

_SEARCHED = 0.25  # of the track at either end, in which a seam is looked for
_LONGEST_SEARCH = 2.0  # seconds of it


def looped(track: Track, frames: int) -> Track:
    """The track again and again until there are so many frames; cut when it is longer. See `loop_of`."""
    if frames <= len(track.points):
        return track.with_points(track.points[:frames])
    loop, again = loop_of(track)
    return track.with_points(loop.points[places(np.arange(frames), len(loop.points), again)])


def loop_of(track: Track) -> tuple[Track, int]:
    """The track up to its seam and on to where it has come round, and the frame from which on that is played again and again.

    The seam lies where its two sides are most alike, in place and in movement, within the first and the last quarter, two
    seconds at most. There the end goes over into the beginning, so that neither places nor speeds jump. Of fewer than three
    frames the last is held.
    """
    overlap = min(max(1, round(OVERLAP * track.fps)), len(track.points) // 3)
    if overlap == 0:
        return track, len(track.points) - 1
    start, end = _seam(track.points, overlap, round(_LONGEST_SEARCH * track.fps))
    share = np.arange(overlap) / overlap
    eased = (share * share * (3 - 2 * share))[:, None]
    seam = between(track.points[end : end + overlap], track.points[start : start + overlap], eased)
    return track.with_points(np.concatenate([track.points[:end], seam, track.points[start + overlap : end]])), end


def places(frames: np.ndarray, count: int, again: int) -> np.ndarray:
    """Which of a film's `count` frames, int, are shown as these of a longer one: what begins with frame `again` is played again
    and again.
    """
    return np.where(frames < count, frames, again + (frames - again) % (count - again))


def _seam(points: np.ndarray, overlap: int, most: int) -> tuple[int, int]:
    """Where what is played again begins and ends: the two moments, of `most` at either end, from which `overlap` frames on are
    most alike. Points [T, 130, 3].
    """
    searched = max(1, min(most, int(_SEARCHED * (len(points) - 2 * overlap))))
    body = np.where(points[:, BODY, 2:] >= VISIBLE, points[:, BODY, :2], np.nan)
    first, last = body[: searched + overlap - 1], body[len(body) - overlap - searched + 1 :]
    apart = np.linalg.norm(first[:, None] - last[None], axis=-1)
    # A point that is seen on one side only says nothing about how far the sides are apart.
    frames = np.nansum(apart, -1) / np.maximum(np.isfinite(apart).sum(-1), 1)
    cost = sum(frames[k : k + searched, k : k + searched] for k in range(overlap))
    start, end = np.unravel_index(np.argmin(cost), cost.shape)
    return int(start), int(len(body) - overlap - searched + 1 + end)
