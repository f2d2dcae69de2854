"""Pictures of any size, fitted to a clip as ComfyUI's own nodes do it."""

from __future__ import annotations

import comfy.utils
import torch

from ..conditioning.pose import drawn_keypoints
from ..pose.following import Followed


def fitted(frames: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """IMAGE scaled and cropped in the middle to width × height; without transparency."""
    frames = frames[..., :3]
    if frames.shape[1:3] == (height, width):
        return frames
    return comfy.utils.common_upscale(frames.movedim(-1, 1), width, height, "bilinear", "center").movedim(1, -1)


def drawn(pose: Followed | torch.Tensor, width: int, height: int) -> torch.Tensor:
    """A pose as IMAGE of width × height: keypoints are drawn, frames that are drawn already are fitted."""
    return fitted(pose, width, height) if isinstance(pose, torch.Tensor) else drawn_keypoints(pose, width, height)
