"""Keypoints of one person and their exchange format, the OpenPose frame dictionary of ComfyUI's POSE_KEYPOINT."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

VISIBLE = 0.3
"""Confidence from which a keypoint counts as seen, as in the DWPose and SDPose drawing nodes."""

GROUPS = {"body": 18, "left_hand": 21, "right_hand": 21, "face": 70}
"""Points per group, in the order in which `PersonKeypoints.points` stacks them."""

RIGHT_WRIST, LEFT_WRIST = 4, 7
RIGHT_EYE, LEFT_EYE = 14, 15
LIPS = slice(48, 68)
"""The outer and inner lips among the face landmarks."""

_FRAME_KEYS = {
    "body": "pose_keypoints_2d",
    "left_hand": "hand_left_keypoints_2d",
    "right_hand": "hand_right_keypoints_2d",
    "face": "face_keypoints_2d",
}
LANDMARKS = 68  # face landmarks without the two pupils
_BODY_25 = 25
_FROM_BODY_25 = (*range(8), *range(9, 19))  # without the middle of the hips, and without the feet

# Producers write pixels or fractions without saying which. Fractions may overshoot the canvas a little (a wrist just
# outside it), while no pose in pixels fits into the first two of them.
_LARGEST_FRACTION = 2.0

_WIDEST = 1e6  # times the part that is seen of a picture: whatever it shows, that part holds no more of it


@dataclass(frozen=True, eq=False)
class PersonKeypoints:
    """Keypoints of one person in one frame.

    Every array is float32 [n, 3]: x and y as fractions of the canvas width and height (0 to 1 inside the canvas, a
    little beyond it for extrapolated points), then the confidence (0 = not seen, 1 = certain).

    Attributes:
        body: [18, 3] in OpenPose's COCO order (0 nose, 1 neck, 2-4 right arm, 5-7 left arm, 8-13 legs, 14-15 eyes,
            16-17 ears).
        left_hand: [21, 3], 0 the wrist, then four points each for thumb, index, middle, ring and little finger.
        right_hand: [21, 3], likewise.
        face: [70, 3], the 68 landmarks and the right and left pupil.

    Raises:
        ValueError: when an array has another shape.
    """

    body: np.ndarray
    left_hand: np.ndarray
    right_hand: np.ndarray
    face: np.ndarray

    def __post_init__(self) -> None:
        for group, count in GROUPS.items():
            shape = getattr(self, group).shape
            if shape != (count, 3):
                raise ValueError(f"A pose's {group} must have shape [{count}, 3], not {list(shape)}.")

    @classmethod
    def from_points(cls, points: np.ndarray) -> PersonKeypoints:
        """Split stacked points [130, 3] into the groups; the inverse of `points`."""
        splits = np.cumsum(list(GROUPS.values()))[:-1]
        return cls(*np.split(np.asarray(points, dtype=np.float32), splits))

    @classmethod
    def nobody(cls) -> PersonKeypoints:
        """A frame without a person: every confidence is 0."""
        return cls.from_points(np.zeros((sum(GROUPS.values()), 3), dtype=np.float32))

    @property
    def points(self) -> np.ndarray:
        """All groups stacked in the order of `GROUPS`: float32 [130, 3]."""
        return np.concatenate([getattr(self, group) for group in GROUPS])


def people_in(frame: dict[str, Any] | None) -> list[PersonKeypoints]:
    """Read everyone in an OpenPose frame dictionary.

    Coordinates may be pixels of `canvas_width` x `canvas_height` or fractions of the canvas; hands and face may be missing
    or None, a face may have 68 or 70 points and a body OpenPose's 18 or 25. Points at exactly (0, 0) or (-1, -1) are how
    producers write "not found" and get confidence 0. None in the place of a frame, of its people or of one of them is
    nobody.

    Args:
        frame: one element of a POSE_KEYPOINT list.

    Raises:
        ValueError: when the frame does not have that layout.
    """
    people = [] if frame is None else frame.get("people", 0) if isinstance(frame, dict) else 0
    if not isinstance(people, list | None):
        raise ValueError(
            "The pose is not a list of OpenPose frames with 'people' in them: connect the POSE_KEYPOINT output of "
            "Extract Pose, DWPose or SDPose."
        )
    stacked = [_read_person(person) for person in people or [] if person is not None]
    if not stacked:
        return []
    points = np.stack(stacked)

    seen = points[..., 2] > 0
    if seen.any() and np.abs(points[..., :2][seen]).max() > _LARGEST_FRACTION:
        canvas = canvas_size(frame)
        if canvas is None:
            raise ValueError(
                "The pose has pixel coordinates but no valid canvas_width and canvas_height: extract the pose again with "
                "Extract Pose, DWPose or SDPose, or name the size in Load OpenPose JSON."
            )
        points[..., :2] /= np.array(canvas, dtype=np.float32)
    return [PersonKeypoints.from_points(person) for person in points]


def from_frame(frame: dict[str, Any] | None) -> PersonKeypoints:
    """The main person of one frame (see `people_in`): the one with the largest product of mean body confidence and height;
    nobody when the frame has no people. Over time, `follow` keeps to one person.
    """
    return max(people_in(frame), key=prominence, default=PersonKeypoints.nobody())


def to_frame(person: PersonKeypoints, width: int, height: int) -> dict[str, Any]:
    """Write a person as an OpenPose frame dictionary with pixel coordinates.

    Args:
        person: the keypoints; with every confidence 0 the frame gets no people.
        width: canvas width in pixels.
        height: canvas height in pixels.

    Returns:
        `people`, `canvas_width` and `canvas_height`. All four groups are always written in full (the face with 70
        points), because ComfyUI's own drawing node reads them without asking.
    """
    people = []
    if (person.points[:, 2] > 0).any():
        scale = np.array([width, height, 1], dtype=np.float32)
        people.append(
            {
                key: np.where(values[:, 2:] > 0, values * scale, 0).flatten().tolist()
                for key, values in ((key, getattr(person, group)) for group, key in _FRAME_KEYS.items())
            }
        )
    return {"people": people, "canvas_width": width, "canvas_height": height}


def in_middle_of(person: PersonKeypoints, canvas: tuple[float, float], width: int, height: int) -> PersonKeypoints:
    """A person in the middle part of its picture that has the shape of another: what is left when the picture is scaled
    to cover width × height and cropped. Points outside keep their place, beyond 0 … 1.

    Args:
        person: keypoints as fractions of the canvas.
        canvas: width and height of the picture they were found in.
        width, height: of the other picture.
    """
    scale = max(width / canvas[0], height / canvas[1])
    covering = np.minimum([canvas[0] * scale / width, canvas[1] * scale / height], _WIDEST)
    points = person.points.astype(np.float64)
    points[:, :2] = 0.5 + (points[:, :2] - 0.5) * covering
    return PersonKeypoints.from_points(points)


def _read_person(person: Any) -> np.ndarray:
    """Keypoints of one entry of `people` as float32 [130, 3], coordinates still in the producer's unit."""
    if not isinstance(person, dict):
        raise ValueError(
            f"A person in the pose is a {type(person).__name__}, not a dictionary of keypoint lists: connect the "
            "POSE_KEYPOINT output of Extract Pose, DWPose or SDPose."
        )
    groups = {group: _read_group(person.get(key), group) for group, key in _FRAME_KEYS.items()}
    if len(groups["face"]) == LANDMARKS:
        groups["face"] = np.concatenate([groups["face"], groups["body"][[RIGHT_EYE, LEFT_EYE]]])
    return np.concatenate([groups[group] for group in GROUPS])


