"""The portrait's own body: its shoulders, the lengths of its limbs, how its arms rest; and motion laid on it.

Lengths are fractions of the picture's height. An arm's directions are (outward, up, forward) from its own shoulder, so
that one arm fits either side of any body; the picture shows them without perspective.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..pose.keypoints import VISIBLE, PersonKeypoints
from .hand import hand_points
from .performance import BodyTrack
from .shapes import PLACE, REST

NOSE, NECK = 0, 1
SHOULDERS = {"right": 2, "left": 5}
"""Of the body points; elbow and wrist follow."""
HEAD = (0, 14, 15, 16, 17)
"""Body points that move with the head."""
MIDDLE_KNUCKLE = 9
"""Of the hand points."""

# Of the distance between the shoulders: medians of films of people; Winter (2009, fig. 4.1) has 0.9 to 1.0, 0.8, 0.6.
UPPER, FORE, HAND = 0.95, 0.82, 0.62
_HEAD_TO_SHOULDERS = 1.2
"""Distance between the shoulders over that of nose and neck, at least: less is a body that is turned away."""
_FACES_WIDE = 2.3
_NOSE_TO_NECK = 0.62

_POLE = np.array([0.33, -0.94, -0.10])
"""Where an elbow points that bends."""
_NEAR_REST = 0.15
"""Arm lengths from its own rest within which an arm keeps its own bend and hand."""
_RESTING = (-0.8, -0.25)
"""Arm lengths above the shoulder between which a hand rests: a higher one gestures, and arms that hang take the hands
too far for people who talk, who rest them before the belly in their pauses.
"""
_WRIST_BEND = np.radians(60)
_TOWARDS_VIEWER = 0.8
"""Share of a hand's length at most that points to the viewer and is not seen."""
_HEAD_ON_SWAY = (1.3, 0.6)


@dataclass(frozen=True, eq=False)
class Arm:
    """T poses of an arm of any body.

    upper, fore: [T, 3] unit vectors along upper arm and forearm; hand: [T, 21, 2], what is seen of the hand, outward and
    up from the wrist, in hand lengths; axis: [T, 3], unit vector from the wrist along the hand.
    """

    upper: np.ndarray
    fore: np.ndarray
    hand: np.ndarray
    axis: np.ndarray


@dataclass(frozen=True, eq=False)
class OwnArm:
    """How an arm is held in the portrait: wrist and hand [9], where the elbow points [3], the hand as it is seen
    [21, 2] or None.
    """

    arm: np.ndarray
    pole: np.ndarray
    hand: np.ndarray | None

    @property
    def rests(self) -> bool:
        return bool(_RESTING[0] < self.arm[1] < _RESTING[1])


@dataclass(frozen=True, eq=False)
class Body:
    """A portrait's body.

    person: its keypoints; aspect: picture width / height; neck: [2], right and down; shoulders: [2] each; outward: the
    direction on the picture, 1 or −1, in which each side's arm goes outward; upper, fore, hand: lengths; own: the arms
    as the portrait shows them, where it does.
    """

    person: PersonKeypoints
    aspect: float
    neck: np.ndarray
    shoulders: dict[str, np.ndarray]
    outward: dict[str, int]
    upper: float
    fore: float
    hand: float
    own: dict[str, OwnArm | None]

    @property
    def arm(self) -> float:
        return self.upper + self.fore

    def start(self, side: str) -> np.ndarray:
        """Wrist and hand [9] of the arm before it first moves: as the portrait shows it, if it does."""
        own = self.own[side]
        return REST if own is None else own.arm

    def rest(self, side: str) -> np.ndarray:
        """Wrist and hand [9] of the arm in its pauses: the portrait's own where that is at rest."""
        own = self.own[side]
        return own.arm if own is not None and own.rests else REST


def portrait_body(person: PersonKeypoints, aspect: float) -> Body:
    """The body of a portrait: what it shows as it is, the rest by a person's proportions.

    Args:
        person: keypoints as fractions of the picture.
        aspect: picture width / height.

    Raises:
        ValueError: when neither shoulders nor face are seen.
    """
    points = person.body[:, :2].astype(np.float64) * (aspect, 1.0)
    seen = person.body[:, 2] >= VISIBLE
    neck, width = _neck_and_width(person, points, seen, aspect)
    behind = bool(seen[[2, 5]].all() and points[2, 0] > points[5, 0])
    outward = {"right": 1, "left": -1} if behind else {"right": -1, "left": 1}
    shoulders = {
        side: points[first] if seen[first] else neck + [outward[side] * width / 2, 0.05 * width]
        for side, first in SHOULDERS.items()
    }

    def longest(offset: int) -> float:
        """The longer of what is seen of both arms' bones that end at this point after the shoulder."""
        ends = [(first + offset - 1, first + offset) for first in SHOULDERS.values()]
        return max((float(np.linalg.norm(points[b] - points[a])) for a, b in ends if seen[a] and seen[b]), default=0.0)

    upper, fore = max(UPPER * width, longest(1)), max(FORE * width, longest(2))
    hand = HAND / FORE * fore
    body = Body(person, aspect, neck, shoulders, outward, upper, fore, hand, {"right": None, "left": None})
    own = {side: _own_arm(body, side) for side in SHOULDERS}
    return Body(person, aspect, neck, shoulders, outward, upper, fore, hand, own)


