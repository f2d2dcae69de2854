"""Whether hair, skin, clothes and wall are of the colours that a text names.

A film that was made without a portrait is looked at where the drawn clip of the same text has these things throughout; the
presenter of every film stands in the same place. Each pixel there goes to the colour of the palette in which it would be drawn
most nearly, shades, stripes and tones included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ..synthetic import Clip, Identity, draw_frame, facts_told
from ..synthetic.identity import CLOTHES_COLOURS, HAIR_COLOURS, SKIN_COLOURS, WALL_COLOURS, Colour
from .regions import COLOURS_EVERY, REPAINTED, bare_wall, steady_regions

HAIR, SKIN, CLOTHES, WALL = THINGS = ("hair", "skin", "clothes", "wall")
PALETTES: dict[str, dict[str, Colour]] = {
    "hair_colour": HAIR_COLOURS,
    "scarf_colour": CLOTHES_COLOURS,
    "skin": SKIN_COLOURS,
    "clothes_colour": CLOTHES_COLOURS,
    "wall_colour": WALL_COLOURS,
}
"""By the fields of `Identity` that name a colour."""
FEWEST_PIXELS = 12


@dataclass(frozen=True)
class Palette:
    """Where a thing is, and how it would look in every colour.

    Attributes:
        where: bool [H, W], P pixels.
        told: the number of the colour that the text names.
        drawn: CIELAB [N, P, 3], for each of N colours.
    """

    where: np.ndarray
    told: int
    drawn: np.ndarray

    def votes(self, frames: np.ndarray) -> np.ndarray:
        """Share of the pixels that are nearest to each colour: frames uint8 [F, H, W, 3] → [F, N]."""
        shown = lab(frames)[:, self.where]
        distances = np.linalg.norm(shown[:, None] - self.drawn, axis=-1)
        nearest = distances.argmin(1)
        return (nearest[:, None] == np.arange(len(self.drawn))[:, None]).mean(-1)


def lab(pictures: np.ndarray) -> np.ndarray:
    """uint8 RGB [N, H, W, 3] → CIELAB float32 [N, H, W, 3]."""
    return np.stack([cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) for picture in pictures])


def palettes_of(clip: Clip) -> dict[str, Palette]:
    """Of those of THINGS whose colour the clip's text tells and its frames show throughout."""
    told = facts_told(clip.identity)
    covering = "scarf_colour" if clip.identity.hair_style == "headscarf" else "hair_colour"
    named = {HAIR: covering, SKIN: "skin", CLOTHES: "clothes_colour", WALL: "wall_colour"}
    found = {thing: palette_of(clip, thing, field) for thing, field in named.items() if field in told}
    return {thing: palette for thing, palette in found.items() if palette.where.sum() >= FEWEST_PIXELS}


def palette_of(clip: Clip, thing: str, field: str) -> Palette:
    """field: of `Identity`, whose value is the thing's colour."""
    names = tuple(PALETTES[field])
    pictures = np.stack([painted(clip, replace(clip.identity, **{field: name})) for name in names])
    if thing == WALL:
        changes = np.ptp(pictures.astype(int), axis=0).max(-1) > REPAINTED
        where = bare_wall(clip) & changes
    else:
        where = steady_regions(clip)[thing]
    return Palette(where, names.index(getattr(clip.identity, field)), lab(pictures)[:, where])


def painted(clip: Clip, identity: Identity) -> np.ndarray:
    """The clip's first frame with another presenter in it: uint8 [H, W, 3]."""
    return draw_frame(identity, clip.motion, 0, clip.frames.shape[1])


def named(palettes: Mapping[str, Palette], film: np.ndarray) -> dict[str, float]:
    """For each of THINGS the share of a film's frames in which most of it is of the named colour; NaN where no colour is told.

    film: uint8 [T, H, W, 3]; every sixth frame is looked at.
    """
    found = dict.fromkeys(THINGS, float("nan"))
    for thing, palette in palettes.items():
        found[thing] = float((palette.votes(film[::COLOURS_EVERY]).argmax(1) == palette.told).mean())
    return found


def named_share(palettes: Mapping[str, Palette], film: np.ndarray) -> float:
    """The share of pixels that are of the named colour, the mean over things and frames; NaN when no colour is told."""
    shares = [palette.votes(film[::COLOURS_EVERY])[:, palette.told].mean() for palette in palettes.values()]
    return float(np.mean(shares)) if shares else float("nan")
