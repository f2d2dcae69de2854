"""The pose of a clip: its drawn frames, and the weight with which each of them acts (§3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from ..adapters.pose_adapter import group_by_latent_frame
from ..grid import FRAMES_PER_LATENT
from ..pose import canvas_size, from_frame, in_middle_of, render_pose
from ..refocusing import Gate
from .clip import ClipShape


@dataclass(frozen=True, eq=False)
class Pose:
    """What the body shall do in a clip of T frames.

    Attributes:
        frames: [T, H, W, 3] in 0 … 1, drawn in OpenPose colours.
        gate: [T] in 0 … 1, the weight of each frame.
        reference: [1, H, W, 3], the pose of the portrait, which UniAnimate fits the frames to; None without one.
    """

    frames: Tensor
    gate: Tensor
    reference: Tensor | None = None


def drawn_keypoints(keypoints: Sequence[dict], width: int, height: int) -> Tensor:
    """POSE_KEYPOINT frames as IMAGE [T, height, width, 3] in OpenPose colours. Of another shape than the clip they are
    scaled to cover it and cropped in the middle, as a portrait is.
    """
    people = [in_middle_of(from_frame(frame), canvas_size(frame) or (width, height), width, height) for frame in keypoints]
    return torch.from_numpy(render_pose(people, width, height)).float() / 255


def part_for(pose: Sequence[dict] | Tensor, clip: ClipShape) -> Sequence[dict] | Tensor:
    """The frames of the whole film's pose that the clip has, at least one and at most as many as the clip.

    Raises:
        ValueError: the pose has no frames.
    """
    if len(pose) == 0:
        raise ValueError("pose has no frames: connect a pose video with at least one frame.")
    start = min(clip.start, len(pose) - 1)
    return pose[start : start + clip.frames]


def held(frames: Tensor, count: int) -> Tensor:
    """`count` frames: the last of [T ≤ count, ...] is held."""
    return torch.cat([frames, frames[-1:].expand(count - frames.shape[0], *frames.shape[1:])])


def fit_of(count: int, clip: ClipShape) -> list[str]:
    """What is done to a film's pose of so many frames to fit it to the clip, in a sentence if anything is."""
    left = max(count - clip.start, 0)
    if left == clip.frames:
        return []
    done = "its last frame is held" if left < clip.frames else "the rest is left out"
    return [f"The pose has {left} frames for a clip of {clip.frames}: {done}."]


def open_gate(clip: ClipShape) -> Tensor:
    """[T] of a pose that is followed as it is: the gate is bypassed (§3.4, A.1)."""
    return torch.ones(clip.frames)


def refocused_gate(gate: Gate, clip: ClipShape) -> Tensor:
    """[T], 1 − p of the clip's frames in the gate of the whole film, at the clip's frame rate. In the few frames by which
    a clip is longer than its voice, because it fills latent frames, the body rests.

    Raises:
        ValueError: the gate is shorter.
    """
    keep, end = keep_at(gate, clip.fps), clip.start + clip.frames
    if len(keep) + FRAMES_PER_LATENT <= end:
        raise ValueError(
            f"The gate has {len(keep)} frames but the clip has {end}: set frames to 0 in Audio Loudness Refocusing for the "
            "whole voice."
        )
    rest = np.full(max(end - len(keep), 0), gate.keep.min())
    return torch.from_numpy(np.concatenate([keep, rest])[clip.start : end]).float()


def keep_at(gate: Gate, fps: float) -> np.ndarray:
    """1 − p at the times t / fps, [T], linearly interpolated from the gate's own frames."""
    if gate.fps in (None, fps):
        return gate.keep
    own = np.arange(len(gate.keep)) / gate.fps
    return np.interp(np.arange(round(len(gate.keep) / gate.fps * fps)) / fps, own, gate.keep)


def grouped_frames(frames: Tensor) -> Tensor:
    """[T, H, W, 3] with T = 4n+1 → [12, n+1, H, W], the four frames of each latent frame as channels; any dtype."""
    return rearrange(group_by_latent_frame(frames[None])[0], "t f h w c -> (f c) t h w").contiguous()


def grouped_gate(gate: Tensor) -> Tensor:
    """[T] with T = 4n+1 → [4, n+1], in the order of `grouped_frames`."""
    return group_by_latent_frame(gate[None])[0].T.contiguous()
