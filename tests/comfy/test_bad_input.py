"""Inputs that cannot work, queued to the running server: each is refused in one sentence, and the server goes on."""
import io
import itertools
import json
import re
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from scipy.io import wavfile

from apoavatar_core.adapters import AdapterConfig, ApoAvatarAdapter
from apoavatar_core.checkpoints import presets
from apoavatar_core.checkpoints.adapter_file import read_adapter, save_adapter
from devtools import demo, environment, workflow
from devtools.errors import WorkflowError

LAYOUT = environment.Layout(Path(__file__).resolve().parents[2])
WORKFLOWS = LAYOUT.root / "workflows"
SHORT = 5  # frames

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def definitions(comfy_server):
    for asset in (WORKFLOWS / "assets").iterdir():
        comfy_server.upload(asset)
    return comfy_server.object_info()


@pytest.fixture
def prompt_of(definitions):
    """The API prompt of a workflow of this pack, as short as it gets."""

    def prompt_of(name: str) -> dict:
        prompt = workflow.to_prompt(workflow.load(WORKFLOWS / f"{name}.json"), definitions)
        for node_type, input_name, value in (
            ("ApoAvatarConditioning", "length", SHORT),
            ("ApoAvatarLoudnessRefocusing", "frames", SHORT),
            ("ApoAvatarSampler", "steps", 1),
            ("KSampler", "steps", 1),
        ):
            if workflow.nodes_of(prompt, node_type):
                workflow.set_input(prompt, node_type, input_name, value)
        return prompt

    return prompt_of


@pytest.fixture
def text_prompt(prompt_of):
    """The workflow that has the least to do."""
    return prompt_of("tiny_text_audio")


@pytest.fixture
def pose_prompt(prompt_of):
    return prompt_of("tiny_pose_refocused")


@pytest.fixture
def refocusing_prompt(pose_prompt):
    """Nothing but a voice, Audio Loudness Refocusing and its plot."""
    wanted = ("LoadAudio", "ApoAvatarLoudnessRefocusing", "PreviewImage")
    return {node_id: node for node_id, node in pose_prompt.items() if node["class_type"] in wanted}


@pytest.fixture
def refused(comfy_server, definitions, text_prompt):
    """The message of a prompt's failure; afterwards a good prompt still makes its video."""
    seeds = itertools.count(1000)

    def refused(prompt: dict) -> str:
        message = failure(comfy_server, prompt)
        good = workflow.to_prompt(workflow.load(WORKFLOWS / "tiny_text_audio.json"), definitions)
        for node_type, name, value in (
            ("ApoAvatarConditioning", "length", SHORT),
            ("ApoAvatarSampler", "steps", 1),
            ("ApoAvatarSampler", "seed", next(seeds)),
        ):
            workflow.set_input(good, node_type, name, value)
        assert video_size(comfy_server, comfy_server.queue(good))[0] == SHORT
        return message

    return refused


def failure(server, prompt: dict) -> str:
    """What a failed node says, which has to be one sentence."""
    prompt_id = server.submit(prompt)
    with pytest.raises(WorkflowError):
        server.wait(prompt_id)
    entry = json.loads(server.get(f"/history/{prompt_id}"))[prompt_id]
    message = dict(entry["status"]["messages"])["execution_error"]["exception_message"].strip()
    assert message.endswith(".") and not re.search(r"\n|[.!?] [A-Z]", message), f"not one sentence: {message}"
    return message


def video_size(server, entry: dict) -> tuple[int, int, int]:
    """(frames, height, width) of the video that a run saved."""
    (file,) = server.output_files(entry)
    with av.open(io.BytesIO(server.fetch(file))) as container:
        frames = list(container.decode(video=0))
    return len(frames), frames[0].height, frames[0].width


def said_by(entry: dict, class_type: str) -> str:
    """The text that a node shows after its run."""
    (node_id,) = (node_id for node_id, node in entry["prompt"][2].items() if node["class_type"] == class_type)
    return "\n".join(entry["outputs"][node_id]["text"])


def with_voice(prompt: dict, name: str) -> dict:
    workflow.set_input(prompt, "LoadAudio", "audio", name)
    return prompt


