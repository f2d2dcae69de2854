"""A small video DiT whose pictures are three tokens wide, with the pack's own adapter on it."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from ...adapters import AdapterConfig, ApoAvatarAdapter
from ...adapters.audio_dit import TIMESTEP_WIDTH
from ...adapters.interaction import InteractionScheme
from ...adapters.sinusoids import sinusoids
from ...grid import FRAMES_PER_LATENT
from ...log_mel import LogMelEncoder
from .latents import PIXELS
from .voices import FPS
from .world import NUMBERS

COLUMNS = 3
"""Tokens of a frame: right hand, mouth, left hand."""
TOKEN = FRAMES_PER_LATENT * NUMBERS
WIDTH, LAYERS, HEADS, AUDIO_WIDTH, POSE_CHANNELS = 32, 3, 4, 32, 8


def plain_attention(query: Tensor, key: Tensor, value: Tensor, heads: int, **_: object) -> Tensor:
    """Attention in the host's calling convention, of operations that are fast for several networks at once (`torch.vmap`)."""
    query, key, value = (rearrange(x, "n l (h d) -> n h l d", h=heads) for x in (query, key, value))
    weights = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1)
    return rearrange(weights @ value, "n h l d -> n l (h d)")


class Block(nn.Module):
    """Self-attention over all tokens, the audio injection of Eq. 7, and a feed-forward layer, modulated by the timestep."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(2))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.modulation = nn.Parameter(torch.zeros(6, width))

    def forward(self, video: Tensor, times: Tensor, heard) -> Tensor:
        """video [B, T_lat, N, d], times [B, 6, d]; `heard` gives Y of Eq. 7 for video tokens."""
        shift, scale, gate, *of_feed = (times + self.modulation)[:, :, None, None].unbind(1)
        x = (self.norms[0](video) * (1 + scale) + shift).flatten(1, 2)
        attended = plain_attention(*self.qkv(x).chunk(3, dim=-1), heads=self.heads)
        video = video + (1 + gate) * self.out(attended).view_as(video)
        video = video + heard(video)
        shift, scale, gate = of_feed
        return video + (1 + gate) * self.feed(self.norms[1](video) * (1 + scale) + shift)


class KeypointDiT(nn.Module):
    """Predicts noise − data of keypoint tokens from voice and pose prior.

    As in Wan, the tokens know neither time nor place before the first block: so FWCA's keys know a token's place only if the
    adapter tells them. Here both are added there once, instead of turning queries and keys.
    """

    def __init__(self, interaction: InteractionScheme, places: bool):
        super().__init__()
        self.enter = nn.Linear(TOKEN, WIDTH)
        self.column = nn.Parameter(torch.randn(COLUMNS, WIDTH) * 0.5)
        self.time = nn.Sequential(nn.Linear(TIMESTEP_WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, 6 * WIDTH))
        self.blocks = nn.ModuleList(Block(WIDTH, HEADS) for _ in range(LAYERS))
        self.norm, self.leave = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, TOKEN)
        self.adapter = ApoAvatarAdapter(adapter_config(interaction, places))

    def forward(self, noisy: Tensor, sigma: Tensor, audio: Tensor, pose: Tensor, gate: Tensor) -> Tensor:
        """Tokens x_σ [B, T_lat, 3, 12], σ [B], features [B, 8, T_lat, 40], pose pictures [B, 12, T_lat, 2, 6] and their gate
        [B, 4, T_lat] → noise − data as tokens.
        """
        timestep = 1000 * sigma
        # Of x_σ alone, data and noise of deviation 1 are best told by a line; the network says what is left (Karras et al. 2022).
        level = sigma[:, None, None, None]
        size = (level.square() + (1 - level).square()).sqrt()
        video = self.enter(noisy / size) + self.adapter.pose_adapter(pose, gate)
        audio = self.adapter.refined_audio(audio, video, timestep, plain_attention, (1, COLUMNS))
        frames = sinusoids(torch.arange(video.shape[1], device=video.device), WIDTH)
        video = video + frames[:, None] + self.column
        times = self.time(sinusoids(timestep, TIMESTEP_WIDTH)).unflatten(-1, (6, WIDTH))
        for block, injection in zip(self.blocks, self.adapter.injections):
            video = block(video, times, lambda x, inject=injection: inject(x, audio, plain_attention))
        return (2 * level - 1) / size.square() * noisy + self.leave(self.norm(video)) / size


def adapter_config(interaction: InteractionScheme, places: bool) -> AdapterConfig:
    return AdapterConfig(
        backbone_dim=WIDTH, backbone_layers=LAYERS, backbone_in_channels=None, heads=HEADS, audio_encoder=LogMelEncoder.name,
        audio_feature_dim=LogMelEncoder.feature_dim, audio_dim=AUDIO_WIDTH, tokens_per_frame=1, pose_channels=POSE_CHANNELS,
        fps=FPS, window=0, vae_stride=PIXELS, patch=1, interaction=interaction.value, normalized_pose=True,
        keys_know_places=places,
    )  # fmt: skip


def new_network(interaction: InteractionScheme, places: bool, seed: int) -> KeypointDiT:
    """Random weights; what two variants of one seed have in common begins with the same ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        whole = KeypointDiT(InteractionScheme.BOTH, places=True)
        whole.adapter.initialize()
        nn.init.zeros_(whole.leave.weight)
        network = KeypointDiT(interaction, places)
    known = whole.state_dict()
    network.load_state_dict({name: known[name] for name in network.state_dict()})
    return network
