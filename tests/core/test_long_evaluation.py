"""The measures of long films on made-up films where each is known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from apoavatar_core.checkpoints import presets
from apoavatar_core.evaluation import long, long_measures
from apoavatar_core.pose import load_keypoint_network

FRAMES, SEAMS = 130, [49, 89]
RNG = np.random.default_rng(0)


def wobbling(jump_at: int | None = None, jump: int = 0, drift_per_frame: float = 0.0) -> list[np.ndarray]:
    """Grey films whose level changes by 0, 1 or 2 a frame; from one frame on by a jump more, and redder with every frame."""
    levels = 100 + np.cumsum(np.random.default_rng(1).choice([-2, -1, 0, 1, 2], FRAMES)).clip(-20, 20)
    films = []
    for t, level in enumerate(levels):
        picture = np.full((16, 16, 3), level, np.float64)
        if jump_at is not None and t >= jump_at:
            picture += jump
        picture[..., 0] += drift_per_frame * t
        films.append(picture.round().astype(np.uint8))
    return films


def changes(frames: list[np.ndarray]) -> np.ndarray:
    return np.array([np.abs(later.astype(float) - earlier).mean() for earlier, later in pairwise(frames)])


def colours(frames: list[np.ndarray]) -> np.ndarray:
    return np.stack(frames).mean(axis=(1, 2))


def test_a_jump_at_a_seam_is_seen_and_one_elsewhere_is_not_blamed_on_it() -> None:
    assert long_measures.seam_ratio(changes(wobbling()), SEAMS) <= 1.5
    assert long_measures.seam_ratio(changes(wobbling(jump_at=89, jump=30)), SEAMS) > 5
    assert long_measures.seam_ratio(changes(wobbling(jump_at=88, jump=30)), SEAMS) <= 1.5


def test_a_film_that_stands_still_but_for_a_seam_jumps_and_one_without_seams_cannot() -> None:
    still = np.zeros(FRAMES - 1)
    assert long_measures.seam_ratio(still, SEAMS) == 0
    assert long_measures.seam_ratio(changes(wobbling(jump_at=89, jump=30)), []) == 0
    still[48] = 1
    assert long_measures.seam_ratio(still, SEAMS) == np.inf


def test_a_drift_is_that_between_first_and_last_second() -> None:
    grey = np.full((FRAMES, 3), 100.0)
    assert long_measures.drift(grey, 24) == 0
    redder = grey + np.linspace(0, 40, FRAMES)[:, None] * (1, 0, 0)
    assert long_measures.drift(redder, 24) > 10
    # A window of 40 frames is a third as long, and its seconds overlap: halves of 20 frames.
    within = long_measures.drift_within(redder, 24, [slice(49, 89)])
    assert 0 < within < long_measures.drift(redder, 24) / 3
    # One window whose colour goes away and comes back says nothing about the whole.
    away = grey.copy()
    away[60:70] += 50
    assert long_measures.drift(away, 24) == 0


def test_a_mouth_that_comes_late_in_the_last_window_is_found_there_alone() -> None:
    loudness = RNG.random(FRAMES)
    openings = loudness.copy()
    openings[81:] = loudness[79:-2]
    first, last = (long_measures.mouth_by_lag(openings, loudness, stretch) for stretch in (slice(0, 49), slice(81, FRAMES)))
    assert first[0] == pytest.approx(1) and last[2] == pytest.approx(1) and last[0] < 0.5


def test_only_windows_that_were_not_cut_short_say_what_a_window_drifts() -> None:
    assert long.stretches_of([49, 89, 129], 133) == [slice(0, 49), slice(49, 89), slice(89, 129)]
    assert long.stretches_of([], 20) == [slice(0, 20)]


@pytest.mark.parametrize(("seam", "frames", "shown"), [(9, 30, range(6, 12)), (2, 30, range(0, 5)), (9, 11, range(6, 11))])
def test_a_strip_shows_what_is_on_both_sides_of_its_seam(seam: int, frames: int, shown: range) -> None:
    film = [np.full((4, 5, 3), t, np.uint8) for t in range(frames)]
    ((found, strip),) = long_measures.seam_strips(iter(film), [seam])
    assert found == seam and strip.shape == (4, 5 * len(shown), 3)
    assert strip[0, 1::5, 0].tolist() == list(shown)
    assert (strip[:, 5 * (seam - shown.start)] == 255).all()


def test_every_seam_has_a_strip_however_near() -> None:
    film = (np.full((4, 5, 3), t, np.uint8) for t in range(100))
    assert [seam for seam, _ in long_measures.seam_strips(film, [10, 12, 50, 99])] == [10, 12, 50, 99]


@pytest.fixture(scope="module")
def scene() -> long.Scene:
    return long.scene_of(0, 3.0)


@pytest.fixture(scope="module")
def network():
    return load_keypoint_network(presets.TINY_POSE)


def test_the_true_film_meets_what_is_asked_of_one(scene: long.Scene, network) -> None:
    found = long.measure(scene, scene.drawn(), network, [49])
    assert found["frames"] == 72 and found["duration_error_frames"] == 0
    assert found["mouth_r_first"] > 0.5 and found["mouth_r"] > 0.5
    assert found["seam_ratio"] <= 1.5 and found["drift_wall"] < 0.5 and found["drift_clothes"] < 3


def test_what_is_wrong_with_a_film_is_told(scene: long.Scene, network) -> None:
    """Two frames too few, darker from the second window on, and the last window's mouth runs behind."""
    drawn = list(scene.drawn())
    film = [*drawn[:49], *((picture * 0.8).astype(np.uint8) for picture in drawn[46:67])]
    found = long.measure(scene, iter(film), network, [49])
    assert found["duration_error_frames"] == -2
    assert found["seam_ratio"] > 1.5 and found["drift_wall"] > 3 * long.LEAST_DRIFT and found["drift_within_wall"] < 1
    report = summary_of(found)
    assert report["drift_ratio_wall"] > 1.5 and report["seam_ratio"] > 1.5
    assert not long.TARGETS["duration_error_frames"].is_met(report["duration_error_frames"])


