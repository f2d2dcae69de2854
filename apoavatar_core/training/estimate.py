"""What a step of a run takes, computed from its configuration: weights and activations are counted, never made."""

from __future__ import annotations

import weakref
from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from ..comfyui import trainable
from ..comfyui.wan import latent_format
from ..conditioning.clip import refuse_parts_of_tokens
from ..grid import LATENT_CHANNELS, latent_frames, video_frames
from .branches import branch_of
from .config import Backbone, TrainingConfig
from .examples import Batch, ExampleSource
from .model import FlowMatching, planned_model
from .optimizers import build_optimizers

WAN_TEXT, WAN_PORTRAIT = (512, 4096), (257, 1280)
WAV2VEC2 = ("wav2vec2_base", 12 * 768)
GIB = 2**30


@dataclass(frozen=True)
class Estimate:
    """Of the stage whose step needs most, for one process.

    learned: parameters by branch; frozen: the others. kept: bytes of weights, gradients, average and optimiser, of which
    FSDP leaves each process a part; passing: what a step holds at most beside them; flops: floating-point operations of
    matrix products and attention. host: bytes of the host's memory while the model is built, whole, before it moves or is
    split; saved: bytes of a state on the disk, of all processes together.
    """

    learned: dict[str, int]
    frozen: int
    kept: int
    passing: int
    flops: int
    host: int
    saved: int

    def text(self) -> str:
        learned = ", ".join(f"{name} {count / 1e6:,.1f} M" for name, count in sorted(self.learned.items()))
        return (
            f"learned: {learned}; frozen: {self.frozen / 1e6:,.1f} M parameters\n"
            f"memory: {(self.kept + self.passing) / GIB:.1f} GiB: {self.kept / GIB:.1f} of weights, gradients, average and "
            f"optimiser, and {self.passing / GIB:.1f} that pass through in a step\n"
            f"work: {self.flops / 1e12:,.1f} TFLOP a step\n"
            f"host: {self.host / GIB:.1f} GiB of memory to build the model in (the first process), and "
            f"{self.saved / GIB:.1f} GiB of disk for a saved state, twice while the next one is written"
        )


