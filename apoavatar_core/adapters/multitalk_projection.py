"""The audio projection of MultiTalk and InfiniteTalk, for adapters that start from their weights."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from ..grid import AUDIO_ROWS, AUDIO_WINDOW


class MultiTalkProjection(nn.Module):
    """All rows of a latent frame become its tokens at once; the first latent frame, which has five rows, by its own layer."""

    def __init__(self, feature_dim: int, hidden_dim: int, audio_dim: int, tokens: int, operations, device=None, dtype=None):
        super().__init__()
        settings = {"device": device, "dtype": dtype}
        self.tokens = tokens
        self.first = operations.Linear(AUDIO_WINDOW * feature_dim, hidden_dim, **settings)
        self.later = operations.Linear(AUDIO_ROWS * feature_dim, hidden_dim, **settings)
        self.hidden = operations.Linear(hidden_dim, hidden_dim, **settings)
        self.out = operations.Linear(hidden_dim, tokens * audio_dim, **settings)
        self.norm = operations.LayerNorm(audio_dim, **settings)

    def forward(self, rows: Tensor) -> Tensor:
        """rows: features [B, 8, T_lat, D] → audio tokens [B, T_lat, tokens, d_a]."""
        first = self.first(rearrange(rows[:, -AUDIO_WINDOW:, :1], "b w t d -> b t (w d)"))
        later = self.later(rearrange(rows[:, :, 1:], "b w t d -> b t (w d)"))
        hidden = torch.relu(self.hidden(torch.relu(torch.cat([first, later], dim=1))))
        return self.norm(rearrange(self.out(hidden), "b t (n d) -> b t n d", n=self.tokens))
