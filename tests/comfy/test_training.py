"""Training through ComfyUI's own backbone, on a few small clips: runs that resume, stages that freeze, files that load."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from apoavatar_core.checkpoints.safe_file import read_metadata, write_tensors
from apoavatar_core.training.config import BRANCHES, Adapter, Backbone, Samples, TrainingConfig, build
from apoavatar_core.training.model import branch_of

ROOT = Path(__file__).resolve().parents[2]
STAGE = {"steps": 4, "batch": 2, "latent_frames": 3, "learning_rate": 1e-3, "final_learning_rate": 1e-3, "warmup": 1}


@pytest.fixture(scope="module")
def prepared(prepare_clips) -> Path:
    return prepare_clips(clips=4, frames=9)


@pytest.fixture
def config(prepared, tmp_path) -> TrainingConfig:
    content = {
        "data": prepared,
        "run": tmp_path / "run",
        "backbone": {"new": {"dim": 64, "ffn_dim": 128, "num_heads": 2, "num_layers": 2}},
        "adapter": {"new": {"audio_dim": 32, "tokens_per_frame": 2, "pose_channels": 8}},
        "stages": [STAGE],
    }
    return build(TrainingConfig, content, "the configuration")


def trainer(config: TrainingConfig, resume: bool = False):
    from apoavatar_core.training.trainer import Trainer

    return Trainer(config, resume)


def test_a_resumed_run_ends_with_the_same_weights(config, tmp_path) -> None:
    whole = trainer(replace(config, run=tmp_path / "whole"))
    losses = [whole.train_step()["loss"] for _ in range(4)]

    first = trainer(config)
    parts = [first.train_step()["loss"] for _ in range(2)]
    first.save()
    second = trainer(config, resume=True)
    parts += [second.train_step()["loss"] for _ in range(2)]

    assert parts == losses
    for ours, theirs in ((second.model.state_dict(), whole.model.state_dict()), (second.average, whole.average)):
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_run_is_not_overwritten_and_not_resumed_with_other_settings(config) -> None:
    trainer(config).save()
    with pytest.raises(ValueError, match="holds a run already; give --resume"):
        trainer(config)
    with pytest.raises(ValueError, match="another configuration wrote"):
        trainer(replace(config, shift=1.0), resume=True)


def test_only_the_branches_of_the_stage_learn_and_all_of_each(config) -> None:
    # A new backbone's last layer is zero and lets no gradient through; all learn until it is not.
    stages = (config.stages[0], replace(config.stages[0], steps=6, batch=4, train=("audio", "pose")))
    run = trainer(replace(config, stages=stages, conditions=replace(config.conditions, audio_dropout=0, pose_dropout=0)))
    for _ in range(4):
        run.train_step()
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    for _ in range(6):
        run.train_step()
    after = run.model.state_dict()
    for branch in BRANCHES:
        for name, _ in run.model.branch(branch):
            assert torch.equal(before[name], after[name]) is (branch not in stages[1].train), name


def test_a_stage_puts_branches_back_to_the_backbones_weights(config) -> None:
    second = replace(config.stages[0], steps=1, restore=("text", "video"), train=("audio",))
    run = trainer(replace(config, stages=(config.stages[0], second)))
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    for _ in range(4):
        run.train_step()
    pose = {name: tensor.clone() for name, tensor in run.model.branch("pose")}
    run.train_step()
    after = run.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for branch in ("text", "video") for name, _ in run.model.branch(branch))
    assert all(torch.equal(pose[name], after[name]) for name in pose)
    assert any(not torch.equal(before[name], pose[name]) for name in pose)
    assert all(torch.equal(before[name], run.average[name]) for name, _ in run.model.branch("text"))
    (optimizer,) = run.optimizers
    assert all(parameter not in optimizer.state for branch in ("text", "video") for _, parameter in run.model.branch(branch))


def test_nan_stops_the_run_with_the_step_and_the_clips(config, prepared, tmp_path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    path = sorted(prepared.glob("*.safetensors"))[0]
    tensors = load_file(path) | {"latents": torch.full_like(load_file(path)["latents"], torch.nan)}
    write_tensors(broken / "bad.safetensors", tensors, read_metadata(path))
    run = trainer(replace(config, data=broken, stages=(replace(config.stages[0], batch=1),)))
    with pytest.raises(FloatingPointError, match="nan at step 0 on bad.safetensors; no state was saved yet"):
        run.train_step()


def test_nan_gradients_do_not_reach_the_weights(config) -> None:
    run = trainer(config)
    run.train_step()
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    run.model.dit.head.head.weight.register_hook(lambda gradient: gradient * torch.nan)
    with pytest.raises(FloatingPointError, match="gradients' length is nan at step 1 on .*safetensors"):
        run.train_step()
    assert all(torch.equal(before[name], tensor) for name, tensor in run.model.state_dict().items())


def test_films_with_unusable_sidecars_are_named_and_skipped(training, tmp_path, capsys) -> None:
    from apoavatar_core.training.__main__ import add_arguments, prepare

    write_film(tmp_path / "good.mp4", 5)
    write_film(tmp_path / "posed.mp4", 5)
    (tmp_path / "posed.pose.json").write_text(json.dumps([{"people": "none"}] * 5))
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    for name in ("good", "posed", "broken"):
        (tmp_path / f"{name}.txt").write_text("a wall")
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    options = ["--out", str(tmp_path / "out"), "--frames", "5", "--size", "64", "32"]
    prepare(parser.parse_args(["prepare", str(tmp_path), *options]))
    said = capsys.readouterr().out
    assert "skipped posed_0000: The pose is not a list of OpenPose frames" in said
    assert "skipped broken_0000: broken.mp4 cannot be decoded" in said
    assert "2 of 3 clips were skipped" in said
    (path,) = (tmp_path / "out").iterdir()
    prepared = load_file(path)
    assert path.name == "good_0000.safetensors"
    assert prepared["latents"].shape == (16, 2, 4, 8)
    assert not prepared["posed"]


def write_film(path: Path, frames: int) -> None:
    """Grey pictures with silence, at 24 fps."""
    with av.open(str(path), "w") as container:
        video, audio = container.add_stream("libx264", rate=24), container.add_stream("aac", rate=16_000)
        video.width, video.height, video.pix_fmt = 64, 32, "yuv420p"
        for _ in range(frames):
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.full((32, 64, 3), 99, np.uint8), format="rgb24")))
        container.mux(video.encode())
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        sound.sample_rate, sound.time_base, sound.pts = 16_000, Fraction(1, 16_000), 0
        container.mux(audio.encode(sound))
        container.mux(audio.encode())


def test_a_run_shows_films_on_the_way_and_learns_the_same(config, tmp_path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from apoavatar_core.checkpoints import presets
    from apoavatar_core.training.clips import load_frames

    silent = trainer(replace(config, run=tmp_path / "silent"))
    silent.run()
    trainer(replace(config, samples=Samples(vae=presets.TINY_VAE, every=2, steps=2))).run()
    ours, theirs = (load_file(run / "adapter.safetensors") for run in (tmp_path / "silent", config.run))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)

    assert [path.name for path in sorted((config.run / "samples").iterdir())] == ["step_000002.gif", "step_000004.gif"]
    with Image.open(config.run / "samples" / "step_000004.gif") as film:
        assert (film.size, film.n_frames) == ((3 * 64, 64), 9)
        shown = np.asarray(film.convert("RGB")).astype(int)
    (name,) = silent.source.names(range(1), 3)
    drawn = load_frames(config.data.parent / "bank", int(Path(name).stem))[0].astype(int)
    error = [np.abs(shown[:, 64 * place : 64 * (place + 1)] - drawn).mean() for place in range(3)]
    assert error[0] < 25 < min(error[1:]), error
    (events,) = config.run.rglob("events.out.tfevents.*")
    log = EventAccumulator(str(events), size_guidance={"images": 0})
    log.Reload()
    assert [image.step for image in log.Images("drawn, posed, by voice")] == [2, 4]


def test_a_run_goes_on_from_the_files_of_another(config, tmp_path) -> None:
    trainer(config).run()
    dit, adapter = config.run / "diffusion_model.safetensors", config.run / "adapter.safetensors"
    second = replace(config, run=tmp_path / "second", backbone=Backbone(file=dit), adapter=Adapter(file=adapter))
    run = trainer(second)
    for network, file in ((run.model.dit, dit), (run.model.adapter, adapter)):
        for name, tensor in load_file(file).items():
            assert torch.equal(network.state_dict()[name], tensor.float())
    run.train_step()

    with pytest.raises(ValueError, match="made for a model of width 64, 2 blocks .* has width 64, 3 blocks"):
        trainer(replace(second, run=tmp_path / "third", backbone=Backbone(new=config.backbone.new | {"num_layers": 3})))


def test_a_lora_learns_beside_the_backbone_and_loads_through_comfyui(config, tmp_path) -> None:
    import comfy.sd

    from apoavatar_core.adapters import ApoAvatarAdapter
    from apoavatar_core.checkpoints.adapter_file import read_adapter
    from apoavatar_core.training import backbone

    trainer(config).run()
    dit = config.run / "diffusion_model.safetensors"
    stage = replace(config.stages[0], steps=6, learning_rate=1e-2, train=("audio", "lora"))
    run = trainer(
        replace(config, run=tmp_path / "lora", backbone=Backbone(file=dit, lora_rank=4), ema=0.5, stages=(stage,))
    )
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    run.run()
    assert sorted(path.name for path in run.config.run.glob("*.safetensors")) == ["adapter.safetensors", "lora.safetensors"]
    after = run.model.state_dict()
    for name, _ in run.model.named_parameters():
        assert torch.equal(before[name], after[name]) is (branch_of(name) not in ("audio", "lora")), name

    batch = run.source.batch(range(1), 3)
    run.model.load_state_dict(run.average)
    with torch.no_grad():
        expected = run.model.velocity(batch, batch.noise, torch.tensor([0.7]))
    binding = backbone.binding()
    model = comfy.sd.load_diffusion_model(str(dit), {"dtype": torch.float32})
    adapter = binding.load_adapter(ApoAvatarAdapter, *read_adapter(run.config.run / "adapter.safetensors"))
    lora, _ = comfy.sd.load_lora_for_models(model, None, load_file(run.config.run / "lora.safetensors"), 1.0, 0)
    found = [predicted(network, adapter, batch) for network in (model, lora)]
    assert (found[1] - expected).abs().max() < 0.02 * expected.abs().max()
    assert (found[0] - expected).abs().max() > 0.05 * expected.abs().max()


@torch.no_grad()
def predicted(model, adapter, batch):
    """The velocity at σ = 0.7 of a MODEL with an adapter, both loaded and patched by ComfyUI."""
    import comfy.model_management

    from apoavatar_core.training import backbone

    binding = backbone.binding()
    network = binding.attach(model, adapter)
    comfy.model_management.load_models_gpu([network, adapter], force_full_load=True)
    return network.model.diffusion_model(
        torch.cat([batch.noise, batch.concat], 1),
        torch.tensor([700.0]),
        batch.text,
        transformer_options=binding.transformer_options(network),
        apoavatar_audio=batch.audio,
        apoavatar_pose=batch.pose,
        apoavatar_pose_gate=batch.pose_gate,
    )


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

    from apoavatar_core.training.encoders import load_encoders

    wav2vec2 = {"model_type": "wav2vec2", "embed_dim": 32, "num_heads": 2, "num_layers": 2, "conv_norm": False,
                "conv_bias": False, "do_normalize": False, "do_stable_layer_norm": False}  # fmt: skip
    audio = comfy.audio_encoders.audio_encoders.AudioEncoderModel(wav2vec2)
    vision = comfy.clip_vision.ClipVisionModel(
        {"model_type": "clip_vision_model", "hidden_size": 1280, "num_attention_heads": 16, "num_hidden_layers": 2, "intermediate_size": 64, "patch_size": 14,
         "image_size": 224, "num_channels": 3, "hidden_act": "gelu", "projection_dim": 16, "layer_norm_eps": 1e-5}
    )  # fmt: skip
    with_random_weights(audio.model, 0)
    with_random_weights(vision.model, 1)
    return replace(load_encoders(), audio_encoder=audio, audio_name="small_wav2vec2", clip_vision=vision)


def write_wan(path: Path, model_type: str, channels: int) -> Path:
    """A small Wan model's file with random weights."""
    from comfy.ldm.wan.model import WanModel

    from apoavatar_core.training import backbone
    from apoavatar_core.training.export import export_dit

    dit = WanModel(
        model_type=model_type, in_dim=channels, dim=64, ffn_dim=128, num_heads=2, num_layers=2, text_dim=64, text_len=192,
        operations=torch.nn,
    )
    backbone.initialize(dit)
    with_random_weights(dit, 2)
    export_dit(path, dit)
    return path


