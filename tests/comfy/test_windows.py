"""Windows that follow each other: the portrait's frame of tokens in each of them, and first latents that are given."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from apoavatar_core.settings import changed
from apoavatar_core.training.config import Backbone, Conditions, Loss

DIM, HEADS, LAYERS = 64, 4, 2
LENGTH, SIDE = 5, 6
"""Latent frames, and latents in height and width; three by three tokens."""
TEXT, FEATURES = (8, 32), 6
SIGMA = 0.7


def random_tensor(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def randomise(module: torch.nn.Module) -> None:
    for seed, (name, parameter) in enumerate(module.named_parameters()):
        noise = random_tensor(*parameter.shape, seed=seed) * max(parameter[0].numel(), 2) ** -0.5
        parameter.copy_(noise + ("norm" in name and name.endswith("weight")))


def new_dit(reference: bool = True) -> torch.nn.Module:
    from apoavatar_core.comfyui import trainable

    dimensions = {"dim": DIM, "ffn_dim": 2 * DIM, "num_heads": HEADS, "num_layers": LAYERS}
    dit = trainable.new_dit(dimensions, TEXT[1], TEXT[0], reference=reference)
    randomise(dit)
    return dit


def new_adapter(**changes) -> torch.nn.Module:
    from apoavatar_core.adapters import AdapterConfig, ApoAvatarAdapter

    values = {
        "backbone_dim": DIM, "backbone_layers": LAYERS, "backbone_in_channels": 36, "heads": HEADS, "fps": 24.0, "window": 49,
        "audio_encoder": "log_mel_40", "audio_feature_dim": FEATURES, "audio_dim": 16, "tokens_per_frame": 1, "pose_channels": 8,
        "normalized_pose": True, "keys_know_places": True,
    }  # fmt: skip
    adapter = ApoAvatarAdapter(AdapterConfig(**values | changes))
    randomise(adapter)
    return adapter


def model_of(dit: torch.nn.Module):
    """A MODEL with these weights, through ComfyUI's own loader."""
    import comfy.sd

    told = {"num_heads": HEADS, "text_dim": TEXT[1], "text_len": TEXT[0]}
    return comfy.sd.load_diffusion_model_state_dict(
        {name: tensor.clone() for name, tensor in dit.state_dict().items()},
        model_options={"dtype": torch.float32},
        metadata={"config": json.dumps({"transformer": told})},
    )


@pytest.fixture
def attached(training):
    """`attached(dit, adapter)`: a MODEL with both, and the MODEL without the adapter."""
    from apoavatar_core.comfyui.attaching import attach
    from apoavatar_core.comfyui.loading import patcher_of

    def attach_to(dit: torch.nn.Module, adapter: torch.nn.Module):
        plain = model_of(dit)
        return attach(plain, patcher_of(adapter.eval().requires_grad_(False))), plain

    return attach_to


REFERENCE = (1, 16, 1, SIDE, SIDE)


def known(kept: tuple[str, ...] = ("image", "audio", "pose"), length: int = LENGTH, side: int = SIDE) -> tuple[dict, dict]:
    """What CONDITIONING says of a clip: values of the native nodes, and tensors of the adapter; nulls are made by hand."""
    from apoavatar_core.comfyui.conditions import AUDIO, POSE, POSE_GATE

    values, size = {}, (length, side, side)
    if "image" in kept:
        mask = torch.ones(1, 1, *size)
        mask[:, :, :1] = 0
        film = random_tensor(1, 16, *size, seed=11)
        values = {"concat_latent_image": film, "concat_mask": mask, "reference_latents": [film[:, :, :1]]}
    audio, gate = random_tensor(1, 8, length, FEATURES, seed=12), random_tensor(1, 4, length, seed=14).sigmoid()
    tensors = {
        AUDIO: audio if "audio" in kept else torch.zeros_like(audio),
        POSE: random_tensor(1, 12, length, 8 * side, 8 * side, seed=13).sigmoid(),
        POSE_GATE: gate if "pose" in kept else torch.zeros_like(gate),
    }
    return values, tensors


def conditioning(values: dict, tensors: dict, text: int = 15) -> list:
    from apoavatar_core.comfyui.conditions import with_conditions

    return with_conditions([[random_tensor(1, *TEXT, seed=text), values]], tensors)


