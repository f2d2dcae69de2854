"""The path of an arm that keeps close to the voice: every accent carries it as far as the accent is strong.

Nothing moves that no accent moves: the first stroke of a phrase rises out of the rest, the last one before a long pause
falls back into it, and in a short pause the hand stays where it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from .phases import Move
from .plan import Gesture
from .shapes import SHAPES, along_stroke
from .speaker import Speaker

SHORTEST, _LONGEST = 0.32, 0.5
"""Seconds of a stroke."""
FAR = 0.55
"""Seconds at least of a stroke out of the rest or back into it, which is longer than others."""
_LEAST_RISE = 0.5
"""Of a full stroke, on the far side of which a hand out of its rest arrives."""
_ALONE = 1.6
"""How much farther a hand goes that gestures alone."""
_LESS_OFTEN_USED = 0.85
LIFT = 0.4
"""Share of the way into a gesture that a lonely accent of full strength lifts a hand."""
_PATIENCE = 2.0
"""Seconds of a pause after which the most restless hand would go back into its rest."""


def close_moves(gestures: list[Gesture], side: str, speaker: Speaker, rest: np.ndarray) -> list[Move]:
    """The moves [9] of the arm of a side, "right" or "left", for all gestures of both sides; calm makes strokes longer
    and long pauses shorter.
    """
    moves: list[Move] = []
    where, along = rest, 0.0
    for gesture, duration, is_last in timed(gestures, speaker):
        size = gesture.size * _zeal(gesture, side, speaker)
        is_at_rest, takes_part = where is rest, getattr(gesture, side)
        if not is_at_rest and (not takes_part or is_last):
            target, along, duration = rest, 0.0, max(duration, FAR)
        elif not takes_part:
            continue
        elif is_last:
            # A lonely accent lifts the hand a little out of its rest.
            lifted = rest + LIFT * size * (_risen(gesture, _LEAST_RISE, side, rest)[0] - rest)
            moves += [Move(gesture.time - SHORTEST, SHORTEST, lifted), Move(gesture.time, FAR, rest)]
            continue
        elif is_at_rest:
            target, along = _risen(gesture, max(size, _LEAST_RISE), side, rest)
            duration = max(duration, FAR)
        else:
            # Back through the stroke's middle, as far as this accent carries: never on and on to one side.
            along -= math.copysign(2 * size, along)
            target = along_stroke(SHAPES[gesture.shape], along, _place(gesture, side))
        moves.append(Move(gesture.time - duration / 2, duration, target))
        where = target
    return moves


def timed(gestures: Sequence[Gesture], speaker: Speaker) -> Iterator[tuple[Gesture, float, bool]]:
    """Each gesture, the seconds that fit its stroke between its neighbours, and whether a long pause follows."""
    patience = _PATIENCE - 0.6 * speaker.calm
    times = np.array([-math.inf, *(gesture.time for gesture in gestures), math.inf])
    for gesture, since, until in zip(gestures, np.diff(times)[:-1], np.diff(times)[1:], strict=True):
        duration = float(np.clip((1.2 + 0.6 * speaker.calm) * min(since, until), SHORTEST, _LONGEST))
        yield gesture, duration, bool(until > patience)


def _zeal(gesture: Gesture, side: str, speaker: Speaker) -> float:
    """How much of a gesture's size a hand makes: more when it is alone, less when it is the one less often used."""
    if not (gesture.right and gesture.left):
        return _ALONE
    return _LESS_OFTEN_USED if (side == "right") != (speaker.right_hand >= 0.5) else 1.0


def _risen(gesture: Gesture, size: float, side: str, rest: np.ndarray) -> tuple[np.ndarray, float]:
    """The farther end of a stroke from the rest, and where along the stroke it is."""
    ends = [(along_stroke(SHAPES[gesture.shape], along, _place(gesture, side)), along) for along in (-size, size)]
    return max(ends, key=lambda end: float(np.linalg.norm((end[0] - rest)[:3])))


def _place(gesture: Gesture, side: str) -> np.ndarray:
    """Where to; the hands are not each other's mirror image."""
    return gesture.place if side == "right" else gesture.place * [-1.0, 0.5, -1.0]
