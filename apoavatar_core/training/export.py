"""Write trained models as files that ComfyUI's own loaders read."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from ..checkpoints.adapter_file import adapter_metadata
from ..checkpoints.safe_file import stream_tensors
from .config import TrainingConfig
from .model import FlowMatching
from .state import process_number, wait_for_all


def export_run(config: TrainingConfig, model: FlowMatching) -> None:
    """Write the model as files that the nodes load; of a backbone that stays as it is only its LoRA. All processes call
    this, for each may hold a part of it; the first one writes.
    """
    write(config.run / "adapter.safetensors", model.adapter.state_dict(), adapter_metadata(model.adapter.config))
    if config.backbone.lora_rank:
        export_lora(config.run / "lora.safetensors", model.dit.state_dict())
    if config.backbone.new or config.trained & {"text", "video"}:
        export_dit(config.run / "diffusion_model.safetensors", model.dit, model.dit.state_dict())


def write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Save as fp16, as shared files are; one tensor is put together after the other, where FSDP has split them."""
    if process_number() == 0:
        # Of one width, so they are asked for in this order.
        layout = {name: (torch.float16, tensor.shape) for name, tensor in tensors.items()}
        stream_tensors(path, layout, lambda name: whole(tensors[name]), metadata or {})
    else:
        for tensor in tensors.values():
            whole(tensor)
    wait_for_all()


def whole(tensor: Tensor) -> Tensor:
    """The tensor with the parts that the other processes hold. They all ask for the same one."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


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
