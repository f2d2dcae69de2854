"""Audio cross-attention inside a video block (§3.3, Eq. 7; Table 5 for its clip-wise form)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .attention import Attention, clip_wise_attention, frame_wise_attention
from .sinusoids import sinusoids


class AudioInjection(nn.Module):
    """Video tokens query the audio: that of their own frame, or with `clip_wise` that of the whole clip.

    Over a whole clip attention needs to know when each token is; so queries and keys get sinusoids of their frame there.
    """

    def __init__(
        self, video_dim: int, audio_dim: int, heads: int, operations, clip_wise: bool = False, device=None, dtype=None
    ):
        super().__init__()
        settings = {"device": device, "dtype": dtype}
        self.heads, self.clip_wise = heads, clip_wise
        self.norm = operations.LayerNorm(video_dim, **settings)
        self.q = operations.Linear(video_dim, video_dim, **settings)
        self.k = operations.Linear(audio_dim, video_dim, **settings)
        self.v = operations.Linear(audio_dim, video_dim, **settings)
        self.o = operations.Linear(video_dim, video_dim, **settings)

    def forward(self, video: Tensor, audio: Tensor, attention: Attention) -> Tensor:
        """Y = Attn(LN(X) W_q, Ã W_k, Ã W_v): X [B, T_lat, N_v, d], Ã [B, T_lat, n_a, d_a] → Y [B, T_lat, N_v, d]."""
        asking, heard = self.norm(video), audio
        if self.clip_wise:
            asking, heard = with_time(asking), with_time(heard)
        attend = clip_wise_attention if self.clip_wise else frame_wise_attention
        return self.o(attend(self.q(asking), self.k(heard), self.v(audio), self.heads, attention))


def with_time(tokens: Tensor) -> Tensor:
    """Tokens [B, T_lat, N, d] plus sinusoids of their frame's number."""
    frames = torch.arange(tokens.shape[1], device=tokens.device)
    return tokens + sinusoids(frames, tokens.shape[-1]).to(tokens)[:, None]
