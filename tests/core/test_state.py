"""What a run keeps: parts of tensors, written by some processes and read by others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from apoavatar_core.checkpoints.safe_file import DTYPES, read_metadata, stream_tensors
from apoavatar_core.training.state import (
    FACTS,
    Piece,
    StoredTensors,
    _copy_overlap,
    fill_optimizers,
    newest_state,
    optimizer_tensors,
    part_name,
    read_facts,
    save_state,
)

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {"shift": 3.0, "stages": [{"steps": 4}]}


def test_streamed_files_are_what_safetensors_writes(tmp_path: Path) -> None:
    tensors = {
        "half": torch.randn(3, 5).half(),
        "one": torch.tensor(7.0),
        "none": torch.zeros(0, 4),
        "turned": torch.randn(4, 6).T,
        **{str(dtype): torch.arange(3).to(dtype) for dtype in DTYPES},
    }
    asked = []
    layout = {name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()}
    stream_tensors(tmp_path / "ours.safetensors", layout, lambda name: asked.append(name) or tensors[name], {"a": "ä"})
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tmp_path / "theirs.safetensors", {"a": "ä"})
    ours, theirs = (load_file(tmp_path / f"{name}.safetensors") for name in ("ours", "theirs"))
    assert sorted(asked) == sorted(tensors) == sorted(ours)
    for name, tensor in theirs.items():
        assert ours[name].dtype is tensor.dtype and ours[name].shape == tensor.shape
        assert bytes(ours[name].reshape(-1).view(torch.uint8).numpy()) == bytes(tensor.reshape(-1).view(torch.uint8).numpy())
    assert read_metadata(tmp_path / "ours.safetensors") == {"a": "ä"}
    assert len(list(tmp_path.iterdir())) == 2


def test_a_tensor_is_asked_for_when_the_one_before_it_is_written(tmp_path: Path) -> None:
    def refuse(name: str) -> torch.Tensor:
        if name == "second":
            raise RuntimeError("no memory")
        return torch.zeros(4)

    layout = dict.fromkeys(("first", "second"), (torch.float32, torch.Size([4])))
    with pytest.raises(RuntimeError, match="no memory"):
        stream_tensors(tmp_path / "file.safetensors", layout, refuse, {})
    assert not list(tmp_path.iterdir())


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 12), columns=st.integers(1, 5), writers=st.integers(1, 5), readers=st.integers(1, 5))
def test_any_number_of_processes_reads_what_any_number_wrote(rows, columns, writers, readers) -> None:
    """Pieces as FSDP cuts them, the first dimension into chunks of one size, of which the last ones may be missing."""
    whole = torch.arange(float(rows * columns)).view(rows, columns)

    class Stored:
        def __init__(self, values):
            self.values = values

        def get_slice(self, name):
            return self

        def get_shape(self):
            return list(self.values.shape)

        def __getitem__(self, place):
            return self.values[place]

    def pieces(tensor: torch.Tensor, count: int) -> list[Piece]:
        chunks = tensor.chunk(count)
        starts = np.cumsum([0, *(len(chunk) for chunk in chunks)])
        return [Piece((int(start), 0), chunk) for start, chunk in zip(starts, chunks)]

    read = torch.full_like(whole, -1)
    for target in pieces(read, readers):
        copied = sum(_copy_overlap(Stored(piece.values), "x", piece.offset, target) for piece in pieces(whole, writers))
        assert copied == target.values.numel()
    assert torch.equal(read, whole)


def test_a_state_comes_back_and_takes_the_place_of_the_older_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tensors = {"model/a": torch.randn(4, 3), "model/b": torch.tensor(5.0), "average/a": torch.randn(4, 3)}
    assert newest_state(tmp_path / "state") is None
    save_state(tmp_path / "state", 100, SETTINGS, {"position": 400}, {"model/a": torch.zeros(1)})
    (tmp_path / "state" / "step_00000900.part").mkdir()  # what a power cut left
    save_state(tmp_path / "state", 200, SETTINGS, {"position": 800}, tensors)
    path = newest_state(tmp_path / "state")
    assert list((tmp_path / "state").iterdir()) == [path]
    facts = read_facts(path, SETTINGS)
    assert (facts["step"], facts["position"], facts["processes"]) == (200, 800, 1)
    read = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    StoredTensors(path, 1).fill(read)
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())
    assert not any(b"pickle" in file.read_bytes() or file.suffix not in (".json", ".safetensors") for file in path.iterdir())


def test_an_unfinished_state_is_none(tmp_path: Path) -> None:
    save_state(tmp_path, 9, SETTINGS, {}, {})
    (tmp_path / "step_00000010.part").mkdir()
    assert newest_state(tmp_path) == tmp_path / "step_00000009"


def test_a_state_of_another_version_other_settings_or_half_a_state_is_refused(tmp_path: Path) -> None:
    save_state(tmp_path, 1, SETTINGS, {}, {"a": torch.ones(2)})
    path = newest_state(tmp_path)
    with pytest.raises(ValueError, match=r"other settings \(shift, warmup\): repeat them"):
        read_facts(path, SETTINGS | {"shift": 1.0, "warmup": 3})
    for wanted in ({"a": torch.zeros(3)}, {"a": torch.zeros(2), "b": torch.zeros(2)}):
        with pytest.raises(ValueError, match=f"does not hold all of {list(wanted)[-1]}: delete it"):
            StoredTensors(path, 1).fill(wanted)
    with pytest.raises(ValueError, match="part_00001.safetensors is not there"):
        StoredTensors(path, 2)
    content = json.loads((path / FACTS).read_text())
    (path / FACTS).write_text(json.dumps(content | {"version": 0}))
    with pytest.raises(ValueError, match="another version of the pack .state version 0, here 1.: go on with that version"):
        read_facts(path, SETTINGS)
    for broken in ("{", "[]", "{}"):
        (path / FACTS).write_text(broken)
        with pytest.raises(ValueError, match="holds no state that can be read: delete it"):
            read_facts(path, SETTINGS)


def test_moments_return_to_new_optimizers(tmp_path: Path) -> None:
    def network() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        module = torch.nn.Linear(3, 2)
        return module, torch.optim.AdamW(module.parameters(), 0.1)

    module, optimizer = network()
    module.bias.grad = torch.ones(2)  # the weight rests, and has no moments
    optimizer.step()
    names = {parameter: name for name, parameter in module.named_parameters()}
    save_state(tmp_path, 1, SETTINGS, {}, optimizer_tensors([optimizer], names))
    other, fresh = network()
    fill_optimizers([fresh], dict(other.named_parameters()), StoredTensors(newest_state(tmp_path), 1))
    assert list(fresh.state) == [other.bias]
    for kind, value in optimizer.state[module.bias].items():
        assert torch.equal(fresh.state[other.bias][kind], value) and fresh.state[other.bias][kind].dtype is value.dtype


SPLIT = """
import sys, torch, torch.distributed as dist
from pathlib import Path
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from apoavatar_core.training.state import StoredTensors, newest_state, read_facts, save_state

