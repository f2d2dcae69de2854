"""The log-mel spectrogram in the place of an audio encoder."""

import math

import pytest
import torch

from apoavatar_core.grid import AUDIO_RATE
from apoavatar_core.log_mel import LogMelEncoder


def noise(seconds: float, dbfs: float, sample_rate: int = 16_000) -> torch.Tensor:
    samples = torch.randn(1, 1, round(seconds * sample_rate), generator=torch.Generator().manual_seed(0))
    return samples * 10 ** (dbfs / 20)


def tone(hz: float, seconds: float, sample_rate: int, amplitude: float = 0.3) -> torch.Tensor:
    time = torch.arange(round(seconds * sample_rate), dtype=torch.float64) / sample_rate
    return (amplitude * torch.sin(2 * math.pi * hz * time)).float()[None, None]


def encode(waveform: torch.Tensor, sample_rate: int = 16_000) -> torch.Tensor:
    return LogMelEncoder().encode_audio(waveform, sample_rate)["encoded_audio"][0]


def test_the_encoder_answers_like_a_comfyui_audio_encoder() -> None:
    output = LogMelEncoder().encode_audio(noise(2.0, -20, 48_000).repeat(1, 2, 1), 48_000)
    assert set(output) == {"encoded_audio", "encoded_audio_all_layers", "audio_samples", "encoder"}
    assert output["audio_samples"] == 32_000
    assert output["encoded_audio"].shape == (1, 102, LogMelEncoder.feature_dim)
    assert output["encoded_audio"].dtype == torch.float32
    assert len(output["encoded_audio_all_layers"]) == LogMelEncoder.layers == 1
    assert torch.equal(output["encoded_audio_all_layers"][0], output["encoded_audio"])


def test_silence_is_minus_one_and_not_the_null_audio() -> None:
    assert (encode(torch.zeros(1, 1, 16_000)) == -1).all()
    after_speech = encode(torch.cat([noise(0.5, -15), torch.zeros(1, 1, 16_000)], dim=-1))[30:]
    assert (after_speech == -1).all()


def test_room_noise_is_not_amplified() -> None:
    assert encode(noise(2.0, -60)).max() == -1
    assert encode(noise(2.0, -20)).mean() > 0.3


def test_loud_sound_is_near_one_and_nothing_exceeds_the_range() -> None:
    loud = encode(tone(1000, 1.0, 16_000))
    peak = loud[10:-10].max(dim=1).values
    assert (peak > 0.9).all() and (peak < 1.3).all()
    clicks = torch.zeros(1, 1, 32_000)
    clicks[..., 8_000] = 1.0
    clicks[..., 12_000:28_000] = noise(1.0, -45)[0, 0]
    assert -1 <= encode(clicks).min() and encode(clicks).max() <= 1.5


@pytest.mark.parametrize("gain", [0.1, 0.5, 3.0])
def test_a_voice_looks_the_same_at_any_recording_level(gain: float) -> None:
    sound = tone(300, 1.0, 16_000, 0.4) + tone(1100, 1.0, 16_000, 0.2)
    reference = encode(sound)
    strong = reference > 0.2
    assert strong.sum() > 100
    torch.testing.assert_close(encode(gain * sound)[strong], reference[strong], atol=0.02, rtol=0)


def test_a_voice_below_minus_40_dbfs_is_only_amplified_as_if_it_were_there() -> None:
    loud, faint = (
        encode(tone(1000, 1.0, 16_000, math.sqrt(2) * 10 ** (dbfs / 20)))[10:-10].max(dim=1).values
        for dbfs in (-20, -46)
    )
    decibels_per_unit = 55 / 2
    torch.testing.assert_close((loud - faint) * decibels_per_unit, torch.full_like(loud, 6.0), atol=0.2, rtol=0)


def test_the_level_is_not_set_by_the_silence_around_a_voice() -> None:
    word = noise(0.4, -15)
    alone = encode(word)
    padded = encode(torch.nn.functional.pad(word, (0, 60 * 16_000)))
    torch.testing.assert_close(padded[:18], alone[:18], atol=0.02, rtol=0)


@pytest.mark.parametrize("seconds", [0.2, 0.5, 0.86])
def test_feature_n_is_centred_at_n_fiftieths_of_a_second(seconds: float) -> None:
    click = torch.zeros(1, 1, 16_000)
    click[..., round(seconds * 16_000)] = 1.0
    energy = encode(click).mean(dim=1)
    heard = torch.nonzero(energy > -1).float().mean()
    assert abs(heard.item() / AUDIO_RATE - seconds) < 0.011


def test_bands_rise_with_frequency() -> None:
    bands = [encode(tone(hz, 0.5, 16_000))[10:-10].mean(dim=0).argmax().item() for hz in (100, 500, 2000, 7000)]
    assert bands == sorted(set(bands)) and bands[0] < 4 and bands[-1] > 35


@pytest.mark.parametrize("sample_rate", [8_000, 44_100, 96_000])
def test_features_do_not_depend_on_the_sample_rate(sample_rate: int) -> None:
    reference = encode(tone(800, 1.0, 16_000))
    features = encode(tone(800, 1.0, sample_rate).repeat(1, 2, 1), sample_rate)
    assert features.shape == reference.shape
    strong = reference[5:-5] > 0
    torch.testing.assert_close(features[5:-5][strong], reference[5:-5][strong], atol=0.02, rtol=0)


@pytest.mark.parametrize("samples", [2, 3, 100, 319, 320])
def test_the_shortest_sounds_have_features(samples: int) -> None:
    features = encode(torch.rand(1, 1, samples))
    assert features.shape == (2 + samples // 320, 40) and features.isfinite().all()


@pytest.mark.parametrize("shape", [(3200,), (2, 3200), (1, 2, 3200)])
def test_waveforms_come_with_or_without_channels_and_batch(shape: tuple[int, ...]) -> None:
    sound = noise(0.2, -20)[0, 0]
    torch.testing.assert_close(encode(sound.expand(shape)), encode(sound))


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (torch.zeros(1, 1, 0), "audio is empty"),
        (torch.zeros(1, 2, 1), "audio has 1 sample;"),
        (torch.full((1, 1, 10), math.nan), "audio holds NaN"),
        (torch.zeros(2, 1, 100), "audio holds 2 clips"),
    ],
)
def test_unusable_sound_is_refused(waveform: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LogMelEncoder().encode_audio(waveform, 16_000)


def test_a_long_voice_is_heard_as_if_at_once(monkeypatch) -> None:
    sound = noise(2.0, -20) * torch.linspace(0, 1, 32_000)
    at_once = encode(sound)
    monkeypatch.setattr(LogMelEncoder, "FRAMES_AT_ONCE", 7)
    torch.testing.assert_close(encode(sound), at_once, atol=1e-5, rtol=0)
