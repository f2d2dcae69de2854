"""Long Video with models that learned to go on from earlier frames: InfiniteTalk and MultiTalk, with UniAnimate's pose too, and
adapters that were trained with leading latents; and with models that did not. Small layouts with random weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.comfy import test_unianimate, test_wan_variants, test_warm_start, test_windows

SIDE, WINDOW, MOTION, FRAMES = 32, 13, 5, 22
STARTS, LENGTHS = (0, 8, 16), (13, 13, 9)
"""Of three windows: thirteen frames, eight more, and four, fewer than the next window would begin with, of which the film needs one."""
STEPS = 2


@pytest.fixture(autouse=True)
def folders(comfy, tmp_path):
    import folder_paths

    before = folder_paths.get_output_directory(), folder_paths.get_temp_directory()
    folder_paths.set_output_directory(str(tmp_path / "output"))
    folder_paths.set_temp_directory(str(tmp_path / "temp"))
    yield
    folder_paths.set_output_directory(before[0])
    folder_paths.set_temp_directory(before[1])


@pytest.fixture(scope="module")
def vae(pack):
    return pack("apoavatar_core.comfyui.loading").load_vae(pack("apoavatar_core.checkpoints.presets").TINY_VAE)


@pytest.fixture(scope="module")
def patch(comfy):
    """The layers of ComfyUI's InfiniteTalk, random, for a narrow model."""
    return test_warm_start.randomize(test_warm_start.native_patch(**test_warm_start.PATCH_SIZES), 1)


