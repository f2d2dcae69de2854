"""Load OpenPose JSON, Pose Track, Retarget Pose and Render Pose, beside ComfyUI's own nodes for poses."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from apoavatar_core.pose import PersonKeypoints, from_frame, to_frame
from apoavatar_core.synthetic import frame_keypoints, sample_identity, speech_motion

WRIST = 4


@pytest.fixture(scope="module")
def node(comfy):
    import nodes

    return lambda node_id: nodes.NODE_CLASS_MAPPINGS[node_id]


@contextmanager
def folder_at(kind: str, path: Path):
    """ComfyUI's input, output or temp folder elsewhere for a while."""
    import folder_paths

    before = getattr(folder_paths, f"get_{kind}_directory")()
    put = getattr(folder_paths, f"set_{kind}_directory")
    put(str(path))
    yield path
    put(before)


@pytest.fixture
def input_folder(comfy, tmp_path):
    with folder_at("input", tmp_path) as folder:
        yield folder


@pytest.fixture
def temp_folder(comfy, tmp_path):
    with folder_at("temp", tmp_path) as folder:
        yield folder


def film(frames: int, seed: int = 0, size: int = 256) -> list[dict]:
    """POSE_KEYPOINT of a presenter who speaks."""
    rng = np.random.default_rng(seed)
    identity = sample_identity(rng)
    motion = speech_motion(0.3 * np.sin(np.arange(16_000 * 2) * 0.1, dtype=np.float32), frames, 24, identity, rng)
    return [frame_keypoints(identity, motion, t, size) for t in range(frames)]


def scattered(seed: int) -> PersonKeypoints:
    """A person whose points lie about at random, parts of it in reach of each other, some hardly seen."""
    rng = np.random.default_rng(seed)
    points = np.zeros((130, 3))
    points[:18, :2] = rng.uniform(0.2, 0.8, 2) + rng.uniform(-0.25, 0.25, (18, 2))
    for part, carrier in ((slice(18, 39), 7), (slice(39, 60), 4), (slice(60, 130), 0)):
        points[part, :2] = points[carrier, :2] + rng.uniform(-0.07, 0.07, (part.stop - part.start, 2))
    points[:, 2] = rng.uniform(0.1, 1, 130)
    return PersonKeypoints.from_points(points)


def test_sdposes_style_is_what_comfyuis_node_draws(node) -> None:
    from comfy_extras.nodes_sdpose import SDPoseDrawKeypoints

    pose = [to_frame(scattered(seed), 832, 480) for seed in range(50)]
    (theirs,) = SDPoseDrawKeypoints.execute(pose, True, True, True, False, 4, 3, 0.3, True).result
    (ours,) = node("ApoAvatarRenderPose").execute(pose, 0, 0, "sdpose").result
    same = (ours == theirs.to(ours)).all(-1)
    assert same.flatten(1).float().mean(1).min() >= 0.99
    drawn = ours.any(-1) | theirs.any(-1)
    assert same[drawn].float().mean() >= 0.95


def test_a_pose_is_drawn_over_the_portrait(node) -> None:
    pose, portrait = film(2), torch.full((1, 64, 96, 3), 0.5)
    render = node("ApoAvatarRenderPose").execute
    plain, over = (render(pose, 128, 128, "apoavatar", background).result[0] for background in (None, portrait))
    assert over.shape == (2, 128, 128, 3)
    black = ~plain.any(-1)
    assert black.any() and torch.allclose(over[black], torch.tensor(0.5), atol=1e-3)
    bright = plain.amax(-1) == 1
    assert bright.any() and torch.equal(over[bright], plain[bright])


def test_files_of_openpose_in_any_layout_become_a_pose(node, input_folder) -> None:
    pose = film(12)
    (input_folder / "list.json").write_text(json.dumps(pose))
    (input_folder / "frame.json").write_text(json.dumps(pose[0]))
    folder = input_folder / "dance"
    folder.mkdir()
    for t, frame in enumerate(pose):
        (folder / f"dance_{t}_keypoints.json").write_text(json.dumps({"version": 1.3, "people": frame["people"]}))
    (input_folder / "note.txt").write_text("no keypoints")
    load = node("ApoAvatarLoadOpenPose")
    assert load.define_schema().inputs[0].options == ["frame.json", "list.json", "dance"]
    assert load.execute("list.json").result[0] == pose and load.execute("frame.json").result[0] == pose[:1]
    (frames,) = load.execute("dance", 256, 256).result
    assert [from_frame(frame).body[WRIST].tolist() for frame in frames] == [from_frame(f).body[WRIST].tolist() for f in pose]
    with pytest.raises(ValueError, match="name the size in Load OpenPose JSON"):
        load.execute("dance")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("broken.json", "{", "cannot be read as JSON"),
        ("other.json", '{"nodes": []}', "holds no OpenPose frames"),
        ("number.json", "3", "holds no OpenPose frames"),
        ("empty.json", "[]", "has no frames"),
        ("../outside.json", None, "Invalid file path"),
        ("missing.json", None, "There is no file or folder missing.json"),
    ],
)
def test_what_is_no_file_of_keypoints_is_refused(node, input_folder, name, content, sentence) -> None:
    (input_folder.parent / "outside.json").write_text("[]")
    if content is not None:
        (input_folder / name).write_text(content)
    with pytest.raises(ValueError, match=sentence):
        node("ApoAvatarLoadOpenPose").execute(name)


