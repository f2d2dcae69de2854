"""The adapter inside a real ComfyUI: what attaching it to a MODEL does, and what it leaves alone."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from types import ModuleType

import pytest
import torch
from torch import Tensor

DIM, LAYERS, HEADS, CHANNELS = 64, 2, 4, 36
TEXT_DIM, TEXT_LENGTH, FEATURES = 32, 8, 6
LATENT_LENGTH, LATENT_SIDE, SIDE = 5, 8, 64
ALL = ("text", "image", "audio", "pose")


@pytest.fixture(scope="module")
def room(pack) -> ModuleType:
    return pack("apoavatar_core.comfyui")


@pytest.fixture(scope="module")
def model(comfy):
    return wan_model()


@pytest.fixture
def adapter(pack):
    return adapter_patcher(pack)


def random_tensor(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def wan_model(dim: int = DIM, layers: int = LAYERS, in_dim: int = CHANNELS, model_type: str = "t2v"):
    """A MODEL with a small random Wan backbone, through ComfyUI's own loader."""
    import comfy.sd
    from comfy.ldm.wan.model import WanModel

    told = {"num_heads": HEADS, "text_dim": TEXT_DIM, "text_len": TEXT_LENGTH}
    network = WanModel(
        operations=torch.nn, model_type=model_type, dim=dim, ffn_dim=2 * dim, num_layers=layers, in_dim=in_dim, **told
    )
    weights = {}
    for seed, (name, tensor) in enumerate(network.state_dict().items()):
        fan_in = tensor[0].numel() if tensor.ndim > 1 else 100
        weights[name] = random_tensor(*tensor.shape, seed=seed) * fan_in**-0.5 + ("norm" in name and name.endswith("weight"))
    return comfy.sd.load_diffusion_model_state_dict(
        weights, model_options={"dtype": torch.float32}, metadata={"config": json.dumps({"transformer": told})}
    )


def adapter_patcher(pack, *, initial: bool = False, seed: int = 0, **changes):
    """An adapter for `wan_model`, with random weights or as it is before training."""
    adapters, room = pack("apoavatar_core.adapters"), pack("apoavatar_core.comfyui")
    values = {
        "backbone_dim": DIM,
        "backbone_layers": LAYERS,
        "backbone_in_channels": CHANNELS,
        "heads": HEADS,
        "audio_encoder": "log_mel_40",
        "audio_feature_dim": FEATURES,
        "audio_dim": 16,
        "tokens_per_frame": 1,
        "pose_channels": 8,
        "fps": 24.0,
        "window": 49,
    }
    config = adapters.AdapterConfig(**(values | changes))
    trained = adapters.ApoAvatarAdapter(config)
    torch.manual_seed(seed)
    trained.initialize()
    if not initial:
        with torch.no_grad():
            for parameter in trained.parameters():
                parameter += 0.2 * torch.randn_like(parameter)
    return room.loading.load_adapter(config, trained.state_dict())


def conditioning(room: ModuleType, kept=ALL, length: int = LATENT_LENGTH) -> list:
    """CONDITIONING with some of Eq. 8's modalities; what is not kept is made null by hand."""
    extras, tensors = {}, {}
    if "image" in kept:
        mask = torch.ones(1, 1, length, LATENT_SIDE, LATENT_SIDE)
        mask[:, :, :1] = 0
        image = random_tensor(1, 16, length, LATENT_SIDE, LATENT_SIDE, seed=11)
        extras = {"concat_latent_image": image, "concat_mask": mask}
    audio = random_tensor(1, 8, length, FEATURES, seed=12)
    tensors[room.conditions.AUDIO] = audio if "audio" in kept else torch.zeros_like(audio)
    if "pose" in kept:
        tensors[room.conditions.POSE] = random_tensor(1, 12, length, SIDE, SIDE, seed=13).sigmoid()
        tensors[room.conditions.POSE_GATE] = random_tensor(1, 4, length, seed=14).sigmoid()
    text = random_tensor(1, TEXT_LENGTH, TEXT_DIM, seed=15 if "text" in kept else 16)
    return room.conditions.with_conditions([[text, extras]], tensors)


@torch.inference_mode()
def run(
    guider, length: int = LATENT_LENGTH, sigmas: tuple[float, ...] = (0.8, 0.0), sampler: str = "euler"
) -> Tensor:
    """The latents that a guider gives for the same noise every time; with one step its prediction of them."""
    import comfy.samplers

    noise = random_tensor(1, 16, length, LATENT_SIDE, LATENT_SIDE, seed=21)
    made_by = comfy.samplers.ksampler(sampler)
    return guider.sample(noise, torch.zeros_like(noise), made_by, torch.tensor(sigmas), disable_pbar=True, seed=0)


def predict(model, positive: list, length: int = LATENT_LENGTH) -> Tensor:
    """One evaluation of a MODEL under one condition, by ComfyUI's own guider."""
    import comfy.samplers

    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(positive, positive)
    guider.set_cfg(1.0)
    return run(guider, length)


def embedded_pose(room: ModuleType) -> str:
    """The condition that the pose is in during a sampling."""
    return room.conditions.EMBEDDED[room.conditions.POSE]


@dataclass
class Call:
    """One call of a model: its batch x and the conditions that came with it."""

    x: Tensor
    conditions: dict[str, Tensor]

    @property
    def states(self) -> int:
        return self.x.shape[0]


def recorded(model) -> tuple[object, list[Call]]:
    """A clone of a MODEL, and the list to which its calls are written."""
    import comfy.patcher_extension

    calls = []

    def record(executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options={}, **kwargs):
        calls.append(Call(x, kwargs))
        return executor(x, t, c_concat, c_crossattn, control, transformer_options, **kwargs)

    model = model.clone()
    model.add_wrapper(comfy.patcher_extension.WrappersMP.APPLY_MODEL, record)
    return model, calls


