"""InfiniteTalk's weights in our adapter against ComfyUI's own InfiniteTalk node: same weights, same voice, same latents."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from apoavatar_core.checkpoints import presets
from apoavatar_core.checkpoints.__main__ import main
from apoavatar_core.checkpoints.adapter_file import read_adapter

WIDTH, LAYERS = 320, 2
"""The native layers have forty heads whatever the width."""
AUDIO_WIDTH, AUDIO_LAYERS, AUDIO_TOKENS_WIDTH = 768, 12, 96
FRAMES, SIDE = 17, 32
MOTION_FRAMES = 9


@torch.no_grad()
def randomize(module: torch.nn.Module, seed: int) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator) * max(parameter[0].numel(), 16) ** -0.5
        parameter.copy_(noise + ("norm" in name and name.endswith("weight")))
    return module


@pytest.fixture(scope="module")
def model(comfy):
    """A small image-to-video MODEL."""
    return wan_model(torch.float32)


def wan_model(dtype: torch.dtype):
    import comfy.sd

    tensors, metadata = wan_weights(text_dim=16, text_len=8)
    return comfy.sd.load_diffusion_model_state_dict(tensors, {"dtype": dtype}, metadata=metadata)


def wan_weights(text_dim: int, text_len: int) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a small image-to-video model's file."""
    from comfy.ldm.wan.model import WanModel

    told = {"num_heads": 10, "text_dim": text_dim, "text_len": text_len}
    network = WanModel(operations=torch.nn, dim=WIDTH, ffn_dim=WIDTH, num_layers=LAYERS, in_dim=36, **told)
    return randomize(network, 0).state_dict(), {"config": json.dumps({"transformer": told})}


PATCH_SIZES = {"in_dim": WIDTH, "out_dim": AUDIO_TOKENS_WIDTH, "intermediate_dim": 32, "num_layers": LAYERS}


def native_patch(**sizes):
    import comfy.ops
    from comfy_extras.nodes_model_patch import MultiTalkModelPatch

    return MultiTalkModelPatch(operations=comfy.ops.manual_cast, **sizes)


@pytest.fixture(scope="module")
def patch(comfy):
    """The layers of ComfyUI's InfiniteTalk, random, with its forty heads on a narrow model."""
    return randomize(native_patch(**PATCH_SIZES), 1)


@pytest.fixture
def file(patch, tmp_path) -> Path:
    save_file(patch.state_dict(), tmp_path / "infinitetalk.safetensors")
    return tmp_path / "infinitetalk.safetensors"


def in_bf16(file: Path) -> Path:
    path = file.with_name("bf16.safetensors")
    save_file({name: tensor.bfloat16() for name, tensor in load_file(file).items()}, path)
    return path


def voices(frames: int = FRAMES) -> tuple[dict, dict]:
    """wav2vec2 features for the native node, and for ours, such that both hear the same at the video's rate.

    The native node resamples 50 Hz to 25 Hz so that both ends meet, which is up to half a frame late; ours reads the
    moments of the frames. That is tested elsewhere; this is about the layers.
    """
    from comfy_extras.nodes_wan import linear_interpolation

    generator = torch.Generator().manual_seed(3)
    layers = [torch.randn(1, 2 * frames, AUDIO_WIDTH, generator=generator) for _ in range(1 + AUDIO_LAYERS)]
    heard = linear_interpolation(torch.stack(layers).squeeze(1), input_fps=50, output_fps=25)
    return {"encoded_audio_all_layers": layers}, {"encoded_audio_all_layers": list(heard.repeat_interleave(2, 1)[:, None])}


