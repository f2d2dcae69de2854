"""Where everything is: the one source of positions for the drawing and the keypoints.

All positions are fractions of the square frame, x right and y down. "Right" means the
person's right, which is the left of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..gestures.hand import hand_points
from .identity import Identity
from .motion import Motion

HEAD_CENTRE = np.array([0.5, 0.285])
HEAD_SCALE = 0.88
SKULL_HEIGHT = 0.185
CHIN_DEPTH = 0.183
NECK_BASE_Y = 0.507
SHOULDER_Y = 0.578
UPPER_ARM = 0.225
FOREARM = 0.235
ARM = UPPER_ARM + FOREARM
HAND_LENGTH = 0.20
FINGER_RADIUS = 0.105
"""Of the hand's length, as much as all its lines stand off from its points."""
MAX_OPENING = 0.098
LIP_WIDTH = 0.011
EYE_Y = -0.012
BROW_Y = -0.075
NOSE_Y = 0.044
MOUTH_Y = 0.098

_MARGIN = 0.012
_PARALLAX = 0.10
"""How far the features of a face shift when it turns or nods by one radian."""
_GAZE = np.array([0.0085, -0.006])
_FOLDED = 0.97
"""Share of its length to which an arm can be stretched."""


@dataclass(frozen=True)
class HeadPose:
    """Places head-local points (origin at the head's centre, before `HEAD_SCALE`) into the frame."""

    centre: np.ndarray
    tilt: float
    parallax: np.ndarray

    def place(self, local: np.ndarray, depth: float = 0.0) -> np.ndarray:
        """[N, 2] head-local points to frame points; features of depth 1 turn with the head."""
        cosine, sine = np.cos(self.tilt), np.sin(self.tilt)
        rotation = np.array([[cosine, sine], [-sine, cosine]])
        pivot = np.array([0.0, CHIN_DEPTH])
        points = np.asarray(local, dtype=np.float64) + depth * self.parallax
        return HEAD_SCALE * ((points - pivot) @ rotation + pivot) + self.centre


@dataclass(frozen=True)
class Eye:
    """One eye: upper and lower lid lines [9, 2] from picture left to right, and its iris."""

    upper_lid: np.ndarray
    lower_lid: np.ndarray
    pupil: np.ndarray
    openness: float


@dataclass(frozen=True)
class Mouth:
    """Inner and outer edges of the lips, [13, 2] each, from picture left to right."""

    upper: np.ndarray
    lower: np.ndarray
    outer_upper: np.ndarray
    outer_lower: np.ndarray
    opening: float


@dataclass(frozen=True)
class Arm:
    """One arm and its hand; `hand` holds the 21 OpenPose hand points [21, 2]."""

    shoulder: np.ndarray
    elbow: np.ndarray
    wrist: np.ndarray
    hand: np.ndarray


@dataclass(frozen=True)
class FrameGeometry:
    """Every position of one frame, in frame fractions."""

    head: HeadPose
    face_outline: np.ndarray
    jaw: np.ndarray
    chin: np.ndarray
    right_ear: np.ndarray
    left_ear: np.ndarray
    right_brow: np.ndarray
    left_brow: np.ndarray
    right_eye: Eye
    left_eye: Eye
    nose_bridge: np.ndarray
    nose_base: np.ndarray
    mouth: Mouth
    neck: np.ndarray
    right_arm: Arm
    left_arm: Arm


def frame_geometry(identity: Identity, motion: Motion, t: float) -> FrameGeometry:
    """All positions of frame `t`, or of a moment between two frames."""
    now = motion.moment(t)
    root = np.array([ARM * now["sway"], -ARM * now["breath"]])
    turned = _PARALLAX * np.array([now["head_turn"], now["head_nod"]])
    head = HeadPose(
        centre=HEAD_CENTRE + [1.3, 0.6] * root + 0.9 * turned,
        tilt=float(now["head_tilt"]),
        parallax=turned,
    )
    opening = float(now["mouth_opening"])
    right_side, jaw = _face_sides(identity, opening)
    outline = np.concatenate([right_side, jaw, right_side[::-1] * [-1, 1]])
    ear_x = identity.face_half_width + 0.004
    brow_lift = 0.014 * float(now["brow"])
    neck = np.array([0.5, NECK_BASE_Y]) + root
    return FrameGeometry(
        head=head,
        face_outline=head.place(outline),
        jaw=head.place(jaw),
        chin=head.place(jaw[8:9])[0],
        right_ear=head.place(np.array([[-ear_x, 0.02]]))[0],
        left_ear=head.place(np.array([[ear_x, 0.02]]))[0],
        right_brow=head.place(_brow(identity, brow_lift, -1), depth=1.0),
        left_brow=head.place(_brow(identity, brow_lift, 1), depth=1.0),
        right_eye=_eye(identity, head, now, -1),
        left_eye=_eye(identity, head, now, 1),
        nose_bridge=head.place(np.stack([np.zeros(4), np.linspace(EYE_Y, NOSE_Y - 0.008, 4)], 1), depth=1.0),
        nose_base=head.place(
            np.stack([np.linspace(-0.019, 0.019, 5), NOSE_Y + 0.007 * np.cos(np.linspace(-1.6, 1.6, 5))], 1),
            depth=1.0,
        ),
        mouth=_mouth(identity, head, opening, float(now["mouth_width"])),
        neck=neck,
        right_arm=_arm(identity, neck, now["right_wrist"], now["right_hand"], -1),
        left_arm=_arm(identity, neck, now["left_wrist"], now["left_hand"], 1),
    )


