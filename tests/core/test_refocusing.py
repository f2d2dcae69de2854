"""Eq. 2-4 against loops written from the paper, and the properties a user relies on."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from apoavatar_core.refocusing import (
    Gate,
    RefocusingConfig,
    audio_rms,
    dropout_probability,
    log_mean_exps,
    normalized_loudness,
    pose_frame_loudness,
    refocus,
    sample_pose_mask,
)

AUDIO_FRAMES_PER_SECOND = 100
CONFIG = RefocusingConfig()
PAPER_FPS = [24, 25, 30, 12.5, 23.976, 29.97, 24000 / 1001, 33.3, 50, 60, 100, 120, 240, 1000]

loudness_arrays = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60).map(np.array)


def voice(sample_rate: float, seconds: float = 2.0) -> np.ndarray:
    """Three tones under 2 kHz whose level rises and falls twice a second; the same sound at every sample rate."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    tones = sum(np.sin(2 * np.pi * hz * time) for hz in (210, 730, 1900))
    return (0.1 * tones * (1 - np.cos(2 * np.pi * 2 * time))).astype(np.float32)


def exact_fraction(fps: float) -> Fraction:
    return Fraction(24000, 1001) if fps == 24000 / 1001 else Fraction(str(fps))


def loudness_by_the_book(rms: np.ndarray, frames: int, fps: float, tau: float) -> list[float]:
    fps = exact_fraction(fps)
    seconds = frames / fps
    heard = [float(x) for x in rms] + [0.0] * (math.ceil(seconds * AUDIO_FRAMES_PER_SECOND) + 2)
    result = []
    for t in range(frames):
        inside = [
            heard[n] for n in range(len(heard)) if t / fps <= Fraction(n, AUDIO_FRAMES_PER_SECOND) < (t + 1) / fps
        ]
        if not inside:
            distance = [abs(Fraction(n, AUDIO_FRAMES_PER_SECOND) - t / fps) for n in range(len(heard))]
            nearest = min(range(len(heard)), key=lambda n: (distance[n], -n))
            inside = [heard[nearest]]
        result.append(math.log(sum(math.exp(tau * x) for x in inside) / len(inside)) / tau)
    return result


