"""A picture of the gate: the waveform with the keep weight of every frame over it (the paper's Figure 5, top)."""

from __future__ import annotations

import numpy as np

from .refocusing import Gate
from .waveform import SAMPLE_RATE

WIDTH, HEIGHT = 768, 256
BACKGROUND, WAVE, KEEP, GRID = (24, 26, 32), (96, 150, 200), (250, 160, 60), (60, 64, 74)


def plot_gate(voice: np.ndarray, gate: Gate) -> np.ndarray:
    """Draw the |samples| of a voice, [S] at 16 kHz, as bars and 1 − p as a line over the duration of its gate.

    Returns:
        uint8 [256, 768, 3] RGB; 0 is at the bottom and 1 at the top for the line.
    """
    import cv2

    samples = np.abs(voice)
    clip = np.zeros(max(round(len(gate.keep) / gate.fps * SAMPLE_RATE), WIDTH), np.float32)
    clip[: min(len(samples), len(clip))] = samples[: len(clip)]
    peaks = np.array([chunk.max() for chunk in np.array_split(clip, WIDTH)])
    peaks /= max(peaks.max(), 1e-8)

    image = np.full((HEIGHT, WIDTH, 3), BACKGROUND, np.uint8)
    cv2.line(image, (0, HEIGHT // 2), (WIDTH, HEIGHT // 2), GRID, 1)
    for x, peak in enumerate(peaks):
        half = int(peak * (HEIGHT // 2 - 8))
        cv2.line(image, (x, HEIGHT // 2 - half), (x, HEIGHT // 2 + half), WAVE, 1)
    frame_centres = (np.arange(len(gate.keep)) + 0.5) / len(gate.keep) * WIDTH
    points = np.stack([frame_centres, (1 - gate.keep) * (HEIGHT - 16) + 8], axis=1)
    cv2.polylines(image, [points.round().astype(np.int32)], False, KEEP, 2, cv2.LINE_AA)
    return image
