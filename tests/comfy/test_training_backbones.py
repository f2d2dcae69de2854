"""What is trained: backbones of each kind, with a LoRA, with Wan's own encoders, and that ComfyUI runs the files the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from apoavatar_core.settings import changed
from apoavatar_core.training.branches import branch_of
from apoavatar_core.training.config import Adapter, Backbone


def test_what_a_run_writes_predicts_the_same_through_comfyui(trainer, config, training) -> None:
    import comfy.sd

    from apoavatar_core.checkpoints.adapter_file import read_adapter

    run = trainer(config)
    run.run()
    from apoavatar_core import comfyui as room
    batch = run.sources[0].batch(range(1), 3)
    with torch.no_grad(), run.average.shown():
        expected = run.model.velocity(batch, batch.noise, torch.tensor([0.7]))

    model = comfy.sd.load_diffusion_model(str(config.run / "diffusion_model.safetensors"), {"dtype": torch.float32})
    adapter = room.loading.load_adapter(*read_adapter(config.run / "adapter.safetensors"))
    found = predicted(model, adapter, batch)
    assert (found - expected).abs().max() < 0.02 * expected.abs().max()
    assert expected.std() > 0.01


def test_a_lora_learns_beside_the_backbone_and_loads_through_comfyui(trainer, config, tmp_path) -> None:
    import comfy.sd

    from apoavatar_core.checkpoints.adapter_file import read_adapter

    trainer(config).run()
    dit = config.run / "diffusion_model.safetensors"
    stage = changed(config.stages[0], steps=6, learning_rate=1e-2, train=("audio", "lora"))
    run = trainer(
        changed(config, run=tmp_path / "lora", backbone=Backbone(file=dit, lora_rank=4), ema=0.5, stages=(stage,))
    )
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    run.run()
    assert sorted(path.name for path in run.config.run.glob("*.safetensors")) == ["adapter.safetensors", "lora.safetensors"]
    after = run.model.state_dict()
    for name, _ in run.model.named_parameters():
        assert torch.equal(before[name], after[name]) is (branch_of(name) not in ("audio", "lora")), name

    batch = run.sources[0].batch(range(1), 3)
    with torch.no_grad(), run.average.shown():
        expected = run.model.velocity(batch, batch.noise, torch.tensor([0.7]))
    from apoavatar_core import comfyui as room
    model = comfy.sd.load_diffusion_model(str(dit), {"dtype": torch.float32})
    adapter = room.loading.load_adapter(*read_adapter(run.config.run / "adapter.safetensors"))
    lora, _ = comfy.sd.load_lora_for_models(model, None, load_file(run.config.run / "lora.safetensors"), 1.0, 0)
    found = [predicted(network, adapter, batch) for network in (model, lora)]
    assert (found[1] - expected).abs().max() < 0.02 * expected.abs().max()
    assert (found[0] - expected).abs().max() > 0.03 * expected.abs().max()


@pytest.mark.parametrize("model_type", ["t2v", "i2v"])
def test_every_linear_layer_of_the_blocks_has_a_lora(training, model_type) -> None:
    from comfy.ldm.wan.model import WanModel

    from apoavatar_core.comfyui import trainable

    dit = WanModel(
        model_type=model_type, in_dim=36, dim=16, ffn_dim=16, num_heads=1, num_layers=2, text_dim=16, operations=torch.nn
    )
    linear = {name for name, layer in dit.blocks.named_modules() if isinstance(layer, torch.nn.Linear)}
    assert ("1.cross_attn.k_img" in linear) is (model_type == "i2v")
    trainable.add_lora(dit, rank=2)
    assert {name.removesuffix(".lora_A") for name, _ in dit.blocks.named_modules() if name.endswith(".lora_A")} == linear


def test_a_frozen_backbone_in_bf16_predicts_what_autocast_would(trainer, config, tmp_path) -> None:
    file = write_wan(tmp_path / "i2v.safetensors", "t2v", 36)
    stage = changed(config.stages[0], train=("audio", "pose", "lora"))
    run = trainer(changed(config, backbone=Backbone(file=file, lora_rank=4), precision="bf16", stages=(stage,)))
    batch, dit = run.sources[0].batch(range(1), 3), run.model.dit
    assert dit.blocks[0].ffn[0].base_layer.weight.dtype is torch.bfloat16
    assert {parameter.dtype for name, parameter in dit.named_parameters() if ".lora_" in name} == {torch.float32}

    def velocity() -> torch.Tensor:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            return run.model.velocity(batch, batch.noise, torch.tensor([0.7]))

    found = velocity()
    with run.accelerator.autocast():
        assert not torch.is_autocast_cache_enabled()  # it would keep every learned weight in bf16 as well
    whole = load_file(file)
    for name, parameter in dit.named_parameters():
        if ".lora_" not in name:
            parameter.data = whole[name.replace(".base_layer", "")].float()
    assert torch.equal(velocity(), found) and found.std() > 0.01
    run.run()
    assert sorted(path.name for path in run.config.run.glob("*.safetensors")) == ["adapter.safetensors", "lora.safetensors"]


def test_an_adapter_takes_a_backbone_whose_heads_do_not_divide_its_width(trainer, config) -> None:
    dimensions = changed(config.backbone.new, dim=96, num_heads=3)
    assert 0 < trainer(changed(config, backbone=Backbone(new=dimensions))).train_step()["loss"] < 10


@torch.no_grad()
def predicted(model, adapter, batch):
    """The velocity at σ = 0.7 of a MODEL with an adapter, both loaded and patched by ComfyUI."""
    import comfy.model_management

    from apoavatar_core import comfyui as room
    network = room.attaching.attach(model, adapter)
    comfy.model_management.load_models_gpu([network, adapter], force_full_load=True)
    conditions = dict(batch.conditions)
    seen = torch.cat([batch.noise, conditions.pop("c_concat")], 1)
    options = room.attaching.transformer_options(network)
    return network.model.diffusion_model(seen, torch.tensor([700.0]), transformer_options=options, **conditions)


@torch.no_grad()
def with_random_weights(model: torch.nn.Module, seed: int) -> None:
    """Small random weights for a model that ComfyUI leaves uninitialised; norms stay norms."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator) * max(parameter[0].numel(), 2) ** -0.5
        parameter.copy_(noise + ("norm" in name and name.endswith("weight")))


