"""The nodes one after the other with the shipped tiny model, where a user may join native ones."""
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile
import torch

from apoavatar_core.checkpoints import presets
from apoavatar_core.pose import estimate, from_frame, load_pose_model
from apoavatar_core.synthetic import frame_keypoints, sample_identity, speech_motion
from apoavatar_core.synthetic.clip import draw_clip

PRESENTER = Path(__file__).parents[2] / "workflows" / "assets" / "presenter.png"
MEDIAPIPE = "mediapipe_holistic.safetensors"
LARGEST, WHOLE_PICTURE = {"person": "largest"}, {"person": "whole picture"}


def presenter() -> torch.Tensor:
    """The drawn presenter, 512 pixels high and wide, as an IMAGE."""
    return torch.from_numpy(cv2.cvtColor(cv2.imread(str(PRESENTER)), cv2.COLOR_BGR2RGB))[None].float() / 255


@pytest.fixture(scope="module")
def node(comfy):
    import nodes

    return lambda node_id: nodes.NODE_CLASS_MAPPINGS[node_id]


@pytest.fixture(scope="module")
def tiny(node):
    return node("ApoAvatarLoadModels").execute({"preset": "tiny"}).result


def conditioned(node, tiny, reference, audio):
    _, clip, vae, audio_encoder = tiny
    encode = node("CLIPTextEncode")().encode
    return node("ApoAvatarConditioning").execute(
        positive=encode(clip, "a person")[0], negative=encode(clip, "")[0], vae=vae,
        audio_features=audio_encoder.encode_audio(audio, 16_000), width=128, height=128, length=5, fps=24.0,
        pose_mode={"pose_mode": "pose_free"}, continue_from={"continue_from": "nothing"},
        reference_image=reference, clip=clip,
    ).result[:3]  # fmt: skip


@torch.inference_mode()
def sampled(node, model, positive, negative, latent):
    from comfy_extras.nodes_custom_sampler import BasicScheduler, KSamplerSelect, RandomNoise, SamplerCustomAdvanced

    (guider,) = node("ApoAvatarDecoupledCFGGuider").execute(model, positive, negative, 2.0, 2.0, 3.0, 2.0).result
    (noise,) = RandomNoise.execute(0).result
    (sampler,) = KSamplerSelect.execute("euler").result
    (sigmas,) = BasicScheduler.execute(model, "simple", 2, 1.0).result
    return SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, latent).result[0]["samples"]


def test_extracted_pose_lies_where_the_presenter_was_drawn_and_can_be_rendered(node):
    rng = np.random.default_rng(0)
    identity = sample_identity(rng)
    speech = 0.3 * np.sin(np.arange(16_000) * 0.1, dtype=np.float32)
    motion = speech_motion(speech, 5, 24, identity, rng)
    frames = torch.from_numpy(draw_clip(identity, motion, 128)).float() / 255
    (pose,) = node("ApoAvatarExtractPose").execute(frames, "apoavatar_tiny_pose.safetensors", LARGEST).result
    for t in range(5):
        true, found = from_frame(frame_keypoints(identity, motion, t, 128)).body, from_frame(pose[t]).body
        wrists = [4, 7]
        assert abs(true[wrists, :2] - found[wrists, :2]).max() < 0.05
    (rendered,) = node("ApoAvatarRenderPose").execute(pose, 128, 128).result
    assert rendered.shape == (5, 128, 128, 3) and rendered.amax() > 0.3


def test_extract_pose_finds_people_by_default(node):
    schema = node("ApoAvatarExtractPose").define_schema()
    default = next(one for one in schema.inputs if one.id == "pose_model").options[0]
    (pose,) = node("ApoAvatarExtractPose").execute(presenter(), default, LARGEST).result
    person = from_frame(pose[0])
    assert min(person.body[:8, 2].min(), person.left_hand[:, 2].min(), person.right_hand[:, 2].min()) > 0.5


