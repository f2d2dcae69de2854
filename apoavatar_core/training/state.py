"""What a run keeps from one part to the next: a folder, each process's share of the tensors in a file of its own.

`torch.distributed.checkpoint` would do the same, but the description beside its tensors is a pickle, which can run code
when it is read. Here the tensors are safetensors, the rest is JSON, and no process holds or reads more than its share: a
tensor is written as soon as it is on the CPU, and another number of processes reads the parts that overlap its own.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.distributed.tensor import DTensor

from ..checkpoints.safe_file import json_field, read_metadata, stream_tensors
from ..files import sync_folder, write_whole
from ..settings import Settings

VERSION = 1
FACTS = "state.json"
UNFINISHED = ".part"


@dataclass(frozen=True)
class Piece:
    """The part of a tensor that one process holds: where it begins in the whole, and its values."""

    offset: tuple[int, ...]
    values: Tensor

    @classmethod
    def held(cls, tensor: Tensor) -> Piece:
        """Of a tensor that FSDP has split; any other is held whole."""
        if not isinstance(tensor, DTensor):
            return cls((0,) * tensor.ndim, tensor.detach())
        (chunk,) = tensor.__create_chunk_list__()
        return cls(tuple(chunk.offsets), tensor.detach().to_local())


def is_written_here(tensor: Tensor) -> bool:
    """Whether this process writes its piece: of those that hold the same one, the first does."""
    if not isinstance(tensor, DTensor):
        return process_number() == 0
    places = zip(tensor.device_mesh.get_coordinate(), tensor.placements, strict=True)
    return tensor.to_local().numel() > 0 and all(place == 0 for place, placement in places if placement.is_replicate())


def process_number() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def processes() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def wait_for_all() -> None:
    if dist.is_initialized():
        dist.barrier()


def save_state(folder: Path, step: int, fingerprint: dict[str, Any], facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write the state after a step into `folder`, all of it or nothing, and remove the older ones. All processes call this.

    The processes see the same folder. fingerprint: the settings that the run goes on with; facts: numbers and texts;
    tensors: by name, split or whole.
    """
    path = folder / f"step_{step:08d}"
    unfinished = path.with_name(path.name + UNFINISHED)
    if process_number() == 0:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
    wait_for_all()
    write_part(unfinished / part_name(process_number()), tensors)
    wait_for_all()
    if process_number() == 0:
        content = {"version": VERSION, "settings": fingerprint, "step": step, "processes": processes(), **facts}
        write_whole(unfinished / FACTS, json.dumps(content, indent=1))
        sync_folder(unfinished)
        shutil.rmtree(path, ignore_errors=True)
        unfinished.rename(path)
        sync_folder(folder)
        for other in folder.iterdir():
            if other != path:
                shutil.rmtree(other)
    wait_for_all()


def part_name(process: int) -> str:
    return f"part_{process:05d}.safetensors"


def write_part(path: Path, tensors: dict[str, Tensor]) -> None:
    """This process's pieces, one at a time."""
    pieces = {name: Piece.held(tensor) for name, tensor in tensors.items() if is_written_here(tensor)}
    offsets = json.dumps({name: piece.offset for name, piece in pieces.items()})
    layout = {name: (piece.values.dtype, piece.values.shape) for name, piece in pieces.items()}
    stream_tensors(path, layout, lambda name: pieces[name].values, {"offsets": offsets})


def newest_state(folder: Path) -> Path | None:
    """The last state that was written whole."""
    whole = [path for path in folder.glob("step_*") if path.suffix != UNFINISHED]
    return max(whole, default=None)


