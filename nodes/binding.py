"""Attach an ApoAvatar adapter to a MODEL that ComfyUI loaded. The only file that touches ComfyUI's model internals.

Conditions travel as `model_conds` tensors, so ComfyUI batches, slices (context windows) and splits them like its own.
A DIFFUSION_MODEL wrapper takes them out of the call; a replacement of block 0 adds the pose prior and refines the
audio once per step; an attn2 patch injects the audio after every block's text attention.

No relative imports: the training command loads this file by path, so that both run the same code.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import comfy.conds
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.patcher_extension
import comfy.sd
import comfy.supported_models_base
import comfy.text_encoders.wan
import comfy.utils
import torch
from comfy.ldm.modules.attention import optimized_attention
from comfy.ldm.wan.model import WanModel
from einops import rearrange

KEY = "apoavatar"
AUDIO = "apoavatar_audio"  # [B, 8, T_lat, D] encoder features around each latent frame
POSE = "apoavatar_pose"  # [B, 12, T_lat, H, W] four RGB frames in 0 … 1 a latent frame
POSE_GATE = "apoavatar_pose_gate"  # [B, 4, T_lat] weight of each of them
REFERENCE_POSE = "apoavatar_reference_pose"  # [B, 3, 1, H, W] in 0 … 1
MOTION = "apoavatar_motion"  # [B, C, k, h, w] latents of earlier frames, in the VAE's own scale, that the clip goes on from
LATENT_CHANNELS = "apoavatar_latent_channels"  # of the VAE that the conditioning was made with
IMAGE_KEYS = ("concat_latent_image", "clip_vision_output")


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

    def __init__(self, patcher: comfy.model_patcher.ModelPatcher):
        self.patcher = patcher

    def models(self) -> list[comfy.model_patcher.ModelPatcher]:
        return [self.patcher]


class TakeConditions(AdapterPatch):
    """DIFFUSION_MODEL wrapper: moves the adapter's conditions from the call into `transformer_options`."""

    def __call__(self, executor, x, timestep, context, clip_fea=None, time_dim_concat=None, transformer_options={}, **kwargs):
        audio, pose, gate, reference = (kwargs.pop(key, None) for key in (AUDIO, POSE, POSE_GATE, REFERENCE_POSE))
        config = self.patcher.model.config
        if executor.class_obj.img_emb is not None and clip_fea is None:
            raise ValueError(NO_CLIP_VISION)
        if kwargs.pop(MOTION, None) is not None:
            raise ValueError("This adapter was not trained to go on from earlier frames: leave previous_frames open.")
        # Native context windows put the clip's first latent frame before every window but the first.
        anchored = getattr(transformer_options.get("context_window"), "causal_anchor_index", None) is not None
        frames = 4 * (x.shape[2] - 1 - anchored) + 1
        if audio is not None:
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
        if reference is not None and pose is not None:
            x = self.with_reference_pose(x, reference, gate)
        step = StepConditions(audio, pose, gate, timestep)
        options = {**transformer_options, KEY: step}
        return executor(x, timestep, context, clip_fea, time_dim_concat, options, **kwargs)

    def with_reference_pose(self, x: torch.Tensor, reference: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        """x [B, noise + condition, T_lat, h, w] with the portrait's pose added to the image condition of every frame."""
        channels = self.patcher.model.config.unianimate_image_channels
        if channels is None:
            raise ValueError("This adapter has no use for the pose of the reference: leave reference_pose open.")
        noisy, condition = x[:, :-channels], x[:, -channels:]
        return torch.cat([noisy, condition + self.patcher.model.pose_adapter.of_reference(reference.to(x), gate)], dim=1)


def _by_frame(tokens: torch.Tensor, options: dict) -> torch.Tensor:
    """[B, T_lat·N_v, d] → [B, T_lat, N_v, d]."""
    frames, height, width = options["grid_sizes"]
    if tokens.shape[1] != frames * height * width:
        raise ValueError(
            f"The model runs {tokens.shape[1]} tokens for {frames} latent frames of {height}×{width}: ApoAvatar does not "
            "support reference or context tokens next to the video; use a plain Wan text- or image-to-video model."
        )
    return rearrange(tokens, "b (t n) d -> b t n d", t=frames)


class EnterBlocks(AdapterPatch):
    """Replacement of block 0, once per step: add the pose prior, run the Audio DiT adapter, go on."""

    def __init__(self, patcher: comfy.model_patcher.ModelPatcher, earlier_replacement):
        super().__init__(patcher)
        self.earlier_replacement = earlier_replacement

    def models(self) -> list[comfy.model_patcher.ModelPatcher]:
        return super().models() + (
            self.earlier_replacement.models() if hasattr(self.earlier_replacement, "models") else []
        )

    def __call__(self, args: dict, extra: dict) -> dict:
        step: StepConditions = args["transformer_options"][KEY]
        adapter = self.patcher.model
        video = _by_frame(args["img"], args["transformer_options"])
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
        video = _by_frame(args["x"], options)
        injection = self.patcher.model.injections[options["block_index"]]
        attention = partial(optimized_attention, transformer_options=options)
        return args["x"] + rearrange(injection(video, step.refined_audio, attention), "b t n d -> b (t n) d")


MASK = 4  # channels of the mask before the reference latents in Wan 2.1's image condition


def hold_given(
    executor, x, timestep, c_concat=None, c_crossattn=None, control=None, transformer_options={}, **kwargs
) -> torch.Tensor:
    """APPLY_MODEL wrapper: latents of earlier frames take the place of the first noisy ones; without them a reference
    latent does, wherever one is given.

    Done where ComfyUI's InfiniteTalk node does it, so that the prediction of those latents starts from it too.
    """
    motion = kwargs.pop(MOTION, None)
    if motion is not None:
        if "context_window" in transformer_options:
            raise ValueError(
                "A clip that goes on from previous_frames cannot be made in context windows: leave out the Context Windows "
                "node and make the clip in pieces, each from the end of the one before."
            )
        motion = executor.class_obj.process_latent_in(motion).to(x)
        x = torch.cat([motion, x[:, :, motion.shape[2] :]], dim=2)
    elif c_concat is not None and c_concat.shape[1] == MASK + x.shape[1]:
        given = c_concat[:, :MASK].amin(1, keepdim=True) > 0
        x = torch.where(given, c_concat[:, MASK:].to(x), x)
    return executor(x, timestep, c_concat, c_crossattn, control, transformer_options, **kwargs)


def end_with_motion(executor, *args, **kwargs):
    """OUTER_SAMPLE wrapper: a clip that goes on from earlier frames begins with exactly their latents, so that the VAE
    decodes what follows as their continuation.
    """
    samples = executor(*args, **kwargs)
    for condition in executor.class_obj.conds["positive"]:
        if MOTION in condition["model_conds"]:
            motion = condition["model_conds"][MOTION].cond.to(samples)
            return torch.cat([motion.expand(len(samples), *motion.shape[1:]), samples[:, :, motion.shape[2] :]], dim=2)
    return samples


def load_adapter(adapter_class, config, tensors: dict[str, torch.Tensor]) -> comfy.model_patcher.ModelPatcher:
    """Build an adapter with ComfyUI's operations and put it under ComfyUI's memory management."""
    manager = comfy.model_management
    dtype = comfy.utils.weight_dtype(tensors)
    adapter = adapter_class(config, operations=comfy.ops.manual_cast, device=manager.unet_offload_device(), dtype=dtype)
    adapter.load_state_dict(tensors, assign=True)  # each tensor in its own precision; manual_cast casts when it computes
    return patcher_of(adapter)


def patcher_of(adapter) -> comfy.model_patcher.ModelPatcher:
    """An adapter as ComfyUI manages models."""
    manager = comfy.model_management
    return comfy.model_patcher.CoreModelPatcher(adapter, manager.get_torch_device(), manager.unet_offload_device())


def check_backbone(model: comfy.model_patcher.ModelPatcher, config) -> None:
    """Refuse a MODEL that the adapter was not made for.

    Raises:
        ValueError: with both sides' dimensions.
    """
    network = model.get_model_object("diffusion_model")
    if type(network) is not WanModel:
        raise ValueError(
            f"ApoAvatar adapters attach to Wan text- or image-to-video models, not to {type(network).__name__}: choose a "
            "plain Wan model."
        )
    found = (network.dim, len(network.blocks), network.in_dim)
    channels = config.backbone_in_channels or network.in_dim
    if config.unianimate_image_channels is not None:  # its reference pose needs the image condition to add to
        channels = network.out_dim + config.unianimate_image_channels
    wanted = (config.backbone_dim, config.backbone_layers, channels)
    if found != wanted:
        raise ValueError(
            "This adapter was made for a model of width {}, {} blocks and {} input channels, but the connected one has "
            "width {}, {} blocks and {} input channels: choose the model that belongs to the adapter.".format(*wanted, *found)
        )


def attach(model: comfy.model_patcher.ModelPatcher, adapter: comfy.model_patcher.ModelPatcher) -> comfy.model_patcher.ModelPatcher:
    """A clone of `model` with the adapter in it; `model` itself stays as it is."""
    if has_adapter(model):
        raise ValueError("The model already has an ApoAvatar adapter: connect the model from before it.")
    check_backbone(model, adapter.model.config)
    model = model.clone()
    replacements = model.model_options["transformer_options"].get("patches_replace", {}).get("dit", {})
    model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL, KEY, TakeConditions(adapter))
    if adapter.model.config.holds_reference:
        model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.APPLY_MODEL, KEY, hold_given)
        model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.OUTER_SAMPLE, KEY, end_with_motion)
    model.set_model_patch_replace(EnterBlocks(adapter, replacements.get(("double_block", 0))), "dit", "double_block", 0)
    model.set_model_patch(InjectAudio(adapter), "attn2_patch")
    return model


