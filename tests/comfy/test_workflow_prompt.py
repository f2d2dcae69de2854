"""Saved workflows become API prompts that the real ComfyUI takes, checked against its own nodes."""
import io
import wave
from pathlib import Path

import av
import pytest

from devtools import workflow
from devtools.errors import WorkflowError

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"


def node(node_id, node_type, values=(), inputs=(), outputs=(), mode=0, title=None):
    """A node as the page saves it: `inputs` are (name, type, link)."""
    saved = {
        "id": node_id,
        "type": node_type,
        "mode": mode,
        "inputs": [{"name": name, "type": kind, "link": link} for name, kind, link in inputs],
        "outputs": [{"name": kind, "type": kind, "links": []} for kind in outputs],
        "widgets_values": values if isinstance(values, dict) else list(values),
    }
    if title:
        saved["title"] = title
    return saved


def video_workflow(audio_file="voice.wav"):
    """A red image, five times, with a voice, as a video."""
    return {
        "nodes": [
            node(1, "EmptyImage", [64, 48, 5, 0xFF0000], outputs=["IMAGE"]),
            node(2, "LoadAudio", [audio_file, None, ""], outputs=["AUDIO"]),
            node(3, "CreateVideo", [8], [("images", "IMAGE", 1), ("audio", "AUDIO", 2)], ["VIDEO"]),
            node(4, "SaveVideo", ["test", "mp4", "h264", "re-encode", 20], [("video", "VIDEO", 3)], title="Film"),
            node(5, "MarkdownNote", ["explains"]),
        ],
        "links": [[1, 1, 0, 3, 0, "IMAGE"], [2, 2, 0, 3, 1, "AUDIO"], [3, 3, 0, 4, 0, "VIDEO"]],
    }


@pytest.fixture
def voice(tmp_path):
    path = tmp_path / "voice.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", "none"))
        file.writeframes(b"\0\1" * 10000)
    return path


def test_workflow_runs_on_the_real_server(comfy_server, object_info, voice):
    prompt = workflow.to_prompt(video_workflow(comfy_server.upload(voice)), object_info)
    entry = comfy_server.queue(prompt)
    (file,) = comfy_server.output_files(entry)
    with av.open(io.BytesIO(comfy_server.fetch(file))) as container:
        assert sum(1 for _ in container.decode(video=0)) == 5
        assert container.streams.video[0].average_rate == 8
        assert len(container.streams.audio) == 1


def test_values_go_to_the_inputs_they_belong_to(object_info):
    prompt = workflow.to_prompt(video_workflow(), object_info)
    assert prompt["2"]["inputs"] == {"audio": "voice.wav"}
    assert prompt["3"]["inputs"]["fps"] == 8
    assert prompt["3"]["inputs"]["images"] == ["1", 0]
    assert prompt["4"]["_meta"] == {"title": "Film"}
    assert prompt["4"]["inputs"] == {
        "video": ["3", 0],
        "filename_prefix": "test",
        "format": "mp4",
        "codec": "h264",
        "codec.encoding": "re-encode",
        "codec.encoding.crf": 20,
    }
    assert "5" not in prompt


def test_page_only_values_are_skipped(object_info):
    """The control after a seed and the button after an upload are widgets of the page, not inputs."""
    saved = {
        "nodes": [
            node(1, "KSampler", [7, "randomize", 20, 8, "euler", "simple", 1]),
            node(2, "RandomNoise", [11, "fixed"]),
            node(3, "LoadImage", ["face.png", "image"]),
        ],
        "links": [],
    }
    prompt = workflow.to_prompt(saved, object_info)
    assert prompt["1"]["inputs"] == {
        "seed": 7, "steps": 20, "cfg": 8, "sampler_name": "euler", "scheduler": "simple", "denoise": 1,
    }  # fmt: skip
    assert prompt["2"]["inputs"] == {"noise_seed": 11}
    assert prompt["3"]["inputs"] == {"image": "face.png"}


