"""Files of keypoint networks: safetensors whose metadata names the format and carries the network's configuration."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from ..checkpoints.safe_file import json_field, read_metadata, read_tensors, write_tensors
from .estimator import KeypointNetwork, KeypointNetworkConfig

FORMAT = "apoavatar-pose-1"


def save_keypoint_network(path: str | os.PathLike[str], network: KeypointNetwork) -> None:
    """Write a network in half precision (it loses less than a hundredth of a pixel and halves the file).

    The file appears under its name only when it is complete.

    Args:
        path: the file to write; its folder is made when missing.
        network: the trained network.
    """
    weights = {name: tensor.to(torch.float16) for name, tensor in network.state_dict().items()}
    write_tensors(Path(path), weights, {"format": FORMAT, "config": json.dumps(asdict(network.config))})


def load_keypoint_network(path: str | os.PathLike[str], operations=nn) -> KeypointNetwork:
    """Read a network written by `save_keypoint_network`.

    Args:
        path: the file.
        operations: supplies the layers: `torch.nn`, or `comfy.ops.manual_cast` inside ComfyUI.

    Returns:
        The network in float32 on the CPU, in evaluation mode.

    Raises:
        ValueError: when the file is missing, empty, cut off, a pickle, or not a keypoint network.
    """
    path = Path(path)
    metadata = read_metadata(path)
    weights = {name: tensor.float() for name, tensor in read_tensors(path).items()}
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"The file {path} is not an ApoAvatar pose model (its format is {metadata.get('format')!r}, not "
            f"{FORMAT!r}): choose a file made by `python -m apoavatar_core.tiny keypoints`."
        )
    try:
        fields = json_field(metadata, "config", path)
        lists = {name: tuple(fields.pop(name)) for name in ("channels", "keypoints")}
        network = KeypointNetwork(KeypointNetworkConfig(**fields, **lists), operations)
        network.load_state_dict(weights)
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError):
        raise ValueError(
            f"The pose model file {path} has a configuration that does not fit its weights: download it again or "
            "train it again with `python -m apoavatar_core.tiny keypoints`."
        ) from None
    return network.eval()
