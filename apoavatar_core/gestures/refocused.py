"""A track of gestures that follows another voice: its way from its own rest is scaled by the gate (§3.2, Eq. 4).

Arms are measured from their shoulder, hands from their wrist, the head from the neck and the face from the nose: who
walks or turns still does. With scale k = strength · keep, each of these vectors v becomes r + k (v − r), r being the
same vector at rest. So no bone gets longer than it is somewhere in the track, and with more keep nothing moves less.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..pose.keypoints import GROUPS, VISIBLE, PersonKeypoints
from .body import HEAD, NECK, NOSE, SHOULDERS

SOFTNESS = 2.5
"""Frames, standard deviation of the Gaussian under which the keep weights are blurred: a tenth of a second."""
_SLOW = 0.25
"""Share of the frames, the slowest, in which a track counts as resting."""
_GROUP_STARTS = dict(zip(GROUPS, np.cumsum([0, *GROUPS.values()][:-1]).tolist(), strict=True))


def refocus_gestures(
    people: Sequence[PersonKeypoints], keep: np.ndarray, aspect: float = 1.0, strength: float = 1.0, head: bool = False
) -> list[PersonKeypoints]:
    """The track with the gate's share of its gestures.

    Args:
        people: T frames.
        keep: 1 − p of Eq. 4, [T] or more, of which the first T count.
        aspect: picture width / height.
        strength: 0 … 2; above 1 gestures get larger where the gate is open, arms not longer.
        head: whether head and face, the mouth with it, are scaled too; otherwise they are left as they are.

    Raises:
        ValueError: when there are fewer weights than frames or the strength is not 0 … 2.
    """
    if len(keep) < len(people):
        raise ValueError(
            f"The gate has {len(keep)} frames but the pose {len(people)}: set the number of frames of Audio Loudness "
            f"Refocusing to {len(people)}."
        )
    if not 0 <= strength <= 2:
        raise ValueError(f"strength is {strength}; give a number from 0 to 2.")
    if not people:
        return []
    points = np.stack([person.points for person in people]) * (aspect, 1.0, 1.0)
    scale = strength * softened(np.asarray(keep, dtype=np.float64)[: len(people)])
    scaled = points.copy()
    for side, shoulder in SHOULDERS.items():
        elbow, wrist, first = shoulder + 1, shoulder + 2, _GROUP_STARTS[f"{side}_hand"]
        chain = [shoulder, elbow, wrist]
        if not _whole(points, chain).any():
            chain = [shoulder, wrist]
        rest = _resting(points, chain)
        # From the shoulder where no elbow is seen, joint by joint where one is.
        _scale(points, scaled, chain[1:], shoulder, scale, rest)
        _scale(points, scaled, [wrist], chain[-2], scale, rest)
        hand = list(range(first, first + GROUPS[f"{side}_hand"]))
        wrist_of_hand = scaled[:, wrist, :2] + points[:, first, :2] - points[:, wrist, :2]
        _scale(points, scaled, hand[1:], first, scale, _resting_hand(points, hand, [shoulder, wrist], rest))
        # The hand's own wrist stands as it stood to the body's.
        moved = (wrist_of_hand - scaled[:, first, :2])[:, None]
        joined = (points[:, [wrist, first], 2] >= VISIBLE).all(1)[:, None, None]
        scaled[:, hand, :2] += np.where(joined, moved, 0.0)
    if head:
        skull, face = list(HEAD), list(range(_GROUP_STARTS["face"], _GROUP_STARTS["face"] + GROUPS["face"]))
        _scale(points, scaled, skull, NECK, scale, _resting(points, [NECK, *skull]))
        _scale(points, scaled, face, NOSE, scale, _resting(points, [NOSE, *face]))
    return [PersonKeypoints.from_points(frame) for frame in scaled / (aspect, 1.0, 1.0)]


def softened(keep: np.ndarray) -> np.ndarray:
    """Keep weights [T] blurred over time, so that nothing jumps; the ends go on."""
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(keep, SOFTNESS, mode="nearest")


def _scale(
    points: np.ndarray, scaled: np.ndarray, moved: list[int], origin: int, scale: np.ndarray, rest: np.ndarray | None
) -> None:
    """Put points `moved` of `scaled` [T, 130, 3] where their scaled vectors from `origin` lead, in place.

    rest: [130, 2], the resting places; None when nothing is known of them, and then the vectors stay as they are.
    """
    vectors = points[:, moved, :2] - points[:, [origin], :2]
    seen = (points[:, moved, 2] >= VISIBLE) & (points[:, [origin], 2] >= VISIBLE)
    if rest is not None:
        resting = rest[moved] - rest[origin]
        longest = np.where(seen, np.linalg.norm(vectors, axis=-1), 0.0).max(0, initial=0.0)
        changed = resting + scale[:, None, None] * (vectors - resting)
        length = np.linalg.norm(changed, axis=-1)
        vectors = changed * np.where(length > longest, longest / np.maximum(length, 1e-9), 1.0)[..., None]
    places = scaled[:, [origin], :2] + vectors
    scaled[:, moved, :2] = np.where(seen[..., None], places, scaled[:, moved, :2])


def _resting(points: np.ndarray, chain: list[int]) -> np.ndarray | None:
    """Places [130, 2] at rest: the slow frame in which a chain of points stands most as it mostly does in slow frames.

    None when the chain is never seen as a whole; it is compared from its first point on.
    """
    whole = np.flatnonzero(_whole(points, chain))
    if not len(whole):
        return None
    vectors = (points[whole][:, chain[1:], :2] - points[whole][:, chain[:1], :2]).reshape(len(whole), -1)
    speed = np.linalg.norm(np.gradient(vectors, axis=0), axis=1) if len(whole) > 1 else np.zeros(1)
    slow = np.flatnonzero(speed <= np.quantile(speed, _SLOW))
    usual = np.median(vectors[slow], axis=0)
    return points[whole[slow[np.argmin(np.linalg.norm(vectors[slow] - usual, axis=1))]], :, :2]


def _resting_hand(points: np.ndarray, hand: list[int], reach: list[int], rest: np.ndarray | None) -> np.ndarray | None:
    """Places [130, 2] in the frame that shows the hand whole where its arm, from shoulder to wrist, is nearest to its
    rest; without such a frame the hand's own rest.
    """
    whole = np.flatnonzero(_whole(points, hand + reach))
    if rest is None or not len(whole):
        return _resting(points, hand)
    from_shoulder = points[whole, reach[1], :2] - points[whole, reach[0], :2]
    away = np.linalg.norm(from_shoulder - (rest[reach[1]] - rest[reach[0]]), axis=1)
    return points[whole[np.argmin(away)], :, :2]


def _whole(points: np.ndarray, chain: list[int]) -> np.ndarray:
    """In which frames all these points are seen: bool [T]."""
    return (points[:, chain, 2] >= VISIBLE).all(1)
