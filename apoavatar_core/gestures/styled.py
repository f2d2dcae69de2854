"""A film's strokes made on the accents of another voice.

The arms go along the film's own path. How far along it, and how far out of the film's rest, minimum-jerk moves say that
the voice's accents make, as they move an arm without a film (`close`): so the shapes are the film's and the timing is the
voice's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .accents import Voice
from .body import Arm
from .close import FAR, LIFT, SHORTEST, timed
from .joints import within_range
from .phases import Move, follow
from .plan import CLOSE, Gesture, plan_gestures
from .speaker import Speaker
from .style import FilmStyle, unit, wrists

SLOWEST, FASTEST = 0.6, 1.6
"""Pace of a stroke against the film's."""
_FULL_STROKE = 0.6
"""Quantile of the film's strokes that the strongest accent makes as long as they are."""
_HOMEWARD = 1.2
"""How much longer than a stroke the way out of the rest or back is, which takes longer."""
_TOO_SHORT_OR_LONG = 0.3
"""Share of the wanted way by which a stroke misses it that makes the hands look the other way."""
_NEAR_OPENINGS = 1 / 3
"""Share of the ends of strokes, the nearest to the rest of those an accent reaches, at one of which a phrase begins."""
_TRIED = 24
"""Ends that are tried for a stroke."""
_INSTANT = 1e-3
_EASE_SECONDS = 0.04
_STYLE_STREAM = 2


def styled_arms(
    style: FilmStyle, voice: Voice, speaker: Speaker, frames: int, fps: float, seed: int
) -> dict[str, Arm]:
    """The film's strokes on the accents of a voice: "right" and "left", `frames` poses each at `fps`."""
    moves = style_moves(style, plan_gestures(voice, speaker, seed, CLOSE), speaker, seed)
    way, presence = follow(np.zeros(2), moves, (np.arange(frames) + 0.5) / fps).T
    moments = np.interp(way, style.ways, np.arange(len(style.ways)))
    share = speaker.range * presence
    return {side: _performed(arm, style.rest, moments, share, fps) for side, arm in style.arms.items()}


def style_moves(style: FilmStyle, gestures: Sequence[Gesture], speaker: Speaker, seed: int) -> list[Move]:
    """The moves [2] of both hands: how far they are along the film (`FilmStyle.ways`), and how far out of its rest, from
    0 there to 1 on its path.
    """
    hands = _Hands(style, np.random.default_rng([_STYLE_STREAM, seed]))
    return [move for phrase in _phrases(gestures, speaker) for move in hands.gesticulate(*phrase)]


def _phrases(gestures: Sequence[Gesture], speaker: Speaker) -> Iterator[tuple[np.ndarray, ...]]:
    """Times, seconds and sizes (0.2 … 1) of the strokes between long pauses."""
    phrase: list[tuple[float, float, float]] = []
    for gesture, duration, is_last in timed(gestures, speaker):
        phrase.append((gesture.time, duration, gesture.size / speaker.range))
        if is_last:
            yield tuple(np.array(phrase).T)
            phrase = []


