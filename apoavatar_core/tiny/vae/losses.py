"""What a reconstruction is asked for."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def reconstruction_loss(output: Tensor, target: Tensor, motion_weight: float) -> Tensor:
    """L1 in pixels, in edges, in 4×4 averages and, times `motion_weight`, in what changes from frame to frame, of
    [B, 3, T, H, W] in [−1, 1].
    """
    difference = output - target
    edges = difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
    coarse = F.avg_pool3d(difference, (1, 4, 4)).abs().mean()
    loss = difference.abs().mean() + 0.5 * edges + coarse
    if motion_weight and target.shape[2] > 1:
        loss = loss + motion_weight * difference.diff(dim=2).abs().mean()
    return loss