def test_wans_own_encoders_reach_every_weight_of_an_image_to_video_backbone(config, tmp_path) -> None:
    from apoavatar_core.training.clips import ClipBank
    from apoavatar_core.training.prepare import prepare

    encoders = small_wan_encoders()
    bank = ClipBank(config.data.parent / "bank")
    prepare(bank, tmp_path / "prepared", encoders)
    clip, stored = load_file(tmp_path / "prepared" / "000000.safetensors"), bank.load("000000")
    assert clip["portrait"].shape == (257, 1280)
    # Latent frame 1 ends two feature rows behind video frame 4, whose moment is row 50 · 6 / 24 of the encoder's.
    layers = encoders.audio_encoder.encode_audio(torch.from_numpy(stored.speech)[None, None], 16_000)["encoded_audio_all_layers"]
    rows = torch.cat(layers[1:], -1)[0]
    expected = rows[12] + 0.5 * (rows[13] - rows[12])
    assert (clip["audio"][7, 1].float() - expected.cpu()).abs().max() < 0.01 * expected.abs().max()

    never = replace(config.conditions, image_dropout=0, audio_dropout=0, pose_dropout=0, text_dropout=0)
    i2v = Backbone(file=write_wan(tmp_path / "i2v.safetensors", "i2v", 36))
    posed = replace(config, data=tmp_path / "prepared", conditions=never, backbone=i2v)
    run = trainer(posed)
    run.train_step()
    assert run.model.adapter.config.audio_encoder == "small_wav2vec2"
    before = {name: parameter.clone() for name, parameter in run.model.dit.img_emb.named_parameters()}
    run.train_step()
    assert all(not torch.equal(before[name], parameter) for name, parameter in run.model.dit.img_emb.named_parameters())

    with pytest.raises(ValueError, match="prepare the clips with --clip-vision"):
        trainer(replace(posed, data=config.data, run=tmp_path / "other"))
    run.run()
    with pytest.raises(ValueError, match="features of width 64 from small_wav2vec2, and the clips hold width 40 from log_mel_40"):
        trainer(replace(config, run=tmp_path / "third", adapter=Adapter(file=run.config.run / "adapter.safetensors")))


