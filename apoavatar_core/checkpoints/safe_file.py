"""Safetensors that came from somebody else, read as data only: one sentence when a file is not what it should be."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..files import whole_file

DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""safetensors' names."""


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
    layout = {name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()}
    stream_tensors(path, layout, tensors.__getitem__, metadata)


def stream_tensors(
    path: Path,
    layout: dict[str, tuple[torch.dtype, torch.Size]],
    tensor: Callable[[str], Tensor],
    metadata: dict[str, str],
) -> None:
    """Write a safetensors file as `write_tensors` does, asking for one tensor after the other.

    safetensors' own writer wants all of them at once and makes files that only their owner can read.
    layout: dtype and shape by name; tensor: the values of a name, on any device.
    """
    # Wide numbers first keeps every tensor where its numbers may lie.
    order = sorted(layout, key=lambda name: -layout[name][0].itemsize)
    header, end = {"__metadata__": metadata}, 0
    for name in order:
        dtype, shape = layout[name]
        start, end = end, end + dtype.itemsize * math.prod(shape)
        header[name] = {"dtype": DTYPES[dtype], "shape": list(shape), "data_offsets": [start, end]}
    described = json.dumps(header).encode()
    described += b" " * (-len(described) % 8)
    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        file.write(len(described).to_bytes(8, "little") + described)
        for name in order:
            values = tensor(name).detach().to("cpu", layout[name][0]).contiguous()
            file.write(values.reshape(-1).view(torch.uint8).numpy())


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