def test_extract_pose_follows_the_person_who_is_asked_for(node):
    small = cv2.resize(presenter()[0].numpy(), (400, 400), interpolation=cv2.INTER_AREA)
    frames = torch.cat([presenter(), torch.from_numpy(np.pad(small, ((112, 0), (0, 0), (0, 0))))[None]], dim=2)
    boxes = [[{"x": 20, "y": 20, "width": 440, "height": 490}, {"x": 532, "y": 122, "width": 360, "height": 390}]]

    def neck(person, bboxes=None):
        (pose,) = node("ApoAvatarExtractPose").execute(frames, MEDIAPIPE, person, bboxes).result
        return from_frame(pose[0]).body[1, 0]

    assert neck(LARGEST) < 0.4 and neck({"person": "nearest to a point", "x": 0.6, "y": 0.7}) > 0.6
    assert neck(LARGEST, boxes) < 0.4 and neck({"person": "index", "index": 1}, boxes) > 0.6
    with pytest.raises(ValueError, match="index must be less than that, not 2"):
        neck({"person": "index", "index": 2})


def test_extract_pose_says_where_nobody_is(node):
    extract = node("ApoAvatarExtractPose").execute
    blank = torch.zeros(1, 512, 512, 3)
    with pytest.raises(ValueError, match="No person was found in frames"):
        extract(blank, MEDIAPIPE, LARGEST)
    output = extract(torch.cat([presenter(), presenter(), blank]), MEDIAPIPE, WHOLE_PICTURE)
    assert output.ui["text"] == ["No person in 1 of 3 frames (the first is 2)."]
    assert [len(frame["people"]) for frame in output.result[0]] == [1, 1, 0]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("name", ["MEDIAPIPE", "TINY_POSE"])
def test_pose_networks_are_under_comfyuis_memory_management(comfy, pack, monkeypatch, name, late):
    """`late`: as where ComfyUI's layers get their memory with their weights only."""
    import comfy.memory_management
    import comfy.model_management
    from comfy.ops import CastWeightBiasOp

    monkeypatch.setattr(comfy.memory_management, "aimdo_enabled", late)
    path = getattr(presets, name)
    picture, alone = presenter(), load_pose_model(path)
    with pack("apoavatar_core.comfyui.pose_models").on_device(path) as model:
        assert any(loaded.model.model is model for loaded in comfy.model_management.current_loaded_models)
        assert {tensor.device.type for tensor in model.parameters()} == {comfy.model_management.get_torch_device().type}
        layers = [layer for layer in model.modules() if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear, torch.nn.GroupNorm))]
        assert layers and all(isinstance(layer, CastWeightBiasOp) for layer in layers)
        (found,), (expected,) = estimate(model, picture), estimate(alone, picture)
    assert abs(found.body - expected.body).max() < 1e-3
    assert not any(loaded.model and loaded.model.model is model for loaded in comfy.model_management.current_loaded_models)


class WhereItIsBright(torch.nn.Module):
    """Sapiens' signature: every point where the picture is brightest."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        small = torch.nn.functional.interpolate(pictures, size=[256, 192], mode="bilinear", align_corners=True)
        return small.mean(1, keepdim=True).expand(-1, 133, -1, -1)


def test_extract_pose_takes_sapiens_from_the_models_folder(node, tmp_path, monkeypatch):
    import folder_paths

    folders, suffixes = folder_paths.folder_names_and_paths["apoavatar_pose"]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "apoavatar_pose", ([*folders, str(tmp_path)], suffixes))
    torch.jit.script(WhereItIsBright()).save(str(tmp_path / "sapiens_torchscript.pt2"))
    y, x = np.mgrid[:300, :400]
    blob = torch.from_numpy(np.exp(-((x - 100) ** 2 + (y - 210) ** 2) / 800)).float()[None, :, :, None].expand(-1, -1, -1, 3)
    options = next(one for one in node("ApoAvatarExtractPose").define_schema().inputs if one.id == "pose_model").options
    assert "sapiens_torchscript.pt2" in options
    (pose,) = node("ApoAvatarExtractPose").execute(blob, "sapiens_torchscript.pt2", WHOLE_PICTURE).result
    assert abs(from_frame(pose[0]).body[:, :2] - (100 / 400, 210 / 300)).max() < 0.005


def gesturing_voice() -> dict:
    """Two seconds of the example's speech."""
    samples, rate = soundfile.read(PRESENTER.with_name("speech.wav"), dtype="float32", always_2d=True)
    return {"waveform": torch.from_numpy(samples[: 2 * rate].T.copy())[None], "sample_rate": rate}


