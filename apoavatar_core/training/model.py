"""The model under training: a Wan DiT with an ApoAvatar adapter, attached as the node attaches it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ..adapters import AdapterConfig, ApoAvatarAdapter
from ..checkpoints.adapter_file import read_adapter
from ..comfyui import trainable
from ..comfyui.wan import has_clip_vision
from ..data.prepared import PreparedClips
from ..flow_matching import flow_matching_loss, interpolate
from ..grid import video_frames
from .branches import branch_of
from .config import Loss, NewAdapter, TrainingConfig
from .examples import Batch
from .loss import loss_weights

TIMESTEP_SCALE = 1000.0
"""ComfyUI's flow models see σ · 1000."""


class FlowMatching(nn.Module):
    """DiT and adapter with the loss of Eq. 1 as forward pass, so that DDP and FSDP see one call."""

    _no_split_modules = ["WanAttentionBlock", "AudioInjection"]
    """What FSDP gathers one at a time, by accelerate's convention; all else together."""

    def __init__(self, dit: nn.Module, adapter: ApoAvatarAdapter, loss: Loss):
        super().__init__()
        self.dit, self.adapter, self.loss = dit, adapter, loss
        self.options = trainable.attached(dit, adapter)

    def velocity(self, batch: Batch, noisy: Tensor, sigma: Tensor) -> Tensor:
        """noise − data as the model predicts it for x_σ [B, 16, T_lat, h, w] at σ [B], in float32."""
        # A text-to-video backbone takes no reference.
        seen = noisy if self.dit.in_dim == noisy.shape[1] else torch.cat([noisy, batch.concat], dim=1)
        return self.dit(
            seen,
            sigma * TIMESTEP_SCALE,
            batch.text,
            batch.portrait,
            transformer_options=self.options,
            apoavatar_audio=batch.audio,
            apoavatar_pose=batch.pose,
            apoavatar_pose_gate=batch.pose_gate,
        ).float()

    def forward(self, batch: Batch) -> Tensor:
        """The loss, a scalar."""
        prediction = self.velocity(batch, interpolate(batch.data, batch.noise, batch.sigma), batch.sigma)
        weights = loss_weights(batch.data, batch.mouth, self.loss)
        return flow_matching_loss(prediction, batch.data, batch.noise, weights)

    def branch(self, name: str) -> list[tuple[str, nn.Parameter]]:
        """Names and parameters of one of `BRANCHES`, or of `LORA`."""
        return [(key, parameter) for key, parameter in self.named_parameters() if branch_of(key) == name]


def build_model(config: TrainingConfig, clips: PreparedClips) -> FlowMatching:
    """The model at the start of a run; random weights follow from the seed.

    Raises:
        ValueError: a file is not what it should be, or backbone, adapter and clips do not belong together.
    """
    torch.manual_seed(config.seed)
    if config.backbone.new:
        text = clips.clip(0, int(clips.lengths[0]))["text"]
        dit = trainable.new_dit(dict(config.backbone.new), *reversed(text.shape))
    else:
        dit = trainable.load_dit(config.backbone.file)
    model = assemble_model(config, clips, dit)
    fps = model.adapter.config.fps
    if fps != clips.fps:
        raise ValueError(
            f"adapter: {config.adapter.file} is for {fps:g} fps and the clips have {clips.fps:g}: prepare with --fps {fps:g}"
        )
    return model


def planned_model(config: TrainingConfig, clips: PreparedClips) -> FlowMatching:
    """The model on the meta device: its shapes and no weights, from nothing but the header of the backbone's file.

    Raises:
        ValueError: as `build_model`.
    """
    with torch.device("meta"):
        if config.backbone.new:
            text = clips.clip(0, int(clips.lengths[0]))["text"]
            dit = trainable.new_dit(dict(config.backbone.new), *reversed(text.shape))
        else:
            dit = trainable.planned_dit(config.backbone.file)
        return assemble_model(config, clips, dit)


def assemble_model(config: TrainingConfig, clips: PreparedClips, dit: nn.Module) -> FlowMatching:
    """The model around a backbone, ready to learn what the stages train."""
    clip = clips.clip(0, int(clips.lengths[0]))
    if config.backbone.lora_rank:
        trainable.add_lora(dit, config.backbone.lora_rank)
    if config.backbone.recompute:
        trainable.recompute_blocks(dit)
    if has_clip_vision(dit) and "portrait" not in clip:
        raise ValueError("backbone: it wants to look at the portrait; prepare the clips with --clip-vision")
    window = video_frames(int(clips.lengths.max()))
    audio = (clips.audio_encoder, clip["audio"].shape[-1])
    if config.adapter.new:
        adapter = new_adapter(config.adapter.new, dit, audio, window, clips.fps)
    else:
        adapter = adapter_from_file(config.adapter.file, audio, window)
    model = FlowMatching(dit, adapter, config.loss)
    freeze(model, config.trained)
    if config.precision == "bf16":
        keep_frozen_as_computed(dit)
    return model


def new_adapter(
    widths: NewAdapter, dit: nn.Module, audio: tuple[str, int], window: int, fps: float
) -> ApoAvatarAdapter:
    """An adapter for this backbone, and for this audio encoder's name and width, that leaves the output as it is."""
    adapter = ApoAvatarAdapter(
        AdapterConfig(
            backbone_dim=dit.dim,
            backbone_layers=len(dit.blocks),
            backbone_in_channels=dit.in_dim,
            heads=dit.num_heads,
            refining_heads=math.gcd(dit.num_heads, widths.audio_dim),
            audio_encoder=audio[0],
            audio_feature_dim=audio[1],
            fps=fps,
            window=window,
            **dict(widths),
        )
    )
    adapter.initialize()
    return adapter


def adapter_from_file(path: Path, audio: tuple[str, int], window: int) -> ApoAvatarAdapter:
    """An adapter to go on with, in float32. Its window grows to that of the clips, and the reference is no longer held:
    training sees it with noise like the other latents.
    """
    config, tensors = read_adapter(path)
    if (config.audio_encoder, config.audio_feature_dim) != audio:
        raise ValueError(
            f"adapter: {path} takes audio features of width {config.audio_feature_dim} from {config.audio_encoder}, and the "
            f"clips hold width {audio[1]} from {audio[0]}: prepare the clips with that encoder"
        )
    adapter = ApoAvatarAdapter(replace(config, window=max(config.window, window), holds_reference=False))
    adapter.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return adapter


def freeze(model: FlowMatching, learning: set[str]) -> None:
    """Let these branches learn and no other."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(branch_of(name) in learning)


def keep_frozen_as_computed(dit: nn.Module) -> None:
    """Keep what does not learn of the linear layers and convolutions in bf16, to which autocast rounds it anyway."""
    for module in dit.modules():
        if isinstance(module, (nn.Linear, nn.Conv3d)):
            for parameter in module.parameters(recurse=False):
                if not parameter.requires_grad:
                    parameter.data = parameter.data.bfloat16()


def drop_gradients(model: FlowMatching, learning: tuple[str, ...]) -> None:
    """Forget the gradients of the branches that rest in this stage.

    What needs gradients is settled for the whole run: DDP and FSDP don't take it back.
    """
    for name, parameter in model.named_parameters():
        if branch_of(name) not in learning:
            parameter.grad = None
