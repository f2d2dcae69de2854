"""The Audio DiT adapter: audio refined by the video tokens of its own frame (§3.3, Eq. 5 and 6)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .attention import Attention, frame_wise_attention
from .sinusoids import place_sinusoids, sinusoids

TIMESTEP_WIDTH = 256


class AudioDiTAdapter(nn.Module):
    """Scale & Shift by the timestep, frame-wise cross-attention to the video, residual, gate. Runs once per step.

    Before the first block the tokens carry no position, Wan's being inside self-attention: the audio would see that a hand is
    there and never where. With `places` the keys get the (y, x) of their token, by a scale per channel that starts at zero.
    """

    def __init__(
        self, audio_dim: int, video_dim: int, heads: int, operations, places: bool = False, device=None, dtype=None
    ):
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
        self.place_scale = nn.Parameter(torch.empty(audio_dim, **settings)) if places else None

    def modulation(self, timestep: Tensor, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """γ_τ, β_τ, s_τ, each [B, 1 or T_lat, 1, d_a]; at zero weights γ = s = 1 and β = 0."""
        times = sinusoids(timestep.flatten(), TIMESTEP_WIDTH).to(like.dtype)
        hidden = nn.functional.silu(self.time_hidden(times.unflatten(0, (len(like), -1))))
        scale, shift, gate = self.time_out(hidden)[:, :, None].chunk(3, dim=-1)
        return 1 + scale, shift, 1 + gate

    def keys(self, video: Tensor, grid: tuple[int, int]) -> Tensor:
        """X W_k [B, T_lat, N_v, d_a], which knows its places if this adapter's keys do."""
        keys = self.k(video)
        if self.place_scale is None:
            return keys
        return keys + self.place_scale.to(keys) * place_sinusoids(*grid, keys.shape[-1], keys.device).to(keys)

    def forward(
        self, audio: Tensor, video: Tensor, timestep: Tensor, attention: Attention, grid: tuple[int, int]
    ) -> Tensor:
        """Refine audio tokens A to Ã.

        Args:
            audio: A [B, T_lat, n_a, d_a].
            video: X [B, T_lat, N_v, d], the tokens of the current step with the pose prior in.
            timestep: [B] in 0 … 1000, or [B, T_lat] where each frame has its own (Wan 2.2 5B holds its first one).
            grid: rows and columns of the N_v tokens of a frame.

        Returns:
            Ã = s_τ (A + C), [B, T_lat, n_a, d_a].
        """
        scale, shift, gate = self.modulation(timestep, audio)
        modulated = scale * self.norm(audio) + shift  # Eq. 5
        context = frame_wise_attention(
            self.q(modulated), self.keys(video, grid), self.v(video), self.heads, attention
        )  # Eq. 6
        return gate * (audio + self.o(context))
