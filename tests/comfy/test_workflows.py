"""The workflows that ship with the pack, run by the real server: what they make, and that they can be watched and stopped."""
import asyncio
import io
import json
import shutil
from pathlib import Path

import aiohttp
import av
import cv2
import numpy as np
import pytest
import torch

from apoavatar_core.checkpoints.presets import MEDIAPIPE
from apoavatar_core.conditioning.cropping import KEEP_PERSON, crop_for
from devtools import demo, workflow
from devtools.errors import WorkflowError

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
NAMES = sorted(path.stem for path in WORKFLOWS.glob("*.json"))
TINY = [name for name in NAMES if name.endswith("tiny model")]
"""Those whose models are in the repository."""
PREVIEWED = {
    "ApoAvatar gestures from voice - skeleton on a portrait": (49, 24),
    "ApoAvatar gestures of a film - skeleton on a portrait": (49, 24),
    "ApoAvatar Wan InfiniteTalk gestures from voice": (81, 25),
    "ApoAvatar Wan S2V gestures from voice": (77, 16),
}
"""Those that show what the body will do, without a model that draws: frames and frame rate of what is shown."""
PORTRAIT = "ApoAvatar talking avatar from a portrait - tiny model"
TEXT = "ApoAvatar talking avatar from text - tiny model"
NATIVE = "ApoAvatar talking avatar with native nodes - tiny model"
SAMPLERS = ("ApoAvatarSampler", "KSampler", "ApoAvatarLongVideo")
WITH_STEPS = ("ApoAvatarSampler", "KSampler", "BasicScheduler")
FRAMES, SIDE, FPS = 49, 128, 24
"""As the tiny workflows are saved."""
WHOLE = PORTRAIT
"""The one that runs as long and as large as it is saved; the decoder takes a sixteenth of the time for the others."""
SHORT, SMALL = 13, 64


@pytest.fixture(scope="module")
def prompt_of(comfy_server, object_info):
    """The API prompt of a workflow of this pack, with few steps, small if it shall last only so many seconds, and with a portrait
    of one's own if one is given.
    """

    def prompt_of(name: str, steps: int = 2, seconds: float | None = None, portrait: Path | None = None) -> dict:
        saved = workflow.load(WORKFLOWS / f"{name}.json")
        if portrait:
            workflow.connect_own(saved, "portrait", comfy_server.upload(portrait))
        prompt = workflow.to_prompt(saved, object_info)
        (counting,) = (node for node in prompt.values() if node["class_type"] in WITH_STEPS)
        counting["inputs"]["steps"] = steps
        if seconds:
            demo.set_seconds(prompt, seconds)
            for side in ("width", "height"):
                assert workflow.get_input(prompt, "ApoAvatarConditioning", side) == SIDE
                workflow.set_input(prompt, "ApoAvatarConditioning", side, SMALL)
        return prompt

    return prompt_of


def sampler_in(prompt: dict) -> str:
    (sampler,) = (node_id for node_id, node in prompt.items() if node["class_type"] in SAMPLERS)
    return sampler


def video_of(server, entry: dict) -> bytes:
    (file,) = server.output_files(entry)
    return server.fetch(file)


def frames_of(video: bytes) -> np.ndarray:
    """Uint8 [T, H, W, 3]."""
    with av.open(io.BytesIO(video)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def sound_of(video: bytes) -> tuple[np.ndarray, int]:
    """Samples [C, S] and their rate."""
    with av.open(io.BytesIO(video)) as container:
        rate = container.streams.audio[0].rate
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1), rate


def freshly_run(entry: dict) -> set[str]:
    """The nodes that took part in a run without being taken from the server's cache."""
    messages = dict(entry["status"]["messages"])
    return set(entry["prompt"][2]) - set(messages["execution_cached"]["nodes"])


def test_all_workflows_are_there_with_their_thumbnails():
    assert TINY == [
        "ApoAvatar gestures in a long video - tiny model",
        "ApoAvatar gestures of a film - tiny model",
        "ApoAvatar gestures of a pose video - tiny model",
        PORTRAIT,
        TEXT,
        "ApoAvatar talking avatar in a long video - tiny model",
        NATIVE,
    ]
    assert sorted({*NAMES} - {*TINY}) == sorted({f"{PORTRAIT}.app", *PREVIEWED, *WITH_OTHERS_MODELS})
    for name in NAMES:
        assert (WORKFLOWS / f"{name}.jpg").is_file()


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_keeps_every_input_of_its_nodes(object_info, name):
    """Of those that a node has got since, the page would make up the value."""
    for node in workflow.load(WORKFLOWS / f"{name}.json")["nodes"]:
        if node["type"] not in workflow.NOTES:
            declared = [input_name for input_name, _ in workflow.declared_inputs(object_info[node["type"]]["input"])]
            assert [one for one in declared if one not in {socket["name"] for socket in node["inputs"]}] == [], node["title"]
            unknown = [widget for widget, (place, _) in workflow.widgets_of(node, object_info[node["type"]]).items() if place is None]
            assert unknown == [], node["title"]


