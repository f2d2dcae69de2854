"""What Eq. 2-4 make of a recording."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from ..hearing import LEVEL_RMS, heard_voice
from ..refocusing import HOP, RefocusingConfig, audio_rms, frames_of, gate_of, pose_frame_loudness
from ..waveform import SAMPLE_RATE, mono_16k

FPS = 24.0


def measure_voice(file: Path) -> dict[str, float]:
    """Of a sound file: `speaks`; `emphasis`, where Eq. 2's loudness lies between the mean (0) and the maximum (1) of its
    window; `emphasis_full_scale`, the same for amplitudes as they are recorded; the gate's `open` share of frames (1 − p ≥
    0.5) and its `mean`.

    Raises:
        ValueError: it cannot be read as sound.
    """
    import librosa

    try:
        sound, rate = librosa.load(file, sr=None, mono=False)
    except Exception as error:  # each of librosa's readers has exceptions of its own
        raise ValueError(f"{file} cannot be read as sound: {error}") from None
    voice, config = heard_voice(sound, rate), RefocusingConfig()
    keep = gate_of(voice, frames_of(voice, FPS), FPS, config).keep
    return {
        "speaks": voice.speaks,
        "emphasis": emphasis(audio_rms(voice.samples / LEVEL_RMS, SAMPLE_RATE), config.tau),
        "emphasis_full_scale": emphasis(audio_rms(mono_16k(sound, rate), SAMPLE_RATE), config.tau),
        "open": float((keep >= 0.5).mean()),
        "mean": float(keep.mean()),
    }


def emphasis(rms: np.ndarray, tau: float) -> float:
    """How far Eq. 2 is from the mean to the maximum of its windows, on average over those in which they differ."""
    frames = int(len(rms) * HOP / SAMPLE_RATE * FPS)
    loudness = pose_frame_loudness(rms, frames, FPS, tau)
    edges = np.ceil(np.arange(frames + 1) * SAMPLE_RATE / HOP / FPS - 1e-9).astype(int)
    windows = [rms[start:stop] for start, stop in pairwise(edges)]
    mean, highest = (np.array([measure(window) for window in windows]) for measure in (np.mean, np.max))
    differ = highest - mean > 0.05 * highest.max()
    return float(((loudness - mean)[differ] / (highest - mean)[differ]).mean()) if differ.any() else 0.0