def read_facts(path: Path, fingerprint: dict[str, Any]) -> dict[str, Any]:
    """What a state says beside its tensors.

    Raises:
        ValueError: it cannot be read, or another version of the pack or other settings wrote it.
    """
    try:
        facts = json.loads((path / FACTS).read_text(encoding="utf-8"))
        version, settings = facts["version"], facts["settings"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(f"{path} holds no state that can be read: delete it, or use another folder") from None
    if version != VERSION:
        raise ValueError(
            f"{path} was written by another version of the pack (state version {version}, here {VERSION}): "
            "go on with that version, or use another folder"
        )
    other = sorted(name for name in settings.keys() | fingerprint.keys() if settings.get(name) != fingerprint.get(name))
    if other:
        raise ValueError(f"{path} was written with other settings ({', '.join(other)}): repeat them or use another folder")
    return facts


def fingerprint(settings: Settings, *changeable: str) -> dict[str, Any]:
    """The settings that a run must go on with, as JSON holds them: all but the `changeable`."""
    return settings.model_dump(mode="json", exclude=set(changeable))


class StoredTensors:
    """The tensors of a state, of which every process reads what it holds itself.

    Raises:
        ValueError: a file is missing or broken.
    """

    def __init__(self, path: Path, parts: int):
        self.files = [path / part_name(number) for number in range(parts)]
        self.offsets: dict[str, dict[Path, tuple[int, ...]]] = defaultdict(dict)
        for file in self.files:
            for name, offset in json_field(read_metadata(file), "offsets", file).items():
                self.offsets[name][file] = tuple(offset)

    def names(self, prefix: str) -> list[str]:
        """Names that begin with `prefix`."""
        return [name for name in self.offsets if name.startswith(prefix)]

    @torch.no_grad()
    def fill(self, tensors: dict[str, Tensor]) -> None:
        """Give these tensors, split or whole, the stored values of their names.

        Raises:
            ValueError: some of a tensor was not stored.
        """
        by_file = defaultdict(list)
        for name in tensors:
            for file in self.offsets.get(name, ()):
                by_file[file].append(name)
        pieces = {name: Piece.held(tensor) for name, tensor in tensors.items()}
        missing = {name: piece.values.numel() for name, piece in pieces.items()}
        for file, names in by_file.items():
            try:
                with safe_open(str(file), framework="pt") as stored:
                    for name in names:
                        missing[name] -= _copy_overlap(stored, name, self.offsets[name][file], pieces[name])
            except SafetensorError as error:
                raise ValueError(f"{file} is broken ({error}): delete {file.parent}") from None
        wrong = next((name for name, count in missing.items() if count), None)
        if wrong:
            raise ValueError(f"{self.files[0].parent} does not hold all of {wrong}: delete it, or use another folder")


def _copy_overlap(stored, name: str, offset: tuple[int, ...], piece: Piece) -> int:
    """Copy what a stored piece and one that is held share; returns how many values that is."""
    if not offset:
        piece.values.copy_(stored.get_tensor(name))
        return 1
    values = stored.get_slice(name)
    first = [max(pair) for pair in zip(offset, piece.offset, strict=True)]
    ends = zip(offset, values.get_shape(), piece.offset, piece.values.shape, strict=True)
    last = [min(theirs + length, ours + width) for theirs, length, ours, width in ends]
    if any(end <= start for start, end in zip(first, last)):
        return 0
    here = tuple(slice(start - ours, end - ours) for start, end, ours in zip(first, last, piece.offset))
    there = tuple(slice(start - theirs, end - theirs) for start, end, theirs in zip(first, last, offset))
    target = piece.values[here]
    target.copy_(values[there])
    return target.numel()


def optimizer_tensors(optimizers: Iterable[torch.optim.Optimizer], names: dict[Tensor, str]) -> dict[str, Tensor]:
    """The moments of optimisers under the names of their parameters."""
    return {
        f"optimizers/{number}/{kind}/{names[parameter]}": value
        for number, optimizer in enumerate(optimizers)
        for parameter, moments in optimizer.state.items()
        for kind, value in moments.items()
    }


def fill_optimizers(optimizers: Iterable[torch.optim.Optimizer], parameters: dict[str, Tensor], stored: StoredTensors) -> None:
    """Give new optimisers the moments that `optimizer_tensors` named."""
    for number, optimizer in enumerate(optimizers):
        wanted = {}
        for full in stored.names(f"optimizers/{number}/"):
            _, _, kind, name = full.split("/")
            # AdamW counts its steps in one number for every parameter.
            moment = torch.zeros(()) if kind == "step" else torch.zeros_like(parameters[name])
            optimizer.state[parameters[name]][kind] = wanted[full] = moment
        stored.fill(wanted)