# --- attaching


def test_the_audio_is_told_the_rows_and_columns_of_a_wide_clip(pack, room, model):
    import comfy.samplers

    adapter, told = adapter_patcher(pack, keys_know_places=True), []
    adapter.model.audio_dit.register_forward_pre_hook(lambda module, arguments: told.append(tuple(arguments[-1])))
    guider = comfy.samplers.CFGGuider(room.attaching.attach(model, adapter))
    guider.set_conds(conditioning(room, ("text", "audio")), [])
    guider.set_cfg(1.0)
    noise = random_tensor(1, 16, LATENT_LENGTH, 4, 10, seed=21)
    sampler = comfy.samplers.ksampler("euler")
    guider.sample(noise, torch.zeros_like(noise), sampler, torch.tensor([0.8, 0.0]), disable_pbar=True, seed=0)
    assert told == [(2, 5)]


def test_untrained_adapter_leaves_the_output_bit_identical(pack, room, model):
    attached = room.attaching.attach(model, adapter_patcher(pack, initial=True))
    assert torch.equal(predict(attached, conditioning(room)), predict(model, conditioning(room)))


@pytest.mark.parametrize("modality", ["audio", "pose"])
def test_trained_adapter_answers_to_each_condition(room, model, adapter, modality):
    attached = room.attaching.attach(model, adapter)
    without = [kept for kept in ALL if kept != modality]
    difference = predict(attached, conditioning(room)) - predict(attached, conditioning(room, without))
    assert difference.abs().max() > 1e-3


def test_conditions_of_the_adapter_mean_nothing_to_a_plain_model(room, model):
    assert torch.equal(predict(model, conditioning(room)), predict(model, conditioning(room, ("text", "image"))))


def test_original_model_stays_as_it_is(room, model, adapter):
    before = predict(model, conditioning(room))
    options = str(model.model_options)
    attached = room.attaching.attach(model, adapter)
    assert not torch.equal(predict(attached, conditioning(room)), before)
    assert torch.equal(predict(model, conditioning(room)), before)
    assert str(model.model_options) == options
    assert room.attaching.has_adapter(attached) and not room.attaching.has_adapter(model)


def test_adapters_on_two_clones_do_not_leak_into_each_other(pack, room, model):
    first = room.attaching.attach(model, adapter_patcher(pack, seed=1))
    alone = predict(first, conditioning(room))
    second = room.attaching.attach(model, adapter_patcher(pack, seed=2))
    assert (predict(second, conditioning(room)) - alone).abs().max() > 1e-3
    assert torch.equal(predict(first, conditioning(room)), alone)


def test_clone_of_a_model_keeps_its_adapter(room, model, adapter):
    attached = room.attaching.attach(model, adapter)
    assert room.attaching.has_adapter(attached.clone())
    assert torch.equal(predict(attached.clone(), conditioning(room)), predict(attached, conditioning(room)))


class HalveBlock0:
    """Another node's replacement of block 0, with a model of its own."""

    def __init__(self, patcher=None):
        self.patcher, self.calls = patcher, 0

    def models(self) -> list:
        return [self.patcher] if self.patcher else []

    def __call__(self, args: dict, extra: dict) -> dict:
        self.calls += 1
        out = extra["original_block"](args)
        return {**out, "img": out["img"] * 0.5}


def test_earlier_replacement_of_block_0_still_runs(pack, room, model):
    halve, halved = HalveBlock0(), model.clone()
    halved.set_model_patch_replace(halve, "dit", "double_block", 0)
    expected = predict(halved, conditioning(room))
    assert not torch.equal(expected, predict(model, conditioning(room)))
    calls = halve.calls

    initial = room.attaching.attach(halved, adapter_patcher(pack, initial=True))
    assert torch.equal(predict(initial, conditioning(room)), expected)
    trained = room.attaching.attach(halved, adapter_patcher(pack))
    assert not torch.equal(predict(trained, conditioning(room)), expected)
    assert halve.calls == calls + 2


def test_models_of_an_earlier_replacement_are_still_loaded(pack, room, model, adapter):
    other, halved = adapter_patcher(pack), model.clone()
    halved.set_model_patch_replace(HalveBlock0(other), "dit", "double_block", 0)
    listed = room.attaching.attach(halved, adapter).model_patches_models()
    assert other in listed and adapter in listed


def test_lora_and_adapter_work_together(pack, room, model, adapter):
    def with_lora(target):
        target = target.clone()
        key = "diffusion_model.blocks.1.ffn.0.weight"
        assert target.add_patches({key: (0.2 * random_tensor(2 * DIM, DIM, seed=31),)}) == [key]
        return target

    positive = conditioning(room)
    lora = with_lora(model)
    expected = predict(lora, positive)
    assert not torch.equal(expected, predict(model, positive))
    assert torch.equal(predict(room.attaching.attach(lora, adapter_patcher(pack, initial=True)), positive), expected)

    both = predict(room.attaching.attach(lora, adapter), positive)
    assert not torch.equal(both, expected)
    assert not torch.equal(both, predict(room.attaching.attach(model, adapter), positive))
    assert torch.equal(predict(with_lora(room.attaching.attach(model, adapter)), positive), both)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"backbone_dim": 32}, ("width 32", "width 64")),
        ({"backbone_layers": 3}, ("3 blocks", "2 blocks")),
        ({"backbone_in_channels": 16}, ("16 input channels", "36 input channels")),
    ],
)
def test_model_of_another_size_is_refused_with_both_sizes(pack, room, model, change, named):
    with pytest.raises(ValueError) as caught:
        room.attaching.attach(model, adapter_patcher(pack, **change))
    message = str(caught.value)
    assert "\n" not in message
    assert all(text in message for text in named)
    assert message.index(named[0]) < message.index(named[1])