@torch.inference_mode()
def predicted(guider) -> Tensor:
    """The model's prediction of the latents from the same noise."""
    import comfy.samplers

    noise = torch.randn(1, 16, (FRAMES - 1) // 4 + 1, SIDE // 8, SIDE // 8, generator=torch.Generator().manual_seed(4))
    sampler = comfy.samplers.ksampler("euler")
    return guider.sample(noise, torch.zeros_like(noise), sampler, torch.tensor([0.8, 0.0]), disable_pbar=True, seed=0)


def ours(pack, model, file: Path, vae, portrait: Tensor, voice: dict, previous: Tensor | None = None) -> Tensor:
    """What our nodes predict with a warm start."""
    text = [[torch.randn(1, 8, 16, generator=torch.Generator().manual_seed(5)), {}]]
    beginning = {"continue_from": "nothing"}
    if previous is not None:
        beginning = {"continue_from": "previous_frames", "previous_frames": previous, "motion_frames": MOTION_FRAMES}
    settings = (SIDE, SIDE, FRAMES, 25.0, {"pose_mode": "pose_free"}, beginning, portrait)
    positive, negative, *_ = pack("nodes.conditioning").Conditioning.execute(text, text, vae, voice, *settings).result
    adapted = pack("apoavatar_core.comfyui.loading").apply_adapter(model, file)
    return predicted(pack("nodes.sampling").Guider.execute(adapted, positive, negative, 1.0, 1.0, 1.0, 1.0).result[0])


def native(
    model, patch, vae, portrait: Tensor, voice: dict, previous: Tensor | None = None, audio_scale: float = 1.0
) -> Tensor:
    """What ComfyUI's node predicts."""
    import comfy.model_management
    import comfy.model_patcher
    import comfy.samplers
    from comfy_extras.nodes_wan import WanInfiniteTalkToVideo

    device = comfy.model_management.get_torch_device()
    patcher = comfy.model_patcher.CoreModelPatcher(patch, device, device)
    text = [[torch.randn(1, 8, 16, generator=torch.Generator().manual_seed(5)), {}]]
    patched, positive, negative, *_ = WanInfiniteTalkToVideo.execute(
        {"mode": "single_speaker"}, model, patcher, text, text, vae, SIDE, SIDE, FRAMES, voice, MOTION_FRAMES,
        start_image=portrait, previous_frames=previous, audio_scale=audio_scale,
    ).result  # fmt: skip
    guider = comfy.samplers.CFGGuider(patched)
    guider.set_conds(positive, negative)
    guider.set_cfg(1.0)
    return predicted(guider)


@pytest.fixture(scope="module")
def vae(pack):
    presets = pack("apoavatar_core.checkpoints.presets")
    return pack("apoavatar_core.comfyui.loading").load_vae(presets.TINY_VAE)


@pytest.fixture(scope="module")
def portrait() -> Tensor:
    return torch.rand(1, SIDE, SIDE, 3, generator=torch.Generator().manual_seed(6))


def test_a_warm_start_predicts_what_comfyuis_own_infinitetalk_predicts(pack, model, patch, file, vae, portrait) -> None:
    theirs, heard = voices()
    expected = native(model, patch, vae, portrait, theirs)
    found = ours(pack, model, file, vae, portrait, heard)
    assert (found - expected).abs().max() < 1e-5
    # The voice and the reference that is held clean both matter, so the equality says something.
    assert (native(model, patch, vae, portrait, theirs, audio_scale=0.0) - expected).abs().max() > 1e-2


@pytest.mark.parametrize("frames", [FRAMES + 8, FRAMES - 5], ids=["longer", "shorter"])
def test_a_voice_of_another_length_is_heard_as_by_the_native_node(pack, model, patch, file, vae, portrait, frames) -> None:
    theirs, heard = voices(frames)
    expected = native(model, patch, vae, portrait, theirs)
    assert (ours(pack, model, file, vae, portrait, heard) - expected).abs().max() < 1e-5


def test_a_continued_clip_is_the_native_node_s(pack, model, patch, file, vae, portrait) -> None:
    theirs, heard = voices(60)
    previous = torch.rand(25, SIDE, SIDE, 3, generator=torch.Generator().manual_seed(7))
    expected = native(model, patch, vae, portrait, theirs, previous)
    found = ours(pack, model, file, vae, portrait, heard, previous)
    assert (found - expected).abs().max() < 1e-5
    # Both where the voice goes on and what was seen last matter, so the equality says something.
    assert (ours(pack, model, file, vae, portrait, heard) - expected).abs().max() > 1e-2
    assert (ours(pack, model, file, vae, portrait, heard, previous.flip(0)) - expected)[:, :, 3:].abs().max() > 1e-3


def test_a_continued_clip_in_context_windows_is_refused(pack, model, file, vae, portrait) -> None:
    import comfy.context_windows
    from comfy_extras.nodes_context_windows import WanContextWindowsManualNode

    _, heard = voices(60)
    schedule, fusing = comfy.context_windows.ContextSchedules.STATIC_STANDARD, comfy.context_windows.ContextFuseMethods.PYRAMID
    (windowed,) = WanContextWindowsManualNode.execute(model, 9, 4, schedule, 1, False, fusing, False).result
    assert ours(pack, windowed, file, vae, portrait, heard).isfinite().all()
    with pytest.raises(ValueError, match="previous_frames cannot be made in context windows"):
        ours(pack, windowed, file, vae, portrait, heard, torch.rand(25, SIDE, SIDE, 3))


@pytest.mark.parametrize("name", ["Wan2_1-InfiniTetalk-Single_fp16.safetensors", "14B/WanVideo_2_1_Multitalk_fp8.safetensors"])
def test_a_warm_start_is_found_where_other_packs_keep_it(pack, model, file, tmp_path, monkeypatch, name) -> None:
    """In the folder of diffusion models, told from those by its name; no file is opened to make the list."""
    import folder_paths

    folder = tmp_path / "diffusion_models"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_bytes(file.read_bytes())
    (folder / "wan2.1_i2v.safetensors").touch()
    folders, kinds = folder_paths.folder_names_and_paths["diffusion_models"]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "diffusion_models", ([*folders, str(folder)], kinds))

    node = pack("nodes.loaders").ApplyAdapter
    (adapters,) = (field.options for field in node.define_schema().inputs if field.id == "adapter")
    assert name in adapters and "wan2.1_i2v.safetensors" not in adapters
    assert node.validate_inputs(name) is True
    (adapted,) = node.execute(model, name).result
    assert pack("apoavatar_core.comfyui.attaching").has_adapter(adapted)


