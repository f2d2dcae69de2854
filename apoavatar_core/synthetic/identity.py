"""Who the presenter is: every visible attribute, its random sampling and its caption.

All names are plain English words from closed vocabularies, so that the caption of
an identity determines its look. Lengths are fractions of the (square) frame.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

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
GESTURES = ("both hands", "alternating hands", "open arms")
GESTURE_SIZES: dict[str, float] = {"small": 0.8, "large": 1.1}

_BACKGROUND_PHRASES = {
    "plain": "a plain {} wall",
    "two-tone": "a two-tone {} wall",
    "window": "a {} wall with a window",
    "plant": "a {} wall with a green plant",
    "circles": "a {} wall with big circles",
    "shelf": "a {} wall with a bookshelf",
}

_DARK_SKINS = frozenset({"light brown", "brown", "dark brown", "very dark"})
_DARK_EYES = ("brown", "dark")
_BEARDED_STYLES = frozenset({"short", "side-parted", "curly", "bald"})
_HELD_OUT_BUCKETS = 10


@dataclass(frozen=True)
class Identity:
    """One presenter. Names index the colour tables; lengths are frame fractions."""

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
    gesture: str
    gesture_size: str
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


def describe(identity: Identity) -> str:
    """English caption of the identity, in words of a closed vocabulary."""
    wearing = [_with_article(f"{identity.clothes_colour} {identity.garment}")]
    if identity.glasses:
        wearing.insert(0, "glasses")
    wall = _BACKGROUND_PHRASES[identity.background].format(identity.wall_colour)
    return (
        f"A cartoon person with {identity.skin} skin and {_hair_phrase(identity)}, "
        f"wearing {' and '.join(wearing)}, talks in front of {wall}. "
        f"The person makes {identity.gesture_size} gestures with {identity.gesture}."
    )


def _hair_phrase(identity: Identity) -> str:
    match identity.hair_style:
        case "bald":
            hair = "a bald head"
        case "headscarf":
            hair = _with_article(f"{identity.scarf_colour} headscarf")
        case "bun":
            hair = f"{identity.hair_colour} hair in a bun"
        case "bob":
            hair = f"{identity.hair_colour} bob hair"
        case style:
            hair = f"{style} {identity.hair_colour} hair"
    return f"{hair} and a {identity.hair_colour} beard" if identity.beard else hair


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _draw(rng: np.random.Generator) -> Identity:
    def pick(options) -> str:
        names = tuple(options)
        return names[int(rng.integers(len(names)))]

    skin, hair_style = pick(SKIN_COLOURS), pick(HAIR_STYLES)
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
        gesture=pick(GESTURES),
        gesture_size=pick(GESTURE_SIZES),
        face_half_width=float(rng.uniform(0.138, 0.156)),
        jaw_fullness=float(rng.uniform(2.05, 2.6)),
        eye_distance=float(rng.uniform(0.124, 0.138)),
        eye_size=float(rng.uniform(0.92, 1.08)),
        mouth_half_width=float(rng.uniform(0.066, 0.074)),
        shoulder_half_width=float(rng.uniform(0.225, 0.262)),
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
