"""A voice as each audio encoder lists it, its alignment with video frames, and the rows of each latent frame."""

import pytest
import torch
from einops import rearrange
from hypothesis import given
from hypothesis import strategies as st

from apoavatar_core.conditioning.voice import (
    Voice,
    features_at_video_rate,
    frames_of_voice,
    latent_frame_windows,
    voice_of,
    voice_windows,
)
from apoavatar_core.grid import AUDIO_WINDOW
from apoavatar_core.log_mel import LogMelEncoder


def voice(rows: torch.Tensor, silence: torch.Tensor | None = None) -> Voice:
    """A voice of rows [N, D] at 50 Hz that ends in silence, unless that is something else."""
    return Voice((rows,), 50, rows[-1] if silence is None else silence, "any")


@given(st.integers(1, 120), st.integers(1, 60), st.sampled_from([8, 23.976, 24, 25, 29.97, 50, 60, 240]))
def test_video_rate_is_linear_interpolation(rows: int, frames: int, fps: float) -> None:
    features = torch.rand(rows, 3, generator=torch.Generator().manual_seed(rows))
    result = features_at_video_rate(voice(features), frames, fps)
    assert result.shape == (frames, 3)
    for t in range(frames):
        place = min(t / fps * 50, rows - 1)
        left = int(place)
        right = min(left + 1, rows - 1)
        expected = features[left] + (place - left) * (features[right] - features[left])
        torch.testing.assert_close(result[t], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("layers", "width", "encoder"), [(12, 768, "wav2vec2"), (24, 1024, "wav2vec2"), (32, 1280, "whisper")])
def test_layers_of_comfyuis_encoders_follow_one_another_without_the_input_embedding(layers, width, encoder) -> None:
    listed = [torch.full((1, 20, width), float(k), dtype=torch.float16) for k in range(layers + 1)]
    heard = voice_of({"encoded_audio_all_layers": tuple(listed)})
    rows = heard.rows(torch.arange(20))
    assert rows.shape == (20, layers * width) and rows.dtype == torch.float32
    assert heard.encoder == encoder and heard.rate == 50
    assert all(mine.data_ptr() == its.data_ptr() for mine, its in zip(heard.layers, listed[1:])), "nothing is copied"
    per_layer = rows.reshape(20, layers, width)
    assert torch.equal(per_layer, torch.arange(1.0, layers + 1)[None, :, None].expand(20, layers, width))


def test_wav2vec2_is_silent_as_at_its_first_row() -> None:
    layers = torch.rand(13, 1, 20, 768).unbind()
    heard = voice_of({"encoded_audio_all_layers": layers})
    assert torch.equal(heard.silence, torch.cat([layer[0, 0] for layer in layers[1:]]))


def test_the_log_mel_encoder_says_what_it_is_and_ends_in_silence() -> None:
    output = LogMelEncoder().encode_audio(torch.rand(1, 1, 16_000) - 0.5, 16_000)
    heard = voice_of(output)
    assert heard.encoder == "log_mel_40"
    assert torch.equal(heard.layers[0], output["encoded_audio"][0]) and torch.equal(heard.silence, torch.full((40,), -1.0))


@pytest.mark.parametrize("output", [{"layers": 1, "width": 768}, {"layers": 3, "width": 40}, {"layers": 1, "width": 40, "encoder": "mimi"}])
def test_an_encoder_that_is_not_known_is_refused(output: dict) -> None:
    layers = [torch.zeros(1, 5, output.pop("width"))] * output.pop("layers")
    with pytest.raises(ValueError, match="audio_features come from .* does not know: load wav2vec2"):
        voice_of({"encoded_audio_all_layers": layers, **output})


def test_past_its_end_a_voice_is_silent() -> None:
    rows = torch.rand(20, 3)
    heard = features_at_video_rate(voice(rows, torch.tensor([7.0, 8.0, 9.0])), 40, 25)
    assert torch.equal(heard[:10], rows[::2]) and torch.equal(heard[10:], torch.tensor([7.0, 8.0, 9.0]).expand(30, -1))


@given(st.integers(1, 200), st.sampled_from([23.976, 24, 25, 50, 60]))
def test_frames_of_a_voice_are_those_before_its_last_row(rows: int, fps: float) -> None:
    moments = [t / fps * 50 for t in range(1000)]
    assert frames_of_voice(voice(torch.zeros(rows, 3)), fps) == sum(m <= rows - 1 + 1e-9 for m in moments)


def test_features_of_several_clips_are_refused() -> None:
    with pytest.raises(ValueError, match="2 clips; pass one clip at a time"):
        voice_of({"encoded_audio_all_layers": [torch.zeros(2, 5, 768)] * 13})


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


@given(st.integers(0, 3), st.integers(0, 12), st.integers(1, 40))
def test_a_clip_of_a_film_hears_what_is_around_it(n: int, start: int, spoken: int) -> None:
    """At 25 frames a second every second row; before the voice its first row, after it silence where the clip hears on."""
    frames, film = 4 * n + 1, torch.arange(1.0, 2 * spoken + 1)[:, None]
    windows = voice_windows(voice(film, torch.tensor([-1.0])), frames, 25, start)
    assert windows.shape == (8, n + 1, 1)
    last_heard = max(start + frames, min(start + frames + 2, spoken)) - 1
    for i in range(n + 1):
        for k in range(8):
            frame = min(max(start + 4 * i - 5 + k, 0), last_heard)
            assert windows[k, i, 0] == (2 * frame + 1 if frame < spoken else -1)


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
