"""Three worlds of co-speech motion that differ in how much of the hands' motion the voice explains, and their performances."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...gestures import LOOSE, BodyTrack, Voice, hear, perform, pose_share, random_speaker
from .voices import FPS, Voices

RIGHT, MOUTH, LEFT = range(3)
"""The columns of a frame, as on a picture of the person: right hand, mouth, left hand."""
HANDS = (RIGHT, LEFT)
NUMBERS = 3
"""Of each: a wrist's way outward, up and forward from its own shoulder, in arm lengths; the mouth's opening and width, and
nothing.
"""

TREMBLING = 3
"""Frames, a quarter of a second, over which places are averaged where speeds are measured."""


@dataclass(frozen=True)
class World:
    """How closely gestures keep to the voice: voice_share is `Bond`'s, the share of the cues that stay on accents."""

    name: str
    voice_share: float


WORLDS = (World("free", 0.2), World("between", 0.6), World("bound", 1.0))
MAIN = WORLDS[1]
"""In which all variants are compared; the others show how the answers change."""


@dataclass(frozen=True, eq=False)
class Performances:
    """P performances of T frames: places [P, T, 3, 3] of right hand, mouth and left hand, and which voice [P] each is of."""

    places: np.ndarray
    voice: np.ndarray

    def __len__(self) -> int:
        return len(self.voice)


def perform_all(voices: Voices, world: World, which: np.ndarray, rng: np.random.Generator) -> Performances:
    """A performance of each of the voices `which` [P], by anyone: which hand they use and how they gesture no voice tells."""
    heard = {voice: hear(voices.speech[voice]) for voice in set(which.tolist())}
    places = [
        places_of(one_performance(heard[voice], world, voices.frames, rng), voices.mouth[voice]) for voice in which.tolist()
    ]
    return Performances(np.stack(places), which)


def one_performance(voice: Voice, world: World, frames: int, rng: np.random.Generator) -> BodyTrack:
    """A heard voice performed by anyone."""
    bond = replace(LOOSE, voice_share=world.voice_share)
    return perform(voice, random_speaker(rng), frames, FPS, int(rng.integers(2**32)), bond)


def places_of(body: BodyTrack, mouth: np.ndarray) -> np.ndarray:
    """Right wrist, mouth [T, 2] and left wrist as float32 [T, 3, 3]."""
    mouth = np.pad(mouth, ((0, 0), (0, NUMBERS - mouth.shape[1])))
    return np.stack([body.right_wrist, mouth, body.left_wrist], axis=1).astype(np.float32)


def hand_speed(places: np.ndarray, hands: tuple[int, ...] = HANDS) -> np.ndarray:
    """Mean speed of the hands in each frame, arm lengths per frame: places [..., T, 3, 3] → [..., T]; the first frame gets the
    second's.

    Places are smoothed before, as tracks from pictures are: a hand that trembles does not gesture.
    """
    from scipy.ndimage import uniform_filter1d

    smooth = uniform_filter1d(places[..., hands, :], TREMBLING, axis=-3, mode="nearest")
    steps = np.linalg.norm(np.diff(smooth, axis=-3), axis=-1).mean(-1)
    return np.concatenate([steps[..., :1], steps], axis=-1)


def explained_share(voices: Voices, world: World, performances: int = 8) -> float:
    """Share of the variance of the hands' speed that the voice explains, 0 … 1 (law of total variance, as `pose_share`)."""
    rng = np.random.default_rng(0)
    speeds = []
    for number in range(len(voices)):
        heard = hear(voices.speech[number])
        bodies = [one_performance(heard, world, voices.frames, rng) for _ in range(performances)]
        places = np.stack([places_of(body, voices.mouth[number]) for body in bodies])
        speeds.append(hand_speed(places)[..., None])
    return 1 - pose_share(speeds)