class PlannedClips:
    """In place of `PreparedClips`: clips of one size as `prepare` would write them with Wan's encoders, of which the VAE makes
    latents of `channels` channels.

    Raises:
        ValueError: the size does not fill the VAE's tokens.
    """

    audio_encoder, audio_width = WAV2VEC2
    rates = (24.0, 24.0)

    def __init__(self, width: int, height: int, frames: int, channels: int):
        self.width, self.height, self.channels = width, height, channels
        self.pixels_per_latent = latent_format(channels).spacial_downscale_ratio
        refuse_parts_of_tokens(width, height, self.pixels_per_latent)
        self.lengths = np.array([latent_frames(frames)])

    def of_length(self, latent_frames: int) -> np.ndarray:
        """The one clip's number.

        Raises:
            ValueError: it is shorter.
        """
        if latent_frames > self.lengths[0]:
            raise ValueError(f"stages: {latent_frames} latent frames, and the clips have {self.lengths[0]}: raise --frames")
        return np.zeros(1, int)

    def clip(self, index: int, latent_frames: int, start: int = 0) -> dict[str, Tensor]:
        """Zeros in the shapes of `PreparedClips.clip`."""
        stride = self.pixels_per_latent
        latents = (self.channels, latent_frames, self.height // stride, self.width // stride)
        shapes = {
            "latents": latents,
            "reference": latents,
            "audio": (8, latent_frames, self.audio_width),
            "pose": (12, latent_frames, self.height, self.width),
            "mouth": latents[1:],
            "posed": (),
            "dropout": (video_frames(latent_frames),),
            "text": WAN_TEXT,
            "speaking_text": WAN_TEXT,
            "null_text": WAN_TEXT,
            "portrait": WAN_PORTRAIT,
        }
        return {name: torch.zeros(shape) for name, shape in shapes.items()}


class LiveMemory(TorchDispatchMode):
    """Counts the bytes of the tensors that are alive, and the most there ever were at once."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.known: weakref.WeakSet = weakref.WeakSet()

    def add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage in self.known:
            return
        self.known.add(storage)
        size = storage.nbytes()
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, size)

    def _forget(self, size: int) -> None:
        self.live -= size

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        result = operation(*arguments, **(options or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.add(leaf)
        return result


def estimate(config: TrainingConfig, width: int, height: int, frames: int, processes: int) -> Estimate:
    """What the run would take with Wan's encoders on clips of this size, split by FSDP where there are more processes.

    Raises:
        ValueError: the backbone's file is missing or no Wan model, a stage wants longer clips, the size does not fill the
            VAE's tokens, or a batch does not divide.
    """
    clips = PlannedClips(width, height, frames, latent_channels(config.backbone))
    stage = max(config.stages, key=lambda stage: stage.batch * stage.latent_frames)
    if stage.batch % processes:
        raise ValueError(f"stages: a batch of {stage.batch} does not divide among {processes} processes")
    share = stage.batch // processes
    model = planned_model(config, clips)
    with FakeTensorMode():
        without_memory(model)
        source = ExampleSource(clips, config.conditions_of(stage), config.shift, config.seed)
        batch = source.batch(range(share), stage.latent_frames)
        kept, passing, saved = count_memory(model, batch, config)
        with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as flops:
            run_step(model, batch, config)
    if processes > 1:
        kept, passing = kept // processes, passing + gathered_bytes(model)
    learned, frozen = Counter(), 0
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            learned[branch_of(name)] += parameter.numel()
        else:
            frozen += parameter.numel()
    host = sum(parameter.numel() for parameter in model.parameters()) * torch.float32.itemsize
    return Estimate(dict(learned), frozen, kept, passing, flops.get_total_flops(), host, saved)


def latent_channels(backbone: Backbone) -> int:
    """Of the VAE that belongs to a backbone; a new one is planned as Wan 2.1's are.

    Raises:
        ValueError: its file is missing or no Wan model.
    """
    if backbone.file is None:
        return LATENT_CHANNELS
    with torch.device("meta"):
        return trainable.planned_dit(backbone.file).out_dim


def count_memory(model: FlowMatching, batch: Batch, config: TrainingConfig) -> tuple[int, int, int]:
    """Bytes that stay from step to step, gradients among them, the most that a step holds beside them, and those of the
    tensors in a saved state.
    """
    memory = LiveMemory()
    for parameter in model.parameters():
        memory.add(parameter)
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with memory:
        average = [parameter.detach().clone() for parameter in learned]
        for parameter in learned:
            parameter.grad = torch.zeros_like(parameter)
        optimizers = build_optimizers(config.optimizer, model, config.weight_decay)
        for optimizer in optimizers:
            optimizer.step()
        kept = memory.peak = memory.live
        moments = [value for optimizer in optimizers for state in optimizer.state.values() for value in state.values()]
        saved = sum(tensor.nbytes for tensor in (*learned, *average, *moments))
        for tensor in batch.tensors():
            memory.add(tensor)
        run_step(model, batch, config)
        for optimizer in optimizers:
            optimizer.step()
    return kept, memory.peak - kept, saved


def gathered_bytes(model: FlowMatching) -> int:
    """What FSDP puts together at once: weights and gradients of all that is not split apart, and of two units, the one
    that is used and the next.
    """
    units = [module for module in model.modules() if type(module).__name__ in model._no_split_modules]
    sizes = [sum(parameter.nbytes for parameter in unit.parameters()) for unit in units]
    rest = sum(parameter.nbytes for parameter in model.parameters()) - sum(sizes)
    return 2 * (rest + 2 * max(sizes))


def without_memory(model: nn.Module) -> None:
    """Give a model of the meta device parameters that only pretend to be on the CPU, where autocast is known."""
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            pretended = torch.empty(parameter.shape, dtype=parameter.dtype)
            setattr(module, name, nn.Parameter(pretended, parameter.requires_grad))


def run_step(model: FlowMatching, batch: Batch, config: TrainingConfig) -> None:
    """Forward and backward pass."""
    with torch.autocast("cpu", torch.bfloat16, config.precision == "bf16", cache_enabled=False):
        loss = model(batch)
    loss.backward()


CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: lambda query, key, value, *_, **__: sdpa_flop_count(
        query, key, value
    ),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: lambda gradient, query, key, value, *_, **__: (
        sdpa_backward_flop_count(gradient, query, key, value)
    ),
}
"""From the shapes: PyTorch counts attention on GPUs alone."""
