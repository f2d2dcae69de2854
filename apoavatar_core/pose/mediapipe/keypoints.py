"""MediaPipe's landmarks as the points of `PersonKeypoints`."""

from __future__ import annotations

import numpy as np

from ..keypoints import GROUPS, LEFT_EYE, RIGHT_EYE, PersonKeypoints
from .body import Body
from .face import Face
from .hand import Hand

NOSE, NECK = 0, 1
"""Of the body points, and the nose of MediaPipe's landmarks too."""

LEFT_SHOULDER, RIGHT_SHOULDER = 11, 12

BODY = (
    NOSE, NOSE, 12, 14, 16, 11, 13, 15, 24, 26, 28, 23, 25, 27, 5, 2, 8, 7,
)  # fmt: skip
"""The landmark of each body point; the neck, which MediaPipe does not know, is made of the shoulders."""

FACE = (
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,  # jaw
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,  # brows
    168, 197, 5, 4, 75, 97, 2, 326, 305,  # nose
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,  # eyes
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,  # outer lips
    78, 82, 13, 312, 308, 317, 14, 87,  # inner lips
)  # fmt: skip
"""The vertex of the mesh nearest to each of the 68 landmarks."""

NOSE_TIP = 1
"""Of the mesh."""

RIGHT_LIDS, LEFT_LIDS = (37, 38, 40, 41), (43, 44, 46, 47)
"""Of the 68 landmarks; a pupil is taken to be in the middle between them."""


def person_keypoints(
    body: Body, left: Hand | None, right: Hand | None, face: Face | None, width: int, height: int
) -> PersonKeypoints:
    """Landmarks in pixels of a picture -> a person; what is missing has confidence 0."""
    size = np.array([width, height])
    points = _body_points(body.points)
    if face:
        # The body's network sees the head small; in a portrait its eyes are off by an eye's height.
        points[[NOSE, RIGHT_EYE, LEFT_EYE]] = face.points[NOSE_TIP], *_face_points(face.points)[-2:]
    return PersonKeypoints(
        body=_with_scores(points / size, _body_scores(body.visibility)),
        left_hand=_with_scores(left.points / size, left.score) if left else _unseen("left_hand"),
        right_hand=_with_scores(right.points / size, right.score) if right else _unseen("right_hand"),
        face=_with_scores(_face_points(face.points) / size, face.score) if face else _unseen("face"),
    )


def _body_points(landmarks: np.ndarray) -> np.ndarray:
    points = landmarks[list(BODY)]
    points[NECK] = (landmarks[LEFT_SHOULDER] + landmarks[RIGHT_SHOULDER]) / 2
    return points


def _body_scores(visibility: np.ndarray) -> np.ndarray:
    scores = visibility[list(BODY)]
    scores[NECK] = min(visibility[LEFT_SHOULDER], visibility[RIGHT_SHOULDER])
    return scores


def _face_points(mesh: np.ndarray) -> np.ndarray:
    landmarks = mesh[list(FACE)]
    pupils = [landmarks[list(lids)].mean(0) for lids in (RIGHT_LIDS, LEFT_LIDS)]
    return np.concatenate([landmarks, pupils])


def _with_scores(points: np.ndarray, scores: np.ndarray | float) -> np.ndarray:
    scores = np.broadcast_to(scores, len(points))[:, None]
    return np.concatenate([points, scores], axis=1).astype(np.float32)


def _unseen(group: str) -> np.ndarray:
    return np.zeros((GROUPS[group], 3), dtype=np.float32)