@torch.inference_mode()
def predicted(guider, length: int = LENGTH, side: int = SIDE, data: Tensor | None = None, sigma: float = SIGMA) -> Tensor:
    """The latents that a guider predicts from noise, or from `data` with noise on it."""
    import comfy.samplers

    noise = random_tensor(1, 16, length, side, side, seed=21)
    data = torch.zeros_like(noise) if data is None else data
    sampler = comfy.samplers.ksampler("euler")
    return guider.sample(noise, data, sampler, torch.tensor([sigma, 0.0]), disable_pbar=True, seed=0)


def native(model, positive: list):
    import comfy.samplers

    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(positive, positive)
    guider.set_cfg(1.0)
    return guider


def decoupled(model, positive: list, negative: list, *scales: float):
    from apoavatar_core.comfyui.guider import DecoupledGuider
    from apoavatar_core.guidance import GuidanceScales

    return DecoupledGuider(model, positive, negative, GuidanceScales(*scales))


# --- the portrait in every window


def hook_by_hand(model, adapter: torch.nn.Module, tensors: dict):
    """A clone of a plain MODEL in which the adapter acts frame by frame on all tokens but the first frame's."""
    from apoavatar_core.adapters.attention import scaled_dot_product
    from apoavatar_core.comfyui.conditions import AUDIO, POSE, POSE_GATE

    side, heard = SIDE // 2, []
    rows = [slice(number * side**2, (number + 1) * side**2) for number in range(1, LENGTH + 1)]
    prior = adapter.pose_adapter(tensors[POSE], tensors[POSE_GATE])[0]
    audio = adapter.audio_projection(tensors[AUDIO])

    def enter(args: dict, extra: dict) -> dict:
        tokens = args["img"].clone()
        heard.clear()
        for number, place in enumerate(rows):
            tokens[:, place] += prior[number]
            frame = audio[:, number : number + 1], tokens[:, None, place], torch.tensor([1000 * SIGMA])
            heard.append(adapter.audio_dit(*frame, scaled_dot_product, (side, side)))
        return extra["original_block"](args | {"img": tokens})

    def listen(args: dict) -> Tensor:
        tokens, injection = args["x"].clone(), adapter.injections[args["transformer_options"]["block_index"]]
        for place, sound in zip(rows, heard, strict=True):
            tokens[:, place] += injection(args["x"][:, None, place], sound, scaled_dot_product)[:, 0]
        return tokens

    model = model.clone()
    model.set_model_patch_replace(enter, "dit", "double_block", 0)
    model.set_model_patch(listen, "attn2_patch")
    return model


def test_beside_the_portrait_s_frame_the_adapter_acts_as_by_hand(attached) -> None:
    adapter = new_adapter(reference_latent=True)
    model, plain = attached(new_dit(), adapter)
    values, tensors = known()
    expected = predicted(native(hook_by_hand(plain, adapter, tensors), conditioning(values, tensors)))
    found = predicted(native(model, conditioning(values, tensors)))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert (predicted(native(plain, conditioning(values, tensors))) - expected).abs().max() > 1e-2
    other = values | {"reference_latents": [random_tensor(*REFERENCE, seed=17)]}
    assert (predicted(native(model, conditioning(other, tensors))) - found).abs().max() > 1e-2


def test_no_portrait_is_an_empty_reference_latent(attached) -> None:
    """Eq. 8 of calls that each have what they keep: those without image get no reference latent at all."""
    model, _ = attached(new_dit(), new_adapter(reference_latent=True))
    modalities, states = ("image", "audio", "pose"), []
    for kept, text in ((0, 16), (0, 15), (1, 15), (2, 15), (3, 15)):
        states.append(predicted(native(model, conditioning(*known(modalities[:kept]), text))))
    v0, v1, v2, v3, v4 = states
    expected = 5 * (v4 - v3) + 4 * (v3 - v2) + 3 * (v2 - v1) + 2 * (v1 - v0) + v0
    guided = predicted(decoupled(model, *(conditioning(*known(), text) for text in (15, 16)), 2, 3, 4, 5))
    torch.testing.assert_close(guided, expected, atol=2e-4, rtol=1e-4)
    assert all((one - other).abs().max() > 1e-3 for number, one in enumerate(states) for other in states[:number])


