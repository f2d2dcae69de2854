"""Where everything is: the one source of positions for the drawing and the keypoints.

All positions are fractions of the square frame, x right and y down. "Right" means the
person's right, which is the left of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .identity import Identity
from .motion import REST_WRIST, Motion

HEAD_CENTRE = np.array([0.5, 0.325])
SKULL_HEIGHT = 0.185
CHIN_DEPTH = 0.183
NECK_BASE_Y = 0.575
SHOULDER_Y = 0.653
UPPER_ARM = 0.225
FOREARM = 0.235
HAND_LENGTH = 0.125
MAX_OPENING = 0.092
LIP_WIDTH = 0.011
EYE_Y = -0.012
BROW_Y = -0.069
NOSE_Y = 0.044
MOUTH_Y = 0.098

_FINGER_OFFSETS = (0.21, 0.07, -0.07, -0.20)
_FINGER_LENGTHS = (0.47, 0.52, 0.48, 0.38)
_FINGER_FAN = (0.26, 0.08, -0.10, -0.30)


@dataclass(frozen=True)
class HeadPose:
    """Places head-local points (origin at the head's centre) into the frame."""

    centre: np.ndarray
    tilt: float
    parallax: np.ndarray

    def place(self, local: np.ndarray, depth: float = 0.0) -> np.ndarray:
        """[N, 2] head-local points to frame points; features of depth 1 turn with the head."""
        cosine, sine = np.cos(self.tilt), np.sin(self.tilt)
        rotation = np.array([[cosine, sine], [-sine, cosine]])
        pivot = np.array([0.0, CHIN_DEPTH])
        points = np.asarray(local, dtype=np.float64) + depth * self.parallax
        return (points - pivot) @ rotation + pivot + self.centre


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


def frame_geometry(identity: Identity, motion: Motion, t: int) -> FrameGeometry:
    """All positions of frame `t`."""
    body_x = float(motion.body_x[t])
    sway = np.array([float(motion.head_x[t]), float(motion.head_y[t])])
    head = HeadPose(
        centre=HEAD_CENTRE + sway + [body_x, 0.0],
        tilt=float(motion.head_tilt[t]),
        parallax=0.55 * sway,
    )
    opening = float(motion.mouth_opening[t])
    right_side, jaw = _face_sides(identity, opening)
    outline = np.concatenate([right_side, jaw, right_side[::-1] * [-1, 1]])
    ear_x = identity.face_half_width + 0.004
    brow_lift = 0.014 * float(motion.brow[t])
    blink = float(motion.blink[t])
    neck = np.array([0.5 + body_x, NECK_BASE_Y])
    return FrameGeometry(
        head=head,
        face_outline=head.place(outline),
        jaw=head.place(jaw),
        chin=head.place(jaw[8:9])[0],
        right_ear=head.place(np.array([[-ear_x, 0.02]]))[0],
        left_ear=head.place(np.array([[ear_x, 0.02]]))[0],
        right_brow=head.place(_brow(identity, brow_lift, -1), depth=1.0),
        left_brow=head.place(_brow(identity, brow_lift, 1), depth=1.0),
        right_eye=_eye(identity, head, blink, -1),
        left_eye=_eye(identity, head, blink, 1),
        nose_bridge=head.place(np.stack([np.zeros(4), np.linspace(EYE_Y, NOSE_Y - 0.008, 4)], 1), depth=1.0),
        nose_base=head.place(
            np.stack([np.linspace(-0.019, 0.019, 5), NOSE_Y + 0.007 * np.cos(np.linspace(-1.6, 1.6, 5))], 1),
            depth=1.0,
        ),
        mouth=_mouth(identity, head, opening, float(motion.mouth_width[t])),
        neck=neck,
        right_arm=_arm(identity, neck, np.asarray(motion.right_wrist[t], dtype=np.float64), -1),
        left_arm=_arm(identity, neck, np.asarray(motion.left_wrist[t], dtype=np.float64), 1),
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


def _eye(identity: Identity, head: HeadPose, blink: float, side: int) -> Eye:
    centre = np.array([side * identity.eye_distance / 2, EYE_Y])
    half_width, half_height = 0.031 * identity.eye_size, 0.033 * identity.eye_size
    openness = 1.0 - blink
    along = np.linspace(-1, 1, 9)
    arch = np.sqrt(np.maximum(1 - along**2, 0))
    shut_line = 0.35 * half_height * arch
    upper = shut_line + openness * (-half_height * arch - shut_line)
    lower = shut_line + openness * (0.80 * half_height * arch - shut_line)
    x = half_width * along
    pupil = centre + [0.0, -0.10 * half_height * openness]
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


def _arm(identity: Identity, neck: np.ndarray, wrist: np.ndarray, side: int) -> Arm:
    """Two-bone inverse kinematics with depth: raised hands come towards the viewer.

    `side` is -1 for the person's right arm (picture left) and 1 for the left one.
    """
    shoulder = np.array([neck[0] + side * identity.shoulder_half_width, SHOULDER_Y])
    lift = max(0.0, float(REST_WRIST[1] - wrist[1])) / 0.2
    reach = np.append(wrist - shoulder, 0.10 + 0.09 * min(lift, 1.2))
    longest = 0.97 * (UPPER_ARM + FOREARM)
    distance = float(np.linalg.norm(reach))
    if distance > longest:
        reach *= longest / distance
        distance = longest
    direction = reach / distance
    pole = np.array([side * 0.33, 0.94, -0.10])
    across = pole - (pole @ direction) * direction
    across /= np.linalg.norm(across)
    along = (UPPER_ARM**2 - FOREARM**2 + distance**2) / (2 * distance)
    bend = np.sqrt(max(UPPER_ARM**2 - along**2, 0.0))
    elbow = shoulder + (along * direction + bend * across)[:2]
    wrist = shoulder + reach[:2]
    return Arm(shoulder, elbow, wrist, _hand(wrist, wrist - elbow, min(lift, 1.0), side))


def _hand(wrist: np.ndarray, forearm: np.ndarray, spread: float, side: int) -> np.ndarray:
    """The 21 hand points [21, 2]: wrist, then thumb, index, middle, ring, little finger."""
    ahead = forearm / np.linalg.norm(forearm)
    thumbward = np.array([-ahead[1], ahead[0]]) * side
    fan = 0.35 + 0.75 * spread

    def at(forward: float, sideways: float) -> np.ndarray:
        return wrist + HAND_LENGTH * (forward * ahead + sideways * thumbward)

    points = [wrist]
    thumb_angle = 0.55 + 0.35 * spread
    step = np.array([np.cos(thumb_angle), np.sin(thumb_angle)])
    for reach in (0.0, 0.16, 0.31, 0.45):
        forward, sideways = np.array([0.12, 0.14]) + reach * step
        points.append(at(forward, sideways))
    for offset, length, angle in zip(_FINGER_OFFSETS, _FINGER_LENGTHS, _FINGER_FAN, strict=True):
        for share in (0.0, 0.4, 0.7, 1.0):
            reach = share * length
            points.append(at(0.5 + reach * np.cos(angle * fan), offset + reach * np.sin(angle * fan)))
    return np.array(points)
