"""The Wan models that an adapter may meet: Wan 2.2's two experts and its 5B model, and pairings that are refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

WIDTH, LAYERS, HEADS = 32, 2, 2
TEXT_WIDTH, TEXT_LENGTH = 16, 8
FRAMES, SIDE = 9, 64


def random_tensor(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def randomize(network: nn.Module) -> None:
    """Small random weights; gains of norms stay near 1."""
    for number, (name, tensor) in enumerate(network.named_parameters()):
        gain = name.endswith("gamma") or "norm" in name and name.endswith("weight")
        tensor.copy_(random_tensor(*tensor.shape, seed=number) * max(tensor[0].numel(), 16) ** -0.5 + gain)


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
    """ComfyUI's Wan 2.2 VAE with a narrow network of random weights; its loader, which knows one width, fills nothing here."""
    import comfy.model_patcher
    import comfy.sd
    from comfy.ldm.wan.vae2_2 import WanVAE

    told = {
        "decoder.middle.0.residual.0.gamma": (1024, 1, 1, 1),
        "decoder.upsamples.0.upsamples.0.residual.2.weight": (1024, 1024, 3, 3, 3),
    }
    vae = comfy.sd.VAE(sd={name: torch.zeros(1).expand(shape) for name, shape in told.items()})
    network = WanVAE(dim=16, dec_dim=16, z_dim=48, temperal_downsample=[False, True, True]).eval()
    randomize(network)
    vae.first_stage_model = network.to(vae.vae_dtype)
    vae.patcher = comfy.model_patcher.CoreModelPatcher(network, vae.device, vae.patcher.offload_device)
    return vae


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


@pytest.fixture(scope="module")
def clips_of_5b(training, wan22_vae, tmp_path_factory):
    """Two clips of 9 frames, prepared with Wan 2.2's VAE."""
    from apoavatar_core.data.clips import ClipBank, draw_bank
    from apoavatar_core.data.encoders import load_encoders
    from apoavatar_core.data.prepare import prepare

    wan22_vae.crop_input = False
    folder = tmp_path_factory.mktemp("5b")
    draw_bank(folder / "bank", clips=2, frames=FRAMES, size=SIDE, workers=1)
    prepare(ClipBank(folder / "bank"), folder / "prepared", replace(load_encoders(), vae=wan22_vae))
    return folder / "prepared"


@pytest.fixture
def run_of_5b(trainer, config, clips_of_5b, tmp_path):
    """`run_of_5b(**conditions)`: a run of a small model of Wan 2.2 5B's layout with random weights, adapter and LoRA learning."""
    from apoavatar_core.comfyui import trainable
    from apoavatar_core.settings import changed
    from apoavatar_core.training.config import Backbone, Conditions
    from apoavatar_core.training.export import export_dit

    file = tmp_path / "5b.safetensors"
    sizes = {"dim": WIDTH, "ffn_dim": WIDTH, "num_heads": HEADS, "num_layers": LAYERS}
    dit = trainable.new_dit(sizes, text_dim=64, text_len=192, channels=48)
    randomize(dit)
    export_dit(file, dit, dit.state_dict())

    def run(**conditions):
        stage = changed(config.stages[0], train=("audio", "pose", "lora"))
        backbone = Backbone(file=file, lora_rank=4)
        return trainer(changed(config, data=clips_of_5b, backbone=backbone, conditions=Conditions(**conditions), stages=(stage,)))

    return run


