"""What is measured of a trained network, as plain numbers: means over held-out clips."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from .. import measures
from .modes import BORROWED, FREE, HARD, MISFIT, REFOCUSED, Exam
from .world import HANDS, LEFT, MOUTH, RIGHT, hand_speed

QUIET = 0.2
"""s̃ of Eq. 3 below which a frame is quiet."""
OPEN, SHUT = 0.8, 0.2
"""Keep weights from which, and up to which, the gate counts as open and shut."""


def measure(made: Mapping[str, np.ndarray], exam: Exam) -> dict[str, float]:
    """All measures but the losses: `made` holds places [C, T, 3, 3] for each mode."""
    return measure_free(made[FREE], exam) | {
        "hard_distance": distance(made[HARD], exam.places),
        "hard_side": which_hand(made[HARD], exam.places),
        "misfit_distance": distance(made[MISFIT], exam.others),
        "misfit_mouth_r": mouth_correlation(made[MISFIT], exam.places),
        "refocused_distance": distance(made[REFOCUSED], exam.places),
        "refocused_side": which_hand(made[REFOCUSED], exam.places),
        "borrowed_open": distance(made[BORROWED], exam.others, 1 - exam.dropout >= OPEN),
        "borrowed_still": speed_ratio(made[BORROWED], 1 - exam.dropout <= SHUT, 1 - exam.dropout >= OPEN),
        "borrowed_hand_r": loudness_correlation(made[BORROWED], exam),
        "borrowed_rough": roughness(made[BORROWED]) / roughness(exam.places),
    }


def measure_free(made: np.ndarray, exam: Exam) -> dict[str, float]:
    """What can be said without a pose, of drawn clips too."""
    everywhere = np.ones(exam.normalized.shape, dtype=bool)
    return {
        "free_hand_r": loudness_correlation(made, exam),
        "free_onset": mean_over_clips(
            lambda clip: measures.onset_distance(exam.accents[clip], hand_speed(made[clip])), len(exam)
        ),
        "free_quiet": speed_ratio(made, exam.normalized < QUIET, everywhere),
        "free_amount": float(hand_speed(made).mean() / hand_speed(exam.places).mean()),
        "free_mouth_r": mouth_correlation(made, exam.places),
    }


def mean_over_clips(of_clip: Callable[[int], float], clips: int) -> float:
    """NaN for no clip counts."""
    return float(np.nanmean([of_clip(clip) for clip in range(clips)]))


def loudness_correlation(made: np.ndarray, exam: Exam) -> float:
    speed = hand_speed(made)
    return mean_over_clips(lambda clip: measures.hand_correlation(speed[clip], exam.loudness[clip]), len(exam))


def mouth_correlation(made: np.ndarray, wanted: np.ndarray) -> float:
    opening, true = made[:, :, MOUTH, 0], wanted[:, :, MOUTH, 0]
    return mean_over_clips(lambda clip: measures.correlation_or_zero(opening[clip], true[clip]), len(made))


def which_hand(made: np.ndarray, wanted: np.ndarray) -> float:
    """r of how much faster the right hand is than the left one, smoothed, with how much it should be; over all clips' frames at
    once, as in many clips both hands do the same.
    """
    tracks = [hand_speed(places, (RIGHT,)) - hand_speed(places, (LEFT,)) for places in (made, wanted)]
    return measures.correlation_or_zero(*(np.concatenate([measures.moving_average(clip) for clip in track]) for track in tracks))


def distance(made: np.ndarray, wanted: np.ndarray, where: np.ndarray | None = None) -> float:
    """Mean distance of the wrists from where they should be, in all frames or those `where` [C, T] it counts."""
    apart = np.linalg.norm(made[:, :, HANDS] - wanted[:, :, HANDS], axis=-1).mean(-1)
    return float(apart.mean() if where is None else apart[where].mean())


def speed_ratio(made: np.ndarray, part: np.ndarray, whole: np.ndarray) -> float:
    """Mean speed of the hands in some frames [C, T] over that in others."""
    speed = hand_speed(made)
    return float(speed[part].mean() / speed[whole].mean())


def roughness(places: np.ndarray) -> float:
    """Root mean square of the hands' acceleration, arm lengths a frame²."""
    return float(np.sqrt((np.diff(places[:, :, HANDS], n=2, axis=1) ** 2).sum(-1).mean()))


def drawn_measures(exam: Exam) -> dict[str, float]:
    """Those of the clips as they were performed."""
    return measure_free(exam.places, exam)


