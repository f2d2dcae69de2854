"""Safetensors that came from somebody else, read as data only: one sentence when a file is not what it should be."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..files import write_whole


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file, without its tensors."""
    return _open(path, lambda file: file.metadata() or {})


def read_names(path: Path) -> set[str]:
    """The names of a safetensors file's tensors."""
    return _open(path, lambda file: set(file.keys()))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, on the CPU."""
    return _open(path, lambda file: {key: file.get_tensor(key) for key in file.keys()})


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file that appears under its name only when it is whole; its folder is made when missing."""
    # safetensors' own save_file makes files that only their owner can read.
    write_whole(path, save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, metadata))


def _open(path: Path, read):
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path.name} is not there: check the name, or refresh the list of models.")
    if path.stat().st_size == 0:
        raise ValueError(f"{path.name} is empty (0 bytes): download it again.")
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            return read(file)
    except SafetensorError as error:
        with path.open("rb") as file:
            start = file.read(4)
        if start == b"GGUF":
            raise ValueError(gguf_refusal(path.name)) from error
        if start.startswith((b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
            raise ValueError(
                f"{path.name} is a pickle, which can run code when it is opened: use a .safetensors file instead."
            ) from error
        raise ValueError(f"{path.name} is not a whole safetensors file ({error}): download it again.") from error


def gguf_refusal(name: str) -> str:
    """What to do with a GGUF file that was given where this pack loads."""
    return (
        f"{name} is a GGUF file: GGUF is for the Wan model, in ComfyUI-GGUF's loader; take adapters and pose models as "
        ".safetensors files."
    )


def json_field(metadata: dict[str, str], key: str, path: Path) -> dict:
    """The JSON object that a file keeps under `key` of its metadata."""
    try:
        value = json.loads(metadata[key])
    except (KeyError, ValueError, RecursionError) as error:  # numbers too long, lists too deep
        raise ValueError(f"{path.name} has no readable '{key}' in its metadata: download it again.") from error
    return value
