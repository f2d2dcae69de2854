"""Long Video: windows of the tiny preset, few steps and small pictures."""

from __future__ import annotations

import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from scipy.io import wavfile
from torch import Tensor

from apoavatar_core.checkpoints import presets
from apoavatar_core.checkpoints.adapter_file import read_adapter, write_adapter

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
    time = torch.arange(int(seconds * rate + 1e-6)) / rate
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
@pytest.mark.parametrize("frames", [1, 5, 9, 10, 21])
def test_a_film_is_as_long_as_its_voice(nodes_by_id, preset, folders, frames: int) -> None:
    """A frame, less than a window, exactly one, a last window of one frame, exactly four; taken apart by ComfyUI's own node."""
    from comfy_extras.nodes_video import GetVideoComponents

    audio = voice(frames / FPS)
    video, _ = filmed(nodes_by_id, preset, audio)
    images, sound, fps, _ = GetVideoComponents.execute(video).result
    assert images.shape == (frames, SIDE, SIDE, 3) and fps == FPS
    assert sound["sample_rate"] == 16_000 and abs(sound["waveform"].shape[-1] / 16_000 - frames / FPS) < 1 / FPS + 0.03
    assert images.std() > 0.01 and not list((folders / "output").iterdir())


@torch.inference_mode()
@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (lambda sound: sound.expand(1, 7, -1), "give \\[channels, samples\\] with 1 to 6 or 8 channels"),
        (lambda sound: torch.cat([sound, sound.new_full((1, 1, 1), torch.nan)], -1), "audio holds NaN"),
        (lambda sound: sound[..., :0], "audio is empty"),
    ],
)
def test_a_sound_that_no_film_can_have_is_refused_before_the_first_window(nodes_by_id, preset, folders, broken, sentence) -> None:
    audio = voice(0.3)
    positive, negative, *_ = conditioned(nodes_by_id, preset, audio)
    parts = sampling(nodes_by_id, preset, positive, negative)
    with pytest.raises(ValueError, match=sentence):
        nodes_by_id["ApoAvatarLongVideo"].execute(*parts, {**audio, "waveform": broken(audio["waveform"])}, 0, 5, 0.0)
    assert not (folders / "output").exists()


@torch.inference_mode()
def test_the_same_pictures_with_another_sound_are_another_film(nodes_by_id, preset) -> None:
    audio = voice(5 / FPS)
    positive, negative, *_ = conditioned(nodes_by_id, preset, audio)
    parts = sampling(nodes_by_id, preset, positive, negative)
    loud, soft = (
        nodes_by_id["ApoAvatarLongVideo"].execute(*parts, {**audio, "waveform": level * audio["waveform"]}, 0, 5, 0.0).result[0]
        for level in (1.0, 0.1)
    )
    peaks = [video.get_components().audio["waveform"].abs().max() for video in (loud, soft)]
    assert peaks[0] > 3 * peaks[1]


@torch.inference_mode()
def test_one_sample_more_than_a_window_and_any_recording(nodes_by_id, preset) -> None:
    """8 kHz stereo, a window and one sample."""
    audio = voice(WINDOW / FPS + 1 / 8000, 8000)
    audio["waveform"] = audio["waveform"].expand(1, 2, -1) * torch.tensor([1.0, -0.5])[:, None]
    video, _ = filmed(nodes_by_id, preset, audio)
    parts = video.get_components()
    assert len(parts.images) == WINDOW and parts.audio["sample_rate"] == 8000
    assert parts.audio["waveform"].shape[1] == 2 and parts.audio["waveform"].abs().max() > 0.1


