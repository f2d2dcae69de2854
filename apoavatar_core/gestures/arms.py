"""From planned gestures to the path of one arm: preparation, stroke, hold, retraction."""

from __future__ import annotations

import numpy as np

from .phases import Move
from .plan import Gesture
from .shapes import SHAPES, stroke_ends
from .speaker import Speaker

_PREPARATION = 0.8
_SHORTEST_PREPARATION = 0.4
_LONGEST_PAUSE = 1.2
_RETRACTION = 1.4


def arm_moves(gestures: list[Gesture], side: str, speaker: Speaker, rest: np.ndarray) -> list[Move]:
    """The moves of the arm of a side, "right" or "left", that makes its gestures and rests between them; [9] each.

    A gesture that follows before the hand would rest is blended in: with a preparation when there is time for one,
    else straight from where the hand is to the farther end of its stroke.
    """
    gestures = [gesture for gesture in gestures if getattr(gesture, side)]
    hold = 0.15 + 0.35 * speaker.calm
    patience = 0.9 - 0.4 * speaker.calm
    moves: list[Move] = []
    where, free_from = rest, -np.inf
    for index, gesture in enumerate(gestures):
        start = gesture.time - gesture.duration / 2
        first, last = stroke_ends(SHAPES[gesture.shape], gesture.size, gesture.place)
        time_to_prepare = min(start - free_from, _PREPARATION + 0.2 * speaker.calm)
        if time_to_prepare >= (_SHORTEST_PREPARATION if where is rest else _LONGEST_PAUSE):
            moves.append(Move(start - time_to_prepare, time_to_prepare, first))
            target = last
        else:
            target = max(first, last, key=lambda end: float(np.linalg.norm((end - where)[:3])))
        moves.append(Move(start, gesture.duration, target))
        where, free_from = target, start + gesture.duration
        until = gestures[index + 1].time - gestures[index + 1].duration / 2 if index + 1 < len(gestures) else np.inf
        if until - free_from > hold + patience + _PREPARATION:
            retraction = _RETRACTION + 0.4 * speaker.calm
            moves.append(Move(free_from + hold, retraction, rest))
            where, free_from = rest, free_from + hold + 0.5 * retraction
    return moves
