"""The windows of a long film against a film that is laid frame by frame."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apoavatar_core.long_video.windows import windows_of


@st.composite
def plans(draw) -> tuple[int, int, int]:
    """(frames of the film, frames of a window, overlap)."""
    window = 4 * draw(st.integers(0, 20)) + 1
    return draw(st.integers(1, 600)), window, draw(st.integers(0, window - 1))


@given(plans())
def test_every_frame_of_the_film_is_made_exactly_once(plan) -> None:
    film_frames, length, overlap = plan
    film: list[int] = []
    for number, window in enumerate(windows_of(*plan)):
        shown = list(range(window.start, window.start + window.frames))
        assert window.index == number and window.stop == shown[-1] + 1
        assert shown[: window.overlap] == film[len(film) - window.overlap :]
        assert window.overlap == (overlap if film else 0)
        assert shown[window.overlap :] == list(range(len(film), window.stop))
        film += shown[window.needed(film_frames)]
    assert film == list(range(film_frames))


@given(plans())
def test_the_last_window_alone_is_shorter_and_as_short_as_can_be(plan) -> None:
    film_frames, length, overlap = plan
    *whole, last = windows_of(*plan)
    assert all(window.frames == length for window in whole)
    enough = [frames for frames in range(1, length + 1, 4) if frames > last.overlap and last.start + frames >= film_frames]
    assert last.frames == enough[0]


@given(plans(), st.data())
def test_a_film_that_goes_on_has_the_windows_that_were_left(plan, data) -> None:
    film_frames, length, overlap = plan
    planned = windows_of(*plan)
    made = data.draw(st.integers(1, len(planned)))
    done = min(planned[made - 1].stop, film_frames)
    assert windows_of(*plan, done=done, index=made) == planned[made:]


def test_a_film_goes_on_with_shorter_windows() -> None:
    windows = windows_of(200, 41, 9, done=81, index=1)
    assert [(window.index, window.start, window.frames) for window in windows[:2]] == [(1, 72, 41), (2, 104, 41)]
    assert windows[-1].stop >= 200


@pytest.mark.parametrize(
    ("film_frames", "expected"),
    [
        (1, [(0, 1, 0)]),
        (80, [(0, 81, 0)]),
        (81, [(0, 81, 0)]),
        (82, [(0, 81, 0), (72, 13, 9)]),
        (153, [(0, 81, 0), (72, 81, 9)]),
        (154, [(0, 81, 0), (72, 81, 9), (144, 13, 9)]),
    ],
)
def test_at_the_edges_of_a_window(film_frames, expected) -> None:
    found = [(window.start, window.frames, window.overlap) for window in windows_of(film_frames, 81, 9)]
    assert found == expected


def test_ninety_minutes_are_a_list_of_numbers() -> None:
    windows = windows_of(90 * 60 * 24, 81, 9)
    assert len(windows) == 1800 and windows[-1].stop >= 90 * 60 * 24


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 81, 9), "0 frames"),
        ((100, 80, 9), "window is 80"),
        ((100, 81, 81), "overlap is 81"),
        ((100, 81, -1), "overlap is -1"),
        ((100, 81, 9, 5), "5 frames so far"),
    ],
)
def test_numbers_out_of_range_are_refused(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        windows_of(*arguments)