def test_what_needs_a_download_comes_last_in_the_template_browser():
    by_name = sorted(NAMES, key=str.casefold)
    assert {*by_name[-len(WITH_OTHERS_MODELS) :]} == {*WITH_OTHERS_MODELS}


WITH_OTHERS_MODELS = {
    "ApoAvatar Wan InfiniteTalk lip sync in 40 steps": 6,
    "ApoAvatar Wan InfiniteTalk lip sync in 4 steps": 7,
    "ApoAvatar Wan InfiniteTalk long talking video": 7,
    "ApoAvatar Wan UniAnimate gestures of a film": 8,
    "ApoAvatar Wan InfiniteTalk gestures from voice": 8,
    "ApoAvatar Wan S2V gestures from voice": 4,
    "ApoAvatar Wan with your own adapter": 4,
}
"""Workflows whose models are not in the repository, and how many files ComfyUI shall offer for each."""


@pytest.mark.parametrize("name", WITH_OTHERS_MODELS)
def test_a_workflow_without_its_models_is_refused_with_every_file_named(comfy_server, object_info, name):
    saved = workflow.load(WORKFLOWS / f"{name}.json")
    with pytest.raises(WorkflowError) as refused:
        comfy_server.submit(workflow.to_prompt(saved, object_info))
    offered = {model["name"]: model for node in saved["nodes"] for model in node["properties"].get("models", [])}
    assert len(offered) == WITH_OTHERS_MODELS[name]
    readme = (WORKFLOWS.parent / "README.md").read_text(encoding="utf-8")
    for file, model in offered.items():
        assert model["url"].endswith("/" + file)
        assert f"| `{file}` | `{model['directory']}` |" in readme
    loaders = {value for node in saved["nodes"] for value in node["widgets_values"] if str(value).endswith(".safetensors")}
    adapters = adapters_of(saved)
    assert all(file in str(refused.value) for file in loaders - {MEDIAPIPE.name, *adapters[1:]}) and set(offered) <= loaders
    for adapter in adapters[:1]:
        assert f"{adapter} is not there: put it into models/apoavatar_adapters" in str(refused.value)


def adapters_of(saved: dict) -> list[str]:
    """What Apply ApoAvatar Adapter shall load, if it is there: the adapter, which is missed first, and the pose model."""
    return [value for node in saved["nodes"] if node["type"] == "ApoAvatarApplyAdapter" for value in node["widgets_values"]]


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_workflow_makes_a_video_with_the_voice(comfy_server, prompt_of, name):
    seconds, frames, side = (None, FRAMES, SIDE) if name == WHOLE else (SHORT / FPS, SHORT, SMALL)
    video = video_of(comfy_server, comfy_server.queue(prompt_of(name, seconds=seconds)))

    with av.open(io.BytesIO(video)) as container:
        picture = container.streams.video[0]
        assert picture.codec_context.name == "h264"
        assert picture.average_rate == FPS
        assert float(picture.duration * picture.time_base) == pytest.approx(frames / FPS, abs=0.001)
    assert frames_of(video).shape == (frames, side, side, 3)
    samples, rate = sound_of(video)
    assert samples.shape[1] / rate == pytest.approx(frames / FPS, abs=0.1)
    assert np.abs(samples).max() > 0.1


IN_THE_PORTRAITS_SHAPE = [name for name in WITH_OTHERS_MODELS if "adapter" not in name]


