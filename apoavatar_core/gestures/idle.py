"""What a body does besides its hands: it breathes, blinks, looks about, sways with its phrases and nods on accents."""

from __future__ import annotations

import numpy as np

from .accents import Voice
from .phases import Move, follow

NOD = 0.12
"""Radians of a full nod."""
_NOD_SECONDS = (0.22, 0.38)
_GLANCE_SECONDS = 0.12
_LEAN_SECONDS = 0.9


def breathing(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How far the shoulders are lifted [T], in arm lengths: about 15 breaths a minute."""
    phase, rate = rng.uniform(0, 2 * np.pi), rng.uniform(0.22, 0.30)
    return 0.009 * np.sin(2 * np.pi * rate * times + phase)


def wandering(times: np.ndarray, amplitude: float, rng: np.random.Generator) -> np.ndarray:
    """Slow sum of two sinusoids [T] within ±amplitude."""
    (slow, slower), (phase, other_phase) = rng.uniform(0.10, 0.30, 2), rng.uniform(0, 2 * np.pi, 2)
    wave = 0.65 * np.sin(2 * np.pi * slow * times + phase)
    return amplitude * (wave + 0.35 * np.sin(2 * np.pi * slower * times + other_phase))


def nods(voice: Voice, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Nod [T] in radians, down is positive: on two thirds of the accents, deeper on strong ones."""
    moves, free_from = [], -np.inf
    for accent in voice.accents:
        takes, depth = rng.random() < 0.65, NOD * accent.strength * rng.uniform(0.6, 1.0)
        down, up = _NOD_SECONDS
        start = accent.time - 0.75 * down
        if takes and start >= free_from:
            moves += [Move(start, down, np.array([depth])), Move(start + down, up, np.zeros(1))]
            free_from = start + down + 0.5 * up
    return follow(np.zeros(1), moves, times)[:, 0]


def leaning(voice: Voice, times: np.ndarray, amplitude: float, rng: np.random.Generator) -> np.ndarray:
    """A posture [T] within ±amplitude that changes as a phrase begins."""
    moves = [
        Move(phrase.start - 0.2, _LEAN_SECONDS, rng.uniform(-amplitude, amplitude, 1)) for phrase in voice.phrases
    ]
    return follow(rng.uniform(-amplitude, amplitude, 1), moves, times)[:, 0]


def gaze(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Where the eyes look [T, 2], right and up of the viewer on the picture in −1 … 1: mostly at the viewer."""
    moves, moment = [], rng.uniform(0.5, 2.5)
    while len(times) and moment < times[-1]:
        moves.append(Move(moment, _GLANCE_SECONDS, rng.uniform((-1, -0.4), (1, 0.6))))
        moment += rng.uniform(0.5, 1.1)
        moves.append(Move(moment, _GLANCE_SECONDS, np.zeros(2)))
        moment += rng.uniform(1.2, 3.5)
    return follow(np.zeros(2), moves, times)


def blinks(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lid closure [T] in [0, 1]: a blink of about 0.25 s every 2 to 4 s."""
    moves, moment = [], rng.uniform(0.3, 3.0)
    while len(times) and moment < times[-1]:
        moves += [Move(moment, 0.10, np.ones(1)), Move(moment + 0.12, 0.14, np.zeros(1))]
        moment += rng.uniform(2.0, 4.0)
    return follow(np.zeros(1), moves, times)[:, 0]
