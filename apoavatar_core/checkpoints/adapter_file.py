"""The ApoAvatar adapter file: safetensors whose metadata is enough to rebuild the module."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from ..adapters import AdapterConfig, ApoAvatarAdapter
from .multitalk import adapter_from_multitalk, is_multitalk, is_named_multitalk, is_whole_model
from .safe_file import json_field, read_metadata, read_names, read_tensors, write_tensors

FORMAT = "apoavatar-adapter-1"


def save_adapter(path: Path, adapter: ApoAvatarAdapter, dtype: torch.dtype = torch.float16) -> None:
    """Write the adapter's weights in `dtype` and its configuration."""
    write_adapter(path, adapter.config, {name: tensor.to(dtype) for name, tensor in adapter.state_dict().items()})


def write_adapter(path: Path, config: AdapterConfig, tensors: dict[str, Tensor]) -> None:
    """Write weights as they are, with their configuration."""
    write_tensors(Path(path), tensors, adapter_metadata(config))


def adapter_metadata(config: AdapterConfig) -> dict[str, str]:
    """What an adapter file says about its tensors."""
    return {"format": FORMAT, "config": json.dumps(asdict(config))}


def read_adapter(path: Path) -> tuple[AdapterConfig, dict[str, Tensor]]:
    """Configuration and weights of an adapter file: one of this pack's, or a MultiTalk or InfiniteTalk model.

    Raises:
        ValueError: one sentence, for a file that is missing, broken, a pickle, or of another kind.
    """
    path = Path(path)
    metadata = read_metadata(path)
    names = read_names(path)
    if metadata.get("format") != FORMAT:
        if is_multitalk(names):
            return _read_multitalk(path, names)
        raise ValueError(
            f"{path.name} is not an ApoAvatar adapter (its format is {metadata.get('format')!r}, not {FORMAT!r}): choose "
            "an adapter file, or a MultiTalk or InfiniteTalk model."
        )
    config, expected = _described(json_field(metadata, "config", path), path, len(names))
    tensors = read_tensors(path)
    wrong = sorted(expected.keys() ^ tensors.keys()) or [
        name for name in expected if expected[name].shape != tensors[name].shape
    ]
    if wrong:
        raise ValueError(f"{path.name} does not match its own description (first at {wrong[0]}): download it again.")
    return config, tensors


def _described(fields: dict, path: Path, tensors: int) -> tuple[AdapterConfig, dict[str, Tensor]]:
    """The configuration of a file with so many tensors, and the tensors that it asks for, without memory."""
    try:
        config = AdapterConfig(**fields)
        layers = layers_of(config)
        expected = ApoAvatarAdapter(config, device="meta").state_dict() if layers <= tensors else None
    except (TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError) as error:
        raise ValueError(
            f"{path.name} was written by another version of this pack ({first_line(error)}): update the pack."
        ) from error
    if expected is None:
        raise ValueError(
            f"{path.name} does not match its own description ({layers:,} layers, but {tensors:,} tensors): "
            "download it again."
        )
    return config, expected


def layers_of(config: AdapterConfig) -> int:
    """How many layers the configuration asks for, at least: a file with fewer tensors is not worth building them."""
    return config.backbone_layers + config.vae_stride.bit_length()


def _read_multitalk(path: Path, names: set[str]) -> tuple[AdapterConfig, dict[str, Tensor]]:
    if is_whole_model(names):
        raise ValueError(
            f"{path.name} is a whole video model with its audio layers, as SkyReels-V3 A2V is, and no adapter for others: "
            "choose InfiniteTalk's or MultiTalk's model patch, which holds audio layers alone."
        )
    try:
        return adapter_from_multitalk(read_tensors(path), infinite=not is_named_multitalk(path.name))
    except (KeyError, ValueError, RuntimeError, ArithmeticError) as error:
        raise ValueError(
            f"{path.name} is not a MultiTalk or InfiniteTalk model that this pack knows ({first_line(error)})."
        ) from error


def first_line(error: Exception) -> str:
    """What an error says, without the trace that torch appends."""
    return str(error).partition("\n")[0]
