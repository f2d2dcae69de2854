"""The tiny VAE's training on ComfyUI's own network: whole clips, the start, going on, the average, the command."""

from __future__ import annotations

from argparse import ArgumentParser

import numpy as np
import pytest
import torch

from apoavatar_core.settings import build, changed


@pytest.fixture
def settings(training):
    from apoavatar_core.tiny.vae.config import VAETrainingConfig

    stage = {"steps": 2, "batch": 2, "frames": 5, "crop": 16, "learning_rate": 0.01, "final_learning_rate": 0.01}
    return build(VAETrainingConfig, {"dim": 8, "stages": [stage], "average": 0.5})


@pytest.fixture(scope="module")
def network(training):
    """A narrow VAE with weights that let every frame count."""
    from apoavatar_core.comfyui import trainable

    torch.manual_seed(0)
    vae = trainable.build_vae(8)
    trainable.initialize(vae)
    return vae


@pytest.mark.parametrize("frames", [1, 5, 17])
def test_a_whole_clip_is_what_its_chunks_are(network, frames) -> None:
    from apoavatar_core.comfyui import whole_clips

    clip = torch.rand(2, 3, frames, 16, 16) * 2 - 1
    with torch.no_grad():
        latents = network.encode(clip)
        torch.testing.assert_close(whole_clips.encode(network, clip), latents, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(whole_clips.decode(network, latents), network.decode(latents), rtol=1e-4, atol=1e-5)
    assert latents.std() > 1e-2 and latents.shape == (2, 16, (frames - 1) // 4 + 1, 2, 2)


def test_a_stopped_run_ends_with_the_same_weights(prepared, settings, tmp_path) -> None:
    from safetensors.torch import load_file

    from apoavatar_core.tiny.vae.training import VAETrainer, train
    from apoavatar_core.training.log import read_log
    from apoavatar_core.training.state import newest_state

    bank = prepared.parent / "bank"
    train(settings, bank, None, tmp_path / "whole")
    first = VAETrainer(settings, bank, tmp_path / "parts")
    first.train_step()
    first.save()
    train(settings, bank, bank, tmp_path / "parts")
    whole, parts = (load_file(newest_state(tmp_path / run / "state") / "part_00000.safetensors") for run in ("whole", "parts"))
    assert whole.keys() == parts.keys() and all(torch.equal(whole[name], parts[name]) for name in whole)
    entries = read_log(tmp_path / "parts" / "log.jsonl")
    assert [entry["step"] for entry in entries] == [1, 2] and 0 < entries[1]["all_db"] < 40 and "all_db" not in entries[0]
    with pytest.raises(ValueError, match="other settings .latent_noise."):
        VAETrainer(changed(settings, latent_noise=0.2), bank, tmp_path / "parts")


def test_a_run_writes_the_average_of_its_weights(prepared, settings, tmp_path) -> None:
    from apoavatar_core.comfyui import trainable
    from apoavatar_core.tiny.vae.export import export_run
    from apoavatar_core.tiny.vae.training import VAETrainer, averaged_vae

    bank = prepared.parent / "bank"
    with pytest.raises(ValueError, match="holds no state to export: train first"):
        export_run(settings, bank, tmp_path, tmp_path / "vae.safetensors")
    trainer = VAETrainer(settings, bank, tmp_path)
    name = "decoder.conv1.weight"
    values = [trainer.parameters[name].detach().clone()]
    for _ in range(2):
        trainer.train_step()
        values.append(trainer.parameters[name].detach().clone())
    trainer.save()
    # Decays of the first two steps: 2/11 and 3/12.
    first = 2 / 11 * values[0] + 9 / 11 * values[1]
    torch.testing.assert_close(dict(averaged_vae(settings, tmp_path).named_parameters())[name], 0.25 * first + 0.75 * values[2])

    export_run(settings, bank, tmp_path, tmp_path / "vae.safetensors")
    written = trainable.load_vae(tmp_path / "vae.safetensors")
    clip = torch.rand(2, 3, 5, 16, 16) * 2 - 1
    with torch.no_grad(), trainer.average.shown():
        expected = trainer.vae.decode(trainer.vae.encode(clip))
        torch.testing.assert_close(written.decode(written.encode(clip)), expected, rtol=0.02, atol=0.02)


def test_a_run_starts_from_a_file_of_its_width(settings, network, tmp_path) -> None:
    from safetensors.torch import save_file

    from apoavatar_core.tiny.vae.start import build as build_vae

    path = tmp_path / "vae.safetensors"
    save_file(network.state_dict(), path)
    started = build_vae(8, path)
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in started.state_dict().items())
    with pytest.raises(ValueError, match="has width 8: set dim to that"):
        build_vae(16, path)
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="is no VAE of Wan 2.1's layout"):
        build_vae(8, path)


