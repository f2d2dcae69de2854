"""The pose adapter: rendered pose frames become a prior that is added to the video tokens (§3.2, Figure 2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn

from ..grid import FRAMES_PER_LATENT, fills_latent_frames

LATENT_FRAMES_AT_ONCE = 4
"""Whose pictures are embedded together: the first layers' results are the largest of the adapter."""


def group_by_latent_frame(frames: Tensor) -> Tensor:
    """[B, T, ...] with T = 4n+1 → [B, n+1, 4, ...]: the first frame four times, then four frames each.

    Raises:
        ValueError: T is not 4n+1.
    """
    if not fills_latent_frames(frames.shape[1]):
        raise ValueError(f"{frames.shape[1]} pose frames do not fill latent frames: give 4n+1 frames")
    first = frames[:, :1].expand(-1, FRAMES_PER_LATENT - 1, *frames.shape[2:])
    return torch.cat([first, frames], dim=1).unflatten(1, (-1, FRAMES_PER_LATENT))


class PoseAdapter(nn.Module):
    """Embed pose frames singly, weigh each by its gate, merge the four frames of a latent frame into tokens.

    After the gate there are no biases, so a gate of zero (the null pose) adds exactly nothing.
    """

    def __init__(self, channels: int, video_dim: int, vae_stride: int, patch: int, operations, device=None, dtype=None):
        super().__init__()
        settings = {"device": device, "dtype": dtype}
        strides = vae_stride.bit_length() - 1
        widths = [3] + [channels * 2**i // 2 ** (strides - 1) for i in range(strides)]
        self.stride = vae_stride
        self.embed = nn.ModuleList(
            operations.Conv2d(i, o, 3, stride=2, padding=1, **settings) for i, o in zip(widths[:-1], widths[1:])
        )
        merged = FRAMES_PER_LATENT * channels
        self.merge = operations.Conv2d(merged, merged, 3, padding=1, bias=False, **settings)
        self.tokens = operations.Conv2d(merged, video_dim, patch, stride=patch, bias=False, **settings)

    def merged(
        self, frames: Tensor, gate: Tensor, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        """Everything that no denoising step changes: all but the last layer.

        Args:
            frames: [B, 12, T_lat, H, W] in 0 … 1, four RGB frames a latent frame.
            gate: [B, 4, T_lat], the training mask m or the keep weight 1−p of each frame.
            device, dtype: where and in what precision to compute; None for the frames' own.

        Returns:
            [B, 4·channels, T_lat, h, w].
        """
        pieces = zip(frames.split(LATENT_FRAMES_AT_ONCE, dim=2), gate.split(LATENT_FRAMES_AT_ONCE, dim=2))
        return torch.cat([self._merged_piece(few.to(device=device, dtype=dtype), weights) for few, weights in pieces], dim=2)

    def _merged_piece(self, frames: Tensor, gate: Tensor) -> Tensor:
        x = rearrange(frames, "b (f c) t h w -> (b t f) c h w", c=3)
        for convolution in self.embed:
            x = nn.functional.silu(convolution(x))
        x = x * rearrange(gate, "b f t -> (b t f) 1 1 1").to(x)
        x = self.merge(rearrange(x, "(n f) c h w -> n (f c) h w", f=FRAMES_PER_LATENT))
        return rearrange(nn.functional.silu(x), "(b t) c h w -> b c t h w", b=len(frames))

    def numbers_to_merge(self, shape: Sequence[int]) -> int:
        """How many numbers `merged` holds at once, at most, for frames of this shape."""
        batch, _, latent_frames, height, width = shape
        at_once = batch * FRAMES_PER_LATENT * min(latent_frames, LATENT_FRAMES_AT_ONCE)
        result = batch * self.merge.weight.shape[0] * latent_frames * (height // self.stride) * (width // self.stride)
        first = self.embed[0].weight.shape[0] * (height // 2) * (width // 2)
        # The result in pieces, then in one; pictures; what the first layer makes of them, that after its activation, and one
        # more for a convolution that works in another layout.
        return 2 * result + at_once * (2 * 3 * height * width + 3 * first)

    def prior(self, merged: Tensor, gate: Tensor) -> Tensor:
        """The prior [B, T_lat, N_v, d] of what `merged` returned, [B or 1, 4·channels, T_lat, h, w]; nothing for a gate that
        is closed in every frame (the null pose), [B, 4, T_lat].
        """
        tokens = self.tokens(rearrange(merged, "b c t h w -> (b t) c h w"))
        return rearrange(tokens, "(b t) d h w -> b t (h w) d", b=len(merged)) * is_open(gate).to(tokens)

    def forward(self, frames: Tensor, gate: Tensor) -> Tensor:
        """Frames [B, 12, T_lat, H, W] and gate [B, 4, T_lat] → the prior [B, T_lat, N_v, d]."""
        return self.prior(self.merged(frames, gate), gate)


def is_open(gate: Tensor) -> Tensor:
    """1 where any frame of a clip acts, 0 for the null pose: [B, 4, T_lat] → [B, 1, 1, 1]."""
    return (gate != 0).any(2).any(1)[:, None, None, None]