def windowed(model, length: int, side: int):
    """A MODEL in context windows of five latent frames, and the reference latents that its calls get."""
    import comfy.context_windows
    import comfy.patcher_extension
    from comfy_extras.nodes_context_windows import WanContextWindowsManualNode

    schedule, fusing = comfy.context_windows.ContextSchedules.STATIC_STANDARD, comfy.context_windows.ContextFuseMethods.PYRAMID
    (model,) = WanContextWindowsManualNode.execute(model, 17, 4, schedule, 1, False, fusing, False).result
    seen = []

    def note(executor, *args, **kwargs):
        seen.append(kwargs["reference_latent"])
        return executor(*args, **kwargs)

    model.add_wrapper(comfy.patcher_extension.WrappersMP.APPLY_MODEL, note)
    return predicted(native(model, conditioning(*known(length=length, side=side))), length, side), seen


def test_every_context_window_sees_the_portrait(attached) -> None:
    import comfy.latent_formats

    model, _ = attached(new_dit(), new_adapter(reference_latent=True))
    made, seen = windowed(model, 13, SIDE)
    values, _ = known(length=13)
    expected = comfy.latent_formats.Wan21().process_in(values["reference_latents"][0])[:, :, 0]
    assert made.isfinite().all() and len(seen) > 2
    assert all(torch.equal(each.cpu(), expected) for each in seen)


def test_rows_that_comfyui_takes_for_frames_are_named(attached) -> None:
    model, _ = attached(new_dit(), new_adapter(reference_latent=True))
    with pytest.raises(ValueError, match="reference latent is 5×8 and the clip's latents are 8×8.*four frames longer"):
        windowed(model, 8, 8)


def test_an_adapter_that_needs_the_portrait_s_frame_refuses_other_models(attached) -> None:
    with pytest.raises(ValueError, match="ref_conv layer\\), which the connected one lacks"):
        attached(new_dit(reference=False), new_adapter(reference_latent=True))


def test_a_model_without_such_a_frame_takes_no_notice_of_the_latent(attached) -> None:
    model, _ = attached(new_dit(reference=False), new_adapter())
    values, tensors = known()
    without = {name: value for name, value in values.items() if name != "reference_latents"}
    found, expected = (predicted(native(model, conditioning(each, tensors))) for each in (values, without))
    assert torch.equal(found, expected)


# --- latents that are given


class RandomClips:
    """One clip of random tensors, longer than the examples, whose latent frames are told apart by their values."""

    channels = 16

    def __init__(self, length: int = LENGTH + 3):
        self.lengths, self.paths = np.array([length]), [Path("clip.safetensors")]

    def of_length(self, latent_frames: int) -> np.ndarray:
        return np.zeros(1, int)

    def clip(self, index: int, latent_frames: int, start: int = 0) -> dict[str, Tensor]:
        length, part = int(self.lengths[0]), slice(start, start + latent_frames)
        reference = random_tensor(16, 1, SIDE, SIDE, seed=1).expand(-1, length, -1, -1).clone()
        reference[:, 1:] = 0.1
        return {
            "latents": random_tensor(16, length, SIDE, SIDE, seed=2)[:, part],
            "reference": reference[:, :latent_frames],
            "audio": random_tensor(8, length, FEATURES, seed=3)[:, part],
            "pose": random_tensor(12, length, 8 * SIDE, 8 * SIDE, seed=4).sigmoid()[:, part],
            "mouth": torch.zeros(latent_frames, SIDE, SIDE),
            "posed": torch.tensor(1.0),
            "dropout": torch.linspace(0, 1, 4 * length - 3)[4 * start : 4 * (start + latent_frames) - 3],
            "text": random_tensor(*TEXT, seed=15), "speaking_text": random_tensor(*TEXT, seed=15),
            "null_text": random_tensor(*TEXT, seed=16),
        }  # fmt: skip


def source(leading: dict[int, float] | None, states: dict[str, float] | None = None):
    from apoavatar_core.training.examples import ExampleSource

    conditions = Conditions(leading=leading, states=states or {"S4": 1.0}, whole_pose=1.0)
    return ExampleSource(RandomClips(), conditions, 3.0, 0)


