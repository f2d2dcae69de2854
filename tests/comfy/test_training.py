"""Training through ComfyUI's own backbone, on a few small clips: runs that resume, stages that freeze, files that load."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from apoavatar_core.checkpoints.safe_file import read_metadata, write_tensors
from apoavatar_core.settings import changed
from apoavatar_core.training.config import BRANCHES, Adapter, Backbone, Samples

ROOT = Path(__file__).resolve().parents[2]
STAGE = {"steps": 4, "batch": 2, "latent_frames": 3, "learning_rate": 1e-3, "final_learning_rate": 1e-3, "warmup": 1}


def test_a_resumed_run_ends_with_the_same_weights(trainer, config, tmp_path) -> None:
    whole = trainer(changed(config, run=tmp_path / "whole"))
    losses = [whole.train_step()["loss"] for _ in range(4)]

    first = trainer(config)
    parts = [first.train_step()["loss"] for _ in range(2)]
    first.save()
    second = trainer(config, resume=True)
    parts += [second.train_step()["loss"] for _ in range(2)]

    assert parts == losses
    for ours, theirs in ((second.model.state_dict(), whole.model.state_dict()), (second.average.weights, whole.average.weights)):
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_step_clips_decays_warms_up_and_averages_as_configured(trainer, config) -> None:
    stage = changed(config.stages[0], steps=9, learning_rate=0.04, final_learning_rate=0.01, warmup=4)
    run = trainer(changed(config, stages=(stage,), weight_decay=0.5, clip_gradients=1e-3, ema=0.1))
    before = {name: parameter.detach().clone() for name, parameter in run.learned().items()}
    first = run.train_step()
    # The warm-up's first quarter of the rate.
    assert first["learning rate"] == pytest.approx(0.01)
    # AdamW's first moment is a tenth of the gradient as it was clipped; the logged length is the one before.
    (optimizer,) = run.optimizers
    moments = {name: optimizer.state[parameter]["exp_avg"] for name, parameter in run.learned().items()
               if parameter in optimizer.state}  # fmt: skip
    length = sum(moment.square().sum() for moment in moments.values()).sqrt().item()
    assert length == pytest.approx(1e-4, rel=1e-3) and first["gradient norm"] > 1e-2
    # A new backbone's last layer is zero and lets no gradient through: what lies before it only decays.
    resting = [name for name, moment in moments.items() if not moment.any()]
    assert len(resting) > 20
    for name in resting:
        torch.testing.assert_close(run.learned()[name].detach(), before[name] * (1 - 0.01 * 0.5))
        torch.testing.assert_close(run.average.weights[name], before[name] * (0.1 + 0.9 * (1 - 0.01 * 0.5)))
    assert run.train_step()["learning rate"] == pytest.approx(0.5 * (0.01 + 0.015 * (1 + np.cos(np.pi / 9))))


def test_a_run_is_not_overwritten_and_not_resumed_with_other_settings(trainer, config) -> None:
    trainer(config).save()
    with pytest.raises(ValueError, match="holds a run already; give --resume"):
        trainer(config)
    with pytest.raises(ValueError, match=r"written with other settings \(shift\): repeat them"):
        trainer(changed(config, shift=1.0), resume=True)


def test_only_the_branches_of_the_stage_learn_and_all_of_each(trainer, config) -> None:
    # A new backbone's last layer is zero and lets no gradient through; all learn until it is not.
    stages = (config.stages[0], changed(config.stages[0], steps=6, batch=4, train=("audio", "pose")))
    run = trainer(changed(config, stages=stages, conditions=changed(config.conditions, states={"S4": 1.0})))
    for _ in range(4):
        run.train_step()
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    for _ in range(6):
        run.train_step()
    after = run.model.state_dict()
    for branch in BRANCHES:
        for name, _ in run.model.branch(branch):
            assert torch.equal(before[name], after[name]) is (branch not in stages[1].train), name


def test_a_new_adapter_says_what_it_is_and_takes_clips_as_long_as_its_longest_examples(trainer, config) -> None:
    short = changed(config.stages[0], latent_frames=2)
    for stages, frames in (((short,), 5), ((config.stages[0], short), 9)):
        known = trainer(changed(config, stages=stages)).model.adapter.config
        assert known.window == frames
        # What files from before lack.
        assert known.normalized_pose and known.keys_know_places


def test_a_stage_puts_branches_back_to_the_backbones_weights(trainer, config) -> None:
    second = changed(config.stages[0], steps=1, restore=("text", "video"), train=("audio",))
    run = trainer(changed(config, stages=(config.stages[0], second)))
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    for _ in range(4):
        run.train_step()
    pose = {name: tensor.clone() for name, tensor in run.model.branch("pose")}
    run.train_step()
    after = run.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for branch in ("text", "video") for name, _ in run.model.branch(branch))
    assert all(torch.equal(pose[name], after[name]) for name in pose)
    assert any(not torch.equal(before[name], pose[name]) for name in pose)
    assert all(torch.equal(before[name], run.average.weights[name]) for name, _ in run.model.branch("text"))
    (optimizer,) = run.optimizers
    assert all(parameter not in optimizer.state for branch in ("text", "video") for _, parameter in run.model.branch(branch))


def test_nan_stops_the_run_with_the_step_and_the_clips(trainer, config, prepared, tmp_path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    path = sorted(prepared.glob("*.safetensors"))[0]
    tensors = load_file(path) | {"latents": torch.full_like(load_file(path)["latents"], torch.nan)}
    write_tensors(broken / "bad.safetensors", tensors, read_metadata(path))
    run = trainer(changed(config, data=broken, stages=(changed(config.stages[0], batch=1),)))
    with pytest.raises(FloatingPointError, match="nan at step 0 on bad.safetensors; no state was saved yet"):
        run.train_step()


def test_nan_gradients_do_not_reach_the_weights(trainer, config) -> None:
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


def test_a_stage_shows_what_its_own_conditions_say(trainer, config) -> None:
    from apoavatar_core.comfyui.conditions import AUDIO

    stages = [{**STAGE, "steps": 1}, {**STAGE, "steps": 1, "conditions": {"states": {"S1": 1.0}}}]
    run = trainer(changed(config, stages=stages, conditions={"states": {"S4": 1.0}}))
    silent = [not run.batch_at(step).conditions[AUDIO].any() for step in range(2)]
    assert silent == [False, True]
    run.run()


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


def test_a_run_shows_films_on_the_way_and_learns_the_same(trainer, config, tmp_path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from apoavatar_core.checkpoints import presets
    from apoavatar_core.data.clips import load_frames

    silent = trainer(changed(config, run=tmp_path / "silent"))
    silent.run()
    trainer(changed(config, samples=Samples(vae=presets.TINY_VAE, every=2, steps=2))).run()
    ours, theirs = (load_file(run / "adapter.safetensors") for run in (tmp_path / "silent", config.run))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)

    (name,) = (Path(name).stem for name in silent.sources[0].names(range(1), 3))
    films = [path.name for path in sorted((config.run / "samples").iterdir())]
    assert films == [f"step_000002_{name}.gif", f"step_000004_{name}.gif"]
    with Image.open(config.run / "samples" / films[-1]) as film:
        assert (film.size, film.n_frames) == ((3 * 64, 64), 9)
        shown = np.asarray(film.convert("RGB")).astype(int)
    drawn = load_frames(config.data.parent / "bank", int(name))[0].astype(int)
    error = [np.abs(shown[:, 64 * place : 64 * (place + 1)] - drawn).mean() for place in range(3)]
    assert error[0] < 25 < min(error[1:]), error
    (events,) = config.run.rglob("events.out.tfevents.*")
    log = EventAccumulator(str(events), size_guidance={"images": 0})
    log.Reload()
    assert [image.step for image in log.Images(f"{name}: drawn, posed, by voice")] == [2, 4]


def test_a_run_goes_on_from_the_files_of_another(trainer, config, tmp_path) -> None:
    trainer(config).run()
    dit, adapter = config.run / "diffusion_model.safetensors", config.run / "adapter.safetensors"
    second = changed(config, run=tmp_path / "second", backbone=Backbone(file=dit), adapter=Adapter(file=adapter))
    run = trainer(second)
    for network, file in ((run.model.dit, dit), (run.model.adapter, adapter)):
        for name, tensor in load_file(file).items():
            assert torch.equal(network.state_dict()[name], tensor.float())
    run.train_step()

    with pytest.raises(ValueError, match="made for a model of width 64, 2 blocks .* has width 64, 3 blocks"):
        trainer(changed(second, run=tmp_path / "third", backbone=Backbone(new=changed(config.backbone.new, num_layers=3))))


FSDP = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_SHARDING_STRATEGY": "FULL_SHARD",
    "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT",
}
"""What `accelerate launch --use_fsdp --fsdp_auto_wrap_policy TRANSFORMER_BASED_WRAP` sets."""


def launch(
    content: dict, folder: Path, processes: int, comfyui_folder: Path, *options: str, fsdp: int | None = None
) -> subprocess.CompletedProcess:
    """Run the training command in so many processes, as torchrun and accelerate's launcher start them.

    fsdp: the version that the launcher chose, if any.
    """
    import yaml

    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(content))
    starter = ["-m", "torch.distributed.run", f"--nproc_per_node={processes}", "--standalone"]
    program = [str(Path(__file__).with_name("fsdp_on_cpu.py"))] if fsdp else ["-m", "apoavatar_core.training"]
    command = [sys.executable, *starter, *program, "train", str(path), *options]
    variables = {**os.environ, "COMFYUI_PATH": str(comfyui_folder), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    if fsdp:
        # The first version loads in this way on GPUs only.
        variables |= FSDP | {"FSDP_VERSION": str(fsdp), "FSDP_CPU_RAM_EFFICIENT_LOADING": str(fsdp == 2).lower()}
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)


def stored_tensors(run: Path) -> dict[str, torch.Tensor]:
    """The tensors of a run's state, put together from the processes' parts."""
    (state,) = (run / "state").iterdir()
    pieces: dict[str, list] = {}
    for part in sorted(state.glob("*.safetensors")):
        offsets = json.loads(read_metadata(part)["offsets"])
        for name, tensor in load_file(part).items():
            pieces.setdefault(name, []).append((offsets[name], tensor))
    # FSDP splits the first dimension alone.
    return {
        name: torch.cat([tensor for _, tensor in sorted(found, key=lambda piece: piece[0])]) if found[0][0] else found[0][1]
        for name, found in pieces.items()
    }


@pytest.mark.slow
def test_two_processes_get_the_gradients_of_one(trainer, config, comfyui_folder, tmp_path) -> None:
    from apoavatar_core.training.config import read_config

    content = {
        "data": str(config.data),
        "run": str(tmp_path / "two"),
        "backbone": {"new": dict(config.backbone.new)},
        "adapter": {"new": {"audio_dim": 32, "tokens_per_frame": 2, "pose_channels": 8}},
        # One of the captions is longer with the speaking prompt, and each process would pad its own batch to its longest.
        "conditions": {"speaking": 0.0},
        "stages": [STAGE | {"steps": 1, "batch": 4}],
    }
    result = launch(content, tmp_path, 2, comfyui_folder)
    assert result.returncode == 0, result.stderr[-2000:]
    trainer(changed(read_config(tmp_path / "run.yaml"), run=tmp_path / "one")).run()
    # After one step AdamW's first moment is a tenth of the gradient.
    one, two = (
        {name: tensor for name, tensor in stored_tensors(tmp_path / run).items() if "/exp_avg/" in name} for run in ("one", "two")
    )
    largest = max(moment.abs().max() for moment in one.values())
    assert largest > 0 and one.keys() == two.keys()
    assert all((one[name] - two[name]).abs().max() < 1e-5 * largest for name in one)


def test_the_parts_of_a_batch_are_the_batch_and_one_that_does_not_divide_is_refused(training) -> None:
    from apoavatar_core.training.processes import share_of

    assert [list(share_of(range(8, 14), process, 3)) for process in range(3)] == [[8, 9], [10, 11], [12, 13]]
    with pytest.raises(ValueError, match="a batch of 3 does not divide among 2 processes"):
        share_of(range(3), 0, 2)


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "alone"), [("adamw", 0), ("muon", 1)])
def test_weights_split_between_processes_learn_the_same(trainer, config, comfyui_folder, tmp_path, optimizer, alone) -> None:
    """Two processes with FSDP, after so many steps `alone` from whose state they go on."""
    import yaml

    from apoavatar_core.training.config import read_config

    first = STAGE | {"steps": 2, "batch": 4}
    content = {
        "data": str(config.data),
        "run": str(tmp_path / "two"),
        "backbone": {"new": dict(config.backbone.new)},
        "adapter": {"new": {"audio_dim": 32, "tokens_per_frame": 2, "pose_channels": 8}},
        "optimizer": optimizer,
        "stages": [first, first | {"steps": 1, "train": ["audio", "pose", "video"], "restore": ["text"]}],
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(content))
    settings = read_config(tmp_path / "run.yaml")
    one = trainer(changed(settings, run=tmp_path / "one"))
    one.run()
    if alone:
        beginning = trainer(settings)
        for _ in range(alone):
            beginning.train_step()
        beginning.save()
    result = launch(content, tmp_path, 2, comfyui_folder, "--resume", fsdp=2)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "FSDP 2 on the CPU" in result.stdout

    two, alone_at_the_end = stored_tensors(settings.run), stored_tensors(one.config.run)
    assert two.keys() == alone_at_the_end.keys()
    weights = [name for name in two if name.startswith(("model/", "average/"))]
    assert len(weights) == 2 * len(one.learned())
    assert all((two[name] - alone_at_the_end[name]).abs().max() < 1e-4 for name in weights)
    for name in ("adapter.safetensors", "diffusion_model.safetensors"):
        ours, theirs = (load_file(run / name) for run in (settings.run, one.config.run))
        assert ours.keys() == theirs.keys()
        assert all((ours[key] - theirs[key]).abs().max() < 1e-3 for key in ours)


@pytest.mark.parametrize("folder", ["training", "tiny"])
def test_the_shipped_recipes_can_be_read(training, folder) -> None:
    from apoavatar_core.recipe.settings import Recipe
    from apoavatar_core.settings import read_settings
    from apoavatar_core.tiny.keypoint_network import KeypointTrainingConfig
    from apoavatar_core.tiny.vae.config import VAETrainingConfig
    from apoavatar_core.training.config import TrainingConfig

    kinds = {
        "recipe": Recipe, "tiny_vae": VAETrainingConfig, "tiny_vae_continued": VAETrainingConfig,
        "tiny_vae_decoder": VAETrainingConfig, "tiny_keypoints": KeypointTrainingConfig,
    }
    recipes = sorted((ROOT / "apoavatar_core" / folder / "configs").iterdir())
    assert len(recipes) >= 3 and {path.suffix for path in recipes} == {".yaml"}
    for path in recipes:
        read_settings(kinds.get(path.stem, TrainingConfig), path)


@pytest.mark.slow
def test_the_first_version_of_fsdp_is_refused(config, comfyui_folder, tmp_path) -> None:
    content = {"data": str(config.data), "run": str(config.run), "backbone": {"new": dict(config.backbone.new)}, "stages": [STAGE]}
    result = launch(content, tmp_path, 1, comfyui_folder, fsdp=1)
    assert result.returncode != 0
    assert "FSDP's first version cannot split this model: launch with --fsdp_version 2" in result.stderr


def test_a_truncated_clip_is_named(trainer, config, prepared, tmp_path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(prepared, broken)
    path = sorted(broken.glob("*.safetensors"))[1]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=f"{path.name} cannot be read .*; delete it and run `prepare` again"):
        trainer(changed(config, data=broken))


def test_training_learns_one_clip_by_heart(trainer, config, prepared, tmp_path) -> None:
    single = tmp_path / "single"
    single.mkdir()
    shutil.copy(sorted(prepared.glob("*.safetensors"))[0], single)
    never = changed(config.conditions, states={"S3": 0.5, "S4": 0.5})
    stage = changed(
        config.stages[0], steps=60, batch=8, latent_frames=1, learning_rate=0.05, final_learning_rate=3e-4
    )
    backbone = Backbone(new=changed(config.backbone.new, num_layers=1))
    settings = changed(config, data=single, backbone=backbone, optimizer="muon", shift=1.0, conditions=never, stages=(stage,))
    run = trainer(settings)
    losses = [run.train_step()["loss"] for _ in range(60)]
    # Who sees x_σ alone and never learned the clip stays above half of the first loss.
    assert sum(losses[-10:]) / 10 < 0.25 * losses[0]


def test_text_that_is_left_out_is_the_encoder_s_nothing(training, prepared) -> None:
    from apoavatar_core.comfyui.loading import load_tiny_text_encoder
    from nodes import CLIPTextEncode

    ((embedding, _),) = CLIPTextEncode().encode(load_tiny_text_encoder(), "")[0]
    clip = load_file(sorted(prepared.glob("*.safetensors"))[0])
    assert (clip["null_text"] - embedding[0]).abs().max() < 2e-3 and clip["null_text"].any()
    assert clip["null_text"].shape == clip["text"].shape
