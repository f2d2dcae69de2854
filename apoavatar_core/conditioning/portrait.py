"""The portrait as Wan's image-to-video models are shown it, a film whose first frame is given; and what to say of one that will
not do.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .cropping import PAD, Crop

GREY = 0.5
"""What the models see where nothing is given."""

MOST_ENLARGED = 2.0
"""Pixels of a clip for one of the portrait's, in width and height, beyond which it is said."""

KNOWN_COLOURS = 33.0
"""PSNR in dB, of means over 8×8 pixels, with which a VAE gives back a portrait that its model knows.

Measured on the tiny preset's VAE at 128×128: 12 presenters 37.4 to 46.8; a photograph 29.0; a flat grey of 0.5 27.4, noise 28.5. A presenter in
black and white (42.9) or with red and blue exchanged (40.1) is given back as well: that the DiT never met them is not seen here.
"""
_BLOCK = 8


def reference_film(portrait: Tensor, frames: int) -> Tensor:
    """[1, H, W, 3] in 0 … 1 → [T, H, W, 3]: the portrait, then grey."""
    film = torch.full((frames, *portrait.shape[1:]), GREY, dtype=portrait.dtype, device=portrait.device)
    film[:1] = portrait
    return film


def reference_mask(latents: Tensor) -> Tensor:
    """[1, 1, T_lat, h, w] for the latents [1, C, T_lat, h, w] of such a film: 0 where a frame is given, else 1."""
    mask = torch.ones_like(latents[:, :1])
    mask[:, :, :1] = 0.0
    return mask


def what_was_cut(crop: Crop, clip: tuple[int, int], fit: str, found: bool) -> list[str]:
    """What a user should know of a crop for a clip of that width and height, in a sentence, unless it is the plain middle.
    `found`: whether it goes by a person.
    """
    if crop.is_middle:
        return []
    portrait, shape = "the portrait of {}×{}".format(*crop.picture), "a clip of {}×{}".format(*clip)
    if fit == PAD:
        return [f"For {shape}, {portrait} is padded with one colour of its edges."]
    if crop.is_padded:
        return [
            f"For {shape}, {portrait} is padded so that head, shoulders and hands stay: choose a width and height nearer to its "
            "shape for a film without bars, or centre in fit."
        ]
    if not found:
        return [f"Nobody was found in {portrait}, so {shape} shows its upper part: choose centre or pad in fit if that is wrong."]
    return [f"For {shape}, {portrait} is cut round the person: {crop.width}×{crop.height} from {crop.left}, {crop.top}."]


def too_few_pixels(crop: Crop, clip: tuple[int, int]) -> list[str]:
    """Says if a clip enlarges what is shown of a portrait so much that it will be blurred."""
    if max(clip[0] / crop.width, clip[1] / crop.height) <= MOST_ENLARGED:
        return []
    return [
        "{}×{} pixels of the portrait are too few for a clip of {}×{}, which will be blurred: give a larger portrait.".format(
            *crop.shown, *clip
        )
    ]


def colours_given_back(portrait: Tensor, returned: Tensor) -> float:
    """PSNR in dB of the means over 8×8 pixels of IMAGE [1, H, W, 3], with H and W multiples of 8; infinite where they are equal."""
    error = F.avg_pool2d((portrait - returned).movedim(-1, 1), _BLOCK).square().mean().item()
    return -10 * math.log10(error) if error > 0 else math.inf


def unknown_to_the_vae(portrait: Tensor, returned: Tensor) -> list[str]:
    """Says if a VAE gives a portrait [1, H, W, 3] back as another picture, so that the model cannot know its like."""
    fidelity = colours_given_back(portrait, returned)
    if fidelity >= KNOWN_COLOURS:
        return []
    return [
        f"This model does not know pictures like the portrait: its VAE gives the colours back with {fidelity:.0f} dB of the "
        f"{KNOWN_COLOURS:.0f} it takes, and the film will be smeared or change colour; give a portrait like those it was trained on "
        "(a drawn presenter for the tiny preset), or load a model for photographs."
    ]
