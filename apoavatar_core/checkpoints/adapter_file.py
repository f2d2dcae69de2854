"""The ApoAvatar adapter file: safetensors whose metadata is enough to rebuild the module."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..adapters import AdapterConfig, ApoAvatarAdapter
from .safe_file import json_field, read_metadata, read_tensors

FORMAT = "apoavatar-adapter-1"


def save_adapter(path: Path, adapter: ApoAvatarAdapter, dtype: torch.dtype = torch.float16) -> None:
    """Write the adapter's weights in `dtype` and its configuration, under a temporary name first."""
    tensors = {name: tensor.detach().to(dtype).contiguous() for name, tensor in adapter.state_dict().items()}
    temporary = path.with_name(path.name + ".part")
    save_file(tensors, temporary, metadata={"format": FORMAT, "config": json.dumps(asdict(adapter.config))})
    os.replace(temporary, path)


def read_adapter(path: Path) -> tuple[AdapterConfig, dict[str, Tensor]]:
    """Configuration and weights of an adapter file.

    Raises:
        ValueError: one sentence, for a file that is missing, broken, a pickle, or of another kind.
    """
    path = Path(path)
    metadata = read_metadata(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path.name} is not an ApoAvatar adapter (its format is {metadata.get('format')!r}, not {FORMAT!r}): choose "
            "an adapter file."
        )
    try:
        config = AdapterConfig(**json_field(metadata, "config", path))
    except TypeError as error:
        raise ValueError(f"{path.name} was written by another version of this pack ({error}): update the pack.") from error
    tensors = read_tensors(path)
    expected = ApoAvatarAdapter(config, device="meta").state_dict()
    wrong = sorted(expected.keys() ^ tensors.keys()) or [
        name for name in expected if expected[name].shape != tensors[name].shape
    ]
    if wrong:
        raise ValueError(f"{path.name} does not match its own description (first at {wrong[0]}): download it again.")
    return config, tensors
