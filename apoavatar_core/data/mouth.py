"""Where the mouth is, in latents: training may weigh it more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..adapters.pose_adapter import group_by_latent_frame
from ..pose.keypoints import LIPS, VISIBLE, PersonKeypoints


def mouth_cells(people: Sequence[PersonKeypoints], height: int, width: int) -> Tensor:
    """Which latent cells hold a piece of the mouth: bool [T_lat, h, w] for T = 4n+1 people; none where it is unseen."""
    lips = torch.from_numpy(np.stack([person.face[LIPS] for person in people]))
    seen = lips[..., 2].amin(-1) >= VISIBLE
    low, high = lips[..., :2].amin(1), lips[..., :2].amax(1)
    y, x = torch.arange(height) / height, torch.arange(width) / width
    rows = (y < high[:, 1:]) & (y + 1 / height > low[:, 1:])
    columns = (x < high[:, :1]) & (x + 1 / width > low[:, :1])
    cells = rows[:, :, None] & columns[:, None, :] & seen[:, None, None]
    return group_by_latent_frame(cells[None])[0].any(1)
