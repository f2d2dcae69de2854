"""What a clip is made from, as ComfyUI's objects give it: each value is made by one function, and `values_of` puts them
together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import comfy.model_management
import torch
from comfy_extras.nodes_wan import Wan22ImageToVideoLatent

from ..conditioning.clip import ClipShape
from ..conditioning.portrait import reference_film, reference_mask
from ..conditioning.pose import (
    Pose,
    PoseDial,
    PoseFilm,
    grouped_frames,
    grouped_gate,
    held,
    open_gate,
    part_for,
    refocused_gate,
)
from ..conditioning.voice import Voice, voice_windows
from ..grid import latent_frames
from . import conditions
from .pictures import drawn, fitted
from .wan import begins_with_portrait


@dataclass(frozen=True)
class Earlier:
    """What came before a clip, when it goes on from a film.

    Attributes:
        latents: [1, C, k, h, w] of the film's last frames, which the clip begins with; None at the start of a film.
        overlap: how many frames they are.
        start: the frame of the film with which the clip begins.
    """

    latents: torch.Tensor | None = None
    overlap: int = 0
    start: int = 0


@dataclass(frozen=True)
class Portrait:
    """Who speaks.

    Attributes:
        latent: LATENT that the sampler begins with.
        values: what the model is told of the portrait, by the names of ComfyUI's own image-to-video nodes.
    """

    latent: dict[str, Any]
    values: dict[str, Any] = field(default_factory=dict)

    def cut(self, frames: int) -> Portrait:
        """The same for a clip of so many frames, at most as many as this one has: the causal VAE codes a clip's beginning
        as it does a shorter clip.
        """
        values = dict(self.values)
        for name in TIMED & values.keys():
            values[name] = values[name][:, :, : latent_frames(frames)]
        timed = {name: tensor[:, :, : latent_frames(frames)] for name, tensor in self.latent.items() if name in TIMED_LATENT}
        return Portrait({**self.latent, **timed}, values)


TIMED, TIMED_LATENT = {"concat_latent_image", "concat_mask"}, {"samples", "noise_mask"}
"""What of a portrait has a place for every latent frame."""


@dataclass(frozen=True)
class ClipValues:
    """What one clip's CONDITIONING holds beside its text, and what it begins with.

    Attributes:
        values: by the names of ComfyUI's own nodes.
        tensors: the adapter's conditions, by name.
        latent: LATENT that the sampler begins with.
    """

    values: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    latent: dict[str, Any]


def earlier_frames(frames: torch.Tensor, overlap: int, vae, width: int, height: int) -> Earlier:
    """The end of a film (IMAGE, the whole of it) for a clip that begins with its last `overlap` frames.

    Raises:
        ValueError: the film is shorter.
    """
    if frames.shape[0] < overlap:
        raise ValueError(
            f"previous_frames has {frames.shape[0]} frames but {overlap} go before the clip: give the whole video so far, "
            "or set motion_frames lower."
        )
    return Earlier(vae.encode(fitted(frames[-overlap:], width, height)), overlap, frames.shape[0] - overlap)


def portrait_in(clip: ClipShape, vae, image: torch.Tensor | None, clip_vision_output=None) -> Portrait:
    """The first of the pictures (IMAGE, or None to invent a person), where the models of this VAE look for it: Wan 2.2's 5B
    in the latent itself, others in an image condition beside it, and those with a `ref_conv` in a frame of tokens of its own.
    """
    values = {} if clip_vision_output is None else {"clip_vision_output": clip_vision_output}
    if begins_with_portrait(vae.latent_channels):
        first = None if image is None else image[:1, ..., :3]
        return Portrait(Wan22ImageToVideoLatent.execute(vae, clip.width, clip.height, clip.frames, 1, first).result[0], values)
    if image is not None:
        latents = vae.encode(reference_film(fitted(image[:1], clip.width, clip.height), clip.frames))
        # The causal VAE codes the first frame alone, so it is the latent of the portrait whatever follows.
        values |= {
            "concat_latent_image": latents, "concat_mask": reference_mask(latents), "reference_latents": [latents[:, :, :1]],
        }
    return Portrait({"samples": empty_latents(clip, vae)}, values)


def empty_latents(clip: ClipShape, vae) -> torch.Tensor:
    """[1, C, T_lat, h, w] of zeros."""
    stride = vae.spacial_compression_encode()
    size = (vae.latent_channels, latent_frames(clip.frames), clip.height // stride, clip.width // stride)
    return torch.zeros(1, *size, device=comfy.model_management.intermediate_device())


def pose_of(film: PoseFilm, clip: ClipShape) -> Pose:
    """The part of a film's pose that a clip has, drawn at its size."""
    frames = held(drawn(part_for(film, clip), clip.width, clip.height, film.crop), clip.frames)
    gate = open_gate(clip) if film.gate is None else refocused_gate(film.gate, clip)
    reference = None if film.reference is None else drawn(film.reference, clip.width, clip.height, film.crop)
    return Pose(frames, gate, reference, film.dial)


def values_of(clip: ClipShape, vae, voice: Voice, pose: Pose | None, portrait: Portrait, earlier: Earlier) -> ClipValues:
    """All that is known of a clip."""
    tensors = {conditions.AUDIO: voice_windows(voice, clip.frames, clip.fps, clip.start)[None]}
    if pose is not None:
        tensors[conditions.POSE] = grouped_frames(pose.frames)[None]
        tensors[conditions.POSE_GATE] = grouped_gate(pose.gate)[None]
        if pose.dial != PoseDial():
            tensors[conditions.POSE_DIAL] = torch.tensor([[pose.dial.strength, pose.dial.start, pose.dial.end]])
        if pose.reference is not None:
            tensors[conditions.REFERENCE_POSE] = pose.reference.movedim(-1, 1)[:, :, None]
    if earlier.latents is not None:
        tensors[conditions.MOTION] = earlier.latents
    size = {conditions.CLIP_SIZE: (clip.width, clip.height)}
    values = {**portrait.values, conditions.LATENT_CHANNELS: vae.latent_channels, **size}
    return ClipValues(values, tensors, portrait.latent)
