"""The pose adapter: rendered pose frames become a prior that is added to the video tokens (§3.2, Figure 2)."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from ..grid import FRAMES_PER_LATENT, fills_latent_frames

PICTURES_AT_ONCE = 16
"""Pose frames that are embedded together: the first layers' results at full size are the largest of the adapter."""


def group_by_latent_frame(frames: Tensor) -> Tensor:
    """[B, T, ...] with T = 4n+1 → [B, n+1, 4, ...]: the first frame four times, then four frames each.

    Raises:
        ValueError: T is not 4n+1.
    """
    if not fills_latent_frames(frames.shape[1]):
        raise ValueError(f"{frames.shape[1]} pose frames do not fill latent frames: give 4n+1 frames")
    first = frames[:, :1].expand(-1, FRAMES_PER_LATENT - 1, *frames.shape[2:])
    return torch.cat([first, frames], dim=1).unflatten(1, (-1, FRAMES_PER_LATENT))


def filled_by_kept(frames: Tensor, gate: Tensor) -> Tensor:
    """Frames [N, 4, ...] with the mean of what is kept of them in the place of what the gate [N, 4, ...] drops.

    A frame counts by its gate relative to the largest of its four, so a gate of the same weight for all changes none.
    """
    relative = gate / gate.amax(1, keepdim=True).clamp(min=1e-6)
    mean = (relative * frames).sum(1, keepdim=True) / relative.sum(1, keepdim=True).clamp(min=1)
    return relative * frames + (1 - relative) * mean


class PoseAdapter(nn.Module):
    """Embed pose frames singly, weigh each by its gate, merge the four frames of a latent frame into tokens.

    After the gate there are no biases, so a gate of zero (the null pose) adds exactly nothing. What is merged is trained
    on four frames; one alone, with zeros for the others, may give a larger prior than all four. So a `normalized` adapter
    merges four frames always, dropped ones as the mean of those that are kept, and weighs the prior by the mean gate.
    """

    def __init__(
        self, channels: int, video_dim: int, vae_stride: int, patch: int, operations, normalized: bool = False,
        device=None, dtype=None,
    ):  # fmt: skip
        super().__init__()
        self.normalized = normalized
        settings = {"device": device, "dtype": dtype}
        strides = vae_stride.bit_length() - 1
        widths = [3] + [channels * 2**i // 2 ** (strides - 1) for i in range(strides)]
        self.embed = nn.ModuleList(
            operations.Conv2d(i, o, 3, stride=2, padding=1, **settings) for i, o in zip(widths[:-1], widths[1:])
        )
        merged = FRAMES_PER_LATENT * channels
        self.merge = operations.Conv2d(merged, merged, 3, padding=1, bias=False, **settings)
        self.tokens = operations.Conv2d(merged, video_dim, patch, stride=patch, bias=False, **settings)

    def embedded(self, pictures: Tensor) -> Tensor:
        """[N, 3, H, W] → [N, channels, h, w]."""
        for convolution in self.embed:
            pictures = nn.functional.silu(convolution(pictures))
        return pictures

    def forward(self, frames: Tensor, gate: Tensor) -> Tensor:
        """frames: [B, 12, T_lat, H, W] in 0 … 1, four RGB frames a latent frame; gate: [B, 4, T_lat], the training
        mask m or the keep weight 1−p of each frame → the prior [B, T_lat, N_v, d].
        """
        batch = frames.shape[0]
        pictures = rearrange(frames, "b (f c) t h w -> (b t f) c h w", c=3)
        x = torch.cat([self.embedded(few) for few in pictures.split(PICTURES_AT_ONCE)])
        x = rearrange(x, "(n f) c h w -> n f c h w", f=FRAMES_PER_LATENT)
        gate = rearrange(gate, "b f t -> (b t) f 1 1 1").to(x)
        x = filled_by_kept(x, gate) if self.normalized else x * gate
        tokens = self.tokens(nn.functional.silu(self.merge(x.flatten(1, 2))))
        if self.normalized:
            tokens = tokens * gate.mean(1)
        return rearrange(tokens, "(b t) d h w -> b t (h w) d", b=batch)
