"""The model under training: a Wan DiT with an ApoAvatar adapter, attached as the node attaches it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ..adapters import AdapterConfig, ApoAvatarAdapter
from ..checkpoints.adapter_file import read_adapter
from ..comfyui import trainable
from ..comfyui.wan import begins_with_portrait, has_clip_vision, has_reference_frame, held_frames, held_latents
from ..data.prepared import PreparedClips
from ..flow_matching import flow_matching_loss, interpolate
from ..grid import video_frames
from .branches import branch_of
from .config import Dimensions, Loss, NewAdapter, TrainingConfig
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
        """noise − data as the model predicts it for x_σ [B, C, T_lat, h, w] at σ [B], in float32. Of latents that adapter or
        backbone hold it is what leads to them: they are predicted as themselves.
        """
        conditions = dict(batch.conditions)
        concat = conditions.pop("c_concat")
        alone = begins_with_portrait(noisy.shape[1])
        holds = alone or self.adapter.config.holds_reference
        given = held_latents(noisy, concat) if holds else noisy
        time = sigma * TIMESTEP_SCALE
        if alone:  # what is given has no noise, and each latent frame is told its own
            seen, time = given, time[:, None] * ~held_frames(concat)
        elif self.dit.in_dim == noisy.shape[1]:  # a text-to-video backbone takes no reference
            seen = noisy
        else:
            seen = torch.cat([given, concat], dim=1)
        predicted = self.dit(seen, time, transformer_options=self.options, **conditions).float()
        return held_velocity(predicted, noisy, concat, sigma) if holds else predicted

    def forward(self, batch: Batch) -> Tensor:
        """The loss, a scalar."""
        prediction = self.velocity(batch, interpolate(batch.data, batch.noise, batch.sigma), batch.sigma)
        weights = loss_weights(batch.data, batch.mouth, self.loss)
        return flow_matching_loss(prediction, batch.data, batch.noise, weights)

    def branch(self, name: str) -> list[tuple[str, nn.Parameter]]:
        """Names and parameters of one of `BRANCHES`, or of `LORA`."""
        return [(key, parameter) for key, parameter in self.named_parameters() if branch_of(key) == name]


def held_velocity(predicted: Tensor, noisy: Tensor, image_condition: Tensor, sigma: Tensor) -> Tensor:
    """The velocity [B, C, T_lat, h, w] with what leads from x_σ to the latents in the place of those that are held."""
    towards = (noisy - held_latents(noisy, image_condition)) / sigma.view(-1, 1, 1, 1, 1)
    return torch.where(held_frames(image_condition)[:, None, :, None, None], towards, predicted)


def build_model(config: TrainingConfig, clips: PreparedClips) -> FlowMatching:
    """The model at the start of a run; random weights follow from the seed.

    Raises:
        ValueError: a file is not what it should be, or backbone, adapter and clips do not belong together.
    """
    torch.manual_seed(config.seed)
    if config.backbone.new:
        dit = new_backbone(config.backbone.new, clips)
    else:
        dit = trainable.load_dit(config.backbone.file)
    model = assemble_model(config, clips, dit)
    known = model.adapter.config
    for rate in clips.rates:
        if not known.fps <= rate <= (known.highest_fps or known.fps):
            raise ValueError(
                f"adapter: {config.adapter.file} is for {known.fps:g} fps and the clips have {rate:g}: prepare with --fps "
                f"{known.fps:g}"
            )
    return model


def planned_model(config: TrainingConfig, clips: PreparedClips) -> FlowMatching:
    """The model on the meta device: its shapes and no weights, from nothing but the header of the backbone's file.

    Raises:
        ValueError: as `build_model`.
    """
    with torch.device("meta"):
        if config.backbone.new:
            dit = new_backbone(config.backbone.new, clips)
        else:
            dit = trainable.planned_dit(config.backbone.file)
        return assemble_model(config, clips, dit)


def new_backbone(dimensions: Dimensions, clips: PreparedClips) -> nn.Module:
    """A DiT with random weights that takes the clips' latents and texts.

    Raises:
        ValueError: it shall see the portrait beside the video, and the clips begin with it.
    """
    if dimensions.reference and begins_with_portrait(clips.channels):
        raise ValueError("backbone.new.reference: models of this VAE are given the portrait as the first latent; leave it out")
    text = clips.clip(0, int(clips.lengths[0]))["text"]
    sizes = dict(dimensions)
    reference = sizes.pop("reference")
    return trainable.new_dit(sizes, *reversed(text.shape), reference=reference, channels=clips.channels)


def assemble_model(config: TrainingConfig, clips: PreparedClips, dit: nn.Module) -> FlowMatching:
    """The model around a backbone, ready to learn what the stages train.

    Raises:
        ValueError: as `build_model`.
    """
    if dit.out_dim != clips.channels:
        raise ValueError(
            f"backbone: it works on latents of {dit.out_dim} channels and the clips' have {clips.channels}: prepare them with "
            "the VAE that belongs to it"
        )
    clip = clips.clip(0, int(clips.lengths[0]))
    if config.backbone.lora_rank:
        trainable.add_lora(dit, config.backbone.lora_rank)
    if config.backbone.recompute:
        trainable.recompute_blocks(dit)
    if has_clip_vision(dit) and "portrait" not in clip:
        raise ValueError("backbone: it wants to look at the portrait; prepare the clips with --clip-vision")
    window = video_frames(max(stage.latent_frames for stage in config.stages))
    audio = (clips.audio_encoder, clip["audio"].shape[-1])
    leading = config.conditions.leading
    refuse_other_leading(leading, dit)
    size = {"width": clips.width, "height": clips.height}
    if config.adapter.new:
        sizes = {**size, "vae_stride": clips.pixels_per_latent}
        adapter = new_adapter(config.adapter.new, dit, audio, window, clips.rates, sizes, leading)
    else:
        adapter = adapter_from_file(config.adapter.file, dit, audio, window, size, leading)
    model = FlowMatching(dit, adapter, config.loss)
    freeze(model, config.trained)
    if config.precision == "bf16":
        keep_frozen_as_computed(dit)
    return model


def refuse_other_leading(leading: Mapping[int, float] | None, dit: nn.Module) -> None:
    """Refuse numbers of given latents with which a backbone would not see the portrait.

    Raises:
        ValueError: with those that will do.
    """
    usable = (0, 1) if begins_with_portrait(dit.out_dim) else (1,)
    if leading and set(leading) - set(usable) and not has_reference_frame(dit):
        raise ValueError(
            "conditions.leading: only a backbone with a ref_conv sees the portrait where it is not the first frame; give "
            f"backbone.new `reference: true`, or leave out all but {' and '.join(map(str, usable))}"
        )


def new_adapter(
    widths: NewAdapter,
    dit: nn.Module,
    audio: tuple[str, int],
    window: int,
    rates: tuple[float, float],
    size: dict[str, int],
    leading: Mapping[int, float] | None,
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
            fps=rates[0],
            highest_fps=rates[1] if rates[1] > rates[0] else None,
            window=window,
            **size,
            normalized_pose=True,
            keys_know_places=True,
            **windows_of(dit, leading),
            **dict(widths),
        )
    )
    adapter.initialize()
    return adapter


def windows_of(dit: nn.Module, leading: Mapping[int, float] | None) -> dict[str, bool | int]:
    """What an adapter's configuration says of how windows follow each other, as this run trains it. A backbone that clips
    begin with the portrait of holds it by itself.
    """
    most = max(leading) if leading and not begins_with_portrait(dit.out_dim) else 0
    return {"holds_reference": most > 0, "leading_latents": most, "reference_latent": has_reference_frame(dit)}


def adapter_from_file(
    path: Path,
    dit: nn.Module,
    audio: tuple[str, int],
    window: int,
    size: dict[str, int],
    leading: Mapping[int, float] | None,
) -> ApoAvatarAdapter:
    """An adapter to go on with, in float32. Its window grows to that of the stages; its size, what is held and what it
    goes on from become what this run trains. A warm start from InfiniteTalk holds the portrait, and goes on, in its own way where
    `leading` is left out.
    """
    config, tensors = read_adapter(path)
    if (config.audio_encoder, config.audio_feature_dim) != audio:
        raise ValueError(
            f"adapter: {path} takes audio features of width {config.audio_feature_dim} from {config.audio_encoder}, and the "
            f"clips hold width {audio[1]} from {audio[0]}: prepare the clips with that encoder"
        )
    windows = windows_of(dit, leading)
    if leading is None and config.holds_reference and not config.leading_latents:
        windows["holds_reference"] = True
    adapter = ApoAvatarAdapter(replace(config, window=max(config.window, window), **size, **windows))
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
