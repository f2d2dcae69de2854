"""Neck, torso with its garment, arms and hands."""

from __future__ import annotations

import numpy as np

from ..geometry import Arm, FrameGeometry
from ..identity import Colour, Identity
from .canvas import Canvas, darker, lighter, luminance, smooth_curve

_SHOULDER_RADIUS = 0.056
_ELBOW_RADIUS = 0.050
_WRIST_RADIUS = 0.036
_NECK_HALF_WIDTH = 0.056
_OUTLINE = 0.0075
_HAND_LINE = 0.0085
_FOLD = 0.005
_PALM_ROUNDING, _FINGER_RADIUS, _THUMB_RADIUS = 0.024, 0.0185, 0.0195


def draw_neck(canvas: Canvas, identity: Identity, geometry: FrameGeometry) -> None:
    """Neck from the jaw to the collar, with the soft shadow under the chin."""
    skin = identity.skin_rgb
    top = geometry.head.place(np.array([[0.0, 0.10]]))[0]
    bottom = geometry.neck + np.array([0.0, 0.05])
    canvas.limb(np.stack([top, bottom]), (_NECK_HALF_WIDTH, _NECK_HALF_WIDTH + 0.006), darker(skin, 0.09))
    canvas.ellipse(geometry.chin + np.array([0.0, -0.012]), (_NECK_HALF_WIDTH, 0.050), darker(skin, 0.22))


def draw_torso(canvas: Canvas, identity: Identity, geometry: FrameGeometry) -> None:
    half, (x, y) = identity.shoulder_half_width, geometry.neck
    cloth = identity.clothes_rgb
    outline = [[-0.060, -0.022], [-0.105, 0.000], [-0.78 * half, 0.019], [-half - 0.020, 0.075], [-0.90 * half, 0.20],
               [-0.80 * half, 0.62], [0.80 * half, 0.62], [0.90 * half, 0.20], [half + 0.020, 0.075],
               [0.78 * half, 0.019],
               [0.105, 0.000], [0.060, -0.022], [0.0, 0.028]]
    canvas.polygon(smooth_curve(np.array(outline)) + geometry.neck, cloth)
    match identity.garment:
        case "t-shirt":
            _draw_neckline(canvas, geometry, cloth, depth=0.030)
        case "sweater":
            _draw_neckline(canvas, geometry, cloth, depth=0.008)
        case "shirt with a collar":
            _draw_buttons(canvas, x, y, cloth)
            _draw_collar(canvas, geometry, lighter(cloth, 0.28) if luminance(cloth) < 215 else darker(cloth, 0.10))
        case "striped shirt":
            _draw_stripes(canvas, identity, geometry)
            _draw_neckline(canvas, geometry, cloth, depth=0.026)
        case "jacket":
            _draw_jacket_front(canvas, geometry, cloth)


def draw_arm(canvas: Canvas, identity: Identity, arm: Arm, side: int) -> None:
    """Sleeve, forearm and hand; side -1 is the picture's left."""
    cloth = identity.clothes_rgb
    edge = _edge_colour(cloth)
    shoulder = arm.shoulder + np.array([-side * 0.012, 0.004])
    joints = np.stack([shoulder, arm.elbow, arm.wrist])
    radii = (_SHOULDER_RADIUS, _ELBOW_RADIUS, _WRIST_RADIUS)
    if identity.garment == "t-shirt":
        skin = identity.skin_rgb
        bare = (_ELBOW_RADIUS * 0.84, _ELBOW_RADIUS * 0.80, _WRIST_RADIUS * 0.82)
        hem = shoulder + 0.62 * (arm.elbow - shoulder)
        path = np.stack([hem, arm.elbow, arm.wrist])
        canvas.limb(path, tuple(radius + _OUTLINE for radius in bare), darker(skin, 0.28))
        canvas.limb(path, bare, skin)
        sleeve = np.stack([shoulder, hem])
        sleeve_radii = (_SHOULDER_RADIUS, 0.058)
        _draw_sleeve(canvas, sleeve, sleeve_radii, cloth, edge)
    else:
        _draw_sleeve(canvas, joints, radii, cloth, edge)
        _draw_cuff(canvas, identity, arm)
    draw_hand(canvas, arm.hand, identity.skin_rgb)


def _draw_sleeve(
    canvas: Canvas, joints: np.ndarray, radii: tuple[float, ...], cloth: Colour, edge: Colour
) -> None:
    """Sleeve with an edge that separates it from the torso, but not at the shoulder."""
    outlined = (radii[0] - 0.004, *(radius + _OUTLINE for radius in radii[1:]))
    canvas.limb(joints, outlined, edge)
    canvas.limb(joints, radii, cloth)


def _draw_cuff(canvas: Canvas, identity: Identity, arm: Arm) -> None:
    ahead = (arm.wrist - arm.elbow) / max(float(np.linalg.norm(arm.wrist - arm.elbow)), 1e-6)
    across = np.array([-ahead[1], ahead[0]]) * (_WRIST_RADIUS - 0.008)
    colour = (246, 244, 240) if identity.garment == "jacket" else _edge_colour(identity.clothes_rgb)
    ends = arm.wrist + np.array([0.010 * ahead + across, 0.010 * ahead - across])
    canvas.line(ends, 0.022, colour)


