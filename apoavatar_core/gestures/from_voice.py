"""Gestures from the voice alone, on a portrait's own body: what the node of that name does."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from ..pose.keypoints import PersonKeypoints
from .accents import hear
from .body import SHOULDERS, Arm, Body, bent_arm, lay_on, portrait_body
from .performance import BodyTrack, perform
from .plan import CLOSE
from .speaker import Speaker
from .style import FilmStyle
from .styled import styled_arms

_LIKED = (0.8, 1.6, 0.4, 1.2)
"""How much a presenter likes each of `SHAPES`."""


@dataclass(frozen=True)
class Dials:
    """What a user sets.

    energy: how many accents become gestures, 0 only the strongest … 1 all; range: size of the gestures, 0.3 … 2, 1 for
    middling; handedness: −1 left hand only … 0 mostly both … 1 right hand only; calm: 0 … 1, slower strokes and sooner
    at rest.
    """

    energy: float = 0.8
    range: float = 1.0
    handedness: float = 0.0
    calm: float = 0.3

    def __post_init__(self) -> None:
        lows, highs = {"range": 0.3, "handedness": -1.0}, {"range": 2.0}
        for field in fields(self):
            low, high = lows.get(field.name, 0.0), highs.get(field.name, 1.0)
            if not low <= getattr(self, field.name) <= high:
                raise ValueError(f"{field.name} is {getattr(self, field.name)}; give a number from {low:g} to {high:g}.")

    def speaker(self) -> Speaker:
        return Speaker(
            right_hand=(1 + self.handedness) / 2,
            both_hands=0.8 * (1 - abs(self.handedness)),
            range=self.range,
            energy=1.5 * self.energy,
            calm=self.calm,
            lead=0.02,
            shapes=_LIKED,
        )


def gestures_from_voice(
    speech: np.ndarray,
    portrait: PersonKeypoints,
    aspect: float,
    frames: int,
    fps: float,
    seed: int,
    dials: Dials,
    style: FilmStyle | None = None,
) -> list[PersonKeypoints]:
    """A person's keypoints in `frames` frames at `fps`; the same for the same seed.

    Hands move on the accents and rest in the pauses, the head nods, the body sways and breathes. The face's features
    are the portrait's: what the mouth says is another model's business.

    Args:
        speech: mono 16 kHz [S]; frames after its end show a listener.
        portrait: the keypoints of the picture that will move.
        aspect: that picture's width / height.
        frames: 0 or more.
        fps: above 0.
        seed: 0 or more.
        dials: how they gesture.
        style: a film whose strokes the arms make in place of their own; `handedness` does not act on it.

    Raises:
        ValueError: when the portrait shows no person.
    """
    body = portrait_body(portrait, aspect)
    return lay_on(body, *moving_body(speech, body, frames, fps, seed, dials, style))


def moving_body(
    speech: np.ndarray, body: Body, frames: int, fps: float, seed: int, dials: Dials, style: FilmStyle | None = None
) -> tuple[dict[str, Arm], BodyTrack]:
    """What `gestures_from_voice` lays on the body: its arms, "right" and "left", and the motion of the rest of it."""
    voice, speaker = hear(speech), dials.speaker()
    rests, starts = ({side: held(side) for side in SHOULDERS} for held in (body.rest, body.start))
    track = perform(voice, speaker, frames, fps, seed, CLOSE, rests, starts)
    if style is not None:
        return styled_arms(style, voice, speaker, frames, fps, seed), track
    wrists = {side: (getattr(track, f"{side}_wrist"), getattr(track, f"{side}_hand")) for side in SHOULDERS}
    return {side: bent_arm(place, shape, body, side) for side, (place, shape) in wrists.items()}, track