def test_in_bf16_a_warm_start_stays_as_near(pack, patch, file, vae, portrait) -> None:
    theirs, heard = voices()
    model = wan_model(torch.bfloat16)
    expected = native(model, randomize(native_patch(**PATCH_SIZES), 1).bfloat16(), vae, portrait, theirs)
    found = ours(pack, model, in_bf16(file), vae, portrait, heard)
    assert (found - expected).abs().max() <= 2e-2 * expected.abs().max()


def test_the_reference_takes_the_noise_s_place_where_one_is_given(pack) -> None:
    room = pack("apoavatar_core.comfyui")
    x, condition = torch.randn(2, 16, 3, 4, 4), torch.randn(2, 20, 3, 4, 4)
    condition[:, :4] = 0
    condition[0, :4, 0] = 1

    def held(x: Tensor, *given: Tensor) -> Tensor:
        return room.continuing.hold_given(lambda x, *others: x, x, torch.zeros(2), *given)

    found = held(x, condition)
    assert torch.equal(found[0, :, 0], condition[0, 4:, 0])
    assert torch.equal(found[0, :, 1:], x[0, :, 1:]) and torch.equal(found[1], x[1])
    assert torch.equal(held(x), x)


def test_every_tensor_of_true_size_has_its_place(pack) -> None:
    multitalk, adapters = pack("apoavatar_core.checkpoints.multitalk"), pack("apoavatar_core.adapters")
    tensors = native_patch(device="meta", dtype=torch.bfloat16).state_dict()
    config, found = multitalk.adapter_from_multitalk(tensors)
    expected = adapters.ApoAvatarAdapter(config, device="meta").state_dict()
    assert {name: tensor.shape for name, tensor in found.items()} == {name: t.shape for name, t in expected.items()}
    assert (config.backbone_dim, config.backbone_layers, config.audio_feature_dim) == (5120, 40, 9216)
    assert (config.audio_dim, config.tokens_per_frame) == (768, 8)
    assert all(tensor.dtype == torch.bfloat16 for tensor in found.values())


def test_names_may_have_the_prefix_of_a_diffusion_model(pack, patch, file, tmp_path) -> None:
    read_file = pack("apoavatar_core.checkpoints.adapter_file").read_adapter
    save_file({f"diffusion_model.{name}": t for name, t in patch.state_dict().items()}, tmp_path / "prefixed.safetensors")
    (config, tensors), (same, others) = read_file(file), read_file(tmp_path / "prefixed.safetensors")
    assert config == same
    assert all(torch.equal(tensor, others[name]) for name, tensor in tensors.items())


def test_fp8_weights_stay_fp8(pack, patch, tmp_path) -> None:
    path = tmp_path / "fp8.safetensors"
    save_file({name: tensor.to(torch.float8_e4m3fn) for name, tensor in patch.state_dict().items()}, path)
    _, tensors = pack("apoavatar_core.checkpoints.adapter_file").read_adapter(path)
    new = ("audio_dit.", "pose_adapter.")
    assert {tensor.dtype for name, tensor in tensors.items() if not name.startswith(new)} == {torch.float8_e4m3fn}
    assert {tensor.dtype for name, tensor in tensors.items() if name.startswith(new)} == {torch.float16}


