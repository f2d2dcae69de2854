"""Who the presenter is: every visible attribute and the style of gestures, and their random sampling.

All names are plain English words from closed vocabularies, so that they determine the look, and the range of each
number of the `Speaker`. Lengths are fractions of the (square) frame.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from ..gestures import SHAPES, Speaker

Colour = tuple[int, int, int]

SKIN_COLOURS: dict[str, Colour] = {
    "very fair": (255, 226, 207),
    "fair": (250, 210, 184),
    "light": (241, 194, 158),
    "tan": (224, 170, 126),
    "light brown": (198, 140, 98),
    "brown": (162, 106, 70),
    "dark brown": (122, 76, 50),
    "very dark": (90, 56, 40),
}

HAIR_COLOURS: dict[str, Colour] = {
    "black": (42, 36, 42),
    "dark brown": (76, 50, 40),
    "brown": (122, 80, 54),
    "red": (178, 82, 46),
    "blond": (228, 184, 104),
    "grey": (158, 158, 164),
    "white": (234, 232, 230),
}

CLOTHES_COLOURS: dict[str, Colour] = {
    "red": (206, 68, 66),
    "orange": (232, 136, 62),
    "yellow": (242, 196, 76),
    "green": (92, 158, 96),
    "teal": (48, 146, 148),
    "blue": (74, 124, 204),
    "navy blue": (48, 64, 112),
    "purple": (128, 92, 172),
    "pink": (232, 128, 158),
    "white": (242, 241, 238),
    "grey": (132, 138, 150),
    "black": (56, 56, 66),
}

WALL_COLOURS: dict[str, Colour] = {
    "pale blue": (188, 214, 234),
    "pale green": (196, 222, 198),
    "cream": (246, 232, 206),
    "peach": (250, 212, 188),
    "lavender": (214, 204, 234),
    "pale pink": (246, 208, 214),
    "light grey": (214, 218, 222),
    "mint": (178, 222, 214),
    "slate blue": (112, 136, 170),
    "dark green": (84, 124, 110),
}

EYE_COLOURS: dict[str, Colour] = {
    "brown": (84, 52, 36),
    "dark": (46, 36, 40),
    "blue": (62, 110, 160),
    "green": (70, 116, 84),
}

HAIR_STYLES = ("short", "side-parted", "bob", "long", "bun", "curly", "bald", "headscarf")
GARMENTS = ("t-shirt", "shirt with a collar", "jacket", "sweater", "striped shirt")
BACKGROUNDS = ("plain", "two-tone", "window", "plant", "circles", "shelf")
GESTURE_SHAPES = tuple(SHAPES)
GESTURE_HANDS = ("right hand", "left hand", "both hands", "either hand")
GESTURE_SIZES = ("small", "medium", "wide")
GESTURE_ENERGIES = ("calm", "moderate", "lively")

_DARK_SKINS = frozenset({"light brown", "brown", "dark brown", "very dark"})
_DARK_EYES = ("brown", "dark")
_BEARDED_STYLES = frozenset({"short", "side-parted", "curly", "bald"})
_HELD_OUT_BUCKETS = 10

_HANDS = {"right hand": (0.95, 0.1), "left hand": (0.05, 0.1), "both hands": (0.5, 0.9), "either hand": (0.5, 0.1)}
"""Shares of the right hand and of both hands that a word stands for."""
_SIZES = {"small": (0.6, 0.75), "medium": (0.85, 1.0), "wide": (1.1, 1.3)}
_ENERGIES = {
    "calm": ((0.5, 0.65), (0.75, 1.0)),
    "moderate": ((0.75, 0.9), (0.35, 0.65)),
    "lively": ((0.95, 1.0), (0.0, 0.2)),
}
"""Ranges of energy and calm that a word stands for."""
_LIKED = 0.75
"""How much a speaker likes the shape that their style is named after."""


@dataclass(frozen=True)
class Identity:
    """One presenter. Names index the colour tables; lengths are frame fractions.

    The gesture words say within which ranges the numbers of `speaker` lie.
    """

    skin: str
    hair_style: str
    hair_colour: str
    scarf_colour: str
    beard: bool
    glasses: bool
    eye_colour: str
    garment: str
    clothes_colour: str
    background: str
    wall_colour: str
    gesture_shape: str
    gesture_hands: str
    gesture_size: str
    gesture_energy: str
    speaker: Speaker
    face_half_width: float
    jaw_fullness: float
    eye_distance: float
    eye_size: float
    mouth_half_width: float
    shoulder_half_width: float

    @property
    def skin_rgb(self) -> Colour:
        return SKIN_COLOURS[self.skin]

    @property
    def hair_rgb(self) -> Colour:
        return HAIR_COLOURS[self.hair_colour]

    @property
    def scarf_rgb(self) -> Colour:
        return CLOTHES_COLOURS[self.scarf_colour]

    @property
    def eye_rgb(self) -> Colour:
        return EYE_COLOURS[self.eye_colour]

    @property
    def clothes_rgb(self) -> Colour:
        return CLOTHES_COLOURS[self.clothes_colour]

    @property
    def wall_rgb(self) -> Colour:
        return WALL_COLOURS[self.wall_colour]


def is_held_out(identity: Identity) -> bool:
    """Whether this combination of hair, clothes and wall is reserved for evaluation."""
    combination = f"{identity.hair_style}|{identity.clothes_colour}|{identity.wall_colour}"
    return zlib.crc32(combination.encode()) % _HELD_OUT_BUCKETS == 0


def sample_identity(rng: np.random.Generator, *, held_out: bool = False) -> Identity:
    """Draw a harmonious identity from the training (or the reserved) combinations."""
    while True:
        identity = _draw(rng)
        if is_held_out(identity) == held_out and _has_enough_contrast(identity):
            return identity


def _draw(rng: np.random.Generator) -> Identity:
    def pick(options) -> str:
        names = tuple(options)
        return names[int(rng.integers(len(names)))]

    skin, hair_style = pick(SKIN_COLOURS), pick(HAIR_STYLES)
    style = (pick(GESTURE_SHAPES), pick(GESTURE_HANDS), pick(GESTURE_SIZES), pick(GESTURE_ENERGIES))
    return Identity(
        skin=skin,
        hair_style=hair_style,
        hair_colour=pick(HAIR_COLOURS),
        scarf_colour=pick(CLOTHES_COLOURS),
        beard=bool(rng.random() < 0.3) and hair_style in _BEARDED_STYLES,
        glasses=bool(rng.random() < 0.25),
        eye_colour=pick(_DARK_EYES if skin in _DARK_SKINS else EYE_COLOURS),
        garment=pick(GARMENTS),
        clothes_colour=pick(CLOTHES_COLOURS),
        background=pick(BACKGROUNDS),
        wall_colour=pick(WALL_COLOURS),
        gesture_shape=style[0],
        gesture_hands=style[1],
        gesture_size=style[2],
        gesture_energy=style[3],
        speaker=_speaker(*style, rng),
        face_half_width=float(rng.uniform(0.138, 0.156)),
        jaw_fullness=float(rng.uniform(2.05, 2.6)),
        eye_distance=float(rng.uniform(0.124, 0.138)),
        eye_size=float(rng.uniform(1.05, 1.2)),
        mouth_half_width=float(rng.uniform(0.066, 0.074)),
        shoulder_half_width=float(rng.uniform(0.205, 0.235)),
    )


def _speaker(shape: str, hands: str, size: str, energy: str, rng: np.random.Generator) -> Speaker:
    """A speaker whose style the four words name."""
    right_hand, both_hands = _HANDS[hands]
    energetic, calm = _ENERGIES[energy]
    others = rng.dirichlet(np.ones(len(SHAPES)))
    return Speaker(
        right_hand=right_hand,
        both_hands=both_hands,
        range=float(rng.uniform(*_SIZES[size])),
        energy=float(rng.uniform(*energetic)),
        calm=float(rng.uniform(*calm)),
        lead=float(rng.uniform(0.0, 0.06)),
        shapes=tuple(_LIKED * (name == shape) + (1 - _LIKED) * other for name, other in zip(SHAPES, others.tolist())),
    )


def _has_enough_contrast(identity: Identity) -> bool:
    """Hands must stand out from the clothes, the head from the hair and the wall."""
    skin = identity.skin_rgb
    covering = identity.scarf_rgb if identity.hair_style == "headscarf" else identity.hair_rgb
    return (
        _distance(skin, identity.clothes_rgb) > 80
        and _distance(skin, covering) > 60
        and _distance(skin, identity.wall_rgb) > 50
        and _distance(identity.clothes_rgb, identity.wall_rgb) > 50
        and _distance(covering, identity.wall_rgb) > 40
    )


def _distance(first: Colour, second: Colour) -> float:
    """Perceptually weighted RGB distance ("redmean"), about 0 to 765."""
    red_mean = (first[0] + second[0]) / 2
    red, green, blue = (a - b for a, b in zip(first, second, strict=True))
    return float(
        np.sqrt((2 + red_mean / 256) * red**2 + 4 * green**2 + (2 + (255 - red_mean) / 256) * blue**2)
    )
