"""A track on another person's body: the portrait's limb lengths, place and size, the track's directions.

Everything is reckoned in pixels, for in fractions of a canvas that is not square angles are no angles.
"""

from __future__ import annotations

import numpy as np

from .keypoints import LEFT_WRIST, RIGHT_WRIST, PersonKeypoints
from .retargeting_head import head_like
from .track import LEFT_HAND, RIGHT_HAND, Track, seen

NOSE, NECK, RIGHT_SHOULDER, LEFT_SHOULDER = 0, 1, 2, 5
BONES = (
    (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0),
)  # fmt: skip
"""From the neck outwards: (nearer, farther) point of each limb. Eyes and ears go with the head."""

_OTHER_SIDE = {(1, 2): (1, 5), (2, 3): (5, 6), (3, 4): (6, 7), (1, 8): (1, 11), (8, 9): (11, 12), (9, 10): (12, 13)}
_OTHER_SIDE |= {left: right for right, left in _OTHER_SIDE.items()}
_HANDS = ((LEFT_HAND, LEFT_WRIST, (6, 7)), (RIGHT_HAND, RIGHT_WRIST, (3, 4)))
_KNUCKLES = [5, 9, 13, 17]
_ALIKE = np.cos(np.radians(20))  # how near two directions are that show a limb in the same foreshortening
_STRETCHED = 90  # percentile of a limb's lengths that counts as unforeshortened
_LARGEST_RATIO = 4.0  # between a limb and the whole body: beyond, the portrait shows it end on
_BEGINNING = 12  # frames whose middle place is the portrait's
_FARTHEST = 1e6  # pixels: what is farther away says nothing


def retargeted(track: Track, portrait: PersonKeypoints, canvas: tuple[float, float]) -> Track:
    """The track's movement on the portrait's body.

    Limbs have the track's direction in every frame and the portrait's length, foreshortened as in the track. The neck is the
    portrait's, and moves from there as the track's does from its beginning, as much smaller or larger as the shoulders are.
    Hands are as large as the portrait's, or as its forearms tell. The face is the portrait's, with the track's turns of the
    head and opening of the mouth. What lies outside the picture then is not seen, and has the confidence 0.

    Args:
        track: any framing and aspect.
        portrait: the pose of the portrait, fractions of `canvas`.
        canvas: width and height of the portrait's picture.

    Raises:
        ValueError: the portrait or the track shows no shoulders.
    """
    source = _in_pixels(track.points, track.canvas)
    target = _in_pixels(portrait.points[None], canvas)[0]
    for points, name in ((target[None], "The portrait's pose"), (source, "The pose")):
        if not seen(points[:, [NECK, RIGHT_SHOULDER, LEFT_SHOULDER]]).all(1).any():
            raise ValueError(f"{name} shows no shoulders: use a picture in which both are seen, and extract its pose again.")
    size = _shoulders(target[None]) / _shoulders(source)
    ratios = _ratios(source, target, size)
    placed = np.zeros_like(source)
    placed[:, NECK] = _root(source, target, size)
    for near, far in BONES:
        placed[:, far, :2] = placed[:, near, :2] + ratios[near, far] * (source[:, far, :2] - source[:, near, :2])
        placed[:, far, 2] = np.where(seen(placed[:, near]) & seen(source[:, near]), source[:, far, 2], 0)
    for hand, wrist, forearm in _HANDS:
        placed[:, hand] = _hand_at(placed[:, wrist], source[:, hand], target[hand], ratios[forearm])
    head_like(placed, source, target, size)
    return Track(_in_fractions(placed, canvas), track.fps, canvas)


def _root(source: np.ndarray, target: np.ndarray, size: float) -> np.ndarray:
    """Where the neck is: points of the track [T, 130, 3] and the portrait [130, 3] → [T, 3]."""
    neck = source[:, NECK]
    beginning = np.median(neck[seen(neck)][:_BEGINNING, :2], axis=0)
    return np.concatenate([target[NECK, :2] + size * (neck[:, :2] - beginning), neck[:, 2:]], axis=1)