def without_a_sample(prompt: dict) -> dict:
    """ComfyUI's own loader refuses a file without a sample, but its Empty Audio node gives sound of no length."""
    (loader,) = workflow.nodes_of(prompt, "LoadAudio")
    loader["class_type"], loader["inputs"] = "EmptyAudio", {"duration": 0.0, "sample_rate": 16000, "channels": 1}
    return prompt


# Sound


@pytest.fixture
def voice(comfy_server, tmp_path):
    """A sound file in the server's input folder."""

    def voice(name: str, samples: np.ndarray, rate: int = 16000) -> str:
        wavfile.write(tmp_path / name, rate, samples)
        return comfy_server.upload(tmp_path / name)

    return voice


def without_voice(prompt: dict, listener: str) -> dict:
    del workflow.nodes_of(prompt, listener)[0]["inputs"]["audio"]
    return prompt


def test_a_voice_that_is_not_connected_is_named(comfy_server, text_prompt, refocusing_prompt):
    with pytest.raises(WorkflowError, match=r"AudioEncoderEncode .*Required input is missing: audio"):
        comfy_server.submit(without_voice(text_prompt, "AudioEncoderEncode"))
    with pytest.raises(WorkflowError, match=r"ApoAvatarLoudnessRefocusing .*Required input is missing: audio"):
        comfy_server.submit(without_voice(refocusing_prompt, "ApoAvatarLoudnessRefocusing"))


def test_a_video_may_be_saved_without_its_voice(comfy_server, text_prompt):
    entry = comfy_server.queue(without_voice(text_prompt, "CreateVideo"))
    assert video_size(comfy_server, entry)[0] == SHORT


def components_of_pose(prompt: dict) -> str:
    """A node of the prompt that takes the pose film apart."""
    (conditioning,) = workflow.nodes_of(prompt, "ApoAvatarConditioning")
    prompt["components"] = {"class_type": "GetVideoComponents", "inputs": {"video": conditioning["inputs"]["pose_mode.pose"]}}
    return "components"


def test_a_video_without_sound_gives_no_voice(refused, pose_prompt):
    workflow.nodes_of(pose_prompt, "ApoAvatarLoudnessRefocusing")[0]["inputs"]["audio"] = [components_of_pose(pose_prompt), 1]
    assert re.search(r"audio is missing: connect a node that gives sound", refused(pose_prompt))


def test_a_sound_file_without_a_sample_is_refused(refused, comfy_server, text_prompt, voice):
    with pytest.raises(WorkflowError, match=r"LoadAudio .*failed: \S.*"):
        comfy_server.queue(with_voice(text_prompt, voice("nothing.wav", np.zeros(0, np.int16))))


def test_sound_without_a_sample_is_refused(refused, text_prompt, refocusing_prompt):
    for prompt in (text_prompt, refocusing_prompt):
        assert re.search("audio is empty; connect a clip that has sound", refused(without_a_sample(prompt)))


def test_sound_of_one_sample_is_refused(refused, text_prompt, refocusing_prompt, voice):
    name = voice("one.wav", np.array([1000], np.int16))
    for prompt in (text_prompt, refocusing_prompt):
        assert re.search("audio has 1 sample; connect a longer clip", refused(with_voice(prompt, name)))


