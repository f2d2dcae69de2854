"""Measures of a talking film as plain functions of tracks that were read from its pictures.

A track is an array [T], one number a frame; NaN where the pictures do not show it. A correlation that is undefined (a
track that never changes, or one that is seen in less than half of the frames) counts as 0: a frozen or a faceless film
is not in time with its sound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import cv2
import numpy as np
from scipy.signal import find_peaks

from ..pose.keypoints import VISIBLE, PersonKeypoints
from ..pose.measurements import correlation

LAGS = range(-3, 4)
"""Frames by which the mouth may trail its sound (below 0: run ahead of it)."""
SMOOTHING = 5
"""Frames of the moving average of hands and loudness: a stroke lasts longer than the syllable that causes it."""
LOUD = 0.5
"""s̃ of Eq. 3 from which a frame is loud."""
STROKE_SMOOTHING = 3
"""Frames of the moving average in which peaks are looked for: a stroke lasts six to eight."""
FARTHEST_PEAK = 12
"""Frames, half a second: no nearer peak of the hands belongs to an accent any more."""
LEAST_STROKE = 0.002
"""Frame heights per frame by which a peak of the hands' speed stands out from what is measured of resting hands."""
FOLLOWED_POINTS = slice(0, 8)
"""Body points that a pose gives away above the waist: nose, neck, both shoulders, elbows and wrists."""


