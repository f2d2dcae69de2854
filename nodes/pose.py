"""Pose: from frames to keypoints, and from keypoints to the rendered frames that the pose adapter sees."""

from __future__ import annotations

import comfy.utils
import folder_paths
import numpy as np
import torch
from comfy_api.latest import io

from ..apoavatar_core.checkpoints.presets import POSE_MODELS
from ..apoavatar_core.pose import estimate, from_frame, load_keypoint_network, render_pose, to_frame

PoseKeypoint = io.Custom("POSE_KEYPOINT")


class ExtractPose(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ApoAvatarExtractPose",
            display_name="Extract Pose",
            category="ApoAvatar",
            description="Find body, hands and face in video frames.",
            inputs=[
                io.Image.Input("frames", tooltip="Pictures of one person, for example from Get Video Components."),
                io.Combo.Input(
                    "pose_model",
                    options=folder_paths.get_filename_list(POSE_MODELS),
                    tooltip="The shipped model knows the tiny preset's presenter; use DWPose or SDPose for real people.",
                ),
            ],
            outputs=[PoseKeypoint.Output(display_name="pose")],
        )

    @classmethod
    def execute(cls, frames: torch.Tensor, pose_model: str) -> io.NodeOutput:
        network = load_keypoint_network(folder_paths.get_full_path_or_raise(POSE_MODELS, pose_model))
        progress = comfy.utils.ProgressBar(frames.shape[0])
        pixels = frames[..., :3].mul(255).round().clamp(0, 255).byte().cpu().numpy()
        people = estimate(network, np.ascontiguousarray(pixels), progress=progress.update_absolute)
        height, width = frames.shape[1:3]
        return io.NodeOutput([to_frame(person, width, height) for person in people])


class RenderPose(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ApoAvatarRenderPose",
            display_name="Render Pose",
            category="ApoAvatar",
            description="Draw keypoints in OpenPose colours.",
            inputs=[
                PoseKeypoint.Input("pose", tooltip="Keypoints from Extract Pose, DWPose or SDPose."),
                io.Int.Input("width", default=128, min=16, max=16384, step=16, tooltip="Of the pictures, in pixels."),
                io.Int.Input("height", default=128, min=16, max=16384, step=16, tooltip="Of the pictures, in pixels."),
            ],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, pose: list[dict], width: int, height: int) -> io.NodeOutput:
        rendered = render_pose([from_frame(frame) for frame in pose], width, height)
        return io.NodeOutput(torch.from_numpy(rendered).float() / 255)
