"""One frame's motion of a presenter, at random, somewhat beyond what speech causes."""

from __future__ import annotations

import numpy as np

from ..gestures import HAND, SHAPES, BodyTrack
from ..gestures.shapes import PLACE, REST, stroke_ends
from ..synthetic import Motion


def random_motion(rng: np.random.Generator) -> Motion:
    """A motion of one frame."""
    # Half of the mouths are nearly shut, as in speech; the exact opening matters most there.
    opening = rng.uniform(0, 1) ** (2 if rng.random() < 0.5 else 1) * (rng.random() < 0.9)
    right, left = _random_arm(rng), _random_arm(rng)
    body = BodyTrack(
        right_wrist=right[None, PLACE],
        left_wrist=left[None, PLACE],
        right_hand=right[None, PLACE.stop :],
        left_hand=left[None, PLACE.stop :],
        sway=rng.uniform(-0.04, 0.04, 1),
        breath=rng.uniform(-0.02, 0.02, 1),
        head_turn=rng.uniform(-0.25, 0.25, 1),
        head_nod=rng.uniform(-0.04, 0.17, 1),
        head_tilt=rng.uniform(-0.08, 0.08, 1),
        gaze=rng.uniform(-1, 1, (1, 2)) * (rng.random() < 0.5),
        blink=np.array([rng.uniform(0, 1) * (rng.random() < 0.3)]),
        brow=rng.uniform(0, 1, 1),
    )
    return Motion(body, mouth_opening=np.array([opening]), mouth_width=rng.uniform(0, 1, 1))


def _random_arm(rng: np.random.Generator) -> np.ndarray:
    """Wrist and hand [9] as in gestures or near their rest, on the way between two of them or in no gesture at all."""
    first, second = (_random_end(rng) for _ in range(2))
    arm = first + rng.uniform() * (second - first)
    arm[PLACE] += rng.normal(0, 0.04, 3)
    if rng.random() < 0.2:
        arm[PLACE.stop + HAND.index("angle")] = rng.uniform(-1.4, 0.9)
        arm[PLACE.stop + HAND.index("index") :] = rng.uniform((0, 0, 0, 0, 0.6), 1)
    return arm


def _random_end(rng: np.random.Generator) -> np.ndarray:
    """The rest pose or an end of a stroke of any shape."""
    # Hands rest more often than they make any one gesture.
    if rng.random() < 0.3:
        return REST
    shape = SHAPES[tuple(SHAPES)[int(rng.integers(len(SHAPES)))]]
    return stroke_ends(shape, rng.uniform(0.1, 1.4), rng.uniform(-0.08, 0.08, 3))[int(rng.integers(2))]
