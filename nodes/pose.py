"""Pose: from frames to keypoints, and from keypoints to the rendered frames that the pose adapter sees."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import folder_paths
import numpy as np
import torch
from comfy_api.latest import io

from ..apoavatar_core.checkpoints.presets import MEDIAPIPE, POSE_MODELS
from ..apoavatar_core.comfyui.pictures import fitted
from ..apoavatar_core.comfyui.player import player
from ..apoavatar_core.comfyui.pose_models import on_device, steps_shown
from ..apoavatar_core.pose import PoseModel, boxes_in, estimate, in_middle_of, persons, render_pose, to_frame
from ..apoavatar_core.pose.following import follow
from ..apoavatar_core.pose.mediapipe import Holistic
from ..apoavatar_core.pose.openpose_drawing import CONTROLNET_AUX, SDPOSE, draw_openpose
from ..apoavatar_core.pose.overlay import gate_coloured, laid_over
from .audio import GateType
from .choices import chosen
from .saying import saying

PoseKeypoint = io.Custom("POSE_KEYPOINT")

LARGEST, INDEX, NEAREST, WHOLE_PICTURE = "largest", "index", "nearest to a point", "whole picture"
"""Which person."""


def pose_model_files() -> list[str]:
    """The pose models there are; the one for real people first, as the default."""
    return sorted(folder_paths.get_filename_list(POSE_MODELS), key=lambda name: name != MEDIAPIPE.name)


def choice_of(person: dict) -> persons.Choice:
    """The rule that the input person stands for."""
    if person["person"] == INDEX:
        return persons.numbered(person["index"])
    if person["person"] == NEAREST:
        return persons.nearest((person["x"], person["y"]))
    return persons.largest


def boxes_found(model: PoseModel, frames: torch.Tensor, person: dict) -> np.ndarray | None:
    """The box in every frame of the person who is looked for; None where the model is to see the whole picture."""
    if person["person"] == WHOLE_PICTURE or not model.detect_every:
        return None
    show = steps_shown(len(frames))
    search = partial(
        persons.look, frames=frames, every=model.detect_every, progress=lambda looks: show(looks * model.detect_every),
    )
    if isinstance(model, Holistic):
        found = search(model.persons_in)
    else:
        with on_device(MEDIAPIPE) as detector:
            found = search(detector.persons_in)
    tracks = persons.followed(found)
    return persons.boxes_of(choice_of(person)(tracks), len(frames)) if tracks else None


def boxes_given(bboxes, frames: torch.Tensor, person: dict) -> np.ndarray:
    """The box in every frame of the person who is chosen among given ones."""
    tracks = persons.followed(boxes_in(bboxes, len(frames), frames.shape[2], frames.shape[1]))
    if not tracks:
        raise ValueError("bboxes has no box of a person inside the frames: connect others, or leave bboxes open.")
    return persons.boxes_of(choice_of(person)(tracks), len(frames))


def missing_persons(pose: list[dict]) -> list[str]:
    """What a user should know of frames without a person, if there are any.

    Raises:
        ValueError: when there are no others.
    """
    empty = [i for i, frame in enumerate(pose) if not frame["people"]]
    if len(empty) == len(pose):
        raise ValueError("No person was found in frames: choose frames that show one from the front, or another pose_model.")
    return [f"No person in {len(empty)} of {len(pose)} frames (the first is {empty[0]})."] if empty else []


class ExtractPose(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        fraction = {"default": 0.5, "min": 0.0, "max": 1.0, "step": 0.01}
        return io.Schema(
            node_id="ApoAvatarExtractPose",
            display_name="Extract Pose",
            category="ApoAvatar",
            has_intermediate_output=True,
            description="Find one person's body, hands and face in video frames.",
            search_aliases=["dwpose", "openpose", "sdpose", "mediapipe", "pose estimation", "keypoints"],
            inputs=[
                io.Image.Input("frames", tooltip="Consecutive pictures, for example from Get Video Components."),
                io.Combo.Input(
                    "pose_model",
                    options=pose_model_files(),
                    tooltip="mediapipe_holistic finds people; apoavatar_tiny_pose knows the tiny preset's presenter only. "
                    "models/apoavatar_pose takes DWPose, RTMPose or RTMW (.onnx) and Sapiens (TorchScript; CC-BY-NC 4.0: not "
                    "for commercial use).",
                ),
                io.DynamicCombo.Input(
                    "person",
                    options=[
                        io.DynamicCombo.Option(LARGEST, []),
                        io.DynamicCombo.Option(
                            INDEX, [io.Int.Input("index", default=0, min=0, max=99, tooltip="From the left, from 0.")]
                        ),
                        io.DynamicCombo.Option(
                            NEAREST,
                            [
                                io.Float.Input("x", **fraction, tooltip="0 is the left edge, 1 the right one."),
                                io.Float.Input("y", **fraction, tooltip="0 is the upper edge, 1 the lower one."),
                            ],
                        ),
                        io.DynamicCombo.Option(WHOLE_PICTURE, []),
                    ],
                    tooltip="Which of several persons is followed. whole picture: one person fills it; nobody is looked for.",
                ),
                io.BoundingBox.Input(
                    "bboxes", optional=True, force_input=True,
                    tooltip="Boxes of persons, for example from RT-DETR, instead of those that are found here.",
                ),
            ],
            outputs=[PoseKeypoint.Output(display_name="pose", tooltip="One frame of keypoints for each picture, in OpenPose form.")],
        )

    @classmethod
    def execute(cls, frames: torch.Tensor, pose_model: str, person: dict | None = None, bboxes=None) -> io.NodeOutput:
        person = chosen("person", person, (LARGEST, INDEX, NEAREST, WHOLE_PICTURE))
        frames = frames[..., :3]
        with on_device(Path(folder_paths.get_full_path_or_raise(POSE_MODELS, pose_model))) as model:
            boxes = boxes_found(model, frames, person) if bboxes is None else boxes_given(bboxes, frames, person)
            show = steps_shown(len(frames))
            people = estimate(model, frames, boxes=boxes, progress=lambda done, _: show(done))
        height, width = frames.shape[1:3]
        pose = [to_frame(found, width, height) for found in people]
        return io.NodeOutput(pose, ui=saying("Extract Pose", missing_persons(pose)))


STYLES = {
    "apoavatar": render_pose,
    "sdpose": partial(draw_openpose, style=SDPOSE),
    "controlnet_aux": partial(draw_openpose, style=CONTROLNET_AUX),
}

USUAL_FPS = 24.0
"""Of a gate that does not say its own."""


class RenderPose(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ApoAvatarRenderPose",
            display_name="Render Pose",
            category="ApoAvatar",
            description="Draw keypoints in OpenPose colours, on black or over the portrait.",
            search_aliases=["openpose", "draw pose", "skeleton", "dwpose", "pose overlay"],
            inputs=[
                PoseKeypoint.Input("pose", tooltip="Keypoints from Extract Pose, DWPose, SDPose or any node of this pack."),
                io.Int.Input(
                    "width", default=128, min=0, max=16384, step=16, tooltip="Of the pictures, in pixels; 0 for that of the pose."
                ),
                io.Int.Input(
                    "height", default=128, min=0, max=16384, step=16, tooltip="Of the pictures, in pixels; 0 for that of the pose."
                ),
                io.Combo.Input(
                    "style", options=list(STYLES), optional=True, default="apoavatar",
                    tooltip="apoavatar: smooth lines that grow with the picture, as the tiny preset was trained on. sdpose and "
                    "controlnet_aux: as those nodes draw, for models that were trained on theirs.",
                ),
                io.Image.Input("background", optional=True, tooltip="Pictures to draw over, for example the portrait; else black."),
                GateType.Input(
                    "gate", optional=True,
                    tooltip="From Audio Loudness Refocusing: plays the pose on the node, orange where the pose is kept, pale "
                    "where the body rests. The pictures stay as they are.",
                ),
            ],
            outputs=[io.Image.Output(tooltip="One picture for each frame of the pose.")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, pose, width: int, height: int, style: str = "apoavatar", background=None, gate=None) -> io.NodeOutput:
        followed = follow(pose)
        canvas = followed.canvas or (width or 512, height or 512)
        width, height = width or round(canvas[0]), height or round(canvas[1])
        people = [in_middle_of(person, canvas, width, height) for person in followed.people]
        skeletons = torch.from_numpy(STYLES[style](people, width, height)).float() / 255
        behind = torch.zeros(1, height, width, 3) if background is None else fitted(background, width, height)
        pictures = skeletons if background is None else laid_over(skeletons, behind)
        played = {} if gate is None else player(laid_over(gate_coloured(skeletons, gate.keep), behind), gate.fps or USUAL_FPS)
        lost = [f"Nobody is seen in {followed.lost} of {len(people)} frames."] if followed.lost else []
        said = saying("Render Pose", [*followed.sentences, *lost])
        return io.NodeOutput(pictures, ui=said | played)
