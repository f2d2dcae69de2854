"""The three hooks of one forward call, in the order in which they run.

`TakeConditions` takes the adapter's conditions out of the call; `EnterBlocks`, in the place of block 0, adds the pose prior
and refines the audio, once per step; `InjectAudio` lets the video hear it after every block's text attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from comfy.ldm.modules.attention import optimized_attention
from comfy.model_patcher import ModelPatcher
from einops import rearrange

from ..adapters import AdapterConfig
from ..grid import video_frames
from .conditions import AUDIO, MOTION, POSE, POSE_GATE, REFERENCE_POSE
from .wan import by_frame, with_addition_to_image

KEY = "apoavatar"
"""Of the adapter's wrappers, and of its `StepConditions` among the `transformer_options`."""


@dataclass
class StepConditions:
    """What the blocks of one forward call need; `refined_audio` is filled by block 0."""

    audio: torch.Tensor | None
    pose: torch.Tensor | None
    pose_gate: torch.Tensor | None
    timestep: torch.Tensor
    refined_audio: torch.Tensor | None = None


class AdapterPatch:
    """The adapter as ComfyUI calls it. `models()` lets ComfyUI load, offload and free it with the backbone."""

    def __init__(self, patcher: ModelPatcher):
        self.patcher = patcher

    def models(self) -> list[ModelPatcher]:
        return [self.patcher]


class TakeConditions(AdapterPatch):
    """DIFFUSION_MODEL wrapper: moves the adapter's conditions from the call into `transformer_options`."""

    def __call__(self, executor, x, timestep, context, clip_fea=None, time_dim_concat=None, transformer_options={}, **kwargs):
        audio, pose, gate, reference = (kwargs.pop(key, None) for key in (AUDIO, POSE, POSE_GATE, REFERENCE_POSE))
        if kwargs.pop(MOTION, None) is not None:
            raise ValueError("This adapter was not trained to go on from earlier frames: choose 'nothing' in continue_from.")
        if audio is not None:
            # Native context windows put the clip's first latent frame before every window but the first.
            anchored = getattr(transformer_options.get("context_window"), "causal_anchor_index", None) is not None
            refuse_other_voices(audio, video_frames(x.shape[2] - anchored), self.patcher.model.config)
        if reference is not None and pose is not None:
            x = self.with_reference_pose(x, reference, gate)
        step = StepConditions(audio, pose, gate, timestep)
        options = {**transformer_options, KEY: step}
        return executor(x, timestep, context, clip_fea, time_dim_concat, options, **kwargs)

    def with_reference_pose(self, x: torch.Tensor, reference: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        """x [B, noise + condition, T_lat, h, w] with the portrait's pose added to the image condition of every frame."""
        adapter = self.patcher.model
        if adapter.config.unianimate_image_channels is None:
            raise ValueError("This adapter has no use for the pose of the reference: leave reference_pose open.")
        return with_addition_to_image(x, adapter.pose_adapter.of_reference(reference.to(x), gate))


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
            f"The clip has {frames} frames but this adapter was trained on {config.window}: shorten it or add a "
            "Context Windows node to the model."
        )


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
        step: StepConditions = args["transformer_options"][KEY]
        adapter = self.patcher.model
        video = by_frame(args["img"], args["transformer_options"])
        if step.pose is not None:
            video = video + adapter.pose_adapter(step.pose.to(video), step.pose_gate.to(video))
        if step.audio is not None:
            attention = partial(optimized_attention, transformer_options=args["transformer_options"])
            step.refined_audio = adapter.refined_audio(step.audio.to(video), video, step.timestep, attention)
        args = {**args, "img": rearrange(video, "b t n d -> b (t n) d")}
        return self.earlier_replacement(args, extra) if self.earlier_replacement else extra["original_block"](args)


class InjectAudio(AdapterPatch):
    """attn2 patch: X ← X + Y in every block (Eq. 7)."""

    def __call__(self, args: dict) -> torch.Tensor:
        options = args["transformer_options"]
        step: StepConditions = options[KEY]
        if step.audio is None:
            return args["x"]
        if step.refined_audio is None:
            raise ValueError(
                "Another node replaced the model's first block after the adapter: apply that node before the adapter."
            )
        video = by_frame(args["x"], options)
        injection = self.patcher.model.injections[options["block_index"]]
        attention = partial(optimized_attention, transformer_options=options)
        return args["x"] + rearrange(injection(video, step.refined_audio, attention), "b t n d -> b (t n) d")
