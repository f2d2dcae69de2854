"""One training: flow matching (Eq. 1) on windows of performances. Everything random follows from seed, purpose and step, so that
the variants of a seed see the same windows, states, noise and σ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor, vmap
from torch.func import functional_call, stack_module_state

from ...conditioning.voice import latent_frame_windows
from ...flow_matching import flow_matching_loss, interpolate, sample_sigma
from ...training.draws import Purpose, random_numbers, random_tensors
from ...training.pose_schemes import draw_pose_gate
from ...training.states import draw_state
from ..variants import Variant, controlled
from .latents import Latents, gates_of
from .network import KeypointDiT, new_network
from .voices import Voices
from .world import Performances

SHIFT = 1.0
"""Noise levels are uniform: there are few numbers in a frame."""
STATES = {"S3": 0.4, "S4": 0.6}
"""Shares of the states of Eq. 8: the voice, and the pose with it. Where every scale is one, no other is asked for."""


@dataclass(frozen=True)
class Budget:
    """How much a training gets: steps of `batch` windows of `frames` (4n + 1), AdamW with a rate that falls along half a cosine
    after `warmup` steps, `performances` to learn from.
    """

    steps: int = 500
    batch: int = 16
    frames: int = 37
    rate: float = 5e-3
    warmup: int = 20
    performances: int = 240

    def rate_at(self, step: int) -> float:
        """Of step 0 … steps − 1."""
        return self.rate * min(1.0, (step + 1) / self.warmup) * 0.5 * (1 + math.cos(math.pi * step / self.steps))


@dataclass(frozen=True, eq=False)
class School:
    """What there is to learn from."""

    voices: Voices
    performances: Performances
    latents: Latents


@dataclass(frozen=True, eq=False)
class Batch:
    """tokens [B, T_lat, 3, 12]; audio [B, 8, T_lat, 40]; pose [B, 12, T_lat, 2, 6]; gate [B, 4, T_lat], 0 where there is no
    pose.
    """

    tokens: Tensor
    audio: Tensor
    pose: Tensor
    gate: Tensor


def heard_windows(voices: Voices, which: np.ndarray, starts: np.ndarray, frames: int) -> Tensor:
    """A_t of windows of voices, [B, 8, T_lat, 40]."""
    rows = window_rows(voices.frames, frames)[torch.from_numpy(starts)]
    return torch.from_numpy(voices.features)[torch.from_numpy(which)[:, None, None], rows]


@cache
def window_rows(voice_frames: int, frames: int) -> Tensor:
    """Which rows of a voice's features a window hears, [starts, 8, T_lat]."""
    numbers = torch.arange(voice_frames)[:, None]
    starts = range(voice_frames - frames + 1)
    return torch.stack([latent_frame_windows(numbers, frames, start)[..., 0] for start in starts])


def windows(tracks: np.ndarray, which: np.ndarray, starts: np.ndarray, frames: int) -> np.ndarray:
    """Windows of tracks [N, T, …]: [B, frames, …]."""
    return tracks[which[:, None], starts[:, None] + np.arange(frames)]


def batch_at(school: School, variant: Variant, budget: Budget, seed: int, step: int) -> Batch:
    """What step `step` learns from; only the gate differs between the variants of a seed."""
    voices, performances = school.voices, school.performances
    which = random_numbers(seed, Purpose.ORDER, step).integers(len(performances), size=budget.batch)
    starts = random_numbers(seed, Purpose.START, step).integers(voices.frames - budget.frames + 1, size=budget.batch)
    states = random_numbers(seed, Purpose.STATE, step)
    kept = [draw_state(STATES, states) for _ in range(budget.batch)]
    posed = torch.tensor([float("pose" in state) for state in kept])
    voice = performances.voice[which]
    places = windows(performances.places, which, starts, budget.frames)
    audio = heard_windows(voices, voice, starts, budget.frames)
    gates = draw_gates(voices, variant, voice, starts, budget.frames, seed, step)
    latents = school.latents
    return Batch(latents.encode(places), audio, latents.pose_pictures(places), gates_of(gates * posed[:, None]))


def draw_gates(
    voices: Voices, variant: Variant, voice: np.ndarray, starts: np.ndarray, frames: int, seed: int, step: int
) -> Tensor:
    """The weight of each pose frame [B, T], 0 or 1, as the variant drops it: the paper's masks alone."""
    own = torch.from_numpy(windows(voices.dropout, voice, starts, frames))
    control = random_tensors(seed, Purpose.GATE_CONTROL, step)
    others = (voice + torch.randint(1, max(len(voices), 2), (len(voice),), generator=control).numpy()) % len(voices)
    another = torch.from_numpy(windows(voices.dropout, others, starts, frames))
    rng = random_numbers(seed, Purpose.POSE_GATE, step)
    used = [controlled(variant.gate, *pair, control) for pair in zip(own, another)]
    return torch.stack([draw_pose_gate(variant.pose, dropout, whole_pose=0, soft_gate=0, rng=rng) for dropout in used])


def noise_at(shape: tuple[int, ...], seed: int, step: int) -> tuple[Tensor, Tensor]:
    """Noise of a shape [B, …] and σ [B]."""
    noise = torch.randn(shape, generator=random_tensors(seed, Purpose.NOISE, step))
    return noise, sample_sigma(shape[0], SHIFT, random_tensors(seed, Purpose.SIGMA, step))


def train(schools: Sequence[School], variant: Variant, budget: Budget, seeds: Sequence[int]) -> list[KeypointDiT]:
    """A network for each seed and its school, all trained at once: so many small ones cost little more than one."""
    networks = [new_network(variant.interaction, variant.places, seed) for seed in seeds]
    weights, _ = stack_module_state(networks)
    optimizer = torch.optim.AdamW(weights.values(), lr=budget.rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)

    def loss(own: dict[str, Tensor], data: Tensor, noise: Tensor, *given: Tensor) -> Tensor:
        return flow_matching_loss(functional_call(networks[0], own, given), data, noise)

    for step in range(budget.steps):
        optimizer.param_groups[0]["lr"] = budget.rate_at(step)
        batches = [batch_at(school, variant, budget, seed, step) for school, seed in zip(schools, seeds)]
        data, audio, pose, gate = (torch.stack([getattr(batch, name) for batch in batches]) for name in Batch.__annotations__)
        noise, sigma = (torch.stack(drawn) for drawn in zip(*(noise_at(data.shape[1:], seed, step) for seed in seeds)))
        noisy = interpolate(data.flatten(0, 1), noise.flatten(0, 1), sigma.flatten()).view_as(data)
        vmap(loss)(weights, data, noise, noisy, sigma, audio, pose, gate).sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    for number, network in enumerate(networks):
        network.load_state_dict({name: stacked[number].detach() for name, stacked in weights.items()})
    return networks
