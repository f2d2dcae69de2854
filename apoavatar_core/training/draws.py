"""Random numbers by seed, purpose and position: what one purpose draws never moves what another gets."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """What is drawn at random. Each has a generator of its own, so that runs of one seed see the same clips, states,
    captions, noise and σ whatever another of them draws: ablations are paired.
    """

    ORDER = 0
    STATE = 1
    CAPTION = 2
    POSE_GATE = 3
    NOISE = 4
    SIGMA = 5
    LEADING = 6
    START = 7
    GATE_CONTROL = 8


def random_numbers(seed: int, purpose: Purpose, position: int) -> np.random.Generator:
    """The generator for one purpose at a position of the run; for `ORDER` of an epoch."""
    return np.random.default_rng((seed, purpose, position))


def random_tensors(seed: int, purpose: Purpose, position: int) -> torch.Generator:
    """`random_numbers` for draws of torch."""
    return torch.Generator().manual_seed(int(random_numbers(seed, purpose, position).integers(2**63)))