def test_a_text_to_video_backbone_trains_without_a_reference(config, tmp_path) -> None:
    t2v = Backbone(file=write_wan(tmp_path / "t2v.safetensors", "t2v", 16))
    run = trainer(replace(config, backbone=t2v))
    before = run.model.dit.patch_embedding.weight.clone()
    run.train_step()
    assert not torch.equal(before, run.model.dit.patch_embedding.weight)
    assert run.model.adapter.config.backbone_in_channels == 16


def test_recomputed_activations_give_the_same_gradients_from_less_memory(config) -> None:
    gradients, kept = [], []
    for recompute in (False, True):
        run = trainer(replace(config, backbone=replace(config.backbone, recompute=recompute)))
        torch.manual_seed(0)
        with torch.no_grad():
            for parameter in run.model.parameters():
                parameter += 0.05 * torch.randn_like(parameter)
        batch, held = run.source.batch(range(2), 3), []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: held.append(x.numel()) or x, lambda x: x):
            loss = run.model(batch)
        loss.backward()
        kept.append(sum(held))
        gradients.append({name: parameter.grad for name, parameter in run.model.named_parameters()})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert (gradient is None and gradients[1][name] is None) or torch.equal(gradient, gradients[1][name]), name
    assert kept[1] < 0.7 * kept[0]


