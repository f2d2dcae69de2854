"""A picture at places between its pixels."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import grid_sample

FRACTIONS = 32
"""Places are rounded to this share of a pixel, as OpenCV rounds them: with exact ones, MediaPipe's hands drift off its own by
pixels.
"""


def bilinear(picture: np.ndarray, x: np.ndarray, y: np.ndarray, *, outside: str = "edge") -> np.ndarray:
    """What a picture shows at places.

    Args:
        picture: uint8 [H, W, C].
        x, y: [h, w], in pixels, whose centres are at whole numbers.
        outside: what lies beyond the picture: "edge", its nearest pixel, or "black".

    Returns:
        Uint8 [h, w, C].
    """
    x, y = (np.rint(places * FRACTIONS) / FRACTIONS for places in (x, y))
    part, (left, top) = _part(picture, x, y)
    height, width = part.shape[:2]
    places = np.stack([(2 * (x - left) + 1) / width - 1, (2 * (y - top) + 1) / height - 1], axis=-1).astype(np.float32)
    found = grid_sample(
        torch.from_numpy(part).movedim(-1, 0)[None].float(),
        torch.from_numpy(places)[None],
        padding_mode={"edge": "border", "black": "zeros"}[outside],
        align_corners=False,
    )
    return found[0].movedim(0, -1).add(0.5).to(torch.uint8).numpy()


def _part(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """What of the picture the places lie in, at least a pixel, and where it begins, (x, y)."""
    begins, ends = [], []
    for places, size in ((x, picture.shape[1]), (y, picture.shape[0])):
        begins.append(int(np.clip(np.floor(places.min()) - 1, 0, size - 1)))
        ends.append(int(np.clip(np.ceil(places.max()) + 2, begins[-1] + 1, size)))
    (left, top), (right, bottom) = begins, ends
    return np.ascontiguousarray(picture[top:bottom, left:right]), (left, top)
