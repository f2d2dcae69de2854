"""UniAnimate-DiT's pose stacks in the place of the project's own pose adapter, for a warm start from its weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn

from ..grid import FRAMES_PER_LATENT
from .pose_adapter import is_open

CHANNELS = 16
FULL_SIZE, HALVED = (1, 1, 1), (1, 2, 2)
QUARTERED_IN_TIME = (2, 2, 2)
LATENT_FRAMES_AT_ONCE = 4
"""Whose pictures go through the stack together, most layers of which work at their full size."""
SEEN_BEFORE, SEEN_BEHIND = 2, 1
"""Latent frames that one depends on: of its four frames 0 … 3 the last strided layer sees −1 … 1 of every second, the one
before it −3 … 3, and the four before those one more frame each to either side, −7 … 7.
"""


class UniAnimatePose(nn.Module):
    """One stack for the driving pose, over time; one for the pose of the portrait, which joins the image condition.

    The gate acts on the embedding of single frames: after the last layer without a stride in time. Its layers before see
    their neighbours, so a frame of gate 0 still tints them; and those behind have biases, so a pose that is closed in
    every frame (the null pose) is taken out as a whole.
    """

    def __init__(self, video_dim: int, image_channels: int, operations, device=None, dtype=None):
        super().__init__()
        settings = {"device": device, "dtype": dtype}

        def over_time(inputs: int, stride: tuple[int, int, int]) -> nn.Module:
            return operations.Conv3d(inputs, CHANNELS, 3, stride=stride, padding=1, **settings)

        def of_a_picture(inputs: int, outputs: int, stride: int) -> nn.Module:
            return operations.Conv2d(inputs, outputs, 3, stride=stride, padding=1, **settings)

        self.embed = nn.ModuleList(
            over_time(inputs, stride)
            for inputs, stride in ((3, FULL_SIZE), (CHANNELS, FULL_SIZE), (CHANNELS, FULL_SIZE), (CHANNELS, HALVED))
        )
        self.merge = nn.ModuleList(over_time(CHANNELS, QUARTERED_IN_TIME) for _ in range(2))
        self.tokens = operations.Conv3d(CHANNELS, video_dim, HALVED, stride=HALVED, **settings)
        self.reference = nn.ModuleList(
            of_a_picture(inputs, outputs, stride)
            for inputs, outputs, stride in (
                (3, CHANNELS, 1), (CHANNELS, CHANNELS, 1), (CHANNELS, CHANNELS, 1),
                (CHANNELS, CHANNELS, 2), (CHANNELS, CHANNELS, 2), (CHANNELS, image_channels, 2),
            )
        )  # fmt: skip

    def merged(
        self, frames: Tensor, gate: Tensor, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        """Arguments as of `PoseAdapter.merged` → [B, 16, T_lat, h, w]. The first latent frame's four pictures are the clip's
        first, which are the three repeats that UniAnimate puts in front.
        """
        latent_frames = frames.shape[2]
        pieces = []
        for start in range(0, latent_frames, LATENT_FRAMES_AT_ONCE):
            stop = min(start + LATENT_FRAMES_AT_ONCE, latent_frames)
            first, last = max(start - SEEN_BEFORE, 0), min(stop + SEEN_BEHIND, latent_frames)
            few = frames[:, :, first:last].to(device=device, dtype=dtype)
            pieces.append(self._merged_piece(few, gate[:, :, first:last])[:, :, start - first : stop - first])
        return torch.cat(pieces, dim=2)

    def _merged_piece(self, frames: Tensor, gate: Tensor) -> Tensor:
        x = rearrange(frames, "b (f c) t h w -> b c (t f) h w", c=3)
        for convolution in self.embed:
            x = nn.functional.silu(convolution(x))
        x = x * rearrange(gate, "b f t -> b 1 (t f) 1 1").to(x)
        for convolution in self.merge:
            x = nn.functional.silu(convolution(x))
        return x

    def numbers_to_merge(self, shape: Sequence[int]) -> int:
        """How many numbers `merged` holds at once, at most, for frames of this shape."""
        batch, _, latent_frames, height, width = shape
        at_once = FRAMES_PER_LATENT * min(latent_frames, SEEN_BEFORE + LATENT_FRAMES_AT_ONCE + SEEN_BEHIND)
        result = CHANNELS * latent_frames * (height // 8) * (width // 8)
        # The result in pieces, then in one; pictures; a layer's input, what it makes of it, and that after its activation.
        return batch * (2 * result + at_once * height * width * (2 * 3 + 3 * CHANNELS))

    def prior(self, merged: Tensor, gate: Tensor) -> Tensor:
        """Shapes as of `PoseAdapter.prior`."""
        return rearrange(self.tokens(merged), "b d t h w -> b t (h w) d") * is_open(gate).to(merged)

    def forward(self, frames: Tensor, gate: Tensor) -> Tensor:
        """Shapes as of `PoseAdapter.forward`."""
        return self.prior(self.merged(frames, gate), gate)

    def embedded_reference(self, picture: Tensor) -> Tensor:
        """The rendered pose of the portrait [B, 3, 1, H, W] in 0 … 1 → [B, image_channels, 1, h, w] in latents."""
        x = picture[:, :, 0]
        for convolution in self.reference[:-1]:
            x = nn.functional.silu(convolution(x))
        return self.reference[-1](x)[:, :, None]

    def reference_prior(self, embedding: Tensor, gate: Tensor) -> Tensor:
        """What the portrait's pose adds to every frame of the image condition: its embedding [B, image_channels, 1, h, w], or
        nothing where the driving pose is null, whose gate is [B, 4, T_lat].
        """
        return embedding * is_open(gate)[..., None].to(embedding)
