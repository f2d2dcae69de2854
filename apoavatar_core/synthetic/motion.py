"""From speech to motion: the mouth follows loudness, the hands beat on its accents.

Mouth and hands depend on the speech alone (and on the identity's gesture style),
so that a model can learn them from audio; only blinks and slow sway are random.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from .identity import GESTURE_SIZES, Identity
from .speech import SAMPLE_RATE

LOUDNESS_FLOOR = 0.008
"""Full-scale RMS below which a whole clip counts as silence."""
SHUT_BELOW = 0.10
"""Share of the clip's speech level under which the mouth is fully shut."""

REST_WRIST = np.array([0.170, 0.872])
"""Resting wrist: distance from the centre line, and height (frame fractions)."""

_RAISE = {
    "both hands": np.array([0.020, -0.195]),
    "alternating hands": np.array([0.012, -0.210]),
    "open arms": np.array([0.100, -0.150]),
}
"""Wrist displacement (outward, down) of a full-size stroke at full loudness."""

_STROKE_ENDS = {
    "both hands": ((1.0, 1.0), (0.15, 0.15)),
    "alternating hands": ((1.0, 0.15), (0.15, 1.0)),
    "open arms": ((1.0, 1.0), (0.15, 0.15)),
}
"""Lifts of the right and the left hand between which full-size strokes go back and forth."""

_ACCENT_LEVEL = 0.16
_ACCENT_GAP_SECONDS = 0.2
_RELAX_AFTER_SECONDS = 0.30
_RELAX_SECONDS = 1.5


@dataclass(frozen=True)
class Motion:
    """Per-frame motion over T frames; float32 arrays [T], wrists [T, 2].

    Positions are fractions of the square frame (x right, y down), tilt is in radians.
    "Right" is the person's right, which is the left of the picture.
    """

    mouth_opening: np.ndarray
    mouth_width: np.ndarray
    blink: np.ndarray
    brow: np.ndarray
    head_x: np.ndarray
    head_y: np.ndarray
    head_tilt: np.ndarray
    body_x: np.ndarray
    right_wrist: np.ndarray
    left_wrist: np.ndarray

    def __len__(self) -> int:
        return len(self.mouth_opening)

    def window(self, start: int, frames: int) -> Motion:
        """The motion of `frames` frames from frame `start` on."""
        return Motion(**{f.name: getattr(self, f.name)[start : start + frames] for f in fields(self)})


@dataclass(frozen=True)
class Accent:
    """A loudness peak: its frame and its loudness in [0, 1]."""

    frame: int
    loudness: float


def frame_loudness(speech: np.ndarray, frames: int, fps: float) -> np.ndarray:
    """RMS of the samples of each video frame: float64 [frames] of full scale."""
    edges = np.round(np.arange(frames + 1) * SAMPLE_RATE / fps).astype(int)
    padded = np.zeros(edges[-1])
    usable = min(len(speech), len(padded))
    padded[:usable] = speech[:usable]
    energy = np.concatenate([[0.0], np.cumsum(padded**2)])
    mean_square = (energy[edges[1:]] - energy[edges[:-1]]) / np.diff(edges)
    return np.sqrt(np.maximum(mean_square, 0.0))


def speech_level(loudness: np.ndarray) -> np.ndarray:
    """Loudness [T] relative to the loud parts of its clip, in [0, 1]; silence is 0."""
    spoken = loudness[loudness >= 0.25 * loudness.max(initial=0.0)]
    reference = max(float(np.percentile(spoken, 85)), LOUDNESS_FLOOR)
    return np.clip((loudness / reference - SHUT_BELOW) / (1 - SHUT_BELOW), 0.0, 1.0)


def find_accents(level: np.ndarray, fps: float) -> list[Accent]:
    """Local maxima of the smoothed level [T], the louder first served, in time order."""
    smooth = _smooth(level, (1, 2, 3, 2, 1))
    padded = np.pad(smooth, 1, constant_values=-1.0)
    peaks = np.flatnonzero((smooth >= padded[:-2]) & (smooth > padded[2:]) & (smooth > _ACCENT_LEVEL))
    gap = _ACCENT_GAP_SECONDS * fps
    kept: list[int] = []
    for peak in sorted(peaks, key=lambda frame: -smooth[frame]):
        if all(abs(peak - other) >= gap for other in kept):
            kept.append(int(peak))
    return [Accent(frame, float(min(1.0, smooth[frame] * 1.25))) for frame in sorted(kept)]


def speech_motion(
    speech: np.ndarray, frames: int, fps: float, identity: Identity, rng: np.random.Generator
) -> Motion:
    """Motion of `frames` frames for mono 16 kHz `speech` [S] of about frames/fps seconds."""
    level = speech_level(frame_loudness(speech, frames, fps))
    accents = find_accents(level, fps)
    right_wrist, left_wrist = _hands(accents, frames, fps, identity)
    seconds = np.arange(frames) / fps
    emphasis = _emphasis(accents, frames, fps)
    arrays = {
        "mouth_opening": _mouth_opening(level),
        "mouth_width": _mouth_width(speech, frames, fps, level),
        "blink": _blinks(frames, fps, rng),
        "brow": emphasis,
        "head_x": _sway(seconds, 0.010, rng),
        "head_y": 0.016 * emphasis + _sway(seconds, 0.003, rng),
        "head_tilt": _sway(seconds, 0.045, rng),
        "body_x": _sway(seconds, 0.006, rng),
        "right_wrist": right_wrist,
        "left_wrist": left_wrist,
    }
    return Motion(**{name: np.asarray(array, dtype=np.float32) for name, array in arrays.items()})


