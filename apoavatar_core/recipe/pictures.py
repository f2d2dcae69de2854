"""Curves for the page about a run."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

INK, PALE = (150, 60, 20), (225, 225, 225)
"""BGR, as OpenCV draws."""


def curve(title: str, steps: Sequence[float], values: Sequence[float], width: int = 560, height: int = 240) -> np.ndarray:
    """A curve with its range and last value, RGB uint8 [height, width, 3]. Values above zero stand on a logarithmic scale."""
    canvas = np.full((height, width, 3), 255, np.uint8)
    steps, values = np.asarray(steps, float), np.asarray(values, float)
    shown = np.log10(values) if (values > 0).all() else values
    left, right, top, bottom = 64, width - 16, 34, height - 28
    low, high = float(shown.min()), float(shown.max())
    x = left + (steps - steps[0]) / max(steps[-1] - steps[0], 1) * (right - left)
    y = bottom - (shown - low) / max(high - low, 1e-9) * (bottom - top)
    cv2.rectangle(canvas, (left, top), (right, bottom), PALE, 1)
    cv2.polylines(canvas, [np.stack([x, y], 1).round().astype(np.int32)], False, INK, 1, cv2.LINE_AA)
    for text, place in (
        (f"{title}: {values[-1]:.4g}", (left, 22)),
        (f"{values.max():.3g}", (6, top + 10)),
        (f"{values.min():.3g}", (6, bottom)),
        (f"{steps[0]:.0f}", (left, height - 8)),
        (f"{steps[-1]:.0f}", (right - 50, height - 8)),
    ):
        cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (40, 40, 40), 1, cv2.LINE_AA)
    return canvas[..., ::-1]


def smoothed(values: Sequence[float], points: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """The mean index and the mean value of as many equal parts."""
    values = np.asarray(values, float)
    parts = np.array_split(np.arange(len(values)), min(points, len(values)))
    return np.array([part.mean() for part in parts]), np.array([values[part].mean() for part in parts])
