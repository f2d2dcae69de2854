"""UniAnimate's weights in our adapter against the same convolutions written out in plain torch.nn."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

WIDTH, LAYERS, HEADS = 32, 2, 2
FRAMES, SIDE = 9, 32
LATENT_FRAMES, LATENT_SIDE = 3, 4
NOISE, CONDITION = 16, 20


def random_tensor(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pictures(frames: int, seed: int) -> Tensor:
    """IMAGE [T, H, W, 3]."""
    return random_tensor(frames, SIDE, SIDE, 3, seed=seed).sigmoid()


def alternating(*layers: nn.Module) -> nn.Sequential:
    """Layers with a SiLU between each two."""
    return nn.Sequential(*[part for layer in layers for part in (layer, nn.SiLU())][:-1])


@pytest.fixture(scope="module")
def driving() -> nn.Sequential:
    """The stack for the driving pose as its file's shapes tell it, numbered as in the file."""
    torch.manual_seed(1)
    return alternating(
        nn.Conv3d(3, 16, 3, padding=1),
        nn.Conv3d(16, 16, 3, padding=1),
        nn.Conv3d(16, 16, 3, padding=1),
        nn.Conv3d(16, 16, 3, stride=(1, 2, 2), padding=1),
        nn.Conv3d(16, 16, 3, stride=2, padding=1),
        nn.Conv3d(16, 16, 3, stride=2, padding=1),
        nn.Conv3d(16, WIDTH, (1, 2, 2), stride=(1, 2, 2)),
    )


@pytest.fixture(scope="module")
def of_reference() -> nn.Sequential:
    """The stack for the portrait's pose."""
    torch.manual_seed(2)
    strides = [1, 1, 1, 2, 2, 2]
    widths = [3, 16, 16, 16, 16, 16, CONDITION]
    return alternating(*[nn.Conv2d(*widths[i : i + 2], 3, stride=stride, padding=1) for i, stride in enumerate(strides)])


LORA = {"blocks.1.self_attn.q.lora_A.default.weight": random_tensor(4, WIDTH, seed=3)}
LORA |= {"blocks.1.self_attn.q.lora_B.default.weight": random_tensor(WIDTH, 4, seed=4)}


@pytest.fixture
def file(driving, of_reference, tmp_path) -> Path:
    """A pose model with its LoRA in UniAnimate's layout."""
    stacks = {"dwpose_embedding": driving, "randomref_embedding_pose": of_reference}
    tensors = {f"{stack}.{name}": tensor for stack, layers in stacks.items() for name, tensor in layers.state_dict().items()}
    path = tmp_path / "unianimate.safetensors"
    save_file(tensors | LORA, path)
    return path


@pytest.fixture(scope="module")
def network(comfy) -> nn.Module:
    """A small image-to-video backbone."""
    from comfy.ldm.wan.model import WanModel

    network = WanModel(
        operations=nn, dim=WIDTH, ffn_dim=WIDTH, num_layers=LAYERS, num_heads=HEADS, text_dim=16, text_len=8,
        in_dim=NOISE + CONDITION,
    )  # fmt: skip
    with torch.no_grad():
        for seed, (name, parameter) in enumerate(network.named_parameters()):
            scale = max(parameter[0].numel(), 16) ** -0.5
            parameter.copy_(random_tensor(*parameter.shape, seed=seed) * scale + ("norm" in name and "weight" in name))
    return network


@pytest.fixture
def model(network):
    return loaded(network)


def loaded(network: nn.Module):
    """MODEL with the backbone's weights."""
    import comfy.sd

    told = {"num_heads": HEADS, "text_dim": 16, "text_len": 8}
    return comfy.sd.load_diffusion_model_state_dict(
        {name: tensor.clone() for name, tensor in network.state_dict().items()}, {"dtype": torch.float32}, metadata={"config": json.dumps({"transformer": told})}
    )