def correlation_or_zero(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's r of two tracks [T] over the frames where both are seen; 0 where it is undefined."""
    seen = np.isfinite(first) & np.isfinite(second)
    if len(seen) == 0 or seen.mean() < 0.5:
        return 0.0
    r = correlation(first, second)
    return r if np.isfinite(r) else 0.0


def lagged_correlations(movement: np.ndarray, sound: np.ndarray, lags: Iterable[int] = LAGS) -> dict[int, float]:
    """r of movement[t] and sound[t − lag] for each lag; a positive lag is a movement that comes late."""
    frames = len(movement)
    return {
        lag: correlation_or_zero(movement[max(lag, 0) : frames + min(lag, 0)], sound[max(-lag, 0) : frames - max(lag, 0)])
        for lag in lags
    }


def best_lag(correlations: dict[int, float]) -> int:
    """The lag with the highest r; of equals the one nearest to 0."""
    return max(correlations, key=lambda lag: (correlations[lag], -abs(lag)))


def in_time(correlations: dict[int, float]) -> float:
    """The highest r with a lag of at most one frame, which nobody notices."""
    return max(r for lag, r in correlations.items() if abs(lag) <= 1)


def moving_average(track: np.ndarray, width: int = SMOOTHING) -> np.ndarray:
    """Centred mean over `width` (odd) frames [T], over those that are seen; fewer at the ends. NaN where none is."""
    seen = np.pad(np.isfinite(track).astype(float), width // 2)
    values = np.pad(np.where(np.isfinite(track), track, 0.0), width // 2)
    total, count = (sum(padded[i : i + len(track)] for i in range(width)) for padded in (values, seen))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def hand_correlation(speed: np.ndarray, loudness: np.ndarray) -> float:
    """r of hand speed and loudness, both smoothed; without frame 0, before which no movement is known."""
    return correlation_or_zero(moving_average(speed[1:]), moving_average(loudness[1:]))


def onset_distance(accents: Sequence[int], speed: np.ndarray) -> float:
    """Mean distance in frames from each accent of the voice to the nearest stroke; NaN for a voice without accents."""
    return float(np.mean(onset_distances(accents, speed))) if len(accents) else float("nan")


def onset_distances(accents: Sequence[int], speed: np.ndarray) -> list[int]:
    """Frames from each accent to the nearest peak of the hands' speed [T], at most `FARTHEST_PEAK`."""
    smooth = moving_average(speed, STROKE_SMOOTHING)
    # Still hands around the film let a stroke at its edge have a peak.
    smooth = np.pad(np.where(np.isfinite(smooth), smooth, 0.0), 1)
    peaks, _ = find_peaks(smooth, prominence=max(0.1 * np.ptp(smooth), LEAST_STROKE))
    return [int(min([FARTHEST_PEAK, *np.abs(peaks - 1 - accent)])) for accent in accents]


def hand_confidence(people: Sequence[PersonKeypoints]) -> float:
    """HKC: mean confidence of all points of both hands over all frames, 0 … 1."""
    return float(np.mean([(person.left_hand[:, 2].mean() + person.right_hand[:, 2].mean()) / 2 for person in people]))


def hand_variance(people: Sequence[PersonKeypoints], aspect: float = 1.0) -> float:
    """HKV: how far the points of both hands stray over time, the mean over points of the variances of x and y together,
    in squared percent of the frame's height; NaN when no point is seen twice.
    """
    hands = np.stack([np.concatenate([person.left_hand, person.right_hand]) for person in people]).astype(np.float64)
    places = np.where(hands[..., 2:] >= VISIBLE, hands[..., :2] * (100 * aspect, 100.0), np.nan)
    often = np.isfinite(places[..., 0]).sum(0) >= 2
    return float(np.nanvar(places[:, often], axis=0).sum(-1).mean()) if often.any() else float("nan")


def mean_seen(track: np.ndarray, where: np.ndarray | None = None) -> float:
    """Mean of a track over the frames `where` it is wanted (all); NaN when less than half of them are seen."""
    wanted = track if where is None else track[where]
    seen = wanted[np.isfinite(wanted)]
    return float(seen.mean()) if len(seen) and len(seen) >= len(wanted) / 2 else float("nan")


def opening_ratio(silent: float, loud: float, shut: float) -> float:
    """How far the mouth stays open in silence: 0 as a shut mouth, 1 as in loud speech.

    A keypoint network reads some opening from a shut mouth too, so what it reads from the same presenter drawn with a
    shut mouth is taken off. 1 when the loud mouth is not open at all or a value is unknown.
    """
    if not np.isfinite([silent, loud, shut]).all() or loud <= shut:
        return 1.0
    return (silent - shut) / (loud - shut)


def pose_error(people: Sequence[PersonKeypoints], wanted: Sequence[PersonKeypoints], aspect: float = 1.0) -> float:
    """Mean distance of the followed body points from where the pose wants them.

    Points that the pose itself does not show are left out. Points that were found with little confidence are not: a
    film does not come closer to a pose by hiding an arm.

    Args:
        people: the keypoints found in T frames.
        wanted: the pose of the same frames.
        aspect: frame width / frame height.

    Returns:
        Fraction of the frame's height; NaN when the pose shows none of the points.
    """
    found = np.stack([person.body[FOLLOWED_POINTS] for person in people])
    true = np.stack([person.body[FOLLOWED_POINTS] for person in wanted])
    distance = np.linalg.norm((found[..., :2] - true[..., :2]) * (aspect, 1.0), axis=-1)
    shown = true[..., 2] > 0
    return float(distance[shown].mean()) if shown.any() else float("nan")


def colour_difference(first: np.ndarray, second: np.ndarray) -> float:
    """ΔE (CIE 1976) of two mean colours: the distance of uint8-scaled RGB [3] triples in CIELAB."""
    pair = np.stack([first, second])[None].astype(np.float32) / 255
    lab = cv2.cvtColor(pair, cv2.COLOR_RGB2LAB)[0]
    return float(np.linalg.norm(lab[0] - lab[1]))


def identity_difference(
    film: np.ndarray, regions: Sequence[Mapping[str, np.ndarray]], portrait: np.ndarray, own: Mapping[str, np.ndarray]
) -> float:
    """How far skin, hair and clothes are from their colours in the portrait.

    Args:
        film: uint8 [T, H, W, 3].
        regions: for each of its frames the pixels that show each region, bool [H, W]; frames without any are left out.
        portrait: uint8 [H, W, 3], and where its `own` regions are.

    Returns:
        Mean ΔE over frames and regions; NaN when no region is ever seen.
    """
    differences = [
        colour_difference(frame[mask].mean(0), portrait[own[name]].mean(0))
        for frame, masks in zip(film, regions, strict=True)
        for name, mask in masks.items()
        if mask.any() and own[name].any()
    ]
    return float(np.mean(differences)) if differences else float("nan")


def flicker(film: np.ndarray, region: np.ndarray) -> float:
    """Mean change of the region's pixels from one frame to the next, in grey levels: film uint8 [T, H, W, 3], region
    bool [H, W]; NaN when it is empty.
    """
    if not region.any():
        return float("nan")
    return float(np.abs(np.diff(film[:, region].astype(np.float64), axis=0)).mean())