def test_scaled_fp8_weights_are_multiplied_out(pack, patch, tmp_path) -> None:
    path, scale = tmp_path / "scaled.safetensors", torch.tensor(0.25)
    name = "blocks.0.audio_cross_attn.q_linear"
    tensors = {key: tensor.clone() for key, tensor in patch.state_dict().items()}
    tensors[f"{name}.weight"] = (tensors[f"{name}.weight"] / scale).to(torch.float8_e4m3fn)
    save_file(tensors | {f"{name}.scale_weight": scale, "scaled_fp8": torch.empty(2, dtype=torch.float8_e4m3fn)}, path)
    _, found = pack("apoavatar_core.checkpoints.adapter_file").read_adapter(path)
    wanted = patch.state_dict()[f"{name}.weight"]
    assert found["injections.0.q.weight"].dtype == torch.bfloat16
    assert (found["injections.0.q.weight"] - wanted).abs().max() < 0.05 * wanted.abs().max()


def test_a_file_that_lacks_a_layer_or_fits_another_model_is_refused(pack, model, file, tmp_path) -> None:
    adapter_file = pack("apoavatar_core.checkpoints.adapter_file")
    loading = pack("apoavatar_core.comfyui.loading")
    tensors = load_file(file)
    del tensors["blocks.1.norm_x.bias"]
    save_file(tensors, tmp_path / "less.safetensors")
    with pytest.raises(ValueError, match="less.safetensors is not a MultiTalk .*injections.1.norm.bias is missing"):
        adapter_file.read_adapter(tmp_path / "less.safetensors")

    wide = randomize(native_patch(in_dim=WIDTH, out_dim=AUDIO_TOKENS_WIDTH, intermediate_dim=32, num_layers=3), 2)
    save_file(wide.state_dict(), tmp_path / "deeper.safetensors")
    with pytest.raises(ValueError, match="width 320, 3 blocks .* width 320, 2 blocks"):
        loading.apply_adapter(model, tmp_path / "deeper.safetensors")


def test_a_gguf_adapter_is_refused_with_what_to_do(pack) -> None:
    """ComfyUI's lists hold no GGUF files, so the name comes from somebody's workflow."""
    check = pack("nodes.loaders").ApplyAdapter.validate_inputs
    for chosen in ({"adapter": "Q8.gguf"}, {"adapter": "apoavatar_tiny_adapter.safetensors", "pose_model": "Q8.GGUF"}):
        assert "is a GGUF file" in check(**chosen) and "as .safetensors files" in check(**chosen)


def test_the_command_says_what_a_file_is_and_converts_it(file, tmp_path, monkeypatch, capsys) -> None:
    def command(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["checkpoints", *map(str, words)])
        main()
        return capsys.readouterr().out

    said = command("inspect", file)
    assert "usable as a warm start" in said and "width 320, 2 blocks, any number of input channels" in said
    ours = tmp_path / "ours.safetensors"
    assert command("convert", file, ours) == f"wrote {ours}\n"
    assert "an ApoAvatar adapter" in command("inspect", ours)
    (config, tensors), (again, same) = (read_adapter(path) for path in (file, ours))
    assert again == config
    assert all(torch.equal(same[name], tensor) for name, tensor in tensors.items())

    with pytest.raises(SystemExit, match="exists already: choose another name.$"):
        command("convert", file, ours)
    with pytest.raises(SystemExit, match="is not an ApoAvatar adapter"):
        command("inspect", presets.TINY_DIT)


def wav2vec2_base():
    """A wav2vec2 of the size that InfiniteTalk hears with, random."""
    import comfy.audio_encoders.audio_encoders

    sizes = {"embed_dim": AUDIO_WIDTH, "num_heads": 12, "num_layers": AUDIO_LAYERS}
    options = dict.fromkeys(("conv_norm", "conv_bias", "do_normalize", "do_stable_layer_norm"), False)
    encoder = comfy.audio_encoders.audio_encoders.AudioEncoderModel({"model_type": "wav2vec2", **sizes, **options})
    randomize(encoder.model, 8)
    return encoder