def test_sockets_and_values_of_a_chosen_mode_go_by_its_name(object_info):
    """As the page saves ApoAvatar Conditioning with a pose and earlier frames."""
    sockets = [("pose_mode.pose", "POSE_KEYPOINT,IMAGE", 1), ("continue_from.previous_frames", "IMAGE", 2)]
    saved = {
        "nodes": [
            node(1, "EmptyImage", [64, 64, 1, 0], outputs=["IMAGE"]),
            node(2, "ApoAvatarConditioning", [64, 48, 9, 25, "hard", 0.5, 0, 0.75, 30, "previous_frames", 5], sockets),
        ],
        "links": [[1, 1, 0, 2, 0, "IMAGE"], [2, 1, 0, 2, 1, "IMAGE"]],
    }
    assert workflow.to_prompt(saved, object_info)["2"]["inputs"] == {
        "width": 64, "height": 48, "length": 9, "fps": 25, "pose_mode": "hard", "pose_mode.pose": ["1", 0],
        "pose_mode.pose_strength": 0.5, "pose_mode.pose_start_percent": 0, "pose_mode.pose_end_percent": 0.75, "pose_mode.pose_fps": 30,
        "continue_from": "previous_frames", "continue_from.motion_frames": 5, "continue_from.previous_frames": ["1", 0],
        "fit": "keep person", "pose_when_short": "hold",
    }  # fmt: skip


def test_values_of_a_prompt_go_back_into_its_workflow(object_info):
    """Past what only the page has, into a choice's own widgets, and neither over links nor where the workflow keeps nothing."""
    saved = video_workflow()
    saved["nodes"] += [node(6, "KSampler", [7, "randomize", 20, 8, "euler", "simple", 1]), node(7, "EmptyImage", [64])]
    prompt = workflow.to_prompt(saved, object_info)
    prompt["6"]["inputs"].update(seed=9, steps=4)
    prompt["4"]["inputs"]["codec.encoding.crf"] = 3
    prompt["7"]["inputs"].update(width=32, height=32)
    workflow.keep_values(saved, prompt, object_info)
    kept = {node["id"]: node["widgets_values"] for node in saved["nodes"]}
    assert kept[6] == [9, "randomize", 4, 8, "euler", "simple", 1] and kept[7] == [32]
    assert kept[4] == ["test", "mp4", "h264", "re-encode", 3]


def test_a_loader_of_ones_own_stands_beside_the_graph_and_feeds_the_example(object_info):
    saved = workflow.load(WORKFLOWS / "ApoAvatar gestures of a pose video - tiny model.json")
    nodes = len(saved["nodes"])
    for name, file in (("portrait", "me.png"), ("voice", "me.wav"), ("pose", "me.mp4")):
        workflow.connect_own(saved, name, file)
    prompt = workflow.to_prompt(saved, object_info)
    (example,) = workflow.nodes_of(prompt, "ApoAvatarExample")
    fed = {name: prompt[link[0]] for name, link in example["inputs"].items()}
    assert {name: (loader["class_type"], *loader["inputs"].values()) for name, loader in fed.items()} == {
        "portrait": ("LoadImage", "me.png"), "voice": ("LoadAudio", "me.wav"), "pose": ("LoadVideo", "me.mp4"),
    }  # fmt: skip
    boxes = [(x, y - 30, x + width, y + height) for (x, y), (width, height) in ((n["pos"], n["size"]) for n in saved["nodes"])]
    for place in range(nodes, nodes + 3):
        left, top, right, bottom = boxes[place]
        others = boxes[:place] + boxes[place + 1 :]
        assert not [o for o in others if max(left, o[0]) < min(right, o[2]) and max(top, o[1]) < min(bottom, o[3])]
    with pytest.raises(WorkflowError, match="no ApoAvatarExample"):
        workflow.connect_own({"nodes": []}, "portrait", "me.png")


def test_inputs_newer_than_the_workflow_get_their_defaults(object_info):
    prompt = workflow.to_prompt({"nodes": [node(1, "EmptyImage", [64])], "links": []}, object_info)
    assert prompt["1"]["inputs"] == {"width": 64, "height": 512, "batch_size": 1, "color": 0}


