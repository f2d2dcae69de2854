"""How training hides the pose: the four rows of Table 4."""

from __future__ import annotations

from enum import Enum

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


def draw_pose_mask(scheme: PoseScheme, dropout: Tensor, generator: torch.Generator) -> Tensor:
    """m_t for a clip whose pose is not dropped as a whole.

    Args:
        scheme: the row of Table 4.
        dropout: p_t of Eq. 4, [T]. TEMPORAL drops every frame with their mean, so that both schemes keep as many.
        generator: source of the draws.

    Returns:
        float32 [T] of 0 and 1.
    """
    if scheme is PoseScheme.NONE:
        return torch.zeros_like(dropout)
    if scheme is PoseScheme.CLIP:
        return torch.ones_like(dropout)
    if scheme is PoseScheme.TEMPORAL:
        dropout = dropout.mean().expand_as(dropout)
    return sample_pose_mask(dropout, generator)
