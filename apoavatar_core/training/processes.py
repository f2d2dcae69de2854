"""The processes of a run: this one alone, or those that a launcher started."""

from __future__ import annotations

import torch
from accelerate import Accelerator, DistributedType
from accelerate.utils import AutocastKwargs

from .config import TrainingConfig


def new_accelerator(config: TrainingConfig) -> Accelerator:
    """The processes that accelerate's launcher started, or this one alone.

    Raises:
        ValueError: the launcher chose FSDP's first version.
    """
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision="bf16" if config.precision == "bf16" else "no",
        log_with="tensorboard",
        project_dir=config.run,
        # Every weight is used once a pass; a cache would hold all of them in bf16, those that FSDP gathered too.
        kwargs_handlers=[AutocastKwargs(cache_enabled=False)],
    )
    if accelerator.distributed_type is DistributedType.FSDP:
        if not accelerator.is_fsdp2:
            raise ValueError("FSDP's first version cannot split this model: launch with --fsdp_version 2")
        # Autocast alone chooses what is bf16, as on one GPU: FSDP would round positions and modulation too.
        accelerator.state.fsdp_plugin.mixed_precision_policy = None
    return accelerator


def is_filled_by_the_first(accelerator: Accelerator) -> bool:
    """Whether this process gets its part of the weights from the first one when FSDP splits the model, and need not build
    any: on a node of eight, seven copies of a large model in the host's memory are saved.
    """
    return (
        accelerator.distributed_type is DistributedType.FSDP
        and accelerator.state.fsdp_plugin.cpu_ram_efficient_loading
        and not accelerator.is_main_process
    )


def share_of(positions: range, process: int, processes: int) -> range:
    """One process's part of a step's positions.

    Raises:
        ValueError: the batch does not divide by the number of processes.
    """
    if len(positions) % processes:
        raise ValueError(f"stages: a batch of {len(positions)} does not divide among {processes} processes")
    share = len(positions) // processes
    first = positions.start + share * process
    return range(first, first + share)
