"""The gate as it is shown: the waveform with the keep weight of every frame over it (the paper's Figure 5, top)."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from .refocusing import Gate
from .waveform import SAMPLE_RATE

WIDTH, HEIGHT = 768, 256
BACKGROUND, WAVE, KEEP, GRID = (24, 26, 32), (96, 150, 200), (250, 160, 60), (60, 64, 74)
FINENESS = 2
"""So many times larger it is drawn, and then scaled down, which smooths the line."""

MOST_POINTS = 1024
"""More of a curve than this cannot be told apart on a node, and takes the page long to draw."""


def plot_gate(voice: np.ndarray, gate: Gate) -> np.ndarray:
    """Draw the |samples| of a voice, [S] at 16 kHz, as bars and 1 − p as a line over the duration of its gate.

    Returns:
        uint8 [256, 768, 3] RGB; 0 is at the bottom and 1 at the top for the line.
    """
    width, height, middle = WIDTH * FINENESS, HEIGHT * FINENESS, HEIGHT * FINENESS // 2
    image = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(image)
    draw.line([(0, middle), (width, middle)], GRID, FINENESS)
    for x, peak in enumerate(peaks(voice, len(gate.keep) / gate.fps)):
        half = peak * (middle - 8 * FINENESS)
        draw.line([(x * FINENESS, middle - half), (x * FINENESS, middle + half)], WAVE, FINENESS)
    frame_centres = (np.arange(len(gate.keep)) + 0.5) / len(gate.keep) * width
    heights = (1 - gate.keep) * (HEIGHT - 16) * FINENESS + 8 * FINENESS
    draw.line(list(zip(frame_centres.tolist(), heights.tolist())), KEEP, 2 * FINENESS, joint="curve")
    return np.array(image.resize((WIDTH, HEIGHT), Image.Resampling.BOX))


def drawn_numbers(voice: np.ndarray, gate: Gate, beta: float) -> dict:
    """What the page draws on the node, ready for JSON: of a long clip every so many-th frame, its values as they are.

    Returns:
        `frames` T, `fps`, `beta`, `step` from one listed frame to the next, their `normalized` s̃ and `keep` 1 − p in [0, 1],
        and `wave`, the voice's peaks in [0, 1] over the duration.
    """
    frames = len(gate.keep)
    step = -(-frames // MOST_POINTS)
    return {
        "frames": frames, "fps": gate.fps, "beta": beta, "step": step,
        "normalized": rounded(gate.normalized[::step]), "keep": rounded(gate.keep[::step]),
        "wave": rounded(peaks(voice, frames / gate.fps)),
    }


def rounded(values: np.ndarray) -> list[float]:
    return np.round(values.astype(np.float64), 6).tolist()


def peaks(voice: np.ndarray, seconds: float) -> np.ndarray:
    """The largest |sample| in each of WIDTH equal parts of so many seconds of a voice [S], relative to the largest."""
    samples = max(round(seconds * SAMPLE_RATE), WIDTH)
    starts = np.arange(WIDTH) * samples // WIDTH
    heard = starts[starts < len(voice)]
    known = voice[:samples]
    found = np.zeros(WIDTH, np.float32)
    found[: len(heard)] = np.maximum(np.maximum.reduceat(known, heard), -np.minimum.reduceat(known, heard))
    return found / max(found.max(), 1e-8)