def test_the_decoder_alone_learns_under_latents_that_stay(prepared, settings, network, tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    from apoavatar_core.comfyui import loading
    from apoavatar_core.tiny.vae.export import export_run
    from apoavatar_core.tiny.vae.training import VAETrainer, train

    bank, start, written = prepared.parent / "bank", tmp_path / "start.safetensors", tmp_path / "written.safetensors"
    save_file({name: tensor.half() for name, tensor in network.state_dict().items()}, start)
    config = changed(settings, start=start, trained="decoder")
    # From its own state a run goes on without the file that it began with.
    first = VAETrainer(config, bank, tmp_path)
    first.train_step()
    first.save()
    train(changed(config, start=tmp_path / "gone.safetensors"), bank, None, tmp_path)
    export_run(config, bank, tmp_path, written)

    before, after = load_file(start), load_file(written)
    latents = {name for name in before if name.startswith(("encoder.", "conv1."))}
    assert len(latents) > 20 and all(torch.equal(after[name], before[name]) for name in latents)
    kernels = {name for name in before.keys() - latents if name.endswith("weight")}
    assert len(kernels) > 20 and not any(torch.equal(after[name], before[name]) for name in kernels)
    clip = torch.rand(5, 16, 16, 3)
    ours, theirs = (loading.load_vae(path) for path in (start, written))
    latent = ours.encode(clip)
    assert torch.equal(theirs.encode(clip), latent) and not torch.equal(theirs.decode(latent), ours.decode(latent))
    with pytest.raises(ValueError, match="trained: decoder wants the file whose encoder stays as it is: name it in start"):
        changed(config, start=None)


def test_the_command_measures_a_file(prepared, network, tmp_path, capsys) -> None:
    from safetensors.torch import save_file

    from apoavatar_core.tiny.vae import command

    def called(*options: object) -> None:
        parser = ArgumentParser()
        command.add_arguments(parser)
        command.run(parser.parse_args([str(option) for option in options]))

    path = tmp_path / "vae.safetensors"
    save_file(network.state_dict(), path)
    called("--measure", path, "--held-out", prepared.parent / "bank")
    assert "PSNR all " in capsys.readouterr().out and (tmp_path / "vae.png").is_file()
    for options, message in (
        (("--measure", path), "--held-out is missing: draw clips"),
        (("--measure", path, "--held-out", tmp_path), f"--held-out: {tmp_path} holds no clips"),
        (("--run", tmp_path), "--clips is missing"),
        (("--clips", prepared.parent / "bank"), "--run is missing"),
    ):
        with pytest.raises(ValueError, match=message):
            called(*options)


def test_the_keypoint_network_learns_from_what_the_vae_decodes(training, tmp_path) -> None:
    from apoavatar_core.checkpoints.presets import TINY_VAE
    from apoavatar_core.pose import KeypointNetworkConfig, load_keypoint_network
    from apoavatar_core.tiny import keypoint_reconstructions as decoding
    from apoavatar_core.tiny.keypoint_network import KeypointTrainingConfig, train_keypoints

    found = decoding.kept_reconstructions(tmp_path / "decoded.safetensors", TINY_VAE, 2, 64, seed=0)
    drawn = np.concatenate([decoding.snippet(np.random.default_rng((0, 2, number)), 64)[0] for number in range(2)])
    assert found.pictures.shape == drawn.shape == (10, 64, 64, 3)
    assert 0 < np.abs(found.pictures.astype(float) - drawn).mean() < 12
    network = KeypointNetworkConfig(input_size=32, channels=(8, 8, 8, 8))
    config = KeypointTrainingConfig(network=network, steps=1, batch_size=2, snippets=2)
    train_keypoints(config, out := tmp_path / "pose.safetensors", vae=TINY_VAE)
    assert load_keypoint_network(out).config == config.network
    assert sorted(file.name for file in tmp_path.iterdir()) == ["decoded.safetensors", out.name]