def bent_arm(place: np.ndarray, shape: np.ndarray, body: Body, side: str) -> Arm:
    """An arm whose wrist is at `place` [T, 3], in arm lengths, and whose hand has the numbers `shape` [T, 6]."""
    place = np.asarray(place, dtype=np.float64)
    upper, fore = body.upper / body.arm, body.fore / body.arm
    far = np.maximum(np.linalg.norm(place, axis=1, keepdims=True), 1e-9)
    ahead, distance = place / far, np.clip(far, abs(upper - fore) + 1e-6, 1 - 1e-9)
    own = body.own[side]
    near = np.zeros((len(place), 1))
    pole = _POLE[None]
    if own is not None:
        near = np.exp(-((np.linalg.norm(place - own.arm[PLACE], axis=1, keepdims=True) / _NEAR_REST) ** 2))
        pole = near * own.pole + (1 - near) * _POLE
    across = pole - (pole * ahead).sum(1, keepdims=True) * ahead
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    along = (upper**2 - fore**2 + distance**2) / (2 * distance)
    elbow = along * ahead + np.sqrt(np.maximum(upper**2 - along**2, 0.0)) * across
    upper_way, fore_way = elbow / upper, (distance * ahead - elbow) / fore
    hand, axis = _bent_hand(np.asarray(shape, dtype=np.float64), fore_way)
    if own is not None and own.hand is not None:
        resting, _ = _bent_hand(own.arm[None, PLACE.stop :], _own_fore(body, own))
        hand = hand + near[..., None] * (own.hand - resting)
    return Arm(upper_way, fore_way, hand, axis)


def relaxed_hand(fore: np.ndarray) -> np.ndarray:
    """What is seen [T, 21, 2] of relaxed hands that go on where their forearms [T, 3] point."""
    shape = np.repeat(REST[None, PLACE.stop :], len(fore), axis=0)
    shape[:, 0] = np.arctan2(fore[:, 0], fore[:, 1])
    return _bent_hand(shape, fore)[0]


def lay_on(body: Body, arms: dict[str, Arm], track: BodyTrack) -> list[PersonKeypoints]:
    """The body in motion: T persons on the portrait's picture.

    Shoulders and neck sway and breathe, the head turns, nods and tilts with the whole face, whose features stay as they
    are, the arms are those given. Hips and legs stay. What leaves the picture gets coordinates beyond 0 … 1.

    Args:
        body: the portrait's.
        arms: "right" and "left", T poses each.
        track: T frames, of which sway, breath and head are used.
    """
    frames = len(track)
    if not frames:
        return []
    body_points, left, right, face = (
        np.repeat(group[None].astype(np.float64) * (body.aspect, 1.0, 1.0), frames, axis=0)
        for group in (body.person.body, body.person.left_hand, body.person.right_hand, body.person.face)
    )
    root = body.arm * np.stack([track.sway, -track.breath], axis=1).astype(np.float64)
    body_points[:, NECK] = _seen(body.neck + root)
    hands = {"left": left, "right": right}
    for side, first in SHOULDERS.items():
        arm, onto = arms[side], np.array([body.outward[side], -1.0])
        shoulder = body.shoulders[side] + root
        elbow = shoulder + body.upper * arm.upper[:, :2] * onto
        wrist = elbow + body.fore * arm.fore[:, :2] * onto
        for offset, point in enumerate((shoulder, elbow, wrist)):
            body_points[:, first + offset] = _seen(point)
        hands[side][:] = _seen(wrist[:, None] + body.hand * arm.hand * onto)
    head = np.concatenate([body_points[:, HEAD], face], axis=1)
    head[..., :2] = _turned_head(head[0], track) + (root * _HEAD_ON_SWAY)[:, None]
    body_points[:, HEAD], face = head[:, : len(HEAD)], head[:, len(HEAD) :]
    points = np.concatenate([body_points, left, right, face], axis=1) / (body.aspect, 1.0, 1.0)
    return [PersonKeypoints.from_points(frame) for frame in points]


def _seen(points: np.ndarray) -> np.ndarray:
    """Places [..., 2] with confidence 1."""
    return np.concatenate([points, np.ones((*points.shape[:-1], 1))], axis=-1)