@torch.inference_mode()
@pytest.mark.parametrize("fps", [16.0, 24.0, 25.0, 29.97, 30.0])
def test_frames_keep_the_voice_s_time_at_any_rate(nodes_by_id, preset, fps: float) -> None:
    video, ui = filmed(nodes_by_id, preset, voice(0.5), fps=fps)
    parts = video.get_components()
    assert abs(len(parts.images) / fps - 0.5) <= 1 / fps and float(parts.frame_rate) == pytest.approx(fps, abs=0.001)
    said = f"trained on 24 frames a second and this film has {fps:g}: set fps to what it was trained on." in " ".join(ui["text"])
    assert said == (fps != 24)


@pytest.mark.parametrize("fps", [16.0, 24.0, 25.0, 29.97, 30.0])
def test_films_of_another_rate_keep_their_own_time_in_every_window(pack, nodes_by_id, preset, fps: float) -> None:
    """A pose film and a film in the portrait's place, both of 12 pictures a second, and a gate of 10 values a second."""
    from comfy_api.latest import InputImpl, Types

    keys, rate, start = pack("apoavatar_core.comfyui.conditions"), 12, 16
    parts = Types.VideoComponents(images=numbered(40), audio=None, frame_rate=Fraction(rate))
    theirs = InputImpl.VideoFromComponents(parts)
    gate = pack("apoavatar_core.refocusing").Gate(*(torch.linspace(0, 1, 41).numpy() for _ in range(3)), fps=10.0)
    pose = {"pose_mode": "refocused", "pose": theirs, "gate": gate}
    inputs = {"fps": fps, "pose_mode": pose, "reference_image": None, "source_video": theirs}
    film = pack("apoavatar_core.comfyui.film").film_in([conditioned(nodes_by_id, preset, voice(3.0), **inputs)[0][0][1]])
    clip = film.clip(WINDOW, pack("apoavatar_core.comfyui.clip_values").Earlier(None, 5, start))
    seconds = (start + torch.arange(WINDOW)) / fps
    shown = clip.tensors[keys.POSE][0].unflatten(0, (4, 3)).mean((1, 3, 4)).T.flatten()[3:] * 100
    assert ((shown - seconds * rate).abs() <= 0.5 + 1e-4).all(), "the picture that is nearest in time"
    torch.testing.assert_close(clip.tensors[keys.POSE_GATE][0].T.flatten()[3:], 1 - seconds / 4, atol=1e-5, rtol=0)
    (picture,) = (number for number in range(40) if abs(number / rate - start / fps) < 0.5 / rate)
    alone = conditioned(nodes_by_id, preset, voice(3.0), reference_image=numbered(40)[picture : picture + 1])[0][0][1]
    assert torch.equal(clip.values["concat_latent_image"], alone["concat_latent_image"])


@pytest.mark.parametrize(("fps", "differs"), [(11.0, True), (12.0, False), (48.0, False), (50.0, True)])
def test_a_rate_too_far_from_the_adapter_s_is_refused_by_every_sampler(nodes_by_id, preset, folders, fps, differs) -> None:
    import comfy.samplers

    positive, negative, latent, *_ = conditioned(nodes_by_id, preset, voice(1.0), 5, fps)
    native = comfy.samplers.CFGGuider(preset[0])
    native.set_conds(positive, negative)
    native.set_cfg(1.0)
    noise, _, sampler, sigmas = sampling(nodes_by_id, preset, *conditioned(nodes_by_id, preset, voice(1.0))[:2])

    def short_clip() -> None:
        native.sample(torch.randn(1, 16, 2, 4, 4), latent["samples"], sampler, sigmas, disable_pbar=True, seed=0)

    def film() -> None:
        nodes_by_id["ApoAvatarLongVideo"].execute(noise, native, sampler, sigmas, voice(0.1), 0, 1, 30.0)

    for run in (short_clip, film, lambda: sampling(nodes_by_id, preset, positive, negative)):
        if differs:
            with pytest.raises(ValueError, match=f"trained on 24 frames a second and this film has {fps:g}.*: set fps in .* to 24, and"):
                run()
        else:
            run()
    assert differs != (folders / "output").exists(), "a film is refused before its first window"


