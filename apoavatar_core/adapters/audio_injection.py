"""Frame-wise audio cross-attention inside a video block (§3.3, Eq. 7)."""

from __future__ import annotations

from torch import Tensor, nn

from .attention import Attention, frame_wise_attention


class AudioInjection(nn.Module):
    """Video tokens query the refined audio of their own frame."""

    def __init__(self, video_dim: int, audio_dim: int, heads: int, operations, device=None, dtype=None):
        super().__init__()
        settings = {"device": device, "dtype": dtype}
        self.heads = heads
        self.norm = operations.LayerNorm(video_dim, **settings)
        self.q = operations.Linear(video_dim, video_dim, **settings)
        self.k = operations.Linear(audio_dim, video_dim, **settings)
        self.v = operations.Linear(audio_dim, video_dim, **settings)
        self.o = operations.Linear(video_dim, video_dim, **settings)

    def forward(self, video: Tensor, audio: Tensor, attention: Attention) -> Tensor:
        """Y = Attn(LN(X) W_q, Ã W_k, Ã W_v): X [B, T_lat, N_v, d], Ã [B, T_lat, n_a, d_a] → Y [B, T_lat, N_v, d]."""
        query = self.q(self.norm(video))
        return self.o(frame_wise_attention(query, self.k(audio), self.v(audio), self.heads, attention))
