"""The portrait's head with the track's movement of it.

A head that turns, nods and tilts moves its features almost as an affine map of the picture does. That map, from the moment in which
the track's head looks most like the portrait's to the present one, moves the portrait's features about the nose.
"""

from __future__ import annotations

import numpy as np

from .measurements import LOWER_INNER_LIP, UPPER_INNER_LIP
from .track import FACE, seen

NOSE, FEATURES = 0, [14, 15, 16, 17]
_STILL = [*range(0, 3), *range(14, 17), *range(27, 36), 36, 39, 42, 45]
"""Face landmarks that move with the skull: temples, nose and the corners of the eyes."""
_FEWEST = 8  # of them that say how a head is turned
_BRIDGE, _TIP = 27, 30
_MOUTH = [*range(3, 14), *range(48, 68)]
"""Chin and lips."""
_WIDEST = 1.2  # how far one of them goes at most, in openings of the mouth
_STILL_MOUTH = 0.02  # lengths of the nose: an opening that varies less says nothing about how the face opens its mouth


def head_like(placed: np.ndarray, source: np.ndarray, target: np.ndarray, size: float) -> None:
    """Put eyes, ears and face onto the nose of each frame.

    Args:
        placed: [T, 130, 3] in pixels, whose body has its nose; gets the rest of the head.
        source: [T, 130, 3] of the track.
        target: [130, 3] of the portrait; what it does not show is the track's, as much larger as the `size` says.
        size: of the portrait's body over the track's.
    """
    features = np.array(FEATURES + list(range(FACE.start, FACE.stop)))
    own = seen(target[features]) & seen(target[NOSE])
    offsets = np.where(own[:, None], target[features, :2] - target[NOSE, :2], 0)
    moves = _moves(source, target)
    openings = _openings(source, target, moves)
    for t, (move, nose) in enumerate(zip(moves, placed[:, NOSE])):
        moved = (offsets + np.concatenate([np.zeros((len(FEATURES), 2)), openings[t]])) @ move.T
        theirs = size * (source[t, features, :2] - source[t, NOSE, :2])
        placed[t, features, :2] = nose[:2] + np.where(own[:, None], moved, theirs)
        shown = seen(source[t, features]) | (own & seen(source[t, features]).any())
        known = np.where(own, target[features, 2], source[t, features, 2])
        placed[t, features, 2] = np.where(shown & seen(nose) & seen(source[t, NOSE]), known, 0)


def _moves(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """How the head has moved since it looked most like the portrait's: affine maps about the nose, [T, 2, 2]."""
    points = _points_for(source, target)
    offsets = source[:, points, :2] - source[:, [NOSE], :2]
    shown = seen(source[:, points]) & seen(source[:, [NOSE]])
    complete = np.flatnonzero(shown.all(1))
    if len(points) < 3 or len(complete) == 0:
        return np.tile(np.eye(2), (len(source), 1, 1))
    alike = offsets[complete[np.argmin(_unlike(offsets[complete], target[points, :2] - target[NOSE, :2]))]]
    moves = np.tile(np.eye(2), (len(source), 1, 1))
    last = np.eye(2)
    for t in range(len(source)):
        if shown[t].sum() >= 3:
            last = np.linalg.lstsq(alike[shown[t]], offsets[t, shown[t]], rcond=1e-2)[0].T
        moves[t] = last
    return moves


def _points_for(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Which points tell how the head is turned: of the face when both people show it, else eyes and ears."""
    face = np.array(_STILL) + FACE.start
    ever = seen(source).any(0) & seen(target)
    return face[ever[face]] if ever[face].sum() >= _FEWEST else np.array(FEATURES)[ever[FEATURES]]


def _unlike(offsets: np.ndarray, portrait: np.ndarray) -> np.ndarray:
    """How heads [T, n, 2] differ from another [n, 2], whatever their size: [T]."""
    scale = (offsets * portrait).sum((1, 2)) / np.maximum((offsets**2).sum((1, 2)), 1e-9)
    return np.linalg.norm(scale[:, None, None] * offsets - portrait, axis=(1, 2))


def _openings(source: np.ndarray, target: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """How the mouth's opening moves the portrait's face [70, 2] from where it is, in each frame: [T, 70, 2].

    How far lips and chin go when the mouth opens is learned from the track. Openings are measured against the length of the
    nose, which turns and nods with them.
    """
    face, portrait = source[:, FACE], target[FACE]
    needed = [_BRIDGE, _TIP, *UPPER_INNER_LIP, *LOWER_INNER_LIP]
    known = seen(face[:, needed]).all(1)
    moved = np.zeros((len(face), FACE.stop - FACE.start, 2))
    if not (known.any() and seen(portrait[needed]).all()):
        return moved
    down, length = _down(portrait)
    more = np.array([_gap(one) if there else _gap(portrait) for one, there in zip(face, known)]) - _gap(portrait)
    shares = _shares(face[known], source[known, NOSE], moves[known])
    moved[:, _MOUTH] = more[:, None, None] * shares[:, None] * length * down
    return moved


def _shares(face: np.ndarray, nose: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """How far chin and lips go down when the mouth opens, in openings: faces [T, 70, 3] → [31]."""
    gaps = np.array([_gap(one) for one in face])
    varied = gaps - gaps.mean()
    lower = np.isin(_MOUTH, [*range(6, 11), *range(55, 60), *LOWER_INNER_LIP]).astype(float)
    if np.ptp(gaps) < _STILL_MOUTH:
        return lower
    places = np.einsum("tij,tnj->tni", np.linalg.pinv(moves), face[:, _MOUTH, :2] - nose[:, None, :2])
    down, length = _down(np.median(face, axis=0))
    return np.clip(((places @ down) * varied[:, None]).sum(0) / (varied**2).sum() / length, -_WIDEST, _WIDEST)


def _gap(face: np.ndarray) -> float:
    """How far the lips [70, 3] are open, in lengths of the nose."""
    down, length = _down(face)
    gap = face[list(LOWER_INNER_LIP), :2].mean(0) - face[list(UPPER_INNER_LIP), :2].mean(0)
    return max(float(gap @ down), 0.0) / length


def _down(face: np.ndarray) -> tuple[np.ndarray, float]:
    """The direction down a face [70, 3] and the length of its nose."""
    nose = face[_TIP, :2] - face[_BRIDGE, :2]
    length = max(float(np.linalg.norm(nose)), 1e-6)
    return nose / length, length
