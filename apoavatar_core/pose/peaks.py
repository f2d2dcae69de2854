"""Where a network that knows nothing of our heatmaps sees its keypoints: SimCC bins and unbiased (UDP) heatmaps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_BLUR_REACH, _BLUR_SIGMA = 5, 2.0  # cells; UDP's modulation, so that noise does not bend the peak
_FAINTEST, _BRIGHTEST = 1e-3, 50.0  # of a heatmap, before its logarithm


def decode_simcc(x: Tensor, y: Tensor) -> Tensor:
    """Keypoints from classifications of their coordinates (RTMPose, Jiang et al. 2023).

    Args:
        x: [..., w], a score for each bin from the left to the right edge.
        y: [..., h], likewise from top to bottom.

    Returns:
        [..., 3]: x and y as fractions of the picture, and the lesser of the two largest scores, 0 to 1.
    """
    (across, sure_x), (down, sure_y) = _peak(x), _peak(y)
    score = torch.minimum(sure_x, sure_y).clamp(0, 1)
    return torch.stack([across / x.shape[-1], down / y.shape[-1], score], dim=-1)


def _peak(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The place of the largest score, between bins as the parabola through its neighbours has it, and the score."""
    best, place = scores.max(-1)
    neighbours = [scores.gather(-1, (place + step).clamp(0, scores.shape[-1] - 1)[..., None])[..., 0] for step in (-1, 1)]
    before, after = neighbours
    bend = before - 2 * best + after
    shift = torch.where(bend < 0, 0.5 * (before - after) / bend, 0).clamp(-0.5, 0.5)
    inside = (place > 0) & (place < scores.shape[-1] - 1)
    return place + torch.where(inside, shift, 0), best


def decode_udp(heatmaps: Tensor) -> Tensor:
    """Keypoints from heatmaps whose first and last cells are centred on the picture's first and last pixels.

    The brightest cell, and from there one Newton step on the logarithm of the blurred heatmap, which is a parabola where
    the blob is Gaussian (DARK, Zhang et al. 2020; UDP, Huang et al. 2020).

    Args:
        heatmaps: [..., h, w].

    Returns:
        [..., 3]: x and y as fractions of the way from the first to the last cell, and the largest value, 0 to 1.
    """
    height, width = heatmaps.shape[-2:]
    maps = heatmaps.reshape(-1, height, width).float()
    score, index = maps.flatten(1).max(1)
    rows, columns = index // width, index % width
    near = _blurred_around(maps, rows, columns).clamp(_FAINTEST, _BRIGHTEST).log()
    # A cell beyond the edge is as bright as the one inside it.
    up, down = (rows > 0).long(), (rows < height - 1).long()
    left, right = (columns > 0).long(), (columns < width - 1).long()

    def at(dy: Tensor | int, dx: Tensor | int) -> Tensor:
        return near[torch.arange(len(near), device=near.device), 1 + dy, 1 + dx]

    middle = at(0, 0)
    dx, dy = (at(0, right) - at(0, -left)) / 2, (at(down, 0) - at(-up, 0)) / 2
    dxx, dyy = at(0, right) - 2 * middle + at(0, -left), at(down, 0) - 2 * middle + at(-up, 0)
    dxy = (
        at(down, right) - at(0, right) - at(down, 0) + 2 * middle - at(0, -left) - at(-up, 0) + at(-up, -left)
    ) / 2
    determinant = dxx * dyy - dxy**2
    peaked = (dxx < 0) & (dyy < 0) & (determinant > 0)
    safe = torch.where(peaked, determinant, 1)
    shift_x = torch.where(peaked, (dxy * dy - dyy * dx) / safe, 0).clamp(-1, 1)
    shift_y = torch.where(peaked, (dxy * dx - dxx * dy) / safe, 0).clamp(-1, 1)
    found = [(columns + shift_x) / (width - 1), (rows + shift_y) / (height - 1), score.clamp(0, 1)]
    return torch.stack(found, dim=-1).reshape(*heatmaps.shape[:-2], 3)


def _blurred_around(maps: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The 3 x 3 cells of blurred maps [n, h, w] round a cell each, without blurring the rest; [n, 3, 3]."""
    reach = _BLUR_REACH + 1
    window = torch.arange(2 * reach + 1, device=maps.device)
    padded = F.pad(maps, [reach] * 4)
    each = torch.arange(len(maps), device=maps.device)[:, None, None]
    near = padded[each, (rows[:, None] + window)[:, :, None], (columns[:, None] + window)[:, None, :]]
    steps = torch.arange(-_BLUR_REACH, _BLUR_REACH + 1, device=maps.device)
    kernel = torch.exp(-(steps**2) / (2 * _BLUR_SIGMA**2))
    kernel = kernel / kernel.sum()
    return F.conv2d(near[:, None], (kernel[:, None] * kernel)[None, None])[:, 0]