@pytest.fixture
def adapter_file(pack, tmp_path) -> Path:
    """An untrained adapter, so that whatever changes the output is the pose model."""
    adapters = pack("apoavatar_core.adapters")
    config = adapters.AdapterConfig(
        backbone_dim=WIDTH, backbone_layers=LAYERS, backbone_in_channels=None, heads=HEADS, audio_encoder="log_mel_40",
        audio_feature_dim=40, audio_dim=16, tokens_per_frame=1, pose_channels=8, fps=24.0, window=49,
    )  # fmt: skip
    adapter = adapters.ApoAvatarAdapter(config)
    adapter.initialize()
    path = tmp_path / "adapter.safetensors"
    pack("apoavatar_core.checkpoints.adapter_file").save_adapter(path, adapter, torch.float32)
    return path


@pytest.fixture
def stacks_in_the_adapter(pack, file, adapter_file):
    """The pose adapter that the two files make."""
    adapters, unianimate = pack("apoavatar_core.adapters"), pack("apoavatar_core.checkpoints.unianimate")
    own = pack("apoavatar_core.checkpoints.adapter_file").read_adapter(adapter_file)
    stacks, _ = unianimate.read_unianimate(file)
    config, tensors = unianimate.with_unianimate(*own, stacks)
    adapter = adapters.ApoAvatarAdapter(config)
    adapter.load_state_dict(tensors)
    return adapter.pose_adapter


