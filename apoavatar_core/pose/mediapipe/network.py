"""A network as a list of steps: what a .tflite file says it does, executed with PyTorch.

MediaPipe's networks are plain chains and sums of a dozen operations. Their files' operator lists become a JSON
description (`convert.py`), and this page runs it; nothing in a description can do more than choose among the kinds of
step below.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .fused import fits, fused

INPUT = "input"
"""The name of the picture among a network's values."""

LARGEST = 4096
"""No number of a description may be larger: the largest real one is 1404."""

ACTIVATIONS = {"none": lambda x: x, "relu": F.relu_, "relu6": lambda x: F.hardtanh_(x, 0, 6)}
"""What may follow a sum or a convolution, in place."""


class Network(nn.Module):
    """Executes a description.

    Args:
        description: `size` [height, width] of the picture, `steps`, each with its `kind`, the names of its `inputs` and
            of its `output` and the arguments of its kind, and `outputs`, the names of the values that come out.
        operations: supplies the layers with weights: `torch.nn`, or `comfy.ops.manual_cast` inside ComfyUI.

    Raises:
        ValueError: when the description is not one.
    """

    def __init__(self, description: dict[str, Any], operations=nn, device=None, dtype=None) -> None:
        super().__init__()
        settings = {"operations": operations, "device": device, "dtype": dtype}
        try:
            self.size = tuple(_count(side) for side in description["size"])
            self.outputs = tuple(description["outputs"])
            self.wiring = [(tuple(step["inputs"]), step["output"]) for step in description["steps"]]
            self.steps = nn.ModuleList(_step(step, settings) for step in description["steps"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"The description of the network is broken ({error}).") from None
        self._check_wiring()
        self.last_uses = _last_uses(self.wiring, self.outputs)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Pictures [B, 3, height, width] in the range that the network was trained for -> its outputs."""
        values = {INPUT: pictures}
        for step, (inputs, output), unused in zip(self.steps, self.wiring, self.last_uses):
            values[output] = step.forward(*(values[name] for name in inputs))  # a call would look for hooks
            for name in unused:
                del values[name]
        return [values[name] for name in self.outputs]

    def _check_wiring(self) -> None:
        known = {INPUT}
        for inputs, output in self.wiring:
            if not inputs or not set(inputs) <= known or output in known:
                raise ValueError(f"The description of the network is broken (its value {output!r} has no origin).")
            known.add(output)
        if not self.outputs or not set(self.outputs) <= known:
            raise ValueError("The description of the network is broken (an output has no origin).")


def _last_uses(wiring: Sequence[tuple[tuple[str, ...], str]], outputs: Sequence[str]) -> list[set[str]]:
    """The values that nothing needs after each step."""
    needed = set(outputs)
    unused = []
    for inputs, output in reversed(wiring):
        unused.append({name for name in (*inputs, output) if name not in needed})
        needed |= set(inputs)
    return unused[::-1]


def _step(description: dict[str, Any], settings: dict[str, Any]) -> nn.Module:
    arguments = {name: value for name, value in description.items() if name not in ("kind", "inputs", "output")}
    kind = KINDS.get(description["kind"])
    if kind is None:
        raise ValueError(f"The description of the network is broken (no step is called {description['kind']!r}).")
    return kind(**arguments, **settings) if issubclass(kind, _Weighted) else kind(**arguments)


def _count(value: Any) -> int:
    """A number of a description."""
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise ValueError(f"The description of the network is broken ({value!r} is not a size).")
    return value


def _counts(values: Any, length: int) -> tuple[int, ...]:
    counts = tuple(_count(value) for value in values)
    if len(counts) != length:
        raise ValueError(f"The description of the network is broken ({values!r} are not {length} sizes).")
    return counts


class _Weighted(nn.Module):
    """A step that has weights."""


class _Activated(_Weighted):
    """A layer and what follows it, in one where the CPU can.

    activation: one of `ACTIVATIONS`.
    """

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.name, self.activation = activation, ACTIVATIONS[activation]
        self.fused: Callable[[Tensor], Tensor] | None = None
        self.register_load_state_dict_post_hook(lambda *_: setattr(self, "fused", None))

    def layer(self) -> nn.Module:
        raise NotImplementedError

    def apart(self, x: Tensor) -> Tensor:
        """The layer, then the activation."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        if not fits(x):
            return self.apart(x)
        if self.fused is None:
            self.fused = fused(self.layer(), self.name, x)
        return self.fused(x)


class Convolution(_Activated):
    """A convolution with bias; `stride` and `padding` are those of rows and columns."""

    def __init__(self, shape, stride, groups, padding, activation, operations, device, dtype) -> None:
        super().__init__(activation)
        outputs, inputs, height, width = _counts(shape, 4)
        self.convolution = operations.Conv2d(
            inputs * _count(groups), outputs, (height, width), stride=_counts(stride, 2), groups=groups,
            padding=_counts(padding, 2), device=device, dtype=dtype,
        )  # fmt: skip

    def layer(self) -> nn.Module:
        return self.convolution

    def apart(self, x: Tensor) -> Tensor:
        return self.activation(self.convolution(x))


class Pointwise(_Activated):
    """A 1 x 1 convolution, as the matrix product that it is: PyTorch's own takes twice as long for one picture."""

    def __init__(self, shape, activation, operations, device, dtype) -> None:
        super().__init__(activation)
        outputs, inputs = _counts(shape, 2)
        self.linear = operations.Linear(inputs, outputs, device=device, dtype=dtype)

    def layer(self) -> nn.Module:
        return self.linear

    def apart(self, x: Tensor) -> Tensor:
        return self.activation(self.linear(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


class Scale(_Weighted):
    """Each channel times a factor plus a bias."""

    def __init__(self, channels, operations, device, dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(_count(channels), 1, 1, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(_count(channels), 1, 1, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.bias.to(x), x, self.weight.to(x))


class FullyConnected(_Weighted):
    """[B, c] -> [B, c']."""

    def __init__(self, shape, operations, device, dtype) -> None:
        super().__init__()
        outputs, inputs = _counts(shape, 2)
        self.linear = operations.Linear(inputs, outputs, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


class PReLU(_Weighted):
    """A leaky ReLU with a slope for each channel."""

    def __init__(self, channels, operations, device, dtype) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.empty(_count(channels), device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return F.prelu(x, self.slope.to(x))


class Add(nn.Module):
    def __init__(self, activation) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.activation(x + y)


class ReLU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x)


class Sigmoid(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x)


class MaxPool(nn.Module):
    def __init__(self, window) -> None:
        super().__init__()
        self.window = _counts(window, 2)

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, self.window)


class Mean(nn.Module):
    """[B, c, h, w] -> [B, c]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class Resize(nn.Module):
    """Bilinear, pixel centres at halves."""

    def __init__(self, size) -> None:
        super().__init__()
        self.size = _counts(size, 2)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, self.size, mode="bilinear")


class DepthToSpace(nn.Module):
    """Channels become blocks of pixels; the block's position is the slow index, unlike in `pixel_shuffle`."""

    def __init__(self, block) -> None:
        super().__init__()
        self.block = _count(block)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        x = x.reshape(batch, self.block, self.block, channels // self.block**2, height, width)
        return x.permute(0, 3, 4, 1, 5, 2).reshape(batch, -1, height * self.block, width * self.block)


class Channels(nn.Module):
    """Cut off the channels past `count`, or add channels of zeros."""

    def __init__(self, count) -> None:
        super().__init__()
        self.count = _count(count)

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, 0, 0, 0, 0, self.count - x.shape[1]))


class Rows(nn.Module):
    """[B, c, h, w] -> [B, h * w * c / width, width], pixel after pixel."""

    def __init__(self, width) -> None:
        super().__init__()
        self.width = _count(width)

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).reshape(len(x), -1, self.width)


class Concatenate(nn.Module):
    """Rows below rows."""

    def forward(self, *parts: Tensor) -> Tensor:
        return torch.cat(parts, dim=1)


KINDS: dict[str, type[nn.Module]] = {
    "convolution": Convolution,
    "pointwise": Pointwise,
    "scale": Scale,
    "fully_connected": FullyConnected,
    "prelu": PReLU,
    "add": Add,
    "relu": ReLU,
    "sigmoid": Sigmoid,
    "max_pool": MaxPool,
    "mean": Mean,
    "resize": Resize,
    "depth_to_space": DepthToSpace,
    "channels": Channels,
    "rows": Rows,
    "concatenate": Concatenate,
}
