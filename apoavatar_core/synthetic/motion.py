"""From speech to motion: the mouth follows loudness, the rest of the body performs it.

The mouth depends on the speech alone. Hands and head are `gestures.perform`: the voice says when and how strongly, the
presenter's own style says the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from ..gestures import BodyTrack, frame_loudness, hear, perform, speech_level
from .identity import Identity
from .speech import SAMPLE_RATE


@dataclass(frozen=True, eq=False)
class Motion:
    """The motion of T frames: the body, and the mouth's opening and width in [0, 1], float32 [T] each."""

    body: BodyTrack
    mouth_opening: np.ndarray
    mouth_width: np.ndarray

    def __len__(self) -> int:
        return len(self.mouth_opening)

    def window(self, start: int, frames: int) -> Motion:
        """The motion of `frames` frames from frame `start` on."""
        end = start + frames
        return Motion(self.body.window(start, frames), self.mouth_opening[start:end], self.mouth_width[start:end])

    def moment(self, t: float) -> dict[str, np.ndarray]:
        """Every track's value at frame `t`, float64; between frames and past the ends as it is drawn, on a line."""
        t = min(max(t, 0.0), len(self) - 1.0)
        before = int(t)
        after, share = min(before + 1, len(self) - 1), t - before
        tracks = {f.name: getattr(self.body, f.name) for f in fields(self.body)}
        tracks |= {"mouth_opening": self.mouth_opening, "mouth_width": self.mouth_width}
        return {
            name: np.asarray(track[before], np.float64) * (1 - share) + np.asarray(track[after], np.float64) * share
            for name, track in tracks.items()
        }


def speech_motion(
    speech: np.ndarray, frames: int, fps: float, identity: Identity, rng: np.random.Generator
) -> Motion:
    """Motion of `frames` frames for mono 16 kHz `speech` [S] of about frames/fps seconds."""
    body = perform(hear(speech), identity.speaker, frames, fps, seed=int(rng.integers(2**32)))
    return Motion(body, *mouth_motion(speech, frames, fps))


def mouth_motion(speech: np.ndarray, frames: int, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Opening and width of the mouth in [0, 1], float32 [frames] each, for mono 16 kHz `speech` [S]."""
    level = speech_level(frame_loudness(speech, frames, fps))
    opening, width = _mouth_opening(level), _mouth_width(speech, frames, fps, level)
    return opening.astype(np.float32), width.astype(np.float32)


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
