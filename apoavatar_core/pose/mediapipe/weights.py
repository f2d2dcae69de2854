"""The file of MediaPipe's networks: safetensors whose metadata describes the networks that the tensors belong to."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import nn

from ...checkpoints.safe_file import json_field, read_metadata, read_tensors
from .network import Network
from .sparse import unpacked

FORMAT = "apoavatar-mediapipe-2"

NETWORKS = ("person_detector", "body", "palm_detector", "hand_crop", "hand", "face_detector", "face")
"""What the file holds."""


class HolisticNetworks(nn.Module):
    """The networks under one roof, so that they move between devices as one."""

    def __init__(self, descriptions: dict[str, dict], operations=nn, device=None, dtype=None) -> None:
        super().__init__()
        for name in NETWORKS:
            self.add_module(name, Network(descriptions[name], operations=operations, device=device, dtype=dtype))


def load_networks(path: str | os.PathLike[str], operations=nn) -> HolisticNetworks:
    """Read the file that `convert.py` writes.

    Args:
        path: the file.
        operations: supplies the layers with weights: `torch.nn`, or `comfy.ops.manual_cast` inside ComfyUI.

    Returns:
        The networks in float32 on the CPU, in evaluation mode.

    Raises:
        ValueError: when the file is missing, broken, or another one.
    """
    path = Path(path)
    metadata = read_metadata(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"The file {path.name} does not hold MediaPipe's networks (its format is {metadata.get('format')!r}, not "
            f"{FORMAT!r}): choose one made by `python -m apoavatar_core.pose.mediapipe.convert`."
        )
    try:
        descriptions = json_field(metadata, "networks", path)
        # Some of ComfyUI's layers have no weights before they are given some, hence not even a shape.
        shapes = {name: tensor.shape for name, tensor in HolisticNetworks(descriptions, device="meta").state_dict().items()}
        networks = HolisticNetworks(descriptions, operations)
        networks.load_state_dict(unpacked(read_tensors(path), shapes))
    except (KeyError, TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"The file {path.name} has networks that do not fit its weights: make it again with "
            "`python -m apoavatar_core.pose.mediapipe.convert`."
        ) from None
    # Rows of pixels with their channels together: what OpenCV cuts out, and what a CPU computes faster.
    return networks.to(memory_format=torch.channels_last).eval().requires_grad_(False)