def small_wan_encoders():
    """A wav2vec2 of two layers and a CLIP vision model of two, both ComfyUI's own, with the preset's VAE and T5."""
    import comfy.audio_encoders.audio_encoders
    import comfy.clip_vision

    from apoavatar_core.data.encoders import load_encoders

    wav2vec2 = {"model_type": "wav2vec2", "embed_dim": 32, "num_heads": 2, "num_layers": 2, "conv_norm": False,
                "conv_bias": False, "do_normalize": False, "do_stable_layer_norm": False}  # fmt: skip
    audio = comfy.audio_encoders.audio_encoders.AudioEncoderModel(wav2vec2)
    vision = comfy.clip_vision.ClipVisionModel(
        {"model_type": "clip_vision_model", "hidden_size": 1280, "num_attention_heads": 16, "num_hidden_layers": 2, "intermediate_size": 64, "patch_size": 14,
         "image_size": 224, "num_channels": 3, "hidden_act": "gelu", "projection_dim": 16, "layer_norm_eps": 1e-5}
    )  # fmt: skip
    with_random_weights(audio.model, 0)
    with_random_weights(vision.model, 1)
    return replace(load_encoders(), audio_encoder=audio, clip_vision=vision)


def write_wan(path: Path, model_type: str, channels: int) -> Path:
    """A small Wan model's file with random weights."""
    from comfy.ldm.wan.model import WanModel

    from apoavatar_core.comfyui import trainable
    from apoavatar_core.training.export import export_dit

    dit = WanModel(
        model_type=model_type, in_dim=channels, dim=64, ffn_dim=128, num_heads=2, num_layers=2, text_dim=64, text_len=192,
        operations=torch.nn,
    )
    trainable.initialize(dit)
    with_random_weights(dit, 2)
    export_dit(path, dit, dit.state_dict())
    return path