def _face_sides(identity: Identity, opening: float) -> tuple[np.ndarray, np.ndarray]:
    """Head-local skull half [12, 2] (crown to temple, picture left) and jaw line [17, 2].

    The jaw runs from ear to ear, picture left to right, and drops as the mouth opens.
    """
    half_width = identity.face_half_width
    angle = np.linspace(0, np.pi / 2, 13)[:-1]
    skull = np.stack(
        [-half_width * np.sin(angle) ** 0.9, -SKULL_HEIGHT * np.cos(angle) ** 0.9], axis=1
    )
    depth = CHIN_DEPTH + 0.34 * MAX_OPENING * opening
    power = 2 / identity.jaw_fullness
    sweep = np.linspace(0, np.pi, 17)
    cosine, sine = np.cos(sweep), np.sin(sweep)
    jaw = np.stack(
        [-half_width * np.sign(cosine) * np.abs(cosine) ** power, depth * np.maximum(sine, 0) ** power],
        axis=1,
    )
    return skull, jaw


def _brow(identity: Identity, lift: float, side: int) -> np.ndarray:
    """Head-local brow [5, 2], picture left to right; side -1 is the picture's left."""
    along = np.linspace(-1, 1, 5)
    x = side * identity.eye_distance / 2 + 0.034 * along
    y = BROW_Y - lift + 0.007 * (along + 0.2 * side) ** 2
    return np.stack([x, y], axis=1)


def _eye(identity: Identity, head: HeadPose, now: dict[str, np.ndarray], side: int) -> Eye:
    centre = np.array([side * identity.eye_distance / 2, EYE_Y])
    half_width, half_height = 0.031 * identity.eye_size, 0.033 * identity.eye_size
    openness = 1.0 - float(now["blink"])
    along = np.linspace(-1, 1, 9)
    arch = np.sqrt(np.maximum(1 - along**2, 0))
    shut_line = 0.35 * half_height * arch
    upper = shut_line + openness * (-half_height * arch - shut_line)
    lower = shut_line + openness * (0.80 * half_height * arch - shut_line)
    x = half_width * along
    pupil = centre + [0.0, -0.10 * half_height * openness] + openness * _GAZE * now["gaze"]
    return Eye(
        upper_lid=head.place(centre + np.stack([x, upper], 1), depth=1.0),
        lower_lid=head.place(centre + np.stack([x, lower], 1), depth=1.0),
        pupil=head.place(pupil[None], depth=1.15)[0],
        openness=openness,
    )


def _mouth(identity: Identity, head: HeadPose, opening: float, width: float) -> Mouth:
    """Shut: a smiling line. Open: an oval whose height is proportional to the opening."""
    along = np.linspace(-1, 1, 13)
    speaking = min(1.0, 3 * opening)
    half_width = identity.mouth_half_width * (1 - speaking * (0.34 - 0.34 * width))
    smile = 0.020 * (1 - 0.55 * speaking)
    corner_line = -smile * along**2 + 0.006
    height = MAX_OPENING * opening
    arch = (1 - np.abs(along) ** 2.4) ** 0.75
    x = half_width * along
    upper = MOUTH_Y + corner_line - 0.22 * height * arch
    lower = MOUTH_Y + corner_line + 0.78 * height * arch
    lip = LIP_WIDTH * np.sqrt(1 - 0.9 * along**2)
    return Mouth(
        upper=head.place(np.stack([x, upper], 1), depth=1.0),
        lower=head.place(np.stack([x, lower], 1), depth=1.0),
        outer_upper=head.place(np.stack([x, upper - lip], 1), depth=1.0),
        outer_lower=head.place(np.stack([x, lower + lip], 1), depth=1.0),
        opening=opening,
    )


def _arm(identity: Identity, neck: np.ndarray, place: np.ndarray, shape: np.ndarray, side: int) -> Arm:
    """An arm whose wrist is at `place` [3] of `BodyTrack` and whose hand has the numbers `shape` [6].

    `side` is -1 for the person's right arm (picture left) and 1 for the left one. The wrist moves as far as the whole
    hand needs to be inside the frame.
    """
    shoulder = neck + [side * identity.shoulder_half_width, SHOULDER_Y - NECK_BASE_Y]
    reach = ARM * np.asarray(place, dtype=np.float64) * [side, -1.0, 1.0]
    reach *= min(1.0, _FOLDED * ARM / float(np.linalg.norm(reach)))
    hand = HAND_LENGTH * hand_points(shape) * [side, -1.0]
    wrist = shoulder + reach[:2]
    edge = FINGER_RADIUS * HAND_LENGTH + _MARGIN
    wrist = np.clip(wrist, edge - hand.min(0), 1 - edge - hand.max(0))
    reach[:2] = wrist - shoulder
    return Arm(shoulder, shoulder + _elbow(reach, side), wrist, wrist + hand)


def _elbow(reach: np.ndarray, side: int) -> np.ndarray:
    """Two-bone inverse kinematics with depth: the elbow [2] from the shoulder of a wrist at `reach` [3]."""
    distance = min(float(np.linalg.norm(reach)), 0.999 * ARM)
    direction = reach / np.linalg.norm(reach)
    pole = np.array([side * 0.33, 0.94, -0.10])
    across = pole - (pole @ direction) * direction
    across /= np.linalg.norm(across)
    along = (UPPER_ARM**2 - FOREARM**2 + distance**2) / (2 * distance)
    bend = np.sqrt(max(UPPER_ARM**2 - along**2, 0.0))
    return (along * direction + bend * across)[:2]
