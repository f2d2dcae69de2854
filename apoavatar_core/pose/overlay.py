"""Drawn skeletons laid over pictures."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

RESTING, KEPT = (0.75, 0.9, 1.0), (1.0, 0.55, 0.1)
"""RGB of a skeleton whose gate is closed, and of one whose gate is open."""


def laid_over(skeletons: Tensor, pictures: Tensor) -> Tensor:
    """Skeletons [T, H, W, 3] on black over pictures [N, H, W, 3], both 0 … 1; the last picture is held for what frames are left.

    What is drawn covers the picture as much as its brightest channel says.
    """
    count = len(skeletons)
    behind = pictures[:count].to(skeletons)
    behind = behind[[min(t, len(behind) - 1) for t in range(count)]]
    return skeletons + behind * (1 - skeletons.amax(-1, keepdim=True))


def gate_coloured(skeletons: Tensor, keep: np.ndarray) -> Tensor:
    """Skeletons [T, H, W, 3] on black in one colour a frame: from RESTING to KEPT as the keep weight 1 − p says, [t] in [0, 1] and
    held where there are more frames.
    """
    weights = torch.from_numpy(keep[[min(t, len(keep) - 1) for t in range(len(skeletons))]]).to(skeletons)
    colours = torch.lerp(skeletons.new_tensor(RESTING), skeletons.new_tensor(KEPT), weights[:, None])
    return skeletons.amax(-1, keepdim=True) * colours[:, None, None]
