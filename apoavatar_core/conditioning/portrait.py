"""The portrait as Wan's image-to-video models are shown it: a film whose first frame is given."""

from __future__ import annotations

import torch
from torch import Tensor

GREY = 0.5
"""What the models see where nothing is given."""


def reference_film(portrait: Tensor, frames: int) -> Tensor:
    """[1, H, W, 3] in 0 … 1 → [T, H, W, 3]: the portrait, then grey."""
    film = torch.full((frames, *portrait.shape[1:]), GREY, dtype=portrait.dtype, device=portrait.device)
    film[:1] = portrait
    return film


def reference_mask(latents: Tensor) -> Tensor:
    """[1, 1, T_lat, h, w] for the latents [1, C, T_lat, h, w] of such a film: 0 where a frame is given, else 1."""
    mask = torch.ones_like(latents[:, :1])
    mask[:, :, :1] = 0.0
    return mask
