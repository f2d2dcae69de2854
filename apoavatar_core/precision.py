"""The device that trains and the precision that it computes fastest in."""

from __future__ import annotations

import torch

CPU = torch.device("cpu")


def training_device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def computes_in_bf16(device: torch.device = CPU) -> bool:
    """Whether the device has units for bf16. Emulated on a CPU it made a step of the VAE 17 times as long as fp32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def autocast(device: torch.device = CPU) -> torch.autocast:
    """bf16 where the device computes in it, elsewhere fp32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=computes_in_bf16(device))
