"""Smoothing of a track that stills trembling and keeps the onsets of movements.

The One-Euro filter (Casiez, Roussel, Vogel 2012): a low pass whose cutoff rises with speed. It runs forwards and backwards and the
two are averaged, so that nothing comes later than it did.
"""

from __future__ import annotations

import numpy as np

from .keypoints import VISIBLE
from .track import BODY, Track

_HIGHEST, _LOWEST = 8.0, 0.5  # Hz, of a still point at the strengths 0 and 1
_BETA = 12.0  # Hz more for a speed of one body size a second
_SPEED_CUTOFF = 3.0  # Hz


def smoothed(track: Track, strength: float) -> Track:
    """The same movement without trembling.

    Args:
        track: points that are not seen are left as they are, and nothing is smoothed across them.
        strength: 0 (not at all) … 1.
    """
    if strength <= 0:
        return track
    cutoff = _HIGHEST * (_LOWEST / _HIGHEST) ** min(strength, 1.0)
    scale = np.array(track.canvas) / _size(track)
    places, seen = track.points[..., :2] * scale, track.points[..., 2] >= VISIBLE
    forwards = _one_euro(places, seen, track.fps, cutoff)
    backwards = _one_euro(places[::-1], seen[::-1], track.fps, cutoff)[::-1]
    points = track.points.copy()
    points[..., :2] = np.where(seen[..., None], (forwards + backwards) / 2 / scale, points[..., :2])
    return track.with_points(points)


def _one_euro(places: np.ndarray, seen: np.ndarray, fps: float, cutoff: float) -> np.ndarray:
    """Places [T, n, 2] in sizes of the body and whether they are seen [T, n] → [T, n, 2]."""

    def share(frequency: np.ndarray | float) -> np.ndarray | float:
        """The weight of the newest value in a low pass of that cutoff in Hz."""
        return 1 / (1 + fps / (2 * np.pi * frequency))

    found = np.empty_like(places)
    smooth, speed = places[0], np.zeros_like(places[0])
    found[0] = smooth
    for t in range(1, len(places)):
        known = (seen[t] & seen[t - 1])[:, None]
        now = (places[t] - places[t - 1]) * fps
        speed = np.where(known, speed + share(_SPEED_CUTOFF) * (now - speed), 0)
        weight = share(cutoff + _BETA * np.linalg.norm(speed, axis=-1, keepdims=True))
        smooth = smooth + np.where(known, weight, 1) * (places[t] - smooth)
        found[t] = smooth
    return found


def _size(track: Track) -> float:
    """Of the body in pixels: the median, over the frames, of the diagonal of what is seen of it."""
    body = np.where(track.points[:, BODY, 2:] >= VISIBLE, track.points[:, BODY, :2] * track.canvas, np.nan)
    body = body[track.there]
    if len(body) == 0:
        return float(max(track.canvas))
    size = np.median(np.linalg.norm(np.nanmax(body, 1) - np.nanmin(body, 1), axis=-1))
    return float(max(size, 1.0))
