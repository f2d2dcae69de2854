"""The hooks of a sampling, in the order in which they run.

`EmbedPoses` embeds the poses once, before the first step, and tells between which σ they act. Then, in each forward call:
`TakeConditions` takes the adapter's conditions out of the call; `EnterBlocks`, in the place of block 0, adds the pose prior
and refines the audio, once per step; `InjectAudio` lets the video hear it after every block's text attention.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import cycle

import comfy.model_management
import torch
from comfy.ldm.modules.attention import optimized_attention
from comfy.model_patcher import ModelPatcher
from comfy.utils import repeat_to_batch_size

from ..adapters import AdapterConfig, ApoAvatarAdapter
from ..grid import video_frames
from .conditions import (
    AUDIO,
    EMBEDDED,
    POSE,
    POSE_DIAL,
    POSE_GATE,
    POSE_SIGMAS,
    REFERENCE_LATENT,
    REFERENCE_POSE,
    SharedCondition,
)
from .wan import by_frame, has_reference_frame, with_addition_to_image

KEY = "apoavatar"
"""Of the adapter's wrappers, and of its `StepConditions` among the `transformer_options`."""


@dataclass
class StepConditions:
    """What the blocks of one forward call need; `refined_audio` is filled by block 0, `pose` is its embedding, `pose_factor` [B]
    how strongly it acts now (None as it was trained), `reference` whether a frame of the portrait's tokens, without voice and pose,
    comes before the video's.
    """

    audio: torch.Tensor | None
    pose: torch.Tensor | None
    pose_gate: torch.Tensor | None
    pose_factor: torch.Tensor | None
    timestep: torch.Tensor
    reference: bool
    refined_audio: torch.Tensor | None = None


class AdapterPatch:
    """The adapter as ComfyUI calls it. `models()` lets ComfyUI load, offload and free it with the backbone."""

    def __init__(self, patcher: ModelPatcher):
        self.patcher = patcher

    def models(self) -> list[ModelPatcher]:
        return [self.patcher]


