"""Write a VAE as a file that ComfyUI's own loader reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ...comfyui.wan import latent_format
from ...data.clips import load_frames, seeds_in
from ...precision import autocast
from ...training.export import write
from .clips import pixels
from .config import VAETrainingConfig
from .training import averaged_vae


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


@torch.no_grad()
def export(vae: nn.Module, folder: Path, seeds: list[int], path: Path) -> None:
    """Write the VAE as a native Wan 2.1 file whose latents have Wan's published statistics, measured on `seeds`."""
    wan = latent_format()
    with autocast():
        latents = vae.encode(pixels(np.stack([load_frames(folder, seed) for seed in seeds])))
    latents = latents.float().transpose(0, 1).flatten(1)
    fold_latent_scale(
        vae, latents.mean(1), latents.std(1), wan.latents_mean.view(-1), wan.latents_std.view(-1)
    )
    write(path, vae.state_dict())


def export_run(config: VAETrainingConfig, folder: Path, run: Path, path: Path) -> None:
    """Write the averaged VAE of a run, with its latents' statistics on clips of the bank in `folder`; where the decoder
    alone learned, the latents are the start's and stay so.

    Raises:
        ValueError: the run has no state yet, or one of other settings.
    """
    vae = averaged_vae(config, run)
    if config.trained == "decoder":
        write(path, vae.state_dict())
    else:
        export(vae, folder, seeds_in(folder)[:6], path)
