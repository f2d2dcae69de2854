"""Pictures of any size, fitted to a clip as ComfyUI's own nodes do it, or as its portrait is."""

from __future__ import annotations

import comfy.utils
import torch

from ..conditioning.cropping import CENTRE, Crop, crop_for
from ..conditioning.pose import drawn_keypoints
from ..pose.following import Followed


def fitted(frames: torch.Tensor, width: int, height: int, crop: Crop | None = None) -> torch.Tensor:
    """IMAGE scaled and cropped to width × height: in the middle, bit for bit as ComfyUI does it, or as the portrait where it has the
    portrait's shape; without transparency.
    """
    frames, size = frames[..., :3], (frames.shape[2], frames.shape[1])
    if crop is not None and not crop.is_middle and crop.fits(*size):
        part = cut(frames, crop.of(*size))
    elif size == (width, height):
        return frames
    else:
        part = cut(frames, crop_for(size, (width, height), CENTRE))
    return comfy.utils.common_upscale(part.movedim(-1, 1), width, height, "bilinear", "disabled").movedim(1, -1)


def cut(frames: torch.Tensor, crop: Crop) -> torch.Tensor:
    """A part of IMAGE [T, h, w, 3]. Where it reaches beyond the frames it is filled with one colour of theirs, so that there is wall
    beside a person before a wall, and black beside a drawn skeleton.
    """
    inside = frames[:, max(crop.top, 0) : crop.top + crop.height, max(crop.left, 0) : crop.left + crop.width]
    if not crop.is_padded:
        return inside
    part = wall_colour(frames).expand(len(frames), crop.height, crop.width, 3).clone()
    top, left = max(-crop.top, 0), max(-crop.left, 0)
    part[:, top : top + inside.shape[1], left : left + inside.shape[2]] = inside
    return part


def wall_colour(frames: torch.Tensor) -> torch.Tensor:
    """[3], the median along the edges of the first of IMAGE, but for the lower one, where the body is."""
    first = frames[0]
    return torch.cat([first[0], first[:, 0], first[:, -1]]).median(0).values


def drawn(pose: Followed | torch.Tensor, width: int, height: int, crop: Crop | None = None) -> torch.Tensor:
    """A pose as IMAGE of width × height: keypoints are drawn, frames that are drawn already are fitted; both as the portrait
    where they have its shape.
    """
    if isinstance(pose, torch.Tensor):
        return fitted(pose, width, height, crop)
    return drawn_keypoints(pose, width, height, crop)
