"""The adapter's conditions as ComfyUI carries them, and ∅: the null of each modality in Eq. 8, for inference and training.

They travel as `model_conds`, so ComfyUI batches, slices (context windows) and splits them like its own, and arrive as
keyword arguments of the diffusion model's forward call.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import comfy.conds
import torch

AUDIO = "apoavatar_audio"
"""[B, 8, T_lat, D] encoder features around each latent frame."""
POSE = "apoavatar_pose"
"""[B, 12, T_lat, H, W] four RGB frames in 0 … 1 a latent frame."""
POSE_GATE = "apoavatar_pose_gate"
"""[B, 4, T_lat] weight of each of them."""
POSE_DIAL = "apoavatar_pose_dial"
"""[B, 3] factor of the pose prior, and from which to which share of the sampling there is one; only where it is not (1, 0, 1)."""
POSE_SIGMAS = "apoavatar_pose_sigmas"
"""In its place from the beginning of a sampling on: [B, 3], the shares as this model's σ, the larger first."""
REFERENCE_POSE = "apoavatar_reference_pose"
"""[B, 3, 1, H, W] in 0 … 1."""
EMBEDDED = {POSE: "apoavatar_embedded_pose", REFERENCE_POSE: "apoavatar_embedded_reference_pose"}
"""In the place of these pictures from the beginning of a sampling on (`EmbedPoses`): what the adapter's pose model makes of
them that no step changes. Time stays on dimension 2.
"""
MOTION = "apoavatar_motion"
"""[B, C, k, h, w] latents of earlier frames, in the VAE's own scale, that the clip goes on from."""
LATENT_CHANNELS = "apoavatar_latent_channels"
"""Of the VAE that the conditioning was made with."""
CLIP_SIZE = "apoavatar_clip_size"
"""Width and height in pixels that the conditioning was made for."""
REFERENCE_LATENT = "reference_latent"
"""ComfyUI's own: [B, 16, h, w], the latent of the portrait alone, for models with a `ref_conv`."""
IMAGE_KEYS = ("concat_latent_image", "clip_vision_output", "reference_latents")
"""Where the native conditioning nodes put what is known of the portrait."""

ZEROED = {"image": ("c_concat", "clip_fea", REFERENCE_LATENT), "audio": (AUDIO,), "pose": (POSE_GATE,)}
"""∅ of a modality: these conditions are zero. Their shapes stay, so that all states run as one batch. MOTION stays in every
state: how a film goes on from its own frames is nothing that Eq. 8 weighs.

∅ text is no zero but another text: the negative prompt at inference, the encoder's embedding of "" in training.
"""

Condition = TypeVar("Condition")


class SharedCondition(comfy.conds.CONDRegular):
    """A condition that is the same in every state of a batch and arrives once for all of them: [1, …], or [N, …] for N clips."""

    def process_cond(self, batch_size, **kwargs):
        return self if len(self.cond) == 1 else super().process_cond(batch_size, **kwargs)

    def can_concat(self, other):
        return self.cond is other.cond or (super().can_concat(other) and torch.equal(self.cond, other.cond))

    def concat(self, others):
        return self.cond


def with_nulls(
    conditions: Mapping[str, Condition], kept: Iterable[str], zero: Callable[[Condition], Condition] = torch.zeros_like
) -> dict[str, Condition]:
    """The conditions of one state of Eq. 8, text apart: modalities that are not kept become ∅.

    Args:
        conditions: of one forward call, by the names of its keyword arguments.
        kept: modalities that stay.
        zero: makes a condition of zeros from one of these.
    """
    kept = frozenset(kept)
    null = {key for modality, keys in ZEROED.items() if modality not in kept for key in keys}
    return {key: zero(condition) if key in null else condition for key, condition in conditions.items()}


def with_conditions(conditioning: list, tensors: dict[str, torch.Tensor]) -> list:
    """CONDITIONING with the adapter's tensors (keys AUDIO, POSE, POSE_GATE …) among its model conditions."""
    conditions = {key: comfy.conds.CONDRegular(tensor) for key, tensor in tensors.items()}
    return [
        [text, {**extras, "model_conds": {**extras.get("model_conds", {}), **conditions}}] for text, extras in conditioning
    ]


def modalities_in(conditions: list[dict]) -> frozenset[str]:
    """Which of Eq. 8's modalities a prepared condition carries; text always counts."""
    present = {"text"}
    for condition in conditions:
        present |= {"audio"} if AUDIO in condition["model_conds"] else set()
        present |= {"pose"} if POSE_GATE in condition["model_conds"] else set()
        present |= {"image"} if any(key in condition for key in IMAGE_KEYS) else set()
    return frozenset(present)


def keep_modalities(positive: list[dict], negative: list[dict], kept: Iterable[str]) -> list[dict]:
    """The prepared condition of one state of Eq. 8: modalities that are not kept become ∅ (see `ZEROED`)."""
    kept = frozenset(kept)
    return [
        {
            **condition,
            "model_conds": with_nulls(condition["model_conds"], kept, _zeroed),
            # A state is a condition of its own: EasyCache and the like keep their books by uuid.
            "uuid": uuid.uuid5(condition["uuid"], ",".join(sorted(kept))),
        }
        for condition in (positive if "text" in kept else negative)
    ]


def _zeroed(condition: comfy.conds.CONDRegular) -> comfy.conds.CONDRegular:
    return condition._copy_with(torch.zeros_like(condition.cond))