def portrait_pose() -> list[dict]:
    """Keypoints of a presenter on a picture of 128 x 128, after a frame without anybody."""
    identity = sample_identity(np.random.default_rng(0))
    motion = speech_motion(np.zeros(16_000, np.float32), 5, 24, identity, np.random.default_rng(0))
    return [{"people": [], "canvas_width": 128, "canvas_height": 128}, frame_keypoints(identity, motion, 0, 128)]


def test_a_voice_makes_a_portrait_gesture_as_long_as_it_lasts_and_the_gate_refocuses_it(node):
    dials = {"fps": 24.0, "seed": 3, "energy": 0.8, "range": 1.0, "handedness": 0.0, "calm": 0.3}
    gestures = node("ApoAvatarGesturesFromVoice")
    pose, frames, fps = gestures.execute(gesturing_voice(), portrait_pose(), length=0, **dials).result
    assert frames == len(pose) == 48 and fps == 24.0 and pose[0]["canvas_width"] == 128
    assert gestures.execute(gesturing_voice(), portrait_pose(), length=9, **dials).result[1] == 9
    hiss = {"waveform": 0.1 * torch.randn(1, 1, 48_000), "sample_rate": 16_000}
    listening = [from_frame(frame).body for frame in gestures.execute(hiss, portrait_pose(), length=0, **dials).result[0]]
    assert np.ptp([body[4, :2] - body[2, :2] for body in listening], axis=0).max() < 1e-3
    (rendered,) = node("ApoAvatarRenderPose").execute(pose, 64, 64).result
    assert rendered.shape == (48, 64, 64, 3)
    film, *_ = gestures.execute(
        gesturing_voice(), portrait_pose(), length=0, **dials, film_pose=pose, film_fps=24.0
    ).result
    assert len(film) == 48

    gate = node("ApoAvatarLoudnessRefocusing").execute(gesturing_voice(), 24.0, 48, 10.0, 0.5, 8.0, 5.0, 95.0).result[0]
    moved = []
    for strength in (0.0, 0.5, 1.0):
        (calmed,) = node("ApoAvatarRefocusGestures").execute(pose, gate, strength, False).result
        wrists = np.stack([from_frame(frame).body[[4, 7], :2] - from_frame(frame).body[[2, 5], :2] for frame in calmed])
        moved.append(np.linalg.norm(np.diff(wrists, axis=0), axis=-1).sum())
    assert moved[0] < 1e-3 < moved[1] < moved[2]


def test_gestures_need_a_voice_and_a_person(node):
    dials = {"fps": 24.0, "length": 0, "seed": 3, "energy": 0.8, "range": 1.0, "handedness": 0.0, "calm": 0.3}
    with pytest.raises(ValueError, match="audio is missing"):
        node("ApoAvatarGesturesFromVoice").execute(None, portrait_pose(), **dials)
    with pytest.raises(ValueError, match="neither shoulders nor a face"):
        node("ApoAvatarGesturesFromVoice").execute(gesturing_voice(), portrait_pose()[:1], **dials)


def test_native_sampler_takes_the_guider_for_silence_and_a_portrait_of_one_pixel(node, tiny):
    positive, negative, latent = conditioned(node, tiny, torch.full((1, 1, 1, 3), 0.5), torch.zeros(1, 1, 16_000))
    samples = sampled(node, tiny[0], positive, negative, latent)
    assert samples.shape == (1, 16, 2, 16, 16) and samples.isfinite().all()


def test_a_model_that_was_unloaded_gives_the_same_video_again(node, tiny):
    import comfy.model_management

    voice = torch.rand(1, 1, 16_000) - 0.5
    positive, negative, latent = conditioned(node, tiny, torch.full((1, 64, 64, 3), 0.5), voice)
    before = sampled(node, tiny[0], positive, negative, latent)
    comfy.model_management.unload_all_models()
    assert torch.equal(before, sampled(node, tiny[0], positive, negative, latent))


