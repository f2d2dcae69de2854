"""What a voice says to the body: how loud it is, where its accents are, where it speaks and where it pauses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..waveform import SAMPLE_RATE

LOUDNESS_FLOOR = 0.008
"""Full-scale RMS below which a whole voice counts as silence."""
SHUT_BELOW = 0.10
"""Share of the voice's speech level under which it counts as silent."""
RATE = 50
"""Levels a second at which a voice is heard, so that no frame rate changes what is found in it."""

_BLUR_SECONDS = 0.05
_ACCENT_LEVEL = 0.16
_ACCENT_GAP_SECONDS = 0.2
_PHRASE_LEVEL = 0.05
_PHRASE_PAUSE_SECONDS = 0.3


@dataclass(frozen=True)
class Accent:
    """A peak of the voice: when (seconds) and how strong (0 … 1)."""

    time: float
    strength: float


@dataclass(frozen=True)
class Phrase:
    """Speech between two pauses, in seconds."""

    start: float
    end: float


@dataclass(frozen=True, eq=False)
class Voice:
    """A heard voice: its length in seconds, its accents and phrases in the order of time."""

    seconds: float
    accents: tuple[Accent, ...]
    phrases: tuple[Phrase, ...]


def hear(speech: np.ndarray) -> Voice:
    """Find accents and phrases in mono 16 kHz `speech` [S], relative to the loud parts of all of it."""
    seconds = len(speech) / SAMPLE_RATE
    level = speech_level(frame_loudness(speech, math.ceil(seconds * RATE), RATE))
    return Voice(seconds, tuple(find_accents(level, RATE)), tuple(find_phrases(level, RATE)))


def frame_loudness(speech: np.ndarray, frames: int, fps: float) -> np.ndarray:
    """RMS of the samples of each video frame: float64 [frames] of full scale, for mono 16 kHz `speech` [S]."""
    edges = np.round(np.arange(frames + 1) * SAMPLE_RATE / fps).astype(int)
    padded = np.zeros(edges[-1])
    usable = min(len(speech), len(padded))
    padded[:usable] = speech[:usable]
    energy = np.concatenate([[0.0], np.cumsum(padded**2)])
    mean_square = (energy[edges[1:]] - energy[edges[:-1]]) / np.diff(edges)
    return np.sqrt(np.maximum(mean_square, 0.0))


def speech_level(loudness: np.ndarray) -> np.ndarray:
    """Loudness [T] relative to its loud parts, in [0, 1]; silence is 0."""
    spoken = loudness[loudness >= 0.25 * loudness.max(initial=0.0)]
    reference = max(float(np.percentile(spoken, 85)), LOUDNESS_FLOOR) if len(spoken) else LOUDNESS_FLOOR
    return np.clip((loudness / reference - SHUT_BELOW) / (1 - SHUT_BELOW), 0.0, 1.0)


def find_accents(level: np.ndarray, rate: float) -> list[Accent]:
    """Local maxima of a level [T] of `rate` values a second, blurred a little; of near ones the stronger stays."""
    smooth = _blurred(level, rate)
    padded = np.pad(smooth, 1, constant_values=-1.0)
    peaks = np.flatnonzero((smooth >= padded[:-2]) & (smooth > padded[2:]) & (smooth > _ACCENT_LEVEL))
    kept: list[int] = []
    for peak in sorted(peaks, key=lambda place: -smooth[place]):
        if all(abs(peak - other) >= _ACCENT_GAP_SECONDS * rate for other in kept):
            kept.append(int(peak))
    return [Accent((place + 0.5) / rate, float(min(1.0, 1.25 * smooth[place]))) for place in sorted(kept)]


def find_phrases(level: np.ndarray, rate: float) -> list[Phrase]:
    """Where the level [T] of `rate` values a second is heard, with breaks shorter than a pause filled."""
    heard = np.flatnonzero(_blurred(level, rate) > _PHRASE_LEVEL)
    if not len(heard):
        return []
    breaks = np.flatnonzero(np.diff(heard) > _PHRASE_PAUSE_SECONDS * rate)
    starts, ends = heard[np.concatenate([[0], breaks + 1])], heard[np.concatenate([breaks, [len(heard) - 1]])]
    return [Phrase(start / rate, (end + 1) / rate) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]


def _blurred(level: np.ndarray, rate: float) -> np.ndarray:
    """The level [T] under a Gaussian window; silence lies around it."""
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(level, _BLUR_SECONDS * rate, mode="constant") if len(level) else level
