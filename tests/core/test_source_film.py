"""Films in the place of the portrait, read window by window, against all of their pictures decoded at once."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from apoavatar_core.long_video.source_film import SourceFilm
from apoavatar_core.long_video.windows import windows_of

SIZE = 16
GAPS = {
    "24": np.full(40, 1 / 24),
    "30": np.full(50, 1 / 30),
    "variable": np.random.default_rng(0).choice([0.02, 0.05, 0.09, 0.4], 30),
}
"""How long each picture of a film is shown, in seconds."""


def write_film(path: Path, gaps: np.ndarray) -> np.ndarray:
    """Picture n has its own brightness, 5n; returns when each begins, in milliseconds."""
    begins = np.round(1000 * np.concatenate([[0], np.cumsum(gaps)[:-1]])).astype(int)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1000, options={"crf": "1", "g": "12"})
        stream.width = stream.height = SIZE
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", Fraction(1, 1000)
        for number, begin in enumerate(begins):
            picture = av.VideoFrame.from_ndarray(np.full((SIZE, SIZE, 3), 5 * number, np.uint8), format="rgb24")
            picture.pts, picture.time_base = int(begin), Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return begins


def shown_at(begins: np.ndarray, seconds: float) -> int:
    """The brightness of the last picture that began before a moment."""
    return 5 * max(number for number, begin in enumerate(begins) if begin / 1000 <= seconds + 1e-6)


@pytest.mark.parametrize("gaps", GAPS)
@pytest.mark.parametrize("fps", [16, 24, 25, 29.97])
def test_every_window_shows_the_film_at_its_own_times(tmp_path, gaps, fps) -> None:
    begins = write_film(tmp_path / "film.mp4", GAPS[gaps])
    source = SourceFilm(tmp_path / "film.mp4", "source_video")
    length = round(begins[-1] / 1000 * fps) + 20  # beyond its end
    for window in windows_of(length, 17, 5):
        frames = source.frames(window.start, window.frames, fps, SIZE, SIZE)
        assert frames.shape == (window.frames, SIZE, SIZE, 3) and frames.dtype == torch.float32
        expected = [shown_at(begins, number / fps) for number in range(window.start, window.stop)]
        assert np.abs(frames.mean((1, 2, 3)).numpy() * 255 - expected).max() < 2
    source.close()


def test_one_picture_of_a_window_is_that_of_its_beginning(tmp_path) -> None:
    begins = write_film(tmp_path / "film.mp4", GAPS["variable"])
    source = SourceFilm(tmp_path / "film.mp4", "source_video")
    for start in (72, 0, 33):
        (frame,) = source.frames(start, 1, 25, SIZE, SIZE)
        assert abs(float(frame.mean()) * 255 - shown_at(begins, start / 25)) < 2


def test_a_part_of_a_film_counts_from_its_own_beginning(tmp_path) -> None:
    begins = write_film(tmp_path / "film.mp4", GAPS["30"])
    source = SourceFilm(tmp_path / "film.mp4", "source_video", start=0.51, seconds=0.4)
    assert source.length(25) == 10
    frames = source.frames(0, 14, 25, SIZE, SIZE).mean((1, 2, 3)).numpy() * 255
    expected = [shown_at(begins, 0.51 + min(number / 25, 0.39999)) for number in range(14)]
    assert np.abs(frames - expected).max() < 2


@pytest.mark.parametrize(("fps", "expected"), [(24, 40), (12, 20), (48, 80), (25, 42), (0.1, 1)])
def test_the_length_is_that_of_all_its_pictures(tmp_path, fps, expected) -> None:
    with av.open(str(tmp_path / "film.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width = stream.height = SIZE
        for _ in range(40):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((SIZE, SIZE, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    assert SourceFilm(tmp_path / "film.mp4", "source_video").length(fps) == expected


def test_films_that_cannot_be_read_are_refused_by_name(tmp_path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"no film")
    with pytest.raises(ValueError, match="source_video cannot be decoded"):
        SourceFilm(tmp_path / "film.mp4", "source_video")
    write_film(tmp_path / "film.mp4", GAPS["24"])
    with pytest.raises(ValueError, match="source_video ends before 9 s"):
        SourceFilm(tmp_path / "film.mp4", "source_video", start=9)
