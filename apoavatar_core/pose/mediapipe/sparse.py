"""Weights of which many are zero, stored as the others and a bit for each: half of the detectors' and hands' files."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

VALUES, PLACES = ":values", ":places"
"""What is added to a weight's name for its numbers and for the bits that say where they are."""

ENOUGH, LARGE = 0.25, 1000
"""The least part of zeros, and number of values, with which a weight is stored so."""


def packed(weights: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """The tensors to store for weights; `unpacked` is the inverse."""
    stored = {}
    for name, values in weights.items():
        nonzero = values != 0
        if values.size < LARGE or nonzero.mean() > 1 - ENOUGH:
            stored[name] = torch.from_numpy(values.copy())
        else:
            stored[name + VALUES] = torch.from_numpy(values[nonzero])
            stored[name + PLACES] = torch.from_numpy(np.packbits(nonzero))
    return stored


def unpacked(stored: dict[str, Tensor], shapes: dict[str, torch.Size]) -> dict[str, Tensor]:
    """The weights, in single precision, that stored tensors are.

    Args:
        stored: what `packed` gave.
        shapes: of the weights.

    Raises:
        ValueError: when the stored tensors are not those of such weights.
    """
    weights = {}
    for name, shape in shapes.items():
        if name in stored:
            weights[name] = stored[name].float()
            continue
        values, places = stored.get(name + VALUES), stored.get(name + PLACES)
        if values is None or places is None or places.dtype != torch.uint8:
            raise ValueError(f"{name} is missing")
        bits = np.unpackbits(places.numpy())[: shape.numel()].astype(bool)
        if len(bits) != shape.numel() or bits.sum() != values.numel():
            raise ValueError(f"{name} has another number of values than places")
        weights[name] = torch.zeros(shape)
        weights[name].view(-1)[torch.from_numpy(bits)] = values.float()
    return weights
