"""Files of other people as adapters: mixed precision, whole models, layers that do not fit, GGUF."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from apoavatar_core.checkpoints.adapter_file import read_adapter, write_adapter
from apoavatar_core.checkpoints.unianimate import read_unianimate

WIDTH, AUDIO_WIDTH, FEATURES, HIDDEN, TOKENS = 80, 8, 2, 3, 4
NEW = ("audio_dit.", "pose_adapter.")


def infinitetalk(blocks: int = 2) -> dict[str, Tensor]:
    """A small file of InfiniteTalk's layout in float32."""
    shapes = {
        "audio_proj.proj1.weight": (HIDDEN, 5 * FEATURES),
        "audio_proj.proj1.bias": (HIDDEN,),
        "audio_proj.proj1_vf.weight": (HIDDEN, 8 * FEATURES),
        "audio_proj.proj1_vf.bias": (HIDDEN,),
        "audio_proj.proj2.weight": (HIDDEN, HIDDEN),
        "audio_proj.proj2.bias": (HIDDEN,),
        "audio_proj.proj3.weight": (TOKENS * AUDIO_WIDTH, HIDDEN),
        "audio_proj.proj3.bias": (TOKENS * AUDIO_WIDTH,),
        "audio_proj.norm.weight": (AUDIO_WIDTH,),
        "audio_proj.norm.bias": (AUDIO_WIDTH,),
    }
    for block in range(blocks):
        layers = (("q_linear", WIDTH, WIDTH), ("kv_linear", 2 * WIDTH, AUDIO_WIDTH), ("proj", WIDTH, WIDTH))
        for name, rows, columns in layers:
            shapes[f"blocks.{block}.audio_cross_attn.{name}.weight"] = (rows, columns)
            shapes[f"blocks.{block}.audio_cross_attn.{name}.bias"] = (rows,)
        shapes |= {f"blocks.{block}.norm_x.{kind}": (WIDTH,) for kind in ("weight", "bias")}
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def saved(tensors: dict[str, Tensor], path: Path) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


def refusal(path: Path) -> str:
    """The one sentence with which a file is refused."""
    with pytest.raises(ValueError) as caught:
        read_adapter(path)
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message and len(message) < 300
    return message


@pytest.mark.parametrize("matrices", [torch.float16, torch.bfloat16])
def test_new_layers_beside_a_mixed_file_are_as_its_matrices(tmp_path: Path, matrices: torch.dtype) -> None:
    """As `wan2.1_infiniteTalk_multi_fp16`: fp16 beside fp32. The audio projection has more matrices, the block more numbers."""
    mixed = {
        name: tensor.to(matrices) if ".audio_cross_attn." in name and name.endswith("weight") else tensor
        for name, tensor in infinitetalk(blocks=1).items()
    }
    _, tensors = read_adapter(saved(mixed, tmp_path / "mixed.safetensors"))
    assert {tensor.dtype for name, tensor in tensors.items() if name.startswith(NEW)} == {matrices}
    assert tensors["injections.0.norm.weight"].dtype == torch.float32, "what the file has stays as it is"
    assert tensors["injections.0.k.weight"].dtype == matrices


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("wan2.1_infiniteTalk_multi_fp16", (True, 0)),
        ("Wan2_1-InfiniTetalk-Single_fp16", (True, 0)),
        ("infinitetalk_from_multitalk", (True, 0)),
        ("some", (True, 0)),
        ("multitalk", (False, 7)),
        ("WanVideo_2_1_Multitalk_14B_fp8_e4m3fn", (False, 7)),
    ],
)
def test_multitalk_is_told_from_infinitetalk_by_its_file_s_name(tmp_path: Path, name: str, found: tuple[bool, int]) -> None:
    """It holds no portrait and goes on from up to 25 frames, which it is shown; a converted file keeps that under any name."""
    config, tensors = read_adapter(saved(infinitetalk(blocks=1), tmp_path / f"{name}.safetensors"))
    assert (config.holds_reference, config.leading_latents) == found
    write_adapter(tmp_path / "adapter.safetensors", config, tensors)
    assert read_adapter(tmp_path / "adapter.safetensors")[0] == config


@pytest.mark.parametrize("prefix", ["", "diffusion_model."])
def test_a_whole_model_with_audio_layers_is_refused(tmp_path: Path, prefix: str) -> None:
    """SkyReels-V3 A2V is a Wan model with layers of MultiTalk's names in every block."""
    video = {
        "patch_embedding.weight": torch.zeros(WIDTH, 36, 1, 2, 2),
        "blocks.0.self_attn.q.weight": torch.zeros(WIDTH, WIDTH),
        "blocks.0.modulation": torch.zeros(1, 6, WIDTH),
    }
    path = tmp_path / "Wan21-SkyReelsV3-A2V_fp8_scaled_mixed.safetensors"
    whole = {prefix + name: tensor for name, tensor in (infinitetalk() | video).items()}
    message = refusal(saved(whole, path))
    assert "is a whole video model" in message and "choose InfiniteTalk's or MultiTalk's model patch" in message


def test_a_tensor_that_multitalk_has_not_got_is_named(tmp_path: Path) -> None:
    more = infinitetalk() | {"blocks.1.audio_cross_attn.q_norm.weight": torch.zeros(2)}
    assert "(blocks.1.audio_cross_attn.q_norm.weight is too much)" in refusal(saved(more, tmp_path / "more.safetensors"))


def test_a_block_of_a_huge_number_is_one_block(tmp_path: Path) -> None:
    far = infinitetalk() | {"blocks.999999999999.norm_x.weight": torch.zeros(WIDTH)}
    assert "is missing or too much" in refusal(saved(far, tmp_path / "far.safetensors"))


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("blocks.1.audio_cross_attn.q_linear.weight", (WIDTH, 3), "injections.1.q.weight does not fit the others"),
        ("blocks.1.audio_cross_attn.kv_linear.bias", (3,), "kv_linear.bias cannot be cut into 2 equal parts"),
        ("blocks.0.audio_cross_attn.kv_linear.weight", (2_000_000, 1), "does not fit the others"),
        ("blocks.0.audio_cross_attn.kv_linear.weight", (2, 0), "not a MultiTalk or InfiniteTalk model"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(tmp_path: Path, name: str, shape: tuple[int, ...], said: str) -> None:
    odd = infinitetalk() | {name: torch.zeros(shape)}
    assert said in refusal(saved(odd, tmp_path / "odd.safetensors"))


@pytest.mark.parametrize("read", [read_adapter, read_unianimate])
def test_a_gguf_file_is_refused_with_what_to_do(tmp_path: Path, read) -> None:
    path = tmp_path / "InfiniteTalk_Q8.gguf"
    path.write_bytes(b"GGUF\x03\0\0\0" + bytes(1000))
    with pytest.raises(ValueError, match="InfiniteTalk_Q8.gguf is a GGUF file: .*take adapters .* as .safetensors files"):
        read(path)