def embedded_poses(
    adapter: ApoAvatarAdapter, conditions: Mapping[str, torch.Tensor], device: torch.device, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """The embeddings of what there is of POSE (with its POSE_GATE) and REFERENCE_POSE, under the names of EMBEDDED.

    Raises:
        ValueError: the adapter has no use for the pose of the reference.
    """
    found = {}
    if POSE in conditions:
        gate = repeat_to_batch_size(conditions[POSE_GATE], len(conditions[POSE]))
        found[EMBEDDED[POSE]] = adapter.pose_adapter.merged(conditions[POSE], gate, device, dtype)
    if REFERENCE_POSE in conditions:
        if adapter.config.unianimate_image_channels is None:
            raise ValueError("This adapter has no use for the pose of the reference: leave reference_pose open.")
        reference = conditions[REFERENCE_POSE].to(device, dtype)
        found[EMBEDDED[REFERENCE_POSE]] = adapter.pose_adapter.embedded_reference(reference)
    return found


class EmbedPoses(AdapterPatch):
    """PREPARE_SAMPLING wrapper: embeddings take the place of the pose pictures, once for all steps and states.

    ComfyUI is told what it takes, as it is when a VAE encodes; and because the backbone is loaded afterwards, the embeddings
    are among what ComfyUI finds in use when it decides how much of the backbone fits.
    """

    def __call__(self, executor, model: ModelPatcher, noise_shape, conds: dict[str, list[dict]], *args, **kwargs):
        known: dict[tuple[tuple[str, int], ...], dict[str, SharedCondition]] = {}

        def embedded(condition: dict) -> dict:
            given = condition["model_conds"]
            if given.keys().isdisjoint(EMBEDDED):
                return condition
            poses = {key: given[key].cond for key in (*EMBEDDED, POSE_GATE) if key in given}
            same = tuple((key, id(tensor)) for key, tensor in poses.items())  # as in positive and negative
            if same not in known:
                known[same] = self.embed(poses, model)
            rest = {key: value for key, value in given.items() if key not in (*EMBEDDED, POSE_DIAL)}
            if POSE_DIAL in given:
                rest[POSE_SIGMAS] = given[POSE_DIAL]._copy_with(in_sigmas(given[POSE_DIAL].cond, model))
            return {**condition, "model_conds": rest | known[same]}

        conds = {name: [embedded(condition) for condition in conditions] for name, conditions in conds.items()}
        return executor(model, noise_shape, conds, *args, **kwargs)

    def embed(self, poses: dict[str, torch.Tensor], model: ModelPatcher) -> dict[str, SharedCondition]:
        """Their embeddings on the device and in the precision in which the model computes."""
        dtype = model.model.get_dtype_inference()
        adapter, pictures = self.patcher.model, (poses[key] for key in EMBEDDED if key in poses)
        numbers = sum(adapter.pose_adapter.numbers_to_merge(few.shape) for few in pictures)
        comfy.model_management.load_models_gpu(
            [self.patcher], memory_required=numbers * comfy.model_management.dtype_size(dtype)
        )
        found = embedded_poses(adapter, poses, model.load_device, dtype)
        return {key: SharedCondition(tensor) for key, tensor in found.items()}


def in_sigmas(dial: torch.Tensor, model: ModelPatcher) -> torch.Tensor:
    """POSE_DIAL with its shares of the sampling as σ of this model: [B, 3]."""
    sigma = model.get_model_object("model_sampling").percent_to_sigma
    return torch.tensor([[strength, sigma(start), sigma(end)] for strength, start, end in dial.tolist()])


def pose_factor(dial: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
    """How strongly each pose acts at σ: POSE_SIGMAS [B, 3] → [B]. Outside its part of the sampling not at all."""
    strength, first, last = dial.to(sigmas.device, torch.float32).unbind(1)
    now = sigmas.float().max()
    return strength * ((last <= now) & (now <= first))


class TakeConditions(AdapterPatch):
    """DIFFUSION_MODEL wrapper: moves the adapter's conditions from the call into `transformer_options`."""

    def __call__(self, executor, x, timestep, context, clip_fea=None, time_dim_concat=None, transformer_options={}, **kwargs):
        kwargs |= embedded_poses(self.patcher.model, kwargs, x.device, x.dtype)  # pictures where no sampler calls: in training
        kwargs = {key: value for key, value in kwargs.items() if key not in EMBEDDED}
        names = (AUDIO, EMBEDDED[POSE], POSE_GATE, EMBEDDED[REFERENCE_POSE])
        audio, pose, gate, reference = (kwargs.pop(name, None) for name in names)
        dial = kwargs.pop(POSE_SIGMAS, None)
        factor = None if dial is None else pose_factor(dial, transformer_options["sigmas"])
        if audio is not None:
            # Native context windows put the clip's first latent frame before every window but the first.
            anchored = getattr(transformer_options.get("context_window"), "causal_anchor_index", None) is not None
            refuse_other_voices(audio, video_frames(x.shape[2] - anchored), self.patcher.model.config)
        if reference is not None and pose is not None:
            reference = repeat_to_batch_size(reference, len(x))
            prior = self.patcher.model.pose_adapter.reference_prior(reference, gate)
            x = with_addition_to_image(x, prior if factor is None else prior * as_factors(factor, prior))
        beside = has_reference_frame(executor.class_obj)
        if beside:
            kwargs |= reference_frame(kwargs, x, executor.class_obj.ref_conv.in_channels, self.patcher.model.config)
        step = StepConditions(audio, pose, gate, factor, timestep, reference=beside and REFERENCE_LATENT in kwargs)
        options = {**transformer_options, KEY: step}
        return executor(x, timestep, context, clip_fea, time_dim_concat, options, **kwargs)


def reference_frame(
    conditions: Mapping[str, torch.Tensor], x: torch.Tensor, channels: int, config: AdapterConfig
) -> dict[str, torch.Tensor]:
    """The reference latent [B, channels, h, w] of one forward call on x [B, C, T_lat, h, w]: that of the call; without one ∅, if
    the adapter was trained with it.

    Raises:
        ValueError: it has not the clip's height and width.
    """
    if REFERENCE_LATENT not in conditions:
        return {REFERENCE_LATENT: x.new_zeros(len(x), channels, *x.shape[3:])} if config.reference_latent else {}
    found = conditions[REFERENCE_LATENT]
    if found.shape[2:] != x.shape[3:]:  # ComfyUI's context windows take its rows for frames if there are as many of them
        raise ValueError(
            "The portrait's reference latent is {}×{} and the clip's latents are {}×{}: make it for the clip's size, or, with "
            "context windows, let the clip be four frames longer.".format(*found.shape[2:], *x.shape[3:])
        )
    return {REFERENCE_LATENT: found}


def refuse_other_voices(audio: torch.Tensor, frames: int, config: AdapterConfig) -> None:
    """Refuse audio features [B, 8, T_lat, D] and clip lengths that the adapter was not trained on.

    Raises:
        ValueError: with both sides' numbers.
    """
    if audio.shape[-1] != config.audio_feature_dim:
        raise ValueError(
            f"The audio features are {audio.shape[-1]} wide but this adapter takes {config.audio_feature_dim} from "
            f"{config.audio_encoder}: use the audio encoder that belongs to the adapter."
        )
    if frames > config.window:
        raise ValueError(
            f"The clip has {frames} frames but this adapter was trained on {config.window}: shorten it, sample it with Long Video, or "
            f"put Wan Context Windows behind the model, with context_length {config.window}, context_overlap 16, "
            "standard_static and retain_first_frame."
        )


def step_conditions(transformer_options: dict) -> StepConditions:
    """What `TakeConditions` left there.

    Raises:
        ValueError: it was not called.
    """
    if KEY not in transformer_options:
        raise ValueError(
            "The model was called without the wrappers of its MODEL, so the adapter got no voice and no pose: sample it with "
            "ComfyUI's own samplers and guiders or call it through them."
        )
    return transformer_options[KEY]


def as_factors(factor: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """[B] → [B, 1, …, 1], to multiply values [B, …] with."""
    return factor.to(values).view(-1, *[1] * (values.ndim - 1))


def add_pose_prior(
    video: torch.Tensor, pose: torch.Tensor, gate: torch.Tensor, adapter: ApoAvatarAdapter, factor: torch.Tensor | None = None
) -> None:
    """Add the prior of the embedded pose to video tokens [B, T_lat, N_v, d], where its gate [B, 4, T_lat] is not null.

    In place, for the model holds on to these tokens while block 0 runs; and one clip and state after the other, so that one
    prior is freed before the next is made.

    Args:
        pose: [N, C, T_lat, h, w] of the N clips that each state of the batch has; or of one that is the same for all.
        factor: [B], how strongly it acts; None for 1.
    """
    for clip, (embedded, opening) in enumerate(zip(cycle(pose.to(video).split(1)), gate.split(1))):
        prior = adapter.pose_adapter.prior(embedded, opening)
        video[clip : clip + 1] += prior if factor is None else prior * factor[clip].to(prior)


def with_video(tokens: torch.Tensor, video: torch.Tensor) -> torch.Tensor:
    """The model's tokens [B, N, d] with those of the video [B, T_lat, N_v, d] in the place of the last T_lat·N_v."""
    video = video.flatten(1, 2)
    first = tokens.shape[1] - video.shape[1]
    return torch.cat([tokens[:, :first], video], dim=1) if first else video


class EnterBlocks(AdapterPatch):
    """Replacement of block 0, once per step: add the pose prior, run the Audio DiT adapter, go on."""

    def __init__(self, patcher: ModelPatcher, earlier_replacement):
        super().__init__(patcher)
        self.earlier_replacement = earlier_replacement

    def models(self) -> list[ModelPatcher]:
        return super().models() + (
            self.earlier_replacement.models() if hasattr(self.earlier_replacement, "models") else []
        )

    def __call__(self, args: dict, extra: dict) -> dict:
        step = step_conditions(args["transformer_options"])
        adapter = self.patcher.model
        video = by_frame(args["img"], args["transformer_options"], step.reference)
        if step.pose is not None and torch.is_grad_enabled():
            # What comes before block 0 keeps its result for the backward pass.
            video = video.clone()
            add_pose_prior(video, step.pose, step.pose_gate, adapter, step.pose_factor)
            args = {**args, "img": with_video(args["img"], video)}
        elif step.pose is not None:
            add_pose_prior(video, step.pose, step.pose_gate, adapter, step.pose_factor)
        if step.audio is not None:
            attention = partial(optimized_attention, transformer_options=args["transformer_options"])
            _, *grid = args["transformer_options"]["grid_sizes"]
            step.refined_audio = adapter.refined_audio(step.audio.to(video), video, step.timestep, attention, grid)
        return self.earlier_replacement(args, extra) if self.earlier_replacement else extra["original_block"](args)


class InjectAudio(AdapterPatch):
    """attn2 patch: X ← X + Y in every block (Eq. 7)."""

    def __call__(self, args: dict) -> torch.Tensor:
        options = args["transformer_options"]
        step = step_conditions(options)
        if step.audio is None:
            return args["x"]
        if step.refined_audio is None:
            raise ValueError(
                "Another node replaced the model's first block after the adapter: apply that node before the adapter."
            )
        video = by_frame(args["x"], options, step.reference)
        injection = self.patcher.model.injections[options["block_index"]]
        attention = partial(optimized_attention, transformer_options=options)
        heard = injection(video, step.refined_audio, attention).flatten(1, 2)
        first = args["x"].shape[1] - heard.shape[1]  # tokens of the reference frame, which hears nothing
        if first == 0:
            return args["x"] + heard
        return torch.cat([args["x"][:, :first], args["x"][:, first:] + heard], dim=1)
