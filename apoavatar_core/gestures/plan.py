"""Which gestures a speaker makes on a voice.

The voice proposes a cue for every accent. Each cue draws its numbers from its own generator, whatever the accent's
strength: so the same accent, spoken louder, is never passed over more easily and never makes a smaller stroke.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .accents import Accent, Voice
from .shapes import SHAPES
from .speaker import Speaker

VOICE_SHARE = 0.95
"""Share of the cues of a `LOOSE` bond that stay on the voice's accents."""


@dataclass(frozen=True)
class Bond:
    """How closely a body keeps to the voice.

    voice_share: share of the cues that stay on the voice's accents, 0 … 1; the others come at a time and with a strength
    of the speaker's own. It is the number that says how much of the hands' motion the voice explains. apart: seconds
    that cues are apart at least. keeps_hands, keeps_shape: chance that a gesture soon after another one goes on with
    its hands and its shape. close: whether the accents alone carry the arms (`close`) or gestures have phases (`arms`).
    """

    voice_share: float = VOICE_SHARE
    apart: float = 0.34
    keeps_hands: float = 0.7
    keeps_shape: float = 0.75
    close: bool = False


LOOSE = Bond()
"""Strokes last little longer than they are apart, and blend; hand, shape and some of the times are the speaker's own."""
CLOSE = Bond(voice_share=1.0, apart=0.22, keeps_hands=0.97, keeps_shape=0.92, close=True)
"""The voice alone says when and how much the hands move."""

_PLAN_STREAM = 0
_AROUND_SPEECH = 0.8
_FREE_STRENGTH = (0.35, 1.0)
_TOGETHER_SECONDS = 1.4
_WANDERING = np.array([0.05, 0.05, 0.03])


@dataclass(frozen=True, eq=False)
class Gesture:
    """One stroke of one or both hands.

    time: the stroke's middle, seconds; duration: of the stroke, seconds; size: 1 is a full one; place: [3], where to,
    beside the shape's own home.
    """

    time: float
    duration: float
    size: float
    shape: str
    right: bool
    left: bool
    place: np.ndarray


@dataclass(frozen=True)
class _Cue:
    time: float
    strength: float
    chances: np.ndarray


def plan_gestures(voice: Voice, speaker: Speaker, seed: int, bond: Bond = LOOSE) -> list[Gesture]:
    """The speaker's gestures on the voice, in the order of time; the same for the same seed.

    Args:
        voice: what is heard.
        speaker: who gestures.
        seed: of all choices, 0 or more.
        bond: how closely they keep to the voice.
    """
    cues = [
        _cue(voice, accent, [_PLAN_STREAM, seed, index], bond.voice_share) for index, accent in enumerate(voice.accents)
    ]
    gestures: list[Gesture] = []
    for cue in _apart([cue for cue in cues if _is_taken(cue, speaker)], bond.apart):
        gestures.append(_gesture(cue, speaker, gestures[-1] if gestures else None, bond))
    return gestures


def _cue(voice: Voice, accent: Accent, key: list[int], voice_share: float) -> _Cue:
    """An accent's cue: on the accent, or set free to any moment in or near speech, pauses included."""
    rng = np.random.default_rng(key)
    stays, when, how_strong = rng.random() < voice_share, rng.random(), rng.uniform(*_FREE_STRENGTH)
    chances = rng.random(10)
    if stays:
        return _Cue(accent.time, accent.strength, chances)
    return _Cue(_speaking_moment(voice, when), float(how_strong), chances)


def _speaking_moment(voice: Voice, share: float) -> float:
    """The moment after a share of all the time in phrases and just after them, seconds."""
    starts = np.array([phrase.start for phrase in voice.phrases])
    ends = np.array([phrase.end for phrase in voice.phrases]) + _AROUND_SPEECH
    ends = np.minimum(ends, np.append(starts[1:], np.inf))
    until = np.cumsum(ends - starts)
    index = min(int(np.searchsorted(until, share * until[-1])), len(starts) - 1)
    return float(ends[index] - (until[index] - share * until[-1]))


def _is_taken(cue: _Cue, speaker: Speaker) -> bool:
    """Whether the cue becomes a gesture: a middling one by the speaker's energy, weak ones are let pass more often."""
    return cue.chances[0] < speaker.energy + cue.strength - 0.5


def _apart(cues: list[_Cue], seconds: float) -> list[_Cue]:
    """The cues that fit beside stronger ones, in the order of time."""
    kept: list[_Cue] = []
    for cue in sorted(cues, key=lambda cue: -cue.strength):
        if all(abs(cue.time - other.time) >= seconds for other in kept):
            kept.append(cue)
    return sorted(kept, key=lambda cue: cue.time)


def _gesture(cue: _Cue, speaker: Speaker, before: Gesture | None, bond: Bond) -> Gesture:
    """The cue's gesture; soon after another one it mostly goes on with its hands and its shape."""
    chances = cue.chances
    goes_on = before is not None and cue.time - before.time < _TOGETHER_SECONDS
    if goes_on and chances[1] < bond.keeps_hands:
        right, left = before.right, before.left
    else:
        both, is_right = chances[2] < speaker.both_hands, chances[3] < speaker.right_hand
        right, left = bool(both or is_right), bool(both or not is_right)
    if goes_on and chances[4] < bond.keeps_shape:
        shape, place = before.shape, before.place
    else:
        liked = np.cumsum(speaker.shapes) / np.sum(speaker.shapes)
        shape = tuple(SHAPES)[min(int(np.searchsorted(liked, chances[5], side="right")), len(SHAPES) - 1)]
        place = (2 * chances[6:9] - 1) * _WANDERING + [0.0, 0.10 * (speaker.range - 1), 0.0]
    return Gesture(
        time=cue.time - speaker.lead,
        duration=float(np.clip(0.42 + 0.16 * speaker.calm + 0.1 * (chances[9] - 0.5), 0.4, 0.7)),
        size=speaker.range * (0.2 + 0.8 * cue.strength),
        shape=shape,
        right=right,
        left=left,
        place=place,
    )
