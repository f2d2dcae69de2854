"""From encoder features to the audio tokens A_t of each latent frame (§3.3)."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from ..grid import AUDIO_WINDOW, FRAMES_PER_LATENT


class AudioProjection(nn.Module):
    """Project the audio window of every video frame to tokens, and group them by latent frame.

    A latent frame covers four video frames; their windows of five share rows, so eight rows hold them all. (The
    first latent frame covers one video frame; its other three rows repeat the clip's edge.)
    """

    def __init__(self, feature_dim: int, audio_dim: int, tokens_per_frame: int, operations, device=None, dtype=None):
        super().__init__()
        settings = {"device": device, "dtype": dtype}
        self.tokens_per_frame = tokens_per_frame
        self.hidden = operations.Linear(AUDIO_WINDOW * feature_dim, 2 * audio_dim, **settings)
        self.out = operations.Linear(2 * audio_dim, tokens_per_frame * audio_dim, **settings)
        self.norm = operations.LayerNorm(audio_dim, **settings)
        self.position = nn.Parameter(torch.empty(FRAMES_PER_LATENT * tokens_per_frame, audio_dim, **settings))

    def forward(self, rows: Tensor) -> Tensor:
        """rows: features [B, 8, T_lat, D] → audio tokens [B, T_lat, 4·tokens_per_frame, d_a]."""
        windows = rows.unfold(1, AUDIO_WINDOW, 1)  # [B, 4, T_lat, D, 5]
        tokens = self.out(nn.functional.silu(self.hidden(rearrange(windows, "b f t d w -> b t f (w d)"))))
        tokens = self.norm(rearrange(tokens, "b t f (n d) -> b t (f n) d", n=self.tokens_per_frame))
        return tokens + self.position.to(tokens)