def conditions(room: ModuleType, pose: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
    """Frames [T, H, W, 3] and gate [T] as the adapter gets them."""
    from apoavatar_core.adapters.pose_adapter import group_by_latent_frame

    frames = group_by_latent_frame(pose[None])[0].permute(1, 4, 0, 2, 3).flatten(0, 1)
    return frames[None], group_by_latent_frame(gate[None])[0].T[None]


def written_out(driving: nn.Sequential, pose: Tensor, gate: Tensor) -> Tensor:
    """[1, d, T_lat, h, w]: three repeats of the first frame in front, and the gate before the first stride in time."""
    film = torch.cat([pose[:1], pose[:1], pose[:1], pose]).permute(3, 0, 1, 2)[None]
    open_ = torch.cat([gate[:1], gate[:1], gate[:1], gate])[None, None, :, None, None]
    return driving[8:](driving[:8](film) * open_)


@torch.no_grad()
@pytest.mark.parametrize("mode", ["hard", "refocused", "one frame closed"])
def test_the_pose_stack_is_the_convolutions_of_its_file(pack, driving, stacks_in_the_adapter, mode) -> None:
    frames = 49  # more than are embedded at once
    pose = pictures(frames, seed=5)
    gate = random_tensor(frames, seed=6).sigmoid() if mode == "refocused" else torch.ones(frames)
    gate[7] = 0 if mode == "one frame closed" else gate[7]
    found = stacks_in_the_adapter(*conditions(pack("apoavatar_core.comfyui"), pose, gate))
    expected = written_out(driving, pose, gate).flatten(3).permute(0, 2, 3, 1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_pose_that_is_closed_in_every_frame_adds_exactly_nothing(pack, stacks_in_the_adapter) -> None:
    frames, gate = conditions(pack("apoavatar_core.comfyui"), pictures(FRAMES, seed=5), torch.zeros(FRAMES))
    assert not stacks_in_the_adapter(frames, gate).any()
    portrait = stacks_in_the_adapter.embedded_reference(frames[:, :3, :1])
    assert portrait.any() and not stacks_in_the_adapter.reference_prior(portrait, gate).any()
    gate[0, 2, 1] = 1
    assert torch.equal(stacks_in_the_adapter.reference_prior(portrait, gate), portrait), "one open frame opens it"


def conditioned(pack, vae, pose: Tensor | None = None, reference_pose: Tensor | None = None, dial: dict = {}, **inputs):
    """With a pose it is followed as it is."""
    text = [[random_tensor(1, 8, 16, seed=7), {}]]
    voice = {"encoded_audio_all_layers": [random_tensor(1, 40, 40, seed=8)], "encoder": "log_mel_40"}
    node = pack("nodes.conditioning").Conditioning
    pose_mode = {"pose_mode": "pose_free"}
    if pose is not None:
        pose_mode = {"pose_mode": "hard", "pose": pose, "reference_pose": reference_pose, **dial}
    settings = (SIDE, SIDE, FRAMES, 24.0, pose_mode, {"continue_from": "nothing"})
    return node.execute(text, text, vae, voice, *settings, **inputs).result[:2]


@torch.inference_mode()
def predicted(pack, model, positive: list, negative: list, scales=(1.0, 1.0, 1.0, 1.0)) -> Tensor:
    import comfy.samplers

    noise = random_tensor(1, NOISE, LATENT_FRAMES, LATENT_SIDE, LATENT_SIDE, seed=9)
    (guider,) = pack("nodes.sampling").Guider.execute(model, positive, negative, *scales).result
    sampler = comfy.samplers.ksampler("euler")
    return guider.sample(noise, torch.zeros_like(noise), sampler, torch.tensor([0.8, 0.0]), disable_pbar=True, seed=0)


@pytest.fixture(scope="module")
def vae(pack):
    return pack("apoavatar_core.comfyui.loading").load_vae(pack("apoavatar_core.checkpoints.presets").TINY_VAE)


@torch.no_grad()
def test_the_model_predicts_what_its_parts_by_hand_predict(
    pack, network, model, vae, adapter_file, file, driving, of_reference
) -> None:
    """Pose tokens behind the patch embedding, the portrait's pose on the image condition, the LoRA in its matrix."""
    pose, own_pose, portrait = pictures(FRAMES, seed=5), pictures(1, seed=10), pictures(1, seed=11)
    inputs = {"pose": pose, "reference_pose": own_pose, "reference_image": portrait}
    adapted = pack("apoavatar_core.comfyui.loading").apply_adapter(model, adapter_file, file)
    found = predicted(pack, adapted, *conditioned(pack, vae, **inputs))

    prior = written_out(driving, pose, torch.ones(FRAMES))
    reference = of_reference(own_pose.permute(0, 3, 1, 2))[:, :, None]
    by_hand = loaded(network)
    backbone = by_hand.model.diffusion_model
    down, up = LORA.values()
    backbone.blocks[1].self_attn.q.weight += up @ down

    def on_the_condition(_, given: tuple[Tensor]) -> tuple[Tensor]:
        return (torch.cat([given[0][:, :NOISE], given[0][:, NOISE:] + reference], dim=1),)

    backbone.patch_embedding.register_forward_pre_hook(on_the_condition)
    backbone.patch_embedding.register_forward_hook(lambda _, given, tokens: tokens + prior)
    expected = predicted_plainly(by_hand, conditioned(pack, vae, reference_image=portrait)[0])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    for missing in inputs:
        fewer = {name: value for name, value in inputs.items() if name != missing}
        other = predicted(pack, adapted, *conditioned(pack, vae, **fewer))
        assert (other - found).abs().max() > 1e-3, f"{missing} must matter"


@torch.inference_mode()
def predicted_plainly(model, positive: list) -> Tensor:
    import comfy.samplers

    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(positive, positive)
    guider.set_cfg(1.0)
    noise = random_tensor(1, NOISE, LATENT_FRAMES, LATENT_SIDE, LATENT_SIDE, seed=9)
    sampler = comfy.samplers.ksampler("euler")
    return guider.sample(noise, torch.zeros_like(noise), sampler, torch.tensor([0.8, 0.0]), disable_pbar=True, seed=0)


def test_pose_scale_0_takes_pose_and_reference_pose_away(pack, model, vae, adapter_file, file) -> None:
    adapted = pack("apoavatar_core.comfyui.loading").apply_adapter(model, adapter_file, file)
    portrait = {"reference_image": pictures(1, seed=11)}
    posed = conditioned(pack, vae, pose=pictures(FRAMES, seed=5), reference_pose=pictures(1, seed=10), **portrait)
    unposed = conditioned(pack, vae, **portrait)
    found = predicted(pack, adapted, *posed, scales=(1.0, 1.0, 1.0, 0.0))
    torch.testing.assert_close(found, predicted(pack, adapted, *unposed), atol=1e-5, rtol=1e-5)


def test_the_dial_acts_on_pose_and_reference_pose(pack, model, vae, adapter_file, file) -> None:
    adapted = pack("apoavatar_core.comfyui.loading").apply_adapter(model, adapter_file, file)
    given = {"pose": pictures(FRAMES, seed=5), "reference_pose": pictures(1, seed=10), "reference_image": pictures(1, seed=11)}

    def found(**dial: float) -> Tensor:
        return predicted(pack, adapted, *conditioned(pack, vae, dial=dial, **given))

    posed, unposed = found(), predicted(pack, adapted, *conditioned(pack, vae, reference_image=given["reference_image"]))
    assert torch.equal(found(pose_strength=1.0, pose_start_percent=0.0, pose_end_percent=1.0), posed)
    torch.testing.assert_close(found(pose_strength=0.0), unposed, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found(pose_end_percent=0.1), unposed, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found(pose_end_percent=0.9), posed, atol=1e-5, rtol=1e-5)
    assert (found(pose_strength=0.5) - posed).abs().max() > 1e-3
    with pytest.raises(ValueError, match="end_percent higher"):
        found(pose_start_percent=0.5, pose_end_percent=0.4)


def test_lora_names_of_any_origin_become_comfyuis(pack, file, tmp_path) -> None:
    import comfy.utils

    tensors = comfy.utils.load_torch_file(str(file))
    for prefix in ("", "pipe.dit.", "diffusion_model."):
        named = {(prefix + name if "lora" in name else name): tensor for name, tensor in tensors.items()}
        path = tmp_path / "named.safetensors"
        save_file(named, path)
        _, lora = pack("apoavatar_core.checkpoints.unianimate").read_unianimate(path)
        assert set(lora) == {f"diffusion_model.blocks.1.self_attn.q.lora_{which}.weight" for which in "AB"}


def test_the_command_says_what_a_pose_model_is(pack, file) -> None:
    said = pack("apoavatar_core.checkpoints.__main__").inspect(file)
    assert "UniAnimate's pose model" in said and "width 32" in said and "a LoRA of 2 tensors" in said


def test_a_pose_model_that_does_not_fit_is_refused(pack, model, vae, adapter_file, file, tmp_path) -> None:
    import comfy.utils

    loading = pack("apoavatar_core.comfyui.loading")
    with pytest.raises(ValueError, match="adapter.safetensors holds no UniAnimate pose stacks"):
        loading.apply_adapter(model, adapter_file, adapter_file)

    tensors = comfy.utils.load_torch_file(str(file))
    wide = {**tensors, "dwpose_embedding.12.weight": torch.zeros(48, 16, 1, 2, 2), "dwpose_embedding.12.bias": torch.zeros(48)}
    save_file(wide, tmp_path / "wide.safetensors")
    with pytest.raises(ValueError, match="of width 48, but the adapter for one of width 32"):
        loading.apply_adapter(model, adapter_file, tmp_path / "wide.safetensors")

    save_file({**tensors, "dwpose_embedding.14.weight": torch.zeros(1)}, tmp_path / "more.safetensors")
    with pytest.raises(ValueError, match="more.safetensors has no UniAnimate layout .dwpose_embedding.14.weight is too much"):
        loading.apply_adapter(model, adapter_file, tmp_path / "more.safetensors")

    (tmp_path / "half.safetensors").write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ValueError, match="half.safetensors is not a whole safetensors file"):
        loading.apply_adapter(model, adapter_file, tmp_path / "half.safetensors")

    del tensors["dwpose_embedding.4.bias"]
    save_file(tensors, tmp_path / "less.safetensors")
    with pytest.raises(ValueError, match="no UniAnimate layout .*embed.2.bias"):
        loading.apply_adapter(model, adapter_file, tmp_path / "less.safetensors")


def test_a_reference_pose_without_a_use_is_refused(pack, model, vae, adapter_file) -> None:
    adapted = pack("apoavatar_core.comfyui.loading").apply_adapter(model, adapter_file)
    posed = conditioned(pack, vae, pose=pictures(FRAMES, seed=5), reference_pose=pictures(1, seed=10))
    with pytest.raises(ValueError, match="leave reference_pose open"):
        predicted(pack, adapted, *posed)
