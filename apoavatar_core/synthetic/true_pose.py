"""Exact OpenPose keypoints of a frame, from the geometry it is drawn from."""

from __future__ import annotations

import numpy as np

from .geometry import FrameGeometry, Mouth, frame_geometry
from .identity import Identity
from .motion import Motion

_BODY_POINTS = 18


def frame_keypoints(identity: Identity, motion: Motion, t: int, size: int = 128) -> dict:
    """OpenPose frame dictionary of frame `t`, in pixels of a size x size picture."""
    geometry = frame_geometry(identity, motion, t)
    person = {
        "pose_keypoints_2d": _flat(_body(geometry), size),
        "face_keypoints_2d": _flat(_face(geometry), size),
        "hand_left_keypoints_2d": _flat(geometry.left_arm.hand, size),
        "hand_right_keypoints_2d": _flat(geometry.right_arm.hand, size),
    }
    return {"people": [person], "canvas_width": size, "canvas_height": size}


def _body(geometry: FrameGeometry) -> np.ndarray:
    """COCO-18 points [18, 2]; hips, knees and ankles lie below the frame and are NaN."""
    points = np.full((_BODY_POINTS, 2), np.nan)
    points[0] = geometry.nose_base[2]
    points[1] = geometry.neck
    for first, arm in ((2, geometry.right_arm), (5, geometry.left_arm)):
        points[first : first + 3] = arm.shoulder, arm.elbow, arm.wrist
    points[14:18] = geometry.right_eye.pupil, geometry.left_eye.pupil, geometry.right_ear, geometry.left_ear
    return points


def _face(geometry: FrameGeometry) -> np.ndarray:
    """The 68 face points, then the right and the left pupil: [70, 2]."""
    lids = []
    for eye in (geometry.right_eye, geometry.left_eye):
        lids += [eye.upper_lid[[0, 2, 6, 8]], eye.lower_lid[[6, 2]]]
    return np.concatenate(
        [
            geometry.jaw,
            geometry.right_brow,
            geometry.left_brow,
            geometry.nose_bridge,
            geometry.nose_base,
            *lids,
            _lip_points(geometry.mouth),
            np.stack([geometry.right_eye.pupil, geometry.left_eye.pupil]),
        ]
    )


def _lip_points(mouth: Mouth) -> np.ndarray:
    """12 outer and 8 inner lip points [20, 2], each clockwise from the picture's left corner."""
    outer_upper, outer_lower = mouth.outer_upper, mouth.outer_lower
    return np.concatenate(
        [
            outer_upper[[0, 2, 4, 6, 8, 10, 12]],
            outer_lower[[10, 8, 6, 4, 2]],
            mouth.upper[[1, 4, 6, 8, 11]],
            mouth.lower[[8, 6, 4]],
        ]
    )


def _flat(points: np.ndarray, size: int) -> list[float]:
    """[N, 2] frame fractions to x, y, confidence triples; 0, 0, 0 outside the frame."""
    triples: list[float] = []
    for x, y in points * size:
        inside = 0 <= x < size and 0 <= y < size
        triples += [float(x), float(y), 1.0] if inside else [0.0, 0.0, 0.0]
    return triples
