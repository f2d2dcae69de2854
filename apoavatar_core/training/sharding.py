"""Tensors that FSDP has split among processes: put together to be saved, and split again when they come back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def gathered(content: Any) -> Any:
    """Nested dictionaries and lists with every split tensor in them whole and on the CPU. All processes call this."""
    if isinstance(content, dict):
        return {key: gathered(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [gathered(value) for value in content]
    return content.full_tensor().cpu() if isinstance(content, DTensor) else content


def split_like(tensor: Tensor, sharded: Tensor) -> Tensor:
    """The whole `tensor` on the device of `sharded` and, where that is one of FSDP's and as large, split like it."""
    if isinstance(sharded, DTensor) and tensor.shape == sharded.shape:
        return distribute_tensor(tensor.to(sharded.device), sharded.device_mesh, sharded.placements)
    return tensor.to(sharded.device)


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Give an optimiser a gathered state, split as its parameters are."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    moments = {
        index: {
            name: split_like(value, parameters[index]) if isinstance(value, Tensor) and value.ndim else value
            for name, value in entries.items()
        }
        for index, entries in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": moments})
