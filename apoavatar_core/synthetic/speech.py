"""Speech with loud parts, quiet parts and silences, spoken by espeak-ng."""

from __future__ import annotations

import io
import subprocess
import sys
import wave
from math import gcd
from pathlib import Path

import numpy as np

SAMPLE_RATE = 16000

_TRAINING_VARIANTS = ("+m1", "+m3", "+m5", "+m7", "+f1", "+f2", "+f4", "+Andy", "+linda", "+steph")
_HELD_OUT_VARIANTS = ("+m2", "+m6", "+f3", "+f5", "+belinda", "+paul")
_TRAINING_LANGUAGES = ("en-us", "en-gb", "es", "fr-fr", "de", "it", "pt-br", "nl", "sv", "pl", "cs", "tr", "fi")
_HELD_OUT_LANGUAGES = ("en-us", "en-gb-scotland", "es-419", "ro", "da", "hu")

TRAINING_VOICES: tuple[str, ...] = tuple(
    language + variant for language in _TRAINING_LANGUAGES for variant in _TRAINING_VARIANTS
)
"""espeak-ng voices (language + variant) for training clips."""

HELD_OUT_VOICES: tuple[str, ...] = tuple(
    language + variant for language in _HELD_OUT_LANGUAGES for variant in _HELD_OUT_VARIANTS
)
"""espeak-ng voices for evaluation; none of their variants is in the training voices."""

_OPENINGS = ("well", "look", "now", "and then", "so", "today", "listen", "you know", "of course", "imagine that")
_SUBJECTS = ("we", "the people", "my friend", "this idea", "the city", "our team", "a good story", "the music",
             "every morning", "the new road", "her brother", "the old house", "la casa", "una buona idea", "das Haus")
_VERBS = ("really changed", "will become", "is", "can make", "never forgets", "opens", "has found", "wants",
          "should remember", "goes over", "built", "me gusta", "parle de", "moves")
_OBJECTS = ("something beautiful", "the whole world", "a very long day", "more than enough", "all of it",
            "the big blue door", "our own future", "a thousand voices", "that", "mañana por la mañana",
            "la grande ville", "wunderbar", "the answer", "another way", "everything we know")
_CLOSINGS = ("right now", "believe me", "again and again", "over there", "without a doubt", "for everyone", "at last")

_SPEECH_PEAK = 0.9
_ESPEAK_PROGRAM = Path(__file__).with_name("espeak.py")


def synthesize_speech(
    rng: np.random.Generator, seconds: float, *, voices: tuple[str, ...] = TRAINING_VOICES
) -> np.ndarray:
    """Mono float32 [round(seconds * 16000)] of one random voice saying random phrases."""
    samples = round(seconds * SAMPLE_RATE)
    voice = voices[int(rng.integers(len(voices)))]
    speed, pitch = int(rng.integers(135, 200)), int(rng.integers(25, 75))
    track = np.zeros(samples)
    position = int(rng.uniform(0.05, 0.45) * SAMPLE_RATE)
    emphasized = bool(rng.random() < 0.6)
    while position < samples:
        end_of_phrase = min(samples, position + int(rng.uniform(0.5, 1.2) * SAMPLE_RATE))
        while position < end_of_phrase:
            gain = rng.uniform(0.75, 1.0) if emphasized else rng.uniform(0.22, 0.45)
            part = gain * _speak(_words(rng), voice, speed, pitch)
            part = part[: samples - position]
            track[position : position + len(part)] += part
            position += len(part) + int(rng.uniform(0.01, 0.06) * SAMPLE_RATE)
            emphasized = not emphasized if rng.random() < 0.75 else emphasized
        position += int(rng.uniform(0.2, 0.8) * SAMPLE_RATE)
    return (rng.uniform(0.25, 1.0) * track + _room_noise(rng, samples)).astype(np.float32)


def _words(rng: np.random.Generator) -> str:
    """One piece of a sentence, one to four words long."""
    table = (_OPENINGS, _SUBJECTS, _VERBS, _OBJECTS, _CLOSINGS)[int(rng.integers(5))]
    return table[int(rng.integers(len(table)))]


def _speak(text: str, voice: str, speed: int, pitch: int) -> np.ndarray:
    """The text at 16 kHz, float64 with a fixed peak, its surrounding silence trimmed."""
    library, folder = _espeak_ng()
    command = [sys.executable, "-I", "-S", _ESPEAK_PROGRAM, library, voice, str(speed), str(pitch)]
    result = subprocess.run(command, input=text.encode(), capture_output=True, cwd=folder, check=False)
    if result.returncode != 0:
        message = result.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {result.returncode}"]
        raise RuntimeError(f"espeak-ng could not speak with voice {voice!r}: {message[-1]}")
    waveform = _trim(_resample(*_decode_wave(result.stdout)))
    peak = float(np.max(np.abs(waveform), initial=0.0))
    return waveform * (_SPEECH_PEAK / peak) if peak > 0 else waveform


def _espeak_ng() -> tuple[str, Path]:
    """The library's file and the folder that holds its `espeak-ng-data`."""
    try:
        import espeakng_loader
    except ModuleNotFoundError:
        raise RuntimeError(
            "espeakng-loader is not installed; its espeak-ng speaks the synthetic clips: pip install espeakng-loader"
        ) from None
    return espeakng_loader.get_library_path(), Path(espeakng_loader.get_data_path()).parent


def _decode_wave(data: bytes) -> tuple[np.ndarray, int]:
    """16-bit mono samples as float64 in [-1, 1] and their rate."""
    with wave.open(io.BytesIO(data)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2") / 32768.0, file.getframerate()


def _resample(waveform: np.ndarray, rate: int) -> np.ndarray:
    from scipy.signal import resample_poly

    divisor = gcd(SAMPLE_RATE, rate)
    return resample_poly(waveform, SAMPLE_RATE // divisor, rate // divisor)


def _trim(waveform: np.ndarray) -> np.ndarray:
    """Without the silence at both ends."""
    loud = np.flatnonzero(np.abs(waveform) > 0.01)
    return waveform[loud[0] : loud[-1] + 1] if len(loud) else waveform[:0]


def _room_noise(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Faint noise in half of the recordings, so that silence is not always digital zero."""
    level = rng.uniform(0.0002, 0.0012) if rng.random() < 0.5 else 0.0
    return level * rng.standard_normal(samples)
