"""The strokes of a film's hands, and their being made on the accents of another voice.

A film's arms are read as directions of their bones, which fit any body. Its strokes lie between valleys of the hands'
speed, each with its peak. Neighbours stay neighbours: a phrase of the voice takes consecutive strokes, the peak of each
falls on an accent, and in the valley between them the hands wait. Pauses are the film's rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..pose.keypoints import VISIBLE, PersonKeypoints
from .accents import Voice
from .body import FORE, HAND, MIDDLE_KNUCKLE, SHOULDERS, UPPER, Arm, relaxed_hand
from .phases import Move, follow
from .plan import CLOSE, plan_gestures
from .speaker import Speaker

LEAST_SPEED = 0.25
"""Arm lengths per second of a hand that makes a stroke."""
_BLUR_SECONDS = 0.07
_STROKES_APART_SECONDS = 0.25
_LONGEST_BONE = 97  # percentile of what is seen: the very longest are slips of the detector
_OUTER_SECONDS = 0.45
"""Of the film before its first stroke's peak and after its last one's, at most."""
_HURRY = 1.6
"""How much faster than in the film a stroke is made at most."""
_PHRASE_PAUSE_SECONDS = 1.6
_WHILE_SILENT = 0.05
"""Pace of a film's strokes while the voice is silent."""
_PACE_SECONDS, _EASE_SECONDS = 0.06, 0.04
"""Blur of a film's pace and of the arms that come out."""
_RISE_SECONDS, _FALL_SECONDS = 0.5, 0.9
_STYLE_STREAM = 2


@dataclass(frozen=True, eq=False)
class FilmStyle:
    """A film's arms and strokes.

    right, left: F poses; fps: of them; strokes: [N + 1], seconds of the valleys around N strokes; peaks: [N], seconds;
    rest: the frame of its rest.
    """

    right: Arm
    left: Arm
    fps: float
    valleys: np.ndarray
    peaks: np.ndarray
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
    speed = hands_speed(arms["right"], arms["left"], fps)
    peaks = _peaks(speed, fps)
    if not len(peaks):
        raise ValueError("The film's hands make no stroke: give a longer film, in which the person gestures.")
    margin = round(_OUTER_SECONDS * fps)
    outer = max(0, peaks[0] - margin), min(len(speed) - 1, peaks[-1] + margin)
    ends = [outer[0], *(first + int(np.argmin(speed[first:second])) for first, second in pairwise(peaks)), outer[1]]
    return FilmStyle(arms["right"], arms["left"], fps, np.array(ends) / fps, peaks / fps, _rest(arms, speed))


def styled_arms(
    style: FilmStyle, voice: Voice, speaker: Speaker, frames: int, fps: float, seed: int
) -> dict[str, Arm]:
    """The film's strokes on the accents of a voice: "right" and "left", `frames` poses each at `fps`."""
    from scipy.interpolate import CubicSpline, PchipInterpolator
    from scipy.ndimage import gaussian_filter1d

    times = (np.arange(frames) + 0.5) / fps
    begin, end = style.valleys[[0, -1]]
    presence, moments = np.zeros(frames), np.full(frames, style.rest / style.fps)
    rng = np.random.default_rng([_STYLE_STREAM, seed])
    accents = [gesture.time for gesture in plan_gestures(voice, speaker, seed, CLOSE)]
    clock = _SpeakingClock(voice, times)
    openings = _openings(style)
    for phrase in _phrases(accents):
        knots, last = _schedule(clock.at(phrase).tolist(), style, int(rng.choice(openings)))
        last = phrase[last]
        rise = Move(phrase[0] - _RISE_SECONDS, _RISE_SECONDS, np.ones(1))
        moves = [rise, Move(max(rise.end, last + _FALL_SECONDS / 4), _FALL_SECONDS, np.zeros(1))]
        here = (times >= moves[0].start) & (times <= moves[1].end)
        presence[here] = follow(np.zeros(1), moves, times[here])[:, 0]
        when, where = np.array(knots).T
        film = PchipInterpolator(when, where)(np.clip(clock.at(times[here]), when[0], when[-1]))
        film = gaussian_filter1d(film, _PACE_SECONDS * fps, mode="nearest")
        moments[here] = end - np.abs(film % (2 * (end - begin)) - (end - begin))  # forwards, backwards, and so on
    share = speaker.range * presence[:, None]

    def performed(track: np.ndarray) -> np.ndarray:
        """A film's track [F, ...] at the moments, as far from its rest as the hands are present."""
        rest = track[style.rest]
        at = CubicSpline(np.arange(len(track)) / style.fps, track)(moments)
        made = rest + share.reshape(-1, *[1] * (track.ndim - 1)) * (at - rest)
        return gaussian_filter1d(made, _EASE_SECONDS * fps, axis=0, mode="nearest")

    return {
        side: Arm(_unit(performed(arm.upper)), _unit(performed(arm.fore)), performed(arm.hand), _unit(performed(arm.axis)))
        for side, arm in (("right", style.right), ("left", style.left))
    }


