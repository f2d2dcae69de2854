"""Head and face: ears, skin, cheeks, beard, nose, mouth, eyes, brows and glasses."""

from __future__ import annotations

import numpy as np

from ..geometry import EYE_Y, Eye, FrameGeometry, Mouth
from ..identity import Colour, Identity
from .canvas import Canvas, darker, luminance, mix, smooth_curve

MOUTH_INTERIOR: Colour = (92, 26, 38)
"""Colour of the open mouth, the same for everybody."""

_TEETH: Colour = (250, 246, 240)
_TONGUE: Colour = (206, 92, 98)
_EYE_WHITE: Colour = (252, 250, 248)
_LASH: Colour = (48, 32, 36)
_FRAMES: Colour = (58, 48, 58)


def draw_ears(canvas: Canvas, identity: Identity, geometry: FrameGeometry) -> None:
    if identity.hair_style in ("headscarf", "bob", "long"):
        return
    for ear in (geometry.right_ear, geometry.left_ear):
        canvas.ellipse(ear, (0.027, 0.038), darker(identity.skin_rgb, 0.08), tilt=-geometry.head.tilt)
        canvas.ellipse(ear, (0.012, 0.020), darker(identity.skin_rgb, 0.20), tilt=-geometry.head.tilt)


def draw_face(canvas: Canvas, identity: Identity, geometry: FrameGeometry) -> None:
    skin = identity.skin_rgb
    canvas.polygon(geometry.face_outline, skin)
    _draw_cheeks(canvas, identity, geometry)
    if identity.beard:
        _draw_beard(canvas, identity, geometry)
    canvas.line(smooth_curve(geometry.nose_base, closed=False), 0.013, darker(skin, 0.26))
    _draw_mouth(canvas, geometry.mouth, _lip_colour(identity))
    for eye in (geometry.right_eye, geometry.left_eye):
        _draw_eye(canvas, eye, identity)
    for brow in (geometry.right_brow, geometry.left_brow):
        canvas.line(smooth_curve(brow, closed=False), 0.016, _brow_colour(identity))
    if identity.glasses:
        _draw_glasses(canvas, identity, geometry)


def _draw_cheeks(canvas: Canvas, identity: Identity, geometry: FrameGeometry) -> None:
    skin = identity.skin_rgb
    blush = (236, 104, 108) if luminance(skin) > 120 else (196, 72, 66)
    x = 0.62 * identity.face_half_width
    for centre in geometry.head.place(np.array([[-x, 0.052], [x, 0.052]]), depth=1.0):
        for radius, strength in ((0.034, 0.07), (0.027, 0.13), (0.019, 0.19)):
            canvas.disc(centre, radius, mix(skin, blush, strength))


def _draw_beard(canvas: Canvas, identity: Identity, geometry: FrameGeometry) -> None:
    half_width = identity.face_half_width
    right_edge = [
        [-half_width, -0.012], [-0.86 * half_width, 0.040], [-0.66 * half_width, 0.078], [-0.045, 0.073],
    ]
    left_edge = [[-x, y] for x, y in reversed(right_edge)]
    edge = geometry.head.place(smooth_curve(np.array([*right_edge, [0.0, 0.064], *left_edge]), closed=False))
    canvas.polygon(np.concatenate([edge, geometry.jaw[::-1]]), _beard_colour(identity))


def _draw_mouth(canvas: Canvas, mouth: Mouth, lips: Colour) -> None:
    """Dark interior between the lips, with teeth and tongue once there is room for them."""
    outline = np.concatenate([mouth.upper, mouth.lower[::-1]])
    canvas.line(outline, 0.020, lips, closed=True)
    canvas.polygon(outline, MOUTH_INTERIOR)
    canvas.line(outline, 0.008, MOUTH_INTERIOR, closed=True)
    if mouth.opening > 0.2:
        height = mouth.lower[6] - mouth.upper[6]
        bulge = np.sin(np.linspace(0, np.pi, 9))[:, None]
        upper, lower = mouth.upper[2:-2], mouth.lower[2:-2]
        canvas.polygon(np.concatenate([upper, (upper + 0.22 * height * bulge**0.5)[::-1]]), _TEETH)
        canvas.polygon(np.concatenate([lower, (lower - 0.26 * height * bulge)[::-1]]), _TONGUE)


def _draw_eye(canvas: Canvas, eye: Eye, identity: Identity) -> None:
    if eye.openness > 0.25:
        outline = np.concatenate([eye.upper_lid, eye.lower_lid[::-1]])
        canvas.polygon(outline, _EYE_WHITE)
        half_height = float(np.linalg.norm(eye.lower_lid[4] - eye.upper_lid[4])) / 2
        size = identity.eye_size
        iris = 0.0215 * size
        canvas.ellipse(eye.pupil, (iris, min(iris, 0.92 * half_height)), identity.eye_rgb)
        canvas.ellipse(eye.pupil, (0.0125 * size, min(0.0125 * size, 0.8 * half_height)), (28, 20, 26))
        if eye.openness > 0.6:
            canvas.disc(eye.pupil + np.array([-0.007, -0.009]), 0.0072, (255, 255, 255))
    canvas.line(eye.upper_lid, 0.0125, _LASH)


def _draw_glasses(canvas: Canvas, identity: Identity, geometry: FrameGeometry) -> None:
    radius = 0.5 * identity.eye_distance - 0.012
    angle = np.linspace(0, 2 * np.pi, 33)[:-1]
    rim = radius * np.stack([np.cos(angle), 0.94 * np.sin(angle)], axis=1)
    for side in (-1, 1):
        centre = np.array([side * identity.eye_distance / 2, EYE_Y + 0.002])
        canvas.line(geometry.head.place(centre + rim, depth=1.0), 0.0105, _FRAMES, closed=True)
        temple = np.array([[centre[0] + side * radius, EYE_Y], [side * identity.face_half_width, EYE_Y + 0.004]])
        canvas.line(geometry.head.place(temple, depth=1.0), 0.0105, _FRAMES)
    bridge = np.array([[-0.012, EYE_Y - 0.004], [0.0, EYE_Y - 0.010], [0.012, EYE_Y - 0.004]])
    canvas.line(geometry.head.place(bridge, depth=1.0), 0.0105, _FRAMES)


def _brow_colour(identity: Identity) -> Colour:
    hair = identity.hair_rgb
    if abs(luminance(hair) - luminance(identity.skin_rgb)) < 45 or luminance(hair) > 140:
        return darker(mix(hair, identity.skin_rgb, 0.3), 0.45)
    return hair


def _lip_colour(identity: Identity) -> Colour:
    return mix(identity.skin_rgb, (178, 58, 66), 0.30 if identity.beard else 0.52)


def _beard_colour(identity: Identity) -> Colour:
    return mix(identity.hair_rgb, identity.skin_rgb, 0.12)
