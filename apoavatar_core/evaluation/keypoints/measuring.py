"""What is measured of a trained network, as plain numbers: means over held-out clips."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from .. import measures
from .modes import BORROWED, FREE, HARD, MISFIT, REFOCUSED, Exam
from .world import HANDS, LEFT, MOUTH, RIGHT, hand_speed

QUIET = 0.2
"""s̃ of Eq. 3 below which a frame is quiet."""
OPEN, SHUT = 0.8, 0.2
"""Keep weights from which, and up to which, the gate counts as open and shut."""


@dataclass(frozen=True)
class Measure:
    """title: of a column; better: +1 where more is better, −1 where less is; worth: the smallest difference that anybody would care
    about; what: in a sentence.
    """

    title: str
    better: int
    worth: float
    what: str


MEASURES = {
    "free_hand_r": Measure("hand r", +1, 0.05, "pose-free: correlation of the hands' speed with the voice's loudness, both smoothed"),
    "free_onset": Measure("onset", -1, 0.5, "pose-free: frames from an accent to the nearest peak of the hands' speed, at most 12"),
    "free_quiet": Measure("quiet", -1, 0.05, "pose-free: speed of the hands in quiet frames over that in all frames"),
    "free_amount": Measure("amount", +1, 0.05, "pose-free: speed of the hands over that of the drawn clips"),
    "free_mouth_r": Measure("mouth r", +1, 0.02, "pose-free: correlation of the mouth's opening with that of the drawn clip"),
    "hard_distance": Measure("pose distance", -1, 0.01, "hard, own pose: distance of the wrists from it, arm lengths"),
    "hard_side": Measure("which hand", +1, 0.05, "hard, own pose: correlation of right minus left hand's speed with the pose's"),
    "misfit_distance": Measure("misfit distance", -1, 0.01, "hard, a pose that does not fit the voice: distance from it, arm lengths"),
    "misfit_mouth_r": Measure("misfit mouth r", +1, 0.02, "hard, a pose that does not fit: correlation of mouth and voice's own mouth"),
    "refocused_distance": Measure("refocused distance", -1, 0.01, "refocused, own pose: distance of the wrists from it, arm lengths"),
    "refocused_side": Measure("refocused which hand", +1, 0.05, "refocused, own pose: which hand, as above"),
    "borrowed_open": Measure("open distance", -1, 0.01, "refocused, another clip's pose: distance from it where the gate is open"),
    "borrowed_still": Measure("shut / open", -1, 0.05, "refocused, another clip's pose: hands' speed where the gate is shut over open"),
    "borrowed_hand_r": Measure("refocused hand r", +1, 0.05, "refocused, another clip's pose: hands' speed and loudness, as hand r"),
    "borrowed_rough": Measure("roughness", -1, 0.2, "refocused, another clip's pose: the hands' acceleration over the drawn clips'"),
    "free_loss": Measure("loss, free", -1, 0.005, "Eq. 1 on held-out clips, pose-free"),
    "hard_loss": Measure("loss, hard", -1, 0.005, "Eq. 1 on held-out clips with their own pose"),
    "refocused_loss": Measure("loss, refocused", -1, 0.005, "Eq. 1 on held-out clips with their own pose under the soft gate"),
}


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


