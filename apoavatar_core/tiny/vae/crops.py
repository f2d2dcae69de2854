"""Which parts of which clips a step learns from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from ...data.clips import load_frames
from .clips import WRISTS, details, pixels, speeds
from .config import VAEStage, VAETrainingConfig
from .measure import MOVING


def sample_crops(
    folder: Path, seeds: list[int], stage: VAEStage, config: VAETrainingConfig, rng: np.random.Generator
) -> Tensor:
    """Random crops in space and time as float [B, 3, T, crop, crop] in [−1, 1]."""
    crops = []
    for seed in rng.choice(seeds, stage.batch):
        clip = load_frames(folder, int(seed))
        t, centre = sample_place(details(folder, int(seed)), stage.frames, config, rng)
        y, x = crop_corner(clip.shape[1], stage.crop, centre, rng)
        crops.append(np.asarray(clip[t : t + stage.frames, y : y + stage.crop, x : x + stage.crop]))
    return pixels(np.stack(crops))


def sample_place(
    places: np.ndarray, frames: int, config: VAETrainingConfig, rng: np.random.Generator
) -> tuple[int, np.ndarray | None]:
    """First frame and centre (x, y as fractions) of a crop: a wrist in motion, a mouth or a wrist, None for anywhere.

    places: [T, 3, 2] as in `clips.details`.
    """
    last = len(places) - frames
    moving = np.argwhere(speeds(places[:, WRISTS]) > MOVING)
    if len(moving) and rng.random() < config.moving_share:
        at, wrist = rng.choice(moving)
        t = int(np.clip(at - rng.integers(frames), 0, last))
        return t, places[at, WRISTS][wrist]
    t = int(rng.integers(0, last + 1))
    return t, places[t, rng.integers(places.shape[1])] if rng.random() < config.detail_share else None


def crop_corner(size: int, crop: int, centre: np.ndarray | None, rng: np.random.Generator) -> tuple[int, int]:
    """(y, x) of a crop: anywhere, or with `centre` (x, y) in its middle as far as the frame allows."""
    if centre is None or not np.isfinite(centre).all():
        return int(rng.integers(0, size - crop + 1)), int(rng.integers(0, size - crop + 1))
    x, y = np.clip((centre * size - crop / 2).round().astype(int), 0, size - crop)
    return int(y), int(x)
