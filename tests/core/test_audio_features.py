"""Encoder features, their alignment with video frames, and the rows of each latent frame."""

import math

import pytest
import torch
from einops import rearrange
from hypothesis import given
from hypothesis import strategies as st

from apoavatar_core.audio_features import LogMelEncoder, features_at_video_rate, frames_of_voice, latent_frame_windows
from apoavatar_core.grid import (
    AUDIO_RATE,
    AUDIO_WINDOW,
    latent_frames,
    round_to_clip_length,
)


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
    assert set(output) == {"encoded_audio", "encoded_audio_all_layers", "audio_samples"}
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


def encoder_output(*layers: torch.Tensor) -> dict:
    return {"encoded_audio": layers[-1], "encoded_audio_all_layers": list(layers), "audio_samples": 0}


@given(st.integers(1, 120), st.integers(1, 60), st.sampled_from([8, 23.976, 24, 25, 29.97, 50, 60, 240]))
def test_video_rate_is_linear_interpolation(rows: int, frames: int, fps: float) -> None:
    features = torch.rand(1, rows, 3, generator=torch.Generator().manual_seed(rows))
    result = features_at_video_rate(encoder_output(features), frames, fps)
    assert result.shape == (frames, 3)
    for t in range(frames):
        place = min(t / fps * 50, rows - 1)
        left = int(place)
        right = min(left + 1, rows - 1)
        expected = features[0, left] + (place - left) * (features[0, right] - features[0, left])
        torch.testing.assert_close(result[t], expected, atol=1e-5, rtol=0)


def test_transformer_layers_are_concatenated_without_the_input_embedding() -> None:
    layers = [torch.full((1, 20, 4), float(k), dtype=torch.float16) for k in range(13)]
    result = features_at_video_rate(encoder_output(*layers), 9, 25)
    assert result.shape == (9, 12 * 4) and result.dtype == torch.float32
    per_layer = result.reshape(9, 12, 4)
    assert torch.equal(per_layer, torch.arange(1.0, 13.0)[None, :, None].expand(9, 12, 4))


def test_past_its_end_a_voice_is_silent() -> None:
    """LogMelEncoder ends in silence; wav2vec2 lists more than one layer and most likely begins in it."""
    rows = torch.rand(1, 20, 3)
    alone = features_at_video_rate(encoder_output(rows), 40, 25)
    among_others = features_at_video_rate(encoder_output(torch.zeros_like(rows), rows), 40, 25)
    assert torch.equal(alone[10:], rows[0, -1:].expand(30, -1))
    assert torch.equal(among_others[10:], rows[0, :1].expand(30, -1))
    assert torch.equal(alone[:10], among_others[:10])


@given(st.integers(1, 200), st.sampled_from([23.976, 24, 25, 50, 60]))
def test_frames_of_a_voice_are_those_before_its_last_row(rows: int, fps: float) -> None:
    moments = [t / fps * 50 for t in range(1000)]
    assert frames_of_voice(encoder_output(torch.zeros(1, rows, 3)), fps) == sum(m <= rows - 1 + 1e-9 for m in moments)


def test_features_of_several_clips_are_refused() -> None:
    with pytest.raises(ValueError, match="2 clips; pass one clip at a time"):
        features_at_video_rate(encoder_output(torch.zeros(2, 5, 3)), 5, 24)


@given(st.integers(0, 12), st.integers(1, 3))
def test_latent_frame_windows_hold_the_windows_of_their_video_frames(n: int, dim: int) -> None:
    frames = 4 * n + 1
    features = torch.rand(frames, dim)
    result = latent_frame_windows(features)
    assert result.shape == (8, n + 1, dim)
    for i in range(n + 1):
        held = range(4 * i - 3, 4 * i + 1)
        rows = sorted({t + offset for t in held for offset in (-2, -1, 0, 1, 2)})
        for k, row in enumerate(rows):
            assert torch.equal(result[k, i], features[min(max(row, 0), frames - 1)])


@given(st.integers(0, 4), st.integers(0, 9), st.integers(0, 9))
def test_windows_of_a_part_reach_into_what_is_before_and_after_it(n: int, start: int, more: int) -> None:
    frames = 4 * n + 1
    rows = torch.arange(float(start + frames + more))[:, None]
    part = latent_frame_windows(rows, frames, start)[..., 0]
    wanted = torch.stack([torch.arange(4.0 * i - 5, 4 * i + 3) + start for i in range(n + 1)], dim=1)
    assert torch.equal(part, wanted.clamp(0, start + frames + more - 1))


def test_rows_are_those_of_multitalk() -> None:
    """project_audio_features of ComfyUI's model_multitalk.py, on row numbers."""
    frames = 21
    windows = (torch.arange(frames)[:, None] + torch.arange(-2, 3)).clamp(0, frames - 1)
    first, latter = windows[:1], rearrange(windows[1:], "(i n) w -> i n w", n=4)
    latter = torch.cat([latter[:, 0, :3], latter[:, 1, 2:3], latter[:, 2, 2:3], latter[:, 3, 2:]], dim=1)

    ours = latent_frame_windows(torch.arange(float(frames))[:, None])[..., 0].T
    assert torch.equal(ours[:1, -AUDIO_WINDOW:], first.float())
    assert torch.equal(ours[1:], latter.float())


def test_a_latent_frame_hears_nothing_far_away() -> None:
    frames = 41
    features = torch.rand(frames, 4)
    reference = latent_frame_windows(features)
    for t in range(frames):
        changed = features.clone()
        changed[t] += 1
        affected = (latent_frame_windows(changed) != reference).flatten(2).any(dim=2).any(dim=0).nonzero()[:, 0]
        assert affected.tolist() == [i for i in range(11) if 4 * i - 5 <= t <= 4 * i + 2]


@pytest.mark.parametrize("frames", [0, 2, 3, 4, 24])
def test_clip_lengths_that_are_not_4n_plus_1_are_refused(frames: int) -> None:
    with pytest.raises(ValueError, match=f"cover {frames} frames"):
        latent_frame_windows(torch.zeros(frames, 2))


@given(st.integers(1, 10_000))
def test_clip_lengths_round_to_the_nearest_4n_plus_1(frames: int) -> None:
    candidates = range(1, 10_010, 4)
    nearest = min(candidates, key=lambda length: (abs(length - frames), -length))
    assert round_to_clip_length(frames) == nearest
    assert latent_frames(nearest) == candidates.index(nearest) + 1


def test_clips_without_a_frame_are_refused() -> None:
    for length in (latent_frames, round_to_clip_length):
        with pytest.raises(ValueError, match="frames is 0"):
            length(0)
