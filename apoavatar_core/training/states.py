"""What is drawn outright, with a share for each: which conditions an example keeps, the states of Eq. 8, and how many of its
first latents are given.
"""

from __future__ import annotations

import math

import numpy as np

from ..guidance import MODALITIES

STATES: dict[str, frozenset[str]] = {f"S{kept}": frozenset(MODALITIES[:kept]) for kept in range(len(MODALITIES) + 1)} | {
    "text_audio": frozenset({"text", "audio"}),
    "text_audio_pose": frozenset({"text", "audio", "pose"}),
}
"""The modalities that each keeps; all others are ∅. S0 … S4 are Eq. 8's, the last two its S3 and S4 without a portrait."""

SHARES = {"S0": 0.1, "S1": 0.1, "S2": 0.1, "S3": 0.25, "S4": 0.3, "text_audio": 0.1, "text_audio_pose": 0.05}
"""What every clip is made from, S3 and S4, gets most. S0 to S2 are subtracted from it, so an error in them shows in every
guided clip; each gets the tenth that is usual for the null of classifier-free guidance. Without a portrait Eq. 8 evaluates
S0, S1 and the last two.
"""


def checked_shares(shares: dict[str, float]) -> dict[str, float]:
    """The shares themselves, where they are shares of `STATES`.

    Raises:
        ValueError: an unknown state, a negative share, or a sum that is not 1.
    """
    for name, share in shares.items():
        if name not in STATES:
            raise ValueError(f"there is no state {name!r}, only {', '.join(STATES)}")
        if not share >= 0:
            raise ValueError(f"the share of {name} is {share}: use 0 or more")
    if not math.isclose(sum(shares.values()), 1, abs_tol=1e-6):
        raise ValueError(f"the shares sum to {sum(shares.values()):g}: let them sum to 1")
    return shares


def checked_leading(shares: dict[int, float]) -> dict[int, float]:
    """The shares themselves, where they are shares of numbers of leading latents.

    Raises:
        ValueError: a share that is not above 0, or a sum that is not 1.
    """
    for leading, share in shares.items():
        if not share > 0:
            raise ValueError(f"the share of {leading} leading latents is {share}: use more than 0, or leave it out")
    if not math.isclose(sum(shares.values()), 1, abs_tol=1e-6):
        raise ValueError(f"the shares sum to {sum(shares.values()):g}: let them sum to 1")
    return shares


def draw_leading(shares: dict[int, float], rng: np.random.Generator) -> int:
    """How many leading latents an example gives; the same draw whatever order the shares are written in."""
    choices = sorted(shares)
    weights = np.array([shares[leading] for leading in choices])
    return choices[rng.choice(len(choices), p=weights / weights.sum())]


def draw_state(shares: dict[str, float], rng: np.random.Generator) -> frozenset[str]:
    """The modalities that an example keeps; the same draw whatever order the shares are written in."""
    weights = np.array([shares.get(name, 0.0) for name in STATES])
    return list(STATES.values())[rng.choice(len(STATES), p=weights / weights.sum())]