def _neck_and_width(
    person: PersonKeypoints, points: np.ndarray, seen: np.ndarray, aspect: float
) -> tuple[np.ndarray, float]:
    """Where the neck is and how far the shoulders are from each other, from shoulders, neck and nose or else the face."""
    width, neck = 0.0, points[NECK] if seen[NECK] else None
    if seen[[2, 5]].all():
        width = float(np.linalg.norm(points[2] - points[5]))
        neck = (points[2] + points[5]) / 2 if neck is None else neck
    elif neck is not None and seen[[2, 5]].any():
        width = 2 * float(np.linalg.norm(neck - points[2 if seen[2] else 5]))
    face = person.face[person.face[:, 2] >= VISIBLE, :2].astype(np.float64) * (aspect, 1.0)
    if neck is not None and seen[NOSE]:
        width = max(width, _HEAD_TO_SHOULDERS * float(np.linalg.norm(points[NOSE] - neck)))
    elif width == 0 and len(face) > 1:
        width = _FACES_WIDE * float(np.ptp(face[:, 0]))
    if width == 0:
        raise ValueError(
            "The portrait's pose shows neither shoulders nor a face: extract the pose of a picture in which a person's "
            "face and shoulders are seen."
        )
    if neck is None:
        neck = face.mean(0) + [0.0, _NOSE_TO_NECK * width]
    return neck, width


def _own_arm(body: Body, side: str) -> OwnArm | None:
    """An arm as the portrait shows it; None when shoulder, elbow and wrist are not all seen."""
    first = SHOULDERS[side]
    joints = body.person.body[first : first + 3].astype(np.float64)
    if joints[:, 2].min() < VISIBLE:
        return None
    bones = np.diff(joints[:, :2] * (body.aspect, 1.0), axis=0) * [body.outward[side], -1.0] / body.arm
    # What is not seen of a bone's length lies in depth: a forearm's before the body, an elbow's behind it.
    unseen = np.sqrt(np.maximum(np.square([body.upper, body.fore]) / body.arm**2 - (bones**2).sum(1), 0.0))
    back = -unseen[0] if unseen[1] > unseen[0] else unseen[0]
    elbow, wrist = np.append(bones[0], back), np.append(bones.sum(0), back + unseen[1])
    shape, hand = REST[PLACE.stop :].copy(), None
    points = getattr(body.person, f"{side}_hand").astype(np.float64)
    if points[:, 2].min() >= VISIBLE:
        places = points[:, :2] * (body.aspect, 1.0)
        hand = (places - places[0]) * [body.outward[side], -1.0] / body.hand
        shape[0] = np.arctan2(*hand[MIDDLE_KNUCKLE])
    return OwnArm(np.concatenate([wrist, shape]), elbow, hand)


def _own_fore(body: Body, own: OwnArm) -> np.ndarray:
    """Direction [1, 3] of the portrait's own forearm."""
    fore = own.arm[PLACE] - own.pole
    return fore[None] / np.linalg.norm(fore)


def _bent_hand(shape: np.ndarray, fore: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is seen of hands with the numbers `shape` [T, 6] on forearms [T, 3] → [T, 21, 2], and their axes [T, 3].

    A hand points to the viewer as its forearm does and bends no farther from it than a wrist can.
    """
    depth = np.clip(fore[:, 2], -_TOWARDS_VIEWER, _TOWARDS_VIEWER)
    flat, fore_flat = np.sqrt(1 - depth**2), np.linalg.norm(fore[:, :2], axis=1)
    fore_angle = np.arctan2(fore[:, 0], fore[:, 1])
    possible = (np.cos(_WRIST_BEND) - depth * fore[:, 2]) / np.maximum(flat * fore_flat, 1e-9)
    most = np.arccos(np.clip(possible, -1.0, 1.0))
    bend = (shape[:, 0] - fore_angle + np.pi) % (2 * np.pi) - np.pi
    angle = fore_angle + np.clip(bend, -most, most)
    hand = hand_points(np.concatenate([angle[:, None], shape[:, 1:]], axis=1))
    ahead = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    shortened = (hand @ ahead[..., None]) * (flat - 1)[:, None, None] * ahead[:, None]
    return hand + shortened, np.concatenate([flat[:, None] * ahead, depth[:, None]], axis=1)


def _turned_head(head: np.ndarray, track: BodyTrack) -> np.ndarray:
    """Places [T, N, 2] of a head's points [N, 3] as if they lay on a ball that turns, nods and tilts."""
    seen = head[:, 2] > 0
    places = head[:, :2]
    if not seen.any():
        return np.repeat(places[None], len(track), axis=0)
    centre = (places[seen].min(0) + places[seen].max(0)) / 2
    local = places - centre
    radius = 1.05 * float(np.linalg.norm(local[seen], axis=1).max(initial=1e-9))
    depth = np.sqrt(np.maximum(radius**2 - (local**2).sum(1), 0.0))
    turn, nod, tilt = (np.asarray(angle, np.float64)[:, None] for angle in (track.head_turn, track.head_nod, track.head_tilt))
    x = local[:, 0] * np.cos(turn) + depth * np.sin(turn)
    y = local[:, 1] * np.cos(nod) + depth * np.sin(nod)
    below = y - radius  # heads tilt about the chin
    tilted = np.stack([x * np.cos(tilt) - below * np.sin(tilt), x * np.sin(tilt) + below * np.cos(tilt) + radius], axis=-1)
    return centre + tilted
