"""One window of a film through the user's own guider, noise and sampler, as Sampler Custom (Advanced) runs one clip."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain
from typing import Any

import comfy.model_management
import comfy.sample
import comfy.utils
import node_helpers
import torch

from ..adapters import AdapterConfig
from ..grid import video_frames
from .clip_values import ClipValues, Earlier
from .conditions import with_conditions
from .film import FILM, Film

SHORTEST_LEARNED = 5
"""Frames, two latents: fewer are the portrait's own (see `continuing.refuse_other_lengths`)."""
SHORTEST_NEW = 4
"""Frames that a window adds at least, one latent, however little memory there is."""


@dataclass(frozen=True)
class Expert:
    """A model and its part of the steps: GUIDER, SIGMAS."""

    guider: Any
    sigmas: torch.Tensor


@dataclass(frozen=True)
class Sampling:
    """What Sampler Custom (Advanced) takes beside a latent: NOISE, GUIDER, SAMPLER, SIGMAS; `low_noise` goes on where these end,
    as the second of Wan 2.2's two experts does.

    Raises:
        ValueError: `low_noise` does not begin with the σ that the first expert ends with.
    """

    noise: Any
    guider: Any
    sampler: Any
    sigmas: torch.Tensor
    low_noise: Expert | None = None

    def __post_init__(self):
        if self.low_noise and not (self.steps and torch.equal(self.sigmas[-1:], self.low_noise.sigmas[:1]) and self.sigmas[-1] < 1):
            raise ValueError(
                "low_noise_sigmas do not go on where sigmas end: connect the outputs of one Split Sigmas, high_sigmas to sigmas and "
                "low_sigmas to low_noise_sigmas, with a step of at least 1."
            )

    @property
    def experts(self) -> tuple[Expert, ...]:
        """The models one after the other."""
        first = Expert(self.guider, self.sigmas)
        return (first, self.low_noise) if self.low_noise else (first,)

    @property
    def guiders(self) -> list:
        return [expert.guider for expert in self.experts]

    @property
    def steps(self) -> int:
        """Of all experts."""
        return sum(len(expert.sigmas) - 1 for expert in self.experts)


@dataclass(frozen=True)
class GoingOn:
    """How the windows of a film follow each other.

    Attributes:
        window: frames of one, 4n + 1.
        overlap: of the window before with which a window begins, 4n + 1.
    """

    window: int
    overlap: int


def going_on(adapter: AdapterConfig, window: int, motion_frames: int) -> GoingOn:
    """What this adapter makes of windows of at most so many frames that begin with at most so many earlier ones. One that learned
    to go on from two latents takes no fewer.
    """
    window = min(window, adapter.window)
    if adapter.leading_latents > 1:
        window = max(window, SHORTEST_LEARNED + SHORTEST_NEW)
        motion_frames = min(max(motion_frames, SHORTEST_LEARNED), video_frames(adapter.leading_latents))
    return GoingOn(window, min(motion_frames, window - SHORTEST_NEW))


def films_of(guiders: Sequence[Any]) -> list[Film]:
    """The films that the conditioning of GUIDERs is of, each once. There are several where several people speak, each in the
    mask of their own CONDITIONING; they differ in voice, pose and portrait.

    Raises:
        ValueError: the conditioning of one comes from other nodes, or the films have not one size, frame rate and length of windows.
    """
    told = [chain.from_iterable(guider.original_conds.values()) for guider in guiders]
    of_each = [[condition[FILM] for condition in conditions if FILM in condition] for conditions in told]
    for name, found in zip(("guider", "low_noise_guider"), of_each):
        if not found:
            raise ValueError(f"The conditioning of {name} is not of ApoAvatar Conditioning: connect that node's outputs to it.")
    films = list(dict.fromkeys(chain.from_iterable(of_each)))
    if len({(film.width, film.height, film.fps, film.window, film.start) for film in films}) > 1:
        raise ValueError(
            "The guider's conditioning is of ApoAvatar Conditioning nodes that differ: set width, height, length, fps and "
            "continue_from alike in all of them."
        )
    return films


def with_clips(guider, clip_of: Callable[[Film], ClipValues]):
    """A copy of a GUIDER for another clip of its films: texts, masks, hooks and whatever other nodes added stay."""
    found = copy.copy(guider)
    found.original_conds = {}
    found.inner_set_conds({name: _of_clips(conditions, clip_of) for name, conditions in guider.original_conds.items()})
    return found


def _of_clips(conditions: list[dict], clip_of: Callable[[Film], ClipValues]) -> list:
    """Conditions as a GUIDER keeps them → CONDITIONING."""
    told = []
    for condition in conditions:
        extras = {name: value for name, value in condition.items() if name not in ("cross_attn", "uuid")}
        entry = [[condition.get("cross_attn"), extras]]
        if FILM in condition:
            clip = clip_of(condition[FILM])
            others = {name: value for name, value in extras["model_conds"].items() if not name.startswith("apoavatar_")}
            entry = node_helpers.conditioning_set_values(entry, {**clip.values, "model_conds": others})
            entry = with_conditions(entry, clip.tensors)
        told += entry
    return told


def seeded(noise, index: int):
    """The NOISE of a window: the first has the user's own, every other a seed that follows from that and its number.

    Raises:
        ValueError: it is mixed of others and has no seed of its own.
    """
    if index == 0:
        return noise
    found = copy.copy(noise)
    try:
        found.seed = int.from_bytes(hashlib.sha256(f"{noise.seed} {index}".encode()).digest()[:8], "big")
    except AttributeError:
        raise ValueError("noise has no seed that can change from window to window: connect Random Noise.") from None
    return found


def sample_window(sampling: Sampling, frames: int, index: int, earlier: Earlier, callback: Callable) -> torch.Tensor:
    """Latents [1, C, T_lat, h, w] of a window of so many frames that goes on from what came before."""
    clip_of = cache(partial(Film.clip, frames=frames, earlier=earlier))
    film, *_ = films_of(sampling.guiders)
    latent, seed = clip_of(film).latent, seeded(sampling.noise, index)
    samples = comfy.sample.fix_empty_latent_channels(
        sampling.guider.model_patcher,
        latent["samples"],
        latent.get("downscale_ratio_spacial"),
        latent.get("downscale_ratio_temporal"),
    )
    noise, done = seed.generate_noise({**latent, "samples": samples}), 0
    for expert in sampling.experts:
        if done:
            samples = taken_up(expert, samples, noise)
        samples = with_clips(expert.guider, clip_of).sample(
            noise,
            samples,
            sampling.sampler,
            expert.sigmas,
            denoise_mask=latent.get("noise_mask"),
            callback=partial(counted_from, done, callback),
            disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
            seed=seed.seed,
        ).to(comfy.model_management.intermediate_device())
        done += len(expert.sigmas) - 1
    return samples


def taken_up(expert: Expert, samples: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """The latent that becomes, under the window's noise, what the expert before left at this one's first σ.

    It left x / (1 − σ), to which ComfyUI's way is to add no noise. But what a noise mask keeps has to be noised as before, so the
    noise stays and is taken out here.
    """
    model, sigma = expert.guider.model_patcher.model, expert.sigmas[0]
    return model.process_latent_out(model.process_latent_in(samples) - noise * sigma / (1 - sigma))


def counted_from(done: int, callback: Callable, step: int, *args) -> None:
    """A sampler's call after a step, told with the steps of the experts before."""
    callback(done + step, *args)
