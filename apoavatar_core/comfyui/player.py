"""A small film on a node, in the player that ComfyUI has for films: it plays, and its bar is dragged."""

from __future__ import annotations

import os
from fractions import Fraction

import comfy.utils
import folder_paths
import torch
from comfy_api.latest import InputImpl, Types, io, ui

SIDE = 320
"""Pixels of the longer side at most."""
MOST_FRAMES = 480
"""Of a longer film every so many-th is shown, in its time."""


def player(frames: torch.Tensor, fps: float) -> dict:
    """A node's UI that plays IMAGE [T, H, W, 3], 0 … 1, at so many frames a second, from a file that goes with the server."""
    step = -(-len(frames) // MOST_FRAMES)
    small = small_even(frames[::step])
    film = Types.VideoComponents(images=small, audio=None, frame_rate=Fraction(fps / step).limit_denominator(1000))
    height, width = small.shape[1:3]
    folder, name, number, subfolder, _ = folder_paths.get_save_image_path(
        "apoavatar_player", folder_paths.get_temp_directory(), width, height
    )
    file = f"{name}_{number:05}_.mp4"
    InputImpl.VideoFromComponents(film).save_to(os.path.join(folder, file))
    return ui.PreviewVideo([ui.SavedResult(file, subfolder, io.FolderType.temp)]).as_dict()


def small_even(frames: torch.Tensor) -> torch.Tensor:
    """IMAGE scaled down so that both sides fit in SIDE and are even, as H.264 wants them."""
    height, width = frames.shape[1:3]
    share = min(1.0, SIDE / max(height, width))
    height, width = (max(2, round(side * share / 2) * 2) for side in (height, width))
    return comfy.utils.common_upscale(frames.movedim(-1, 1), width, height, "area", "disabled").movedim(1, -1)