def test_wans_own_encoders_reach_every_weight_of_an_image_to_video_backbone(trainer, config, tmp_path) -> None:
    from apoavatar_core.data.clips import ClipBank
    from apoavatar_core.data.prepare import prepare

    encoders = small_wan_encoders()
    bank = ClipBank(config.data.parent / "bank")
    prepare(bank, tmp_path / "prepared", encoders)
    clip, stored = load_file(tmp_path / "prepared" / "000000.safetensors"), bank.load("000000")
    assert clip["portrait"].shape == (257, 1280)
    # Latent frame 1 ends two feature rows behind video frame 4, whose moment is row 50 · 6 / 24 of the encoder's.
    row, rest = divmod(50 * (stored.first + 6) / 24, 1)
    layers = encoders.audio_encoder.encode_audio(torch.from_numpy(stored.voice.samples)[None, None], 16_000)["encoded_audio_all_layers"]
    rows = torch.cat(layers[1:], -1)[0]
    expected = rows[int(row)] + rest * (rows[int(row) + 1] - rows[int(row)])
    assert (clip["audio"][7, 1].float() - expected.cpu()).abs().max() < 0.01 * expected.abs().max()

    never = changed(config.conditions, states={"S4": 1.0})
    i2v = Backbone(file=write_wan(tmp_path / "i2v.safetensors", "i2v", 36))
    posed = changed(config, data=tmp_path / "prepared", conditions=never, backbone=i2v)
    run = trainer(posed)
    run.train_step()
    assert run.model.adapter.config.audio_encoder == "wav2vec2"
    before = {name: parameter.clone() for name, parameter in run.model.dit.img_emb.named_parameters()}
    run.train_step()
    assert all(not torch.equal(before[name], parameter) for name, parameter in run.model.dit.img_emb.named_parameters())

    with pytest.raises(ValueError, match="prepare the clips with --clip-vision"):
        trainer(changed(posed, data=config.data, run=tmp_path / "other"))
    run.run()
    with pytest.raises(ValueError, match="features of width 64 from wav2vec2, and the clips hold width 40 from log_mel_40"):
        trainer(changed(config, run=tmp_path / "third", adapter=Adapter(file=run.config.run / "adapter.safetensors")))


def test_a_text_to_video_backbone_trains_without_a_reference(trainer, config, tmp_path) -> None:
    t2v = Backbone(file=write_wan(tmp_path / "t2v.safetensors", "t2v", 16))
    run = trainer(changed(config, backbone=t2v))
    before = run.model.dit.patch_embedding.weight.clone()
    run.train_step()
    assert not torch.equal(before, run.model.dit.patch_embedding.weight)
    assert run.model.adapter.config.backbone_in_channels == 16


def test_recomputed_activations_give_the_same_gradients_from_less_memory(trainer, config) -> None:
    gradients, kept = [], []
    for recompute in (False, True):
        run = trainer(changed(config, backbone=changed(config.backbone, recompute=recompute)))
        torch.manual_seed(0)
        with torch.no_grad():
            for parameter in run.model.parameters():
                parameter += 0.05 * torch.randn_like(parameter)
        batch, held = run.sources[0].batch(range(2), 3), []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: held.append(x.numel()) or x, lambda x: x):
            loss = run.model(batch)
        loss.backward()
        kept.append(sum(held))
        gradients.append({name: parameter.grad for name, parameter in run.model.named_parameters()})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert (gradient is None and gradients[1][name] is None) or torch.equal(gradient, gradients[1][name]), name
    assert kept[1] < 0.7 * kept[0]


def test_an_adapter_is_refused_as_a_backbone(trainer, config, tmp_path) -> None:
    trainer(config).run()
    file = config.run / "adapter.safetensors"
    with pytest.raises(ValueError, match="adapter.safetensors is no Wan text- or image-to-video model"):
        trainer(changed(config, run=tmp_path / "second", backbone=Backbone(file=file)))
