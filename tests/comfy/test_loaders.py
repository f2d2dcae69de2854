"""What the loaders offer, and what they leave alone."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def node(comfy):
    import nodes

    return lambda node_id: nodes.NODE_CLASS_MAPPINGS[node_id]


def test_the_loaders_of_comfyui_list_what_they_list_without_the_pack(comfy) -> None:
    """ComfyUI's own lists, whose first file is what a new loader starts on, and the pack's own, which hold the preset."""
    import folder_paths

    for kind in ("diffusion_models", "vae", "text_encoders"):
        assert not [folder for folder in folder_paths.get_folder_paths(kind) if "presets" in Path(folder).parts]
        assert not [name for name in folder_paths.get_filename_list(kind) if "apoavatar" in name]
    assert "apoavatar_tiny_adapter.safetensors" in folder_paths.get_filename_list("apoavatar_adapters")


def test_a_choice_of_files_starts_on_one_whose_name_looks_right(node, pack, monkeypatch) -> None:
    lists = {
        "diffusion_models": ["flux.safetensors", "Wan2_1_VAE_bf16.safetensors", "wan2.1_i2v.safetensors"],
        "vae": ["ae.safetensors", "wan_2.1_vae.safetensors"],
        "text_encoders": [],
    }
    loaders = pack("nodes.loaders")
    known = loaders.folder_paths.get_filename_list
    monkeypatch.setattr(loaders.folder_paths, "get_filename_list", lambda kind: lists[kind] if kind in lists else known(kind))
    _, files, *_ = loaders.LoadModels.define_schema().inputs[0].options
    starts = {choice.id: choice.default for choice in files.inputs}
    assert starts["diffusion_model"] == "wan2.1_i2v.safetensors" and starts["vae"] == "wan_2.1_vae.safetensors"
    assert starts["text_encoder"] is None


def test_the_backbone_of_the_preset_waits_for_its_adapter(node) -> None:
    loaders = node("ApoAvatarLoadModels")
    whole, alone = (loaders.execute({"preset": preset}).result[0] for preset in ("tiny", "tiny_backbone"))
    adapter = node("ApoAvatarApplyAdapter").execute(alone, "apoavatar_tiny_adapter.safetensors").result[0]
    assert not alone.wrappers and whole.wrappers.keys() == adapter.wrappers.keys() != set()


@pytest.mark.parametrize("frames", (1, 5, 9))
def test_the_narrow_vae_gives_what_comfyuis_loader_gives_without_the_slow_convolution(node, comfy, frames) -> None:
    import comfy.sd
    import comfy.utils
    import torch
    from torch.profiler import profile

    from apoavatar_core.checkpoints import presets

    native = comfy.sd.VAE(sd=comfy.utils.load_torch_file(str(presets.TINY_VAE)))
    ours = node("ApoAvatarLoadModels").execute({"preset": "tiny"}).result[2]
    pictures = torch.rand(frames, 64, 48, 3)
    wanted = native.encode(pictures)
    with profile() as kernels:
        latent, shown = ours.encode(pictures), ours.decode(wanted)
    torch.testing.assert_close(latent, wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(shown, native.decode(wanted), rtol=1e-4, atol=1e-5)
    assert "aten::slow_conv3d_forward" not in {event.key for event in kernels.key_averages()}


def test_a_vae_in_half_precision_is_computed_as_comfyui_does(comfy, pack) -> None:
    import torch
    from comfy.ldm.wan.vae import CausalConv3d

    layer, clip = CausalConv3d(2, 3, 3, padding=1), torch.rand(1, 2, 3, 8, 8)
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    layer, clip = layer.bfloat16(), clip.bfloat16()
    calls = []

    def native(*given, **options):
        calls.append(options)
        return layer._conv_forward(*given, **options)

    made = pack("apoavatar_core.comfyui.cpu_convolutions").convolve(layer, native, clip, layer.weight, layer.bias)
    torch.testing.assert_close(made, layer._conv_forward(clip, layer.weight, layer.bias))
    assert calls == [{"autopad": None}]