STATES = {"S4": (1, 1, 1, 1), "S3": (1, 1, 1, 0), "S1": (1, 0, 0, 0), "S0": (0, 0, 0, 0)}
"""Scales of Eq. 8 that leave one state."""


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("leading", [1, 2, 3])
def test_training_shows_a_clip_that_goes_on_as_inference_does(attached, state: str, leading: int) -> None:
    from apoavatar_core.comfyui.conditions import AUDIO, MOTION, POSE, POSE_GATE
    from apoavatar_core.comfyui.wan import latent_format
    from apoavatar_core.flow_matching import interpolate
    from apoavatar_core.training.examples import Batch
    from apoavatar_core.training.model import FlowMatching

    dit = new_dit()
    adapter = new_adapter(holds_reference=True, leading_latents=3, reference_latent=True)
    model, _ = attached(dit, adapter)
    examples = source({leading: 1.0}, {state: 1.0})
    batch = Batch.stack([examples.example(5, LENGTH)])
    noise, sigma = random_tensor(1, 16, LENGTH, SIDE, SIDE, seed=21), torch.tensor([SIGMA])
    noisy = interpolate(batch.data, noise, sigma)
    velocity = FlowMatching(dit, adapter, Loss()).velocity(batch, noisy, sigma).detach()  # with gradients, as training does

    # The same clip as the node gives it, with everything there; guidance leaves one state of it.
    whole = source({leading: 1.0}).example(5, LENGTH).conditions
    clip = examples.clips.clip(0, LENGTH, examples.start_at(5, LENGTH))
    out = latent_format().process_out
    mask = torch.ones(1, 1, LENGTH, SIDE, SIDE)
    mask[:, :, :1] = 0
    film = out(clip["reference"][None])
    values = {"concat_latent_image": film, "concat_mask": mask, "reference_latents": [film[:, :, :1]]}
    tensors = {key: whole[key][None] for key in (AUDIO, POSE, POSE_GATE)}
    if leading > 1:
        tensors[MOTION] = out(clip["latents"][None, :, :leading])
    guider = decoupled(model, *(conditioning(values, tensors, text) for text in (15, 16)), *STATES[state])
    found = predicted(guider, data=out(batch.data))
    torch.testing.assert_close(found, out(noisy - SIGMA * velocity), atol=2e-4, rtol=1e-4)
    if leading > 1:
        torch.testing.assert_close(found[:, :, :leading], out(batch.data)[:, :, :leading], atol=1e-5, rtol=1e-5)
    plain = predicted(decoupled(model, *(conditioning(values, {AUDIO: tensors[AUDIO]}, text) for text in (15, 16)), *STATES[state]))
    assert (found - plain)[:, :, leading:].abs().max() > 1e-2


def test_leading_latents_come_in_their_shares_from_anywhere_in_the_clip(training) -> None:
    shares, draws = {0: 0.2, 1: 0.3, 2: 0.1, 3: 0.4}, 300
    examples = source(shares)
    counts, starts = Counter(), {leading: set() for leading in shares}
    for position in range(draws):
        example = examples.example(position, LENGTH)
        mask, given = example.conditions["c_concat"].split([4, 16])
        leading = int(mask[0, :, 0, 0].sum())
        assert (mask[:, :leading] == 1).all() and not mask[:, leading:].any()
        clip = examples.clips.clip(0, LENGTH)
        if leading > 1:
            assert torch.equal(given[:, :leading], example.data[:, :leading])
            assert torch.equal(given[:, leading:], clip["reference"][:, leading:])
        elif leading == 1:
            assert torch.equal(given, clip["reference"])
        else:
            assert (given == 0.1).all()
        assert torch.equal(example.conditions["reference_latent"], clip["reference"][:, 0])
        whole = examples.clips.clip(0, int(examples.clips.lengths[0]))["latents"]
        (start,) = [s for s in range(4) if torch.equal(whole[:, s : s + LENGTH], example.data)]
        counts[leading] += 1
        starts[leading].add(start)
    for leading, share in shares.items():
        assert abs(counts[leading] / draws - share) < 4 * (share * (1 - share) / draws) ** 0.5, leading
    assert starts == {0: {0, 1, 2, 3}, 1: {0}, 2: {0, 1, 2, 3}, 3: {0, 1, 2, 3}}