def test_clips_are_prepared_with_wan_2_2_s_vae(clips_of_5b) -> None:
    from comfy.latent_formats import Wan22
    from safetensors.torch import load_file

    from apoavatar_core.data.prepared import PreparedClips

    clips = PreparedClips(clips_of_5b)
    assert (clips.channels, clips.pixels_per_latent) == (48, 16)
    clip, written = clips.clip(0, 3), load_file(clips.paths[0])
    assert clip["latents"].shape == clip["reference"].shape == (48, 3, SIDE // 16, SIDE // 16)
    torch.testing.assert_close(clip["latents"], Wan22().process_in(written["latents"].float()[None])[0])
    assert clip["mouth"].shape == (3, SIDE // 16, SIDE // 16) and clip["mouth"].any()
    # The portrait alone is the first latent, whatever follows it.
    torch.testing.assert_close(clip["reference"][:, 0], clip["latents"][:, 0], atol=0.02, rtol=0.02)
    assert (clip["reference"][:, 1:] - clip["latents"][:, 1:]).abs().max() > 0.1


@pytest.mark.parametrize("given", [0, 1], ids=["invented", "portrait"])
def test_wan_2_2_5b_is_trained_as_comfyui_runs_it(pack, run_of_5b, given) -> None:
    """After some steps it predicts what ComfyUI's sampler makes of the files with its own mask over the first latent."""
    import comfy.samplers
    import comfy.sd
    from safetensors.torch import load_file

    run = run_of_5b(states={"text_audio_pose": 1.0}, leading={given: 1.0}, whole_pose=1.0)
    run.run()
    written, room = run.config.run, pack("apoavatar_core.comfyui")
    assert sorted(path.name for path in written.glob("*.safetensors")) == ["adapter.safetensors", "lora.safetensors"]
    settings = run.model.adapter.config
    assert (settings.vae_stride, settings.backbone_in_channels, settings.holds_reference) == (16, 48, False)

    batch, sigma = run.sources[0].batch(range(1), 3), 0.7
    noisy = sigma * batch.noise + (1 - sigma) * batch.data
    with torch.no_grad(), run.average.shown():
        velocity = run.model.velocity(batch, noisy, torch.tensor([sigma]))
        loss = run.model(batch)
    expected = noisy - sigma * velocity
    if given:
        torch.testing.assert_close(expected[:, :, 0], batch.data[:, :, 0], atol=1e-4, rtol=1e-4)
    assert loss.isfinite() and velocity.std() > 0.01

    model = comfy.sd.load_diffusion_model(str(run.config.backbone.file), {"dtype": torch.float32})
    model, _ = comfy.sd.load_lora_for_models(model, None, load_file(written / "lora.safetensors"), 1.0, 0)
    model = room.loading.apply_adapter(model, written / "adapter.safetensors")
    names = (room.conditions.AUDIO, room.conditions.POSE, room.conditions.POSE_GATE)
    text = [[batch.conditions["context"], {}]]
    positive = room.conditions.with_conditions(text, {name: batch.conditions[name] for name in names})
    (guider,) = pack("nodes.sampling").Guider.execute(model, positive, text, 1.0, 1.0, 1.0, 1.0).result
    mask = torch.ones(1, 1, 3, 1, 1)
    mask[:, :, 0] = 1 - given
    latent = model.model.latent_format.process_out(batch.data)
    with torch.inference_mode():
        found = guider.sample(
            batch.noise, latent, comfy.samplers.ksampler("euler"), torch.tensor([sigma, 0.0]), mask if given else None,
            disable_pbar=True, seed=0,
        )  # fmt: skip
    found = model.model.latent_format.process_in(found)
    assert (found - expected).abs().max() < 1e-3


def test_a_trained_adapter_of_wan_2_2_5b_makes_a_clip(pack, run_of_5b, wan22_vae) -> None:
    import comfy.sd

    run = run_of_5b(states={"S1": 0.5, "S4": 0.5}, leading={0: 0.5, 1: 0.5})
    # The portrait stays where text or voice leave.
    given = [run.sources[0].example(position, 3).conditions["c_concat"][:4, 0].amin() for position in range(12)]
    assert [int(value) for value in given] == [run.sources[0].leading_at(position) for position in range(12)] and 0 < sum(given) < 12
    assert {len(run.sources[0].state_at(position)) for position in range(12)} == {2, 4}
    run.run()
    model = comfy.sd.load_diffusion_model(str(run.config.backbone.file), {"dtype": torch.float32})
    model = pack("apoavatar_core.comfyui.loading").apply_adapter(model, run.config.run / "adapter.safetensors")
    text = [[random_tensor(1, TEXT_LENGTH, 64, seed=7), {}]]
    node, portrait = pack("nodes.conditioning").Conditioning, torch.rand(1, SIDE, SIDE, 3)
    shape = (SIDE, SIDE, FRAMES, 24.0, POSE_FREE, FROM_NOTHING)
    conditions = node.execute(text, text, wan22_vae, VOICE, *shape, portrait).result[:3]
    made = sampled(pack, model, *conditions)["samples"]
    assert made.shape == (1, 48, 3, SIDE // 16, SIDE // 16) and made.isfinite().all()
    torch.testing.assert_close(made[:, :, :1], conditions[2]["samples"][:, :, :1], atol=1e-4, rtol=1e-4)


def test_what_does_not_fit_wan_2_2_5b_is_refused(run_of_5b, config, trainer, clips_of_5b, wan22_vae, tmp_path) -> None:
    from apoavatar_core.data.clips import ClipBank
    from apoavatar_core.data.encoders import load_encoders
    from apoavatar_core.data.prepare import prepare
    from apoavatar_core.settings import changed

    with pytest.raises(ValueError, match="leave out all but 0 and 1"):
        run_of_5b(leading={1: 0.5, 2: 0.5})
    fitting = run_of_5b().config
    with pytest.raises(ValueError, match="works on latents of 48 channels and the clips' have 16: prepare them with the VAE"):
        trainer(changed(fitting, data=config.data))
    new = changed(config, data=clips_of_5b, backbone=changed(config.backbone, new=changed(config.backbone.new, reference=True)))
    with pytest.raises(ValueError, match="backbone.new.reference: models of this VAE"):
        trainer(new)
    bank = ClipBank(clips_of_5b.parent / "bank")
    bank.format = replace(bank.format, height=80)
    with pytest.raises(ValueError, match="height 80 is not a multiple of 32: use 64 or 96"):
        prepare(bank, tmp_path / "out", replace(load_encoders(), vae=wan22_vae))


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


LAYOUTS = {
    "text to video": {},
    "image to video": {"in_dim": 36},
    "image to video with CLIP vision": {"in_dim": 36, "model_type": "i2v"},
    "5B": {"in_dim": 48, "out_dim": 48},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_adapter_that_holds_no_earlier_frames_keeps_them_as_comfyui_s_inpainting_does(pack, vae, wan22_vae, layout) -> None:
    import node_helpers

    keys, coder = pack("apoavatar_core.comfyui.conditions"), wan22_vae if layout == "5B" else vae
    model = wan(**LAYOUTS[layout])
    model = pack("apoavatar_core.comfyui.attaching").attach(model, adapter(pack, vae_stride=16 if layout == "5B" else 8))
    going_on = after(12)
    positive, negative, latent = conditioned(
        pack, coder, continue_from=going_on, reference_image=torch.full((1, SIDE, SIDE, 3), 0.5)
    )
    found = sampled(pack, model, positive, negative, latent)["samples"]
    motion = coder.encode(going_on["previous_frames"][-5:])
    by_hand = {"samples": latent["samples"].clone(), "noise_mask": torch.ones_like(latent["samples"][:, :1])}
    by_hand["samples"][:, :, :2], by_hand["noise_mask"][:, :, :2] = motion, 0
    rest = {name: condition for name, condition in positive[0][1]["model_conds"].items() if name != keys.MOTION}
    told = (node_helpers.conditioning_set_values(text, {"model_conds": rest}) for text in (positive, negative))
    expected = sampled(pack, model, *told, by_hand)["samples"]
    assert torch.equal(found[:, :, :2], motion) and found.shape[2] == 3
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_too_few_earlier_frames_are_refused(pack, vae) -> None:
    with pytest.raises(ValueError, match="has 4 frames but 5 go before the clip"):
        conditioned(pack, vae, continue_from=after(4))