@pytest.mark.parametrize("shape", [(512, 512), (640, 400)], ids=["square", "upright"])
def test_no_hand_is_outside_of_wans_first_frame(pack, comfy_server, shape, tmp_path):
    """The portrait at the size that the workflow computes, cut as ApoAvatar Conditioning cuts it, is all of the portrait."""
    portrait = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    portrait = cv2.resize(portrait, shape[::-1], interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(tmp_path / f"{shape}.png"), portrait[..., ::-1])
    definitions, uploaded = comfy_server.object_info(), comfy_server.upload(tmp_path / f"{shape}.png")
    for name in IN_THE_PORTRAITS_SHAPE:
        saved = workflow.load(WORKFLOWS / f"{name}.json")
        workflow.connect_own(saved, "portrait", uploaded)
        prompt = workflow.to_prompt(saved, definitions)
        (clip,) = (node for node in prompt.values() if node["class_type"] in ("ApoAvatarConditioning", "WanSoundImageToVideo"))
        sides = {side: clip["inputs"][side] for side in ("width", "height")}
        needed = {number: prompt[number] for number in needed_by(prompt, [sides["width"][0]])}
        needed["size"] = {"class_type": "EmptyImage", "inputs": {**sides, "batch_size": 1, "color": 0}}
        needed["seen"] = {"class_type": "SaveImage", "inputs": {"images": ["size", 0], "filename_prefix": "size"}}
        (file,) = comfy_server.output_files(comfy_server.queue(needed))
        height, width = cv2.imdecode(np.frombuffer(comfy_server.fetch(file), np.uint8), cv2.IMREAD_COLOR).shape[:2]
        assert 0.9 < width * height / (832 * 480) < 1.1, "the pixels that 480p models were made for"
        crop = crop_for(shape[::-1], (width, height), KEEP_PERSON, None)
        (first,) = pack("apoavatar_core.comfyui.pictures").fitted(torch.from_numpy(portrait)[None] / 255, width, height, crop)
        whole = cv2.resize(portrait, (width, height), interpolation=cv2.INTER_AREA)
        assert np.abs(first.numpy() * 255 - whole).mean() < 3, name


def needed_by(prompt: dict, numbers: list[str]) -> set[str]:
    """The nodes with these numbers, and all that has to run before them."""
    found = set(numbers)
    for number in numbers:
        links = [value[0] for value in prompt[number]["inputs"].values() if isinstance(value, list)]
        found |= needed_by(prompt, links)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", PREVIEWED)