class _Hands:
    """Both hands on the film's path: where they are, which way they head, and the moves that carry them on."""

    def __init__(self, style: FilmStyle, rng: np.random.Generator):
        self.ways, self.rng = style.ways, rng
        self.strokes = np.interp(style.strokes, np.arange(len(style.ways)) / style.fps, style.ways)
        self.seconds = np.diff(style.strokes, axis=1)[:, 0]
        self.full = float(np.quantile(np.diff(self.strokes, axis=1), _FULL_STROKE))
        places = wrists(style.arms)
        self.out = (places - places[style.rest]).reshape(len(places), 4)
        self.way, self.presence, self.heading = 0.0, 0.0, 1

    def gesticulate(self, times: np.ndarray, durations: np.ndarray, sizes: np.ndarray) -> list[Move]:
        """The moves of a phrase. Its first accent takes the hands out of the rest, its last one back; no accent takes
        them farther than the accents left can take them back, each as it is strong.
        """
        wanted = self.full * sizes
        self.way, self.presence = self._opening(_HOMEWARD * wanted[0]), 0.0
        moves = [self._move(times[0] - FAR, _INSTANT)]
        if len(times) == 1:
            return [*moves, *self._lift(times[0], wanted[0])]
        gone = _HOMEWARD * np.cumsum(wanted)
        farthest = np.minimum(gone, gone[-1] - gone)
        for time, duration, length, far in zip(times, durations, wanted, farthest, strict=True):
            if time in (times[0], times[-1]):
                duration = max(duration, FAR)
            else:
                seconds = self._stroke(length, far)
                duration = float(np.clip(duration, seconds / FASTEST, seconds / SLOWEST))
            self.presence = float(self._within(self.way, far))
            moves.append(self._move(time, duration))
        return moves

    def _move(self, middle: float, duration: float) -> Move:
        return Move(middle - duration / 2, duration, np.array([self.way, self.presence]))

    def _lift(self, time: float, wanted: float) -> list[Move]:
        """A lonely accent's: a little out of the rest and back."""
        self.presence = float(self._within(self.way, LIFT * wanted))
        lift = self._move(time - SHORTEST / 2, SHORTEST)
        self.presence = 0.0
        return [lift, self._move(time + FAR / 2, FAR)]

    def _opening(self, least: float) -> float:
        ends = self.strokes.ravel()
        away = self._away(ends)
        reaching = np.flatnonzero(away >= min(least, np.median(away)))
        nearest = reaching[np.argsort(away[reaching])][: max(1, round(_NEAR_OPENINGS * len(reaching)))]
        return float(ends[self.rng.choice(nearest)])

    def _stroke(self, wanted: float, farthest: float) -> float:
        """Go on along the film until the hands are `wanted` from here, the stroke's end at most; its seconds in the film.

        They turn back when that way brings them clearly nearer to what is wanted.
        """
        here = self.presence * self._at(self.way)
        found = {}
        for heading in (1, -1):
            end, seconds = self._ahead(heading)
            tried = np.linspace(self.way, end, _TRIED)
            missed = np.abs(_mean_way(self._within(tried, farthest)[:, None] * self._at(tried) - here) - wanted)
            found[heading] = missed.min(), float(tried[missed.argmin()]), seconds
        if found[self.heading][0] > max(_TOO_SHORT_OR_LONG * wanted, found[-self.heading][0]):
            self.heading = -self.heading
        _, self.way, seconds = found[self.heading]
        return seconds

    def _ahead(self, heading: int) -> tuple[float, float]:
        """Where the stroke ahead ends, and its seconds in the film; where the hands are when there is none."""
        ends = self.strokes[:, 1] if heading > 0 else self.strokes[::-1, 0]
        ahead = np.flatnonzero(heading * (ends - self.way) > 1e-6)
        return (float(ends[ahead[0]]), float(self.seconds[::heading][ahead[0]])) if len(ahead) else (self.way, FAR)

    def _within(self, way: np.ndarray | float, farthest: float) -> np.ndarray:
        """The presence, 1 at most, that leaves hands there no farther from the rest than that."""
        return np.minimum(1.0, farthest / np.maximum(self._away(way), 1e-9))

    def _away(self, way: np.ndarray | float) -> np.ndarray:
        return _mean_way(self._at(way))

    def _at(self, way: np.ndarray | float) -> np.ndarray:
        """Both hands [..., 4] from their rest, in arm lengths."""
        return np.stack([np.interp(way, self.ways, column) for column in self.out.T], axis=-1)


def _mean_way(hands: np.ndarray) -> np.ndarray:
    """Mean length [...] of both hands' ways [..., 4]."""
    return np.linalg.norm(hands.reshape(*hands.shape[:-1], 2, 2), axis=-1).mean(-1)


def _performed(arm: Arm, rest: int, moments: np.ndarray, share: np.ndarray, fps: float) -> Arm:
    """A film's arm at moments (frames) [T], by a `share` [T] of the way from its rest to there."""
    from scipy.interpolate import CubicSpline
    from scipy.ndimage import gaussian_filter1d

    def performed(track: np.ndarray) -> np.ndarray:
        at = CubicSpline(np.arange(len(track)), track)(moments)
        made = track[rest] + share.reshape(-1, *[1] * (track.ndim - 1)) * (at - track[rest])
        return gaussian_filter1d(made, _EASE_SECONDS * fps, axis=0, mode="nearest")

    upper, fore, axis = (unit(performed(bone)) for bone in (arm.upper, arm.fore, arm.axis))
    return within_range(Arm(upper, fore, performed(arm.hand), axis))
