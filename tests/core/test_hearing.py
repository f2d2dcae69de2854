"""What encoder and gate hear of a recording: the same voice at any level and wiring, and no voice where nobody speaks."""

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from apoavatar_core.hearing import PIECE, chunks_of_speech, gain_to_level, heard_voice, joined, speaks, statistics
from apoavatar_core.log_mel import LogMelEncoder
from apoavatar_core.loudness import integrated_loudness
from apoavatar_core.refocusing import RefocusingConfig, frames_of, gate_of
from apoavatar_core.waveform import check_waveform, resampled, resampled_pieces

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
    amplitude = (gain_to_level(sine) * sine).std() * math.sqrt(2)
    assert 20 * math.log10(amplitude) - 3.01 == pytest.approx(-23.0, abs=0.1)


@given(st.lists(st.floats(-1, 1).filter(lambda share: abs(share) > 0.05), min_size=1, max_size=6))
@settings(max_examples=30, deadline=None)
def test_channels_that_share_a_voice_never_cancel(shares: list[float]) -> None:
    voice = torch.sin(torch.arange(1000) * 0.1)
    sound = np.concatenate(list(joined(torch.tensor(shares)[:, None] * voice + 0.1)))
    expected = np.mean(np.abs(shares)) * (voice - voice.mean()).numpy()
    np.testing.assert_allclose(np.abs(sound), np.abs(expected), atol=1e-5)


@pytest.mark.parametrize("samples", [2, 100, 600, 3000])
def test_the_shortest_sounds_are_heard(samples: int) -> None:
    assert heard_voice(SPEECH[:samples], SPEECH_RATE).samples.shape == (math.ceil(samples * RATE / SPEECH_RATE),)


@pytest.mark.parametrize("make", [lambda: SPEECH, lambda: SPEECH[20_000:23_000], room, music], ids=["voice", "short", "room", "music"])
@pytest.mark.parametrize("level", [1.0, 1e-3])
def test_loudness_is_that_of_torchaudio(make, level: float) -> None:
    from torchaudio.functional import loudness

    sound = make()
    peak = np.abs(sound).max()
    filled = torch.from_numpy(np.resize(sound, max(len(sound), 6400)) * np.float32(0.25 / peak))[None]
    expected = float(loudness(filled, RATE)) + 20 * math.log10(level * peak / 0.25)
    assert integrated_loudness(sound * np.float32(level)) == pytest.approx(expected, abs=0.01)


def test_a_drift_that_no_block_is_loud_enough_for_has_a_level() -> None:
    drift = np.sin(np.arange(8 * RATE) / RATE).astype(np.float32)
    assert np.isfinite(heard_voice(drift, RATE).samples).all()


def test_pieces_add_up_to_the_whole_sound() -> None:
    """An offset a hundred times as large as the voice does not drown what channels have in common."""
    generator = np.random.default_rng(3)
    channels = generator.standard_normal((2, 2 * PIECE + 999)).astype(np.float32) * 1e-2
    channels[1] += 1 - 0.5 * channels[0]
    means, products = statistics(torch.from_numpy(channels))
    exact = channels.astype(np.float64)
    np.testing.assert_allclose(means, exact.mean(axis=1), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(products, np.cov(exact) * (exact.shape[1] - 1), rtol=1e-3)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000.5])
def test_resampled_in_pieces_as_in_one(rate: float) -> None:
    sound = np.random.default_rng(4).standard_normal(50_001).astype(np.float32)
    pieces = np.split(sound, [1, 700, 33_333])
    np.testing.assert_allclose(resampled_pieces(iter(pieces), len(sound), rate), resampled(sound, rate), atol=1e-6)


def test_side_by_side_as_much_is_speech_as_chunk_by_chunk() -> None:
    """Silero's package, which hears a recording from its first chunk to its last."""
    threads = torch.get_num_threads()
    from silero_vad import load_silero_vad

    torch.set_num_threads(threads)
    voice = librosa.resample(SPEECH, orig_sr=SPEECH_RATE, target_sr=RATE)
    voice /= 14 * voice.std()
    # Across the borders of stretches, and up to the last chunk, which is not full.
    sound = np.concatenate([hiss(14, 1e-3), voice[: 4 * RATE], hiss(10, 1e-3), voice[: 4 * RATE], hiss(7.01, 1e-3), voice[:9000]])
    model = load_silero_vad()
    chunks = torch.from_numpy(np.pad(sound, (0, -len(sound) % 512))).split(512)
    with torch.inference_mode():
        expected = sum(model(chunk, RATE).item() >= 0.3 for chunk in chunks)
    assert expected > 100
    assert list(chunks_of_speech(sound, 1.0, bool))[-1] == pytest.approx(expected, abs=3)


def test_a_word_after_an_hour_is_heard(monkeypatch) -> None:
    """With rounds of two stretches the hour is over after 31 seconds."""
    monkeypatch.setattr("apoavatar_core.hearing.STRETCHES", 2)
    voice = librosa.resample(SPEECH, orig_sr=SPEECH_RATE, target_sr=RATE)
    assert not heard_voice(hiss(40, 1e-4), RATE).speaks
    assert heard_voice(np.concatenate([hiss(40, 1e-4), voice[:RATE]]), RATE).speaks


def test_hearing_can_be_ended_at_any_time() -> None:
    class Cancelled(Exception):
        pass

    def cancel_after(calls: int):
        counted = iter(range(calls))

        def between() -> None:
            if next(counted, None) is None:
                raise Cancelled

        return between

    sound = np.stack([hiss(20)] * 2)
    for calls in (0, 3, 200):
        with pytest.raises(Cancelled):
            heard_voice(sound, RATE, cancel_after(calls))


def test_the_largest_numbers_are_finite() -> None:
    check_waveform(np.full(10, 3e38, np.float32), RATE)
    with pytest.raises(ValueError, match="NaN or infinite"):
        check_waveform(np.array([3e38, 3e38, np.inf, -np.inf], np.float32), RATE)


def test_several_sounds_are_heard_at_the_same_time() -> None:
    """Of different lengths, as the model remembers what it heard; on the page and in a run, for example."""
    rng = np.random.default_rng(0)
    sounds = [rng.normal(0, 0.1, seconds * 16_000).astype(np.float32) for seconds in (3, 20, 35)]
    with ThreadPoolExecutor(len(sounds)) as threads:
        assert list(threads.map(lambda sound: [speaks(sound, 1.0) for _ in range(3)], sounds)) == [[False] * 3] * 3