def _read_group(flat: Any, group: str) -> np.ndarray:
    """One flat [x, y, confidence, ...] list as float32 [n, 3]; absent lists become points that are not seen."""
    count = GROUPS[group]
    try:
        values = np.asarray([] if flat is None else flat, dtype=np.float32).reshape(-1, 3)
    except (TypeError, ValueError):
        raise ValueError(
            f"The pose's {group} is not a list of x, y, confidence numbers: extract the pose again with Extract Pose, "
            "DWPose or SDPose."
        ) from None
    if len(values) == 0:
        return np.zeros((count, 3), dtype=np.float32)
    if group == "body" and len(values) == _BODY_25:
        values = values[list(_FROM_BODY_25)]
    allowed = (LANDMARKS, count) if group == "face" else (count,)
    if len(values) not in allowed:
        raise ValueError(
            f"The pose's {group} has {len(values)} keypoints instead of {' or '.join(map(str, allowed))}: extract the "
            "pose with a detector that writes OpenPose's body of 18 or 25 points, such as Extract Pose, DWPose or SDPose."
        )
    unseen = ~np.isfinite(values).all(axis=1) | (values[:, :2] == 0).all(axis=1) | (values[:, :2] == -1).all(axis=1)
    values = np.where(unseen[:, None], 0, values)
    values[:, 2] = values[:, 2].clip(0, 1)
    return values


def canvas_size(frame: dict[str, Any]) -> tuple[float, float] | None:
    """Width and height of the picture that an OpenPose frame dictionary was found in, in pixels; None when it does not
    say.
    """
    try:
        width, height = float(frame["canvas_width"]), float(frame["canvas_height"])
    except (KeyError, TypeError, ValueError):
        return None
    return (width, height) if 0 < width < math.inf and 0 < height < math.inf else None


def prominence(person: PersonKeypoints) -> float:
    """How much of the picture's subject a person is: mean body confidence times the height of what is seen of it."""
    points = person.points
    seen = points[points[:, 2] > 0, 1]
    return float(person.body[:, 2].mean() * np.ptp(seen)) if len(seen) else 0.0