def test_an_adapter_is_refused_as_a_backbone(config, tmp_path) -> None:
    trainer(config).run()
    file = config.run / "adapter.safetensors"
    with pytest.raises(ValueError, match="adapter.safetensors is no Wan text- or image-to-video model"):
        trainer(replace(config, run=tmp_path / "second", backbone=Backbone(file=file)))


def launch(content: dict, folder: Path, processes: int, comfyui_folder: Path) -> subprocess.CompletedProcess:
    """Run the training command in so many processes, as torchrun and accelerate's launcher start them."""
    import yaml

    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(content))
    starter = ["-m", "torch.distributed.run", f"--nproc_per_node={processes}", "--standalone"]
    command = [sys.executable, *starter, "-m", "apoavatar_core.training", "train", str(path)]
    variables = {**os.environ, "COMFYUI_PATH": str(comfyui_folder), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)


@pytest.mark.slow
def test_two_processes_get_the_gradients_of_one(config, comfyui_folder, tmp_path) -> None:
    content = {
        "data": str(config.data),
        "backbone": {"new": config.backbone.new},
        "adapter": {"new": {"audio_dim": 32, "tokens_per_frame": 2, "pose_channels": 8}},
        "stages": [STAGE | {"steps": 1, "batch": 4}],
    }
    moments = []
    for processes in (1, 2):
        run = tmp_path / f"run{processes}"
        result = launch(content | {"run": str(run)}, tmp_path, processes, comfyui_folder)
        assert result.returncode == 0, result.stderr[-2000:]
        (optimizer,) = torch.load(run / "state.pt", weights_only=True)["optimizers"]
        # After one step AdamW's first moment is a tenth of the gradient.
        moments.append([state["exp_avg"] for state in optimizer["state"].values()])
    largest = max(one.abs().max() for one in moments[0])
    assert largest > 0
    assert all((one - two).abs().max() < 1e-5 * largest for one, two in zip(*moments, strict=True))

    odd = content | {"run": str(tmp_path / "odd"), "stages": [STAGE | {"batch": 3}]}
    result = launch(odd, tmp_path, 2, comfyui_folder)
    assert result.returncode != 0
    assert "a batch of 3 does not divide among 2 processes" in result.stderr