def draw_hand(canvas: Canvas, hand: np.ndarray, skin: Colour) -> None:
    """Palm, thumb and four fingers around the 21 hand points [21, 2]: a strong line round all of them together, and a soft
    one where one lies beside another.
    """
    wrist, knuckles = hand[0], hand[[17, 13, 9, 5]]
    palm = np.concatenate([wrist + 0.22 * (knuckles[[0, 3]] - wrist), wrist + 0.96 * (knuckles[::-1] - wrist)])
    fingers = [(hand[first : first + 4], _FINGER_RADIUS) for first in (17, 13, 9, 5)] + [(hand[1:5], _THUMB_RADIUS)]
    edge, fold = hand_edge(skin), darker(skin, 0.26)
    canvas.line(palm, 2 * (_PALM_ROUNDING + _HAND_LINE), edge, closed=True)
    for points, radius in fingers:
        canvas.line(points, 2 * (radius + _HAND_LINE), edge)
    canvas.line(palm, 2 * _PALM_ROUNDING, skin, closed=True)
    canvas.polygon(palm, skin)
    for points, radius in fingers:
        canvas.line(points, 2 * (radius + _FOLD), fold)
        canvas.line(points, 2 * radius, skin)
    # The thumb's root grows out of the palm: no line runs across it.
    canvas.line(np.stack([palm[:2].mean(0), hand[2]]), 2 * _THUMB_RADIUS, skin)


def hand_edge(skin: Colour) -> Colour:
    """The line round a hand: dark round a light one, light round a dark one, so that it shows on every garment."""
    return darker(skin, 0.62) if luminance(skin) > 100 else lighter(skin, 0.50)


def _draw_neckline(canvas: Canvas, geometry: FrameGeometry, cloth: Colour, depth: float) -> None:
    """Ribbed edge of a round neck, `depth` below the base of the neck."""
    x = np.linspace(-0.066, 0.066, 9)
    curve = np.stack([x, -0.020 + (depth + 0.030) * np.sqrt(np.maximum(1 - (x / 0.068) ** 2, 0))], axis=1)
    canvas.line(curve + geometry.neck, 0.018, _edge_colour(cloth))


def _draw_collar(canvas: Canvas, geometry: FrameGeometry, colour: Colour) -> None:
    for side in (-1, 1):
        mirror = np.array([side, 1.0])
        flap = mirror * [[0.072, -0.034], [0.092, 0.012], [0.050, 0.072], [0.0, 0.022], [0.050, -0.010]]
        canvas.polygon(flap + geometry.neck, colour)
        canvas.line(flap[1:4] + geometry.neck, 0.006, darker(colour, 0.22))


def _draw_buttons(canvas: Canvas, x: float, y: float, cloth: Colour) -> None:
    edge = _edge_colour(cloth)
    canvas.line(np.array([[x, y + 0.03], [x, 1.05]]), 0.007, edge)
    for below in (0.11, 0.20):
        canvas.disc(np.array([x + 0.001, y + below]), 0.0105, edge)


def _draw_stripes(canvas: Canvas, identity: Identity, geometry: FrameGeometry) -> None:
    stripe = lighter(identity.clothes_rgb, 0.72) if luminance(identity.clothes_rgb) < 200 else (96, 116, 160)
    half = 0.86 * identity.shoulder_half_width
    for below in (0.085, 0.155, 0.225, 0.295, 0.365):
        ends = geometry.neck + np.array([[-half, below], [half, below]])
        canvas.line(ends, 0.026, stripe)


def _draw_jacket_front(canvas: Canvas, geometry: FrameGeometry, cloth: Colour) -> None:
    """White shirt in a V, lapels and the closing line."""
    v_point = np.array([0.0, 0.215])
    opening = np.array([[-0.066, -0.030], [-0.03, 0.01], [0.03, 0.01], [0.066, -0.030], v_point])
    canvas.polygon(opening + geometry.neck, (246, 244, 240))
    _draw_collar(canvas, geometry, (252, 251, 248))
    lapel_colour, edge = lighter(cloth, 0.12), _edge_colour(cloth)
    for side in (-1, 1):
        mirror = np.array([side, 1.0])
        lapel = mirror * [[0.066, -0.036], [0.118, 0.060], [0.085, 0.086], [0.092, 0.104], v_point]
        canvas.polygon(lapel + geometry.neck, lapel_colour)
        canvas.line(lapel[1:] + geometry.neck, 0.006, edge)
    canvas.line(np.array([v_point, v_point + [0.0, 0.3]]) + geometry.neck, 0.007, edge)


def _edge_colour(cloth: Colour) -> Colour:
    """A line visible on the cloth: darker, or lighter on very dark cloth."""
    return lighter(cloth, 0.20) if luminance(cloth) < 75 else darker(cloth, 0.22)
