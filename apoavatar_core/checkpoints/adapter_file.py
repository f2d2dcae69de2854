"""The ApoAvatar adapter file: safetensors whose metadata is enough to rebuild the module."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from ..adapters import AdapterConfig, ApoAvatarAdapter
from .multitalk import adapter_from_multitalk, is_multitalk
from .safe_file import json_field, read_metadata, read_names, read_tensors, write_tensors

FORMAT = "apoavatar-adapter-1"


def save_adapter(path: Path, adapter: ApoAvatarAdapter, dtype: torch.dtype = torch.float16) -> None:
    """Write the adapter's weights in `dtype` and its configuration."""
    write_adapter(path, adapter.config, {name: tensor.to(dtype) for name, tensor in adapter.state_dict().items()})


def write_adapter(path: Path, config: AdapterConfig, tensors: dict[str, Tensor]) -> None:
    """Write weights as they are, with their configuration."""
    write_tensors(Path(path), tensors, {"format": FORMAT, "config": json.dumps(asdict(config))})


def read_adapter(path: Path) -> tuple[AdapterConfig, dict[str, Tensor]]:
    """Configuration and weights of an adapter file: one of this pack's, or a MultiTalk or InfiniteTalk model.

    Raises:
        ValueError: one sentence, for a file that is missing, broken, a pickle, or of another kind.
    """
    path = Path(path)
    metadata = read_metadata(path)
    if metadata.get("format") != FORMAT:
        if is_multitalk(read_names(path)):
            return _read_multitalk(path)
        raise ValueError(
            f"{path.name} is not an ApoAvatar adapter (its format is {metadata.get('format')!r}, not {FORMAT!r}): choose "
            "an adapter file, or a MultiTalk or InfiniteTalk model."
        )
    fields = json_field(metadata, "config", path)
    try:
        config = AdapterConfig(**fields)
        expected = ApoAvatarAdapter(config, device="meta").state_dict()
    except (TypeError, ValueError, AttributeError, RuntimeError, ZeroDivisionError) as error:
        raise ValueError(f"{path.name} was written by another version of this pack ({error}): update the pack.") from error
    tensors = read_tensors(path)
    wrong = sorted(expected.keys() ^ tensors.keys()) or [
        name for name in expected if expected[name].shape != tensors[name].shape
    ]
    if wrong:
        raise ValueError(f"{path.name} does not match its own description (first at {wrong[0]}): download it again.")
    return config, tensors


def _read_multitalk(path: Path) -> tuple[AdapterConfig, dict[str, Tensor]]:
    try:
        return adapter_from_multitalk(read_tensors(path))
    except (KeyError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path.name} is not a MultiTalk or InfiniteTalk model that this pack knows ({error}).") from error
