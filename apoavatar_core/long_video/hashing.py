"""One short text that is the same for the same inputs, in every process and after every restart."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

BLOCK = 1 << 24
"""Bytes of a tensor that are copied at once."""

Take = Callable[[bytes], None]


def stable_hash(value: Any) -> str:
    """64 hexadecimal digits that tell a value from all others: tensors and arrays by dtype, shape and bytes wherever they
    are, floats exactly, dicts whatever the order of their keys, lists and tuples alike, dataclasses by name and fields.

    Numbers of different kinds differ (1, 1.0, True). Tensors that lie in one piece are read a block at a time.

    Raises:
        ValueError: it holds something else, such as a model; the message says where.
    """
    digest = hashlib.sha256()
    _add(digest.update, value, "the value")
    return digest.hexdigest()


def _add(take: Take, value: Any, where: str) -> None:
    """Every value says its kind and its length first, so that no two values are the same bytes."""
    if value is None or isinstance(value, (bool, int, Fraction, np.integer, np.bool_)):
        value = value.item() if isinstance(value, np.generic) else value
        _add_text(take, type(value).__name__, str(value))
    elif isinstance(value, (float, np.floating)):
        take(b"float" + struct.pack("<d", value))
    elif isinstance(value, str):
        _add_text(take, "str", value)
    elif isinstance(value, bytes):
        take(b"bytes %d:" % len(value))
        take(value)
    elif isinstance(value, Tensor):
        _add_tensor(take, value)
    elif isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        _add_text(take, "array", f"{value.dtype.str} {value.shape}")
        _add_blocks(take, value.reshape(-1), value.itemsize, lambda part: np.ascontiguousarray(part).tobytes())
    elif isinstance(value, (list, tuple)):
        take(b"list %d:" % len(value))
        for number, item in enumerate(value):
            _add(take, item, f"{where}[{number}]")
    elif isinstance(value, dict) and all(isinstance(key, str) for key in value):
        _add_named(take, "dict", dict(sorted(value.items())), where)
    elif is_dataclass(value) and not isinstance(value, type):
        _add_named(take, type(value).__qualname__, {field.name: getattr(value, field.name) for field in fields(value)}, where)
    else:
        raise ValueError(f"{where} is a {type(value).__name__}, which has no stable hash: give numbers, texts or tensors.")


def _add_text(take: Take, kind: str, text: str) -> None:
    content = text.encode("utf-8", "surrogatepass")
    take(f"{kind} {len(content)}:".encode() + content)


def _add_named(take: Take, kind: str, values: dict[str, Any], where: str) -> None:
    _add_text(take, kind, str(len(values)))
    for name, value in values.items():
        _add_text(take, "name", name)
        _add(take, value, f"{where}.{name}")


def _add_tensor(take: Take, tensor: Tensor) -> None:
    _add_text(take, "tensor", f"{tensor.dtype} {list(tensor.shape)}")
    flat = tensor.detach().reshape(-1)
    _add_blocks(take, flat, tensor.element_size(), _bytes_of)


def _bytes_of(part: Tensor) -> memoryview:
    return memoryview(part.cpu().contiguous().view(torch.uint8).numpy())


def _add_blocks(take: Take, flat, item_size: int, as_bytes) -> None:
    step = BLOCK // item_size
    for start in range(0, len(flat), step):
        take(as_bytes(flat[start : start + step]))