def test_what_the_body_will_do_is_seen_over_the_portrait_where_models_are_missing(comfy_server, object_info, name):
    prompt = workflow.to_prompt(workflow.load(WORKFLOWS / f"{name}.json"), object_info)
    workflow.set_input(prompt, "ImageScaleToTotalPixels", "megapixels", 256 * 256 / 1024**2)
    entry = comfy_server.queue(prompt, partly=True)
    assert any("apoavatar_gate" in output for output in entry["outputs"].values())
    video = video_of(comfy_server, entry)
    frames, (samples, rate) = frames_of(video), sound_of(video)
    length, fps = PREVIEWED[name]
    assert abs(len(frames) - length) <= 1 and samples.shape[1] / rate == pytest.approx(min(length / fps, 49 / 24), abs=0.1)
    portrait = cv2.cvtColor(cv2.imread(str(WORKFLOWS / "assets" / "presenter.png")), cv2.COLOR_BGR2RGB)
    height, width = frames.shape[1:3]
    shown = cv2.resize(portrait, (width, height), interpolation=cv2.INTER_AREA)
    changes = np.abs(frames.astype(int) - frames[0]).max((0, -1))
    assert np.abs(frames[0].astype(int) - shown)[: height // 16].mean() < 8, "the portrait is behind the skeleton"
    assert changes[: height // 16].max() < 40 < changes[height // 2 :].max(), "hands move and the wall does not"


@pytest.mark.slow
def test_a_workflow_leaves_nothing_behind_that_changes_another(comfy_server, prompt_of, tmp_path):
    alone = prompt_of(PORTRAIT, seconds=0.5)
    expected = frames_of(video_of(comfy_server, comfy_server.queue(alone)))
    comfy_server.queue(prompt_of(NATIVE, seconds=0.5))

    # From a file the same picture is new to the cache, which keeps the models that both runs then share.
    shutil.copy(WORKFLOWS / "assets" / "presenter.png", tmp_path / "same_presenter.png")
    again = prompt_of(PORTRAIT, seconds=0.5, portrait=tmp_path / "same_presenter.png")
    entry = comfy_server.queue(again)

    assert sampler_in(again) in freshly_run(entry)
    np.testing.assert_array_equal(frames_of(video_of(comfy_server, entry)), expected)


@pytest.mark.slow
def test_another_seed_makes_another_video(comfy_server, prompt_of):
    prompt = prompt_of(TEXT, seconds=0.5)
    first = frames_of(video_of(comfy_server, comfy_server.queue(prompt)))
    workflow.set_input(prompt, "ApoAvatarSampler", "seed", 1)
    second = frames_of(video_of(comfy_server, comfy_server.queue(prompt)))
    assert not np.array_equal(first, second)


async def events(socket: aiohttp.ClientWebSocketResponse, prompt_id: str):
    """(type, data) of each message about a prompt, until it has ended."""
    async for message in socket:
        if message.type != aiohttp.WSMsgType.TEXT:
            continue
        event = json.loads(message.data)
        if event["data"].get("prompt_id") == prompt_id:
            yield event["type"], event["data"]
            if event["type"] in ("execution_success", "execution_error", "execution_interrupted"):
                return


async def watch(server, prompt: dict, interrupt_at_step: int | None = None) -> tuple[str, list[tuple[int, int]]]:
    """Run a prompt with the websocket open: its id and the sampler's (step, steps) as they were told."""
    progress = []
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{server.url}/ws", params={"clientId": "watcher"}) as socket,
    ):
        prompt_id = await asyncio.to_thread(server.submit, prompt, "watcher")
        async for kind, data in events(socket, prompt_id):
            if kind == "progress" and data["node"] == sampler_in(prompt):
                progress.append((data["value"], data["max"]))
                if data["value"] == interrupt_at_step:
                    async with session.post(f"{server.url}/interrupt") as answer:
                        assert answer.status == 200
    return prompt_id, progress


@pytest.mark.slow
def test_every_step_is_told_on_the_websocket(comfy_server, prompt_of):
    # Larger than usual: the server tells nothing of a step that is followed at once by another.
    prompt = prompt_of(TEXT, steps=3, seconds=0.5)
    for side in ("width", "height"):
        workflow.set_input(prompt, "ApoAvatarConditioning", side, 192)
    prompt_id, progress = asyncio.run(watch(comfy_server, prompt))
    comfy_server.wait(prompt_id)
    assert [step for step in progress if step[0] > 0] == [(1, 3), (2, 3), (3, 3)]


PREVIEW = 1
"""Type of the websocket's binary messages that hold a picture; after it the picture's format and its file."""


async def previews_of(server, prompt: dict) -> list[np.ndarray]:
    """The pictures, uint8 [H, W, 3], that the page shows in the sampler while a prompt runs."""
    pictures = []
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{server.url}/ws", params={"clientId": "viewer"}) as socket,
    ):
        body = {"prompt": prompt, "client_id": "viewer", "extra_data": {"preview_method": "latent2rgb"}}
        await asyncio.to_thread(server.post, "/prompt", json.dumps(body).encode())
        async for message in socket:
            if message.type == aiohttp.WSMsgType.BINARY:
                assert int.from_bytes(message.data[:4], "big") == PREVIEW
                pictures.append(cv2.imdecode(np.frombuffer(message.data[8:], np.uint8), cv2.IMREAD_COLOR))
            elif json.loads(message.data)["type"] in ("execution_success", "execution_error"):
                return pictures


@pytest.mark.slow
def test_every_step_shows_a_preview(comfy_server, prompt_of):
    # A number of steps that no other test takes: the server shows nothing of a result that it has already.
    pictures = asyncio.run(previews_of(comfy_server, prompt_of(TEXT, steps=4, seconds=0.5)))
    assert len(pictures) == 4
    assert all(picture.ndim == 3 and picture.shape[0] == picture.shape[1] for picture in pictures)
    assert (pictures[0].astype(int) - pictures[-1]).std() > 5, "the picture must become clearer"


@pytest.mark.slow
def test_cancelling_stops_within_a_step_and_the_server_goes_on(comfy_server, prompt_of):
    # Larger than usual, so that a step takes much longer than a message.
    prompt = prompt_of(TEXT, steps=1000, seconds=0.5)
    for side in ("width", "height"):
        workflow.set_input(prompt, "ApoAvatarConditioning", side, 256)
    prompt_id, progress = asyncio.run(watch(comfy_server, prompt, interrupt_at_step=1))

    # The step that was running when it was told, and one whose message was already on its way.
    assert progress[-1][0] <= 3
    with pytest.raises(WorkflowError, match="interrupted"):
        comfy_server.wait(prompt_id)
    video = video_of(comfy_server, comfy_server.queue(prompt_of(TEXT, steps=1, seconds=0.5)))
    assert len(frames_of(video)) == 13