def _smooth(values: np.ndarray, kernel: tuple[float, ...]) -> np.ndarray:
    """Centred weighted moving average [T]; the borders are continued."""
    weights = np.asarray(kernel, dtype=np.float64)
    padded = np.pad(values, len(kernel) // 2, mode="edge")
    return np.convolve(padded, weights / weights.sum(), mode="valid")


def _mouth_opening(level: np.ndarray) -> np.ndarray:
    """Opening [T] in [0, 1]: the level, lightly smoothed, shut wherever it is silent."""
    smoothed = _smooth(level, (1, 4, 1))
    return np.where(level > 0, smoothed, 0.0) ** 0.9


def _mouth_width(speech: np.ndarray, frames: int, fps: float, level: np.ndarray) -> np.ndarray:
    """Width [T] in [0, 1]: bright sounds (high spectral centroid) spread the lips, silence is 1."""
    hop = SAMPLE_RATE / fps
    window_length = 1024
    centres = np.round((np.arange(frames) + 0.5) * hop).astype(int)
    padded = np.zeros(centres[-1] + 2 * window_length)
    usable = min(len(speech), len(padded) - window_length // 2)
    padded[window_length // 2 : window_length // 2 + usable] = speech[:usable]
    windows = np.stack([padded[c : c + window_length] for c in centres]) * np.hanning(window_length)
    magnitude = np.abs(np.fft.rfft(windows, axis=1))
    frequencies = np.fft.rfftfreq(window_length, 1 / SAMPLE_RATE)
    centroid = magnitude @ frequencies / np.maximum(magnitude.sum(axis=1), 1e-6)
    spread = np.clip((centroid - 600.0) / 1400.0, 0.0, 1.0)
    voiced = np.clip(level * 4, 0.0, 1.0)
    return _smooth(spread * voiced + (1 - voiced), (1, 2, 1))


def _emphasis(accents: list[Accent], frames: int, fps: float) -> np.ndarray:
    """Bumps [T] in [0, 1] around the accents: head nods and raised brows."""
    time = np.arange(frames)
    bumps = [a.loudness * np.exp(-0.5 * ((time - a.frame) / (0.10 * fps)) ** 2) for a in accents]
    return np.max(bumps, axis=0) if bumps else np.zeros(frames)


def _blinks(frames: int, fps: float, rng: np.random.Generator) -> np.ndarray:
    """Lid closure [T] in [0, 1]: a blink of about 0.2 s every 2 to 4 s."""
    time = np.arange(frames) / fps
    blink = np.zeros(frames)
    moment = rng.uniform(0.3, 3.0)
    while moment < frames / fps:
        blink = np.maximum(blink, np.clip(1.6 * (1 - np.abs(time - moment) / 0.14), 0.0, 1.0))
        moment += rng.uniform(2.0, 4.0)
    return blink


def _sway(seconds: np.ndarray, amplitude: float, rng: np.random.Generator) -> np.ndarray:
    """Slow sum of two sinusoids [T] within ±amplitude."""
    (slow, slower), (phase, other_phase) = rng.uniform(0.15, 0.4, 2), rng.uniform(0, 2 * np.pi, 2)
    wave = 0.65 * np.sin(2 * np.pi * slow * seconds + phase)
    return amplitude * (wave + 0.35 * np.sin(2 * np.pi * slower * seconds + other_phase))


def _hands(
    accents: list[Accent], frames: int, fps: float, identity: Identity
) -> tuple[np.ndarray, np.ndarray]:
    """Right and left wrist paths [T, 2].

    Each accent is one minimum-jerk stroke centred on its peak, towards the farther one of
    the gesture's two ends: up when the hands are low, down when they are high. After the
    last accent of a phrase the hands sink slowly to rest.
    """
    right_lift, left_lift = _lifts(accents, frames, fps, identity.gesture)
    raise_vector = _RAISE[identity.gesture] * GESTURE_SIZES[identity.gesture_size]
    right = REST_WRIST + right_lift[:, None] * raise_vector
    left = REST_WRIST + left_lift[:, None] * raise_vector
    right[:, 0] = 0.5 - right[:, 0]
    left[:, 0] = 0.5 + left[:, 0]
    return right, left


def _lifts(
    accents: list[Accent], frames: int, fps: float, gesture: str
) -> tuple[np.ndarray, np.ndarray]:
    """Lift [T] of the right and of the left hand: 0 at rest, about 1 for a loud stroke."""
    lifts = np.zeros((2, frames))
    for index, accent in enumerate(accents):
        duration = (0.34 - 0.10 * accent.loudness) * fps
        start = int(round(accent.frame - duration / 2))
        high, low = np.array(_STROKE_ENDS[gesture]) * accent.loudness
        now = lifts[:, max(start, 0)]
        _move(lifts, start, duration, max(high, low, key=lambda end: np.abs(end - now).sum()))
        silent_from = accent.frame + _RELAX_AFTER_SECONDS * fps
        is_last = index + 1 == len(accents)
        if is_last or accents[index + 1].frame - duration / 2 > silent_from:
            _move(lifts, int(round(silent_from)), _RELAX_SECONDS * fps, np.zeros(2))
    return lifts[0], lifts[1]


def _move(lifts: np.ndarray, start: int, duration: float, targets: np.ndarray) -> None:
    """Minimum-jerk movement of both lifts [2, T] from where they are at `start`; then hold."""
    frames = lifts.shape[1]
    if start >= frames:
        return
    begin = max(start, 0)
    phase = np.clip((np.arange(begin, frames) - start) / duration, 0.0, 1.0)
    ease = phase**3 * (10 - 15 * phase + 6 * phase**2)
    for lift, target in zip(lifts, targets, strict=True):
        lift[begin:] = lift[begin] + (target - lift[begin]) * ease
