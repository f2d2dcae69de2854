"""Contact sheets of films, on which hands are enlarged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from ..pose import PersonKeypoints
from ..pose.keypoints import LEFT_WRIST, RIGHT_WRIST, VISIBLE

HAND_SHARE = 0.28
"""Side of the square round a hand, of the frame's height."""


def contact_sheet(films: Sequence[np.ndarray], people: Sequence[PersonKeypoints], frames: Sequence[int]) -> np.ndarray:
    """One row for each film of a clip: some of its frames, and beside each its faster hand, as large as the frame.

    Args:
        films: uint8 [T, H, W, 3] each, of one size.
        people: the clip's true pose, one for each frame.
        frames: which are shown.

    Returns:
        uint8 [rows·H, columns, 3].
    """
    hands = [faster_wrist(people, frame) for frame in frames]
    rows = [
        np.concatenate([tile for frame, hand in zip(frames, hands) for tile in (film[frame], enlarged(film[frame], hand))], 1)
        for film in films
    ]
    return np.concatenate(rows)


def chosen_frames(people: Sequence[PersonKeypoints], count: int) -> list[int]:
    """The frame with the fastest hand of each of `count` equal parts of a clip: where hands smear if they do."""
    speeds = [max(wrist_speeds(people, frame)) for frame in range(len(people))]
    return [int(part[np.argmax([speeds[frame] for frame in part])]) for part in np.array_split(np.arange(len(people)), count)]


def wrist_speeds(people: Sequence[PersonKeypoints], frame: int) -> list[float]:
    """Of the right and the left wrist into this frame, in frame heights; 0 where one is not seen."""
    here, before = people[frame].body, people[max(frame - 1, 0)].body
    return [
        float(np.linalg.norm(here[wrist, :2] - before[wrist, :2])) if here[wrist, 2] >= VISIBLE else 0.0
        for wrist in (RIGHT_WRIST, LEFT_WRIST)
    ]


def faster_wrist(people: Sequence[PersonKeypoints], frame: int) -> np.ndarray:
    """The middle of the faster hand (x, y), in fractions of the frame."""
    person = people[frame]
    right, left = wrist_speeds(people, frame)
    hand, wrist = (person.right_hand, RIGHT_WRIST) if right >= left else (person.left_hand, LEFT_WRIST)
    seen = hand[hand[:, 2] >= VISIBLE, :2]
    return seen.mean(0) if len(seen) else person.body[wrist, :2]


def enlarged(picture: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """The square round a place (x, y), as far as the picture allows, at the size of the picture's height."""
    height, width = picture.shape[:2]
    side = round(HAND_SHARE * height)
    x, y = np.clip((centre * (width, height) - side / 2).round().astype(int), 0, (width - side, height - side))
    crop = Image.fromarray(picture[y : y + side, x : x + side])
    return np.asarray(crop.resize((height, height), Image.Resampling.NEAREST))