def test_leading_latents_disturb_no_other_draw(training) -> None:
    from apoavatar_core.training.states import SHARES

    first, second = (source(leading, SHARES) for leading in (None, {0: 0.5, 3: 0.5}))
    for position in range(20):
        ours, theirs = first.example(position, LENGTH), second.example(position, LENGTH)
        assert torch.equal(ours.noise, theirs.noise) and torch.equal(ours.sigma, theirs.sigma)
        assert torch.equal(ours.conditions["context"], theirs.conditions["context"])
        assert ours.conditions["reference_latent"].any() == theirs.conditions["reference_latent"].any()


def test_what_is_given_costs_nothing(training) -> None:
    """The loss of latents that are held is that of their own velocity, whatever the model says of them."""
    from apoavatar_core.flow_matching import interpolate
    from apoavatar_core.training.examples import Batch
    from apoavatar_core.training.model import FlowMatching

    adapter = new_adapter(holds_reference=True, leading_latents=3, reference_latent=True)
    model = FlowMatching(new_dit(), adapter, Loss())
    batch = Batch.stack([source({3: 1.0}).example(0, LENGTH)])
    noisy = interpolate(batch.data, batch.noise, batch.sigma)
    with torch.no_grad():
        error = (model.velocity(batch, noisy, batch.sigma) - (batch.noise - batch.data)).abs()
    assert error[:, :, :3].max() < 1e-4 < 0.1 < error[:, :, 3:].max()


@pytest.mark.parametrize(("latents", "leading", "sentence"), [
    (1, 3, "begins with 1 earlier frames but this adapter learned to go on from 5 or 9: set motion_frames to 5 or 9"),
    (4, 3, "begins with 13 earlier frames but this adapter learned to go on from 5 or 9"),
])  # fmt: skip
def test_other_numbers_of_earlier_frames_are_refused(attached, latents: int, leading: int, sentence: str) -> None:
    from apoavatar_core.comfyui.conditions import MOTION

    model, _ = attached(new_dit(), new_adapter(holds_reference=True, leading_latents=leading, reference_latent=True))
    values, tensors = known()
    tensors[MOTION] = random_tensor(1, 16, latents, SIDE, SIDE)
    with pytest.raises(ValueError, match=sentence):
        predicted(native(model, conditioning(values, tensors)))


def test_an_adapter_that_learned_to_hold_the_portrait_alone_goes_on_as_one_that_holds_nothing(attached) -> None:
    from apoavatar_core.comfyui.conditions import MOTION

    def made(**windows) -> Tensor:
        model, _ = attached(new_dit(), new_adapter(reference_latent=True, **windows))
        return predicted(native(model, conditioning(values, tensors)))

    values, tensors = known()
    assert (made(holds_reference=True, leading_latents=1) - made()).abs().max() > 1e-2, "at a film's beginning it is held"
    tensors[MOTION] = random_tensor(1, 16, 2, SIDE, SIDE, seed=20)
    found = made(holds_reference=True, leading_latents=1)
    assert torch.equal(found, made()) and torch.equal(found[:, :, :2], tensors[MOTION])


# --- a run


def test_a_run_writes_a_model_that_comfyui_loads_with_both(trainer, config, training) -> None:
    from apoavatar_core.checkpoints.adapter_file import read_adapter
    from apoavatar_core.comfyui import loading, wan

    stage = changed(config.stages[0], steps=2)
    run = trainer(changed(
        config,
        stages=(stage,),
        backbone=Backbone(new=changed(config.backbone.new, reference=True)),
        conditions=changed(config.conditions, leading={0: 0.25, 1: 0.25, 2: 0.5}),
    ))  # fmt: skip
    before = run.model.dit.ref_conv.weight.detach().clone()
    run.run()
    assert not torch.equal(run.model.dit.ref_conv.weight, before), "it learns"
    written, _ = read_adapter(run.config.run / "adapter.safetensors")
    assert (written.holds_reference, written.leading_latents, written.reference_latent) == (True, 2, True)
    model = loading.load_diffusion_model(run.config.run / "diffusion_model.safetensors")
    assert wan.has_reference_frame(wan.network_of(model))
    loading.apply_adapter(model, run.config.run / "adapter.safetensors")


def test_a_portrait_that_no_window_would_show_is_refused(trainer, config) -> None:
    with pytest.raises(ValueError, match="conditions.leading: only a backbone with a ref_conv sees the portrait"):
        trainer(changed(config, conditions=changed(config.conditions, leading={2: 1.0})))
