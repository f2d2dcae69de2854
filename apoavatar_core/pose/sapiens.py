"""Sapiens, the paper's pose model (§4.1; Khirodkar et al. 2024), as its authors' TorchScript files.

Such a file is code that PyTorch executes: it comes from the user's own model folder only. Its licence is CC-BY-NC 4.0.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from .layouts import LAYOUTS
from .peaks import decode_udp
from .top_down import TopDown

SUFFIXES = (".pt2", ".torchscript")
"""TorchScript files' names end so; Sapiens' own end in _torchscript.pt2."""

SIZE = (768, 1024)
"""Width and height of what it sees."""

_HEATMAP = (256, 192)
_MEAN, _DEVIATION = (123.5, 116.5, 103.5), (58.5, 57.0, 57.5)  # of red, green and blue, in levels out of 255


class Sapiens(TopDown, nn.Module):
    """A network [B, 3, 1024, 768] -> heatmaps [B, 133 or 308, 256, 192]."""

    size, unbiased = SIZE, True

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION).view(3, 1, 1), persistent=False)

    @torch.inference_mode()
    def points(self, crops: np.ndarray) -> np.ndarray:
        """See `TopDown.points`; one picture at a time, for the largest of these networks fill a GPU."""
        return np.concatenate([self._points(crop) for crop in crops])

    def _points(self, crop: np.ndarray) -> np.ndarray:
        picture = torch.from_numpy(crop).to(self.mean.device).permute(2, 0, 1)
        heatmaps = self.network(((picture - self.mean) / self.deviation)[None])
        shape = list(heatmaps.shape) if isinstance(heatmaps, torch.Tensor) else type(heatmaps).__name__
        if shape not in [[1, count, *_HEATMAP] for count in LAYOUTS]:
            raise ValueError(
                f"The TorchScript file gives {shape} instead of heatmaps [1, {' or '.join(map(str, LAYOUTS))}, "
                f"{_HEATMAP[0]}, {_HEATMAP[1]}]: choose one of Sapiens' whole-body pose models."
            )
        return decode_udp(heatmaps).cpu().numpy()


def load_sapiens(path: Path) -> Sapiens:
    """Read a TorchScript file, on the CPU.

    Raises:
        ValueError: when it is another kind of file.
    """
    try:
        network = torch.jit.load(str(path), map_location="cpu")
    except (RuntimeError, ValueError):
        raise ValueError(
            f"{path.name} is not a TorchScript file: download the one whose name ends in _torchscript.pt2."
        ) from None
    return Sapiens(network.eval())