def percentile_by_the_book(values: np.ndarray, percent: float) -> float:
    ordered = sorted(float(x) for x in values)
    rank = percent / 100 * (len(ordered) - 1)
    below = math.floor(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (rank - below) * (ordered[above] - ordered[below])


@pytest.mark.parametrize("fps", PAPER_FPS)
def test_loudness_is_equation_2(fps: float) -> None:
    rms = np.random.default_rng(0).random(230).astype(np.float32)
    frames = 49
    np.testing.assert_allclose(
        pose_frame_loudness(rms, frames, fps, 8.0), loudness_by_the_book(rms, frames, fps, 8.0), atol=1e-5
    )


@pytest.mark.parametrize("fps", [24, 25, 33.3, 23.976, 29.97, 50, 100])
def test_windows_have_no_gap_and_no_overlap(fps: float) -> None:
    frames = 2000
    number = np.arange(frames * AUDIO_FRAMES_PER_SECOND // fps + 2)
    # With so large a τ the loudness is the maximum, here the last and the first audio frame of each window.
    last = np.round(pose_frame_loudness(number, frames, fps, 1e6)).astype(int)
    first = np.round(number[-1] - pose_frame_loudness(number[-1] - number, frames, fps, 1e6)).astype(int)
    assert first[0] == 0 and (first[1:] == last[:-1] + 1).all()
    starts = [math.ceil(t * AUDIO_FRAMES_PER_SECOND / exact_fraction(fps)) for t in range(frames)]
    assert first.tolist() == starts


def test_an_audio_frame_on_a_boundary_opens_the_later_window() -> None:
    rms = np.zeros(100)
    rms[4] = 1.0  # 0.04 s, where window 1 begins at 25 fps
    assert np.flatnonzero(pose_frame_loudness(rms, 10, 25, 8.0)).tolist() == [1]


def test_windows_without_an_audio_frame_take_the_nearest() -> None:
    rms = np.array([0.1, 0.2, 0.3, 0.4])
    # Audio frames lie at t = 0, 4, 8, 12; halfway (t = 2, 6) goes to the later one.
    np.testing.assert_allclose(
        pose_frame_loudness(rms, 13, 400, 8.0), [0.1, 0.1, 0.2, 0.2, 0.2, 0.2, 0.3, 0.3, 0.3, 0.3, 0.4, 0.4, 0.4]
    )


def test_sound_shorter_than_the_clip_is_followed_by_silence() -> None:
    loudness = pose_frame_loudness(np.full(10, 0.5), 10, 25, 8.0)
    np.testing.assert_allclose(loudness[:2], 0.5)
    half_heard = math.log((2 * math.exp(8 * 0.5) + 2) / 4) / 8
    np.testing.assert_allclose(loudness[2], half_heard)
    assert not loudness[3:].any()


def whole(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One window over all values."""
    return np.array([0]), np.array([len(values)])


@given(loudness_arrays, st.floats(0.1, 1000))
def test_log_mean_exp_lies_between_mean_and_maximum(values: np.ndarray, tau: float) -> None:
    assert values.mean() - 1e-9 <= log_mean_exps(values, *whole(values), tau)[0] <= values.max() + 1e-9


@given(loudness_arrays)
def test_a_large_tau_approaches_the_maximum_and_a_small_one_the_mean(values: np.ndarray) -> None:
    assert log_mean_exps(values, *whole(values), 1e6)[0] == pytest.approx(values.max(), abs=1e-5)
    assert log_mean_exps(values, *whole(values), 1e-6)[0] == pytest.approx(values.mean(), abs=1e-5)


@given(loudness_arrays, st.floats(0, 40), st.floats(60, 100))
def test_normalisation_is_equation_3(loudness: np.ndarray, q_low: float, q_high: float) -> None:
    low, high = (percentile_by_the_book(loudness, q) for q in (q_low, q_high))
    result = normalized_loudness(loudness, q_low, q_high)
    assert result.min() >= 0 and result.max() <= 1
    if high - low > 1e-5 * high:
        expected = [min(max((x - low) / (high - low + 1e-8), 0), 1) for x in loudness]
        np.testing.assert_allclose(result, expected, atol=1e-5)
    elif high == low:
        assert not result.any()


@given(loudness_arrays)
def test_dropout_is_equation_4(normalized: np.ndarray) -> None:
    expected = [1 / (1 + math.exp(10.0 * (s - 0.5))) for s in normalized]
    np.testing.assert_allclose(dropout_probability(normalized, 10.0, 0.5), expected, atol=1e-9)


def test_a_very_sharp_gate_is_a_step() -> None:
    with np.errstate(all="raise"):
        dropout = dropout_probability(np.array([0.0, 0.49, 0.5, 0.51, 1.0]), 1e6, 0.5)
    np.testing.assert_allclose(dropout, [1, 1, 0.5, 0, 0], atol=1e-9)


@given(st.floats(0, 100), st.floats(0.05, 0.95))
def test_louder_frames_are_never_dropped_more(alpha: float, beta: float) -> None:
    dropout = dropout_probability(np.linspace(0, 1, 50), alpha, beta)
    assert (np.diff(dropout) <= 0).all()


def test_a_rising_voice_keeps_more_and_more_of_the_pose() -> None:
    time = np.arange(32_000) / 16_000
    gate = refocus((0.4 * time * np.sin(2 * np.pi * 200 * time)).astype(np.float32), 16_000, 45, 24, CONFIG)
    assert (np.diff(gate.keep) >= -1e-6).all()
    assert gate.keep[0] < 0.05 and gate.keep[-1] > 0.95


def test_refocus_chains_the_equations() -> None:
    sound, frames, fps = voice(16_000), 49, 24
    config = RefocusingConfig(alpha=4.0, beta=0.3, tau=20.0, q_low=10.0, q_high=80.0)
    gate = refocus(sound, 16_000, frames, fps, config)

    padded = np.pad(sound.astype(np.float64), 320)
    rms = np.array([math.sqrt((padded[n * 160 : n * 160 + 640] ** 2).mean()) for n in range(1 + len(sound) // 160)])
    loudness = np.array(loudness_by_the_book(rms, frames, fps, 20.0))
    low, high = percentile_by_the_book(loudness, 10), percentile_by_the_book(loudness, 80)
    normalized = np.clip((loudness - low) / (high - low + 1e-8), 0, 1)
    dropout = 1 / (1 + np.exp(4.0 * (normalized - 0.3)))

    for computed, expected in ((gate.loudness, loudness), (gate.normalized, normalized), (gate.dropout, dropout)):
        assert computed.dtype == np.float32 and computed.shape == (frames,)
        np.testing.assert_allclose(computed, expected, atol=1e-5)
    np.testing.assert_allclose(gate.keep, 1 - dropout, atol=1e-5)


@pytest.mark.parametrize("sound", [np.zeros(32_000, np.float32), np.full(32_000, 0.5, np.float32)])
def test_a_silent_or_constant_sound_has_the_gate_of_zero_loudness(sound: np.ndarray) -> None:
    # 20 frames of 24 fps stay clear of the sound's end, where the last RMS windows are half empty.
    loudness = pose_frame_loudness(audio_rms(sound, 16_000)[4:-4], 20, 24, 8.0)
    assert not normalized_loudness(loudness, 5, 95).any()


def test_a_silent_clip_is_dropped_but_for_a_trace() -> None:
    gate = refocus(np.zeros(16_000, np.float32), 16_000, 25, 24, CONFIG)
    assert not gate.loudness.any() and not gate.normalized.any()
    np.testing.assert_allclose(gate.dropout, 1 / (1 + math.exp(-5)), atol=1e-6)


def test_float32_rounding_of_a_constant_level_is_not_prosody() -> None:
    level = np.float32(0.7)
    wobble = np.resize([level, np.nextafter(level, np.float32(1))], 100).astype(np.float64)
    assert np.ptp(wobble) > 1e-8
    assert not normalized_loudness(wobble, 5, 95).any()


@pytest.mark.parametrize("sample_rate", [8_000, 22_050, 44_100, 48_000, 96_000])
def test_the_gate_does_not_depend_on_the_sample_rate(sample_rate: int) -> None:
    reference = refocus(voice(16_000), 16_000, 49, 24, CONFIG)
    gate = refocus(voice(sample_rate), sample_rate, 49, 24, CONFIG)
    np.testing.assert_allclose(gate.keep, reference.keep, atol=0.01)
    assert np.ptp(reference.keep) > 0.9


def test_the_gate_is_that_of_the_channels_mean() -> None:
    sound = torch.from_numpy(voice(16_000))
    reference = refocus(sound, 16_000, 49, 24, CONFIG)
    for waveform in (sound[None], sound[None, None], torch.stack([1.5 * sound, 0.5 * sound])[None]):
        np.testing.assert_allclose(refocus(waveform, 16_000, 49, 24, CONFIG).keep, reference.keep, atol=1e-4)


def test_the_gate_does_not_depend_on_the_recording_level() -> None:
    sound = voice(16_000)
    # LME is not scale-free, so only nearly: τ·l shrinks with the level.
    loud, quiet = (refocus(level * sound, 16_000, 49, 24, CONFIG).keep for level in (1.0, 0.5))
    np.testing.assert_allclose(loud, quiet, atol=0.05)


@pytest.mark.parametrize("frames", [1, 5, 121])
@pytest.mark.parametrize("fps", [1, 24, 1000])
def test_a_gate_has_one_value_per_pose_frame(frames: int, fps: float) -> None:
    gate = refocus(voice(16_000, 0.5), 16_000, frames, fps, CONFIG)
    assert isinstance(gate, Gate)
    for values in (gate.loudness, gate.normalized, gate.dropout, gate.keep):
        assert values.shape == (frames,) and np.isfinite(values).all()


@pytest.mark.parametrize(
    ("constants", "name"),
    [
        ({"alpha": -1.0}, "alpha is -1"),
        ({"alpha": math.inf}, "alpha is inf"),
        ({"beta": math.nan}, "beta is nan"),
        ({"tau": 0.0}, "tau is 0"),
        ({"q_low": 50.0, "q_high": 50.0}, "q_low is 50"),
        ({"q_low": -1.0}, "q_low is -1"),
        ({"q_high": 101.0}, "q_high is 101"),
        ({"q_high": math.nan}, "q_high is nan"),
    ],
)
def test_constants_that_make_no_gate_are_refused(constants: dict, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        RefocusingConfig(**constants)


@pytest.mark.parametrize(
    ("waveform", "sample_rate", "message"),
    [
        (np.zeros(0, np.float32), 16_000, "audio is empty"),
        (torch.zeros(1, 0, 100), 16_000, "audio is empty"),
        (np.zeros(1, np.float32), 16_000, "audio has 1 sample;"),
        (np.array([0.0, np.nan, 0.0]), 16_000, "audio holds NaN"),
        (torch.tensor([0.0, math.inf]), 16_000, "audio holds NaN"),
        (np.zeros(100), 0, "audio has a sample rate of 0"),
        (np.zeros(100), -8000, "audio has a sample rate of -8000"),
        (np.zeros(100), math.nan, "audio has a sample rate of nan"),
        (torch.zeros(2, 1, 100), 16_000, "audio holds 2 clips; pass one clip at a time"),
        (torch.zeros(1, 1, 1, 100), 16_000, "audio has shape"),
    ],
)
def test_unusable_sound_is_refused(waveform, sample_rate: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        refocus(waveform, sample_rate, 25, 24, CONFIG)


@pytest.mark.parametrize(
    ("frames", "fps", "name"), [(0, 24, "frames is 0"), (25, 0, "fps is 0"), (25, math.nan, "fps is nan")]
)
def test_an_impossible_clip_is_refused(frames: int, fps: float, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        refocus(voice(16_000, 0.1), 16_000, frames, fps, CONFIG)


@pytest.mark.parametrize("p", [0.0, 0.0067, 0.3, 0.5, 0.9, 1.0])
def test_masks_are_drawn_with_probability_one_minus_p(p: float) -> None:
    draws = 100_000
    mask = sample_pose_mask(torch.full((draws // 50, 50), p), torch.Generator().manual_seed(3))
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    assert abs(mask.mean().item() - (1 - p)) <= 3 * math.sqrt(p * (1 - p) / draws)


def test_masks_follow_their_frame_and_their_generator() -> None:
    dropout = torch.tensor([[0.0, 1.0, 0.5]]).repeat(64, 1)
    masks = [sample_pose_mask(dropout, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert masks[0].shape == dropout.shape and masks[0].dtype == dropout.dtype
    assert masks[0][:, 0].all() and not masks[0][:, 1].any()
    assert torch.equal(masks[0], masks[1]) and not torch.equal(masks[0], masks[2])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), st.integers(1, 60), st.sampled_from(PAPER_FPS), st.integers(0, 10_000))
def test_loudness_is_equation_2_for_any_clip(heard: int, frames: int, fps: float, seed: int) -> None:
    rms = np.random.default_rng(seed).random(heard)
    np.testing.assert_allclose(
        pose_frame_loudness(rms, frames, fps, 8.0), loudness_by_the_book(rms, frames, fps, 8.0), atol=1e-5
    )
