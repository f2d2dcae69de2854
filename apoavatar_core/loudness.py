"""How loud a sound is to the ear: the integrated loudness of ITU-R BS.1770, of any length in one pass."""

from __future__ import annotations

import math

import numpy as np

from .waveform import SAMPLE_RATE

HOP = SAMPLE_RATE // 10
"""Samples from one block to the next, a tenth of a second."""
HOPS = 4
"""Hops in a block."""
OFFSET = -0.691
"""LUFS of a mean square of 1 after the filters."""
ABSOLUTE_GATE = -70.0
"""LUFS below which a block says nothing."""
GATED_PEAK = 0.25
"""Full-scale amplitude of the loudest sample for which that gate holds; it moves with the level of a recording."""
RELATIVE_GATE = -10.0
"""And so far below the mean of the others."""
SHELF = (1500.0, 4.0, 2**-0.5)
"""Hz, dB and Q of the filter that stands for the head."""
HIGH_PASS = (38.0, 0.5)
"""Hz and Q of the one for the ear's deafness to what is low."""
PIECE = 100 * HOP
"""Samples that are filtered in one go."""


def integrated_loudness(samples: np.ndarray) -> float:
    """LUFS of mono samples [S] at 16 kHz, not all 0; a sound shorter than a block is repeated to fill one.

    The gates are relative to the sound's own peak, so the answer follows any gain exactly.
    """
    peak = float(max(samples.max(), -samples.min()))
    energies = block_energies(samples if len(samples) >= HOPS * HOP else np.resize(samples, HOPS * HOP))
    floor = energy(ABSOLUTE_GATE) * (peak / GATED_PEAK) ** 2
    heard = energies[energies >= min(floor, energies.max())]
    heard = heard[heard >= heard.mean() * 10 ** (RELATIVE_GATE / 10)]
    return OFFSET + 10 * math.log10(heard.mean())


def energy(lufs: float) -> float:
    """The mean square of a loudness."""
    return 10 ** ((lufs - OFFSET) / 10)


def block_energies(samples: np.ndarray) -> np.ndarray:
    """Mean squares after the filters of all whole blocks, float64 [S // HOP − HOPS + 1]."""
    from scipy.signal import sosfilt

    filters = np.float32(np.stack([shelf(*SHELF), high_pass(*HIGH_PASS)]))
    state = np.zeros((len(filters), 2), np.float32)
    hops = []
    for start in range(0, len(samples) // HOP * HOP, PIECE):
        filtered, state = sosfilt(filters, samples[start : start + PIECE], zi=state)
        whole = filtered[: len(filtered) // HOP * HOP].reshape(-1, HOP)
        hops.append(np.einsum("hs,hs->h", whole, whole))
    return np.convolve(np.concatenate(hops).astype(np.float64), np.ones(HOPS), "valid") / (HOPS * HOP)


def shelf(hertz: float, decibels: float, q: float) -> list[float]:
    """A second-order section that lifts what is above a frequency (R. Bristow-Johnson's cookbook)."""
    gain, angle = 10 ** (decibels / 40), 2 * np.pi * hertz / SAMPLE_RATE
    cosine, alpha = np.cos(angle), np.sin(angle) / (2 * q)
    root = 2 * gain**0.5 * alpha
    b0 = gain * (gain + 1 + (gain - 1) * cosine + root)
    b1 = -2 * gain * (gain - 1 + (gain + 1) * cosine)
    b2 = gain * (gain + 1 + (gain - 1) * cosine - root)
    a0 = gain + 1 - (gain - 1) * cosine + root
    a1 = 2 * (gain - 1 - (gain + 1) * cosine)
    a2 = gain + 1 - (gain - 1) * cosine - root
    return [value / a0 for value in (b0, b1, b2, a0, a1, a2)]


def high_pass(hertz: float, q: float) -> list[float]:
    """A second-order section that keeps what is above a frequency (same source)."""
    angle = 2 * np.pi * hertz / SAMPLE_RATE
    cosine, alpha = np.cos(angle), np.sin(angle) / (2 * q)
    values = ((1 + cosine) / 2, -1 - cosine, (1 + cosine) / 2, 1 + alpha, -2 * cosine, 1 - alpha)
    return [value / (1 + alpha) for value in values]
