"""Drawn skeletons laid over pictures."""

from __future__ import annotations

from torch import Tensor


def laid_over(skeletons: Tensor, pictures: Tensor) -> Tensor:
    """Skeletons [T, H, W, 3] on black over pictures [N, H, W, 3], both 0 … 1; the last picture is held for what frames are left.

    What is drawn covers the picture as much as its brightest channel says.
    """
    count = len(skeletons)
    behind = pictures[:count].to(skeletons)
    behind = behind[[min(t, len(behind) - 1) for t in range(count)]]
    return skeletons + behind * (1 - skeletons.amax(-1, keepdim=True))
