"""One window of a film through the user's own guider, noise and sampler, as Sampler Custom (Advanced) runs one clip."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import comfy.model_management
import comfy.sample
import comfy.utils
import node_helpers
import torch

from ..adapters import AdapterConfig
from ..grid import video_frames
from .clip_values import ClipValues, Earlier
from .conditions import MOTION, with_conditions
from .film import FILM, Film, film_in

SHORTEST_LEARNED = 5
"""Frames, two latents: fewer are the portrait's own (see `continuing.refuse_other_lengths`)."""


@dataclass(frozen=True)
class Sampling:
    """What Sampler Custom (Advanced) takes beside a latent: NOISE, GUIDER, SAMPLER, SIGMAS."""

    noise: Any
    guider: Any
    sampler: Any
    sigmas: torch.Tensor


@dataclass(frozen=True)
class GoingOn:
    """How the windows of a film follow each other.

    Attributes:
        window: frames of one, 4n + 1.
        overlap: of the window before with which a window begins, 4n + 1.
        learned: the adapter learned to go on from earlier frames. Else they are given as in native inpainting.
    """

    window: int
    overlap: int
    learned: bool


def going_on(adapter: AdapterConfig, window: int, motion_frames: int) -> GoingOn:
    """What this adapter makes of windows of at most so many frames that begin with at most so many earlier ones."""
    window = min(window, adapter.window)
    learned = adapter.holds_reference and adapter.leading_latents != 1
    overlap = min(motion_frames, window - 4)
    if learned and adapter.leading_latents:
        overlap = min(max(overlap, SHORTEST_LEARNED), video_frames(adapter.leading_latents))
    return GoingOn(window, overlap, learned)


def film_of(guider) -> Film:
    """The film that the conditioning of a GUIDER is of.

    Raises:
        ValueError: it comes from other nodes.
    """
    film = film_in(condition for conditions in guider.original_conds.values() for condition in conditions)
    if film is None:
        raise ValueError("The guider's conditioning is not of ApoAvatar Conditioning: connect that node's outputs to the guider.")
    return film


def with_clip(guider, clip: ClipValues):
    """A copy of a GUIDER for another clip of its film: texts, hooks and whatever other nodes added stay."""
    found = copy.copy(guider)
    found.original_conds = {}
    found.inner_set_conds({name: _of_clip(conditions, clip) for name, conditions in guider.original_conds.items()})
    return found


def _of_clip(conditions: list[dict], clip: ClipValues) -> list:
    """Conditions as a GUIDER keeps them → CONDITIONING."""
    told = []
    for condition in conditions:
        extras = {name: value for name, value in condition.items() if name not in ("cross_attn", "uuid")}
        entry = [[condition.get("cross_attn"), extras]]
        if FILM in condition:
            others = {name: value for name, value in extras["model_conds"].items() if not name.startswith("apoavatar_")}
            entry = node_helpers.conditioning_set_values(entry, {**clip.values, "model_conds": others})
            entry = with_conditions(entry, clip.tensors)
        told += entry
    return told


def given_as_inpainting(clip: ClipValues, latents: torch.Tensor) -> ClipValues:
    """A clip for a model that did not learn to go on: its first latents are these, kept as ComfyUI's inpainting keeps what
    a noise mask leaves out. The image condition stays the portrait's: with the film's own last frame there, colours drift by
    twice as much from window to window.
    """
    count = latents.shape[2]
    samples = clip.latent["samples"].clone()
    samples[:, :, :count] = latents.to(samples)
    mask = torch.ones_like(samples[:, :1])
    mask[:, :, :count] = 0
    tensors = {name: tensor for name, tensor in clip.tensors.items() if name != MOTION}
    return replace(clip, tensors=tensors, latent={**clip.latent, "samples": samples, "noise_mask": mask})


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


def sample_window(
    sampling: Sampling, film: Film, how: GoingOn, frames: int, index: int, earlier: Earlier, callback: Callable
) -> torch.Tensor:
    """Latents [1, C, T_lat, h, w] of a window of so many frames that goes on from what came before."""
    clip = film.clip(frames, earlier)
    given = earlier.latents
    if given is not None and not how.learned:
        clip = given_as_inpainting(clip, given)
    guider, latent, noise = with_clip(sampling.guider, clip), clip.latent, seeded(sampling.noise, index)
    samples = comfy.sample.fix_empty_latent_channels(
        guider.model_patcher,
        latent["samples"],
        latent.get("downscale_ratio_spacial"),
        latent.get("downscale_ratio_temporal"),
    )
    made = guider.sample(
        noise.generate_noise({**latent, "samples": samples}),
        samples,
        sampling.sampler,
        sampling.sigmas,
        denoise_mask=latent.get("noise_mask"),
        callback=callback,
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=noise.seed,
    ).to(comfy.model_management.intermediate_device())
    if given is not None:  # exactly they, so that the VAE decodes what follows as their continuation
        made = torch.cat([given.to(made), made[:, :, given.shape[2] :]], dim=2)
    return made
