"""Files as ComfyUI's loaders read them, for nodes and training: each returns the object that a workflow's wire carries."""

from __future__ import annotations

import json
from pathlib import Path

import comfy.audio_encoders.audio_encoders
import comfy.clip_vision
import comfy.model_management
import comfy.ops
import comfy.sd
import comfy.supported_models_base
import comfy.text_encoders.wan
import comfy.utils
import torch
from comfy.audio_encoders.wav2vec2 import Wav2Vec2Model
from comfy.audio_encoders.whisper import WhisperLargeV3
from comfy.model_patcher import CoreModelPatcher, ModelPatcher

from ..adapters import AdapterConfig, ApoAvatarAdapter
from ..checkpoints import presets
from ..checkpoints.adapter_file import read_adapter
from ..checkpoints.safe_file import json_field, read_metadata, read_tensors
from ..checkpoints.unianimate import read_unianimate, with_unianimate
from .attaching import attach
from .cpu_convolutions import use_onednn
from .long_hearing import LongHearing


def load_diffusion_model(path: Path) -> ModelPatcher:
    """MODEL of a Wan file."""
    return comfy.sd.load_diffusion_model(str(existing(path)))


def load_tiny_diffusion_model() -> ModelPatcher:
    """MODEL of the tiny preset before its adapter, whose live previews show the colours of the preset's own VAE."""
    model = load_diffusion_model(presets.TINY_DIT)
    colours = json.loads(presets.TINY_COLOURS.read_text(encoding="utf-8"))
    latents = model.model.latent_format
    latents.latent_rgb_factors, latents.latent_rgb_factors_bias = colours["factors"], colours["bias"]
    latents.taesd_decoder_name = None  # a decoder of Wan's latents cannot read these
    return model


def load_vae(path: Path) -> comfy.sd.VAE:
    """VAE of a file.

    Raises:
        ValueError: it is no VAE.
    """
    tensors, metadata = comfy.utils.load_torch_file(str(existing(path)), safe_load=True, return_metadata=True)
    vae = comfy.sd.VAE(sd=tensors, metadata=metadata)
    if vae.first_stage_model is None:
        raise ValueError(f"{Path(path).name} is not a VAE that ComfyUI knows: choose Wan's.")
    return use_onednn(vae)


def load_text_encoder(path: Path, embedding_folders: list[str] | None = None) -> comfy.sd.CLIP:
    """CLIP of a umt5 file: Wan's, or one that carries its tokenizer and its dimensions, as the tiny preset's does."""
    path = existing(path)
    metadata = read_metadata(path) if path.suffix == ".safetensors" else {}
    if "config" in metadata:
        return text_encoder(read_tensors(path), json_field(metadata, "config", path))
    return comfy.sd.load_clip(
        [str(path)], embedding_directory=embedding_folders, clip_type=comfy.sd.CLIPType.WAN
    )


def load_audio_encoder(path: Path):
    """AUDIO_ENCODER of a wav2vec2 or Whisper file; wav2vec2 hears voices of any length.

    Raises:
        ValueError: it is none.
    """
    tensors = comfy.utils.load_torch_file(str(existing(path)), safe_load=True)
    encoder = comfy.audio_encoders.audio_encoders.load_audio_encoder_from_sd(tensors)
    if encoder is None:
        raise ValueError(f"{Path(path).name} is not an audio encoder that ComfyUI knows: choose a wav2vec2 file.")
    return LongHearing(encoder) if isinstance(encoder.model, Wav2Vec2Model) else encoder


def audio_encoder_kind(encoder) -> str:
    """What adapters call the kind of an AUDIO_ENCODER: "wav2vec2", "whisper", or that of an encoder that says it itself."""
    kinds = {Wav2Vec2Model: "wav2vec2", WhisperLargeV3: "whisper"}
    return encoder.name if hasattr(encoder, "name") else kinds[type(encoder.model)]


def load_clip_vision(path: Path):
    """CLIP_VISION of a file.

    Raises:
        ValueError: it is none.
    """
    model = comfy.clip_vision.load(str(existing(path)))
    if model is None:
        raise ValueError(f"{Path(path).name} is not a CLIP vision model that ComfyUI knows: choose clip_vision_h.")
    return model


def load_tiny_text_encoder() -> comfy.sd.CLIP:
    """CLIP of the tiny preset's T5."""
    return load_text_encoder(presets.TINY_T5)


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


def load_adapter(config: AdapterConfig, tensors: dict[str, torch.Tensor]) -> ModelPatcher:
    """An adapter with ComfyUI's operations, under ComfyUI's memory management."""
    adapter = ApoAvatarAdapter(
        config,
        operations=comfy.ops.manual_cast,
        device=comfy.model_management.unet_offload_device(),
        dtype=comfy.utils.weight_dtype(tensors),
    )
    adapter.load_state_dict(tensors, assign=True)  # each tensor in its own precision; manual_cast casts when it computes
    return patcher_of(adapter.eval().requires_grad_(False))


def patcher_of(adapter: ApoAvatarAdapter) -> ModelPatcher:
    """An adapter as ComfyUI manages models."""
    manager = comfy.model_management
    return CoreModelPatcher(adapter, manager.get_torch_device(), manager.unet_offload_device())


def apply_adapter(model: ModelPatcher, path: Path, pose_path: Path | None = None) -> ModelPatcher:
    """A clone of MODEL with an adapter file attached, and with it UniAnimate's pose model and LoRA if there is one."""
    config, tensors = read_adapter(path)
    if pose_path is not None:
        stacks, lora = read_unianimate(pose_path)
        config, tensors = with_unianimate(config, tensors, stacks)
        model = comfy.sd.load_lora_for_models(model, None, lora, 1.0, 0.0)[0]
    return attach(model, load_adapter(config, tensors))


def existing(path: Path) -> Path:
    """The path itself.

    Raises:
        ValueError: no file is there.
    """
    if not Path(path).is_file():
        raise ValueError(f"{path} is not there.")
    return Path(path)
