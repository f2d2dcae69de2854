"""What the VAE is trained on and measured by: pixels of drawn clips, and where in them the mouth and the hands are."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...data.clips import load_keypoints
from ...pose.keypoints import GROUPS, LEFT_WRIST, RIGHT_WRIST, VISIBLE, from_frame
from ...pose.measurements import LOWER_INNER_LIP, UPPER_INNER_LIP

FACE = sum(GROUPS.values()) - GROUPS["face"]
"""Index of the first face landmark among a person's points."""
MOUTH, WRISTS = 0, slice(1, 3)
"""Which of `details` is what."""


def pixels(clips: np.ndarray) -> Tensor:
    """uint8 [B, T, H, W, 3] → float [B, 3, T, H, W] in [−1, 1]."""
    return (torch.from_numpy(clips).permute(0, 4, 1, 2, 3).float() / 127.5 - 1).contiguous()


@lru_cache(maxsize=None)
def details(folder: Path, seed: int) -> np.ndarray:
    """Where the mouth and both wrists are: [T, 3, 2] as (x, y) fractions of the frame, NaN where unseen."""
    points = np.stack([from_frame(frame).points for frame in load_keypoints(folder, seed)])
    points = np.where(points[..., 2:] >= VISIBLE, points[..., :2], np.nan)
    mouth = points[:, [FACE + landmark for landmark in UPPER_INNER_LIP + LOWER_INNER_LIP]].mean(1, keepdims=True)
    return np.concatenate([mouth, points[:, [RIGHT_WRIST, LEFT_WRIST]]], axis=1)


def speeds(places: np.ndarray) -> np.ndarray:
    """How far points [T, n, 2] (fractions of the frame) move from one frame to the next: [T, n], 0 in the first."""
    moved = np.linalg.norm(np.diff(places, axis=0), axis=-1)
    return np.concatenate([np.zeros_like(moved[:1]), moved])
