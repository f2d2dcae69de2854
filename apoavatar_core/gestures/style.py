"""The strokes of a film's hands.

A film's arms are read as directions of their bones, which fit any body. Its strokes lie between valleys of the hands'
speed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..pose.keypoints import VISIBLE, PersonKeypoints
from .body import FORE, HAND, MIDDLE_KNUCKLE, SHOULDERS, UPPER, Arm, relaxed_hand

LEAST_SPEED = 0.25
"""Arm lengths per second of a hand that makes a stroke."""
_BLUR_SECONDS = 0.07
_STROKES_APART_SECONDS = 0.25
_LONGEST_BONE = 97  # percentile of what is seen: the very longest are slips of the detector
_OUTER_SECONDS = 0.45
"""Of the film before its first stroke's peak and after its last one's, at most."""
_LEAST_WAY = 0.5
"""Of the median: shorter movements are passed on the way of others."""
_LEAST_PACE = 0.02
"""Arm lengths per second of hands that wait."""
_LONGEST_STROKE = 0.7
"""Seconds; a longer movement is more than one stroke."""


@dataclass(frozen=True, eq=False)
class FilmStyle:
    """A film's arms and strokes.

    arms: "right" and "left", F poses; fps: of them; ways: [F], the way of both hands until each frame, their mean in arm
    lengths, always growing; strokes: [N, 2], seconds of their beginnings and ends; rest: the frame of its rest.
    """

    arms: Mapping[str, Arm]
    fps: float
    ways: np.ndarray
    strokes: np.ndarray
    rest: int


def film_style(people: Sequence[PersonKeypoints], aspect: float, fps: float) -> FilmStyle:
    """The style of a film of one person.

    Args:
        people: its frames, those without a person with confidence 0.
        aspect: picture width / height.
        fps: frames a second.

    Raises:
        ValueError: when it shows no arms or no stroke.
    """
    bones = seen_bones(people, aspect) if people else {}
    if not any((np.isfinite(upper) & np.isfinite(fore)).all(-1).sum() >= 2 for upper, fore, _ in bones.values()):
        raise ValueError(
            "The film's pose shows no arms in at least two frames: give the keypoints of a film in which a person's arms "
            "are seen."
        )
    arms = {side: _arm(*seen, fps) for side, seen in bones.items()}
    speed = hands_speed(arms, fps)
    peaks = _peaks(speed, fps)
    if not len(peaks):
        raise ValueError("The film's hands make no stroke: give a longer film, in which the person gestures.")
    ways = np.concatenate([[0.0], np.cumsum(np.maximum(speed[1:], _LEAST_PACE)) / fps])
    return FilmStyle(arms, fps, ways, _strokes(speed, peaks, fps) / fps, _rest(arms, speed))


def wrists(arms: Mapping[str, Arm]) -> np.ndarray:
    """Places [T, 2, 2] of both wrists on the picture from their shoulders, in arm lengths."""
    return np.stack([_reach(arm.upper, arm.fore) for arm in arms.values()], axis=1)


def hands_speed(arms: Mapping[str, Arm], fps: float) -> np.ndarray:
    """Mean speed of both wrists on the picture [T], in arm lengths per second."""
    return np.linalg.norm(np.gradient(wrists(arms), axis=0), axis=-1).mean(1) * fps


def jerk(upper: np.ndarray, fore: np.ndarray, fps: float) -> np.ndarray:
    """Jerk of a wrist on the picture [T − 3], in arm lengths per second cubed, from its arm's bones [T, 2 or 3]."""
    return np.linalg.norm(np.diff(_reach(upper, fore), 3, axis=0), axis=1) * fps**3


def _reach(upper: np.ndarray, fore: np.ndarray) -> np.ndarray:
    """Places [T, 2] of a wrist on the picture from its shoulder, in arm lengths."""
    return (UPPER * upper[:, :2] + FORE * fore[:, :2]) / (UPPER + FORE)


