"""The voices that are performed to: spoken once, heard as the pack hears voices, and kept in a file."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from ...conditioning.voice import features_at_video_rate, voice_of
from ...files import whole_file
from ...gestures import frame_loudness
from ...hearing import heard_voice
from ...log_mel import LogMelEncoder
from ...refocusing import RefocusingConfig, gate_of
from ...synthetic.motion import mouth_motion
from ...synthetic.speech import HELD_OUT_VOICES, SAMPLE_RATE, TRAINING_VOICES, synthesize_speech

FPS = 12
"""Frames a second: half the paper's, so that a small network sees strokes in few frames."""


@dataclass(frozen=True, eq=False)
class Voices:
    """V voices of T frames each, float32.

    Attributes:
        speech: [V, S] at 16 kHz.
        features: [V, T, 40], what the tiny preset's audio encoder hears at each frame.
        loudness: [V, T], full-scale RMS of each frame.
        normalized: [V, T], s̃ of Eq. 3 over the whole voice.
        dropout: [V, T], p of Eq. 4.
        mouth: [V, T, 2], opening and width of the mouth that says it, 0 … 1.
    """

    speech: np.ndarray
    features: np.ndarray
    loudness: np.ndarray
    normalized: np.ndarray
    dropout: np.ndarray
    mouth: np.ndarray

    def __len__(self) -> int:
        return len(self.speech)

    @property
    def frames(self) -> int:
        return self.features.shape[1]


def speak(count: int, seconds: float, held_out: bool) -> Voices:
    """So many voices; held-out ones are spoken by nobody whom training hears."""
    speakers = HELD_OUT_VOICES if held_out else TRAINING_VOICES
    rngs = [np.random.default_rng([int(held_out), number]) for number in range(count)]
    heard = [hear_all(synthesize_speech(rng, seconds, voices=speakers)) for rng in rngs]
    return Voices(**{field.name: np.stack([each[field.name] for each in heard]) for field in fields(Voices)})


def hear_all(speech: np.ndarray) -> dict[str, np.ndarray]:
    """The fields of `Voices` for one voice, mono 16 kHz [S]."""
    frames = round(len(speech) / SAMPLE_RATE * FPS)
    encoded = voice_of(LogMelEncoder().encode_audio(speech, SAMPLE_RATE))
    gate = gate_of(heard_voice(speech, SAMPLE_RATE), frames, FPS, RefocusingConfig())
    return {
        "speech": speech.astype(np.float32),
        "features": features_at_video_rate(encoded, frames, FPS).numpy(),
        "loudness": frame_loudness(speech, frames, FPS).astype(np.float32),
        "normalized": gate.normalized,
        "dropout": gate.dropout,
        "mouth": np.stack(mouth_motion(speech, frames, FPS), axis=-1),
    }


def kept_voices(path: Path, count: int, seconds: float, held_out: bool) -> Voices:
    """`speak`, from the file if it is there, else into it."""
    if not path.exists():
        spoken = speak(count, seconds, held_out)
        with whole_file(path) as unfinished:
            np.savez(unfinished, **{field.name: getattr(spoken, field.name) for field in fields(Voices)})
    with np.load(path, allow_pickle=False) as kept:
        return Voices(**{field.name: kept[field.name] for field in fields(Voices)})
