"""One reproducible synthetic clip: picture, sound, keypoints and caption."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .drawing import draw_frame
from .identity import Identity, describe, sample_identity
from .motion import Motion, speech_motion
from .speech import HELD_OUT_VOICES, SAMPLE_RATE, TRAINING_VOICES, synthesize_speech
from .true_pose import frame_keypoints

_TRAINING_STREAM, _HELD_OUT_STREAM = 0, 1
_LEAD_IN_SECONDS = (0, 1)


@dataclass(frozen=True)
class Performance:
    """All of a clip but its pictures: what is said, and how who moves."""

    identity: Identity
    motion: Motion
    speech: np.ndarray
    fps: float

    @property
    def caption(self) -> str:
        return describe(self.identity)


@dataclass(frozen=True)
class Clip:
    """`frames` uint8 RGB [T, H, W, 3]; `speech` float32 mono [S]; one keypoint dict per frame."""

    frames: np.ndarray
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

    Half of the clips start in the middle of a speech, so that hands and mouth are
    already moving in their first frame.
    """
    stream = _HELD_OUT_STREAM if held_out else _TRAINING_STREAM
    rng = np.random.default_rng([stream, seed])
    identity = sample_identity(rng, held_out=held_out)
    lead_frames = round(_LEAD_IN_SECONDS[int(rng.integers(2))] * fps)
    lead_samples = round(lead_frames / fps * SAMPLE_RATE)
    samples = round(frames / fps * SAMPLE_RATE)
    voices = HELD_OUT_VOICES if held_out else TRAINING_VOICES
    speech = synthesize_speech(rng, (lead_samples + samples) / SAMPLE_RATE, voices=voices)
    motion = speech_motion(speech, lead_frames + frames, fps, identity, rng)
    return Performance(identity, motion.window(lead_frames, frames), speech[lead_samples:], fps)


def draw_clip(identity: Identity, motion: Motion, size: int = 128) -> np.ndarray:
    """All frames of the motion: uint8 RGB [T, size, size, 3]."""
    return np.stack([draw_frame(identity, motion, t, size) for t in range(len(motion))])
