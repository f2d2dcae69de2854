"""The Audio DiT adapter: audio refined by the video tokens of its own frame (§3.3, Eq. 5 and 6)."""

from __future__ import annotations

from torch import Tensor, nn

from .attention import Attention, frame_wise_attention
from .sinusoids import sinusoids

TIMESTEP_WIDTH = 256


class AudioDiTAdapter(nn.Module):
    """Scale & Shift by the timestep, frame-wise cross-attention to the video, residual, gate. Runs once per step."""

    def __init__(self, audio_dim: int, video_dim: int, heads: int, operations, device=None, dtype=None):
        super().__init__()
        settings = {"device": device, "dtype": dtype}
        self.heads = heads
        self.norm = operations.LayerNorm(audio_dim, elementwise_affine=False, **settings)
        self.time_hidden = operations.Linear(TIMESTEP_WIDTH, audio_dim, **settings)
        self.time_out = operations.Linear(audio_dim, 3 * audio_dim, **settings)
        self.q = operations.Linear(audio_dim, audio_dim, **settings)
        self.k = operations.Linear(video_dim, audio_dim, **settings)
        self.v = operations.Linear(video_dim, audio_dim, **settings)
        self.o = operations.Linear(audio_dim, audio_dim, **settings)

    def modulation(self, timestep: Tensor, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """γ_τ, β_τ, s_τ, each [B, 1 or T_lat, 1, d_a]; at zero weights γ = s = 1 and β = 0."""
        times = sinusoids(timestep.flatten(), TIMESTEP_WIDTH).to(like.dtype)
        hidden = nn.functional.silu(self.time_hidden(times.unflatten(0, (len(like), -1))))
        scale, shift, gate = self.time_out(hidden)[:, :, None].chunk(3, dim=-1)
        return 1 + scale, shift, 1 + gate

    def forward(self, audio: Tensor, video: Tensor, timestep: Tensor, attention: Attention) -> Tensor:
        """Refine audio tokens A to Ã.

        Args:
            audio: A [B, T_lat, n_a, d_a].
            video: X [B, T_lat, N_v, d], the tokens of the current step with the pose prior in.
            timestep: [B] in 0 … 1000, or [B, T_lat] where each frame has its own (Wan 2.2 5B holds its first one).

        Returns:
            Ã = s_τ (A + C), [B, T_lat, n_a, d_a].
        """
        scale, shift, gate = self.modulation(timestep, audio)
        modulated = scale * self.norm(audio) + shift  # Eq. 5
        context = frame_wise_attention(self.q(modulated), self.k(video), self.v(video), self.heads, attention)  # Eq. 6
        return gate * (audio + self.o(context))
