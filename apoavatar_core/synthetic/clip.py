"""One reproducible synthetic clip: picture, sound, keypoints and caption."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .caption import describe
from .drawing import draw_frame
from .identity import Identity, sample_identity
from .motion import Motion, speech_motion
from .speech import HELD_OUT_VOICES, SAMPLE_RATE, TRAINING_VOICES, synthesize_speech
from .true_pose import frame_keypoints

_TRAINING_STREAM, _HELD_OUT_STREAM = 0, 1
_LONGEST_BEFORE, _SHORTEST_AFTER, _LONGEST_AFTER = 4.0, 0.1, 3.0
_STARTS_WITH_VOICE = 0.3


@dataclass(frozen=True, eq=False)
class Performance:
    """All of a clip but its pictures: what is said, and how who moves.

    voice: float32 [V], the whole voice that the clip is a piece of, and starts at `start` seconds of; speech: float32
    [S], that piece.
    """

    identity: Identity
    motion: Motion
    voice: np.ndarray
    start: float
    speech: np.ndarray
    fps: float
    caption: str


@dataclass(frozen=True, eq=False)
class Clip:
    """`frames` uint8 RGB [T, H, W, 3]; `speech` float32 mono [S], the piece of the whole `voice` [V] that begins at its
    `start` (seconds); one keypoint dict per frame.
    """

    frames: np.ndarray
    voice: np.ndarray
    start: float
    speech: np.ndarray
    sample_rate: int
    fps: float
    keypoints: list[dict]
    caption: str
    identity: Identity
    motion: Motion


def synthesize_clip(
    seed: int, frames: int = 49, fps: float = 24, size: int = 128, held_out: bool = False
) -> Clip:
    """The clip of this seed, the same bits every time.

    Held-out clips use voices, random numbers and combinations of hair, clothes and wall
    that no training clip has.
    """
    performance = synthesize_performance(seed, frames, fps, held_out=held_out)
    return Clip(
        frames=draw_clip(performance.identity, performance.motion, size),
        voice=performance.voice,
        start=performance.start,
        speech=performance.speech,
        sample_rate=SAMPLE_RATE,
        fps=fps,
        keypoints=[frame_keypoints(performance.identity, performance.motion, t, size) for t in range(frames)],
        caption=performance.caption,
        identity=performance.identity,
        motion=performance.motion,
    )


def synthesize_performance(seed: int, frames: int = 49, fps: float = 24, *, held_out: bool = False) -> Performance:
    """Identity, speech and motion of the clip of this seed.

    Most clips are cut from the middle of a longer voice: hands and mouth are already moving in their first frame, and
    what is loud is known from more than the clip.
    """
    stream = _HELD_OUT_STREAM if held_out else _TRAINING_STREAM
    rng = np.random.default_rng([stream, seed])
    identity = sample_identity(rng, held_out=held_out)
    first = 0 if rng.random() < _STARTS_WITH_VOICE else round(rng.uniform(0.5, _LONGEST_BEFORE) * fps)
    voice_frames = first + frames + round(rng.uniform(_SHORTEST_AFTER, _LONGEST_AFTER) * fps)
    voices = HELD_OUT_VOICES if held_out else TRAINING_VOICES
    voice = synthesize_speech(rng, voice_frames / fps, voices=voices)
    motion = speech_motion(voice, voice_frames, fps, identity, rng)
    begin, samples = round(first / fps * SAMPLE_RATE), round(frames / fps * SAMPLE_RATE)
    return Performance(
        identity=identity,
        motion=motion.window(first, frames),
        voice=voice,
        start=first / fps,
        speech=voice[begin : begin + samples],
        fps=fps,
        caption=describe(identity, int(rng.integers(2**32))),
    )


def draw_clip(identity: Identity, motion: Motion, size: int = 128) -> np.ndarray:
    """All frames of the motion: uint8 RGB [T, size, size, 3]."""
    return np.stack([draw_frame(identity, motion, t, size) for t in range(len(motion))])