def test_a_warm_start_is_trained(pack, trainer, config, model, patch, file, vae, portrait, tmp_path) -> None:
    """From what ComfyUI's own InfiniteTalk predicts, with the Audio DiT adapter and the pose adapter on top."""
    from apoavatar_core.checkpoints.adapter_file import adapter_metadata
    from apoavatar_core.data.clips import ClipBank, draw_bank
    from apoavatar_core.data.encoders import load_encoders
    from apoavatar_core.data.prepare import prepare
    from apoavatar_core.settings import changed
    from apoavatar_core.training.branches import branch_of
    from apoavatar_core.training.config import Adapter, Backbone
    from apoavatar_core.training.log import read_log

    draw_bank(tmp_path / "bank", clips=2, frames=9, size=64, workers=1, fps=25.0)
    prepare(ClipBank(tmp_path / "bank"), tmp_path / "clips", replace(load_encoders(), audio_encoder=wav2vec2_base()))
    tensors, metadata = wan_weights(text_dim=64, text_len=192)
    save_file(tensors, tmp_path / "wan.safetensors", metadata)
    run = trainer(
        changed(
            config,
            data=tmp_path / "clips",
            backbone=Backbone(file=tmp_path / "wan.safetensors"),
            adapter=Adapter(file=file),
            conditions=changed(config.conditions, states={"S4": 1.0}),
            stages=(changed(config.stages[0], steps=3, batch=2, train=("audio", "pose")),),
        )
    )
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    start = tmp_path / "start.safetensors"
    save_file(run.model.adapter.state_dict(), start, adapter_metadata(run.model.adapter.config))
    theirs, heard = voices()
    expected = native(model, patch, vae, portrait, theirs)
    assert (ours(pack, model, start, vae, portrait, heard) - expected).abs().max() < 1e-5
    assert (of_batch(run) - through_comfyui(pack, run, file)).abs().max() < 1e-4

    run.run()
    assert [entry["step"] for entry in read_log(run.config.run / "log.jsonl") if 0 < entry["loss"] < 10] == [1, 2, 3]
    learned = {name for name, tensor in run.model.state_dict().items() if not torch.equal(before[name], tensor)}
    assert {branch_of(name) for name in learned} == {"audio", "pose"}
    # After the zero layers what lies behind them learns too.
    for name in ("audio_projection.first.weight", "audio_dit.place_scale", "injections.0.k.weight", "pose_adapter.tokens.weight"):
        assert f"adapter.{name}" in learned, name
    adapter = run.config.run / "adapter.safetensors"
    written, _ = read_adapter(adapter)
    assert (written.audio_encoder, written.audio_feature_dim) == ("wav2vec2", AUDIO_LAYERS * AUDIO_WIDTH)
    assert written.holds_reference and written.leading_latents == 0
    assert (ours(pack, model, adapter, vae, portrait, heard) - expected).abs().max() > 1e-3
    # It goes on from earlier frames as InfiniteTalk does.
    previous = torch.rand(25, SIDE, SIDE, 3, generator=torch.Generator().manual_seed(7))
    assert ours(pack, model, adapter, vae, portrait, voices(60)[1], previous).isfinite().all()


SIGMA = 0.8


@torch.no_grad()
def of_batch(run) -> Tensor:
    """What a run predicts for the latents of its first example that are not held."""
    batch = run.sources[0].batch(range(1), 3)
    noisy = SIGMA * batch.noise + (1 - SIGMA) * batch.data
    return (noisy - SIGMA * run.model.velocity(batch, noisy, torch.tensor([SIGMA])))[:, :, 1:]


@torch.inference_mode()
def through_comfyui(pack, run, adapter: Path) -> Tensor:
    """The same from the files that the run begins with."""
    import comfy.samplers
    import comfy.sd

    room, batch = pack("apoavatar_core.comfyui"), run.sources[0].batch(range(1), 3)
    model = comfy.sd.load_diffusion_model(str(run.config.backbone.file), {"dtype": torch.float32})
    latents = model.model.latent_format.process_out
    given = {
        "concat_latent_image": latents(batch.conditions["c_concat"][:, 4:]),
        "concat_mask": 1 - batch.conditions["c_concat"][:, :4],
    }
    names = (room.conditions.AUDIO, room.conditions.POSE, room.conditions.POSE_GATE)
    text = [[batch.conditions["context"], given]]
    positive = room.conditions.with_conditions(text, {name: batch.conditions[name] for name in names})
    adapted = room.loading.apply_adapter(model, adapter)
    (guider,) = pack("nodes.sampling").Guider.execute(adapted, positive, text, 1.0, 1.0, 1.0, 1.0).result
    sampler, sigmas = comfy.samplers.ksampler("euler"), torch.tensor([SIGMA, 0.0])
    made = guider.sample(batch.noise, latents(batch.data), sampler, sigmas, disable_pbar=True, seed=0)
    return model.model.latent_format.process_in(made)[:, :, 1:]