def test_sound_with_a_hole_in_it_is_refused(refused, text_prompt, refocusing_prompt, voice):
    samples = np.sin(np.arange(16000) / 20).astype(np.float32)
    samples[8000] = np.nan
    name = voice("hole.wav", samples)
    for prompt in (text_prompt, refocusing_prompt):
        assert re.search("audio holds NaN or infinite samples; load or generate", refused(with_voice(prompt, name)))


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (22050, 2), (48000, 1), (96000, 2)])
def test_any_rate_in_mono_or_stereo_works(comfy_server, pose_prompt, voice, rate, channels):
    tone = (8000 * np.sin(np.arange(rate) * (2 * np.pi * 220 / rate))).astype(np.int16)
    samples = tone if channels == 1 else np.stack([tone, tone // 2], axis=1)
    prompt = with_voice(pose_prompt, voice(f"tone_{rate}_{channels}.wav", samples, rate))
    assert video_size(comfy_server, comfy_server.queue(prompt))[0] == SHORT


# Adapter files


@pytest.fixture
def adapter(comfy_server):
    """A path for a file in the server's folder of adapters."""
    if LAYOUT.own_comfyui:
        pytest.skip("COMFYUI_PATH names somebody's own ComfyUI, whose models folder is not written to")
    folder = LAYOUT.base / "models" / "apoavatar_adapters"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "made_by_a_test.safetensors"
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def adapter_prompt(prompt_of, adapter):
    prompt = prompt_of("tiny_native_parts")
    workflow.set_input(prompt, "ApoAvatarApplyAdapter", "adapter", adapter.name)
    return prompt


def test_an_adapter_of_no_bytes_is_refused(refused, adapter_prompt, adapter):
    adapter.touch()
    assert re.search(r"made_by_a_test\.safetensors is empty .*: download it again", refused(adapter_prompt))


def test_half_an_adapter_is_refused(refused, adapter_prompt, adapter):
    whole = presets.TINY_ADAPTER.read_bytes()
    adapter.write_bytes(whole[: len(whole) // 2])
    assert re.search(r"made_by_a_test\.safetensors is not a whole .*: download it again", refused(adapter_prompt))


def test_a_pickle_is_refused_without_being_opened(refused, adapter_prompt, adapter, tmp_path):
    torch.save({"harm": OpensAFile(tmp_path / "opened")}, adapter)
    assert re.search(r"made_by_a_test\.safetensors is a pickle.*: use a \.safetensors file", refused(adapter_prompt))
    assert not (tmp_path / "opened").exists()


class OpensAFile:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_another_kind_of_safetensors_file_is_refused(refused, adapter_prompt, adapter):
    adapter.write_bytes(presets.TINY_VAE.read_bytes())
    assert re.search("is not an ApoAvatar adapter .*: choose an adapter file", refused(adapter_prompt))


def test_an_adapter_for_another_model_is_refused_with_both_sizes(refused, adapter_prompt, adapter):
    config = AdapterConfig(
        backbone_dim=64, backbone_layers=2, backbone_in_channels=36, heads=2, audio_encoder="log_mel_40",
        audio_feature_dim=40, audio_dim=32, tokens_per_frame=2, pose_channels=8, fps=24.0, window=49,
    )  # fmt: skip
    save_adapter(adapter, ApoAvatarAdapter(config))
    trained_for = read_adapter(presets.TINY_ADAPTER)[0]
    message = refused(adapter_prompt)
    assert "width 64, 2 blocks and 36 input channels" in message
    assert f"width {trained_for.backbone_dim}, {trained_for.backbone_layers} blocks" in message
    assert "choose the model that belongs to the adapter" in message


# Size and length


def test_a_length_that_is_not_4n_plus_1_is_rounded_and_said(comfy_server, text_prompt):
    workflow.set_input(text_prompt, "ApoAvatarConditioning", "length", 6)
    entry = comfy_server.queue(text_prompt)
    assert video_size(comfy_server, entry)[0] == 5
    assert said_by(entry, "ApoAvatarConditioning") == "length 6 is not 4n+1: 5 frames are made."
    (title,) = (node["_meta"]["title"] for node in workflow.nodes_of(text_prompt, "ApoAvatarConditioning"))
    assert demo.sentences(entry, text_prompt) == [f"{title}: length 6 is not 4n+1: 5 frames are made."]


def test_a_length_of_0_is_the_voices(comfy_server, text_prompt, tmp_path):
    wavfile.write(tmp_path / "short.wav", 16_000, np.zeros(int(0.3 * 16_000), np.float32))
    workflow.set_input(text_prompt, "LoadAudio", "audio", comfy_server.upload(tmp_path / "short.wav"))
    workflow.set_input(text_prompt, "ApoAvatarConditioning", "length", 0)
    entry = comfy_server.queue(text_prompt)
    # 0.3 s at 24 fps are 7.2 frames, and 9 = 4n + 1.
    assert video_size(comfy_server, entry)[0] == 9


def test_a_width_that_fills_no_whole_tokens_is_refused_with_its_neighbours(refused, text_prompt):
    workflow.set_input(text_prompt, "ApoAvatarConditioning", "width", 130)
    assert re.search("width 130 is not a multiple of 16: use 128 or 144", refused(text_prompt))


def test_a_clip_longer_than_the_model_was_trained_on_is_refused(refused, text_prompt):
    window = read_adapter(presets.TINY_ADAPTER)[0].window
    workflow.set_input(text_prompt, "ApoAvatarConditioning", "length", window + 8)
    message = refused(text_prompt)
    assert f"{window + 8} frames but this adapter was trained on {window}" in message
    assert "shorten it or add a Context Windows node" in message


def test_a_portrait_of_another_shape_is_cropped(comfy_server, prompt_of, tmp_path):
    cv2.imwrite(str(tmp_path / "tall.png"), np.full((500, 300, 3), 128, np.uint8))
    prompt = prompt_of("tiny_image_audio")
    workflow.set_input(prompt, "LoadImage", "image", comfy_server.upload(tmp_path / "tall.png"))
    assert video_size(comfy_server, comfy_server.queue(prompt)) == (SHORT, 128, 128)


# Pose


def test_a_pose_that_is_too_long_is_cut_and_said(comfy_server, pose_prompt):
    entry = comfy_server.queue(pose_prompt)
    assert video_size(comfy_server, entry)[0] == SHORT
    assert said_by(entry, "ApoAvatarConditioning") == "The pose has 49 frames for a clip of 5: the rest is left out."


def test_a_pose_that_is_too_short_is_held_and_said(comfy_server, pose_prompt):
    (conditioning,) = workflow.nodes_of(pose_prompt, "ApoAvatarConditioning")
    frames = {"image": [components_of_pose(pose_prompt), 0], "batch_index": 0, "length": 3}
    pose_prompt["first frames"] = {"class_type": "ImageFromBatch", "inputs": frames}
    conditioning["inputs"]["pose_mode.pose"] = ["first frames", 0]
    entry = comfy_server.queue(pose_prompt)
    assert video_size(comfy_server, entry)[0] == SHORT
    assert said_by(entry, "ApoAvatarConditioning") == "The pose has 3 frames for a clip of 5: its last frame is held."


@pytest.mark.parametrize(("mode", "missing"), [("refocused", "gate"), ("refocused", "pose"), ("hard", "pose")])
def test_what_a_pose_mode_needs_is_named_before_anything_runs(comfy_server, pose_prompt, mode, missing):
    del workflow.nodes_of(pose_prompt, "ApoAvatarConditioning")[0]["inputs"][f"pose_mode.{missing}"]
    workflow.set_input(pose_prompt, "ApoAvatarConditioning", "pose_mode", mode)
    with pytest.raises(WorkflowError, match=rf"ApoAvatarConditioning .*Required input is missing: {missing}"):
        comfy_server.submit(pose_prompt)


def test_going_on_needs_the_film_so_far(comfy_server, text_prompt):
    workflow.set_input(text_prompt, "ApoAvatarConditioning", "continue_from", "previous_frames")
    with pytest.raises(WorkflowError, match=r"Required input is missing: previous_frames"):
        comfy_server.submit(text_prompt)


@pytest.mark.parametrize(
    ("mode", "left"), [("hard", ["pose", "pose_end_percent", "pose_fps", "pose_start_percent", "pose_strength"]), ("pose_free", [])]
)
def test_another_pose_mode_leaves_out_what_it_has_no_use_for(comfy_server, definitions, pose_prompt, mode, left):
    workflow.choose(pose_prompt, definitions, "ApoAvatarConditioning", "pose_mode", mode)
    (conditioning,) = workflow.nodes_of(pose_prompt, "ApoAvatarConditioning")
    found = (name.partition(".") for name in conditioning["inputs"])
    assert sorted(name for mode, dot, name in found if mode == "pose_mode" and dot) == left
    assert video_size(comfy_server, comfy_server.queue(pose_prompt))[0] == SHORT


def test_a_gate_for_a_shorter_clip_is_refused(refused, pose_prompt):
    workflow.set_input(pose_prompt, "ApoAvatarLoudnessRefocusing", "frames", 1)
    assert re.search("gate has 1 frames but the clip has 5: set frames to 0", refused(pose_prompt))
