"""ComfyUI's own networks with gradients: Wan's VAE and DiT and the T5, new or from files, ready to be trained."""

from __future__ import annotations

import json
import struct
from functools import partial
from pathlib import Path

import comfy.model_detection
import comfy.model_patcher
import comfy.ops
import comfy.utils
import torch
from comfy.ldm.wan.model import WanModel
from comfy.ldm.wan.vae import RMS_norm, WanVAE
from comfy.text_encoders.t5 import T5
from safetensors import SafetensorError
from torch import nn
from torch.utils.checkpoint import checkpoint

from ..grid import LATENT_CHANNELS, MASK_CHANNELS
from .attaching import attach, transformer_options
from .loading import existing, patcher_of
from .wan import begins_with_portrait


def compile_norms(vae: nn.Module) -> None:
    """Let torch.compile fuse the VAE's RMS norms, which pass over memory several times each."""
    torch._dynamo.config.recompile_limit = 256
    for module in vae.modules():
        if isinstance(module, RMS_norm):
            module.compile(dynamic=True)


def initialize(module: nn.Module, gain: float = 1.0) -> None:
    """Give every tensor of a ComfyUI module a value: its operations leave memory as it was.

    Matrices and kernels are Xavier-uniform over their fan, gains of norms are ones, biases zeros.
    """
    for name, parameter in module.named_parameters():
        if parameter.ndim >= 2 and not name.endswith("gamma"):
            nn.init.xavier_uniform_(parameter, gain)
        elif name.endswith(("gamma", "norm.weight")) or "norm" in name and name.endswith("weight"):
            nn.init.ones_(parameter)
        else:
            nn.init.zeros_(parameter)


def build_vae(dim: int) -> nn.Module:
    """Wan 2.1 causal 3-D VAE [B, 3, T, H, W] ↔ [B, 16, (T−1)/4+1, H/8, W/8], uninitialised."""
    return WanVAE(
        dim=dim,
        z_dim=LATENT_CHANNELS,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=2,
        attn_scales=[],
        temperal_downsample=[False, True, True],
    )


def load_vae(path: Path) -> nn.Module:
    """The Wan 2.1 VAE of a file, of any width, in float32 and with gradients.

    Raises:
        ValueError: the file is no Wan 2.1 VAE.
    """
    try:
        tensors = comfy.utils.load_torch_file(str(existing(path)), safe_load=True)
        vae = build_vae(tensors["decoder.head.0.gamma"].shape[0])
        vae.load_state_dict(tensors)
    except (KeyError, RuntimeError, SafetensorError):
        raise ValueError(f"{path} is no VAE of Wan 2.1's layout: choose one that this command wrote") from None
    return vae


def new_dit(
    dimensions: dict[str, int], text_dim: int, text_len: int, reference: bool = False, channels: int = LATENT_CHANNELS
) -> nn.Module:
    """Wan's image-to-video DiT with ComfyUI's own code and random weights, for latents of `channels` channels. In go the noisy
    ones, 4 of mask and those of the reference; or the noisy ones alone where the portrait is among them (`begins_with_portrait`).
    dimensions: dim, ffn_dim, num_heads, num_layers. reference: with a `ref_conv`.
    """
    dit = WanModel(
        operations=nn,
        in_dim=channels if begins_with_portrait(channels) else 2 * channels + MASK_CHANNELS,
        out_dim=channels,
        in_dim_ref_conv=channels if reference else None,
        text_dim=text_dim,
        text_len=text_len,
        **dimensions,
    )
    initialize(dit)
    for name, parameter in dit.named_parameters():
        if name.endswith("modulation"):
            nn.init.normal_(parameter, std=dit.dim**-0.5)
    nn.init.zeros_(dit.head.head.weight)
    return dit


def load_dit(path: Path) -> nn.Module:
    """The Wan DiT of a file, in float32 and with gradients.

    Raises:
        ValueError: the file is no Wan text- or image-to-video model.
    """
    tensors, metadata = comfy.utils.load_torch_file(str(path), safe_load=True, return_metadata=True)
    dit = dit_for(path, tensors, metadata)
    missing, unexpected = dit.load_state_dict(tensors, strict=False)  # which widens one tensor at a time
    if missing or unexpected:
        raise ValueError(f"backbone: {path} is no plain Wan model ({(missing + unexpected)[0]} is missing or too much)")
    return dit


def planned_dit(path: Path) -> nn.Module:
    """The Wan DiT of a file, uninitialised, from nothing but the file's header.

    Raises:
        ValueError: the file is not there or no Wan text- or image-to-video model.
    """
    try:
        entries = dict(json.loads(comfy.utils.safetensors_header(str(path))))
        metadata = entries.pop("__metadata__", None)
        tensors = {name: torch.empty(entry["shape"]) for name, entry in entries.items()}
    except (OSError, KeyError, TypeError, ValueError, struct.error):
        raise ValueError(f"backbone: {path} is not there or no safetensors file") from None
    return dit_for(path, tensors, metadata)


def dit_for(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None) -> nn.Module:
    """A Wan DiT, uninitialised, with the dimensions of a file's tensors, which are read as ComfyUI's loader reads them.

    Raises:
        ValueError: they are no Wan text- or image-to-video model's.
    """
    config = comfy.model_detection.detect_unet_config(tensors, "", metadata=metadata)
    if config is None or config.get("model_type") not in ("t2v", "i2v"):
        raise ValueError(f"backbone: {path} is no Wan text- or image-to-video model")
    return WanModel(operations=nn, **config)


def new_t5(config: dict) -> nn.Module:
    """A umt5 encoder of these dimensions, uninitialised."""
    return T5(config, torch.float32, "cpu", comfy.ops.disable_weight_init)


LORA_LAYERS = r"blocks\.\d+\.((self|cross)_attn\.([qkvo]|[kv]_img)|ffn\.[02])"
"""Every linear layer of a block; `k_img` and `v_img` are those of models that look at the portrait through CLIP vision."""


def add_lora(dit: nn.Module, rank: int) -> None:
    """Give every linear layer of the blocks a LoRA that changes nothing yet (peft puts it into `dit` itself)."""
    from peft import LoraConfig, inject_adapter_in_model

    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=LORA_LAYERS), dit)


def recompute_blocks(dit: nn.Module) -> None:
    """Let the blocks keep no activations for the backward pass but compute them again."""
    for block in dit.blocks:
        block.forward = partial(_recomputed, block.forward)


def _recomputed(forward, tokens: torch.Tensor, transformer_options: dict, **conditions) -> torch.Tensor:
    # ComfyUI counts block_index on in one dictionary; the second pass needs the number of the first.
    options = dict(transformer_options)
    return checkpoint(forward, tokens, transformer_options=options, use_reentrant=False, **conditions)


class Host(nn.Module):
    """What a ModelPatcher expects around a diffusion model."""

    def __init__(self, dit: nn.Module):
        super().__init__()
        self.diffusion_model = dit


def attached(dit: nn.Module, adapter: nn.Module) -> dict:
    """Attach the adapter as the node does; returns the `transformer_options` for calls of the DiT."""
    device = next(dit.parameters()).device
    model = comfy.model_patcher.ModelPatcher(Host(dit), device, device)
    return transformer_options(attach(model, patcher_of(adapter)))
