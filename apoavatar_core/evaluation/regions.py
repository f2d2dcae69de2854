"""Where in a drawn clip the presenter's skin, hair and clothes are, and where the wall is never covered.

Generated films are measured there: in the hard mode they show the drawn clip's poses, so its regions hold for them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np

from ..pose import from_frame
from ..synthetic import Clip, Identity, draw_background, draw_frame
from ..synthetic.identity import CLOTHES_COLOURS, HAIR_COLOURS, SKIN_COLOURS
from ..tiny.hand_detail import hand_box

MARGIN = 0.016
"""Width of the border that regions lose, as a fraction of the frame's height: a pose may be a little off."""
REPAINTED = 24
"""Change of a colour channel from which a pixel belongs to a region that is drawn in another colour."""
COLOURS_EVERY = 6
"""Colours change slowly: every sixth frame is enough."""


@lru_cache(maxsize=1)
def sampled_regions(clip: Clip) -> dict[int, dict[str, np.ndarray]]:
    """`person_regions` of every sixth frame, by its number; those of the last clip are kept, for several measures ask."""
    return {t: person_regions(clip, t) for t in range(0, len(clip.frames), COLOURS_EVERY)}


def steady_regions(clip: Clip) -> dict[str, np.ndarray]:
    """The pixels that show "skin", "hair" and "clothes" throughout, and never a hand: a presenter who makes other gestures shows
    them there, too; bool [H, W] each.
    """
    sampled, size = sampled_regions(clip), clip.frames.shape[1:3]
    hands = np.zeros(size, bool)
    for person in (from_frame(clip.keypoints[t]) for t in sampled):
        for box in (hand_box(hand, *size) for hand in (person.left_hand, person.right_hand)):
            if box:
                hands[box] = True
    return {name: np.logical_and.reduce([regions[name] for regions in sampled.values()]) & ~hands for name in sampled[0]}


def person_regions(clip: Clip, t: int) -> dict[str, np.ndarray]:
    """The pixels of frame t that show "skin", "hair" (or what covers it) and "clothes": bool [H, W] each.

    A pixel is skin when it changes as the presenter is drawn with another skin, and so on. Empty where the frame
    shows none.
    """
    size = clip.frames.shape[1]
    drawn = draw_frame(clip.identity, clip.motion, t, size).astype(int)
    regions = {}
    for name, repainted in repaintings(clip.identity).items():
        other = draw_frame(repainted, clip.motion, t, size).astype(int)
        regions[name] = shrunk(np.abs(drawn - other).max(-1) > REPAINTED)
    return regions


def repaintings(identity: Identity) -> dict[str, Identity]:
    """The presenter with one thing in the colour that differs most from its own."""
    hair = farthest(HAIR_COLOURS, identity.hair_rgb)
    scarf = farthest(CLOTHES_COLOURS, identity.scarf_rgb)
    return {
        "skin": replace(identity, skin=farthest(SKIN_COLOURS, identity.skin_rgb)),
        "hair": replace(identity, hair_colour=hair, scarf_colour=scarf),
        "clothes": replace(identity, clothes_colour=farthest(CLOTHES_COLOURS, identity.clothes_rgb)),
    }


def farthest(colours: dict[str, tuple[int, int, int]], from_colour: tuple[int, int, int]) -> str:
    """Name of the colour that differs most."""
    return max(colours, key=lambda name: sum(abs(a - b) for a, b in zip(colours[name], from_colour)))


def bare_wall(clip: Clip) -> np.ndarray:
    """The pixels that show the wall in every frame: bool [H, W]."""
    wall = draw_background(clip.identity, clip.frames.shape[1]).astype(int)
    return shrunk((np.abs(clip.frames.astype(int) - wall) <= 1).all((0, 3)))


def shrunk(region: np.ndarray) -> np.ndarray:
    """A region [H, W] without its border."""
    radius = max(1, round(MARGIN * len(region)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.erode(region.astype(np.uint8), disc, borderValue=1).astype(bool)