@pytest.mark.parametrize(("kind", "folder"), [("apoavatar_adapters", "adapters"), ("apoavatar_pose", "poses")])
def test_folders_of_extra_model_paths_stay(comfy, extra_model_paths, kind, folder):
    import folder_paths

    mine = extra_model_paths.parent / folder
    mine.mkdir(exist_ok=True)
    (mine / "my_own.safetensors").touch()
    (mine / "notes.txt").touch()
    found = folder_paths.get_filename_list(kind)
    assert "my_own.safetensors" in found and "notes.txt" not in found
    assert folder_paths.get_folder_paths(kind)[:2] == [str(mine), str(Path(folder_paths.models_dir) / kind)]
    assert any(name.startswith("apoavatar_tiny") for name in found)


def test_gesture_nodes_read_poses_as_the_others_do_and_say_what_they_left_out(node):
    """One frame by itself, null frames, and somebody else in the picture."""
    alone = portrait_pose()[1]
    body = alone["people"][0]["pose_keypoints_2d"]
    bystander = {"pose_keypoints_2d": [value * (1 if i % 3 == 2 else 0.2) for i, value in enumerate(body)]}
    crowd = {**alone, "people": [bystander, *alone["people"]]}
    hiss = {"waveform": 0.1 * torch.randn(1, 1, 16_000), "sample_rate": 16_000}
    dials = {"fps": 24.0, "length": 5, "seed": 0, "energy": 0.8, "range": 1.0, "handedness": 0.0, "calm": 0.3}
    make = node("ApoAvatarGesturesFromVoice").execute
    expected = make(gesturing_voice(), [alone], **dials)
    assert make(gesturing_voice(), alone, **dials).result[0] == expected.result[0] and expected.ui == {"text": []}
    assert make(gesturing_voice(), [None, crowd], **dials).result[0] == expected.result[0]
    said = "\n".join(make(hiss, [crowd], **dials).ui["text"])
    assert "up to 2 people" in said and "Nobody speaks or sings" in said

    gate = node("ApoAvatarLoudnessRefocusing").execute(gesturing_voice(), 24.0, 5, 10.0, 0.5, 8.0, 5.0, 95.0).result[0]
    refocus = node("ApoAvatarRefocusGestures").execute
    assert refocus(alone, gate, 1.0, False).result[0] == refocus([alone], gate, 1.0, False).result[0]


def inputs_of(declared):
    """Every input, and what the options of choices bring."""
    for one in declared:
        yield one
        for option in getattr(one, "options", None) or ():
            yield from inputs_of(getattr(option, "inputs", ()))


def test_every_input_and_output_has_a_tooltip(comfy):
    import nodes

    found = {name: kind.define_schema() for name, kind in nodes.NODE_CLASS_MAPPINGS.items() if name.startswith("ApoAvatar")}
    assert found
    for name, schema in found.items():
        assert not [one.id for one in (*inputs_of(schema.inputs), *schema.outputs) if not one.tooltip], name


def test_the_live_preview_of_the_tiny_model_is_the_small_picture(node, tiny):
    """Noise as in a latent that is not finished may not change it either."""
    import latent_preview

    model, _, vae, _ = tiny
    picture = torch.nn.functional.interpolate(presenter().movedim(-1, 1), (128, 128), mode="area")
    latent = model.model.latent_format.process_in(vae.encode(picture.movedim(1, -1)))
    small = torch.nn.functional.interpolate(picture, latent.shape[-2:], mode="area")[0].movedim(0, -1).numpy() * 255
    previewer = latent_preview.Latent2RGBPreviewer(
        model.model.latent_format.latent_rgb_factors, model.model.latent_format.latent_rgb_factors_bias
    )
    for noise in (0.0, 0.2):
        shown = previewer.decode_latent_to_preview(latent + noise * torch.randn(latent.shape, generator=torch.manual_seed(0)))
        assert np.abs(np.asarray(shown, np.float32) - small).mean() < 20  # with Wan's factors 107