def test_a_changed_file_is_read_again(node, input_folder) -> None:
    prints = []
    for frames in (1, 2):
        (input_folder / "list.json").write_text(json.dumps(film(frames)))
        prints.append(node("ApoAvatarLoadOpenPose").fingerprint_inputs("list.json"))
    assert prints[0] != prints[1]


def test_the_player_on_render_pose_colours_each_frame_by_its_gate(node, pack, temp_folder) -> None:
    """Over the portrait, in the gate's time; the pictures that go on are those without a gate."""
    keep = np.float32([0, 1, 0.5])
    gate = pack("apoavatar_core.refocusing").Gate(keep, keep, 1 - keep, fps=12.0)
    pose, portrait = film(1) * 4, torch.full((1, 400, 400, 3), 0.2)
    render = node("ApoAvatarRenderPose").execute
    plain, shown = (render(pose, 400, 400, background=portrait, **more) for more in ({}, {"gate": gate}))
    torch.testing.assert_close(shown.result[0], plain.result[0])

    def played(output) -> tuple[np.ndarray, float]:
        (file,) = output.ui["images"]
        with av.open(str(temp_folder / file["subfolder"] / file["filename"])) as container:
            rate = float(container.streams.video[0].average_rate)
            return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]) / 255, rate

    found, rate = played(shown)
    assert found.shape == (4, 320, 320, 3) and rate == 12 and "images" not in plain.ui
    np.testing.assert_allclose(np.median(found, (1, 2)), 0.2, atol=0.03)
    drawn = np.abs(found - 0.2).max(-1) > 0.2
    red_over_blue = [float((picture[there, 0] - picture[there, 2]).mean()) for picture, there in zip(found, drawn)]
    assert red_over_blue[0] < -0.05 and red_over_blue[1] > 0.3 and abs(red_over_blue[2] - np.mean(red_over_blue[:2])) < 0.1
    assert red_over_blue[3] == pytest.approx(red_over_blue[2], abs=0.03)  # the last weight is held


def test_a_film_of_48_frames_a_second_keeps_its_time(node) -> None:
    slow, fast = film(24), [frame for frame in film(24) for _ in range(2)]
    track = node("ApoAvatarPoseTrack").execute
    pose, length = track(fast, 48.0, 24.0, 0, 0.0, "loop", 0.0, 0).result
    assert length == len(pose) == 24
    for found, expected in zip(pose, slow):
        np.testing.assert_allclose(from_frame(found).points, from_frame(expected).points, atol=1e-5)
    gap = [*slow[:10], {"people": []}, *slow[11:]]
    out = track(gap, 24.0, 24.0, 60, 0.0, "loop", 0.3, 0)
    assert out.result[1] == 60 and all(frame["people"] for frame in out.result[0])
    assert "nobody was found" in str(out.ui) and "it is looped" in str(out.ui)


def test_movements_are_put_on_the_portraits_picture(node) -> None:
    theirs, portrait = film(12, seed=1), film(1, seed=2, size=128)
    (pose,) = node("ApoAvatarRetargetPose").execute(theirs, portrait[0]).result
    assert len(pose) == 12 and (pose[0]["canvas_width"], pose[0]["canvas_height"]) == (128, 128)
    placed, own = from_frame(pose[0]), from_frame(portrait[0])
    np.testing.assert_allclose(placed.body[[1, 2, 5], :2], own.body[[1, 2, 5], :2], atol=0.02)
    with pytest.raises(ValueError, match="portrait's pose shows nobody"):
        node("ApoAvatarRetargetPose").execute(theirs, [None])


def test_inputs_and_outputs_of_the_pose_nodes_say_what_they_are_for(node) -> None:
    for name in ("LoadOpenPose", "PoseTrack", "RetargetPose", "RenderPose"):
        schema = node(f"ApoAvatar{name}").define_schema()
        assert schema.search_aliases and all(one.tooltip for one in (*schema.inputs, *schema.outputs)), name


def test_a_long_player_skips_frames_and_lasts_as_long(pack, temp_folder) -> None:
    frames = torch.linspace(0, 1, 961).view(-1, 1, 1, 1).expand(-1, 16, 640, 3)
    (file,) = pack("apoavatar_core.comfyui.player").player(frames, 24.0)["images"]
    with av.open(str(temp_folder / file["subfolder"] / file["filename"])) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert (container.streams.video[0].average_rate, shown[0].shape[:2]) == (8, (8, 320))
    assert [picture.mean() / 255 for picture in shown] == pytest.approx(np.linspace(0, 1, 321), abs=0.03)
