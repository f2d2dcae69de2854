"""What loading, sampling and unloading leave behind. `test_memory.py` runs this in a process of its own, where no other
test's memory comes and goes.
"""

from __future__ import annotations

import ctypes
import gc
import os
import weakref
from collections.abc import Callable, Iterator

import psutil
import pytest
import torch

from apoavatar_core.checkpoints import presets

ROUNDS, WARM_UP = 20, 3
GROWTH = 1.01
SIDE, FRAMES = 32, 5


@pytest.fixture(scope="module")
def node(comfy) -> Callable[[str], type]:
    import nodes

    return lambda node_id: nodes.NODE_CLASS_MAPPINGS[node_id]


def conditioned(node, clip, vae, audio_encoder) -> tuple:
    """Positive, negative and latent of a portrait that speaks."""
    from comfy_extras.nodes_audio_encoder import AudioEncoderEncode

    voice = torch.rand(1, 1, 16_000, generator=torch.Generator().manual_seed(0)) - 0.5
    (features,) = AudioEncoderEncode.execute(audio_encoder, {"waveform": voice, "sample_rate": 16_000}).result
    (positive,), (negative,) = (node("CLIPTextEncode")().encode(clip, text) for text in ("a person", ""))
    conditioning = node("ApoAvatarConditioning").execute(
        positive, negative, vae, features, SIDE, SIDE, FRAMES, 24.0, {"pose_mode": "pose_free"}, {"continue_from": "nothing"},
        reference_image=torch.full((1, SIDE, SIDE, 3), 0.5), clip=clip,
    )  # fmt: skip
    return conditioning.result[:3]


def sampled(node, model, conditions: tuple) -> dict:
    """The latents of two steps."""
    positive, negative, latent = conditions
    settings = (2.0, 2.0, 3.0, 2.0, latent, 0, 2, 3.0, "euler", "simple")
    return node("ApoAvatarSampler").execute(model, positive, negative, *settings).result[0]


@torch.inference_mode()
def one_round(node):
    """Load the tiny preset, sample a clip and unload everything; returns the MODEL."""
    import comfy.model_management

    model, clip, vae, audio_encoder = node("ApoAvatarLoadModels").execute({"preset": "tiny"}).result
    latent = sampled(node, model, conditioned(node, clip, vae, audio_encoder))
    assert latent["samples"].isfinite().all()
    comfy.model_management.unload_all_models()
    return model


def bytes_in_use() -> tuple[int, int]:
    """Of the process and of the GPU.

    glibc keeps freed memory for later and gives it back at moments of its own, which made 50 MB of difference from round
    to round; trimmed, what is left is what is held.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    on_gpu = torch.cuda.memory_allocated() if torch.cuda.is_available() else 0
    return psutil.Process(os.getpid()).memory_info().rss, on_gpu


def readings(node, rounds: int, kept: list | None = None) -> Iterator[tuple[int, int]]:
    """What is in use after each round; with `kept` every round's MODEL goes into it."""
    for _ in range(rounds):
        model = one_round(node)
        if kept is not None:
            kept.append(model)
        del model
        yield bytes_in_use()


def test_twenty_rounds_take_no_more_memory_than_three(node) -> None:
    process, gpu = zip(*readings(node, ROUNDS))
    for used in (process, gpu):
        assert max(used[WARM_UP:]) <= GROWTH * used[WARM_UP - 1], used


def test_models_that_are_kept_are_noticed(node) -> None:
    """Otherwise the test above would say nothing."""
    (before, _), (after, _) = readings(node, 2, kept=[])
    assert after > GROWTH * before


@torch.inference_mode()
def test_an_adapter_goes_with_the_last_clone_that_has_it_though_the_model_stays(pack, node) -> None:
    import comfy.model_management
    import comfy.sd

    room = pack("apoavatar_core.comfyui")
    _, clip, vae, audio_encoder = node("ApoAvatarLoadModels").execute({"preset": "tiny"}).result
    conditions = conditioned(node, clip, vae, audio_encoder)
    model = comfy.sd.load_diffusion_model(str(presets.TINY_DIT))

    attached = pack("apoavatar_core.comfyui.loading").apply_adapter(model, presets.TINY_ADAPTER)
    (patch, *_) = attached.get_wrappers("diffusion_model", room.steps.KEY)
    traces = {"patcher": weakref.ref(patch.patcher), "adapter": weakref.ref(patch.patcher.model)}
    sampled(node, attached.clone(), conditions)
    comfy.model_management.unload_all_models()
    del attached, patch
    gc.collect()
    assert {name: trace() for name, trace in traces.items()} == {"patcher": None, "adapter": None}
    assert not room.attaching.has_adapter(model)


@torch.inference_mode()
def test_a_model_goes_with_its_adapter(pack, node) -> None:
    model = one_round(node)
    (patch, *_) = model.get_wrappers("diffusion_model", pack("apoavatar_core.comfyui.steps").KEY)
    traces = [weakref.ref(part) for part in (model, model.model, patch.patcher, patch.patcher.model)]
    del model, patch
    gc.collect()
    assert [trace() for trace in traces] == [None] * 4
