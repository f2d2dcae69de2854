"""Segments of a film and what they are joined to, read back by a player's means."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from apoavatar_core.long_video.segments import Encoding, Sound, frame_rate, join, write_segment

SIZE = 16


def greys(first: int, count: int) -> torch.Tensor:
    """Frames [count, 16, 16, 3] of a film whose frame number n has its own brightness, n / 60."""
    brightness = torch.arange(first, first + count) / 60
    return brightness[:, None, None, None].expand(count, SIZE, SIZE, 3)


def write_film(folder: Path, lengths: list[int], encoding: Encoding) -> list[Path]:
    starts = np.cumsum([0, *lengths])
    paths = [folder / f"{number}.mp4" for number in range(len(lengths))]
    for path, start, length in zip(paths, starts, lengths, strict=False):
        write_segment(path, greys(int(start), length), encoding)
    return paths


def pictures(path: Path) -> tuple[list[Fraction], np.ndarray]:
    """When each picture is shown, in seconds, and its RGB pixels [T, H, W, 3]."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return [frame.pts * frame.time_base for frame in frames], np.stack([frame.to_ndarray(format="rgb24") for frame in frames])


def heard(path: Path) -> tuple[np.ndarray, int]:
    """Samples [C, N] from the film's beginning on, and their rate."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
        assert frames[0].pts == 0
        return np.concatenate([frame.to_ndarray() for frame in frames], axis=1), frames[0].sample_rate


@pytest.mark.parametrize("fps", [16, 23.976, 24, 25, 29.97, 30, 12.5])
def test_frames_of_all_segments_are_shown_once_at_exact_times(tmp_path, fps) -> None:
    rate = frame_rate(fps)
    segments = write_film(tmp_path, [9, 4, 8, 1], Encoding(rate))
    assert join(segments, tmp_path / "film.mp4", rate) == 22
    times, shown = pictures(tmp_path / "film.mp4")
    assert times == [number / rate for number in range(22)]
    assert np.abs(shown.mean((1, 2, 3)) - np.arange(22) / 60 * 255).max() < 2
    with av.open(str(tmp_path / "film.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == rate and stream.duration * stream.time_base == 22 / rate


@pytest.mark.parametrize(
    ("fps", "expected"),
    [(24, Fraction(24)), (29.97, Fraction(30000, 1001)), (23.976, Fraction(24000, 1001)), (23.98, Fraction(24000, 1001))]
    + [(59.94, Fraction(60000, 1001)), (12.5, Fraction(25, 2)), (29.5, Fraction(59, 2)), (0.5, Fraction(1, 2))]
    + [(30000 / 1001, Fraction(30000, 1001)), (16, Fraction(16)), (1, Fraction(1))],
)
def test_frame_rates_are_those_that_cameras_mean(fps, expected) -> None:
    assert frame_rate(fps) == expected


def test_a_film_without_frames_per_second_is_refused() -> None:
    for fps in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="fps is"):
            frame_rate(fps)


def test_every_segment_plays_alone(tmp_path) -> None:
    segments = write_film(tmp_path, [5, 4], Encoding(Fraction(25)))
    times, shown = pictures(segments[1])
    assert times == [Fraction(number, 25) for number in range(4)]
    assert np.abs(shown.mean((1, 2, 3)) - np.arange(5, 9) / 60 * 255).max() < 2


def test_no_picture_waits_for_a_later_one(tmp_path) -> None:
    """Else the times at which joined segments are stored would overlap."""
    still = greys(0, 4).repeat_interleave(4, dim=0)
    write_segment(tmp_path / "0.mp4", still, Encoding(Fraction(25)))
    with av.open(str(tmp_path / "0.mp4")) as container:
        packets = [packet for packet in container.demux(video=0) if packet.pts is not None]
    assert packets[0].is_keyframe and all(packet.pts == packet.dts for packet in packets)


def test_pictures_are_copied_as_they_were_encoded(tmp_path) -> None:
    rate = Fraction(25)
    segments = [tmp_path / "0.mp4", tmp_path / "1.mp4"]
    for seed, path in enumerate(segments):
        noise = torch.rand(6, SIZE, SIZE, 3, generator=torch.Generator().manual_seed(seed))
        write_segment(path, noise, Encoding(rate))
    join(segments, tmp_path / "film.mp4", rate)
    whole = np.concatenate([pictures(path)[1] for path in segments])
    assert np.array_equal(pictures(tmp_path / "film.mp4")[1], whole)


def test_colours_are_those_of_the_frames(tmp_path) -> None:
    colours = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0], [0.5, 0.25, 0.75]])
    frames = colours[:, None, None].expand(-1, SIZE, SIZE, 3)
    write_segment(tmp_path / "0.mp4", frames, Encoding(Fraction(25), crf=1))
    write_segment(tmp_path / "1.mp4", (frames * 255).round().to(torch.uint8), Encoding(Fraction(25), crf=1))
    _, shown = pictures(tmp_path / "0.mp4")
    assert np.abs(shown.mean((1, 2)) - colours.numpy() * 255).max() < 4
    assert np.array_equal(pictures(tmp_path / "1.mp4")[1], shown)


def test_values_beyond_black_and_white_are_cut(tmp_path) -> None:
    frames = torch.tensor([-0.5, 1.5])[:, None, None, None].expand(2, SIZE, SIZE, 3)
    write_segment(tmp_path / "0.mp4", frames, Encoding(Fraction(25)))
    assert np.abs(pictures(tmp_path / "0.mp4")[1].mean((1, 2, 3)) - [0, 255]).max() < 2


def test_odd_sizes_keep_all_their_pixels(tmp_path) -> None:
    frames = torch.zeros(2, 17, 23, 3)
    frames[:, -1], frames[:, :, -1] = 1.0, 1.0
    write_segment(tmp_path / "0.mp4", frames, Encoding(Fraction(25), crf=1))
    _, shown = pictures(tmp_path / "0.mp4")
    assert shown.shape[1:3] == (18, 24)
    assert shown[:, 16:].min() > 200 and shown[:, :, 22:].min() > 200 and shown[:, :14, :20].max() < 50


def test_a_lower_crf_is_a_larger_and_closer_film(tmp_path) -> None:
    noise = torch.rand(3, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    sizes = []
    for crf in (10, 40):
        write_segment(tmp_path / "0.mp4", noise, Encoding(Fraction(25), crf))
        sizes.append((tmp_path / "0.mp4").stat().st_size)
    assert sizes[0] > 2 * sizes[1]
    with pytest.raises(ValueError, match="crf is 52"):
        Encoding(Fraction(25), 52)


def chirp(rate: int, channels: int, seconds: float) -> torch.Tensor:
    """A sound [C, N] that is nowhere like itself a moment later, different in each channel."""
    time = torch.arange(round(rate * seconds)) / rate
    return torch.stack([0.4 * torch.sin(2 * torch.pi * (300 + 50 * channel + 400 * time) * time) for channel in range(channels)])


@pytest.mark.parametrize(("rate", "channels"), [(8000, 2), (16000, 1), (44100, 2), (48000, 6), (96000, 1)])
def test_the_sound_is_the_original_at_its_own_rate_and_channels(tmp_path, rate, channels) -> None:
    segments = write_film(tmp_path, [20, 5], Encoding(Fraction(25)))
    original = chirp(rate, channels, 1.0)
    join(segments, tmp_path / "film.mp4", Fraction(25), Sound(original, rate))
    samples, found = heard(tmp_path / "film.mp4")
    assert found == rate and len(samples) == channels
    original = original.numpy()
    assert 0 <= samples.shape[1] - original.shape[1] < 1024  # a packet of AAC is 1024 samples
    middle = slice(rate // 4, 3 * rate // 4)
    for channel in set(range(channels)) - {3}:  # 5.1's fourth carries deep tones only
        shifts = range(-40, 41)
        likeness = [np.corrcoef(original[channel, middle], np.roll(samples[channel], shift)[middle])[0, 1] for shift in shifts]
        assert shifts[int(np.argmax(likeness))] == 0 and max(likeness) > 0.98


def test_sound_of_a_rate_that_aac_lacks_keeps_its_time(tmp_path) -> None:
    segments = write_film(tmp_path, [25], Encoding(Fraction(25)))
    join(segments, tmp_path / "film.mp4", Fraction(25), Sound(chirp(10_000, 1, 1.0), 10_000))
    samples, rate = heard(tmp_path / "film.mp4")
    assert rate == 11_025
    with av.open(str(tmp_path / "film.mp4")) as container:
        stream = container.streams.audio[0]
        assert float(stream.duration * stream.time_base) == pytest.approx(1, abs=5e-4)
    expected = chirp(11_025, 1, 1.0).numpy()[0]
    middle = slice(3000, 8000)
    likeness = [np.corrcoef(expected[middle], np.roll(samples[0], shift)[middle])[0, 1] for shift in range(-20, 21)]
    assert abs(int(np.argmax(likeness)) - 20) <= 1 and max(likeness) > 0.98


@pytest.mark.parametrize("fps", [16, 24, 25, 29.97, 30])
def test_the_sound_ends_with_the_last_frame(tmp_path, fps) -> None:
    rate = frame_rate(fps)
    segments = write_film(tmp_path, [9, 9], Encoding(rate))
    join(segments, tmp_path / "film.mp4", rate, Sound(chirp(16_000, 1, 5.0), 16_000))
    with av.open(str(tmp_path / "film.mp4")) as container:
        ends = [float(stream.duration * stream.time_base) for stream in container.streams]
    assert ends[0] == pytest.approx(18 / rate)
    assert abs(ends[1] - ends[0]) < 1e-3


def test_a_sound_that_ends_early_leaves_the_rest_of_the_film_silent(tmp_path) -> None:
    segments = write_film(tmp_path, [20], Encoding(Fraction(20)))
    join(segments, tmp_path / "film.mp4", Fraction(20), Sound(chirp(16_000, 1, 0.5), 16_000))
    samples, _ = heard(tmp_path / "film.mp4")
    assert 8000 <= samples.shape[1] < 8000 + 1024
    assert len(pictures(tmp_path / "film.mp4")[0]) == 20


def test_what_cannot_be_joined_is_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match="first window"):
        join([], tmp_path / "film.mp4", Fraction(25))
    small = write_film(tmp_path, [2], Encoding(Fraction(25)))[0]
    write_segment(tmp_path / "large.mp4", torch.zeros(2, 32, 32, 3), Encoding(Fraction(25)))
    with pytest.raises(ValueError, match="large.mp4 was encoded in another way"):
        join([small, tmp_path / "large.mp4"], tmp_path / "film.mp4", Fraction(25))
    assert not list(tmp_path.glob("*film*")) and not list(tmp_path.glob(".*"))
    for shape in ((16, 16, 3), (0, 16, 16, 3), (2, 16, 16, 4)):
        with pytest.raises(ValueError, match="The frames have shape"):
            write_segment(tmp_path / "film.mp4", torch.zeros(shape), Encoding(Fraction(25)))
    for shape in ((100,), (7, 100), (1, 2, 100)):
        with pytest.raises(ValueError, match="audio has shape"):
            Sound(torch.zeros(shape), 16_000)


JOINING = """
import resource, sys
from fractions import Fraction
from pathlib import Path
import torch
from apoavatar_core.long_video.segments import Encoding, Sound, join, write_segment
segment, film = Path(sys.argv[1]) / "0.mp4", Path(sys.argv[1]) / "film.mp4"
write_segment(segment, torch.rand(12, 128, 128, 3), Encoding(Fraction(12), crf=0))
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
sound = Sound(torch.zeros(1, 1).expand(2, 600 * 8000), 8000)  # values that need no memory
join([segment] * 10, film, Fraction(12), sound)
short, before = film.stat().st_size, peak()
join([segment] * 200, film, Fraction(12), sound)
print(short, film.stat().st_size, (peak() - before) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux counts it")
def test_joining_a_long_film_takes_the_memory_of_a_short_one(tmp_path) -> None:
    run = subprocess.run([sys.executable, "-c", JOINING, str(tmp_path)], capture_output=True, text=True, check=True)
    short, long, grown = map(int, run.stdout.split())
    assert long > 15 * short > 15e6
    assert grown < long / 5