def test_a_truncated_clip_is_named(config, prepared, tmp_path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(prepared, broken)
    path = sorted(broken.glob("*.safetensors"))[1]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=f"{path.name} cannot be read .*; delete it and run `prepare` again"):
        trainer(replace(config, data=broken))


def test_training_learns_one_clip_by_heart(config, prepared, tmp_path) -> None:
    single = tmp_path / "single"
    single.mkdir()
    shutil.copy(sorted(prepared.glob("*.safetensors"))[0], single)
    never = replace(config.conditions, text_dropout=0, image_dropout=0, audio_dropout=0)
    stage = replace(
        config.stages[0], steps=300, batch=8, latent_frames=1, learning_rate=0.03, final_learning_rate=3e-4
    )
    run = trainer(replace(config, data=single, optimizer="muon", shift=1.0, conditions=never, stages=(stage,)))
    losses = [run.train_step()["loss"] for _ in range(300)]
    assert sum(losses[-20:]) / 20 < 0.1 * losses[0]


def test_what_a_run_writes_predicts_the_same_through_comfyui(config, training) -> None:
    import comfy.sd

    from apoavatar_core.adapters import ApoAvatarAdapter
    from apoavatar_core.checkpoints.adapter_file import read_adapter
    from apoavatar_core.training import backbone

    run = trainer(config)
    run.run()
    binding = backbone.binding()
    batch = run.source.batch(range(1), 3)
    run.model.load_state_dict(run.average)
    with torch.no_grad():
        expected = run.model.velocity(batch, batch.noise, torch.tensor([0.7]))

    model = comfy.sd.load_diffusion_model(str(config.run / "diffusion_model.safetensors"), {"dtype": torch.float32})
    adapter = binding.load_adapter(ApoAvatarAdapter, *read_adapter(config.run / "adapter.safetensors"))
    found = predicted(model, adapter, batch)
    assert (found - expected).abs().max() < 0.02 * expected.abs().max()
    assert expected.std() > 0.01
