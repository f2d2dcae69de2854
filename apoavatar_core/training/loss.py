"""Which latents of a clip the loss of Eq. 1 weighs more."""

from __future__ import annotations

from torch import Tensor

from .config import Loss


def loss_weights(data: Tensor, mouth: Tensor, loss: Loss) -> Tensor:
    """Weights of mean 1 over each clip, heavier where latents [B, C, T, h, w] move and where the mouth is."""
    movement = data.std(2, keepdim=True, correction=0).mean(1, keepdim=True)
    movement = movement / movement.amax((3, 4), keepdim=True).clamp(min=1e-6)
    weights = 1 + loss.motion_weight * movement + loss.mouth_weight * mouth[:, None]
    return weights / weights.mean((2, 3, 4), keepdim=True)