@torch.inference_mode()
def test_a_film_of_one_window_is_what_the_sampler_makes_of_the_clip(pack, nodes_by_id, preset) -> None:
    from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced

    audio = voice(WINDOW / FPS)
    positive, negative, latent, *_ = conditioned(nodes_by_id, preset, audio)
    parts = sampling(nodes_by_id, preset, positive, negative, steps=2)
    clip = SamplerCustomAdvanced.execute(*parts, latent).result[0]["samples"]
    room = pack("apoavatar_core.comfyui.windowed_sampling")
    guider = parts[1]
    before = {name: [dict(condition) for condition in conditions] for name, conditions in guider.original_conds.items()}
    made = room.sample_window(room.Sampling(*parts), WINDOW, 0, room.Earlier(), lambda *_: None)
    assert torch.equal(made, clip)
    assert all(
        condition[name] is kept[name]
        for conditions, all_kept in zip(guider.original_conds.values(), before.values())
        for condition, kept in zip(conditions, all_kept)
        for name in kept
    ), "the user's guider stays as it was"
    other = room.sample_window(room.Sampling(*parts), WINDOW, 1, room.Earlier(), lambda *_: None)
    assert not torch.equal(other, clip), "every window has noise of its own"


def numbered(frames: int) -> Tensor:
    """IMAGE of flat greys, frame t of value t / 100."""
    return (torch.arange(frames) / 100).view(-1, 1, 1, 1).expand(frames, SIDE, SIDE, 3)


def test_a_later_window_is_what_the_node_makes_of_the_frames_so_far(pack, nodes_by_id, preset) -> None:
    """Voice, pose and gate from the window's place, with the pose film ending inside of it."""
    keys, room = pack("apoavatar_core.comfyui.conditions"), pack("apoavatar_core.comfyui.clip_values")
    gate = pack("apoavatar_core.refocusing").Gate(*(torch.linspace(0, 1, 60).numpy() for _ in range(3)))
    pose = {"pose_mode": {"pose_mode": "refocused", "pose": numbered(20), "gate": gate}}
    audio, so_far = voice(60 / FPS), torch.rand(17, SIDE, SIDE, 3)
    going_on = {"continue_from": {"continue_from": "previous_frames", "previous_frames": so_far, "motion_frames": 5}}
    positive, *_ = conditioned(nodes_by_id, preset, audio, **pose, **going_on)
    film = pack("apoavatar_core.comfyui.film").film_in([conditioned(nodes_by_id, preset, audio, **pose)[0][0][1]])
    clip = film.clip(WINDOW, room.earlier_frames(so_far, 5, preset[2], SIDE, SIDE))
    theirs = {name: condition.cond for name, condition in positive[0][1]["model_conds"].items()}
    assert clip.tensors.keys() == theirs.keys() and all(torch.equal(clip.tensors[name], theirs[name]) for name in theirs)
    shown = (clip.tensors[keys.POSE][0].unflatten(0, (4, 3)).mean((1, 3, 4)) * 100).round().T.flatten()[3:]
    assert shown.tolist() == [12, 13, 14, 15, 16, 17, 18, 19, 19]


