"""Long Video: windows of the tiny preset, few steps and small pictures."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

SIDE, FPS, WINDOW = 32, 24.0, 9


@pytest.fixture(scope="module")
def nodes_by_id(comfy):
    import nodes

    return nodes.NODE_CLASS_MAPPINGS


@pytest.fixture(scope="module")
def preset(nodes_by_id):
    """MODEL, CLIP, VAE, AUDIO_ENCODER."""
    return nodes_by_id["ApoAvatarLoadModels"].execute({"preset": "tiny"}).result


@pytest.fixture(autouse=True)
def folders(comfy, tmp_path):
    import folder_paths

    before = folder_paths.get_output_directory(), folder_paths.get_temp_directory()
    folder_paths.set_output_directory(str(tmp_path / "output"))
    folder_paths.set_temp_directory(str(tmp_path / "temp"))
    yield tmp_path
    folder_paths.set_output_directory(before[0])
    folder_paths.set_temp_directory(before[1])


def voice(seconds: float, rate: int = 16_000) -> dict:
    """AUDIO of a tone that swells and fades."""
    time = torch.arange(round(seconds * rate)) / rate
    return {"waveform": (0.3 * torch.sin(1400 * time) * torch.sin(9 * time)).view(1, 1, -1), "sample_rate": rate}


TEXT = [[torch.ones(1, 8, 64), {}]]


def conditioned(nodes_by_id, preset, audio: dict, length: int = WINDOW, fps: float = FPS, **inputs) -> tuple:
    _, _, vae, encoder = preset
    features = encoder.encode_audio(audio["waveform"], audio["sample_rate"])
    free = {"pose_mode": {"pose_mode": "pose_free"}, "continue_from": {"continue_from": "nothing"}}
    execute = nodes_by_id["ApoAvatarConditioning"].execute
    portrait = torch.linspace(0, 1, SIDE).expand(1, SIDE, SIDE)[..., None].expand(-1, -1, -1, 3)
    return execute(TEXT, TEXT, vae, features, SIDE, SIDE, length, fps, **{"reference_image": portrait, **free, **inputs}).result


def sampling(nodes_by_id, preset, positive: list, negative: list, seed: int = 3, steps: int = 1) -> tuple:
    """NOISE, GUIDER, SAMPLER, SIGMAS."""
    from comfy_extras.nodes_custom_sampler import BasicScheduler, KSamplerSelect, RandomNoise

    guider = nodes_by_id["ApoAvatarDecoupledCFGGuider"].execute(preset[0], positive, negative, 1.0, 1.0, 2.0, 1.0)
    sigmas = BasicScheduler.execute(preset[0], "simple", steps, 1.0)
    return (*RandomNoise.execute(seed).result, *guider.result, *KSamplerSelect.execute("euler").result, *sigmas.result)


def filmed(nodes_by_id, preset, audio: dict, length: int = 0, motion_frames: int = 5, clip: int = WINDOW, **inputs) -> tuple:
    positive, negative, *_ = conditioned(nodes_by_id, preset, audio, clip, **inputs)
    parts = sampling(nodes_by_id, preset, positive, negative)
    out = nodes_by_id["ApoAvatarLongVideo"].execute(*parts, audio, length, motion_frames, 0.0)
    return out.result[0], out.ui


@torch.inference_mode()
@pytest.mark.parametrize("frames", [5, 9, 10, 21])
def test_a_film_is_as_long_as_its_voice(nodes_by_id, preset, folders, frames: int) -> None:
    audio = voice(frames / FPS)
    video, _ = filmed(nodes_by_id, preset, audio)
    parts = video.get_components()
    assert abs(len(parts.images) - frames) <= 1 and parts.frame_rate == FPS
    assert abs(parts.audio["waveform"].shape[-1] / 16_000 - frames / FPS) < 1 / FPS + 0.03
    assert not list((folders / "output").glob("apoavatar_unfinished/*"))
