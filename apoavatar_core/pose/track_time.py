"""A track in another time: at another frame rate, from a moment on, for a number of frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .track import Track, between


def resampled(track: Track, fps: float) -> Track:
    """The same movement at another frame rate: frame t shows the moment t / fps, as before.

    Args:
        track: of T frames, T / track.fps seconds long.
        fps: frames per second.

    Returns:
        As many frames as fit into the same duration, at least one. Between two frames points lie on the line between their
        places; behind the last one they stay.
    """
    if fps == track.fps:
        return track
    count = max(1, round(len(track.points) / track.fps * fps))
    places = np.minimum(np.arange(count) * (track.fps / fps), len(track.points) - 1)
    before = np.floor(places).astype(int)
    after = np.minimum(before + 1, len(track.points) - 1)
    points = between(track.points[before], track.points[after], (places - before)[:, None])
    return replace(track, points=points.astype(np.float32), fps=fps)


def from_moment(track: Track, seconds: float) -> Track:
    """The track without its first seconds.

    Raises:
        ValueError: it is not longer.
    """
    start = round(seconds * track.fps)
    if start >= len(track.points):
        raise ValueError(
            f"The pose is {len(track.points) / track.fps:.2f} seconds long, so it cannot start at {seconds:g}: start earlier."
        )
    return track.with_points(track.points[start:])


def held(track: Track, frames: int) -> Track:
    """The track's first frames, or all and the last one until there are so many."""
    last = len(track.points) - 1
    return track.with_points(track.points[np.minimum(np.arange(frames), last)])
