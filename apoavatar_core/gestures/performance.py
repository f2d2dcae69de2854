"""A voice performed by a speaker: the motion of a body over time, in units of any body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

import numpy as np

from . import idle
from .accents import Voice
from .arms import arm_moves
from .close import close_moves
from .phases import follow
from .plan import LOOSE, Bond, plan_gestures
from .shapes import PLACE, REST
from .speaker import Speaker

_BODY_STREAM = 1
BEFORE_THE_BELLY = MappingProxyType({"right": REST, "left": REST})


@dataclass(frozen=True, eq=False)
class BodyTrack:
    """The motion of T frames, float32. "Right" is the person's own.

    Attributes:
        right_wrist, left_wrist: [T, 3] (outward, up, forward) from the own shoulder, in lengths of the straight arm.
        right_hand, left_hand: [T, 6], the numbers of `shapes.HAND`.
        sway: [T], how far neck and shoulders are to the picture's right, in arm lengths.
        breath: [T], how far the shoulders are lifted, in arm lengths.
        head_turn, head_nod, head_tilt: [T] radians; towards the picture's right, down, clockwise on the picture.
        gaze: [T, 2], right and up on the picture, −1 … 1.
        blink: [T], 0 open … 1 shut.
        brow: [T], 0 at rest … 1 raised.
    """

    right_wrist: np.ndarray
    left_wrist: np.ndarray
    right_hand: np.ndarray
    left_hand: np.ndarray
    sway: np.ndarray
    breath: np.ndarray
    head_turn: np.ndarray
    head_nod: np.ndarray
    head_tilt: np.ndarray
    gaze: np.ndarray
    blink: np.ndarray
    brow: np.ndarray

    def __len__(self) -> int:
        return len(self.sway)

    def window(self, start: int, frames: int) -> BodyTrack:
        """`frames` frames from frame `start` on."""
        return BodyTrack(**{f.name: getattr(self, f.name)[start : start + frames] for f in fields(self)})


def perform(
    voice: Voice,
    speaker: Speaker,
    frames: int,
    fps: float,
    seed: int,
    bond: Bond = LOOSE,
    rests: Mapping[str, np.ndarray] = BEFORE_THE_BELLY,
    starts: Mapping[str, np.ndarray] = BEFORE_THE_BELLY,
) -> BodyTrack:
    """The motion of the first `frames` frames at `fps`, the same for the same seed.

    Frame t shows the middle of its time, (t + 1/2) / fps, whatever the frame rate. Frames after the voice show a listener.

    Args:
        voice: what is heard.
        speaker: who performs it.
        frames: 0 or more.
        fps: frames a second.
        seed: of all choices, 0 or more.
        bond: how closely the gestures keep to the voice.
        rests: wrist and hand [9] of each arm at rest.
        starts: the same of each arm before it first moves.
    """
    times = (np.arange(frames) + 0.5) / fps
    gestures = plan_gestures(voice, speaker, seed, bond)
    moves = close_moves if bond.close else arm_moves
    right, left = (
        follow(starts[side], moves(gestures, side, speaker, rests[side]), times) for side in ("right", "left")
    )
    # One generator a purpose: what one of them draws must not move the others.
    rngs = iter(np.random.default_rng([_BODY_STREAM, seed]).spawn(9))
    nod = idle.nods(voice, times, next(rngs))
    lean = idle.leaning(voice, times, 1.0, next(rngs))
    tracks = {
        "right_wrist": right[:, PLACE],
        "left_wrist": left[:, PLACE],
        "right_hand": right[:, PLACE.stop :],
        "left_hand": left[:, PLACE.stop :],
        "sway": 0.020 * lean + idle.wandering(times, 0.012, next(rngs)),
        "breath": idle.breathing(times, next(rngs)),
        "head_turn": 0.10 * lean + idle.wandering(times, 0.10, next(rngs)),
        "head_nod": nod + idle.wandering(times, 0.02, next(rngs)),
        "head_tilt": 0.03 * lean + idle.wandering(times, 0.03, next(rngs)),
        "gaze": idle.gaze(times, next(rngs)),
        "blink": idle.blinks(times, next(rngs)),
        "brow": np.clip(nod / idle.NOD, 0.0, 1.0),
    }
    return BodyTrack(**{name: np.asarray(track, dtype=np.float32) for name, track in tracks.items()})
