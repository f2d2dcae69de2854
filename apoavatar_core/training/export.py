"""Write trained models as files that ComfyUI's own loaders read."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from ..checkpoints.safe_file import write_tensors


def halved(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """In fp16, as shared files are."""
    return {name: tensor.half() for name, tensor in tensors.items()}


def write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Save as fp16."""
    write_tensors(path, halved(tensors), metadata or {})


@torch.no_grad()
def fold_latent_scale(vae: nn.Module, mean: Tensor, deviation: Tensor, wan_mean: Tensor, wan_deviation: Tensor) -> None:
    """Give a VAE's latents Wan's published statistics, so that ComfyUI's Wan latent format normalises them.

    The affine map goes into the 1×1×1 convolutions behind the encoder and before the decoder, which leaves every
    reconstruction as it was. mean, deviation, wan_mean, wan_deviation: one value per latent channel [16].
    """
    channels = mean.shape[0]
    scale = wan_deviation / deviation
    shape = (-1, 1, 1, 1, 1)
    vae.conv1.weight[:channels] *= scale.view(shape)
    vae.conv1.bias[:channels] = (vae.conv1.bias[:channels] - mean) * scale + wan_mean
    vae.conv2.bias += (vae.conv2.weight[:, :, 0, 0, 0] * (mean - wan_mean / scale)).sum(1)
    vae.conv2.weight /= scale.view(1, -1, 1, 1, 1)


def export_dit(path: Path, dit: nn.Module, tensors: dict[str, Tensor]) -> None:
    """A DiT's state for UNETLoader; what the tensors' shapes don't tell goes into the metadata."""
    told = {"num_heads": dit.num_heads, "text_dim": dit.text_embedding[0].in_features, "text_len": dit.text_len}
    write(path, tensors, {"config": json.dumps({"transformer": told})})


def export_lora(path: Path, tensors: dict[str, Tensor]) -> None:
    """The LoRA in a DiT's state for ComfyUI's LoRA loaders, under the names that other Wan LoRAs have."""
    write(
        path,
        {
            f"diffusion_model.{name.replace('.default', '')}": tensor
            for name, tensor in tensors.items()
            if ".lora_" in name
        },
    )
