"""What other people's pose models call their points: whole-body layouts as the groups of `PersonKeypoints`."""

from __future__ import annotations

import numpy as np

from .keypoints import GROUPS, PersonKeypoints

UNKNOWN = -1
"""A point that a layout has not: its confidence is 0."""

_BODY_133 = (0, UNKNOWN, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)  # the neck lies between the shoulders
_BODY_308 = (0, 69, 6, 8, 41, 5, 7, 62, 10, 12, 14, 9, 11, 13, 2, 1, 4, 3)


def _hand_308(first: int, wrist: int) -> tuple[int, ...]:
    """The wrist, then each finger from the palm outwards; Sapiens counts each from its tip."""
    return (wrist, *(first + 4 * finger + joint for finger in range(5) for joint in (3, 2, 1, 0)))


_FACE_308 = {
    8: 77,  # chin
    17: 80, 21: 78, 22: 87, 26: 89,  # ends of the brows
    27: 71, 30: 178, 31: 180, 33: 179, 35: 181,  # nose
    36: 121, 39: 120, 42: 96, 45: 97,  # corners of the eyes
    48: 188, 54: 189, 60: 204, 64: 205,  # corners of the mouth
    51: 190, 57: 191, 62: 206, 66: 207,  # middles of the lips
    68: 281, 69: 272,  # irises
}  # fmt: skip
"""Those of the face's landmarks for which Sapiens has a point of the same name; it has no jaw."""

LAYOUTS = {
    133: (*_BODY_133, *range(91, 112), *range(112, 133), *range(23, 91), UNKNOWN, UNKNOWN),
    308: (*_BODY_308, *_hand_308(42, 62), *_hand_308(21, 41), *(_FACE_308.get(i, UNKNOWN) for i in range(70))),
}
"""For each number of points that a model may have, the one that each of `PersonKeypoints.points` is: COCO-WholeBody (133)
and Sapiens' Goliath (308)."""

_NECK, _RIGHT_SHOULDER, _LEFT_SHOULDER = 1, 2, 5
_FACE = sum(count for group, count in GROUPS.items() if group != "face")
_RIGHT_PUPIL, _LEFT_PUPIL = _FACE + 68, _FACE + 69
_LIDS = {_RIGHT_PUPIL: (37, 38, 40, 41), _LEFT_PUPIL: (43, 44, 46, 47)}


def person_from(points: np.ndarray) -> PersonKeypoints:
    """A model's points as a person.

    Args:
        points: [133 or 308, 3], x and y in fractions of the picture and the confidence.

    Raises:
        ValueError: when there is another number of points.
    """
    if len(points) not in LAYOUTS:
        raise ValueError(
            f"The pose model finds {len(points)} points: choose a whole-body one, with "
            f"{' or '.join(map(str, LAYOUTS))} of them."
        )
    layout = np.array(LAYOUTS[len(points)])
    person = np.where((layout == UNKNOWN)[:, None], 0, points[layout])
    between = {_NECK: (_RIGHT_SHOULDER, _LEFT_SHOULDER)}
    between |= {pupil: tuple(_FACE + lid for lid in lids) for pupil, lids in _LIDS.items()}
    for place, others in between.items():
        if layout[place] == UNKNOWN:
            person[place] = *person[list(others), :2].mean(0), person[list(others), 2].min()
    return PersonKeypoints.from_points(person)
