"""Loudness and the hands' speed of a film over each other, as in the paper's Figure 5."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from .measures import moving_average

PANEL_WIDTH, PANEL_HEIGHT, MARGIN = 760, 200, 10
PAPER, LOUDNESS, SPEED, INK = (255, 255, 255), (206, 214, 226), (206, 84, 60), (60, 64, 74)


def panels(loudness: np.ndarray, speeds: Mapping[str, np.ndarray]) -> np.ndarray:
    """One panel for each of the hands' speeds [T] by their titles, to one scale, smoothed: uint8 RGB
    [panels · PANEL_HEIGHT, PANEL_WIDTH, 3].
    """
    loudness = moving_average(loudness)
    speeds = {title: moving_average(speed) for title, speed in speeds.items()}
    fastest = max(np.nanmax(speed) for speed in speeds.values())
    return np.concatenate([panel(title, loudness / loudness.max(), speed / fastest) for title, speed in speeds.items()])


def panel(title: str, loudness: np.ndarray, speed: np.ndarray) -> np.ndarray:
    """Tracks [T] of 0 … 1 over each other: loudness as an area, speed as a line that is open where no hand was seen."""
    image = np.full((PANEL_HEIGHT, PANEL_WIDTH, 3), PAPER, np.uint8)
    bottom = PANEL_HEIGHT - MARGIN

    def points(track: np.ndarray) -> np.ndarray:
        x = np.linspace(MARGIN, PANEL_WIDTH - MARGIN, len(track))
        y = bottom - track * (PANEL_HEIGHT - 4 * MARGIN)
        return np.stack([x, y], axis=1)

    area = np.concatenate([[[MARGIN, bottom]], points(loudness), [[PANEL_WIDTH - MARGIN, bottom]]]).round().astype(np.int32)
    cv2.fillPoly(image, [area], LOUDNESS, cv2.LINE_AA)
    for start, end in itertools.pairwise(points(speed)):
        if np.isfinite([*start, *end]).all():
            cv2.line(image, start.round().astype(int).tolist(), end.round().astype(int).tolist(), SPEED, 2, cv2.LINE_AA)
    cv2.line(image, (MARGIN, bottom), (PANEL_WIDTH - MARGIN, bottom), INK, 1)
    cv2.putText(image, title, (MARGIN, 2 * MARGIN), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)
    return image


def write_png(path: Path, rgb: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
