"""The network before its first step: new, or from a file.

A causal VAE trained on short clips never meets its own steady state and fades on long ones. So the temporal kernels
of a new one start as "hold the newest frame", and single frames come first.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import nn

from ...comfyui import trainable

CONSTANT_CHANNEL = 4.0
"""Constant value of channel 0. The norms divide by a length; with it in the sum, brightness survives the division."""


def build(dim: int, start: Path | None) -> nn.Module:
    """A VAE of width `dim` with the weights of the file `start`, or with new ones.

    Raises:
        ValueError: the file is no VAE, or one of another width.
    """
    if start is None:
        vae = trainable.build_vae(dim)
        initialize_vae(vae)
        return vae
    vae = trainable.load_vae(start)
    if vae.dim != dim:
        raise ValueError(f"start: {start} has width {vae.dim}: set dim to that, or leave start out")
    return vae


def freeze_encoder(vae: nn.Module) -> None:
    """Let nothing learn that latents are made with: the encoder and the convolution behind it."""
    vae.encoder.requires_grad_(False)
    vae.conv1.requires_grad_(False)


def initialize_vae(vae: nn.Module) -> None:
    """Start as an image autoencoder that holds each frame still in time, with quiet residual branches."""
    for name, parameter in vae.named_parameters():
        if name.endswith("gamma"):
            nn.init.ones_(parameter)
        elif parameter.ndim < 2:
            nn.init.zeros_(parameter)
        elif parameter.ndim == 5:
            newest = torch.empty_like(parameter[:, :, -1])
            nn.init.kaiming_uniform_(newest, a=math.sqrt(5) if "residual.6" not in name else 20.0)
            with torch.no_grad():
                parameter.zero_()
                parameter[:, :, -1] = newest
        else:
            nn.init.kaiming_uniform_(parameter, a=math.sqrt(5))
    with torch.no_grad():
        for name, module in vae.named_modules():
            if name.endswith("time_conv"):
                out_channels, in_channels = module.weight.shape[:2]
                module.weight.zero_()
                module.weight[:, :, -1, 0, 0] = torch.eye(in_channels).repeat(out_channels // in_channels, 1)
            if name.endswith(("coder.conv1", "shortcut", "resample.1")) and not isinstance(module, nn.Identity):
                module.weight[0].zero_()
                module.bias[0] = CONSTANT_CHANNEL
