"""Which of several persons: boxes found frame by frame become persons over time, of whom one is chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from torch import Tensor

from .model import in_8_bits

Track = dict[int, np.ndarray]
"""One person: the box [4] in each frame in which it was found."""

Choice = Callable[[Sequence[Track]], Track]
"""Says which of at least one persons is wanted."""

SAME = 0.2
"""Boxes that share more than this part of their union, in frames one after the other, are one person's."""

AWAY = 8
"""Frames after which a person may come back anywhere."""


def look(
    finder: Callable[[np.ndarray], np.ndarray],
    frames: np.ndarray | Tensor,
    *,
    every: int,
    progress: Callable[[int], None] | None = None,
) -> dict[int, np.ndarray]:
    """Look for persons in some of the frames; the last one is always among them.

    Args:
        finder: uint8 [H, W, 3] -> boxes [n, 4], left, top, right and bottom in fractions of the picture.
        frames: [T, H, W, 3] as `estimate` takes them.
        every: frames from one look to the next.
        progress: called with the number of looks after each; may raise to stop.

    Returns:
        The boxes in each frame that was looked at.
    """
    found = {}
    for frame in sorted({*range(0, len(frames), every), len(frames) - 1}):
        found[frame] = finder(in_8_bits(frames[frame]))
        if progress is not None:
            progress(len(found))
    return found


def followed(found: Mapping[int, np.ndarray]) -> list[Track]:
    """Boxes of many persons, frame by frame -> one track for each of them.

    Args:
        found: boxes [n, 4], n from 0, in frames in rising order: left, top, right and bottom in fractions of the picture.
    """
    tracks: list[Track] = []
    for frame, boxes in found.items():
        free = list(range(len(boxes)))
        waiting = list(tracks)
        for track, box in _overlapping(waiting, boxes):
            if box in free and any(track is one for one in waiting):
                track[frame] = boxes[box]
                free.remove(box)
                waiting = [one for one in waiting if one is not track]
        for box in free:
            back = _returned(waiting, boxes[box], frame, alone=len(boxes) == len(tracks) == 1)
            if back is None:
                tracks.append({frame: boxes[box]})
            else:
                back[frame] = boxes[box]
                waiting = [one for one in waiting if one is not back]
    return tracks


def largest(tracks: Sequence[Track]) -> Track:
    """The one who fills most of the film."""
    return max(tracks, key=lambda track: sum(np.prod(box[2:] - box[:2]) for box in track.values()))


def numbered(index: int) -> Choice:
    """The index-th from the left, from 0, where each was first seen.

    Raises:
        ValueError: when there are fewer.
    """

    def choose(tracks: Sequence[Track]) -> Track:
        if index >= len(tracks):
            raise ValueError(f"There are {len(tracks)} persons in the frames: index must be less than that, not {index}.")
        return sorted(tracks, key=lambda track: _centre(_first(track))[0])[index]

    return choose


def nearest(point: tuple[float, float]) -> Choice:
    """The one whom a point (fractions of the picture) is nearest to where each was first seen."""
    return lambda tracks: min(tracks, key=lambda track: float(np.linalg.norm(_centre(_first(track)) - point)))


def boxes_of(track: Track, frames: int) -> np.ndarray:
    """A person's box in every frame [frames, 4]: held or blended where it was not found."""
    places, boxes = list(track), np.stack(list(track.values()))
    return np.stack([np.interp(range(frames), places, side) for side in boxes.T], axis=-1)


def shared_part(one: np.ndarray, other: np.ndarray) -> float:
    """The intersection of two boxes [4] over their union."""
    shared = (np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])).clip(0).prod()
    return float(shared / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared))


def _overlapping(tracks: Sequence[Track], boxes: np.ndarray) -> list[tuple[Track, int]]:
    """Pairs of a track and the number of a box that may be one, the likeliest first."""
    pairs = [(shared_part(_last(track), box), track, i) for track in tracks for i, box in enumerate(boxes)]
    pairs = sorted((pair for pair in pairs if pair[0] > SAME), key=lambda pair: -pair[0])
    return [(track, i) for _, track, i in pairs]


def _returned(lost: Sequence[Track], box: np.ndarray, frame: int, *, alone: bool) -> Track | None:
    """The person who is where nobody was: the nearest of those who may have got there; None for somebody new.

    alone: there is nobody else, in this frame and before, so that it is a cut or a jump.
    """

    def distance(track: Track) -> float:
        return float(np.linalg.norm(_centre(_last(track)) - _centre(box)))

    def reaches(track: Track) -> bool:
        near = distance(track) < np.linalg.norm(_last(track)[2:] - _last(track)[:2])
        return alone or near or frame - max(track) > AWAY

    return min(filter(reaches, lost), key=distance, default=None)


def _first(track: Track) -> np.ndarray:
    return next(iter(track.values()))


def _last(track: Track) -> np.ndarray:
    return track[max(track)]


def _centre(box: np.ndarray) -> np.ndarray:
    return (box[:2] + box[2:]) / 2
