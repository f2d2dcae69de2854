"""Which pose model a file holds."""

from __future__ import annotations

import os
from pathlib import Path

from torch import nn

from ..checkpoints.safe_file import read_metadata
from . import network_file, sapiens, wholebody_onnx
from .mediapipe import weights
from .mediapipe.holistic import Holistic
from .model import PoseModel


def load_pose_model(path: str | os.PathLike[str], operations=nn) -> PoseModel:
    """Read any pose model, on the CPU.

    Args:
        path: the file.
        operations: supplies the layers of the networks that are written here: `torch.nn`, or `comfy.ops.manual_cast` inside
            ComfyUI. ONNX and TorchScript files bring their own.

    Raises:
        ValueError: when the file is missing, broken, or no pose model.
    """
    path = Path(path)
    if path.suffix == wholebody_onnx.SUFFIX:
        return wholebody_onnx.load_onnx(path)
    if path.suffix in sapiens.SUFFIXES:
        return sapiens.load_sapiens(path)
    if read_metadata(path).get("format") == weights.FORMAT:
        return Holistic(weights.load_networks(path, operations))
    return network_file.load_keypoint_network(path, operations)
