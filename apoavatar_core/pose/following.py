"""POSE_KEYPOINT as every node reads it: any of its forms in, one person from beginning to end out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .keypoints import VISIBLE, PersonKeypoints, canvas_size, from_frame, people_in, prominence

LARGEST = 0
"""In the place of a person's number: the most prominent one."""

_SAME_PERSON = 0.5
"""How far the same person may be from one frame to the next, in sizes of the person: two who stand side by side are farther."""


@dataclass(frozen=True, eq=False)
class Followed:
    """One person over T frames.

    Attributes:
        people: T frames; nobody where the person is not found.
        canvas: width and height of the pictures in pixels; None when no frame says.
        others: how many people the frame with the most shows besides.
    """

    people: list[PersonKeypoints]
    canvas: tuple[float, float] | None
    others: int

    @property
    def lost(self) -> int:
        """How many frames are without the person."""
        return sum(not is_there(person) for person in self.people)

    @property
    def sentences(self) -> list[str]:
        """What a node says about it."""
        if not self.others:
            return []
        return [f"The pose shows up to {self.others + 1} people: one of them is followed from beginning to end."]


def frames_of(pose: Any) -> list[dict[str, Any] | None]:
    """The frames of a POSE_KEYPOINT: a list, or one frame by itself.

    Raises:
        ValueError: there are none.
    """
    frames = [pose] if isinstance(pose, dict) else pose
    if not isinstance(frames, Sequence) or isinstance(frames, str):
        raise ValueError(
            f"The pose is a {type(pose).__name__}, not a list of OpenPose frames: connect the POSE_KEYPOINT output of "
            "Extract Pose, DWPose or SDPose."
        )
    if len(frames) == 0:
        raise ValueError("The pose has no frames: connect a pose with at least one frame.")
    return list(frames)


def follow(pose: Any, number: int = LARGEST) -> Followed:
    """Read a POSE_KEYPOINT and keep to one of its people: in each frame the one nearest to where the person was last seen.

    A pose that never shows more than one at a time shows the same person throughout, however far it jumps.

    Args:
        pose: POSE_KEYPOINT; one frame by itself, frames of None and any layout that `people_in` reads.
        number: of the person, from the left in the first frame that shows the most, beginning with 1; LARGEST for the most
            prominent in the first frame that shows anybody.

    Raises:
        ValueError: when the pose has another layout, no frames, or never so many people.
    """
    frames = frames_of(pose)
    shown = [[person for person in people_in(frame) if is_there(person)] for frame in frames]
    most = max(map(len, shown))
    if number > most:
        raise ValueError(f"The pose has no person number {number}, for it shows {most} at most: choose a smaller number, or 0.")
    canvas = next(filter(None, (canvas_size(frame) for frame in frames if isinstance(frame, dict))), None)
    if most < 2:
        people = [present[0] if present else PersonKeypoints.nobody() for present in shown]
        return Followed(people, canvas, 0)
    start = next(t for t, present in enumerate(shown) if len(present) >= (1 if number == LARGEST else most))
    chosen = max(shown[start], key=prominence) if number == LARGEST else sorted(shown[start], key=_middle)[number - 1]
    before = _kept_to(chosen, shown[:start][::-1])[::-1]
    return Followed([*before, chosen, *_kept_to(chosen, shown[start + 1 :])], canvas, most - 1)


def only_person(pose: Any) -> tuple[PersonKeypoints, tuple[float, float] | None]:
    """The main person of a POSE_KEYPOINT's first frame, and its canvas (see `Followed`).

    Raises:
        ValueError: the frame has another layout or shows nobody.
    """
    frame = frames_of(pose)[0]
    person = from_frame(frame)
    if not is_there(person):
        raise ValueError("The portrait's pose shows nobody: use a picture in which head and shoulders are seen.")
    return person, canvas_size(frame)


def is_there(person: PersonKeypoints) -> bool:
    """Whether anything of a person's body is seen."""
    return bool((person.body[:, 2] >= VISIBLE).any())


def _kept_to(person: PersonKeypoints, shown: list[list[PersonKeypoints]]) -> list[PersonKeypoints]:
    """The same person in consecutive frames."""
    found = []
    for present in shown:
        nearest = min(present, key=lambda other: _distance(person, other), default=None)
        if nearest is None or _distance(person, nearest) > _SAME_PERSON:
            found.append(PersonKeypoints.nobody())
        else:
            person = nearest
            found.append(nearest)
    return found


def _distance(one: PersonKeypoints, other: PersonKeypoints) -> float:
    """The median distance between what is seen of both bodies, in sizes of the first one."""
    seen = one.body[:, 2] >= VISIBLE
    both = seen & (other.body[:, 2] >= VISIBLE)
    if not both.any():
        return float("inf")
    size = np.linalg.norm(np.ptp(one.body[seen, :2], axis=0))
    moved = np.linalg.norm(one.body[both, :2] - other.body[both, :2], axis=1)
    return float(np.median(moved) / max(size, 1e-6))


def _middle(person: PersonKeypoints) -> float:
    """How far to the right a person is."""
    return float(np.median(person.body[person.body[:, 2] >= VISIBLE, 0]))
