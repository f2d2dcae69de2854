"""The shape of one clip, which everything else is fitted to."""

from __future__ import annotations

from dataclasses import dataclass

from ..grid import LATENTS_PER_TOKEN


@dataclass(frozen=True)
class ClipShape:
    """One clip to be made.

    Attributes:
        width, height: of its pictures, in pixels.
        frames: its video frames, 4n + 1.
        fps: video frames per second.
        start: the frame of the whole film with which it begins; voice, pose and gate are those of the whole film.
    """

    width: int
    height: int
    frames: int
    fps: float
    start: int = 0


def refuse_parts_of_tokens(width: int, height: int, pixels_per_latent: int) -> None:
    """Refuse a size that does not fill whole tokens.

    Raises:
        ValueError: with the nearest sizes that do.
    """
    unit = LATENTS_PER_TOKEN * pixels_per_latent
    for name, value in (("width", width), ("height", height)):
        if value % unit:
            lower = max(value // unit, 1) * unit
            raise ValueError(f"{name} {value} is not a multiple of {unit}: use {lower} or {lower + unit}.")
