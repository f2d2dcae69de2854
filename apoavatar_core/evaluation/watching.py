"""What the keypoint network sees in a film."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..pose import PersonKeypoints, PoseModel, estimate, hand_speed, mouth_opening
from ..tiny.hand_detail import hand_box, is_seen


@dataclass(frozen=True)
class Film:
    """What the keypoint network reads from frames: the person, the mouth's opening and the speed of the hands, [T]."""

    people: list[PersonKeypoints]
    openings: np.ndarray
    hand_speeds: np.ndarray


def watch(network: PoseModel, frames: np.ndarray) -> Film:
    """Read a film: uint8 [T, H, W, 3]."""
    people = estimate(network, np.ascontiguousarray(frames))
    openings = np.array([mouth_opening(person) for person in people])
    return Film(people, openings, hand_speed(people, aspect=frames.shape[2] / frames.shape[1]))


def both_hands_seen(found: Sequence[PersonKeypoints], drawn: Sequence[PersonKeypoints], height: int, width: int) -> float:
    """Share of the frames in which both hands are seen, of those whose drawn frame shows both.

    Args:
        found: what a network found in T frames of this height and width.
        drawn: the true keypoints of the drawn clip.

    Returns:
        0 … 1; NaN when the drawn clip never shows both.
    """
    shown = [all(hand_box(hand, height, width) for hand in (person.left_hand, person.right_hand)) for person in drawn]
    seen = [is_seen(person.left_hand) and is_seen(person.right_hand) for person in found]
    return float(np.mean(np.array(seen)[shown])) if any(shown) else float("nan")
