"""UniAnimate-DiT's pose stacks in the place of the project's own pose adapter, for a warm start from its weights."""

from __future__ import annotations

from einops import rearrange
from torch import Tensor, nn

CHANNELS = 16
FULL_SIZE, HALVED = (1, 1, 1), (1, 2, 2)
QUARTERED_IN_TIME = (2, 2, 2)


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

    def forward(self, frames: Tensor, gate: Tensor) -> Tensor:
        """Shapes as of `PoseAdapter.forward`. The first latent frame's four pictures are the clip's first, which are the
        three repeats that UniAnimate puts in front.
        """
        x = rearrange(frames, "b (f c) t h w -> b c (t f) h w", c=3)
        for convolution in self.embed:
            x = nn.functional.silu(convolution(x))
        x = x * rearrange(gate, "b f t -> b 1 (t f) 1 1").to(x)
        for convolution in self.merge:
            x = nn.functional.silu(convolution(x))
        return rearrange(self.tokens(x), "b d t h w -> b t (h w) d") * is_open(gate).to(x)

    def of_reference(self, picture: Tensor, gate: Tensor) -> Tensor:
        """What the portrait's pose adds to every frame of the image condition.

        Args:
            picture: the rendered pose of the portrait [B, 3, 1, H, W] in 0 … 1.
            gate: [B, 4, T_lat] of the driving pose; without that (the null pose) there is no reference pose either.

        Returns:
            [B, image_channels, 1, h, w] in latents.
        """
        x = picture[:, :, 0]
        for convolution in self.reference[:-1]:
            x = nn.functional.silu(convolution(x))
        return self.reference[-1](x)[:, :, None] * is_open(gate)[..., None].to(x)


def is_open(gate: Tensor) -> Tensor:
    """1 where any frame of a clip acts, 0 for the null pose: [B, 4, T_lat] → [B, 1, 1, 1]."""
    return (gate != 0).any(2).any(1)[:, None, None, None]
