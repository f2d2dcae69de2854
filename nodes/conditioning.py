"""Conditioning: text, reference, voice and pose become what the sampler works on."""

from __future__ import annotations

import logging

import comfy.model_management
import comfy.utils
import node_helpers
import torch
from comfy.latent_formats import Wan22
from comfy_api.latest import io, ui
from comfy_extras.nodes_wan import Wan22ImageToVideoLatent
from einops import rearrange

from ..apoavatar_core.adapters.pose_adapter import group_by_latent_frame
from ..apoavatar_core.audio_features import features_at_video_rate, frames_of_voice, latent_frame_windows
from ..apoavatar_core.comfyui import conditions
from ..apoavatar_core.grid import AUDIO_WINDOW, latent_frames, round_to_clip_length
from ..apoavatar_core.pose import canvas_size
from ..apoavatar_core.speaking_prompt import SPEAKING_PROMPT, append_tokens
from .audio import GateType
from .pose import PoseKeypoint, render_keypoints

POSE_FREE, HARD, REFOCUSED = "pose_free", "hard", "refocused"


def check_size(width: int, height: int, vae) -> int:
    """The VAE's pixels per latent; a size that does not fill whole tokens is refused."""
    stride = vae.spacial_compression_encode()
    for name, value in (("width", width), ("height", height)):
        if value % (2 * stride):
            lower = max(value // (2 * stride), 1) * 2 * stride
            raise ValueError(f"{name} {value} is not a multiple of {2 * stride}: use {lower} or {lower + 2 * stride}.")
    return stride


def fitted(frames: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """IMAGE scaled and cropped in the middle to the clip's size, as the native nodes do; without transparency."""
    frames = frames[..., :3]
    if frames.shape[1:3] == (height, width):
        return frames
    return comfy.utils.common_upscale(frames.movedim(-1, 1), width, height, "bilinear", "center").movedim(1, -1)


def reference_condition(image: torch.Tensor, vae, width: int, height: int, length: int) -> dict:
    """The first frame given, the rest open, as the native Wan image-to-video node encodes it."""
    frames = torch.full((length, height, width, 3), 0.5, dtype=image.dtype, device=image.device)
    frames[:1] = fitted(image[:1], width, height)
    latent = vae.encode(frames)
    mask = torch.ones((1, 1, *latent.shape[2:]), dtype=image.dtype, device=image.device)
    mask[:, :, :1] = 0.0
    return {"concat_latent_image": latent, "concat_mask": mask}


def drawn(pose, width: int, height: int) -> torch.Tensor:
    """Keypoints or frames that are drawn already, as IMAGE of the clip's size; both are cropped like the portrait."""
    if len(pose) == 0:
        raise ValueError("pose has no frames: connect a pose video with at least one frame.")
    if isinstance(pose, list):
        pose = render_keypoints(pose, *covering(canvas_size(pose[0]) or (width, height), width, height))
    return fitted(pose, width, height)


def covering(canvas: tuple[float, float], width: int, height: int) -> tuple[int, int]:
    """The smallest size of the canvas's shape that covers width × height."""
    scale = max(width / canvas[0], height / canvas[1])
    return round(canvas[0] * scale), round(canvas[1] * scale)


def pose_condition(pose, gate_weights: torch.Tensor, width: int, height: int, start: int = 0) -> tuple[dict, list[str]]:
    """Rendered pose frames from frame `start` on and their gate [T], grouped by latent frame; and what was done to make
    them fit.
    """
    length, said = gate_weights.shape[0], []
    frames = drawn(pose[min(start, max(len(pose) - 1, 0)) :], width, height)
    if frames.shape[0] < length:
        said.append(f"The pose has {frames.shape[0]} frames for a clip of {length}: its last frame is held.")
        frames = torch.cat([frames, frames[-1:].expand(length - frames.shape[0], -1, -1, -1)])
    elif frames.shape[0] > length:
        said.append(f"The pose has {frames.shape[0]} frames for a clip of {length}: the rest is left out.")
    grouped = group_by_latent_frame(frames[None, :length])
    return {
        conditions.POSE: rearrange(grouped, "b t f h w c -> b (f c) t h w").contiguous(),
        conditions.POSE_GATE: rearrange(group_by_latent_frame(gate_weights[None]), "b t f -> b f t").contiguous(),
    }, said


def gate_weights_for(pose_mode: str, gate, length: int, start: int = 0) -> torch.Tensor:
    """Weight of each pose frame [T] from frame `start` on: all ones where the gate is bypassed (A.1), 1 − p where it
    refocuses.
    """
    if pose_mode == HARD:
        return torch.ones(length)
    if gate is None:
        raise ValueError("pose_mode 'refocused' needs a gate: connect one from Audio Loudness Refocusing or use 'hard'.")
    keep = torch.as_tensor(gate.keep, dtype=torch.float32)
    if keep.shape[0] < start + length:
        raise ValueError(
            f"The gate has {keep.shape[0]} frames but the clip has {start + length}: set the same number in Audio Loudness "
            "Refocusing."
        )
    return keep[start : start + length]


def voice_windows(audio_features: dict, start: int, frames: int, fps: float) -> torch.Tensor:
    """[1, 8, T_lat, D] of the clip's frames from frame `start` of the voice on. The last windows reach past the clip where
    the voice goes on.
    """
    end = start + frames
    heard = max(end, min(end + AUDIO_WINDOW // 2, frames_of_voice(audio_features, fps)))
    return latent_frame_windows(features_at_video_rate(audio_features, heard, fps), frames, start)[None].float()


def motion_condition(previous_frames: torch.Tensor, motion_frames: int, vae, width: int, height: int) -> dict:
    """Latents of the last `motion_frames` earlier frames, which the clip begins with."""
    if previous_frames.shape[0] < motion_frames:
        raise ValueError(
            f"previous_frames has {previous_frames.shape[0]} frames but {motion_frames} go before the clip: give the whole "
            "video so far, or set motion_frames lower."
        )
    return {conditions.MOTION: vae.encode(fitted(previous_frames[-motion_frames:], width, height))}


def with_speaking_prompt(positive: list, clip) -> list:
    """Positive CONDITIONING with the paper's speaking prompt behind its text."""
    (addition, _), *_ = clip.encode_from_tokens_scheduled(clip.tokenize(SPEAKING_PROMPT))
    return [[append_tokens(text, addition), extras] for text, extras in positive]


class Conditioning(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ApoAvatarConditioning",
            display_name="ApoAvatar Conditioning",
            category="ApoAvatar",
            description="Bring text, portrait, voice and pose together for one clip.",
            inputs=[
                io.Conditioning.Input("positive"),
                io.Conditioning.Input("negative"),
                io.Vae.Input("vae"),
                io.AudioEncoderOutput.Input("audio_features", tooltip="The voice, from Audio Encoder Encode."),
                io.Int.Input("width", default=128, min=16, max=16384, step=16),
                io.Int.Input("height", default=128, min=16, max=16384, step=16),
                io.Int.Input("length", default=49, min=1, max=16384, step=4, tooltip="Video frames: 4n+1."),
                io.Float.Input("fps", default=24.0, min=1.0, max=120.0, step=0.01, tooltip="Frame rate of the video."),
                io.Combo.Input(
                    "pose_mode",
                    options=[POSE_FREE, HARD, REFOCUSED],
                    tooltip="pose_free: gestures from the voice alone. hard: follow the pose as it is. refocused: the pose "
                    "acts where the voice is loud.",
                ),
                io.Boolean.Input(
                    "speaking_prompt", default=True, advanced=True,
                    tooltip="Append the paper's sentence that the person speaks toward the camera (needs clip).",
                ),
                io.Image.Input("reference_image", optional=True, tooltip="The portrait; leave open to invent one from text."),
                io.ClipVisionOutput.Input("clip_vision_output", optional=True, tooltip="For Wan 2.1 image-to-video models."),
                io.MultiType.Input("pose", types=[PoseKeypoint, io.Image], optional=True, tooltip="Keypoints or rendered pose frames."),
                GateType.Input("gate", optional=True, tooltip="From Audio Loudness Refocusing, for the refocused mode."),
                io.Clip.Input("clip", optional=True, tooltip="Encodes the speaking prompt."),
                io.MultiType.Input(
                    "reference_pose", types=[PoseKeypoint, io.Image], optional=True,
                    tooltip="Pose of the portrait itself, for UniAnimate's pose model.",
                ),
                io.Image.Input(
                    "previous_frames", optional=True,
                    tooltip="The whole video so far, to go on from it (InfiniteTalk and MultiTalk only).",
                ),
                io.Int.Input(
                    "motion_frames", default=9, min=1, max=33, step=4, optional=True, advanced=True,
                    tooltip="How many of the previous frames the clip begins with: 4n+1.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(display_name="positive"),
                io.Conditioning.Output(display_name="negative"),
                io.Latent.Output(display_name="latent"),
                io.Int.Output(display_name="trim_image", tooltip="Frames at the clip's start that the video has already."),
            ],
        )

    @classmethod
    def execute(
        cls, positive, negative, vae, audio_features, width, height, length, fps, pose_mode, speaking_prompt,
        reference_image=None, clip_vision_output=None, pose=None, gate=None, clip=None, reference_pose=None,
        previous_frames=None, motion_frames=9,
    ) -> io.NodeOutput:
        stride = check_size(width, height, vae)
        frames = round_to_clip_length(length)
        said = [] if frames == length else [f"length {length} is not 4n+1: {frames} frames are made."]

        tensors, overlap, start = {}, 0, 0
        if previous_frames is not None:
            tensors |= motion_condition(previous_frames, motion_frames, vae, width, height)
            overlap, start = motion_frames, previous_frames.shape[0] - motion_frames
        tensors[conditions.AUDIO] = voice_windows(audio_features, start, frames, fps)
        if pose_mode != POSE_FREE:
            if pose is None:
                raise ValueError(f"pose_mode '{pose_mode}' needs a pose: connect one or choose 'pose_free'.")
            weights = gate_weights_for(pose_mode, gate, frames, start)
            condition, changes = pose_condition(pose, weights, width, height, start)
            tensors |= condition
            said += changes
            if reference_pose is not None:
                tensors[conditions.REFERENCE_POSE] = drawn(reference_pose[:1], width, height).movedim(-1, 1)[:, :, None]
        if speaking_prompt and clip is not None:
            positive = with_speaking_prompt(positive, clip)

        latent = {
            "samples": torch.zeros(
                [1, vae.latent_channels, latent_frames(frames), height // stride, width // stride],
                device=comfy.model_management.intermediate_device(),
            )
        }
        values = {conditions.LATENT_CHANNELS: vae.latent_channels}
        if vae.latent_channels == Wan22.latent_channels:  # Wan 2.2 5B finds its first frame in the latent itself
            reference = None if reference_image is None else reference_image[:1, ..., :3]
            (latent,) = Wan22ImageToVideoLatent.execute(vae, width, height, frames, 1, reference).result
        elif reference_image is not None:
            values |= reference_condition(reference_image, vae, width, height, frames)
        if clip_vision_output is not None:
            values["clip_vision_output"] = clip_vision_output
        positive, negative = (
            conditions.with_conditions(node_helpers.conditioning_set_values(conditioning, values), tensors)
            for conditioning in (positive, negative)
        )
        for sentence in said:
            logging.info("ApoAvatar Conditioning: %s", sentence)
        return io.NodeOutput(positive, negative, latent, overlap, ui=ui.PreviewText("\n".join(said)) if said else None)
