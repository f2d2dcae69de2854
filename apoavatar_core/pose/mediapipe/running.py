"""Run a network on pictures that OpenCV cut out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from .network import Network


def run(network: Network, pictures: Sequence[np.ndarray], *, darkest: float = 0.0) -> list[np.ndarray]:
    """The outputs of a network, on the device where it is.

    Args:
        network: the network.
        pictures: B of them, uint8 [size, size, 3].
        darkest: the value of black that it was trained with, 0 or -1; white is 1.

    Returns:
        Its outputs as float32 arrays [B, ...].
    """
    parameter = next(network.parameters())
    values = torch.from_numpy(np.stack(pictures)).to(device=parameter.device).permute(0, 3, 1, 2)
    with torch.inference_mode():
        outputs = network(values.to(parameter.dtype).mul_((1 - darkest) / 255).add_(darkest))
    return [output.float().cpu().numpy() for output in outputs]