dist.init_process_group("gloo")
mesh = init_device_mesh("cpu", (2,))
folder = Path(sys.argv[1])
whole = {"odd": torch.arange(15.0).view(5, 3), "one": torch.arange(3.0).view(1, 3), "same": torch.tensor(4.0)}
split = {"odd": distribute_tensor(whole["odd"], mesh, [Shard(0)]), "one": distribute_tensor(whole["one"], mesh, [Shard(0)]),
         "copies": distribute_tensor(whole["odd"], mesh, [Replicate()]), "same": whole["same"]}
path = newest_state(folder)
read = {name: torch.zeros_like(split[name]) for name in whole}
StoredTensors(path, read_facts(path, {})["processes"]).fill(read)  # by one process
for name in whole:
    found = read[name].full_tensor() if name != "same" else read[name]
    assert torch.equal(found, whole[name]), name
save_state(folder, 2, {}, {}, split)
dist.destroy_process_group()
"""


def test_two_processes_go_on_from_one_and_one_from_two(tmp_path: Path) -> None:
    """Tensors that FSDP would split: one of an odd number of rows, and one of which the second process holds nothing."""
    whole = {"odd": torch.arange(15.0).view(5, 3), "one": torch.arange(3.0).view(1, 3), "same": torch.tensor(4.0)}
    save_state(tmp_path / "state", 1, {}, {}, whole)
    (tmp_path / "split.py").write_text(SPLIT)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone", str(tmp_path / "split.py")]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    result = subprocess.run([*command, str(tmp_path / "state")], env=variables, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    path = newest_state(tmp_path / "state")
    parts = [load_file(path / part_name(number)) for number in range(2)]
    assert [{name: len(tensor) if tensor.ndim else 1 for name, tensor in part.items()} for part in parts] == [
        {"odd": 3, "one": 1, "copies": 5, "same": 1},
        {"odd": 2},
    ]
    read = {name: torch.zeros_like(tensor) for name, tensor in whole.items()} | {"copies": torch.zeros(5, 3)}
    StoredTensors(path, read_facts(path, {})["processes"]).fill(read)
    assert all(torch.equal(read[name], tensor) for name, tensor in (whole | {"copies": whole["odd"]}).items())