def test_values_saved_by_name_are_taken_by_name(object_info):
    saved = {"nodes": [node(1, "EmptyImage", {"height": 48, "width": 64, "page": "only"})], "links": []}
    assert workflow.to_prompt(saved, object_info)["1"]["inputs"] == {"height": 48, "width": 64}


def test_links_may_be_saved_as_objects_and_override_a_widget(object_info):
    saved = {
        "nodes": [
            node(1, "PrimitiveInt", [48, "fixed"], outputs=["INT"]),
            node(2, "EmptyImage", [512, 512, 1, 0], [("width", "INT", 9)]),
        ],
        "links": [{"id": 9, "origin_id": 1, "origin_slot": 0, "target_id": 2, "target_slot": 0, "type": "INT"}],
    }
    prompt = workflow.to_prompt(saved, object_info)
    assert prompt["2"]["inputs"]["width"] == ["1", 0]
    workflow.set_input(prompt, "EmptyImage", "width", 80)
    assert prompt["1"]["inputs"] == {"value": 80}
    assert workflow.get_input(prompt, "EmptyImage", "width") == 80


@pytest.mark.parametrize(("mode", "origin"), [(0, ["2", 0]), (workflow.BYPASSED, ["1", 0]), (workflow.MUTED, None)])
def test_bypassed_nodes_pass_on_and_muted_ones_do_not(object_info, mode, origin):
    saved = {
        "nodes": [
            node(1, "EmptyImage", [64, 64, 1, 0], outputs=["IMAGE"]),
            node(2, "ImageInvert", [], [("image", "IMAGE", 1)], ["IMAGE"], mode),
            node(3, "PreviewImage", [], [("images", "IMAGE", 2)]),
        ],
        "links": [[1, 1, 0, 2, 0, "IMAGE"], [2, 2, 0, 3, 0, "IMAGE"]],
    }
    prompt = workflow.to_prompt(saved, object_info)
    assert prompt["3"]["inputs"].get("images") == origin
    assert ("2" in prompt) == (mode == 0)


def test_workflow_with_a_missing_node_or_too_many_values_is_refused(object_info):
    with pytest.raises(WorkflowError, match="has no node NoSuchNode"):
        workflow.to_prompt({"nodes": [node(1, "NoSuchNode")], "links": []}, object_info)
    with pytest.raises(WorkflowError, match="1 values more than inputs"):
        workflow.to_prompt({"nodes": [node(1, "EmptyImage", [64, 64, 1, 0, "odd"])], "links": []}, object_info)


def test_refused_and_failed_prompts_name_the_node(comfy_server, object_info, tmp_path):
    with pytest.raises(WorkflowError, match=r"LoadAudio \(node 2\).*nowhere\.wav"):
        comfy_server.queue(workflow.to_prompt(video_workflow("nowhere.wav"), object_info))
    broken = tmp_path / "broken.png"
    broken.write_text("no image")
    saved = {
        "nodes": [
            node(1, "LoadImage", [comfy_server.upload(broken), "image"], outputs=["IMAGE", "MASK"]),
            node(2, "PreviewImage", [], [("images", "IMAGE", 1)]),
        ],
        "links": [[1, 1, 0, 2, 0, "IMAGE"]],
    }
    with pytest.raises(WorkflowError, match=r"LoadImage.*broken\.png"):
        comfy_server.queue(workflow.to_prompt(saved, object_info))


@pytest.mark.parametrize(
    ("mode", "left"), [("hard", ["pose", "pose_end_percent", "pose_fps", "pose_start_percent", "pose_strength"]), ("pose_free", [])]
)
def test_another_choice_leaves_out_what_it_has_no_use_for(object_info, mode, left):
    saved = workflow.load(WORKFLOWS / "ApoAvatar gestures of a pose video - tiny model.json")
    prompt = workflow.to_prompt(saved, object_info)
    workflow.choose(prompt, object_info, "ApoAvatarConditioning", "pose_mode", mode)
    (conditioning,) = workflow.nodes_of(prompt, "ApoAvatarConditioning")
    found = (name.partition(".") for name in conditioning["inputs"])
    assert sorted(name for of, dot, name in found if of == "pose_mode" and dot) == left
