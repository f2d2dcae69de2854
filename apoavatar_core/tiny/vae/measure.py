"""How well a VAE draws clips again, hands above all, and a picture of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ...data.clips import load_frames
from ...precision import autocast
from .clips import WRISTS, details, pixels, speeds

MOVING = 0.015
"""From this speed on, in frames' widths a frame, a wrist counts as moving."""
WRIST_BOX = (28, 24)
"""Height and width of the box round a wrist, in pixels of a frame of 128."""
ENDS = 9
"""Frames at either end of a clip that are measured on their own."""
BATCH = 2
"""Clips at once: PyTorch has a slow 3-D convolution for one on CPUs, and many take much memory."""


@dataclass(frozen=True)
class Quality:
    """PSNRs in dB, each of the mean squared error over all clips: of whole frames, of the boxes round moving and round
    resting wrists, and of the first and the last nine frames. NaN where there was nothing to measure.
    """

    all: float
    moving: float
    resting: float
    first: float
    last: float

    def __str__(self) -> str:
        return "PSNR " + ", ".join(f"{field.name} {getattr(self, field.name):.2f}" for field in fields(self)) + " dB"


def psnr(mean_squared_error: float) -> float:
    """In dB, of an error in [−1, 1]²; NaN stays NaN."""
    return float(-10 * np.log10(mean_squared_error / 4))


@torch.no_grad()
def reconstructions(vae: nn.Module, folder: Path, seeds: list[int]) -> Iterator[tuple[int, Tensor, Tensor]]:
    """(seed, clip, what the VAE makes of it), both [3, T, H, W] in [−1, 1]."""
    device = next(vae.parameters()).device
    for begin in range(0, len(seeds), BATCH):
        batch = seeds[begin : begin + BATCH]
        targets = pixels(np.stack([load_frames(folder, seed) for seed in batch]))
        with autocast(device):
            outputs = vae.decode(vae.encode(targets.to(device)))
        yield from zip(batch, targets, outputs.float().clamp(-1, 1).cpu())


def measure(vae: nn.Module, folder: Path, seeds: list[int], picture: Path) -> Quality:
    """Draw these clips of a bank again; a contact sheet with hands enlarged goes to `picture`."""
    errors: dict[str, list[float]] = {field.name: [] for field in fields(Quality)}
    rows = []
    for seed, target, output in reconstructions(vae, folder, seeds):
        error = (output - target).square().mean(0)
        errors["all"].append(float(error.mean()))
        errors["first"].append(float(error[:ENDS].mean()))
        errors["last"].append(float(error[-ENDS:].mean()))
        places = details(folder, seed)[:, WRISTS]
        for t, wrist, speed in each_wrist(places):
            y, x = box(error.shape[1:], places[t, wrist], WRIST_BOX)
            errors["moving" if speed > MOVING else "resting"].append(float(error[t, y, x].mean()))
        rows += contact_rows(target, output, places)
    Image.fromarray(np.concatenate(rows)).save(picture)
    return Quality(**{name: psnr(np.mean(values) if values else np.nan) for name, values in errors.items()})


def each_wrist(places: np.ndarray) -> Iterator[tuple[int, int, float]]:
    """(frame, wrist, speed) wherever a wrist's speed is known; places: [T, 2, 2] as in `details`."""
    found = speeds(places)
    for t in range(1, len(places)):
        for wrist in range(places.shape[1]):
            if np.isfinite(found[t, wrist]):
                yield t, wrist, found[t, wrist]


def box(frame: tuple[int, int], centre: np.ndarray, sides: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a box round `centre` (x, y as fractions), moved into the frame (height, width).

    sides: height and width of the box in a frame of 128 pixels.
    """
    sides = [round(side * size / 128) for side, size in zip(sides, frame)]
    corners = [
        int(np.clip(round(place * size - side / 2), 0, size - side)) for place, size, side in zip(centre[::-1], frame, sides)
    ]
    return slice(corners[0], corners[0] + sides[0]), slice(corners[1], corners[1] + sides[1])


SHOWN_FRAMES, SHOWN_HANDS = 3, 5
HAND_BOX = (48, 48)
"""Like `WRIST_BOX`, of the enlarged pictures: fingers are in it wherever they point."""


def contact_rows(target: Tensor, output: Tensor, places: np.ndarray) -> list[np.ndarray]:
    """Two rows of pictures, the clip and its reconstruction: frames from begin to end, then the fastest hands enlarged."""
    frames = np.linspace(0, target.shape[1] - 1, SHOWN_FRAMES).astype(int)
    hands = fastest(places, SHOWN_HANDS)
    rows = []
    for clip in (target, output):
        shown = ((clip.permute(1, 2, 3, 0) + 1) * 127.5).round().byte().numpy()
        size = shown.shape[1:3]
        enlarged = [_enlarged(shown[t][box(size, places[t, wrist], HAND_BOX)], size) for t, wrist in hands]
        blank = np.zeros((SHOWN_HANDS - len(enlarged), *shown.shape[1:]), np.uint8)
        rows.append(np.concatenate([*shown[frames], *enlarged, *blank], axis=1))
    return rows


def fastest(places: np.ndarray, count: int) -> list[tuple[int, int]]:
    """(frame, wrist) of the fastest wrists, no two of them within a latent frame's time."""
    chosen: list[tuple[int, int]] = []
    for t, wrist, _ in sorted(each_wrist(places), key=lambda entry: -entry[2]):
        if len(chosen) < count and all(abs(t - other) > 4 for other, _ in chosen):
            chosen.append((t, wrist))
    return chosen


def _enlarged(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The picture [h, w, 3] stretched to `size` (height, width), every pixel a square as it was."""
    return np.asarray(Image.fromarray(picture).resize(size[::-1], Image.NEAREST))
