"""The pose of a clip: its drawn frames, and the weight with which each of them acts (§3.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from ..adapters.pose_adapter import group_by_latent_frame
from ..grid import FRAMES_PER_LATENT
from ..pose import in_middle_of, render_pose
from ..pose.following import Followed, follow, only_person
from ..pose.track import Track
from ..pose.track_gaps import filled
from ..pose.track_loop import loop_of, places
from ..pose.track_time import resampled
from ..refocusing import Gate
from .clip import ClipShape
from .cropping import Crop


@dataclass(frozen=True)
class PoseDial:
    """How strongly a pose acts, and in which part of the sampling.

    Attributes:
        strength: factor of the pose prior; 1 is what the adapter was trained with.
        start, end: shares of the sampling, 0 … 1, between which there is a pose.

    Raises:
        ValueError: the end is before the start.
    """

    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ValueError(
                f"The pose would end at {self.end:g} of the sampling, before it starts at {self.start:g}: set end_percent higher."
            )


@dataclass(frozen=True, eq=False)
class Pictures:
    """A film that is drawn already. Its pictures are read where they are needed.

    Attributes:
        shown: int [T], the number of the picture that each of its frames shows.
        read: the pictures of some numbers, each higher than the one before, as IMAGE.
        source: what they are read from: IMAGE, or a file's name or content.
    """

    shown: np.ndarray
    read: Callable[[np.ndarray], Tensor]
    source: Any

    def __len__(self) -> int:
        return len(self.shown)

    def part(self, frames: slice | np.ndarray) -> Tensor:
        """[n, H, W, 3] of some of its frames."""
        numbers, order = np.unique(self.shown[frames], return_inverse=True)
        return self.read(numbers)[torch.from_numpy(order)]


@dataclass(frozen=True, eq=False)
class PoseFilm:
    """What the body shall do in a whole film.

    Attributes:
        film: keypoints or drawn pictures at the film's frame rate.
        gate: of the whole voice; None to follow the pose as it is.
        reference: the pose of the portrait, which UniAnimate fits the frames to; None without one.
        dial: how strongly it acts, and when.
        crop: the part that the portrait is cropped to, for what has the portrait's shape; None for the middle.
        said: what was done to make it fit, in sentences.
        again: the frame from which on the film is played again and again after its end; None to hold its last frame.
    """

    film: Followed | Pictures
    gate: Gate | None = None
    reference: Followed | Tensor | None = None
    dial: PoseDial = PoseDial()
    crop: Crop | None = None
    said: list[str] = field(default_factory=list)
    again: int | None = None


@dataclass(frozen=True, eq=False)
class Pose:
    """What the body shall do in a clip of T frames.

    Attributes:
        frames: [T, H, W, 3] in 0 … 1, drawn in OpenPose colours.
        gate: [T] in 0 … 1, the weight of each frame.
        reference: [1, H, W, 3], the pose of the portrait; None without one.
        dial: how strongly it acts, and when.
    """

    frames: Tensor
    gate: Tensor
    reference: Tensor | None = None
    dial: PoseDial = PoseDial()


def film_of(pose: Any, pose_fps: float, fps: float) -> tuple[Followed | Pictures, list[str]]:
    """A pose of `pose_fps` frames a second at the clip's `fps`: POSE_KEYPOINT, read and without gaps, or IMAGE, whose nearest
    frames are taken; and what there is to say about it.

    Raises:
        ValueError: the keypoints cannot be read, or show nobody.
    """
    if isinstance(pose, Tensor):
        count = round(len(pose) / pose_fps * fps)
        nearest = (np.arange(count) * (pose_fps / fps)).round().astype(int).clip(max=max(len(pose) - 1, 0))
        film = Pictures(nearest, lambda numbers: pose[torch.from_numpy(numbers)], pose)
        return film, said_of_pictures(film)
    followed = follow(pose)
    whole = filled(Track.of(followed, pose_fps))
    return replace(followed, people=resampled(whole.track, fps).people), [*followed.sentences, *whole.sentences]


def looped_film(film: PoseFilm, frames: int, fps: float) -> PoseFilm:
    """A pose film that goes on when it ends before `frames`. Keypoints go over from where they end into where they began, at the
    moments that are most alike; drawn pictures, which cannot be blended, run backwards and forwards again.
    """
    count = length_of(film.film)
    if not 0 < count < frames:
        return film
    if isinstance(film.film, Pictures):
        shown = film.film.shown
        there_and_back, again = replace(film.film, shown=np.concatenate([shown, shown[-2:0:-1]])), 0
        done = "it is played backwards and forwards again"
    else:
        loop, again = loop_of(Track.of(film.film, fps))
        there_and_back, done = replace(film.film, people=loop.people), "it is looped"
    said = f"The pose lasts {count / fps:.2f} seconds and the film {frames / fps:.2f}: {done}."
    return replace(film, film=there_and_back, again=again, said=[*film.said, said])


def said_of_pictures(film: Pictures) -> list[str]:
    """What there is to say about drawn pictures."""
    few = film.shown[:: max(1, len(film) // _LOOKED_AT)]
    return [] if all(is_drawn(film.read(few[place : place + 1])) for place in range(len(few))) else [_NO_SKELETON]


_NO_SKELETON = (
    "The pose does not look like skeletons drawn on black: put Extract Pose between the film and the input pose, unless it is meant."
)
_DARK, _MOSTLY, _LOOKED_AT = 0.125, 0.5, 8


def is_drawn(frames: Tensor) -> bool:
    """Whether frames [T, H, W, 3] in 0 … 1 are mostly black, as drawn skeletons are."""
    return bool((frames[..., :3].amax(-1) <= _DARK).float().mean() >= _MOSTLY)


def portrait_of(pose: Any) -> Followed | Tensor:
    """The pose of the portrait: the first frame of POSE_KEYPOINT or IMAGE.

    Raises:
        ValueError: the keypoints cannot be read, or show nobody.
    """
    if isinstance(pose, Tensor):
        return pose[:1]
    person, canvas = only_person(pose)
    return Followed([person], canvas, 0)


def drawn_keypoints(film: Followed, width: int, height: int, crop: Crop | None = None) -> Tensor:
    """Keypoints as IMAGE [T, height, width, 3] in OpenPose colours. Those of the portrait's shape are cropped as the portrait is;
    others are scaled to cover the clip and cropped in the middle.
    """
    canvas = film.canvas or (width, height)
    if crop is not None and not crop.is_middle and crop.fits(*canvas):
        people = [crop.keypoints(person) for person in film.people]
    else:
        people = [in_middle_of(person, canvas, width, height) for person in film.people]
    return torch.from_numpy(render_pose(people, width, height)).float() / 255


def part_for(film: PoseFilm, clip: ClipShape) -> Followed | Tensor:
    """The frames of the whole film's pose that the clip has; where it is not looped at least one and at most as many as the clip.

    Raises:
        ValueError: the pose has no frames.
    """
    count = length_of(film.film)
    if count == 0:
        raise ValueError("pose has no frames: connect a pose video with at least one frame.")
    frames = np.arange(clip.start, clip.start + clip.frames)
    shown = frames[frames < count] if film.again is None else places(frames, count, film.again)
    return _frames_of(film.film, shown if len(shown) else np.array([count - 1]))


def _frames_of(film: Followed | Pictures, frames: np.ndarray) -> Followed | Tensor:
    """Some of a film's frames."""
    return film.part(frames) if isinstance(film, Pictures) else replace(film, people=[film.people[frame] for frame in frames])


def length_of(film: Followed | Pictures) -> int:
    """Its frames."""
    return len(film if isinstance(film, Pictures) else film.people)


def held(frames: Tensor, count: int) -> Tensor:
    """`count` frames: the last of [T ≤ count, ...] is held."""
    return torch.cat([frames, frames[-1:].expand(count - frames.shape[0], *frames.shape[1:])])


def fit_of(film: PoseFilm, clip: ClipShape) -> list[str]:
    """What is done to a film's pose to fit it to the clip, in a sentence if anything is that `film.said` does not say. The few
    frames by which a clip is shorter because it fills latent frames are not worth one.
    """
    left = max(length_of(film.film) - clip.start, 0)
    if film.again is not None or clip.frames <= left < clip.frames + FRAMES_PER_LATENT:
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
