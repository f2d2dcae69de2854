"""The portrait as a clip shows it, and what there is to say about that."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..checkpoints.presets import MEDIAPIPE, TINY_POSE
from ..conditioning.cropping import KEEP_PERSON, Crop, crop_for, has_shape
from ..conditioning.portrait import too_few_pixels, unknown_to_the_vae, what_was_cut
from ..pose import estimate, persons
from ..pose.model import in_8_bits
from ..pose.upper_body import upper_body
from .pictures import fitted
from .pose_models import on_device

_SURE = 0.6
"""Mean confidence in a face's landmarks from which the presenter's own network counts: it draws some in any picture."""
_BEHIND = 1.0
"""White, behind a portrait with transparent parts."""


@dataclass(frozen=True, eq=False)
class FittedPortrait:
    """A portrait in a clip's size.

    Attributes:
        image: IMAGE [1, H, W, 3].
        crop: the part of the portrait that it shows.
        said: what was done and what will be wrong, in sentences.
    """

    image: torch.Tensor
    crop: Crop
    said: list[str]


def fit_portrait(image: torch.Tensor, width: int, height: int, fit: str, vae) -> FittedPortrait:
    """The first of the pictures (IMAGE) in a clip's size. A person is looked for only where something must be cut off."""
    said = ["The portrait is transparent in places: white is laid behind it."] if _is_transparent(image) else []
    portrait = on_white(image[:1])
    size, clip = (portrait.shape[2], portrait.shape[1]), (width, height)
    person = person_in(portrait[0]) if fit == KEEP_PERSON and not has_shape(size, clip) else None
    crop = crop_for(size, clip, fit, person)
    shown = fitted(portrait, width, height, crop)
    said += what_was_cut(crop, clip, fit, person is not None) + too_few_pixels(crop, clip)
    said += unknown_to_the_vae(shown, given_back(vae, shown))
    return FittedPortrait(shown, crop, said)


def _is_transparent(image: torch.Tensor) -> bool:
    return image.shape[-1] == 4 and bool((image[:1, ..., 3] < 1).any())


def on_white(image: torch.Tensor) -> torch.Tensor:
    """IMAGE with or without transparency → without."""
    if not _is_transparent(image):
        return image[..., :3]
    alpha = image[..., 3:].clamp(0, 1)
    return image[..., :3] * alpha + _BEHIND * (1 - alpha)


def person_in(picture: torch.Tensor) -> tuple[float, float, float, float] | None:
    """The box of head, shoulders and hands of the largest person in a picture [H, W, 3], in fractions of it; None without one.

    The detector for people finds the drawn presenter too, 33 of 34 that were tried; their own network finds the others.
    """
    height, width = picture.shape[:2]
    with on_device(MEDIAPIPE) as model:
        tracks = persons.followed({0: model.persons_in(in_8_bits(picture))})
        if tracks:
            boxes = persons.boxes_of(persons.largest(tracks), 1)
            found = upper_body(estimate(model, picture[None], boxes=boxes)[0], width, height)
            if found is not None:
                return found
    with on_device(TINY_POSE) as model:
        (presenter,) = estimate(model, picture[None])
    return upper_body(presenter, width, height) if presenter.face[:, 2].mean() >= _SURE else None


def given_back(vae, picture: torch.Tensor) -> torch.Tensor:
    """IMAGE of one picture through the VAE and back."""
    return vae.decode(vae.encode(picture)).reshape(picture.shape).clamp(0, 1)
