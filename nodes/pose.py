"""Pose: from frames to keypoints, and from keypoints to the rendered frames that the pose adapter sees."""

from __future__ import annotations

import comfy.model_management
import comfy.utils
import folder_paths
import numpy as np
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..apoavatar_core.checkpoints.presets import MEDIAPIPE, POSE_MODELS
from ..apoavatar_core.pose import PoseModel, estimate, from_frame, load_pose_model, render_pose, to_frame

PoseKeypoint = io.Custom("POSE_KEYPOINT")


def pose_model_files() -> list[str]:
    """The pose models there are; the one for real people first, as the default."""
    return sorted(folder_paths.get_filename_list(POSE_MODELS), key=lambda name: name != MEDIAPIPE.name)


def load_on_device(file: str) -> PoseModel:
    """A pose model on the device that ComfyUI gives it."""
    model = load_pose_model(folder_paths.get_full_path_or_raise(POSE_MODELS, file))
    device = comfy.model_management.get_torch_device()
    patcher = ModelPatcher(model, device, comfy.model_management.unet_offload_device())
    comfy.model_management.load_models_gpu([patcher], force_full_load=True)
    return model


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
                    options=pose_model_files(),
                    tooltip="mediapipe_holistic (docs/pose.md says how it is made) finds people; apoavatar_tiny_pose knows the "
                    "tiny preset's presenter only.",
                ),
            ],
            outputs=[PoseKeypoint.Output(display_name="pose")],
        )

    @classmethod
    def execute(cls, frames: torch.Tensor, pose_model: str) -> io.NodeOutput:
        model = load_on_device(pose_model)
        progress = comfy.utils.ProgressBar(frames.shape[0])
        pixels = frames[..., :3].mul(255).round().clamp(0, 255).byte().cpu().numpy()
        people = estimate(model, np.ascontiguousarray(pixels), progress=progress.update_absolute)
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
