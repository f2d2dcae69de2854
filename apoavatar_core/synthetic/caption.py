"""What a presenter looks like and how they gesture, in many wordings of the same facts."""

from __future__ import annotations

import re

import numpy as np

from .identity import Identity

_SKINS = ("{} skin", "a {} complexion", "a {} skin tone")
_WALLS = {
    "plain": ("a plain {} wall", "a bare {} wall", "an empty wall in {}"),
    "two-tone": ("a two-tone {} wall", "a wall in two tones of {}"),
    "window": ("a {} wall with a window", "a {} wall that has a window"),
    "plant": ("a {} wall with a green plant", "a {} wall and a potted plant", "a {} wall beside a green plant"),
    "circles": ("a {} wall with big circles", "a {} wall decorated with large circles"),
    "shelf": ("a {} wall with a bookshelf", "a {} wall and shelves of books"),
}
_GARMENTS = {
    "t-shirt": ("{} t-shirt", "{} T-shirt with short sleeves", "{} tee"),
    "shirt with a collar": ("{} shirt with a collar", "{} collared shirt", "{} button-up shirt"),
    "jacket": ("{} jacket", "{} suit jacket over a white shirt", "{} blazer"),
    "sweater": ("{} sweater", "{} pullover", "{} jumper"),
    "striped shirt": ("{} striped shirt", "{} shirt with stripes", "{} top with stripes"),
}
_HAIR = {
    "bald": ("a bald head", "no hair", "a shaved head"),
    "headscarf": ("a {scarf} headscarf", "a headscarf in {scarf}", "a {scarf} scarf around the head"),
    "bun": ("{hair} hair in a bun", "{hair} hair tied up in a bun", "a {hair} bun"),
    "bob": ("{hair} bob hair", "a {hair} bob", "{hair} hair cut in a bob"),
    "short": ("short {hair} hair", "{hair} hair, cut short", "{hair} short hair"),
    "side-parted": ("side-parted {hair} hair", "{hair} hair with a side parting", "{hair} hair parted at the side"),
    "long": ("long {hair} hair", "{hair} hair that falls over the shoulders", "{hair} long hair"),
    "curly": ("curly {hair} hair", "{hair} curls", "{hair} curly hair"),
}
_SHAPES = {
    "beat": ("loosely closed hands", "soft fists", "half-closed fists"),
    "open": ("open hands", "spread fingers", "open palms"),
    "point": ("a pointing finger", "the index finger stretched out", "an outstretched index finger"),
    "flat": ("flat hands", "a flat palm", "straight fingers held together"),
}
_HANDS = {
    "right hand": ("mostly with the right hand", "mainly right-handed", "usually with the right hand"),
    "left hand": ("mostly with the left hand", "mainly left-handed", "usually with the left hand"),
    "both hands": ("with both hands", "with both hands together", "two-handed"),
    "either hand": ("with one hand or the other", "with either hand", "now with the left, now with the right hand"),
}
_SIZES = {
    "small": ("small", "narrow", "little"),
    "medium": ("medium", "moderately large", "middle-sized"),
    "wide": ("wide", "large", "sweeping"),
}
_ENERGIES = {
    "calm": ("calm", "sparing", "quiet"),
    "moderate": ("moderate", "even", "measured"),
    "lively": ("lively", "energetic", "animated"),
}
_PEOPLE = ("A cartoon person", "A drawn presenter", "An illustrated speaker", "A cartoon presenter")
_SENTENCES = (
    "{who} with {head}, wearing {clothes}, talks in front of {wall}.",
    "{who} with {head} speaks before {wall} and wears {clothes}.",
    "In front of {wall} stands a cartoon person with {head}, dressed in {clothes}, and talks.",
    "{who} who has {head} and wears {clothes} is talking; behind is {wall}.",
)
_GESTURES = (
    "The person makes {energy}, {size} gestures {hands}, with {shape}.",
    "The gestures are {energy} and {size}, {hands}, with {shape}.",
    "{Energy} gestures, {size} ones, {hands}: {shape}.",
    "Gesturing {hands} with {shape}, the person is {energy}; the movements are {size}.",
)


def describe(identity: Identity, wording: int = 0) -> str:
    """English caption of the identity's look and gestures; each `wording` (0 or more) says the same differently."""
    rng = np.random.default_rng(wording)

    def pick(options: tuple[str, ...]) -> str:
        return options[int(rng.integers(len(options)))]

    colours = {"hair": identity.hair_colour, "scarf": identity.scarf_colour}
    features = [pick(_SKINS).format(identity.skin), pick(_HAIR[identity.hair_style]).format(**colours)]
    if identity.beard:
        features.append(f"a {identity.hair_colour} beard")
    clothes = ["a " + pick(_GARMENTS[identity.garment]).format(identity.clothes_colour)]
    if identity.glasses:
        clothes.append(pick(("glasses", "a pair of glasses", "dark-framed glasses")))
    look = pick(_SENTENCES).format(
        who=pick(_PEOPLE),
        head=_listed(rng.permutation(features).tolist()),
        clothes=_listed(rng.permutation(clothes).tolist()),
        wall=pick(_WALLS[identity.background]).format(identity.wall_colour),
    )
    energy = pick(_ENERGIES[identity.gesture_energy])
    gestures = pick(_GESTURES).format(
        energy=energy,
        Energy=energy.capitalize(),
        size=pick(_SIZES[identity.gesture_size]),
        hands=pick(_HANDS[identity.gesture_hands]),
        shape=pick(_SHAPES[identity.gesture_shape]),
    )
    text = " ".join((look, gestures) if rng.random() < 0.75 else (gestures, look))
    return re.sub(r"\ba (?=[aeiou])", "an ", text)


def facts_told(identity: Identity) -> dict[str, str | bool]:
    """What every caption of the identity tells, whatever its wording: fields of `Identity` with their values."""
    told = dict.fromkeys(
        ("skin", "hair_style", "beard", "glasses", "garment", "clothes_colour", "background", "wall_colour")
        + ("gesture_shape", "gesture_hands", "gesture_size", "gesture_energy")
    )
    if identity.beard or identity.hair_style not in ("bald", "headscarf"):
        told["hair_colour"] = None
    if identity.hair_style == "headscarf":
        told["scarf_colour"] = None
    return {name: getattr(identity, name) for name in told}


def _listed(items: list[str]) -> str:
    """The items with commas, and "and" before the last."""
    return " and ".join(filter(None, (", ".join(items[:-1]), items[-1])))
