"""A pose of a film made a clip's: the steps of Pose Track in their order."""

from __future__ import annotations

from typing import Any

from .following import follow
from .track import Track
from .track_gaps import filled
from .track_loop import looped
from .track_smoothing import smoothed
from .track_time import from_moment, held, resampled

LOOP, HOLD = "loop", "hold"


def clip_of(
    pose: Any, pose_fps: float, fps: float, *, person: int = 0, start: float = 0.0, length: int = 0, when_short: str = LOOP,
    smoothing: float = 0.0,
) -> tuple[Track, list[str]]:  # fmt: skip
    """A POSE_KEYPOINT in a clip's time.

    Args:
        pose: POSE_KEYPOINT of `pose_fps` frames per second.
        fps: of the clip.
        person: which of several, see `follow`.
        start: seconds of the pose that are left out.
        length: frames of the clip; 0 for as many as the pose gives.
        when_short: LOOP or HOLD, for what the pose is too short for.
        smoothing: 0 … 1.

    Returns:
        The track, and what was done in sentences.

    Raises:
        ValueError: the pose cannot be read, shows nobody, or ends before `start`.
    """
    followed = follow(pose, person)
    whole = filled(Track.of(followed, pose_fps))
    track = resampled(from_moment(smoothed(whole.track, smoothing), start), fps)
    said = [*followed.sentences, *whole.sentences]
    if len(track.points) < length:
        done = "it is looped" if when_short == LOOP else "its last frame is held"
        said.append(f"The pose lasts {len(track.points) / fps:.2f} seconds and the clip {length / fps:.2f}: {done}.")
    if length:
        track = looped(track, length) if when_short == LOOP else held(track, length)
    return track, said
