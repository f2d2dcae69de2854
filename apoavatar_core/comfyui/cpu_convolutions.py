"""A narrow VAE's 3-D convolutions by oneDNN on a CPU.

For one clip of few channels, such as the tiny preset's, PyTorch chooses its own kernel there, which takes up to ten times as long.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import comfy.sd
import torch
from comfy.ldm.wan.vae import CausalConv3d
from torch import Tensor


def use_onednn(vae: comfy.sd.VAE) -> comfy.sd.VAE:
    """The VAE itself, whose causal convolutions oneDNN computes if it runs on a CPU that has it."""
    if vae.device.type == "cpu" and torch.backends.mkldnn.is_available():
        for name, layer in vae.first_stage_model.named_modules():
            if isinstance(layer, CausalConv3d):
                vae.patcher.add_object_patch(f"{name}._conv_forward", partial(convolve, layer, layer._conv_forward))
    return vae


def convolve(
    layer: CausalConv3d,
    native: Callable[..., Tensor],
    clip: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    autopad: str | None = None,
) -> Tensor:
    """What `native`, the layer's own `_conv_forward`, makes of a clip [B, C, T, H, W]; "causal_zero" pads it with zeros before."""
    if clip.dtype != torch.float32:
        return native(clip, weight, bias, autopad=autopad)
    if autopad == "causal_zero":  # what of the kernel would meet the zeros is left out, as ComfyUI does
        weight = weight[:, :, -clip.shape[2] :]
    return torch.mkldnn_convolution(clip, weight, bias, layer.padding, layer.stride, layer.dilation, layer.groups)
