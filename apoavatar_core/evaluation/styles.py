"""Portraits of a style that no training clip has: a flat vector face, and a pencil drawing."""

from __future__ import annotations

import cv2
import numpy as np

from ..pose import PersonKeypoints, from_frame
from ..pose.keypoints import LIPS
from ..synthetic import Clip

FLAT, PENCIL = STYLES = ("flat", "pencil")
FINE = 4
"""Times as large as it is shown a flat face is drawn, for smooth edges."""
DARK = (40, 36, 40)


def styled(clip: Clip, style: str, t: int) -> np.ndarray:
    """Frame t of a clip in another style: uint8 [H, W, 3]."""
    return pencil_drawing(clip.frames[t]) if style == PENCIL else flat_face(clip, from_frame(clip.keypoints[t]))


def pencil_drawing(picture: np.ndarray) -> np.ndarray:
    """Grey lines on white where a picture [H, W, 3] has edges: it is divided by what is left of it when it is blurred."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    lines = cv2.divide(grey, cv2.GaussianBlur(grey, (0, 0), len(grey) / 40), scale=250)
    return np.repeat(lines[..., None], 3, 2)


def flat_face(clip: Clip, person: PersonKeypoints) -> np.ndarray:
    """The presenter of ellipses and lines, in the colours of the clip's, with these keypoints: uint8 [H, W, 3]."""
    identity, height = clip.identity, clip.frames.shape[1]
    size = FINE * height
    canvas = np.full((size, size, 3), identity.wall_rgb, np.uint8)
    body, face = person.body[:, :2] * size, person.face[:, :2] * size
    jaw, brows = face[:17], face[17:27]
    middle, chin, top = jaw[[0, 16]].mean(0), jaw[8], brows[:, 1].min()
    half_width, half_height = np.ptp(jaw[:, 0]) / 2, (chin[1] - top) * 0.75
    centre = (middle[0], chin[1] - half_height)

    def ellipse(place, axes, colour, start=0, stop=360) -> None:
        cv2.ellipse(canvas, ints(place), ints(axes), 0, start, stop, colour, -1, cv2.LINE_AA)

    def line(points, colour, width) -> None:
        cv2.polylines(canvas, [np.int32(points)], False, colour, max(1, round(width * size)), cv2.LINE_AA)

    ellipse(centre, (1.2 * half_width, 1.2 * half_height), identity.hair_rgb)
    right, left = body[2], body[5]
    trunk = [right, left, (left[0], size), (right[0], size)]
    line([body[1], chin], identity.skin_rgb, 0.1)
    cv2.fillPoly(canvas, [np.int32(trunk)], identity.clothes_rgb, cv2.LINE_AA)
    ellipse(centre, (half_width, half_height), identity.skin_rgb)
    ellipse((centre[0], centre[1]), (1.05 * half_width, 1.05 * half_height), identity.hair_rgb, 200, 340)
    for pupil in face[68:]:
        ellipse(pupil, (0.012 * size, 0.012 * size), DARK)
    lips = face[LIPS]
    opening = max(0.004 * size, np.ptp(lips[12:, 1]) / 2)
    ellipse(lips.mean(0), (np.ptp(lips[:, 0]) / 2.4, opening), DARK)
    for hand, arm in ((person.right_hand, body[2:5]), (person.left_hand, body[5:8])):
        line(arm, identity.clothes_rgb, 0.075)
        # Fingers are lines from the wrist on.
        points = hand[:, :2] * size
        for finger in range(5):
            line([points[0], *points[1 + 4 * finger : 5 + 4 * finger]], identity.skin_rgb, 0.024)
    return cv2.resize(canvas, (height, height), interpolation=cv2.INTER_AREA)


def ints(pair) -> tuple[int, int]:
    return round(float(pair[0])), round(float(pair[1]))
