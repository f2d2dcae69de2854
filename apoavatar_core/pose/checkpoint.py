"""Files of keypoint networks: safetensors whose metadata names the format and carries the network's configuration."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import torch

from .estimator import KeypointNetwork, KeypointNetworkConfig

FORMAT = "apoavatar-pose-1"


def save_keypoint_network(path: str | os.PathLike[str], network: KeypointNetwork) -> None:
    """Write a network in half precision (it loses less than a hundredth of a pixel and halves the file).

    The file appears under its name only when it is complete.

    Args:
        path: the file to write; its folder is made when missing.
        network: the trained network.
    """
    from safetensors.torch import save

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {
        name: tensor.detach().to("cpu", torch.float16).contiguous() for name, tensor in network.state_dict().items()
    }
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        # safetensors' own save_file makes files that only their owner can read.
        unfinished.write_bytes(save(weights, {"format": FORMAT, "config": json.dumps(asdict(network.config))}))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def load_keypoint_network(path: str | os.PathLike[str]) -> KeypointNetwork:
    """Read a network written by `save_keypoint_network`.

    Args:
        path: the file.

    Returns:
        The network in float32 on the CPU, in evaluation mode.

    Raises:
        ValueError: when the file is missing, empty, cut off, a pickle, or not a keypoint network.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise ValueError(f"There is no pose model file {path}: download it again or choose another file.")
    if path.stat().st_size == 0:
        raise ValueError(f"The pose model file {path} is empty: download it again.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name).float() for name in file.keys()}
    except (SafetensorError, OSError):
        raise ValueError(
            f"The pose model file {path} cannot be read as safetensors, it is cut off or of another kind (a .pt or "
            ".pth file is not accepted): download it again or choose another file."
        ) from None
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"The file {path} is not an ApoAvatar pose model (its format is {metadata.get('format')!r}, not "
            f"{FORMAT!r}): choose a file made by apoavatar_core.training.keypoints."
        )
    try:
        fields = json.loads(metadata["config"])
        lists = {name: tuple(fields.pop(name)) for name in ("channels", "keypoints")}
        network = KeypointNetwork(KeypointNetworkConfig(**fields, **lists))
        network.load_state_dict(weights)
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError):
        raise ValueError(
            f"The pose model file {path} has a configuration that does not fit its weights: download it again or "
            "train it again with apoavatar_core.training.keypoints."
        ) from None
    return network.eval()
