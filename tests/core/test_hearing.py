"""What encoder and gate hear of a recording: the same voice at any level and wiring, and no voice where nobody speaks."""

import math
from pathlib import Path

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from apoavatar_core.hearing import heard_voice, joined, levelled
from apoavatar_core.log_mel import LogMelEncoder
from apoavatar_core.refocusing import RefocusingConfig, frames_of, gate_of

RATE = 16_000
FPS = 24.0
SPEECH, SPEECH_RATE = librosa.load(Path(__file__).parents[2] / "workflows" / "assets" / "speech.wav", sr=None)


def keep(sound: np.ndarray, rate: int) -> np.ndarray:
    voice = heard_voice(sound, rate)
    return gate_of(voice, frames_of(voice, FPS), FPS, RefocusingConfig()).keep


def features(sound: np.ndarray, rate: int) -> torch.Tensor:
    return LogMelEncoder().encode_audio(torch.from_numpy(np.atleast_2d(sound)), rate)["encoded_audio"]


def hiss(seconds: float = 4.0, level: float = 10 ** (-65 / 20)) -> np.ndarray:
    return level * np.random.default_rng(0).standard_normal(round(seconds * RATE)).astype(np.float32)


def hum() -> np.ndarray:
    time = np.arange(4 * RATE) / RATE
    return (0.01 * sum(np.sin(2 * np.pi * 50 * k * time) / k for k in (1, 2, 3)) + hiss(level=1e-4)).astype(np.float32)


def room() -> np.ndarray:
    """Pink noise in which something falls to the floor now and then."""
    generator, count = np.random.default_rng(1), 4 * RATE
    spectrum = np.fft.rfft(generator.standard_normal(count)) / np.sqrt(np.maximum(np.fft.rfftfreq(count, 1 / RATE), 20))
    noise = np.fft.irfft(spectrum)
    noise *= 2e-3 / noise.std()
    for start in generator.integers(0, count - 2000, 8):
        noise[start : start + 2000] += 0.02 * np.exp(-np.arange(2000) / 300) * generator.standard_normal(2000)
    return noise.astype(np.float32)


def music() -> np.ndarray:
    """Chords of plucked strings, two a second."""
    generator, sound = np.random.default_rng(2), np.zeros(5 * RATE)
    time = np.arange(RATE) / RATE
    for start in range(0, 4 * RATE, RATE // 2):
        root = 220 * 2 ** (generator.integers(0, 24) / 12)
        for tone in (1, 2 ** (4 / 12), 2 ** (7 / 12)):
            for overtone in range(1, 6):
                sound[start : start + RATE] += np.sin(2 * np.pi * root * tone * overtone * time) / overtone * np.exp(-2 * time)
    return (0.05 * sound).astype(np.float32)


WIRINGS = {
    "mono": SPEECH,
    "stereo": np.stack([SPEECH, SPEECH]),
    "inverted": np.stack([SPEECH, -SPEECH]),
    "inverted and softer": np.stack([SPEECH, -0.6 * SPEECH]),
    "left only": np.stack([SPEECH, 0 * SPEECH]),
    "right only": np.stack([0 * SPEECH, SPEECH]),
    "centre of five": np.stack([0 * SPEECH] * 2 + [SPEECH] + [0 * SPEECH] * 2),
    "with an offset": SPEECH * 0.5 + 0.4,
    "offset of one channel": np.stack([SPEECH, SPEECH - 0.3]),
}


@pytest.mark.parametrize("decibels", [-35, -20, 0])
@pytest.mark.parametrize("wiring", WIRINGS)
def test_a_voice_is_the_same_at_any_level_and_wiring(wiring: str, decibels: float) -> None:
    sound = WIRINGS[wiring] * np.float32(10 ** (decibels / 20))
    np.testing.assert_allclose(keep(sound, SPEECH_RATE), keep(SPEECH, SPEECH_RATE), atol=0.02)
    torch.testing.assert_close(features(sound, SPEECH_RATE), features(SPEECH, SPEECH_RATE), atol=0.02, rtol=0)


@pytest.mark.parametrize("make", [hiss, hum, room, music])
def test_the_gate_rests_where_nobody_speaks(make) -> None:
    assert not heard_voice(make(), RATE).speaks
    assert keep(make(), RATE).max() <= 0.05


@pytest.mark.parametrize(
    "change",
    [
        lambda voice: voice + 0.3 * voice.std() * hiss(len(voice) / RATE, 1.0),
        lambda voice: voice + 0.7 * np.resize(music(), len(voice)) * voice.std() / music().std(),
        lambda voice: librosa.effects.pitch_shift(librosa.effects.time_stretch(voice, rate=0.5), sr=RATE, n_steps=5),
        lambda voice: np.pad(voice, (20 * RATE, 0)),
    ],
    ids=["in hiss", "over music", "drawn out and high, as in song", "after a long silence"],
)
def test_a_voice_counts_among_other_things(change) -> None:
    voice = librosa.resample(SPEECH, orig_sr=SPEECH_RATE, target_sr=RATE)
    assert heard_voice(change(voice).astype(np.float32), RATE).speaks
    assert keep(change(voice).astype(np.float32), RATE).max() > 0.9


def test_what_is_no_voice_keeps_its_level() -> None:
    np.testing.assert_allclose(heard_voice(hiss(), RATE).samples, hiss() - hiss().mean(), atol=1e-9)


def test_the_level_is_that_of_bs_1770() -> None:
    """A sine of 997 Hz at full scale measures −3.01 LUFS: this is how the recommendation is calibrated."""
    sine = 0.7 * np.sin(2 * np.pi * 997 * np.arange(RATE) / RATE).astype(np.float32)
    amplitude = levelled(sine).std() * math.sqrt(2)
    assert 20 * math.log10(amplitude) - 3.01 == pytest.approx(-23.0, abs=0.1)


@given(st.lists(st.floats(-1, 1).filter(lambda share: abs(share) > 0.05), min_size=1, max_size=6))
@settings(max_examples=30, deadline=None)
def test_channels_that_share_a_voice_never_cancel(shares: list[float]) -> None:
    voice = torch.sin(torch.arange(1000) * 0.1)
    sound = joined(torch.tensor(shares)[:, None] * voice + 0.1)
    expected = np.mean(np.abs(shares)) * (voice - voice.mean()).numpy()
    np.testing.assert_allclose(np.abs(sound), np.abs(expected), atol=1e-5)


@pytest.mark.parametrize("samples", [2, 100, 600, 3000])
def test_the_shortest_sounds_are_heard(samples: int) -> None:
    assert heard_voice(SPEECH[:samples], SPEECH_RATE).samples.shape == (math.ceil(samples * RATE / SPEECH_RATE),)
