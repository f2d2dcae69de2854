"""Keypoints as heatmaps and back: what a pose network is trained to draw and how its drawing is read.

A heatmap of h x w cells covers the whole picture; cell (i, j) has its centre at ((j + 0.5) / w, (i + 0.5) / h).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SIGMA = 1.25
"""Standard deviation of a keypoint's blob, in cells."""

CENTROID_REACH = 3
"""Cells on each side of the brightest one from which the position is computed: 2.4 sigma, where a blob has faded."""

_NEWTON_STEPS = 4


def encode_heatmaps(points: Tensor, height: int, width: int) -> Tensor:
    """Draw each keypoint as a Gaussian blob exp(-d^2 / (2 sigma^2)).

    Args:
        points: [..., 3], x and y as fractions of the picture, then the confidence (0 to 1).
        height: rows of a heatmap.
        width: columns of a heatmap.

    Returns:
        [..., height, width] with the confidence as peak value; all zero for points outside the picture.
    """
    x, y, confidence = points.unbind(-1)
    columns = torch.arange(width, dtype=points.dtype, device=points.device) + 0.5
    rows = torch.arange(height, dtype=points.dtype, device=points.device) + 0.5
    across = torch.exp(-((columns - x[..., None] * width) ** 2) / (2 * SIGMA**2))
    down = torch.exp(-((rows - y[..., None] * height) ** 2) / (2 * SIGMA**2))
    inside = (x >= 0) & (x <= 1) & (y >= 0) & (y <= 1)
    peak = torch.where(inside, confidence, torch.zeros_like(confidence))
    return peak[..., None, None] * down[..., :, None] * across[..., None, :]


def decode_heatmaps(heatmaps: Tensor) -> Tensor:
    """Read keypoints off heatmaps with sub-cell precision; the inverse of `encode_heatmaps`.

    The position is that of the blob whose centre of mass inside the window equals the observed one. Matching it,
    instead of taking the centre of mass itself, keeps points right where the picture's edge cuts their blob.

    Args:
        heatmaps: [..., h, w], values from 0 to 1.

    Returns:
        [..., 3]: x and y as fractions of the picture (0 to 1) and the confidence, the heatmap's largest value.
    """
    height, width = heatmaps.shape[-2:]
    confidence, index = heatmaps.flatten(-2).max(dim=-1)
    cells = torch.stack([index % width, index // width], dim=-1)
    observed = window_centroids(heatmaps, cells)
    size = torch.tensor([width, height], device=heatmaps.device)

    offsets = torch.arange(-CENTROID_REACH, CENTROID_REACH + 1, device=heatmaps.device)
    positions = cells[..., None] + offsets
    inside = (positions >= 0) & (positions < size[:, None])
    positions = positions + 0.5
    centre = observed
    for _ in range(_NEWTON_STEPS):
        weight = torch.exp(-((positions - centre[..., None]) ** 2) / (2 * SIGMA**2)) * inside
        weight = weight / weight.sum(-1, keepdim=True)
        mean = (weight * positions).sum(-1)
        variance = (weight * (positions - mean[..., None]) ** 2).sum(-1)
        # The centroid of a cut Gaussian moves by variance / sigma^2 per cell its centre moves.
        step = (observed - mean) * SIGMA**2 / variance.clamp_min(1e-3)
        # The brightest cell is never more than half a cell off; the rest is room for blobs that are not Gaussian.
        centre = torch.clamp(centre + step, min=cells - 0.5, max=cells + 1.5)
    return torch.cat([torch.clamp(centre / size, 0, 1), confidence[..., None]], dim=-1)


def window_centroids(heatmaps: Tensor, cells: Tensor) -> Tensor:
    """Centre of mass of each heatmap inside the window around a cell. Differentiable in `heatmaps`.

    Args:
        heatmaps: [..., h, w], values >= 0.
        cells: [..., 2] integers, column and row of the window's centre, inside the heatmap.

    Returns:
        [..., 2]: x and y in cells (the first cell's centre is 0.5).
    """
    height, width = heatmaps.shape[-2:]
    maps = F.pad(heatmaps.reshape(-1, height, width), [CENTROID_REACH] * 4)
    column, row = cells.reshape(-1, 2).unbind(-1)
    offsets = torch.arange(2 * CENTROID_REACH + 1, device=heatmaps.device)
    rows, columns = row[:, None] + offsets, column[:, None] + offsets
    batch = torch.arange(len(maps), device=heatmaps.device)
    window = maps[batch[:, None, None], rows[:, :, None], columns[:, None, :]]
    # An empty heatmap has its centre of mass in the middle of the window.
    window = window + 1e-8
    total = window.sum((-2, -1))
    x = (window.sum(-2) * (columns - CENTROID_REACH + 0.5)).sum(-1) / total
    y = (window.sum(-1) * (rows - CENTROID_REACH + 0.5)).sum(-1) / total
    return torch.stack([x, y], dim=-1).reshape(cells.shape)
