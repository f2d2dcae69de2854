"""Drawn presenters as a VAE decodes them, for the keypoint network to learn from: a hand that the VAE smears away is none.

A VAE takes a thousand times as long as a drawing, so they are made once, before the training, and varied in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from ..files import write_whole
from ..gestures import BodyTrack
from ..pose import PersonKeypoints, from_frame
from ..precision import training_device
from ..synthetic import Motion, draw_frame, frame_keypoints, sample_identity
from .hand_detail import gradient_energy, hand_box
from .random_motion import random_motion

FRAMES = 5
"""Of a snippet: a picture, and the four that a Wan VAE squeezes into one latent frame."""
TOGETHER = 4
"""Snippets that are coded at once: PyTorch has a slow 3-D convolution for one on CPUs."""
FASTEST = 0.13
"""Share of the way between two poses that is made in a frame, at most: a stroke takes eight or more."""
LEAST_DETAIL = 0.25
"""Share of the drawn hand's gradient energy below which a decoded one is a smear."""
_SNIPPETS = 2
"""Sets the seeds of snippets apart from those of drawings and steps."""

Through = Callable[[Tensor], Tensor]
"""Snippets [B, T, S, S, 3] with values 0 to 1 → what is left of them, alike."""


@dataclass(frozen=True)
class Reconstructions:
    """Decoded pictures, uint8 [N, S, S, 3], and all their keypoints, float32 [N, 130, 3]."""

    pictures: np.ndarray
    points: np.ndarray

    def __len__(self) -> int:
        return len(self.pictures)


def kept_reconstructions(path: Path, vae: Path, count: int, size: int, seed: int) -> Reconstructions:
    """Those of `count` snippets, which `path` keeps for a run that goes on, until they are of another VAE or number."""
    made_by = f"{hashlib.sha256(vae.read_bytes()).hexdigest()} {count} {size} {seed}"
    if path.exists():
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("made_by") == made_by:
                return Reconstructions(*(file.get_tensor(name).numpy() for name in ("pictures", "points")))
    made = reconstruct(vae_of(vae), count, size, seed)
    tensors = {"pictures": torch.from_numpy(made.pictures), "points": torch.from_numpy(made.points)}
    write_whole(path, save(tensors, {"made_by": made_by}))
    return made


def vae_of(path: Path) -> Through:
    """Through a VAE and back."""
    from ..comfyui import trainable, whole_clips

    device = training_device()
    vae = trainable.load_vae(path).to(device).eval()

    @torch.inference_mode()
    def through(pictures: Tensor) -> Tensor:
        clips = pictures.to(device).movedim(-1, 1) * 2 - 1
        return (whole_clips.decode(vae, whole_clips.encode(vae, clips)).movedim(1, -1) + 1) / 2

    return through


def reconstruct(through: Through, count: int, size: int, seed: int) -> Reconstructions:
    """`count` snippets of moving presenters, decoded."""
    pictures, points = [], []
    for first in range(0, count, TOGETHER):
        numbers = range(first, min(first + TOGETHER, count))
        drawn = [snippet(np.random.default_rng((seed, _SNIPPETS, number)), size) for number in numbers]
        frames = np.stack([frames for frames, _ in drawn])
        shown = through(torch.from_numpy(frames).float() / 255).clamp(0, 1).mul(255).round().byte().cpu().numpy()
        pictures.append(shown.reshape(-1, size, size, 3))
        for (before, people), after in zip(drawn, shown):
            points += [without_smears(*frame).points for frame in zip(people, before, after)]
        print(f"reconstructed {numbers.stop}/{count} snippets", flush=True)
    return Reconstructions(np.concatenate(pictures), np.stack(points))


def snippet(rng: np.random.Generator, size: int) -> tuple[np.ndarray, list[PersonKeypoints]]:
    """A presenter on the way from one pose to another: uint8 [FRAMES, size, size, 3] and the keypoints of each frame."""
    identity, first, second = sample_identity(rng), random_motion(rng), random_motion(rng)
    step = FASTEST * rng.uniform()
    shares = rng.uniform(0, 1 - step * (FRAMES - 1)) + step * np.arange(FRAMES)
    motion = between(first, second, shares)
    frames = np.stack([draw_frame(identity, motion, t, size) for t in range(FRAMES)])
    return frames, [from_frame(frame_keypoints(identity, motion, t, size)) for t in range(FRAMES)]


def between(first: Motion, second: Motion, shares: np.ndarray) -> Motion:
    """The motion of as many frames as shares, each that share of the way from one frame's motion to another's."""

    def mixed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a + shares.reshape(-1, *[1] * (a.ndim - 1)) * (b - a)

    names = [field.name for field in fields(BodyTrack)]
    body = BodyTrack(**{name: mixed(getattr(first.body, name), getattr(second.body, name)) for name in names})
    mouths = (mixed(getattr(first, name), getattr(second, name)) for name in ("mouth_opening", "mouth_width"))
    return Motion(body, *mouths)


def without_smears(person: PersonKeypoints, drawn: np.ndarray, shown: np.ndarray) -> PersonKeypoints:
    """The person of a drawn frame [S, S, 3], without the hands that what is shown of it has smeared away."""

    def kept(hand: np.ndarray) -> np.ndarray:
        box = hand_box(hand, *drawn.shape[:2])
        if box and gradient_energy(shown[box]) < LEAST_DETAIL * gradient_energy(drawn[box]):
            return hand * np.array((1, 1, 0), hand.dtype)
        return hand

    return replace(person, left_hand=kept(person.left_hand), right_hand=kept(person.right_hand))