def seen_bones(people: Sequence[PersonKeypoints], aspect: float) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """What is seen of upper arms and forearms [F, 2] in their own lengths and of hands [F, 21, 2] in hand lengths,
    outward and up; NaN where it is not.
    """

    def places(points: np.ndarray) -> np.ndarray:
        return np.where(points[..., 2:] >= VISIBLE, points[..., :2] * (aspect, 1.0), np.nan)

    body = places(np.stack([person.body for person in people]).astype(np.float64))
    shoulders = np.linalg.norm(body[:, 2] - body[:, 5], axis=-1)
    width = float(np.nanmedian(shoulders)) if np.isfinite(shoulders).any() else 0.0
    behind = width > 0 and np.nanmedian(body[:, 2, 0] - body[:, 5, 0]) > 0
    steps = {side: np.diff(body[:, first : first + 3], axis=1) for side, first in SHOULDERS.items()}
    sizes = np.linalg.norm(np.stack(list(steps.values())), axis=-1)  # [side, F, bone]
    longest = [
        float(np.nanpercentile(sizes[..., bone], _LONGEST_BONE)) if np.isfinite(sizes[..., bone]).any() else 1.0
        for bone in (0, 1)
    ]
    upper, fore = max(UPPER * width, longest[0]), max(FORE * width, longest[1])
    found = {}
    for side in SHOULDERS:
        onto = [(1 if (side == "left") != behind else -1), -1.0]
        hand = places(np.stack([getattr(person, f"{side}_hand") for person in people]).astype(np.float64))
        found[side] = (
            steps[side][:, 0] * onto / upper,
            steps[side][:, 1] * onto / fore,
            (hand - hand[:, :1]) * onto / (HAND / FORE * fore),
        )
    return found


def _arm(upper: np.ndarray, fore: np.ndarray, hand: np.ndarray, fps: float) -> Arm:
    """An arm without gaps, smoothed; what is not seen of a bone's length points to the viewer."""
    upper, fore = (_in_depth(_filled(bone, np.array([0.0, -1.0]), fps)) for bone in (upper, fore))
    if np.isfinite(hand).all((1, 2)).any():
        hand = _filled(hand, hand[0], fps)
    else:
        hand = relaxed_hand(fore)
    return Arm(upper, fore, hand, unit(_in_depth(2 * hand[:, MIDDLE_KNUCKLE])))


def _filled(track: np.ndarray, otherwise: np.ndarray, fps: float) -> np.ndarray:
    """A track [F, ...] with straight lines through its gaps, and smoothed; `otherwise` when there is nothing."""
    from scipy.ndimage import gaussian_filter1d

    flat = track.reshape(len(track), -1)
    seen = np.flatnonzero(np.isfinite(flat).all(1))
    if not len(seen):
        return np.broadcast_to(otherwise, track.shape).copy()
    filled = np.stack([np.interp(np.arange(len(flat)), seen, column[seen]) for column in flat.T], axis=1)
    return gaussian_filter1d(filled, _BLUR_SECONDS * fps, axis=0, mode="nearest").reshape(track.shape)


def _in_depth(bone: np.ndarray) -> np.ndarray:
    """Unit vectors [F, 3] of what is seen [F, 2] of them."""
    bone = bone / np.maximum(np.linalg.norm(bone, axis=1, keepdims=True), 1.0)
    return np.concatenate([bone, np.sqrt(np.maximum(1 - (bone**2).sum(1, keepdims=True), 0.0))], axis=1)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def _peaks(speed: np.ndarray, fps: float) -> np.ndarray:
    from scipy.signal import find_peaks

    return find_peaks(
        speed, height=LEAST_SPEED, prominence=LEAST_SPEED / 2, distance=max(1, round(_STROKES_APART_SECONDS * fps))
    )[0]


def _strokes(speed: np.ndarray, peaks: np.ndarray, fps: float) -> np.ndarray:
    """First and last frames [N, 2] of the strokes: movements from valley to valley of the hands' speed [F]."""
    margin = round(_OUTER_SECONDS * fps)
    first, last = max(0, peaks[0] - margin), min(len(speed) - 1, peaks[-1] + margin)
    valleys = [first, *(one + int(np.argmin(speed[one:other])) for one, other in pairwise(peaks)), last]
    pieces = np.array([piece for ends in pairwise(valleys) for piece in _pieces(speed, *ends, fps)])
    ways = np.array([speed[begin:end].sum() for begin, end in pieces])
    return pieces[ways >= _LEAST_WAY * np.median(ways)]


def _pieces(speed: np.ndarray, begin: int, end: int, fps: float) -> list[tuple[int, int]]:
    """A movement, cut where the hands are slowest as long as it is too long for one stroke."""
    margin = max(1, round(_STROKES_APART_SECONDS * fps))
    if end - begin <= max(_LONGEST_STROKE * fps, 2 * margin):
        return [(begin, end)]
    middle = begin + margin + int(np.argmin(speed[begin + margin : end - margin + 1]))
    return _pieces(speed, begin, middle, fps) + _pieces(speed, middle, end, fps)


def _rest(arms: dict[str, Arm], speed: np.ndarray) -> int:
    """The frame, among the slowest quarter, whose hands are nearest to where they mostly are in it."""
    places = wrists(arms).reshape(len(speed), -1)
    slow = np.flatnonzero(speed <= np.quantile(speed, 0.25))
    return int(slow[np.argmin(np.linalg.norm(places[slow] - np.median(places[slow], axis=0), axis=1))])
