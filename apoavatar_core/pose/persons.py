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

AWAY = 8
"""Frames after which a person may come back anywhere; before, within the width of the box."""


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
        free = set(range(len(boxes)))
        for track, i in _likeliest(tracks, boxes, frame):
            if i in free and frame not in track:
                track[frame] = boxes[i]
                free.remove(i)
        tracks += [{frame: boxes[i]} for i in sorted(free)]
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


def _likeliest(tracks: Sequence[Track], boxes: np.ndarray, frame: int) -> list[tuple[Track, int]]:
    """Pairs of a track and the number of a box that may be one: the nearest first, after them those who were away."""
    alone = len(tracks) == len(boxes) == 1  # nobody else, now and before: however far it is, it is a cut or a jump
    pairs = []
    for track in tracks:
        last, away = track[max(track)], frame - max(track) > AWAY
        for i, box in enumerate(boxes):
            distance = float(np.linalg.norm(_centre(last) - _centre(box)))
            if alone or away or distance < last[2] - last[0]:
                pairs.append((away, distance, track, i))
    return [(track, i) for _, _, track, i in sorted(pairs, key=lambda pair: pair[:2])]


def _first(track: Track) -> np.ndarray:
    return next(iter(track.values()))


def _centre(box: np.ndarray) -> np.ndarray:
    return (box[:2] + box[2:]) / 2