NO_CLIP_VISION = (
    "This Wan model looks at the portrait through CLIP vision, and clip_vision_output is missing: connect CLIP Vision Encode."
)


def check_conditions(model: comfy.model_patcher.ModelPatcher, conditioning: list) -> None:
    """Refuse CONDITIONING that this MODEL cannot work with, before it is moved to the GPU.

    Raises:
        ValueError: made with a VAE of other latents, or without the CLIP vision embedding that the model needs.
    """
    channels = model.get_model_object("latent_format").latent_channels
    needs_clip_vision = model.get_model_object("diffusion_model").img_emb is not None
    for _, extras in conditioning:
        if extras.get(LATENT_CHANNELS, channels) != channels:
            raise ValueError(
                f"The VAE of the conditioning makes latents of {extras[LATENT_CHANNELS]} channels but the model works on "
                f"{channels}: load the VAE that belongs to the model."
            )
        if needs_clip_vision and "clip_vision_output" not in extras:
            raise ValueError(NO_CLIP_VISION)


def with_lora(model: comfy.model_patcher.ModelPatcher, lora: dict[str, torch.Tensor]) -> comfy.model_patcher.ModelPatcher:
    """A clone of `model` with a LoRA at full strength."""
    return comfy.sd.load_lora_for_models(model, None, lora, 1.0, 0.0)[0]


