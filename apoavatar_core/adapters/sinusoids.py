"""Numbers as sines and cosines, for timesteps, for frame positions and for places in a frame."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LONGEST_PERIOD = 10_000


def sinusoids(values: Tensor, width: int) -> Tensor:
    """[N] → float32 [N, width], width/2 cosines before as many sines, of periods from 2π to `LONGEST_PERIOD` · 2π."""
    frequencies = width // 2
    exponents = torch.arange(frequencies, device=values.device, dtype=torch.float32) / frequencies
    angles = values.float()[:, None] * torch.exp(-math.log(LONGEST_PERIOD) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def place_sinusoids(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """The (y, x) of every token of a frame, row by row: float32 [height·width, channels], the first half of the channels
    `sinusoids` of y and the second of x; what four does not divide of them is zero.
    """
    rows, columns = (sinusoids(torch.arange(count, device=device), channels // 2) for count in (height, width))
    places = torch.cat([rows[:, None].expand(-1, width, -1), columns.expand(height, -1, -1)], dim=-1).flatten(0, 1)
    return F.pad(places, (0, channels - places.shape[-1]))
