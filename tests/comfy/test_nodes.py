"""The nodes one after the other with the shipped tiny model, where a user may join native ones."""
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from apoavatar_core.pose import from_frame
from apoavatar_core.synthetic import frame_keypoints, sample_identity, speech_motion
from apoavatar_core.synthetic.clip import draw_clip

PRESENTER = Path(__file__).parents[2] / "workflows" / "assets" / "presenter.png"


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
    (pose,) = node("ApoAvatarExtractPose").execute(frames, "apoavatar_tiny_pose.safetensors").result
    for t in range(5):
        true, found = from_frame(frame_keypoints(identity, motion, t, 128)).body, from_frame(pose[t]).body
        wrists = [4, 7]
        assert abs(true[wrists, :2] - found[wrists, :2]).max() < 0.05
    (rendered,) = node("ApoAvatarRenderPose").execute(pose, 128, 128).result
    assert rendered.shape == (5, 128, 128, 3) and rendered.amax() > 0.3


def test_extract_pose_finds_people_by_default(node):
    schema = node("ApoAvatarExtractPose").define_schema()
    default = next(one for one in schema.inputs if one.id == "pose_model").options[0]
    picture = cv2.cvtColor(cv2.imread(str(PRESENTER)), cv2.COLOR_BGR2RGB)
    (pose,) = node("ApoAvatarExtractPose").execute(torch.from_numpy(picture)[None].float() / 255, default).result
    person = from_frame(pose[0])
    assert min(person.body[:8, 2].min(), person.left_hand[:, 2].min(), person.right_hand[:, 2].min()) > 0.5


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