def transformer_options(model: comfy.model_patcher.ModelPatcher) -> dict:
    """The options that a forward call of this MODEL gets: its patches and its wrappers."""
    return {**model.model_options["transformer_options"], "wrappers": model.wrappers}


def has_adapter(model: comfy.model_patcher.ModelPatcher) -> bool:
    """Whether `attach` was applied to this MODEL."""
    return bool(model.get_wrappers(comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL, KEY))


def with_conditions(conditioning: list, tensors: dict[str, torch.Tensor]) -> list:
    """CONDITIONING with the adapter's tensors (keys AUDIO, POSE, POSE_GATE) among its model conditions."""
    conditions = {key: comfy.conds.CONDRegular(tensor) for key, tensor in tensors.items()}
    return [
        [text, {**extras, "model_conds": {**extras.get("model_conds", {}), **conditions}}] for text, extras in conditioning
    ]


def _zeroed(condition):
    return condition._copy_with(torch.zeros_like(condition.cond))


def modalities_in(conditions: list[dict]) -> frozenset[str]:
    """Which of Eq. 8's modalities a prepared condition carries; text always counts."""
    present = {"text"}
    for condition in conditions:
        present |= {"audio"} if AUDIO in condition["model_conds"] else set()
        present |= {"pose"} if POSE in condition["model_conds"] else set()
        present |= {"image"} if any(key in condition for key in IMAGE_KEYS) else set()
    return frozenset(present)


def keep_modalities(positive: list[dict], negative: list[dict], kept: Iterable[str]) -> list[dict]:
    """The condition of one state of Eq. 8: modalities that are not kept become their null.

    ∅ text is the negative prompt; ∅ image a zero latent, mask and CLIP embedding; ∅ audio zero features; ∅ pose a
    zero gate. Shapes stay, so that all states run as one batch.
    """
    kept = frozenset(kept)
    state = []
    for condition in positive if "text" in kept else negative:
        conditions = dict(condition["model_conds"])
        null_keys = {
            "audio": (AUDIO,),
            "pose": (POSE_GATE,),
            "image": ("c_concat", "clip_fea"),
        }
        for modality, keys in null_keys.items():
            for key in keys if modality not in kept else ():
                if key in conditions:
                    conditions[key] = _zeroed(conditions[key])
        # A state is a condition of its own: EasyCache and the like keep their books by uuid.
        identity = uuid.uuid5(condition["uuid"], ",".join(sorted(kept)))
        state.append({**condition, "model_conds": conditions, "uuid": identity})
    return state


def text_encoder(tensors: dict[str, torch.Tensor], config: dict) -> comfy.sd.CLIP:
    """A umt5 of any size as a native Wan CLIP.

    Args:
        tensors: the encoder's weights under umt5 names, and its sentencepiece model as `spiece_model`.
        config: umt5 dimensions, and `min_length`, the number of tokens that a prompt is padded to.
    """
    tokenizer = {"spiece_model": tensors["spiece_model"], "umt5xxl_min_length": config["min_length"]}
    tensors = {name: tensor for name, tensor in tensors.items() if name != "spiece_model"}
    target = comfy.supported_models_base.ClipTarget(
        comfy.text_encoders.wan.WanT5Tokenizer, comfy.text_encoders.wan.te(dtype_t5=comfy.utils.weight_dtype(tensors))
    )
    return comfy.sd.CLIP(
        target,
        tokenizer_data=tokenizer,
        state_dict=[tensors],
        model_options={"umt5xxl_model_config": config},
        parameters=comfy.utils.calculate_parameters(tensors),
    )
