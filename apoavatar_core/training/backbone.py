"""The backbone under training: ComfyUI's own Wan VAE, DiT and T5, with gradients.

This is the only module of `apoavatar_core` that reaches ComfyUI, so that training and inference run the
same code. Everything here is imported by the training command, never by the nodes.
"""

from __future__ import annotations

import importlib.util
import json
import os
import struct
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

REPOSITORY = Path(__file__).resolve().parents[2]
LATENT_CHANNELS = 16


def use_comfyui() -> None:
    """Make `comfy` importable, from COMFYUI_PATH or the copy that `dev.py` set up, with gradients enabled.

    Raises:
        FileNotFoundError: no ComfyUI there.
    """
    root = Path(os.environ.get("COMFYUI_PATH") or REPOSITORY / ".comfyui" / "ComfyUI")
    if not (root / "comfy").is_dir():
        raise FileNotFoundError(f"no ComfyUI in {root}: run `python dev.py test` once or set COMFYUI_PATH")
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    from comfy.cli_args import args

    args.cpu = not torch.cuda.is_available()
    args.use_pytorch_cross_attention = True
    import comfy.model_management

    comfy.model_management.in_training = True  # the fused rope has no gradient


def binding() -> ModuleType:
    """`nodes/binding.py`, the code that attaches an adapter at inference, for training through the same path."""
    name = "apoavatar_binding"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, REPOSITORY / "nodes" / "binding.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


def autocast() -> torch.autocast:
    """bf16 where the CPU computes in it; elsewhere fp32, for emulated bf16 made a step of the VAE 17 times as long."""
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.autocast("cpu", torch.bfloat16, enabled=fast)


def compile_norms(vae: nn.Module) -> None:
    """Let torch.compile fuse the VAE's RMS norms, which pass over memory several times each."""
    from comfy.ldm.wan.vae import RMS_norm

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
    from comfy.ldm.wan.vae import WanVAE

    return WanVAE(
        dim=dim,
        z_dim=LATENT_CHANNELS,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=2,
        attn_scales=[],
        temperal_downsample=[False, True, True],
    )


def comfyui_vae(path: Path):
    """A VAE as ComfyUI's Load VAE gives it, which encodes and decodes in pieces that fit into memory.

    Raises:
        ValueError: the file is no VAE.
    """
    import comfy.sd
    import comfy.utils

    tensors, metadata = comfy.utils.load_torch_file(str(path), return_metadata=True)
    vae = comfy.sd.VAE(sd=tensors, metadata=metadata)
    if vae.first_stage_model is None:
        raise ValueError(f"{path} is no VAE that ComfyUI knows")
    vae.crop_input = False  # it would take the frames of several films for a side to crop to a multiple of 8
    return vae


def new_dit(dimensions: dict[str, int], text_dim: int, text_len: int) -> nn.Module:
    """Wan's image-to-video DiT with ComfyUI's own code and random weights: 16 noisy channels, 4 of mask and 16 of
    reference in. dimensions: dim, ffn_dim, num_heads, num_layers.
    """
    from comfy.ldm.wan.model import WanModel

    dit = WanModel(
        operations=nn, in_dim=2 * LATENT_CHANNELS + 4, text_dim=text_dim, text_len=text_len, **dimensions
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
    import comfy.utils

    tensors, metadata = comfy.utils.load_torch_file(str(path), safe_load=True, return_metadata=True)
    dit = dit_for(path, tensors, metadata)
    missing, unexpected = dit.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, strict=False)
    if missing or unexpected:
        raise ValueError(f"backbone: {path} is no plain Wan model ({(missing + unexpected)[0]} is missing or too much)")
    return dit


def planned_dit(path: Path) -> nn.Module:
    """The Wan DiT of a file, uninitialised, from nothing but the file's header.

    Raises:
        ValueError: the file is not there or no Wan text- or image-to-video model.
    """
    import comfy.utils

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
    import comfy.model_detection
    from comfy.ldm.wan.model import WanModel

    config = comfy.model_detection.detect_unet_config(tensors, "", metadata=metadata)
    if config is None or config.get("model_type") not in ("t2v", "i2v"):
        raise ValueError(f"backbone: {path} is no Wan text- or image-to-video model")
    return WanModel(operations=nn, **config)


LORA_LAYERS = r"blocks\.\d+\.((self|cross)_attn\.[qkvo]|ffn\.[02])"


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


def attach(dit: nn.Module, adapter: nn.Module) -> dict:
    """Attach the adapter as the node does; returns the `transformer_options` for calls of the DiT."""
    import comfy.model_patcher

    device = next(dit.parameters()).device
    model = comfy.model_patcher.ModelPatcher(Host(dit), device, device)
    return binding().transformer_options(binding().attach(model, binding().patcher_of(adapter)))