def _ratios(source: np.ndarray, target: np.ndarray, size: float) -> dict[tuple[int, int], float]:
    """How much longer each limb of the portrait is than the track's.

    A limb that points towards the camera looks short. So it is compared with the moments in which the track's points the same
    way, for there it is likely to look short too; or, if it never does, with the track's at its longest.
    """
    found: dict[tuple[int, int], float] = {}
    for near, far in BONES:
        there = seen(source[:, near]) & seen(source[:, far])
        if there.any() and seen(target[near]) and seen(target[far]):
            ratio = _ratio(source[there, far, :2] - source[there, near, :2], target[far, :2] - target[near, :2])
            found[near, far] = float(np.clip(ratio, size / _LARGEST_RATIO, size * _LARGEST_RATIO))
    return {bone: found.get(bone, found.get(_OTHER_SIDE.get(bone), size)) for bone in BONES}


def _ratio(limbs: np.ndarray, limb: np.ndarray) -> float:
    """Length of a limb [2] over that of the track's [n, 2]."""
    lengths, length = np.linalg.norm(limbs, axis=1), float(np.linalg.norm(limb))
    alike = limbs @ limb >= _ALIKE * lengths * length
    reference = np.median(lengths[alike]) if alike.any() else np.percentile(lengths, _STRETCHED)
    return length / max(float(reference), 1e-6)


def _hand_at(wrist: np.ndarray, hand: np.ndarray, target: np.ndarray, forearm: float) -> np.ndarray:
    """The track's hand [T, 21, 3] on the wrist [T, 3], as large as the portrait's [21, 3]; as much larger as the forearm is
    where the portrait's is not seen.
    """
    ratio = forearm
    there = seen(hand[:, [0, *_KNUCKLES]]).all(1)
    if there.any() and seen(target[[0, *_KNUCKLES]]).all():
        ratio = _palm(target[None]) / max(float(np.percentile(_palm(hand[there]), _STRETCHED)), 1e-6)
        ratio = float(np.clip(ratio, forearm / _LARGEST_RATIO, forearm * _LARGEST_RATIO).item())
    placed = hand.copy()
    placed[..., :2] = wrist[:, None, :2] + ratio * (hand[..., :2] - hand[:, :1, :2])
    placed[..., 2] = np.where(seen(wrist)[:, None] & seen(hand[:, :1]), hand[..., 2], 0)
    return placed


def _palm(hands: np.ndarray) -> np.ndarray:
    """The size of palms: the farthest knuckle from the wrist, [T, 21, 3] → [T]."""
    return np.linalg.norm(hands[:, _KNUCKLES, :2] - hands[:, :1, :2], axis=-1).max(1)


def _shoulders(points: np.ndarray) -> float:
    """The width of the shoulders, by way of the neck: the median over the frames that show them, [T, 130, 3]."""
    joints = points[:, [RIGHT_SHOULDER, NECK, LEFT_SHOULDER]]
    ways = np.diff(joints[seen(joints).all(1), :, :2], axis=1)
    return max(float(np.median(np.linalg.norm(ways, axis=-1).sum(1))), 1e-6)


def _in_pixels(points: np.ndarray, canvas: tuple[float, float]) -> np.ndarray:
    """Fractions of the canvas [T, 130, 3] → pixels, with a neck between the shoulders where none is seen."""
    points = points.astype(np.float64)
    points[..., :2] = (points[..., :2] * canvas).clip(-_FARTHEST, _FARTHEST)
    shoulders = points[:, [RIGHT_SHOULDER, LEFT_SHOULDER]]
    lacking = ~seen(points[:, NECK]) & seen(shoulders).all(1)
    points[lacking, NECK] = shoulders[lacking].mean(1)
    return points


def _in_fractions(points: np.ndarray, canvas: tuple[float, float]) -> np.ndarray:
    """Pixels → fractions of the canvas; what lies outside is not seen."""
    points = points.copy()
    points[..., :2] /= canvas
    outside = ((points[..., :2] < 0) | (points[..., :2] > 1)).any(-1)
    points[outside, 2] = 0
    return points.astype(np.float32)
