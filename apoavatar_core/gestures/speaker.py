"""Who gestures: the style that stays when the words change."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from .shapes import SHAPES


@dataclass(frozen=True)
class Speaker:
    """A person's gesture style.

    Attributes:
        right_hand: share of one-handed gestures made with the right hand, 0 … 1.
        both_hands: share of gestures made with both hands, 0 … 1.
        range: size of the gestures, 1 for middling, about 0.6 … 1.3.
        energy: chance that an accent of middling strength becomes a gesture; strong ones have up to 0.5 more, weak ones
            up to 0.5 less, so that 1.5 lets none pass.
        calm: 0 … 1; the calm move slower, hold longer and rest at once when they pause.
        lead: seconds by which the middle of a stroke comes before its accent, 0 … 0.15.
        shapes: how much each of `SHAPES` is liked, in their order, at least one above 0.
    """

    right_hand: float = 0.6
    both_hands: float = 0.4
    range: float = 1.0
    energy: float = 0.9
    calm: float = 0.3
    lead: float = 0.03
    shapes: tuple[float, ...] = (1.0,) * len(SHAPES)

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name != "shapes" and not 0 <= getattr(self, field.name) <= 2:
                raise ValueError(f"A speaker's {field.name} is {getattr(self, field.name)}; give a number from 0 to 2.")
        if len(self.shapes) != len(SHAPES) or min(self.shapes) < 0 or sum(self.shapes) <= 0:
            raise ValueError(f"A speaker's shapes are {self.shapes}; give one weight for each of {', '.join(SHAPES)}.")


def random_speaker(rng: np.random.Generator) -> Speaker:
    """Anyone."""
    return Speaker(
        right_hand=float(rng.uniform()),
        both_hands=float(rng.uniform()),
        range=float(rng.uniform(0.65, 1.25)),
        energy=float(rng.uniform(0.6, 1.0)),
        calm=float(rng.uniform()),
        lead=float(rng.uniform(0.0, 0.06)),
        shapes=tuple(rng.dirichlet(np.full(len(SHAPES), 0.6)).tolist()),
    )
