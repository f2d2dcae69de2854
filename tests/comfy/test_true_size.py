"""The files of true size by the names and shapes of their tensors: ComfyUI takes them, and the adapters fit them.

`manifests/` has one file for each. Names are written as a shell expands them: `{0..39}` and `{q,k,v,o}` stand for each.
Nothing here has weights; `docs/checkpoints.md` says what they would weigh.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from apoavatar_core.checkpoints import known_files

MANIFESTS = Path(__file__).with_name("manifests")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "checkpoints.md"

I2V_14B, T2V_14B, T2V_1_3B = "wan2.1_i2v_14B", "wan2.1_t2v_14B", "wan2.1_t2v_1.3B"
I2V_A14B, TI2V_5B = "wan2.2_i2v_14B", "wan2.2_ti2v_5B"
INFINITETALK, UNIANIMATE = "infinitetalk_model_patch", "unianimate_pose"
VAE, TEXT_ENCODER, AUDIO_ENCODER = "wan2.1_vae", "umt5_xxl", "wav2vec2_base"


def choices(braces: str) -> list[str]:
    """`0..2` is 0, 1, 2; `q,k` is q, k."""
    first, is_range, last = braces.partition("..")
    return [str(number) for number in range(int(first), int(last) + 1)] if is_range else braces.split(",")


def names(pattern: str) -> list[str]:
    """Every tensor that a name with braces stands for."""
    text_and_braces = re.split(r"\{(.+?)\}", pattern)
    parts = [choices(part) if inside else [part] for part, inside in zip(text_and_braces, itertools.cycle([False, True]))]
    return ["".join(chosen) for chosen in itertools.product(*parts)]


def shapes_in(manifest: str) -> dict[str, tuple[int, ...]]:
    patterns = json.loads((MANIFESTS / f"{manifest}.json").read_text())["tensors"]
    return {name: tuple(shape) for pattern, shape in patterns.items() for name in names(pattern)}


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def without_weights(manifest: str) -> dict[str, Tensor]:
    return {name: torch.empty(shape, device="meta", dtype=torch.bfloat16) for name, shape in shapes_in(manifest).items()}


def zeros(manifest: str, dtype: torch.dtype = torch.float16) -> dict[str, Tensor]:
    """Tensors that share one number each."""
    return {name: torch.zeros((), dtype=dtype).expand(shape) for name, shape in shapes_in(manifest).items()}


def recognised(manifest: str):
    """ComfyUI's configuration of a diffusion model."""
    import comfy.model_detection

    return comfy.model_detection.model_config_from_unet(without_weights(manifest), "")


def built(manifest: str):
    """ComfyUI's model of a file, without weights."""
    return recognised(manifest).get_model({}, device="meta")


def wan(manifest: str):
    """The MODEL of a file, without weights."""
    import comfy.model_patcher

    meta = torch.device("meta")
    return comfy.model_patcher.ModelPatcher(built(manifest), load_device=meta, offload_device=meta)


# --- ComfyUI


