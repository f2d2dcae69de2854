"""Pose models under ComfyUI's memory management, with its progress bar and Cancel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import comfy.model_management
import comfy.ops
import comfy.utils
from comfy.model_patcher import ModelPatcher
from torch import nn

from ..pose import PoseModel, load_pose_model
from .cancelling import end_if_cancelled


@contextmanager
def on_device(path: Path) -> Iterator[PoseModel]:
    """A pose model with ComfyUI's operations on the device that ComfyUI gives it; onnxruntime takes care of its own.

    With --novram the weights stay where they are, on the CPU, and that computes.
    """
    model = load_pose_model(path, comfy.ops.manual_cast)
    patcher = None  # ComfyUI forgets what nobody holds
    if isinstance(model, nn.Module):
        manager = comfy.model_management
        patcher = ModelPatcher(model, manager.get_torch_device(), manager.unet_offload_device())
        manager.load_models_gpu([patcher], force_full_load=True)
    yield model
    del patcher


def steps_shown(total: int) -> Callable[[int], None]:
    """A function that shows how many of `total` steps are done, and raises where the user has cancelled."""
    bar = comfy.utils.ProgressBar(total)

    def show(done: int) -> None:
        end_if_cancelled()
        bar.update_absolute(done)

    return show