def unianimate(folder: Path) -> Path:
    """A pose model in UniAnimate's layout, random, as wide as that model."""
    torch.manual_seed(1)
    conv, width = torch.nn.Conv3d, test_warm_start.WIDTH
    layers = [conv(16, 16, 3, padding=1), conv(16, 16, 3, padding=1), conv(16, 16, 3, (1, 2, 2), 1), conv(16, 16, 3, 2, 1), conv(16, 16, 3, 2, 1)]
    driving = test_unianimate.alternating(conv(3, 16, 3, padding=1), *layers, conv(16, width, (1, 2, 2), (1, 2, 2)))
    flat = torch.nn.Conv2d
    layers = [flat(3 if number == 0 else 16, 16, 3, 1 + number // 3, 1) for number in range(5)]
    portrait = test_unianimate.alternating(*layers, flat(16, 20, 3, 2, 1))
    stacks = {"dwpose_embedding": driving, "randomref_embedding_pose": portrait}
    tensors = {f"{stack}.{name}": tensor for stack, layers in stacks.items() for name, tensor in layers.state_dict().items()}
    save_file(tensors, folder / "unianimate.safetensors")
    return folder / "unianimate.safetensors"


@dataclass
class Seen:
    """What each window's sampling was told and what the network got in its last step, and the latents that were made."""

    told: list[dict[str, Tensor]] = field(default_factory=list)
    entered: list[dict[str, Tensor]] = field(default_factory=list)
    made: list[Tensor] = field(default_factory=list)


def watched(model, apply) -> tuple[object, Seen]:
    """`apply(model)`, an adapter in a MODEL, watched from outside and from between adapter and network."""
    from comfy.patcher_extension import WrappersMP

    seen, model = Seen(), model.clone()

    def sampling(executor, *args, **kwargs):
        told = executor.class_obj.conds["positive"][0]["model_conds"]
        seen.told.append({name: condition.cond for name, condition in told.items()})
        seen.entered.append({})
        seen.made.append(executor(*args, **kwargs))
        return seen.made[-1]

    def step(executor, x, timestep, c_concat=None, *args, **kwargs):
        seen.entered[-1] |= {"x": x.cpu(), "c_concat": c_concat, "reference_latent": kwargs.get("reference_latent")}
        return executor(x, timestep, c_concat, *args, **kwargs)

    model.add_wrapper(WrappersMP.OUTER_SAMPLE, sampling)  # outside of the adapter's, which come after it
    model = apply(model)
    model.add_wrapper(WrappersMP.APPLY_MODEL, step)
    return model, seen


PORTRAIT = torch.rand(1, SIDE, SIDE, 3, generator=torch.Generator().manual_seed(6))


def conditioned(pack, vae, text: list, features: dict, fps: float, pose: dict | None = None, previous: Tensor | None = None,
                length: int = WINDOW) -> tuple:  # fmt: skip
    beginning = {"continue_from": "nothing"}
    if previous is not None:
        beginning = {"continue_from": "previous_frames", "previous_frames": previous, "motion_frames": MOTION}
    settings = (SIDE, SIDE, length, fps, pose or {"pose_mode": "pose_free"}, beginning, PORTRAIT)
    return pack("nodes.conditioning").Conditioning.execute(text, text, vae, features, *settings).result[:2]


def parts(pack, model, positive: list, negative: list, index: int = 0) -> tuple:
    """NOISE, GUIDER, SAMPLER, SIGMAS of a window."""
    noise, sampler, sigmas = without_guider(pack, model, index)
    (guider,) = pack("nodes.sampling").Guider.execute(model, positive, negative, 1.0, 1.0, 1.0, 1.0).result
    return noise, guider, sampler, sigmas


def without_guider(pack, model, index: int) -> tuple:
    """NOISE, SAMPLER, SIGMAS of a window."""
    from comfy_extras.nodes_custom_sampler import BasicScheduler, KSamplerSelect, RandomNoise

    noise = pack("apoavatar_core.comfyui.windowed_sampling").seeded(RandomNoise.execute(3).result[0], index)
    return noise, *KSamplerSelect.execute("euler").result, *BasicScheduler.execute(model, "simple", STEPS, 1.0).result


def filmed(pack, model, positive: list, negative: list) -> Tensor:
    """The frames of a film by the node."""
    sound = {"waveform": torch.zeros(1, 1, 20_000), "sample_rate": 16_000}
    made = pack("nodes.long_video").LongVideo.execute(*parts(pack, model, positive, negative), sound, FRAMES, MOTION, 0.0)
    return made.result[0].get_components().images


def greys(frames: int, last: float = 0.0) -> Tensor:
    """IMAGE of flat greys, frame t of value t / 100; the last one lighter by `last`."""
    values = torch.arange(frames) / 100
    values[frames - 1] += last
    return values.view(-1, 1, 1, 1).expand(frames, SIDE, SIDE, 3)


# --- InfiniteTalk


WORDS = [[torch.randn(1, 8, 16, generator=torch.Generator().manual_seed(5)), {}]]


@pytest.fixture(scope="module")
def heard(comfy) -> tuple[dict, dict]:
    """wav2vec2 features for ComfyUI's node, and the same for ours."""
    return test_warm_start.voices(60)


@pytest.fixture(scope="module")
def infinitetalk(comfy, patch, tmp_path_factory):
    """A MODEL, and the file of the layers for it."""
    path = tmp_path_factory.mktemp("infinitetalk") / "infinitetalk.safetensors"
    save_file(patch.state_dict(), path)
    return test_warm_start.wan_model(torch.float32), path


def native_window(pack, model, patch, vae, voice: dict, previous: Tensor | None, index: int) -> Tensor:
    """A window's latents by ComfyUI's own InfiniteTalk node."""
    import comfy.model_management
    import comfy.model_patcher
    import comfy.samplers
    from comfy_extras.nodes_wan import WanInfiniteTalkToVideo

    device = comfy.model_management.get_torch_device()
    patcher = comfy.model_patcher.CoreModelPatcher(patch, device, device)
    patched, positive, negative, latent, _ = WanInfiniteTalkToVideo.execute(
        {"mode": "single_speaker"}, model, patcher, WORDS, WORDS, vae, SIDE, SIDE, LENGTHS[index], voice, MOTION,
        start_image=PORTRAIT, previous_frames=previous, audio_scale=1.0,
    ).result  # fmt: skip
    guider = comfy.samplers.CFGGuider(patched)
    guider.set_conds(positive, negative)
    guider.set_cfg(1.0)
    noise, sampler, sigmas = without_guider(pack, model, index)
    samples = latent["samples"]
    return guider.sample(noise.generate_noise(latent), samples, sampler, sigmas, disable_pbar=True, seed=noise.seed)


@torch.inference_mode()
def test_a_film_with_infinitetalk_is_what_the_native_node_makes_piece_by_piece(pack, infinitetalk, patch, vae, heard) -> None:
    plain, path = infinitetalk
    model, seen = watched(plain, lambda model: pack("apoavatar_core.comfyui.loading").apply_adapter(model, path))
    film = filmed(pack, model, *conditioned(pack, vae, WORDS, heard[1], 25.0))
    so_far = None
    for index, window in enumerate(seen.made):
        expected = native_window(pack, plain, patch, vae, heard[0], so_far, index)
        apart = (window - expected).abs().max()
        assert apart < 1e-4, f"window {index}: {apart}"
        if index:
            motion = plain.model.process_latent_in(vae.encode(so_far[-MOTION:]))
            torch.testing.assert_close(seen.entered[index]["x"][:, :, :2], motion, atol=1e-4, rtol=1e-4)
        shown = vae.decode(expected)[0]
        so_far = shown if so_far is None else torch.cat([so_far, shown[MOTION:]])
    assert len(seen.made) == 3 and len(film) == FRAMES
    # A film is lossy in colours, which are halved in both directions: the pictures' means tell the frames apart.
    torch.testing.assert_close(film.mean((1, 2)), so_far[:FRAMES].mean((1, 2)), atol=0.02, rtol=0)


@torch.inference_mode()
def test_unianimate_s_pose_and_the_gate_reach_every_window_from_their_place(pack, infinitetalk, vae, heard, tmp_path) -> None:
    plain, path = infinitetalk
    keys = pack("apoavatar_core.comfyui.conditions")
    whole = pack("apoavatar_core.refocusing").Gate(*(torch.linspace(0.2, 0.8, FRAMES).numpy() for _ in range(3)))
    pose = {"pose_mode": "refocused", "gate": whole, "reference_pose": torch.rand(1, SIDE, SIDE, 3)}
    apply, pose_path = pack("apoavatar_core.comfyui.loading").apply_adapter, unianimate(tmp_path)

    def windows(last: float) -> Seen:
        model, seen = watched(plain, lambda model: apply(model, path, pose_path))
        filmed(pack, model, *conditioned(pack, vae, WORDS, heard[1], 25.0, {**pose, "pose": greys(FRAMES, last)}))
        return seen

    seen, other = windows(0.0), windows(0.5)
    keep = torch.from_numpy(whole.keep).float()
    for index, start in enumerate(STARTS):
        places = torch.arange(start, start + LENGTHS[index])
        told = seen.told[index]
        shown = told[keys.POSE][0].unflatten(0, (4, 3)).mean((1, 3, 4)).T.flatten()[3:] * 100
        assert shown.round().tolist() == places.clamp(max=FRAMES - 1).tolist()
        # Behind the voice the body rests.
        expected = torch.cat([keep, keep.new_full((4,), 0.2)])[places]
        torch.testing.assert_close(told[keys.POSE_GATE][0].T.flatten()[3:], expected)
        assert torch.equal(told[keys.REFERENCE_POSE][0, :, 0].movedim(0, -1), pose["reference_pose"][0])
    assert all(torch.equal(seen.made[index], other.made[index]) for index in (0, 1))
    apart = (seen.made[2] - other.made[2]).abs().max()
    assert apart > 1e-5, f"the pose of the film's last frames acts in the last window alone: {apart}"


# --- leading latents


@pytest.fixture
def leading(pack, tmp_path):
    """A MODEL with a frame of tokens for the portrait, and the file of an adapter that learned to go on from two or three latents."""
    adapters = pack("apoavatar_core.adapters")
    config = adapters.AdapterConfig(
        backbone_dim=test_windows.DIM, backbone_layers=test_windows.LAYERS, backbone_in_channels=36, heads=test_windows.HEADS,
        audio_encoder="log_mel_40", audio_feature_dim=40, audio_dim=16, tokens_per_frame=1, pose_channels=8, fps=24.0, window=WINDOW,
        normalized_pose=True, keys_know_places=True, holds_reference=True, leading_latents=3, reference_latent=True,
    )  # fmt: skip
    adapter = adapters.ApoAvatarAdapter(config)
    test_windows.randomise(adapter)
    path = tmp_path / "leading.safetensors"
    pack("apoavatar_core.checkpoints.adapter_file").save_adapter(path, adapter, torch.float32)
    return test_windows.model_of(test_windows.new_dit()), path


@torch.inference_mode()
def test_a_film_with_leading_latents_is_made_clip_by_clip(pack, leading, vae) -> None:
    """As by hand: each clip by ApoAvatar Conditioning from the frames so far and by ComfyUI's own sampler."""
    from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced

    plain, path = leading
    apply = pack("apoavatar_core.comfyui.loading").apply_adapter
    model, seen = watched(plain, lambda model: apply(model, path))
    by_hand = apply(plain, path)
    text = [[test_windows.random_tensor(1, *test_windows.TEXT, seed=15), {}]]
    features = {"encoded_audio_all_layers": [test_windows.random_tensor(1, 80, 40, seed=8)], "encoder": "log_mel_40"}
    gate = pack("apoavatar_core.refocusing").Gate(*(torch.linspace(0.2, 0.8, FRAMES).numpy() for _ in range(3)))
    pose = {"pose_mode": "refocused", "pose": greys(FRAMES), "gate": gate}
    film = filmed(pack, model, *conditioned(pack, vae, text, features, 24.0, pose))
    so_far = None
    for index, window in enumerate(seen.made):
        told = conditioned(pack, vae, text, features, 24.0, pose, so_far, LENGTHS[index])
        empty = {"samples": torch.zeros(1, 16, LENGTHS[index] // 4 + 1, SIDE // 8, SIDE // 8)}
        expected = SamplerCustomAdvanced.execute(*parts(pack, by_hand, *told, index), empty).result[0]["samples"]
        apart = (window - expected).abs().amax((0, 1, 3, 4))
        assert apart.max() < 1e-3, f"window {index}: {apart}"
        entered = seen.entered[index]
        portrait = plain.model.process_latent_in(vae.encode(PORTRAIT))[:, :, 0]
        torch.testing.assert_close(entered["reference_latent"].cpu(), portrait, atol=1e-4, rtol=1e-4)
        mask, given = entered["c_concat"].cpu().split([4, 16], dim=1)
        known = 2 if index else 1
        assert (mask[:, :, :known] == 1).all() and not mask[:, :, known:].any()
        if index:
            motion = plain.model.process_latent_in(vae.encode(so_far[-MOTION:]))
            for found in (entered["x"], given):
                torch.testing.assert_close(found[:1, :, :2], motion, atol=1e-4, rtol=1e-4)
        shown = vae.decode(window)[0]
        so_far = shown if so_far is None else torch.cat([so_far, shown[MOTION:]])
    assert len(seen.made) == 3 and len(film) == FRAMES
    torch.testing.assert_close(film.mean((1, 2)), so_far[:FRAMES].mean((1, 2)), atol=0.02, rtol=0)


# --- kept by a noise mask


def kept_by_hand(pack, model, vae, told: tuple, so_far: Tensor, shown: bool, index: int) -> Tensor:
    """A window's latents by ComfyUI's own inpainting over the latents of the last frames so far, which the image condition shows
    too if they are `shown`.
    """
    import node_helpers
    from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced

    motion, texts = vae.encode(so_far[-MOTION:]), []
    for text in told:
        extras = text[0][1]
        named = {name: value for name, value in extras["model_conds"].items() if name != pack("apoavatar_core.comfyui.conditions").MOTION}
        image, mask = extras["concat_latent_image"].clone(), extras["concat_mask"].clone()
        if shown:
            image[:, :, :2], mask[:, :, :2] = motion, 0
        values = {"model_conds": named, "concat_latent_image": image, "concat_mask": mask}
        texts.append(node_helpers.conditioning_set_values(text, values))
    latent = {"samples": torch.zeros(1, 16, LENGTHS[index] // 4 + 1, SIDE // 8, SIDE // 8)}
    latent["noise_mask"] = torch.ones_like(latent["samples"][:, :1])
    latent["samples"][:, :, :2], latent["noise_mask"][:, :, :2] = motion, 0
    return SamplerCustomAdvanced.execute(*parts(pack, model, *texts, index), latent).result[0]["samples"]


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["text to video", "image to video", "MultiTalk", "MultiTalk with UniAnimate"])
def test_what_no_adapter_holds_is_kept_by_a_noise_mask(pack, infinitetalk, patch, vae, heard, tmp_path, kind: str) -> None:
    """MultiTalk is told from InfiniteTalk by its file's name alone: its first window holds nothing, and those that follow are shown
    the earlier frames in the image condition; for models that did not learn to go on the portrait stays there.
    """
    room, multitalk = pack("apoavatar_core.comfyui"), kind.startswith("MultiTalk")
    plain, path = infinitetalk[0], tmp_path / "WanVideo_2_1_Multitalk.safetensors"
    save_file(patch.state_dict(), path)
    text, features, fps = (WORDS, heard[1], 25.0) if multitalk else (test_wan_variants.TEXT, test_wan_variants.VOICE, 24.0)
    if not multitalk:
        plain = test_wan_variants.wan(**test_wan_variants.LAYOUTS[kind])

    def apply(model):
        if not multitalk:
            return room.attaching.attach(model, test_wan_variants.adapter(pack))
        return room.loading.apply_adapter(model, path, unianimate(tmp_path) if "UniAnimate" in kind else None)

    pose = {"pose_mode": "hard", "pose": greys(FRAMES)} if "UniAnimate" in kind else None
    model, seen = watched(plain, apply)
    by_hand = apply(plain)
    film = filmed(pack, model, *conditioned(pack, vae, text, features, fps, pose))
    portrait = plain.model.process_latent_in(vae.encode(PORTRAIT))
    so_far = vae.decode(seen.made[0])[0]
    for index, window in enumerate(seen.made[1:], 1):
        told = conditioned(pack, vae, text, features, fps, pose, so_far, LENGTHS[index])
        expected = kept_by_hand(pack, by_hand, vae, told, so_far, multitalk, index)
        apart = (window - expected).abs().max()
        assert apart < 1e-4, f"window {index}: {apart}"
        so_far = torch.cat([so_far, vae.decode(window)[0][MOTION:]])
    assert len(seen.made) == 3 and len(film) == FRAMES
    assert (seen.entered[0]["x"][:1, :, :1] - portrait).abs().max() > 0.1, "the portrait is not held"
    torch.testing.assert_close(film.mean((1, 2)), so_far[:FRAMES].mean((1, 2)), atol=0.02, rtol=0)


# --- Wan 2.2's two experts


SPLIT = 1
"""Steps of the high-noise expert."""


def expert_parts(pack, high, low, positive: list, negative: list) -> tuple:
    """NOISE, GUIDER, SAMPLER, SIGMAS, and GUIDER and SIGMAS of the low-noise expert."""
    from comfy_extras.nodes_custom_sampler import SplitSigmas

    noise, guider, sampler, sigmas = parts(pack, high, positive, negative)
    high_sigmas, low_sigmas = SplitSigmas.execute(sigmas, SPLIT).result
    _, low_guider, *_ = parts(pack, low, positive, negative)
    return (noise, guider, sampler, high_sigmas), (low_guider, low_sigmas)


def filmed_by_experts(pack, high, low, *told: list) -> Tensor:
    """The frames of a film by the node."""
    sound = {"waveform": torch.zeros(1, 1, 20_000), "sample_rate": 16_000}
    first, second = expert_parts(pack, high, low, *told)
    return pack("nodes.long_video").LongVideo.execute(*first, sound, FRAMES, MOTION, 0.0, *second).result[0].get_components().images


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["leading latents", "noise mask"])
def test_steps_that_are_split_between_one_model_and_itself_are_the_steps_undivided(pack, leading, vae, kind: str) -> None:
    """Euler's steps remember nothing: what earlier frames are shown as, and under what noise, must not depend on who makes them."""
    room, (plain, path) = pack("apoavatar_core.comfyui"), leading
    text, features = test_wan_variants.TEXT, test_wan_variants.VOICE
    if kind == "leading latents":
        text = [[test_windows.random_tensor(1, *test_windows.TEXT, seed=15), {}]]
        features = {"encoded_audio_all_layers": [test_windows.random_tensor(1, 80, 40, seed=8)], "encoder": "log_mel_40"}
    else:
        plain = test_wan_variants.wan(in_dim=36)

    def apply(model):
        if kind == "leading latents":
            return room.loading.apply_adapter(model, path)
        return room.attaching.attach(model, test_wan_variants.adapter(pack))

    (high, of_high), (low, of_low), (whole, undivided) = (watched(plain, apply) for _ in range(3))
    told = conditioned(pack, vae, text, features, 24.0)
    split = filmed_by_experts(pack, high, low, *told)
    torch.testing.assert_close(split, filmed(pack, whole, *told), atol=1e-2, rtol=0)
    assert len(of_high.made) == len(of_low.made) == len(undivided.made) == 3
    for index, (made, expected) in enumerate(zip(of_low.made, undivided.made)):
        apart = (made - expected).abs().max()
        assert apart < 1e-3, f"window {index}: {apart}"


@torch.inference_mode()
def test_two_experts_make_a_window_as_comfyui_s_own_samplers_do_one_after_the_other(pack, vae) -> None:
    from comfy_extras.nodes_custom_sampler import DisableNoise, SamplerCustomAdvanced

    room = pack("apoavatar_core.comfyui")
    high, low = (
        room.attaching.attach(test_wan_variants.wan(seed, in_dim=36), test_wan_variants.adapter(pack)) for seed in (1, 2)
    )
    told = conditioned(pack, vae, test_wan_variants.TEXT, test_wan_variants.VOICE, 24.0)
    first, second = expert_parts(pack, high, low, *told)
    sampled = room.windowed_sampling
    sampling = sampled.Sampling(*first, sampled.Expert(*second))
    steps = []
    found = sampled.sample_window(sampling, WINDOW, 0, pack("apoavatar_core.comfyui.clip_values").Earlier(), lambda step, *_: steps.append(step))
    latent = {"samples": torch.zeros(1, 16, 4, SIDE // 8, SIDE // 8)}
    halfway = SamplerCustomAdvanced.execute(*first, latent).result[0]
    (none,) = DisableNoise.execute().result
    expected = SamplerCustomAdvanced.execute(none, second[0], first[2], second[1], halfway).result[0]["samples"]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert steps == list(range(STEPS)) == list(range(sampling.steps))

    film = room.film_making.LongVideo(sampling, {"waveform": torch.zeros(1, 1, 20_000), "sample_rate": 16_000})
    films, how = sampled.films_of(sampling.guiders), sampled.GoingOn(WINDOW, MOTION)
    other = sampled.Sampling(*first, sampled.Expert(expert_parts(pack, high, high, *told)[1][0], second[1]))
    assert len(films) == 1
    assert film.identity(films, how, FRAMES)[0] != room.film_making.LongVideo(other, film.sound).identity(films, how, FRAMES)[0]


@torch.inference_mode()
def test_experts_that_do_not_go_on_from_each_other_are_refused(pack, vae) -> None:
    room = pack("apoavatar_core.comfyui")
    model = room.attaching.attach(test_wan_variants.wan(in_dim=36), test_wan_variants.adapter(pack))
    told = conditioned(pack, vae, test_wan_variants.TEXT, test_wan_variants.VOICE, 24.0)
    (noise, guider, sampler, high), (low_guider, low) = expert_parts(pack, model, model, *told)
    sound = {"waveform": torch.zeros(1, 1, 20_000), "sample_rate": 16_000}
    node = pack("nodes.long_video").LongVideo
    for sigmas, low_sigmas in ((low, low), (high, high), (high[:1], high), (torch.zeros(0), low)):
        with pytest.raises(ValueError, match="low_noise_sigmas do not go on where sigmas end: connect the outputs of one Split Sigmas"):
            node.execute(noise, guider, sampler, sigmas, sound, FRAMES, MOTION, 0.0, low_guider, low_sigmas)
    with pytest.raises(ValueError, match="low_noise_guider and low_noise_sigmas belong together"):
        node.execute(noise, guider, sampler, high, sound, FRAMES, MOTION, 0.0, low_guider)
    _, elsewhere, *_ = parts(pack, model, test_wan_variants.TEXT, test_wan_variants.TEXT)
    with pytest.raises(ValueError, match="of low_noise_guider is not of ApoAvatar Conditioning: connect that node's outputs to it"):
        node.execute(noise, guider, sampler, high, sound, FRAMES, MOTION, 0.0, elsewhere, low)
    import comfy.samplers

    deaf = comfy.samplers.CFGGuider(test_wan_variants.wan(2, in_dim=36))
    deaf.set_conds(*told)
    with pytest.raises(ValueError, match="Apply ApoAvatar Adapter"):
        node.execute(noise, guider, sampler, high, sound, FRAMES, MOTION, 0.0, deaf, low)