@pytest.mark.parametrize(
    ("manifest", "kind", "task", "width", "feed_forward", "blocks", "channels"),
    [
        (I2V_14B, "WAN21_I2V", "i2v", 5120, 13824, 40, (36, 16)),
        (T2V_14B, "WAN21_T2V", "t2v", 5120, 13824, 40, (16, 16)),
        (T2V_1_3B, "WAN21_T2V", "t2v", 1536, 8960, 30, (16, 16)),
        (I2V_A14B, "WAN21_T2V", "t2v", 5120, 13824, 40, (36, 16)),  # without CLIP vision ComfyUI calls it so
        (TI2V_5B, "WAN22_T2V", "t2v", 3072, 14336, 30, (48, 48)),
    ],
)
def test_comfyui_recognises_a_wan_model(comfy, manifest, kind, task, width, feed_forward, blocks, channels) -> None:
    config = recognised(manifest)
    assert type(config).__name__ == kind
    told = {"model_type": task, "dim": width, "ffn_dim": feed_forward, "num_layers": blocks, "num_heads": width // 128}
    told |= dict(zip(("in_dim", "out_dim"), channels))
    assert told.items() <= config.unet_config.items()


@pytest.mark.parametrize("manifest", [I2V_14B, T2V_14B, T2V_1_3B, I2V_A14B, TI2V_5B])
def test_comfyuis_wan_model_has_exactly_the_file_s_tensors(comfy, manifest) -> None:
    assert shapes_of(built(manifest).diffusion_model.state_dict()) == shapes_in(manifest)


def test_comfyuis_vae_has_exactly_the_file_s_tensors(comfy) -> None:
    import comfy.ldm.wan.vae
    import comfy.sd

    with torch.device("meta"):
        vae = comfy.sd.VAE(sd=without_weights(VAE))
    assert type(vae.first_stage_model) is comfy.ldm.wan.vae.WanVAE and vae.latent_channels == 16
    assert shapes_of(vae.first_stage_model.state_dict()) == shapes_in(VAE)


def test_comfyuis_text_encoder_has_exactly_the_file_s_tensors(comfy) -> None:
    import comfy.sd
    import comfy.text_encoders.wan

    assert comfy.sd.detect_te_model(without_weights(TEXT_ENCODER)) is comfy.sd.TEModel.T5_XXL
    encoder = comfy.text_encoders.wan.te()(device="meta", dtype=torch.bfloat16)
    assert shapes_of(encoder.umt5xxl.transformer.state_dict()) == shapes_in(TEXT_ENCODER)


def test_comfyuis_audio_encoder_has_exactly_the_file_s_tensors(comfy) -> None:
    import comfy.audio_encoders.audio_encoders

    encoder = comfy.audio_encoders.audio_encoders.load_audio_encoder_from_sd(zeros(AUDIO_ENCODER))
    assert shapes_of(encoder.get_sd()) == shapes_in(AUDIO_ENCODER)


def test_comfyuis_infinitetalk_has_exactly_the_file_s_tensors(comfy) -> None:
    from comfy_extras.nodes_model_patch import MultiTalkModelPatch

    assert shapes_of(MultiTalkModelPatch(operations=torch.nn, device="meta").state_dict()) == shapes_in(INFINITETALK)


# --- the adapters


@pytest.fixture(scope="module")
def infinitetalk(pack):
    """Configuration and tensors of InfiniteTalk as an adapter; what it has not got has weights, the rest none."""
    return pack("apoavatar_core.checkpoints.multitalk").adapter_from_multitalk(without_weights(INFINITETALK))


@pytest.fixture(scope="module")
def with_unianimate(pack, infinitetalk, tmp_path_factory):
    """The same with UniAnimate's pose stacks, read from a file of true size."""
    unianimate = pack("apoavatar_core.checkpoints.unianimate")
    file = tmp_path_factory.mktemp("unianimate") / "unianimate.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in zeros(UNIANIMATE).items()}, file)
    stacks, lora = unianimate.read_unianimate(file)
    assert len(stacks) == len(shapes_in(UNIANIMATE)) and not lora
    return unianimate.with_unianimate(*infinitetalk, stacks)


def adapter(pack, config):
    return pack("apoavatar_core.adapters").ApoAvatarAdapter(config, device="meta")


def attached(pack, manifest: str, config):
    """The MODEL of a file with an adapter, both without weights."""
    room = pack("apoavatar_core.comfyui")
    return room.attaching.attach(wan(manifest), room.loading.patcher_of(adapter(pack, config)))


def test_every_tensor_of_infinitetalk_has_its_place(pack, infinitetalk) -> None:
    config, tensors = infinitetalk
    assert shapes_of(tensors) == shapes_of(adapter(pack, config).state_dict())
    assert (config.backbone_dim, config.backbone_layers, config.audio_dim) == (5120, 40, 768)
    taken = sum(tensor.numel() for tensor in tensors.values() if tensor.is_meta)
    assert taken == parameters(INFINITETALK)


def test_every_tensor_of_unianimate_has_its_place(pack, infinitetalk, with_unianimate) -> None:
    config, tensors = with_unianimate
    assert shapes_of(tensors) == shapes_of(adapter(pack, config).state_dict())
    pose = sum(tensor.numel() for name, tensor in tensors.items() if name.startswith("pose_adapter."))
    assert pose == parameters(UNIANIMATE)
    assert all(tensors[name] is tensor for name, tensor in infinitetalk[1].items() if not name.startswith("pose_adapter."))


@pytest.mark.parametrize("manifest", [I2V_14B, T2V_14B, I2V_A14B])
def test_infinitetalk_attaches_to_every_model_of_14b(pack, infinitetalk, manifest) -> None:
    config, _ = infinitetalk
    assert pack("apoavatar_core.comfyui.attaching").has_adapter(attached(pack, manifest, config))


@pytest.mark.parametrize(
    ("manifest", "found"),
    [(T2V_1_3B, "width 1536, 30 blocks and 16 input"), (TI2V_5B, "width 3072, 30 blocks and 48 input")],
)
def test_infinitetalk_is_refused_by_smaller_models(pack, infinitetalk, manifest, found) -> None:
    config, _ = infinitetalk
    with pytest.raises(ValueError, match=f"width 5120, 40 blocks .* has {found} channels"):
        attached(pack, manifest, config)


def test_unianimate_attaches_to_wan_21_image_to_video(pack, with_unianimate) -> None:
    config, _ = with_unianimate
    assert pack("apoavatar_core.comfyui.attaching").has_adapter(attached(pack, I2V_14B, config))


def test_unianimate_is_refused_by_a_model_without_an_image_condition(pack, with_unianimate) -> None:
    """Its reference pose is added to that."""
    config, _ = with_unianimate
    with pytest.raises(ValueError, match="16 input channels|image-to-video"):
        attached(pack, T2V_14B, config)


# --- their sizes


def parameters(manifest: str) -> int:
    return sum(torch.Size(shape).numel() for shape in shapes_in(manifest).values())


def gigabytes(manifest: str, dtype: torch.dtype) -> str:
    return f"{parameters(manifest) * dtype.itemsize / 1e9:#.3g}"


def table_on_the_page() -> dict[str, list[str]]:
    """Tensors, parameters, GB in 16 bit and GB in 8 bit, by the manifest that a row links to."""
    rows = re.findall(r"^\| \[.+\]\(\.\./tests/comfy/manifests/(.+)\.json\) \|(.+)\|$", PAGE.read_text(), re.MULTILINE)
    return {manifest: [cell.strip() for cell in cells.split("|")] for manifest, cells in rows}


def test_the_page_says_how_large_the_files_are() -> None:
    manifests = [path.stem for path in MANIFESTS.glob("*.json")]
    assert table_on_the_page() == {
        manifest: [
            f"{len(shapes_in(manifest)):,}",
            f"{parameters(manifest):,}",
            gigabytes(manifest, torch.bfloat16),
            gigabytes(manifest, torch.float8_e4m3fn),
        ]
        for manifest in manifests
    }


MEASURED = [file for file in known_files.KNOWN_FILES if file.layout and file.bytes]


@pytest.mark.parametrize("file", MEASURED, ids=lambda file: file.name)
def test_a_known_file_is_as_large_as_its_tensors(file) -> None:
    """Files whose name says one precision keep few tensors wider, umt5 its embedding; and a header is small."""
    least = parameters(file.layout) * file.bits // 8
    assert least < file.bytes < 1.2 * least
