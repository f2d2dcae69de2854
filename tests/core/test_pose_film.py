"""A pose film that ends before the voice: its last frame is held, or it goes on without a jump."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from apoavatar_core.conditioning.clip import ClipShape
from apoavatar_core.conditioning.pose import Pictures, PoseFilm, fit_of, looped_film, part_for
from apoavatar_core.pose import PersonKeypoints
from apoavatar_core.pose.following import Followed

FPS = 24.0
WINDOWS = [(0, 9), (4, 9), (40, 13), (96, 5)]
"""(start, frames) of some of a film of 100 frames."""


def pictures(frames: int) -> Pictures:
    """IMAGE of one pixel, frame t of value t."""

    def read(numbers: np.ndarray) -> Tensor:
        assert (np.diff(numbers) > 0).all() and numbers[-1] - numbers[0] <= max(count for _, count in WINDOWS), "as a file is read"
        return torch.from_numpy(numbers).float().view(-1, 1, 1, 1).expand(-1, 1, 1, 3)

    return Pictures(np.arange(frames), read, None)


def clip(start: int, frames: int) -> ClipShape:
    return ClipShape(64, 64, frames, FPS, start)


def wrists_of(film: PoseFilm, start: int, frames: int) -> np.ndarray:
    return np.array([person.body[4, 1] for person in part_for(film, clip(start, frames)).people])


def waving(frames: int) -> Followed:
    """Someone whose right wrist rises all the time and is not back at the end."""
    people = []
    for t in range(frames):
        points = np.zeros((130, 3), np.float32)
        points[:8] = (0.5, 0.5, 1)
        points[4, 1] = 0.9 - 0.02 * t
        people.append(PersonKeypoints.from_points(points))
    return Followed(people, (64, 64), 0)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_drawn_pictures_run_backwards_and_forwards_again(count: int) -> None:
    film = looped_film(PoseFilm(pictures(count)), 100, FPS)
    there_and_back, step, at = [], 1, 0
    for _ in range(101):  # by walking
        there_and_back.append(at)
        if not 0 <= at + step < count:
            step = -step
        at += step if 0 <= at + step < count else 0
    for start, frames in WINDOWS:
        assert part_for(film, clip(start, frames))[:, 0, 0, 0].tolist() == there_and_back[start : start + frames]
    assert film.said == [f"The pose lasts {count / FPS:.2f} seconds and the film 4.17: it is played backwards and forwards again."]
    assert not fit_of(film, clip(0, 97)), "that is said already"


def test_keypoints_go_over_into_their_beginning() -> None:
    film = looped_film(PoseFilm(waving(30)), 100, FPS)
    assert "it is looped" in film.said[0] and len(film.film.people) < 60, "it is kept once"
    whole = wrists_of(film, 0, 101)
    assert whole[:15] == pytest.approx(0.9 - 0.02 * np.arange(15))
    assert np.abs(np.diff(whole)).max() < 0.1 < 0.3 < np.ptp(whole), "it would jump by 0.58 where it ends"
    for start, frames in WINDOWS:
        np.testing.assert_array_equal(wrists_of(film, start, frames), whole[start : start + frames])


@pytest.mark.parametrize("film", [PoseFilm(pictures(100)), PoseFilm(waving(100)), PoseFilm(pictures(0))])
def test_one_that_is_long_enough_or_empty_stays(film: PoseFilm) -> None:
    assert looped_film(film, 100, FPS) is film
