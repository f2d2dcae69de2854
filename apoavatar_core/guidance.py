"""Decoupled classifier-free guidance (§3.4, Eq. 8).

With v(…) the prediction under some conditions and ∅ the null condition, Eq. 8 reads

    v̂ = λ_pose  [v(txt, img, audio, pose) − v(txt, img, audio, ∅)]
      + λ_audio [v(txt, img, audio, ∅)    − v(txt, img, ∅, ∅)]
      + λ_img   [v(txt, img, ∅, ∅)        − v(txt, ∅, ∅, ∅)]
      + λ_txt   [v(txt, ∅, ∅, ∅)          − v(∅, ∅, ∅, ∅)]
      +          v(∅, ∅, ∅, ∅),

a weighted sum of five nested states S0 … S4, S_k keeping the first k of MODALITIES. The weights sum to 1, so the same
sum is right for velocities and for denoised latents, which differ from them by a term that all states share.

A modality that the user does not give is ∅ in every state, so its state equals the one before and the two merge.
Without a pose S4 = S3, whose coefficient is then λ_audio whatever λ_pose: the paper's pose-free inference.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

MODALITIES = ("text", "image", "audio", "pose")
"""In the order in which Eq. 8 adds them."""

NEGLIGIBLE = 1e-8
"""A state with a coefficient smaller than this is not evaluated."""


@dataclass(frozen=True)
class GuidanceScales:
    """λ of each modality in Eq. 8: 1 follows the condition as learnt, more exaggerates it, 0 ignores it."""

    text: float
    image: float
    audio: float
    pose: float

    def __post_init__(self) -> None:
        for modality in MODALITIES:
            scale = getattr(self, modality)
            if not math.isfinite(scale):
                raise ValueError(f"the {modality} guidance scale is {scale}; use a finite number, 1 for no guidance.")


def state_coefficients(scales: GuidanceScales) -> tuple[float, float, float, float, float]:
    """Coefficients of S0 … S4: 1−λ_txt, λ_txt−λ_img, λ_img−λ_audio, λ_audio−λ_pose, λ_pose. They sum to 1."""
    return (
        1 - scales.text,
        scales.text - scales.image,
        scales.image - scales.audio,
        scales.audio - scales.pose,
        scales.pose,
    )


def evaluation_plan(scales: GuidanceScales, present: frozenset[str]) -> list[tuple[frozenset[str], float]]:
    """The states of Eq. 8 that have to be evaluated, from S4 to S0.

    Equal states are merged and states that do not count are left out: with all scales equal two remain, with all
    scales 1 only the full condition.

    Args:
        scales: λ of each modality.
        present: the MODALITIES that the user's conditioning has.

    Returns:
        For each state the modalities that it keeps (all others are ∅) and its coefficient.

    Raises:
        ValueError: if `present` names something that is no modality.
    """
    if unknown := present - frozenset(MODALITIES):
        raise ValueError(f"no such modality: {', '.join(sorted(unknown))}; use {', '.join(MODALITIES)}.")
    merged: dict[frozenset[str], float] = {}
    for kept, coefficient in reversed(list(enumerate(state_coefficients(scales)))):
        state = present.intersection(MODALITIES[:kept])
        merged[state] = merged.get(state, 0.0) + coefficient
    return [(state, coefficient) for state, coefficient in merged.items() if abs(coefficient) >= NEGLIGIBLE]


def guided_prediction(predictions: Sequence[Tensor], coefficients: Sequence[float]) -> Tensor:
    """v̂ of Eq. 8: the sum of the predictions of the plan's states, each times its coefficient, in their shape.

    Raises:
        ValueError: if there is not one coefficient per prediction.
    """
    if not predictions or len(predictions) != len(coefficients):
        raise ValueError(
            f"{len(predictions)} predictions and {len(coefficients)} coefficients; pass one of each per state."
        )
    return sum(coefficient * prediction for coefficient, prediction in zip(coefficients, predictions, strict=True))
