"""The Wan models that an adapter may meet: Wan 2.2's two experts and its 5B model, and pairings that are refused."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn

WIDTH, LAYERS, HEADS = 32, 2, 2
TEXT_WIDTH, TEXT_LENGTH = 16, 8
FRAMES, SIDE = 9, 64


def random_tensor(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def wan(seed: int = 0, **dimensions):
    """MODEL with a small random Wan backbone, through ComfyUI's own loader."""
    import comfy.sd
    from comfy.ldm.wan.model import WanModel

    told = {"num_heads": HEADS, "text_dim": TEXT_WIDTH, "text_len": TEXT_LENGTH}
    network = WanModel(operations=nn, dim=WIDTH, ffn_dim=WIDTH, num_layers=LAYERS, **told, **dimensions)
    weights = {}
    for number, (name, tensor) in enumerate(network.state_dict().items()):
        fan_in = tensor[0].numel() if tensor.ndim > 1 else 100
        norm = "norm" in name and name.endswith("weight")
        weights[name] = random_tensor(*tensor.shape, seed=100 * seed + number) * fan_in**-0.5 + norm
    told = {"config": json.dumps({"transformer": told})}
    return comfy.sd.load_diffusion_model_state_dict(weights, {"dtype": torch.float32}, metadata=told)


def adapter(pack, **changes):
    adapters, room = pack("apoavatar_core.adapters"), pack("apoavatar_core.comfyui")
    values = {
        "backbone_dim": WIDTH, "backbone_layers": LAYERS, "backbone_in_channels": None, "heads": HEADS,
        "audio_encoder": "log_mel_40", "audio_feature_dim": 40, "audio_dim": 16, "tokens_per_frame": 1,
        "pose_channels": 8, "fps": 24.0, "window": 49,
    }  # fmt: skip
    config = adapters.AdapterConfig(**(values | changes))
    module = adapters.ApoAvatarAdapter(config)
    torch.manual_seed(1)
    module.initialize()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return room.loading.load_adapter(config, module.state_dict())


TEXT = [[random_tensor(1, TEXT_LENGTH, TEXT_WIDTH, seed=7), {}]]
VOICE = {"encoded_audio_all_layers": [random_tensor(1, 40, 40, seed=8)], "encoder": "log_mel_40"}
POSE_FREE, FROM_NOTHING = {"pose_mode": "pose_free"}, {"continue_from": "nothing"}


def conditioned(pack, vae, side: int = SIDE, continue_from: dict = FROM_NOTHING, **inputs):
    node = pack("nodes.conditioning").Conditioning
    return node.execute(TEXT, TEXT, vae, VOICE, side, side, FRAMES, 24.0, POSE_FREE, continue_from, **inputs).result[:3]


@torch.inference_mode()
def sampled(pack, model, positive: list, negative: list, latent: dict, scales=(2.0, 2.0, 2.0, 2.0), sigmas=(0.9, 0.5, 0.0)):
    from comfy_extras.nodes_custom_sampler import KSamplerSelect, RandomNoise, SamplerCustomAdvanced

    (guider,) = pack("nodes.sampling").Guider.execute(model, positive, negative, *scales).result
    (noise,) = RandomNoise.execute(0).result
    (sampler,) = KSamplerSelect.execute("euler").result
    return SamplerCustomAdvanced.execute(noise, guider, sampler, torch.tensor(sigmas), latent).result[0]


@pytest.fixture(scope="module")
def vae(pack):
    return pack("apoavatar_core.comfyui.loading").load_vae(pack("apoavatar_core.checkpoints.presets").TINY_VAE)


@pytest.fixture(scope="module")
def wan22_vae(comfy):
    """ComfyUI's Wan 2.2 VAE at its one size. Its weights are zero, so any picture's latents are the last layer's bias."""
    import comfy.sd
    from comfy.ldm.wan.vae2_2 import WanVAE

    with torch.device("meta"):
        shapes = WanVAE(z_dim=48, temperal_downsample=[False, True, True]).state_dict()
    tensors = {name: torch.zeros(1, dtype=torch.bfloat16).expand(tensor.shape) for name, tensor in shapes.items()}
    tensors["conv1.bias"] = torch.arange(96).bfloat16()
    return comfy.sd.VAE(sd=tensors)