def test_model_that_is_not_wan_is_refused_by_name(room, adapter):
    import comfy.model_patcher

    class Host(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.diffusion_model = torch.nn.Linear(2, 2)

    other = comfy.model_patcher.ModelPatcher(Host(), torch.device("cpu"), torch.device("cpu"))
    with pytest.raises(ValueError, match="attach to Wan .* not to Linear"):
        room.attaching.attach(other, adapter)


def test_variant_of_wan_with_tokens_of_its_own_is_refused_by_name(room, adapter):
    import comfy.model_patcher
    from comfy.ldm.wan.model import VaceWanModel

    host = torch.nn.Module()
    host.diffusion_model = VaceWanModel(
        model_type="vace", dim=DIM, ffn_dim=DIM, num_heads=HEADS, num_layers=LAYERS, in_dim=16, vace_layers=1,
        vace_in_dim=96, device="meta", operations=torch.nn,
    )  # fmt: skip
    with pytest.raises(ValueError, match="not to VaceWanModel"):
        room.attaching.attach(comfy.model_patcher.ModelPatcher(host, torch.device("cpu"), torch.device("cpu")), adapter)


# --- the pose


@torch.no_grad()
def test_the_audio_looks_at_video_that_has_the_pose_prior_in(room, model, adapter):
    """X of Eq. 6: what keys and values are made of differs by the pose prior."""
    looked_at = []
    attached = room.attaching.attach(model, adapter)
    hooks = [layer.register_forward_pre_hook(lambda _, given: looked_at.append(given[0])) for layer in
             (adapter.model.audio_dit.k, adapter.model.audio_dit.v)]  # fmt: skip
    for kept in (ALL, ("text", "image", "audio")):
        predict(attached, conditioning(room, kept))
    for hook in hooks:
        hook.remove()
    posed_keys, posed_values, keys, values = looked_at
    (_, extras), *_ = conditioning(room)
    pictures, gate = (extras["model_conds"][key].cond for key in (room.conditions.POSE, room.conditions.POSE_GATE))
    prior = adapter.model.pose_adapter(pictures, gate)
    assert prior.abs().max() > 1e-2
    torch.testing.assert_close(posed_keys - keys, prior, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(posed_values - values, prior, atol=1e-5, rtol=1e-4)


def count_calls(layer: torch.nn.Module) -> list:
    """Grows by one with every call of a layer."""
    calls = []
    layer.register_forward_hook(lambda *_: calls.append(None))
    return calls


def test_the_pose_is_embedded_once_for_all_steps_and_states(pack, room, model, adapter):
    attached, calls = recorded(room.attaching.attach(model, adapter))
    pieces = count_calls(adapter.model.pose_adapter.embed[0])
    run(decoupled_guider(pack, attached, 5, 4, 3, 2), sigmas=(1.0, 0.7, 0.3, 0.0))
    assert [call.states for call in calls] == [5, 5, 5]
    assert len(pieces) == 2, "five latent frames are embedded in two pieces"
    assert all(room.conditions.POSE not in call.conditions for call in calls)


def with_dial(room, positive: list, *dial: float) -> list:
    return room.conditions.with_conditions(positive, {room.conditions.POSE_DIAL: torch.tensor([dial])})


def test_the_strength_multiplies_the_pose_prior(room, model, adapter):
    """The last layer of the adapter has no bias, so weights twice as large make a prior twice as large."""
    attached, posed = room.attaching.attach(model, adapter), conditioning(room)
    usual = predict(attached, posed)
    assert torch.equal(predict(attached, with_dial(room, posed, 1.0, 0.0, 1.0)), usual)
    unposed = predict(attached, conditioning(room, ("text", "image", "audio")))
    torch.testing.assert_close(predict(attached, with_dial(room, posed, 0.0, 0.0, 1.0)), unposed, atol=1e-6, rtol=1e-5)
    doubled = predict(attached, with_dial(room, posed, 2.0, 0.0, 1.0))
    with torch.no_grad():
        adapter.model.pose_adapter.tokens.weight *= 2
    torch.testing.assert_close(doubled, predict(attached, posed), atol=1e-6, rtol=1e-5)
    assert (doubled - usual).abs().max() > 1e-3


@pytest.mark.parametrize(("start", "end"), [(0.0, 0.4), (0.4, 1.0), (0.3, 0.7)])
def test_outside_its_part_of_the_sampling_there_is_no_pose(room, model, adapter, start, end):
    """σ of each step against the model's own schedule: with shift 8, shares of 0.3, 0.4 and 0.7 lie at σ 0.95, 0.92 and 0.77."""
    import comfy.samplers

    attached = room.attaching.attach(model, adapter)
    sampling = attached.get_model_object("model_sampling")
    first, last = sampling.percent_to_sigma(start), sampling.percent_to_sigma(end)
    posed, unposed = conditioning(room), conditioning(room, ("text", "image", "audio"))

    def predicted(positive: list, sigma: float) -> Tensor:
        guider = comfy.samplers.CFGGuider(attached)
        guider.set_conds(positive, positive)
        guider.set_cfg(1.0)
        return run(guider, sigmas=(sigma, 0.0))

    for sigma in (1.0, 0.94, 0.9, 0.7, 0.2):
        expected = predicted(posed if last <= sigma <= first else unposed, sigma)
        found = predicted(with_dial(room, posed, 1.0, start, end), sigma)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_the_dial_holds_in_every_state_of_a_batch(pack, room, model, adapter):
    attached, posed = room.attaching.attach(model, adapter), conditioning(room)

    def guided(*dial: float) -> Tensor:
        positive = with_dial(room, posed, *dial) if dial else posed
        negative = with_dial(room, conditioning(room, ()), *dial) if dial else conditioning(room, ())
        (guider,) = pack("nodes.sampling").Guider.execute(attached, positive, negative, 5.0, 4.0, 3.0, 2.0).result
        return run(guider)

    assert torch.equal(guided(1.0, 0.0, 1.0), guided())
    (guider,) = pack("nodes.sampling").Guider.execute(attached, posed, conditioning(room, ()), 5.0, 4.0, 3.0, 0.0).result
    torch.testing.assert_close(guided(0.0, 0.0, 1.0), run(guider), atol=1e-4, rtol=1e-4)


def test_embedding_the_pose_before_the_steps_changes_nothing(pack, room, model, adapter):
    """In training there is no sampling, so each call gets the pictures."""
    from comfy.patcher_extension import WrappersMP

    attached = room.attaching.attach(model, adapter)
    each_time, calls = recorded(attached)
    each_time.remove_wrappers_with_key(WrappersMP.PREPARE_SAMPLING, room.steps.KEY)
    expected = run(decoupled_guider(pack, each_time, 5, 4, 3, 2))
    assert room.conditions.POSE in calls[0].conditions
    torch.testing.assert_close(run(decoupled_guider(pack, attached, 5, 4, 3, 2)), expected, atol=1e-5, rtol=1e-5)


def test_comfyui_is_told_what_embedding_takes(room, model, adapter, monkeypatch):
    import comfy.model_management

    load, told = comfy.model_management.load_models_gpu, []

    def noted(models, *args, **kwargs):
        told.append((models, kwargs.get("memory_required")))
        return load(models, *args, **kwargs)

    monkeypatch.setattr(comfy.model_management, "load_models_gpu", noted)
    predict(room.attaching.attach(model, adapter), conditioning(room))
    (first, memory), (then, _) = told
    assert first == [adapter] and then[0].is_clone(model), "the backbone is loaded after the embedding is made"
    assert memory == 4 * adapter.model.pose_adapter.numbers_to_merge((1, 12, LATENT_LENGTH, SIDE, SIDE))


@torch.inference_mode()
def test_clips_of_one_batch_have_poses_of_their_own(pack, room, model, adapter):
    import comfy.samplers

    attached, guidance = room.attaching.attach(model, adapter), pack("apoavatar_core.guidance")
    poses = random_tensor(2, 12, LATENT_LENGTH, SIDE, SIDE, seed=17).sigmoid()
    noise = random_tensor(1, 16, LATENT_LENGTH, LATENT_SIDE, LATENT_SIDE, seed=21)

    def made(pose: Tensor) -> Tensor:
        positive, negative = (
            room.conditions.with_conditions(conditioning(room, kept), {room.conditions.POSE: pose})
            for kept in (ALL, ("image", "audio", "pose"))
        )
        guider = pack("apoavatar_core.comfyui.guider").DecoupledGuider(
            attached, positive, negative, guidance.GuidanceScales(5, 4, 3, 2)
        )
        both = noise.expand(len(pose), -1, -1, -1, -1)
        sampler = comfy.samplers.ksampler("euler")
        return guider.sample(both, torch.zeros_like(both), sampler, torch.tensor((0.8, 0.0)), disable_pbar=True, seed=0)

    first, second = (made(pose[None]) for pose in poses)
    assert (first - second).abs().max() > 1e-3
    torch.testing.assert_close(made(poses), torch.cat([first, second]), atol=1e-4, rtol=1e-5)


def test_poses_that_differ_are_not_shared(pack, room, model, adapter):
    """A negative condition with a pose of its own, as a user may make it."""
    attached = room.attaching.attach(model, adapter)
    guider = native_guider(pack, attached, 3.0)
    other = {room.conditions.POSE: random_tensor(1, 12, LATENT_LENGTH, SIDE, SIDE, seed=19).sigmoid()}
    guider.set_conds(conditioning(room), room.conditions.with_conditions(conditioning(room), other))
    positive, negative = (predict(attached, each) for each in (
        conditioning(room), room.conditions.with_conditions(conditioning(room), other)
    ))  # fmt: skip
    assert (positive - negative).abs().max() > 1e-3
    torch.testing.assert_close(run(guider), negative + 3 * (positive - negative), atol=1e-4, rtol=1e-4)


def test_a_call_past_the_wrappers_is_refused_in_one_sentence(room, model, adapter):
    attached = room.attaching.attach(model, adapter)
    options = attached.model_options["transformer_options"]
    x = random_tensor(1, CHANNELS, LATENT_LENGTH, LATENT_SIDE, LATENT_SIDE)
    with pytest.raises(ValueError, match="without the wrappers of its MODEL, so the adapter got no voice and no pose"):
        attached.model.diffusion_model(
            x, torch.zeros(1), random_tensor(1, TEXT_LENGTH, TEXT_DIM), transformer_options=options
        )


# --- guidance


def decoupled_guider(pack, model, *scales: float, kept=ALL, length: int = LATENT_LENGTH, **extras):
    room, guidance = pack("apoavatar_core.comfyui"), pack("apoavatar_core.guidance")
    positive = conditioning(room, kept, length)
    negative = conditioning(room, [modality for modality in kept if modality != "text"], length)
    negative[0][1]["model_conds"] = positive[0][1]["model_conds"]  # the same tensors in both, as the node makes them
    for _, known in (*positive, *negative):
        known.update(extras)
    return pack("apoavatar_core.comfyui.guider").DecoupledGuider(model, positive, negative, guidance.GuidanceScales(*scales))


@pytest.mark.parametrize("scales", [(2.0, 3.0, 4.0, 5.0), (7.5, 1.0, 2.0, 0.5), (1.0, 1.0, 1.5, 1.0), (0.0, 2.0, 0.0, 1.0)])
def test_guided_prediction_is_equation_8_of_five_model_calls(pack, room, model, adapter, scales):
    attached = room.attaching.attach(model, adapter)
    v0, v1, v2, v3, v4 = (predict(attached, conditioning(room, ALL[:kept])) for kept in range(5))
    text, image, audio, pose = scales
    expected = pose * (v4 - v3) + audio * (v3 - v2) + image * (v2 - v1) + text * (v1 - v0) + v0
    guided = run(decoupled_guider(pack, attached, *scales))
    torch.testing.assert_close(guided, expected, atol=1e-4, rtol=1e-5)
    states = [v0, v1, v2, v3, v4]
    assert all((a - b).abs().max() > 1e-3 for i, a in enumerate(states) for b in states[:i]), "the states must differ"


def test_two_scales_are_comfyuis_own_dual_guidance(pack, room, model, adapter):
    from comfy_extras.nodes_custom_sampler import DualCFGGuider

    attached = room.attaching.attach(model, adapter)
    states = (conditioning(room, kept) for kept in (ALL, {"text", "image"}, set()))
    (native,) = DualCFGGuider.execute(attached, *states, 3.0, 1.5, "regular").result
    ours = decoupled_guider(pack, attached, 1.5, 1.5, 3.0, 3.0)
    torch.testing.assert_close(run(ours), run(native), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(
    ("scales", "kept", "states"),
    [
        ((1, 1, 1, 1), ALL, 1),
        ((2, 2, 2, 2), ALL, 2),
        ((5, 4, 3, 2), ALL, 5),
        ((5, 4, 3, 2), ("text", "image", "audio"), 4),
        ((5, 4, 3, 2), ("text", "audio"), 3),
        ((1, 1, 1.5, 1), ("text", "image", "audio"), 2),
        ((3, 3, 3, 0), ALL, 2),
    ],
    ids=str,
)
def test_each_step_is_one_batched_call_of_the_states_that_count(pack, room, model, adapter, scales, kept, states):
    attached, calls = recorded(room.attaching.attach(model, adapter))
    run(decoupled_guider(pack, attached, *scales, kept=kept), sigmas=(1.0, 0.7, 0.3, 0.0))
    assert [call.states for call in calls] == [states] * 3


def test_batched_states_differ_in_nothing_but_their_nulls(pack, room, model, adapter):
    attached, calls = recorded(room.attaching.attach(model, adapter))
    run(decoupled_guider(pack, attached, 5, 4, 3, 2))
    (call,) = calls
    assert all(torch.equal(x, call.x[0]) for x in call.x)
    audio, gate = (call.conditions[key] for key in (room.conditions.AUDIO, room.conditions.POSE_GATE))
    assert sorted(bool(row.any()) for row in audio) == [False] * 3 + [True] * 2
    assert sorted(bool(row.any()) for row in gate) == [False] * 4 + [True]
    assert len(call.conditions[embedded_pose(room)]) == 1, "all states share one pose"


def test_empty_image_is_an_empty_clip_vision_embedding_too(pack, room, adapter):
    """The two states without the image see nothing of the portrait, by whichever way the model looks at it."""
    import comfy.clip_vision

    seen = comfy.clip_vision.Output()
    seen["penultimate_hidden_states"] = random_tensor(1, 257, 1280, seed=18)
    looking, calls = recorded(room.attaching.attach(wan_model(model_type="i2v"), adapter))
    run(decoupled_guider(pack, looking, 5, 4, 3, 2, clip_vision_output=seen))
    (call,) = calls
    embeddings, gate = call.conditions["clip_fea"], call.conditions[room.conditions.POSE_GATE]
    assert len(embeddings) == len(gate) == 5
    assert [bool(row.any()) for row in embeddings].count(True) == 3
    assert embeddings[gate.flatten(1).any(1)].any(), "the full state sees it"


def test_pose_scale_does_not_matter_without_a_pose(pack, room, model, adapter):
    attached, kept = room.attaching.attach(model, adapter), ("text", "image", "audio")
    without, exaggerated = (run(decoupled_guider(pack, attached, 2, 2, 3, pose, kept=kept)) for pose in (0, 9))
    assert torch.equal(without, exaggerated)


def native_guider(pack, model, scale: float):
    """ComfyUI's own guider between the full condition and ∅."""
    import comfy.samplers

    room = pack("apoavatar_core.comfyui")
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(conditioning(room), conditioning(room, ()))
    guider.set_cfg(scale)
    return guider


def node(module: str, name: str):
    """A native node's class."""
    return getattr(importlib.import_module(f"comfy_extras.{module}"), name)


HOOKS = {
    "RescaleCFG": lambda model: node("nodes_model_advanced", "RescaleCFG")().patch(model, 0.7)[0],
    "CFG-Zero*": lambda model: node("nodes_cfg", "CFGZeroStar").execute(model).result[0],
    "CFGNorm": lambda model: node("nodes_cfg", "CFGNorm").execute(model, 1.0).result[0],
    "CFGNorm before": lambda model: node("nodes_cfg", "CFGNorm").execute(model, 1.0, True).result[0],
    "Mahiro": lambda model: node("nodes_mahiro", "Mahiro").execute(model).result[0],
    "APG": lambda model: node("nodes_apg", "APG").execute(model, 0.5, 5.0, 0.0).result[0],
    "TCFG": lambda model: node("nodes_tcfg", "TCFG").execute(model).result[0],
    "simple SLG": lambda model: (
        node("nodes_slg", "SkipLayerGuidanceDiTSimple").execute(model, 0.0, 1.0, "1").result[0]
    ),
}
"""Native nodes that act on guidance, by the hook of the MODEL that they use."""
hooks = pytest.mark.parametrize("hook", HOOKS.values(), ids=HOOKS)


@hooks
def test_hooks_of_the_model_act_as_under_the_native_guider(pack, room, model, adapter, hook):
    attached = hook(room.attaching.attach(model, adapter))
    found, expected = (run(guider) for guider in (decoupled_guider(pack, attached, 3, 3, 3, 3), native_guider(pack, attached, 3)))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@hooks
def test_hooks_of_the_model_act_with_a_scale_for_each_modality(pack, room, model, adapter, hook):
    attached = room.attaching.attach(model, adapter)
    hooked, plain = (run(decoupled_guider(pack, one, 3, 2, 4, 1.5)) for one in (hook(attached), attached))
    assert hooked.isfinite().all() and (hooked - plain).abs().max() > 1e-3


def test_hooks_get_the_full_state_and_the_empty_one(pack, room, model, adapter):
    attached, told = room.attaching.attach(model, adapter), {}
    full, null = (predict(attached, conditioning(room, kept)) for kept in (ALL, ()))
    expected = run(decoupled_guider(pack, attached, 3, 2, 4, 1.5))

    def native_sum(args: dict) -> Tensor:
        return args["uncond"] + args["cond_scale"] * (args["cond"] - args["uncond"])

    def note(args: dict) -> Tensor:
        told.update(args)
        return args["denoised"]

    hooked = attached.clone()
    hooked.set_model_sampler_cfg_function(native_sum)
    hooked.set_model_sampler_post_cfg_function(note)
    torch.testing.assert_close(run(decoupled_guider(pack, hooked, 3, 2, 4, 1.5)), expected, atol=1e-4, rtol=1e-5)
    latents = hooked.get_model_object("latent_format").process_out
    for key, state in (("cond_denoised", full), ("uncond_denoised", null), ("denoised", expected)):
        torch.testing.assert_close(latents(told[key].cpu()), state, atol=1e-4, rtol=1e-5)
    assert told["cond_scale"] == 3
    heard = [told[name][0]["model_conds"][room.conditions.AUDIO].cond.any().item() for name in ("cond", "uncond")]
    assert heard == [True, False], "the conditions come with their predictions"


def test_samplers_that_want_the_unconditional_get_it(pack, room, model, adapter):
    """The cfg_pp samplers ask for it through a hook, at a scale of 1 too."""
    attached = room.attaching.attach(model, adapter)
    for scale in (1.0, 2.0):
        made = []
        for guider in (decoupled_guider(pack, attached, *[scale] * 4), native_guider(pack, attached, scale)):
            made.append(run(guider, sigmas=(0.9, 0.5, 0.0), sampler="euler_cfg_pp"))
        torch.testing.assert_close(*made, atol=1e-4, rtol=1e-4)


def test_the_hook_that_cannot_act_is_named(pack, room, model, adapter, caplog):
    attached = room.attaching.attach(model, adapter)
    rescaled = HOOKS["RescaleCFG"](attached)
    silent = decoupled_guider(pack, rescaled, 0, 2, 2, 2)
    assert "sampler_cfg_function (RescaleCFG and the like) has no effect where text_scale is 0" in caplog.text
    torch.testing.assert_close(run(silent), run(decoupled_guider(pack, attached, 0, 2, 2, 2)), atol=1e-5, rtol=1e-5)
    caplog.clear()
    decoupled_guider(pack, rescaled, 2, 2, 3, 2)
    assert not caplog.text


def test_states_are_conditions_of_their_own(pack, room):
    """Caches keep their books by uuid."""
    import comfy.samplers

    (condition,) = comfy.sampler_helpers.convert_cond(conditioning(room))
    states = [room.conditions.keep_modalities([condition], [condition], ALL[:kept]) for kept in (4, 3, 2)]
    again = room.conditions.keep_modalities([condition], [condition], ALL)
    assert len({state[0]["uuid"] for state in states}) == 3
    assert again[0]["uuid"] == states[0][0]["uuid"]
    assert condition["model_conds"][room.conditions.AUDIO].cond.any(), "the user's condition stays as it is"


def test_clip_vision_alone_counts_as_an_image(room):
    """Otherwise its embedding would be zero in every state."""
    condition = {"model_conds": {}, "clip_vision_output": object()}
    assert room.conditions.modalities_in([condition]) == {"text", "image"}


def test_guider_needs_an_adapter(pack, model):
    with pytest.raises(ValueError, match="no ApoAvatar adapter"):
        decoupled_guider(pack, model, 1, 1, 1, 1)


# --- what a call may carry


def test_features_of_another_encoder_are_refused(pack, room, model):
    attached = room.attaching.attach(model, adapter_patcher(pack, audio_feature_dim=FEATURES + 1))
    with pytest.raises(ValueError, match=f"features are {FEATURES} wide .* takes {FEATURES + 1} from log_mel_40"):
        predict(attached, conditioning(room))


def test_clip_longer_than_the_training_clips_is_refused(pack, room, model):
    attached = room.attaching.attach(model, adapter_patcher(pack, window=13))
    with pytest.raises(ValueError, match="17 frames .* trained on 13"):
        predict(attached, conditioning(room))


def window_calls(pack, room, model, node, **settings) -> tuple[list[Call], Tensor]:
    """Calls of a model with windows of five latent frames over a clip of thirteen, and the clip's audio."""
    import comfy.context_windows

    length = 13
    attached = room.attaching.attach(model, adapter_patcher(pack, window=17))
    windows = {
        "context_schedule": comfy.context_windows.ContextSchedules.STATIC_STANDARD,
        "context_stride": 1,
        "closed_loop": False,
        "fuse_method": comfy.context_windows.ContextFuseMethods.PYRAMID,
        "freenoise": False,
    }
    (windowed,) = node.execute(attached, **windows, **settings).result
    windowed, calls = recorded(windowed)
    guider = decoupled_guider(pack, windowed, 1, 1, 2, 2, length=length)
    assert torch.isfinite(run(guider, length)).all()
    return calls, random_tensor(1, 8, length, FEATURES, seed=12)


def covered_frames(room, calls: list[Call], audio: Tensor) -> set[int]:
    """The latent frames whose audio was heard; every call must hear that of consecutive frames, all of its own."""
    covered = set()
    for call in calls:
        length = call.x.shape[2]
        heard = next(row for row in call.conditions[room.conditions.AUDIO] if row.any())
        assert heard.shape[1] == length
        lengths = {call.conditions[key].shape[2] for key in (embedded_pose(room), room.conditions.POSE_GATE)}
        assert lengths == {length}
        (start,) = [s for s in range(audio.shape[2]) if torch.equal(audio[0, :, s : s + length].to(heard), heard)]
        covered |= set(range(start, start + length))
    return covered


def test_context_windows_slice_the_conditions(pack, room, model):
    from comfy_extras.nodes_context_windows import ContextWindowsManualNode

    calls, audio = window_calls(
        pack, room, model, ContextWindowsManualNode, context_length=5, context_overlap=1, dim=2, causal_window_fix=False
    )
    assert {call.x.shape[2] for call in calls} == {5}
    assert covered_frames(room, calls, audio) == set(range(13))


def test_wan_context_windows_as_long_as_the_training_clips_are_taken(pack, room, model):
    """ComfyUI puts one more latent frame before every window but the first, and drops what the model makes of it."""
    from comfy_extras.nodes_context_windows import WanContextWindowsManualNode

    calls, audio = window_calls(pack, room, model, WanContextWindowsManualNode, context_length=17, context_overlap=4)
    assert {call.x.shape[2] for call in calls} == {5, 6}
    assert covered_frames(room, calls, audio) == set(range(13))


# --- pose conditions


def numbered_frames(count: int, height: int = SIDE, width: int = SIDE) -> Tensor:
    """IMAGE [count, height, width, 3] of flat greys, frame t of value (t + 1) / 100."""
    values = (torch.arange(count) + 1) / 100
    return values.view(-1, 1, 1, 1).expand(count, height, width, 3).contiguous()


def pose_of(pack, pose, frames: int, width: int = SIDE, height: int = SIDE, start: int = 0, gate=None):
    """The pose [12, T_lat, H, W] and the gate [4, T_lat] that the node makes for a clip, and what it says about them."""
    node, room = pack("nodes.conditioning"), pack("apoavatar_core.conditioning.pose")
    shape = pack("apoavatar_core.conditioning.clip").ClipShape(width, height, frames, 24.0, start)
    mode = {"pose_mode": "hard" if gate is None else "refocused", "pose": pose, "gate": gate}
    film = node.pose_in(mode, 24.0)
    made = pack("apoavatar_core.comfyui.clip_values").pose_of(film, shape)
    said = film.said + room.fit_of(film, shape)
    return room.grouped_frames(made.frames), room.grouped_gate(made.gate), said


def frame_values(pose: Tensor) -> list[list[int]]:
    """Hundredfold values of the four frames of every latent frame."""
    assert pose.shape[0] == 12
    return (pose.unflatten(0, (4, 3)).mean((1, 3, 4)) * 100).round().int().T.tolist()


def test_pose_frames_and_their_gates_lie_in_the_same_order(pack):
    pose, gate, said = pose_of(pack, numbered_frames(9), 9, gate=gate_of(pack, 9))
    assert frame_values(pose) == [[1, 1, 1, 1], [2, 3, 4, 5], [6, 7, 8, 9]]
    assert (gate.T * 8).round().int().tolist() == [[0, 0, 0, 0], [1, 2, 3, 4], [5, 6, 7, 8]]
    assert said == []


def test_pose_that_is_too_short_holds_its_last_frame(pack):
    pose, _, (sentence,) = pose_of(pack, numbered_frames(3), 9)
    assert frame_values(pose) == [[1, 1, 1, 1], [2, 3, 3, 3], [3, 3, 3, 3]]
    assert "3 frames for a clip of 9" in sentence and "held" in sentence


def test_pose_that_is_too_long_is_cut(pack):
    pose, _, (sentence,) = pose_of(pack, numbered_frames(12), 5)
    assert frame_values(pose) == [[1, 1, 1, 1], [2, 3, 4, 5]]
    assert "12 frames for a clip of 5" in sentence and "left out" in sentence


@pytest.mark.parametrize(("height", "width"), [(32, 32), (128, 96), (64, 200)])
def test_pose_of_another_size_is_fitted_to_the_clip(pack, height, width):
    pose, *_ = pose_of(pack, numbered_frames(5, height, width), 5, SIDE, 2 * SIDE)
    assert pose.shape == (12, 2, 2 * SIDE, SIDE)
    assert frame_values(pose) == [[1, 1, 1, 1], [2, 3, 4, 5]]


def test_transparency_of_a_pose_is_left_out(pack):
    frames = torch.cat([numbered_frames(5), torch.zeros(5, SIDE, SIDE, 1)], dim=-1)
    assert frame_values(pose_of(pack, frames, 5)[0])[0] == [1, 1, 1, 1]


def keypoints_of(pack, canvas: tuple[int, int], arms: dict[int, tuple[float, float]], frames: int = 1) -> list[dict]:
    """POSE_KEYPOINT frames of a person with these body points, as fractions of the canvas."""
    keypoints = pack("apoavatar_core.pose.keypoints")
    person = keypoints.PersonKeypoints.nobody()
    for point, place in arms.items():
        person.body[point] = (*place, 1)
    return [keypoints.to_frame(person, *canvas)] * frames


def test_keypoints_are_drawn_at_the_size_of_the_clip(pack):
    pose, *_ = pose_of(pack, keypoints_of(pack, (512, 512), {4: (0.25, 0.75), 3: (0.25, 0.25)}, 5), 5)
    assert pose.shape == (12, 2, SIDE, SIDE)
    assert pose[:3, 0, SIDE // 2, SIDE // 4].max() > 0.3
    assert not pose[..., SIDE // 2 :].any()


@pytest.mark.parametrize("canvas", [(1024, 512), (512, 1024)])
def test_keypoints_of_a_wide_or_tall_film_are_cropped_like_its_pictures(pack, canvas):
    """Drawn on the film and then fitted as a picture, or as keypoints: a limb in the middle, one that is cropped."""
    arms = {4: (0.5, 0.75), 3: (0.5, 0.6), 7: (0.1, 0.7), 6: (0.1, 0.3), 9: (0.6, 0.1), 8: (0.6, 0.3)}
    keypoints = keypoints_of(pack, canvas, arms)
    render = pack("nodes.pose").RenderPose.execute
    film = render(keypoints, *(side // (512 // SIDE) for side in canvas)).result[0]
    as_pictures, *_ = pose_of(pack, film, 5)
    as_keypoints, *_ = pose_of(pack, keypoints, 5)
    assert as_keypoints.any()
    torch.testing.assert_close(as_keypoints, as_pictures, atol=0.02, rtol=0)


def test_one_frame_of_keypoints_by_itself_is_a_pose_and_a_reference_pose(pack):
    (frame,) = keypoints_of(pack, (512, 512), {4: (0.25, 0.75), 3: (0.25, 0.25)})
    alone, _, said = pose_of(pack, frame, 5)
    assert torch.equal(alone, pose_of(pack, [frame], 5)[0]) and "1 frames for a clip of 5" in said[0]
    node, shape = pack("nodes.conditioning"), pack("apoavatar_core.conditioning.clip").ClipShape(SIDE, SIDE, 5, 24.0)
    film = node.pose_in({"pose_mode": "hard", "pose": frame, "reference_pose": frame}, 24.0)
    made = pack("apoavatar_core.comfyui.clip_values").pose_of(film, shape)
    assert torch.equal(made.reference[0], made.frames[0])


def test_frames_without_the_person_are_held_over_the_whole_film_and_counted(pack):
    there = keypoints_of(pack, (512, 512), {4: (0.25, 0.75), 3: (0.25, 0.25)}, 9)
    lacking = [*there[:2], None, {"people": None}, *there[4:]]
    pose, _, said = pose_of(pack, lacking, 9)
    assert torch.equal(pose, pose_of(pack, there, 9)[0])
    assert said == ["In 2 of the pose's 9 frames nobody was found: the frames around them are blended or held."]
    with pytest.raises(ValueError, match="shows nobody in any of its frames"):
        pose_of(pack, [None] * 5, 5)


def test_a_film_in_the_place_of_drawn_skeletons_is_said(pack):
    film = random_tensor(5, SIDE, SIDE, 3).sigmoid()
    assert "does not look like skeletons" in pose_of(pack, film, 5)[2][0]
    assert pose_of(pack, film * (torch.arange(SIDE) < SIDE // 4)[:, None], 5)[2] == []


def test_pose_without_frames_is_refused(pack):
    with pytest.raises(ValueError, match="no frames"):
        pose_of(pack, torch.zeros(0, SIDE, SIDE, 3), 5)


def gate_of(pack, frames: int):
    """A gate that opens more with every frame."""
    refocusing = pack("apoavatar_core.refocusing")
    dropout = torch.linspace(1, 0, frames).numpy()
    return refocusing.Gate(loudness=1 - dropout, normalized=1 - dropout, dropout=dropout)


def test_hard_pose_bypasses_the_gate(pack):
    assert torch.equal(pose_of(pack, numbered_frames(9), 9)[1], torch.ones(4, 3))


def test_refocused_pose_is_kept_where_the_gate_is_open(pack):
    _, gate, _ = pose_of(pack, numbered_frames(5), 5, gate=gate_of(pack, 9))
    torch.testing.assert_close(gate.T, torch.tensor([[0, 0, 0, 0], [1, 2, 3, 4]]) / 8)


def test_refocused_pose_needs_a_gate_for_every_frame(pack):
    with pytest.raises(ValueError, match="5 frames but the clip has 9"):
        pose_of(pack, numbered_frames(9), 9, gate=gate_of(pack, 5))


def test_a_frame_whose_gate_is_closed_is_not_seen(pack, room, model, adapter):
    """All others are; its neighbours share a latent frame with it."""
    attached, frames, closed = room.attaching.attach(model, adapter), 4 * LATENT_LENGTH - 3, 6
    gate = gate_of(pack, frames)
    gate.dropout[:] = 0
    gate.dropout[closed] = 1
    pictures = random_tensor(frames, SIDE, SIDE, 3, seed=41).sigmoid()

    def predicted(changed: int | None) -> Tensor:
        shown = pictures.clone()
        if changed is not None:
            shown[changed] = 1 - shown[changed]
        pose, weights, _ = pose_of(pack, shown, frames, gate=gate)
        tensors = {room.conditions.POSE: pose[None], room.conditions.POSE_GATE: weights[None]}
        return predict(attached, room.conditions.with_conditions(conditioning(room, ("text", "image", "audio")), tensors))

    expected = predicted(None)
    assert torch.equal(predicted(closed), expected)
    for other in (closed - 1, closed + 1):
        assert (predicted(other) - expected).abs().max() > 1e-4
