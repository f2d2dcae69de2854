"""The measures of talking films against series whose answer is known, and the report that is made of them."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apoavatar_core.checkpoints import presets
from apoavatar_core.evaluation import measures
from apoavatar_core.evaluation import variants as v
from apoavatar_core.evaluation.frechet import film_features, frechet_distance
from apoavatar_core.evaluation.pixels import questions
from apoavatar_core.evaluation.questions import answers_to
from apoavatar_core.pose import PersonKeypoints, load_keypoint_network
from apoavatar_core.synthetic import synthesize_clip

ROOT = Path(__file__).resolve().parents[2]
SOUND = np.random.default_rng(0).random(49)


def delayed(track: np.ndarray, frames: int) -> np.ndarray:
    """The track that many frames later; negative: earlier."""
    return np.roll(track, frames)


def mixed_with_noise(track: np.ndarray, r: float) -> np.ndarray:
    """A track whose correlation with this one is exactly r."""
    noise = np.random.default_rng(1).random(len(track))
    track = (track - track.mean()) / track.std()
    noise -= noise.mean()
    noise -= track * (noise @ track) / (track @ track)
    return r * track + math.sqrt(1 - r * r) * noise / noise.std()


# --- mouths


@pytest.mark.parametrize("lag", measures.LAGS)
def test_a_delay_is_found_whatever_the_scale(lag: int) -> None:
    correlations = measures.lagged_correlations(0.02 + 0.1 * delayed(SOUND, lag), SOUND)
    assert list(correlations) == list(measures.LAGS)
    assert measures.best_lag(correlations) == lag
    assert correlations[lag] == pytest.approx(1)


@pytest.mark.parametrize("r", [-1, -0.3, 0, 0.5, 0.9])
def test_a_known_correlation_is_found(r: float) -> None:
    assert measures.correlation_or_zero(mixed_with_noise(SOUND, r), SOUND) == pytest.approx(r, abs=1e-9)


def test_only_a_mouth_that_is_at_most_a_frame_late_is_in_time() -> None:
    on_time, late = (measures.in_time(measures.lagged_correlations(delayed(SOUND, lag), SOUND)) for lag in (-1, 2))
    assert on_time == pytest.approx(1)
    assert late < 0.5


def test_of_equal_lags_the_one_nearest_to_zero_is_best() -> None:
    assert measures.best_lag(dict.fromkeys(measures.LAGS, 0.0)) == 0


@pytest.mark.parametrize("track", [np.zeros(49), np.full(49, 0.3), np.full(49, np.nan)])
def test_a_frozen_or_unseen_mouth_is_not_in_time(track: np.ndarray) -> None:
    assert set(measures.lagged_correlations(track, SOUND).values()) == {0.0}


def test_a_mouth_that_is_seen_in_a_few_lucky_frames_is_not_in_time() -> None:
    lucky = np.full(49, np.nan)
    lucky[:24] = SOUND[:24]
    assert measures.correlation_or_zero(lucky, SOUND) == 0
    lucky[:30] = SOUND[:30]
    assert measures.correlation_or_zero(lucky, SOUND) == pytest.approx(1)


def test_empty_tracks_do_not_correlate() -> None:
    assert measures.correlation_or_zero(np.zeros(0), np.zeros(0)) == 0


@pytest.mark.parametrize(
    ("silent", "loud", "expected"), [(0.01, 0.05, 0.0), (0.05, 0.05, 1.0), (0.02, 0.05, 0.25), (0.07, 0.05, 1.5)]
)
def test_opening_in_silence_goes_from_shut_to_loud(silent: float, loud: float, expected: float) -> None:
    assert measures.opening_ratio(silent, loud, shut=0.01) == pytest.approx(expected)


@pytest.mark.parametrize("openings", [(0.01, 0.01, 0.01), (0.0, 0.0, 0.01), (math.nan, 0.05, 0.01), (0.02, math.nan, 0)])
def test_a_mouth_that_never_opens_or_is_never_seen_gets_no_credit_for_being_shut(openings: tuple) -> None:
    assert measures.opening_ratio(*openings) == 1


def test_means_leave_out_what_is_not_seen_and_need_half_of_the_frames() -> None:
    track = np.array([1.0, np.nan, 3.0, 100.0, np.nan])
    assert measures.mean_seen(track, np.array([True, True, True, False, False])) == 2
    assert math.isnan(measures.mean_seen(track, np.array([True, True, False, False, True])))
    assert math.isnan(measures.mean_seen(track, np.zeros(5, dtype=bool)))


# --- hands


@given(st.lists(st.one_of(st.floats(-5, 5), st.just(math.nan)), max_size=12), st.sampled_from([1, 3, 5]))
@settings(max_examples=40, deadline=None)
def test_moving_average_is_the_mean_of_the_frames_around(values: list[float], width: int) -> None:
    track = np.array(values, dtype=float)
    found = measures.moving_average(track, width)
    assert found.shape == track.shape
    for t in range(len(track)):
        around = [v for v in track[max(0, t - width // 2) : t + width // 2 + 1] if not math.isnan(v)]
        assert found[t] == pytest.approx(sum(around) / len(around), abs=1e-9) if around else math.isnan(found[t])


def test_hands_that_move_with_the_voice_correlate_and_hands_that_move_against_it_do_not() -> None:
    assert measures.hand_correlation(3 * SOUND, SOUND) == pytest.approx(1)
    assert measures.hand_correlation(1 - SOUND, SOUND) == pytest.approx(-1)


def test_the_first_frame_of_hand_speed_does_not_count() -> None:
    speed = SOUND.copy()
    speed[0] = 1000
    assert measures.hand_correlation(speed, SOUND) == pytest.approx(1)


def test_hands_that_lie_still_do_not_correlate() -> None:
    assert measures.hand_correlation(np.zeros(49), SOUND) == 0


def strokes(*frames: int) -> np.ndarray:
    """The speed of hands that make one stroke around each of these frames."""
    time = np.arange(49)
    return sum(0.03 * np.exp(-0.5 * ((time - frame) / 2) ** 2) for frame in frames) + np.zeros(49)


def test_onset_distance_is_the_mean_way_to_the_nearest_stroke() -> None:
    assert measures.onset_distance([10, 30], strokes(10, 30)) == 0
    assert measures.onset_distance([10, 30], strokes(12, 29)) == pytest.approx(1.5)
    assert measures.onset_distance([10, 45], strokes(10)) == pytest.approx(measures.FARTHEST_PEAK / 2)
    assert measures.onset_distance([0], strokes(0)) == 0
    assert math.isnan(measures.onset_distance([], strokes(10)))


def test_resting_hands_have_no_strokes() -> None:
    noise = np.random.default_rng(0).uniform(0, 0.001, 49)
    assert measures.onset_distance([10, 30], noise) == measures.FARTHEST_PEAK


# --- poses


def person(offset: tuple[float, float] = (0, 0), confidence: float = 1.0) -> PersonKeypoints:
    points = np.full((130, 3), 0.5, dtype=np.float32)
    points[:, :2] += offset
    points[:, 2] = confidence
    return PersonKeypoints.from_points(points)


def test_pose_error_is_the_mean_distance_in_frame_heights() -> None:
    people = [person((0.03, 0.04)), person()]
    assert measures.pose_error(people, [person()] * 2) == pytest.approx(0.025, abs=1e-6)
    assert measures.pose_error([person((0.03, 0))], [person()], aspect=2.0) == pytest.approx(0.06, abs=1e-6)


def test_pose_error_leaves_out_what_the_pose_does_not_show_and_counts_what_the_film_hides() -> None:
    wanted = person()
    wanted.body[7, 2] = 0
    found = person(confidence=0.0)
    found.body[7, :2] = 5
    found.body[8:, :2] = 5
    found.body[0, :2] += (0.0, 0.7)
    assert measures.pose_error([found], [wanted]) == pytest.approx(0.1, abs=1e-6)
    assert math.isnan(measures.pose_error([found], [PersonKeypoints.nobody()]))


# --- colours


def test_colour_difference_is_the_distance_in_cielab() -> None:
    assert measures.colour_difference(np.zeros(3), np.full(3, 255)) == pytest.approx(100, abs=0.01)
    # sRGB red is L* 53.24, a* 80.09, b* 67.20.
    expected = math.hypot(53.24, 80.09, 67.20)
    assert measures.colour_difference(np.array([255, 0, 0]), np.zeros(3)) == pytest.approx(expected, abs=0.1)


def test_identity_is_compared_region_by_region() -> None:
    portrait = np.zeros((4, 4, 3), np.uint8)
    portrait[:2], portrait[2:] = 40, 200
    film = np.stack([portrait, portrait])
    film[1, :2] = 60
    own = {"hair": np.indices((4, 4))[0] < 2, "clothes": np.indices((4, 4))[0] >= 2, "skin": np.zeros((4, 4), bool)}
    changed = measures.colour_difference(np.full(3, 40), np.full(3, 60))
    assert measures.identity_difference(film, [own, own], portrait, own) == pytest.approx(changed / 4)
    assert math.isnan(measures.identity_difference(film, [{}, {}], portrait, own))


def test_flicker_is_the_mean_change_within_the_region() -> None:
    film = np.zeros((3, 2, 2, 3), np.uint8)
    film[1, 0, 0] = 30
    film[:, 1, 1] = np.array([0, 200, 0])[:, None]
    assert measures.flicker(film, np.array([[True, True], [True, False]])) == pytest.approx(10)
    assert math.isnan(measures.flicker(film, np.zeros((2, 2), bool)))


# --- hands as pictures show them


def test_hand_confidence_and_variance_are_those_of_the_seen_points() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 1, (6, 130, 3)).astype(np.float32)
    people = [PersonKeypoints.from_points(frame) for frame in points]
    hands = points[:, 18:60]
    assert measures.hand_confidence(people) == pytest.approx(hands[..., 2].mean(), abs=1e-6)
    variances = []
    for point in range(42):
        seen = [(2 * 100 * x, 100 * y) for x, y, confidence in hands[:, point] if confidence >= 0.3]
        if len(seen) >= 2:
            variances.append(np.var([x for x, _ in seen]) + np.var([y for _, y in seen]))
    assert measures.hand_variance(people, aspect=2.0) == pytest.approx(np.mean(variances), rel=1e-4)
    assert math.isnan(measures.hand_variance([person(confidence=0.0)] * 3))


def test_frechet_distance_of_gaussians_is_the_closed_form() -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(size=(100_000, 3)) * (1.0, 2.0, 0.5)
    second = rng.normal(size=(100_000, 3)) * (2.0, 2.0, 1.0) + (0.0, 3.0, 0.0)
    # Independent axes: (μ₁ − μ₂)² + (σ₁ − σ₂)² of each.
    assert frechet_distance(first, second) == pytest.approx(9 + 1 + 0.25, rel=0.03)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-6)


# --- films


pose_network = pytest.mark.skipif(not presets.TINY_POSE.is_file(), reason="the shipped keypoint network is not there yet")


@pose_network
def test_blurred_films_are_farther_from_drawn_ones_than_other_films() -> None:
    network = load_keypoint_network(presets.TINY_POSE)
    clips = [synthesize_clip(seed, held_out=True).frames for seed in (3, 4, 5)]
    smeared = [np.stack([cv2.blur(frame, (9, 9)) for frame in film]) for film in clips]
    drawn, same, blurred = (
        np.concatenate([film_features(network, film) for film in films])
        for films in (clips, [film[:48] for film in clips], smeared)
    )
    assert frechet_distance(drawn, same) < 1e-6 < frechet_distance(drawn, blurred)


# --- evidence in pixels


def test_answers_follow_from_the_numbers() -> None:
    """A measure that is one deviation worth noticing better for the first of every pair is better in every answer."""
    ranks = {v.REFOCUSING.key: 3, v.FRAME_WISE.key: 2, v.AUDIO_DIT.key: 2, v.TEMPORAL.key: 2, v.NO_PLACES.key: 2}
    results = {
        variant.key: [
            {name: measure.better * measure.worth * (10 * ranks.get(variant.key, 0) + noise)
             for name, measure in questions.MEASURES.items()}
            for noise in (0.001 * ranks.get(variant.key, 0), 0.0, 0.002)
        ]
        for variant in v.ALL
    }  # fmt: skip
    found = answers_to(questions.QUESTIONS, questions.MEASURES, results)
    assert len(found) == questions.COMPARISONS and {answer.verdict for answer in found} == {"better"}