def test_a_film_is_read_without_holding_it(scene: long.Scene) -> None:
    """At no time are more frames alive than the network looks at together, and one."""
    alive, most = 0, 0

    class Counted(np.ndarray):
        def __del__(self) -> None:
            nonlocal alive
            alive -= self.base is None

    def film():
        nonlocal alive, most
        for _ in range(200):
            picture = np.ndarray.__new__(Counted, (8, 8, 3), np.uint8)
            picture[:] = 0
            alive += 1
            most = max(most, alive)
            yield picture

    assert sum(1 for _ in long_measures.batches(film())) == 9
    assert most <= 2 * long_measures.AT_ONCE + 1
    most = 0
    list(long_measures.seam_strips(film(), [40, 80, 120]))
    assert most <= 4 * 3 + 1


def test_means_over_films_and_the_worst_seam() -> None:
    one = film_row(mouth_r_first=0.6, mouth_r_last=0.5, duration_error_frames=-1, seam_ratio=1.2, drift_wall=4.0)
    two = film_row(mouth_r_first=0.8, mouth_r_last=0.9, duration_error_frames=0, seam_ratio=1.4, drift_wall=2.0)
    report = long.summarize([one, two])
    assert report["mouth_r_change"] == pytest.approx(0.0) and report["duration_error_frames"] == -1
    assert report["seam_ratio"] == 1.4 and report["mouth_lag_first"] == 1
    assert report["drift_ratio_wall"] == pytest.approx(1.5)  # 3 over a mean of 2 within windows
    # What nobody sees counts as LEAST_DRIFT: a third of it over nearly nothing is no drift.
    assert long.summarize([film_row(drift_wall=0.3, drift_within_wall=0.01)])["drift_ratio_wall"] == pytest.approx(0.3)


def summary_of(row: dict) -> dict:
    return long.summarize([row])


def film_row(**known) -> dict:
    by_lag = [0.0, 0.0, 0.0, 0.4, 0.6, 0.0, 0.0]
    names = ("mouth_r", "mouth_r_first", "mouth_r_last", "duration_error_frames", "drift_wall", "drift_clothes", "seam_ratio")
    within = {"drift_within_wall": 2.0, "drift_within_clothes": 2.0}
    lags = {"mouth_r_by_lag_first": by_lag, "mouth_r_by_lag_last": by_lag}
    return dict.fromkeys(names, 0.0) | within | lags | known
