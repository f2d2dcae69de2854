"""What a film follows from, as values that are the same after every restart: ComfyUI's objects turned into numbers and texts.

Weights are told by their names, shapes and a few of their numbers, which takes no time for 14 billion of them. Of all other
tensors, those of LoRAs too, every number counts.
"""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from comfy.model_patcher import ModelPatcher

from ..conditioning.pose import Pictures

SAMPLE = 64
"""Numbers of a weight that count."""
DEEPEST = 12
"""Objects in objects that are looked into."""
SAMPLING = "model_sampling."
"""Buffers in a network that the MODEL leaves there that was sampled last. What a MODEL itself changes of it is among its objects."""


def facts(value: Any, depth: int = DEEPEST) -> Any:
    """A value for `stable_hash`: plain values and tensors as they are, other objects as their class's name and their fields."""
    if value is None or isinstance(value, (bool, int, float, str, bytes, np.generic)):
        return value
    if isinstance(value, np.ndarray):
        return value if value.dtype.kind in "biufc" else str(value.tolist())
    if isinstance(value, torch.Tensor):
        return value if type(value) is torch.Tensor else sampled(value)
    if depth == 0 or isinstance(value, uuid.UUID):
        return type(value).__qualname__
    inside = partial(facts, depth=depth - 1)
    if isinstance(value, Mapping):
        return {str(key): inside(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [inside(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(str(item) for item in value)
    if isinstance(value, ModelPatcher):
        return facts_of_model(value, depth - 1)
    if isinstance(value, torch.nn.Module):
        return [type(value).__qualname__, weights(value.state_dict())]
    if isinstance(value, partial):
        return [inside(value.func), inside(value.args), inside(value.keywords)]
    if isinstance(value, type) or callable(value) and hasattr(value, "__qualname__"):
        closure = [cell.cell_contents for cell in getattr(value, "__closure__", None) or ()]
        owner = getattr(value, "__self__", None)
        return [f"{value.__module__}.{value.__qualname__}", inside(closure), inside(owner)]
    if isinstance(value, Pictures):
        return [value.shown, inside(content_of(value.source))]
    if isinstance(value, (torch.dtype, torch.device)):
        return str(value)
    return [type(value).__qualname__, inside(getattr(value, "__dict__", {}))]


def content_of(source: Any) -> Any:
    """What a film's pictures are read from, by its content: a file is read a block at a time."""
    if isinstance(source, str):
        digest = hashlib.sha256()
        with open(source, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()
    return source.getvalue() if isinstance(source, io.BytesIO) else source


def facts_of_model(model: ModelPatcher, depth: int = DEEPEST) -> dict[str, Any]:
    """A MODEL without where it is loaded: its network, the patches of its weights, and what other nodes put into it."""
    patched = {key: found for key, (found, *_) in model.get_key_patches().items() if not key.startswith(SAMPLING)}
    return {
        "class": type(model.model).__qualname__,
        "weights": weights({key: weight for key, (weight, _) in patched.items()}),
        "patches": {str(key): [facts(patch, depth) for patch in patches] for key, patches in model.patches.items()},
        "objects": {key: facts(found, depth) for key, found in model.object_patches.items()},
        "options": facts(model.model_options, depth),
        "wrappers": facts(model.wrappers, depth),
    }


def weights(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Names, shapes and a few numbers of weights."""
    return {name: sampled(tensor) for name, tensor in tensors.items() if isinstance(tensor, torch.Tensor)}


def sampled(tensor: torch.Tensor) -> list:
    """Its kind, its shape and a few of its numbers, evenly spread."""
    told = [type(tensor).__qualname__, str(tensor.dtype), list(tensor.shape)]
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or not tensor.numel():  # other kinds may not be indexed
        return told
    whole = tensor.detach()
    if whole.dtype.itemsize == 1 and whole.dtype != torch.bool:
        whole = whole.view(torch.uint8)  # 8-bit floats cannot be indexed everywhere
    places = np.linspace(0, whole.numel() - 1, min(SAMPLE, whole.numel())).astype(np.int64)
    at = tuple(torch.from_numpy(place).to(whole.device) for place in np.unravel_index(places, tuple(whole.shape)))
    return [*told, whole[at].cpu()]
