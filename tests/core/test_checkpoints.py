"""Adapter files: what is written comes back whole, and what is not an adapter is refused in one sentence."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from apoavatar_core.adapters import AdapterConfig, ApoAvatarAdapter
from apoavatar_core.checkpoints.adapter_file import FORMAT, read_adapter, save_adapter
from apoavatar_core.checkpoints.safe_file import json_field, read_metadata, read_tensors

CONFIG = AdapterConfig(
    backbone_dim=8,
    backbone_layers=2,
    backbone_in_channels=20,
    heads=2,
    audio_encoder="log_mel_40",
    audio_feature_dim=3,
    audio_dim=4,
    tokens_per_frame=1,
    pose_channels=4,
    fps=24.0,
    window=17,
)


@pytest.fixture
def adapter() -> ApoAvatarAdapter:
    torch.manual_seed(0)
    adapter = ApoAvatarAdapter(CONFIG)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.normal_()
    return adapter


@pytest.fixture
def file(adapter: ApoAvatarAdapter, tmp_path: Path) -> Path:
    path = tmp_path / "voice.safetensors"
    save_adapter(path, adapter)
    return path


def refusal(path: Path) -> str:
    """The one sentence with which a file is refused."""
    with pytest.raises(ValueError) as caught:
        read_adapter(path)
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message and len(message) < 300
    return message


# --- round trip


def test_adapter_is_rebuilt_from_its_file_alone(adapter: ApoAvatarAdapter, file: Path) -> None:
    config, tensors = read_adapter(file)
    assert config == CONFIG
    rebuilt = ApoAvatarAdapter(config)
    rebuilt.load_state_dict(tensors)
    for name, tensor in adapter.state_dict().items():
        assert torch.equal(rebuilt.state_dict()[name], tensor.half().float()), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_adapter_is_written_in_the_asked_precision(adapter: ApoAvatarAdapter, tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "adapter.safetensors"
    save_adapter(path, adapter, dtype)
    _, tensors = read_adapter(path)
    assert {tensor.dtype for tensor in tensors.values()} == {dtype}
    if dtype == torch.float32:
        assert all(torch.equal(tensors[name], tensor) for name, tensor in adapter.state_dict().items())


def test_path_may_be_a_string(file: Path) -> None:
    assert read_adapter(str(file))[0] == CONFIG


def test_saving_again_replaces_the_file_and_leaves_no_other(adapter: ApoAvatarAdapter, file: Path) -> None:
    other = ApoAvatarAdapter(replace(CONFIG, backbone_layers=1))
    other.initialize()
    save_adapter(file, other)
    assert read_adapter(file)[0].backbone_layers == 1
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("there_before", [True, False])
def test_saving_that_fails_leaves_nothing_half_written(
    adapter: ApoAvatarAdapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there_before: bool
) -> None:
    path = tmp_path / "voice.safetensors"
    if there_before:
        save_adapter(path, adapter)
    before = path.read_bytes() if there_before else None

    def disk_full(file: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space left"):
        save_adapter(path, adapter)
    assert (path.read_bytes() if path.exists() else None) == before
    assert [file.name for file in tmp_path.iterdir()] == ([path.name] if there_before else [])


# --- files that are refused


def test_missing_file(tmp_path: Path) -> None:
    assert "is not there" in refusal(tmp_path / "absent.safetensors")


def test_folder(tmp_path: Path) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    assert "is not there" in refusal(tmp_path / "folder.safetensors")


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.safetensors"
    path.touch()
    assert "empty (0 bytes)" in refusal(path)


@pytest.mark.parametrize("kept", [1, 7, 8, 100, -1], ids=lambda kept: f"first {kept} bytes" if kept > 0 else "all but one")
def test_truncated_file(file: Path, kept: int) -> None:
    file.write_bytes(file.read_bytes()[:kept])
    assert "not a whole safetensors file" in refusal(file)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickle_is_not_opened(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "adapter.safetensors"
    torch.save({"weight": torch.zeros(2)}, path, _use_new_zipfile_serialization=zipped)
    assert "is a pickle" in refusal(path)


def test_text_file(tmp_path: Path) -> None:
    path = tmp_path / "page.safetensors"
    path.write_text("<!DOCTYPE html><title>404 not found</title>" * 10)
    assert "not a whole safetensors file" in refusal(path)


def rewritten(file: Path, metadata: dict[str, str] | None = None, **tensors: torch.Tensor | None) -> Path:
    """The file with other metadata, or with tensors replaced (None: removed)."""
    content = read_tensors(file) | tensors
    kept = {name: tensor for name, tensor in content.items() if tensor is not None}
    save_file(kept, file, metadata=read_metadata(file) | (metadata or {}))
    return file


def test_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "lora.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    assert "is not an ApoAvatar adapter (its format is None" in refusal(path)


def test_file_of_another_format(file: Path) -> None:
    message = refusal(rewritten(file, {"format": "apoavatar-adapter-2"}))
    assert "apoavatar-adapter-2" in message and FORMAT in message


@pytest.mark.parametrize("fields", [{"depth": 3}, {"heads": None}], ids=["an unknown field", "a missing field"])
def test_file_of_another_version(file: Path, fields: dict) -> None:
    config = {name: value for name, value in (asdict(CONFIG) | fields).items() if value is not None}
    assert "another version of this pack" in refusal(rewritten(file, {"config": json.dumps(config)}))


@pytest.mark.parametrize("text", ["", "{", "nonsense"])
def test_configuration_that_is_no_json(file: Path, text: str) -> None:
    assert "no readable 'config'" in refusal(rewritten(file, {"config": text}))


@pytest.mark.parametrize("text", ["[]", "3", "null", '"words"'])
def test_configuration_that_is_no_object(file: Path, text: str) -> None:
    refusal(rewritten(file, {"config": text}))


def test_configuration_with_values_of_another_type(file: Path) -> None:
    refusal(rewritten(file, {"config": json.dumps(asdict(CONFIG) | {"backbone_dim": "wide"})}))


def test_missing_tensor(file: Path) -> None:
    assert "injections.1.q.weight" in refusal(rewritten(file, **{"injections.1.q.weight": None}))


def test_additional_tensor(file: Path) -> None:
    assert "injections.2.q.weight" in refusal(rewritten(file, **{"injections.2.q.weight": torch.zeros(1)}))


def test_tensor_of_another_shape(file: Path) -> None:
    assert "audio_dit.q.weight" in refusal(rewritten(file, **{"audio_dit.q.weight": torch.zeros(4, 5)}))


def test_tensors_that_do_not_fit_the_configuration(file: Path) -> None:
    config = json.dumps(asdict(replace(CONFIG, backbone_layers=3)))
    assert "does not match its own description" in refusal(rewritten(file, {"config": config}))


@pytest.mark.parametrize("field", [{"backbone_layers": 20_000}, {"vae_stride": 2**12_000}], ids=lambda field: next(iter(field)))
def test_layers_that_the_file_has_no_tensors_for_are_not_built(file: Path, field: dict) -> None:
    """A million of them hang the server; so they are counted before they are built."""
    message = refusal(rewritten(file, {"config": json.dumps(asdict(CONFIG) | field)}))
    assert "layers, but" in message and "does not match its own description" in message


@pytest.mark.parametrize("field", ["backbone_dim", "audio_dim", "pose_channels", "tokens_per_frame", "patch"])
def test_dimensions_beyond_all_memory_are_refused(file: Path, field: str) -> None:
    refusal(rewritten(file, {"config": json.dumps(asdict(CONFIG) | {field: 10**30})}))


@pytest.mark.parametrize("text", ['{"heads": ' + "1" * 5_000 + "}", "[" * 100_000], ids=["a long number", "deep lists"])
def test_configuration_that_json_gives_up_on(file: Path, text: str) -> None:
    assert "no readable 'config'" in refusal(rewritten(file, {"config": text}))


# --- metadata


def test_metadata_is_read_without_the_tensors(file: Path) -> None:
    assert read_metadata(file)["format"] == FORMAT
    assert json_field(read_metadata(file), "config", file) == asdict(CONFIG)


def test_metadata_field_that_is_missing_is_named(file: Path) -> None:
    with pytest.raises(ValueError, match=rf"{file.name} has no readable 'tokenizer'"):
        json_field(read_metadata(file), "tokenizer", file)
