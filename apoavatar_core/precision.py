"""The precision that a machine computes fastest in."""

from __future__ import annotations

import torch


def autocast() -> torch.autocast:
    """bf16 where the CPU computes in it; elsewhere fp32, for emulated bf16 made a step of the VAE 17 times as long."""
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.autocast("cpu", torch.bfloat16, enabled=fast)
