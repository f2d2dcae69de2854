"""Numbers as sines and cosines, for timesteps and for frame positions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LONGEST_PERIOD = 10_000


def sinusoids(values: Tensor, width: int) -> Tensor:
    """[N] → float32 [N, width], width/2 cosines before as many sines, of periods from 2π to `LONGEST_PERIOD` · 2π."""
    frequencies = width // 2
    exponents = torch.arange(frequencies, device=values.device, dtype=torch.float32) / frequencies
    angles = values.float()[:, None] * torch.exp(-math.log(LONGEST_PERIOD) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)