def test_wan_2_2_5b_takes_its_reference_in_the_latent(pack, wan22_vae) -> None:
    from comfy_extras.nodes_wan import Wan22ImageToVideoLatent

    portrait = torch.full((1, SIDE, SIDE, 3), 0.5)
    model = pack("apoavatar_core.comfyui.attaching").attach(wan(in_dim=48, out_dim=48), adapter(pack, vae_stride=16))
    positive, negative, latent = conditioned(pack, wan22_vae, reference_image=portrait)
    (expected,) = Wan22ImageToVideoLatent.execute(wan22_vae, SIDE, SIDE, FRAMES, 1, portrait).result
    assert torch.equal(latent["samples"], expected["samples"])
    assert torch.equal(latent["noise_mask"], expected["noise_mask"])
    assert "concat_latent_image" not in positive[0][1]

    made = sampled(pack, model, positive, negative, latent)["samples"]
    assert made.shape == (1, 48, 3, SIDE // 16, SIDE // 16) and made.isfinite().all()
    torch.testing.assert_close(made[:, :, :1], latent["samples"][:, :, :1], atol=1e-4, rtol=1e-4)
    silent = {**VOICE, "encoded_audio_all_layers": [torch.zeros(1, 40, 40)]}
    node = pack("nodes.conditioning").Conditioning
    settings = (SIDE, SIDE, FRAMES, 24.0, POSE_FREE, FROM_NOTHING, portrait)
    other = node.execute(TEXT, TEXT, wan22_vae, silent, *settings)
    assert (sampled(pack, model, *other.result[:3])["samples"] - made).abs().max() > 1e-3, "the voice must matter"


def test_wan_2_2_5b_without_a_reference(pack, wan22_vae) -> None:
    model = pack("apoavatar_core.comfyui.attaching").attach(wan(in_dim=48, out_dim=48), adapter(pack, vae_stride=16))
    made = sampled(pack, model, *conditioned(pack, wan22_vae))["samples"]
    assert made.shape == (1, 48, 3, SIDE // 16, SIDE // 16) and made.isfinite().all()


def test_latents_of_another_vae_are_refused_with_both_sizes(pack, vae) -> None:
    model = pack("apoavatar_core.comfyui.attaching").attach(wan(in_dim=48, out_dim=48), adapter(pack, vae_stride=16))
    with pytest.raises(ValueError, match="makes latents of 16 channels but the model works on 48: load the VAE"):
        sampled(pack, model, *conditioned(pack, vae))


def test_one_adapter_file_serves_both_experts_of_wan_2_2(pack, vae) -> None:
    """High noise with the first expert, low noise with the second, as the usual split does it."""
    room = pack("apoavatar_core.comfyui")
    high, low = (room.attaching.attach(wan(seed, in_dim=36), adapter(pack)) for seed in (1, 2))
    positive, negative, latent = conditioned(pack, vae, reference_image=torch.full((1, SIDE, SIDE, 3), 0.5))
    halfway = sampled(pack, high, positive, negative, latent, sigmas=(1.0, 0.8, 0.6))
    made = sampled(pack, low, positive, negative, halfway, sigmas=(0.6, 0.3, 0.0))["samples"]
    alone = sampled(pack, high, positive, negative, halfway, sigmas=(0.6, 0.3, 0.0))["samples"]
    assert made.isfinite().all() and (made - alone).abs().max() > 1e-3


def test_a_model_that_can_look_at_the_portrait_runs_without_clip_vision_and_says_so(pack, vae, caplog) -> None:
    """As with ComfyUI's own nodes, under our guider and under a native one."""
    import logging

    import comfy.clip_vision
    import comfy.samplers

    model = pack("apoavatar_core.comfyui.attaching").attach(wan(in_dim=36, model_type="i2v"), adapter(pack))
    portrait = torch.full((1, SIDE, SIDE, 3), 0.5)
    blind = conditioned(pack, vae, reference_image=portrait)
    with caplog.at_level(logging.INFO):
        made = sampled(pack, model, *blind)["samples"]
    assert made.isfinite().all() and "connect CLIP Vision Encode to clip_vision_output" in caplog.text
    plain = comfy.samplers.CFGGuider(model)
    plain.set_conds(*blind[:2])
    noise = random_tensor(*blind[2]["samples"].shape)
    sampler = comfy.samplers.ksampler("euler")
    assert plain.sample(noise, torch.zeros_like(noise), sampler, torch.tensor([0.8, 0.0]), seed=0).isfinite().all()

    caplog.clear()
    seen = comfy.clip_vision.Output()
    seen.penultimate_hidden_states = random_tensor(1, 257, 1280, seed=9)
    with caplog.at_level(logging.INFO):
        looking = sampled(pack, model, *conditioned(pack, vae, reference_image=portrait, clip_vision_output=seen))["samples"]
        sampled(pack, model, *conditioned(pack, vae))
    assert looking.isfinite().all() and (looking - made).abs().max() > 1e-3
    assert "CLIP Vision Encode" not in caplog.text


def test_without_the_image_nothing_is_left_of_its_clip_embedding(pack, vae) -> None:
    """S1 of Eq. 8, the text alone, is the same whatever CLIP vision saw."""
    import comfy.clip_vision

    model = pack("apoavatar_core.comfyui.attaching").attach(wan(in_dim=36, model_type="i2v"), adapter(pack))

    def made(seed: int, *scales: float) -> Tensor:
        seen = comfy.clip_vision.Output()
        seen.penultimate_hidden_states = random_tensor(1, 257, 1280, seed=seed)
        portrait = torch.full((1, SIDE, SIDE, 3), 0.5)
        conditions = conditioned(pack, vae, reference_image=portrait, clip_vision_output=seen)
        return sampled(pack, model, *conditions, scales=scales)["samples"]

    assert torch.equal(made(9, 1.0, 0.0, 0.0, 0.0), made(10, 1.0, 0.0, 0.0, 0.0))
    assert (made(9, 1.0, 1.0, 0.0, 0.0) - made(10, 1.0, 1.0, 0.0, 0.0)).abs().max() > 1e-3


def after(frames: int) -> dict:
    """Going on from a film of so many frames, with the last five of them."""
    return {"continue_from": "previous_frames", "previous_frames": torch.rand(frames, SIDE, SIDE, 3), "motion_frames": 5}


def test_earlier_frames_are_refused_where_the_adapter_cannot_use_them(pack, vae) -> None:
    model = pack("apoavatar_core.comfyui.attaching").attach(wan(in_dim=36), adapter(pack))
    going_on = conditioned(pack, vae, continue_from=after(12))
    with pytest.raises(ValueError, match="choose 'nothing' in continue_from"):
        sampled(pack, model, *going_on)
    with pytest.raises(ValueError, match="has 4 frames but 5 go before the clip"):
        conditioned(pack, vae, continue_from=after(4))