def hands_speed(right: Arm, left: Arm, fps: float) -> np.ndarray:
    """Mean speed of both wrists on the picture [T], in arm lengths per second."""
    wrists = [_wrist(arm) for arm in (right, left)]
    return np.mean([np.linalg.norm(np.gradient(wrist, axis=0), axis=1) for wrist in wrists], axis=0) * fps


def jerk(upper: np.ndarray, fore: np.ndarray, fps: float) -> np.ndarray:
    """Jerk of a wrist on the picture [T − 3], in arm lengths per second cubed, from its arm's bones [T, 2 or 3]."""
    return np.linalg.norm(np.diff(_reach(upper, fore), 3, axis=0), axis=1) * fps**3


def _wrist(arm: Arm) -> np.ndarray:
    return _reach(arm.upper, arm.fore)


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
    return Arm(upper, fore, hand, _unit(_in_depth(2 * hand[:, MIDDLE_KNUCKLE])))


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


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def _peaks(speed: np.ndarray, fps: float) -> np.ndarray:
    from scipy.signal import find_peaks

    return find_peaks(
        speed, height=LEAST_SPEED, prominence=LEAST_SPEED / 2, distance=max(1, round(_STROKES_APART_SECONDS * fps))
    )[0]


def _rest(arms: dict[str, Arm], speed: np.ndarray) -> int:
    """The frame, among the slowest quarter, whose hands are nearest to where they mostly are in it."""
    wrists = np.concatenate([_wrist(arm) for arm in arms.values()], axis=1)
    slow = np.flatnonzero(speed <= np.quantile(speed, 0.25))
    return int(slow[np.argmin(np.linalg.norm(wrists[slow] - np.median(wrists[slow], axis=0), axis=1))])


class _SpeakingClock:
    """Seconds that pass as those of the voice while it speaks, and hardly while it pauses."""

    def __init__(self, voice: Voice, times: np.ndarray):
        self.marks = np.arange(0.0, max(voice.seconds, times[-1] if len(times) else 0.0) + 1.0, 0.02)
        inside = [(self.marks >= phrase.start) & (self.marks < phrase.end) for phrase in voice.phrases]
        pace = np.where(np.any(inside, axis=0), 1.0, _WHILE_SILENT) * np.ones(len(self.marks))
        self.passed = np.cumsum(pace) * 0.02

    def at(self, moments: Sequence[float] | np.ndarray) -> np.ndarray:
        return np.interp(moments, self.marks, self.passed)


def _phrases(accents: list[float]) -> list[list[float]]:
    """The accents between long pauses."""
    phrases: list[list[float]] = []
    for time in accents:
        if not phrases or time - phrases[-1][-1] > _PHRASE_PAUSE_SECONDS:
            phrases.append([])
        phrases[-1].append(time)
    return phrases


def _openings(style: FilmStyle) -> np.ndarray:
    """The half of the strokes that begin nearest to the film's rest: phrases begin with one of them."""
    wrists = np.concatenate([_wrist(style.right), _wrist(style.left)], axis=1)
    begins = wrists[np.round(style.valleys[:-1] * style.fps).astype(int)]
    away = np.linalg.norm(begins - wrists[style.rest], axis=1)
    return np.flatnonzero(away <= np.median(away))


def _schedule(accents: list[float], style: FilmStyle, start: int) -> tuple[list[tuple[float, float]], int]:
    """When (on the clock of the accents) the film is where (seconds from its first valley, running on past its last one as if
    it went back and forth), from stroke `start` on; and which accent is the last that got a stroke.

    Accents that come before a stroke can be over are passed over; the strokes around a short gap hurry alike.
    """
    valleys, peaks, count = style.valleys - style.valleys[0], style.peaks - style.valleys[0], len(style.peaks)
    length = valleys[-1]

    def stroke(index: int) -> tuple[float, float, float]:
        """Valley, peak and valley of the index-th stroke."""
        turn, k = divmod(index, count)
        if turn % 2:
            k = count - 1 - k
            ends = [2 * length - valleys[k + 1], 2 * length - peaks[k], 2 * length - valleys[k]]
        else:
            ends = [valleys[k], peaks[k], valleys[k + 1]]
        return tuple((turn // 2) * 2 * length + end for end in ends)

    index, taken, last = start, [accents[0]], 0
    for number, time in enumerate(accents):
        wanted = stroke(index)[2] - stroke(index)[1] + stroke(index + 1)[1] - stroke(index + 1)[0]
        if time - taken[-1] >= wanted / _HURRY:
            taken.append(time)
            index, last = index + 1, number
    knots = []
    for k, time in enumerate(taken):
        begin, peak, end = stroke(start + k)
        # As fast before the accent as after it, or its fastest moment would leave the accent.
        hurry = 1.0
        if k > 0:
            hurry = max(hurry, (peak - stroke(start + k - 1)[1]) / (time - taken[k - 1]))
        if k + 1 < len(taken):
            hurry = max(hurry, (stroke(start + k + 1)[1] - peak) / (taken[k + 1] - time))
        knots += [(time - (peak - begin) / hurry, begin), (time, peak), (time + (end - peak) / hurry, end)]
    spaced = [knots[0]]
    for knot in knots[1:]:
        if knot[0] > spaced[-1][0] + 1e-3:
            spaced.append(knot)
    return spaced, last
