"""How training hides the pose: the four rows of Table 4."""

from __future__ import annotations

from enum import Enum

import numpy as np
import torch
from torch import Tensor

from ..refocusing import sample_pose_mask


class PoseScheme(str, Enum):
    """NONE trains without pose; CLIP drops it for whole clips only; TEMPORAL also drops frames regardless of the sound;
    REFOCUSING drops frames by Eq. 4, the quiet ones more often.
    """

    NONE = "none"
    CLIP = "clip"
    TEMPORAL = "temporal"
    REFOCUSING = "refocusing"


def keep_probability(scheme: PoseScheme, dropout: Tensor) -> Tensor:
    """With what probability the scheme keeps the pose of each frame, [T] in 0 … 1, in clips that have one.

    Args:
        scheme: the row of Table 4.
        dropout: p_t of Eq. 4, [T]. TEMPORAL drops every frame with their mean, so that both schemes keep as many.
    """
    if scheme is PoseScheme.NONE:
        return torch.zeros_like(dropout)
    if scheme is PoseScheme.CLIP:
        return torch.ones_like(dropout)
    if scheme is PoseScheme.TEMPORAL:
        dropout = dropout.mean().expand_as(dropout)
    return 1 - dropout


def draw_pose_gate(
    scheme: PoseScheme, dropout: Tensor, whole_pose: float, soft_gate: float, rng: np.random.Generator
) -> Tensor:
    """The weight of each pose frame, float32 [T] in 0 … 1, in a clip that has a pose.

    Args:
        scheme, dropout: as in `keep_probability`.
        whole_pose, soft_gate: chances of a pose that acts in every frame, and of one weighed by the probabilities
            themselves; else they are drawn as 0 or 1.
        rng: source of the draws, as many for every scheme.
    """
    choice, generator = rng.random(), torch.Generator().manual_seed(int(rng.integers(2**63)))
    kept = keep_probability(scheme, dropout)
    if choice < whole_pose and scheme is not PoseScheme.NONE:
        return torch.ones_like(kept)
    return kept if whole_pose <= choice < whole_pose + soft_gate else sample_pose_mask(1 - kept, generator)