@torch.inference_mode()
def test_a_film_goes_on_from_the_latents_of_its_last_frames(pack, nodes_by_id, preset, tmp_path) -> None:
    """A model that did not learn to: they are held by the noise mask, and the picture condition shows the portrait."""
    room, loading = pack("apoavatar_core.comfyui.windowed_sampling"), pack("apoavatar_core.comfyui.loading")
    positive, negative, *_ = conditioned(nodes_by_id, preset, voice(1.0))
    config, tensors = read_adapter(presets.TINY_ADAPTER)
    unlearned = replace(config, holds_reference=False, leading_latents=1, reference_latent=False)
    write_adapter(tmp_path / "adapter.safetensors", unlearned, tensors)
    model = loading.apply_adapter(loading.load_diffusion_model(presets.TINY_DIT), tmp_path / "adapter.safetensors")
    parts = sampling(nodes_by_id, (model, *preset[1:]), positive, negative, steps=2)
    motion = torch.randn(1, 16, 2, SIDE // 8, SIDE // 8)
    seen = []

    def note(executor, x, timestep, c_concat=None, *args, **kwargs):
        seen.append((x, c_concat))
        return executor(x, timestep, c_concat, *args, **kwargs)

    import comfy.patcher_extension

    model.add_wrapper(comfy.patcher_extension.WrappersMP.APPLY_MODEL, note)
    earlier = pack("apoavatar_core.comfyui.clip_values").Earlier(motion, 5, 4)
    assert not pack("apoavatar_core.comfyui.attaching").adapter_in(model).holds_earlier_frames
    made = room.sample_window(room.Sampling(*parts), WINDOW, 1, earlier, lambda *_: None)
    assert torch.equal(made[:, :, :2], motion) and made.shape[2] == 3
    given = model.model.process_latent_in(motion)
    x, condition = seen[-1]
    portrait = model.model.process_latent_in(positive[0][1]["concat_latent_image"])
    torch.testing.assert_close(condition[:1, -16:].cpu(), portrait, atol=1e-5, rtol=1e-5)
    sigma = float(parts[3][-2])
    assert (x[:1, :, :2].cpu() - (1 - sigma) * given).std() == pytest.approx(sigma, rel=0.2), "they are noised, not made"


@pytest.mark.parametrize(("changes", "asked", "expected"), [
    ({}, (81, 9), (49, 9)),
    ({}, (9, 9), (9, 5)),
    ({"holds_reference": True, "window": 81}, (81, 9), (81, 9)),
    ({"holds_reference": True, "leading_latents": 3, "window": 81}, (81, 13), (81, 9)),
    ({"holds_reference": True, "leading_latents": 3, "window": 81}, (81, 1), (81, 5)),
    ({"holds_reference": True, "leading_latents": 1, "window": 81}, (81, 1), (81, 1)),
    ({"leading_latents": 3}, (5, 1), (9, 5)),
    ({"leading_latents": 3}, (13, 13), (13, 9)),
    ({"leading_latents": 1}, (5, 5), (5, 1)),
    ({"leading_latents": 7, "window": 81}, (81, 33), (81, 25)),
])  # fmt: skip
def test_windows_are_as_the_adapter_was_trained(pack, preset, changes: dict, asked: tuple, expected: tuple) -> None:
    adapter = replace(pack("apoavatar_core.comfyui.attaching").adapter_in(preset[0]), **changes)
    found = pack("apoavatar_core.comfyui.windowed_sampling").going_on(adapter, *asked)
    assert (found.window, found.overlap) == expected


def test_an_hour_and_a_half_is_never_in_memory(pack, nodes_by_id, preset) -> None:
    """A voice of wav2vec2's width whose 9 GB of rows are one row, seen often: whoever copies it fails."""
    Voice = pack("apoavatar_core.conditioning.voice").Voice
    film = pack("apoavatar_core.comfyui.film").film_in([conditioned(nodes_by_id, preset, voice(1.0))[0][0][1]])
    rows = torch.zeros(1, 9216).expand(90 * 60 * 50, -1)
    film = replace(film, voice=Voice((rows,), 50, torch.ones(9216), "wav2vec2"))
    frames = pack("apoavatar_core.conditioning.voice").frames_of_voice(film.voice, FPS)
    windows = pack("apoavatar_core.long_video.windows").windows_of(frames, 49, 9)
    assert abs(frames - 90 * 60 * FPS) <= 1 and len(windows) > 3000
    last = windows[-1]
    clip = film.clip(last.frames, pack("apoavatar_core.comfyui.clip_values").Earlier(None, 9, last.start))
    heard = clip.tensors[pack("apoavatar_core.comfyui.conditions").AUDIO]
    assert heard.shape[-1] == 9216 and not heard[0, :, 0].any() and heard[0, -1, -1].all(), "silence after the voice"


# --- several people


def in_mask(conditioning: list, mask: Tensor) -> list:
    """CONDITIONING by ComfyUI's own Conditioning (Set Mask)."""
    import nodes

    return nodes.ConditioningSetMask().append(conditioning, mask, "default", 1.0)[0]


def two_speakers(nodes_by_id, preset, audios: tuple[dict, dict], left: Tensor, **inputs) -> list[list]:
    """Positive and negative in which the first voice counts in the mask `left` and the second outside of it."""
    told = [conditioned(nodes_by_id, preset, audio, **inputs)[:2] for audio in audios]
    return [in_mask(first, left) + in_mask(second, 1 - left) for first, second in zip(*told)]


@torch.inference_mode()
@pytest.mark.parametrize("start", [0, 4])
def test_two_voices_count_each_in_its_mask_in_every_window(pack, nodes_by_id, preset, start: int) -> None:
    """One step from the same noise: each half of the picture is that of the half's voice alone."""
    room, Earlier = pack("apoavatar_core.comfyui.windowed_sampling"), pack("apoavatar_core.comfyui.clip_values").Earlier
    earlier = Earlier(torch.randn(1, 16, 2, SIDE // 8, SIDE // 8), 5, start) if start else Earlier()
    left = torch.zeros(1, SIDE, SIDE)
    left[..., : SIDE // 2] = 1
    loud = voice(1.0)
    audios = loud, {**loud, "waveform": loud["waveform"].flip(-1) * 0.3}

    def window(positive: list, negative: list) -> Tensor:
        parts = room.Sampling(*sampling(nodes_by_id, preset, positive, negative))
        return room.sample_window(parts, WINDOW, bool(start), earlier, lambda *_: None)

    both = window(*two_speakers(nodes_by_id, preset, audios, left))
    first, second = (window(*conditioned(nodes_by_id, preset, audio)[:2]) for audio in audios)
    half = SIDE // 8 // 2
    torch.testing.assert_close(both[..., :half], first[..., :half], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(both[..., half:], second[..., half:], atol=1e-4, rtol=1e-4)
    assert (first - second).abs().max() > 0.01


def test_speakers_of_other_sizes_and_rates_are_refused(nodes_by_id, preset) -> None:
    told = [conditioned(nodes_by_id, preset, voice(1.0), fps=fps)[:2] for fps in (24.0, 25.0)]
    parts = sampling(nodes_by_id, preset, *(first + second for first, second in zip(*told)))
    with pytest.raises(ValueError, match="differ: set width, height, length, fps and continue_from alike"):
        nodes_by_id["ApoAvatarLongVideo"].execute(*parts, voice(1.0), 0, 5, 18.0)


# --- broken off


@torch.inference_mode()
def test_cancelled_and_queued_again_a_film_goes_on(nodes_by_id, preset, folders) -> None:
    import comfy.model_management
    import comfy.utils

    audio, told = voice(17 / FPS), []
    expected = filmed(nodes_by_id, preset, audio)[0].get_components().images

    def cancel(value, total, preview, node_id=None):
        told.append((value, total))
        if len(told) == 1 + (value == 1):  # the first window is finished
            comfy.model_management.interrupt_current_processing()

    comfy.utils.set_progress_bar_global_hook(cancel)
    try:
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            filmed(nodes_by_id, preset, audio)
    finally:
        comfy.utils.set_progress_bar_global_hook(None)
    assert told[-1] == (1, 3), "of three windows of one step"
    (folder,) = (folders / "output" / "apoavatar_unfinished").iterdir()
    assert len(list(folder.glob("*.mp4"))) == 1
    _, other = filmed(nodes_by_id, preset, audio, length=13)
    assert "frames is 13 and was 17" in " ".join(other["text"])
    video, ui = filmed(nodes_by_id, preset, audio)
    assert "The film goes on after its 1 finished windows" in " ".join(ui["text"])
    assert torch.equal(video.get_components().images, expected)


@torch.inference_mode()
def test_out_of_memory_it_goes_on_with_shorter_windows(nodes_by_id, preset) -> None:
    import comfy.patcher_extension

    def no_memory(executor, x, *args, **kwargs):
        if x.shape[2] > 3:
            raise torch.cuda.OutOfMemoryError("no memory")
        return executor(x, *args, **kwargs)

    model, kind = preset[0].clone(), comfy.patcher_extension.WrappersMP.APPLY_MODEL
    model.add_wrapper(kind, no_memory)
    video, ui = filmed(nodes_by_id, (model, *preset[1:]), voice(21 / FPS), clip=17)
    assert len(video.get_components().images) == 21
    assert "Out of memory in a window of 17 frames: it goes on with windows of 9." in " ".join(ui["text"])


@torch.inference_mode()
def test_out_of_memory_in_the_decoder_it_decodes_in_tiles(nodes_by_id, preset, caplog, monkeypatch) -> None:
    """ComfyUI's VAE does so by itself; a tile is as large as these small pictures."""
    expected = filmed(nodes_by_id, preset, voice(13 / FPS))[0].get_components().images
    network, tries = preset[2].first_stage_model, []
    decode = network.decode

    def once_too_much(*args, **kwargs):
        tries.append(None)
        if len(tries) % 2:
            raise torch.cuda.OutOfMemoryError("no memory")
        return decode(*args, **kwargs)

    monkeypatch.setattr(network, "decode", once_too_much)
    video, ui = filmed(nodes_by_id, preset, voice(13 / FPS, 8000))
    assert caplog.text.count("retrying with tiled VAE decoding") == len(tries) / 2 >= 2, "in both windows"
    assert "Out of memory" not in " ".join(ui["text"])
    apart = (video.get_components().images - expected).abs().mean()
    assert apart < 0.05 * expected.std(), f"but for rounding the same film: {apart}"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no limit of file sizes")
@torch.inference_mode()
def test_with_a_full_disk_it_stops_in_one_sentence_and_goes_on_later(nodes_by_id, preset, folders) -> None:
    import resource

    audio, told = voice(13 / FPS), []
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(value, total, preview, node_id=None):
        told.append(value)
        if len(told) == 2:  # the first window is finished: files that may not grow fail as on a full disk
            resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))

    import comfy.utils

    comfy.utils.set_progress_bar_global_hook(fill)
    try:
        with pytest.raises(OSError, match="free some space on the disk and queue again, and it goes on after the 1 windows"):
            filmed(nodes_by_id, preset, audio)
    finally:
        comfy.utils.set_progress_bar_global_hook(None)
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    video, ui = filmed(nodes_by_id, preset, audio)
    assert "The film goes on after its 1 finished windows" in " ".join(ui["text"])
    assert len(video.get_components().images) == 13 and not list((folders / "output").iterdir())


def test_whatever_changes_the_pictures_is_another_film(pack, nodes_by_id, preset, tmp_path) -> None:
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    room, Sampling = pack("apoavatar_core.comfyui.film_making"), pack("apoavatar_core.comfyui.windowed_sampling").Sampling

    def key(
        seed: int = 3, steps: int = 1, scale: float = 2.0, model=preset[0], crf: float = 18.0, audio=voice(1.0), told=None, **inputs
    ) -> str:
        positive, negative = told or conditioned(nodes_by_id, preset, audio, **inputs)[:2]
        parts = list(sampling(nodes_by_id, (model, *preset[1:]), positive, negative, seed, steps))
        parts[1].scales = type(parts[1].scales)(1.0, 1.0, scale, 1.0)
        films = pack("apoavatar_core.comfyui.windowed_sampling").films_of([parts[1]])
        how = pack("apoavatar_core.comfyui.windowed_sampling").GoingOn(WINDOW, 5)
        return room.LongVideo(Sampling(*parts), audio, crf=crf).identity(films, how, 24)[0]

    (shifted,) = ModelSamplingSD3().patch(preset[0], 5.0)
    weight = preset[0].model.diffusion_model.head.head.weight
    lora = preset[0].clone()
    lora.add_patches({"diffusion_model.head.head.weight": ("diff", (torch.ones_like(weight),))}, 0.5)
    pose = {"pose_mode": {"pose_mode": "hard", "pose": numbered(20)}}
    films = {}
    other_pose = {"pose_mode": {"pose_mode": "hard", "pose": numbered(20) + 0.001 * (torch.arange(20) == 19).view(-1, 1, 1, 1)}}
    for name, grey in (("one", 0.1), ("other", 0.2)):
        from comfy_api.latest import InputImpl, Types

        frames = Types.VideoComponents(images=numbered(20) + grey, audio=None, frame_rate=Fraction(24))
        InputImpl.VideoFromComponents(frames).save_to(str(tmp_path / f"{name}.mp4"))
        films[name] = {"pose_mode": {"pose_mode": "hard", "pose": InputImpl.VideoFromFile(str(tmp_path / f"{name}.mp4"))}}
    left, loud = torch.zeros(1, SIDE, SIDE), voice(1.0)
    left[..., : SIDE // 2] = 1
    duets = [((loud, voice(1.1)), left), ((voice(1.1), loud), left), ((loud, loud), left), ((loud, loud), left.flip(-1))]
    keys = [
        *(key(told=two_speakers(nodes_by_id, preset, *duet)) for duet in duets),
        key(**films["one"]), key(**films["other"]), key(), key(seed=4), key(steps=2), key(scale=1.0), key(model=shifted), key(model=lora), key(crf=20.0),
        key(audio=voice(1.1)), key(reference_image=torch.rand(1, SIDE, SIDE, 3)), key(**pose), key(**other_pose),
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)
    assert key() == keys[6] and key(**pose) == keys[-2] and key(**films["one"]) == keys[4]


@torch.inference_mode()
def test_sampling_a_model_leaves_nothing_that_another_film_would_follow_from(pack, nodes_by_id) -> None:
    """Cancelled and queued again in the server that has just loaded it."""
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    preset = nodes_by_id["ApoAvatarLoadModels"].execute({"preset": "tiny"}).result
    room, sampled = pack("apoavatar_core.comfyui.film_making"), pack("apoavatar_core.comfyui.windowed_sampling")
    audio, films = voice(5 / FPS), []
    positive, negative, *_ = conditioned(nodes_by_id, preset, audio)
    for model in (ModelSamplingSD3().patch(preset[0], 5.0)[0], preset[0]):
        parts = sampling(nodes_by_id, (model, *preset[1:]), positive, negative)
        films.append(room.LongVideo(sampled.Sampling(*parts), audio))

    def keys() -> list[str]:
        found = sampled.films_of(films[0].sampling.guiders)
        return [film.identity(found, sampled.GoingOn(WINDOW, 5), 5)[0] for film in films]

    before = keys()
    assert before[0] != before[1]
    for film in films:
        film.made()
        assert keys() == before


# --- refused


def test_a_guider_of_other_conditioning_is_refused(nodes_by_id, preset) -> None:
    parts = sampling(nodes_by_id, preset, TEXT, TEXT)
    with pytest.raises(ValueError, match="not of ApoAvatar Conditioning: connect that node's outputs"):
        nodes_by_id["ApoAvatarLongVideo"].execute(*parts, voice(1.0), 0, 5, 18.0)


def test_a_film_that_was_begun_elsewhere_is_refused(nodes_by_id, preset) -> None:
    going_on = {"continue_from": "previous_frames", "previous_frames": torch.rand(17, SIDE, SIDE, 3), "motion_frames": 5}
    with pytest.raises(ValueError, match="Long Video begins a film of its own: choose 'nothing'"):
        filmed(nodes_by_id, preset, voice(1.0), continue_from=going_on)


def test_a_gate_of_a_part_of_the_voice_is_refused_before_the_first_window(pack, nodes_by_id, preset, folders) -> None:
    gate = pack("apoavatar_core.refocusing").Gate(*(torch.linspace(0, 1, WINDOW).numpy() for _ in range(3)))
    pose = {"pose_mode": {"pose_mode": "refocused", "pose": numbered(20), "gate": gate}}
    with pytest.raises(ValueError, match="The gate has 9 frames but the clip has"):
        filmed(nodes_by_id, preset, voice(1.0), **pose)
    assert not (folders / "output").exists()


# --- silence


@torch.inference_mode()
def test_a_minute_of_silence_inside_rests_and_keeps_its_place(pack, nodes_by_id, preset) -> None:
    """Two seconds of speech, a minute of silence, two seconds of speech, at a frame a second, which a copy of the adapter
    takes for its own, so that the minute costs little.
    """
    fps, window, overlap = 1.0, 33, 5
    preset = nodes_by_id["ApoAvatarLoadModels"].execute({"preset": "tiny"}).result
    (patch,) = preset[0].get_wrappers("diffusion_model", pack("apoavatar_core.comfyui.steps").KEY)
    patch.patcher.model.config = replace(patch.patcher.model.config, fps=fps)
    rate, speech = wavfile.read(Path(__file__).resolve().parents[2] / "workflows" / "assets" / "speech.wav")
    samples = torch.zeros(1, 1, 64 * rate)
    samples[..., : 2 * rate] = samples[..., -2 * rate :] = torch.from_numpy(speech[: 2 * rate] / 32768)
    audio = {"waveform": samples, "sample_rate": rate}
    gate = nodes_by_id["ApoAvatarLoudnessRefocusing"].execute(audio, fps, 0, 10.0, 0.5, 8.0, 5.0, 95.0).result[0]
    inputs = {"fps": fps, "pose_mode": {"pose_mode": "refocused", "pose": numbered(20), "gate": gate}}
    assert gate.keep.min() < 0.1 and gate.keep[:2].max() > 0.9 < gate.keep[-2:].max()
    video, _ = filmed(nodes_by_id, preset, audio, motion_frames=overlap, clip=window, **inputs)
    parts = video.get_components()
    assert len(parts.images) == 64 and parts.images.isfinite().all()
    sound = parts.audio["waveform"][0, 0]
    quiet = slice(int(2.1 * rate), int(61.9 * rate))
    assert sound[quiet].abs().max() < 0.01 < 0.1 < min(sound[: quiet.start].abs().max(), sound[quiet.stop :].abs().max())

    keys = pack("apoavatar_core.comfyui.conditions")
    film = pack("apoavatar_core.comfyui.film").film_in([conditioned(nodes_by_id, preset, audio, window, **inputs)[0][0][1]])
    spoken = 0
    for part in pack("apoavatar_core.long_video.windows").windows_of(64, window, overlap):
        told = film.clip(part.frames, pack("apoavatar_core.comfyui.clip_values").Earlier(None, part.overlap, part.start)).tensors
        heard = told[keys.AUDIO][0, 5].amax(-1)  # the row of each latent frame's last video frame
        times = (part.start + 4 * torch.arange(len(heard))) / fps
        assert (heard[(times > 2.1) & (times < 61.9)] == -1).all()
        spoken += int(told[keys.AUDIO].amax() > -1)
        kept = told[keys.POSE_GATE][0].T.flatten()[3:]
        still = torch.arange(part.start, part.start + part.frames)
        assert (kept[(still > 2) & (still < 61)] == gate.keep.min()).all()
    assert spoken == 2, "in the first window and the last"
