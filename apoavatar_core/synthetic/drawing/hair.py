"""Hair styles and headscarf: a layer behind the head and one in front of it.

Shapes are head-local points (origin at the head's centre, fractions of the frame).
"""

from __future__ import annotations

import numpy as np

from ..geometry import FrameGeometry
from ..identity import Colour, Identity
from .canvas import Canvas, darker, lighter, luminance, smooth_curve

_TOP = -0.222


def draw_hair_behind(canvas: Canvas, identity: Identity, geometry: FrameGeometry) -> None:
    """What hangs behind the neck and the face."""
    half = identity.face_half_width
    shade = darker(identity.hair_rgb, 0.22)
    match identity.hair_style:
        case "bob":
            outer = half + 0.042
            edge = [[0, _TOP], [0.62 * outer, -0.20], [outer, -0.08], [1.04 * outer, 0.06], [outer, 0.165],
                    [0.62 * outer, 0.190]]
            _fill(canvas, geometry, _mirrored(edge), shade)
        case "long":
            outer = half + 0.048
            edge = [[0, _TOP], [0.62 * outer, -0.20], [outer, -0.08], [1.06 * outer, 0.10], [1.12 * outer, 0.28],
                    [1.02 * outer, 0.385], [0.5 * outer, 0.40]]
            _fill(canvas, geometry, _mirrored(edge), shade)
        case "bun":
            centre = geometry.head.place(np.array([[0.0, _TOP - 0.028]]))[0]
            canvas.disc(centre, 0.070, shade)
            canvas.disc(centre + np.array([-0.006, -0.006]), 0.060, identity.hair_rgb)
        case "curly":
            angles = np.linspace(-1.95, 1.95, 13)
            ring = np.stack([(half + 0.012) * np.sin(angles), -0.172 * np.cos(angles) - 0.022], axis=1)
            for centre in geometry.head.place(ring):
                canvas.disc(centre, 0.055, identity.hair_rgb)
        case "headscarf":
            outer = half + 0.034
            edge = [[0, _TOP - 0.012], [0.62 * outer, -0.205], [outer, -0.07], [1.02 * outer, 0.06],
                    [0.95 * outer, 0.17], [1.12 * outer, 0.29], [0.6 * outer, 0.36]]
            _fill(canvas, geometry, _mirrored(edge), identity.scarf_rgb)


def draw_hair_in_front(canvas: Canvas, identity: Identity, geometry: FrameGeometry) -> None:
    """What lies over the forehead and along the temples."""
    half = identity.face_half_width
    hair = identity.hair_rgb
    outer = half + 0.014
    crown = [[-outer, -0.005], [-outer, -0.085], [-0.80 * outer, -0.175], [-0.42 * outer, -0.216], [0.0, _TOP],
             [0.42 * outer, -0.216], [0.80 * outer, -0.175], [outer, -0.085], [outer, -0.005]]
    match identity.hair_style:
        case "short":
            line = [[half - 0.014, -0.035], [half - 0.020, -0.095], [0.070, -0.122], [0.0, -0.130],
                    [-0.070, -0.122], [-half + 0.020, -0.095], [-half + 0.014, -0.035]]
            _fill(canvas, geometry, crown + line, hair)
            _shine(canvas, identity, geometry)
        case "side-parted":
            line = [[half - 0.012, -0.030], [half - 0.018, -0.080], [0.075, -0.092], [0.0, -0.105],
                    [-0.055, -0.150], [-half + 0.026, -0.105], [-half + 0.012, -0.030]]
            swoop = [[x, y - (0.016 if y < -0.1 else 0.0) * (x > -0.06)] for x, y in crown]
            _fill(canvas, geometry, swoop + line, hair)
            parting = np.array([[-0.055, -0.150], [-0.068, -0.180], [-0.062, -0.212]])
            canvas.line(geometry.head.place(smooth_curve(parting, closed=False)), 0.009, _strand(identity))
        case "bob":
            fringe = [[half - 0.010, 0.075], [half - 0.022, -0.040], [half - 0.040, -0.088], [0.06, -0.096],
                      [0.0, -0.098], [-0.06, -0.096], [-half + 0.040, -0.088], [-half + 0.022, -0.040],
                      [-half + 0.010, 0.075]]
            _fill(canvas, geometry, _locks(half, 0.16) + fringe, hair)
            _shine(canvas, identity, geometry)
        case "long":
            line = [[half - 0.006, 0.13], [half - 0.018, -0.010], [half - 0.036, -0.082], [0.050, -0.128],
                    [0.0, -0.160], [-0.050, -0.128], [-half + 0.036, -0.082], [-half + 0.018, -0.010],
                    [-half + 0.006, 0.13]]
            _fill(canvas, geometry, _locks(half, 0.20) + line, hair)
            parting = np.array([[0.0, -0.158], [0.002, -0.212]])
            canvas.line(geometry.head.place(parting), 0.009, _strand(identity))
        case "bun":
            line = [[half - 0.010, -0.020], [half - 0.022, -0.085], [0.066, -0.132], [0.0, -0.145],
                    [-0.066, -0.132], [-half + 0.022, -0.085], [-half + 0.010, -0.020]]
            _fill(canvas, geometry, crown + line, hair)
            _shine(canvas, identity, geometry)
        case "curly":
            angles = np.linspace(-1.15, 1.15, 8)
            ring = np.stack([(half - 0.024) * np.sin(angles), -0.135 * np.cos(angles) - 0.030], axis=1)
            for centre in geometry.head.place(ring):
                canvas.disc(centre, 0.040, hair)
        case "bald":
            glow = geometry.head.place(np.array([[-0.05, -0.145]]))[0]
            canvas.ellipse(glow, (0.034, 0.016), lighter(identity.skin_rgb, 0.28), tilt=-0.45 - geometry.head.tilt)
        case "headscarf":
            _draw_scarf(canvas, identity, geometry)


def _draw_scarf(canvas: Canvas, identity: Identity, geometry: FrameGeometry) -> None:
    """A ring of cloth around the face, and its wrap over the neck."""
    half = identity.face_half_width
    cloth, fold = identity.scarf_rgb, darker(identity.scarf_rgb, 0.20)
    hem = [[half + 0.020, 0.05], [half + 0.030, 0.16], [half + 0.045, 0.255], [0.55 * half, 0.335], [0.0, 0.352],
           [-0.55 * half, 0.335], [-half - 0.045, 0.255], [-half - 0.030, 0.16], [-half - 0.020, 0.05]]
    lower_edge = geometry.head.place(smooth_curve(np.array(hem), closed=False))
    canvas.polygon(np.concatenate([geometry.jaw, lower_edge]), cloth)
    for shift in (0.0, 0.045):
        crease = np.array([[-0.75 * half, 0.200 + shift], [-0.1 * half, 0.255 + shift], [0.8 * half, 0.225 + shift]])
        canvas.line(geometry.head.place(smooth_curve(crease, closed=False)), 0.009, fold)
    outer = half + 0.034
    band = [[-outer + 0.004, 0.11], [-outer, -0.07], [-0.62 * outer, -0.205], [0, _TOP - 0.012],
            [0.62 * outer, -0.205], [outer, -0.07], [outer - 0.004, 0.11], [half - 0.012, 0.095],
            [half - 0.020, -0.040], [0.70 * half, -0.108], [0.0, -0.132], [-0.70 * half, -0.108], [-half + 0.020, -0.040], [-half + 0.012, 0.095]]
    _fill(canvas, geometry, band, cloth)
    edge = np.array([[half - 0.010, 0.100], [half - 0.018, -0.040], [0.70 * half, -0.110], [0.0, -0.134],
                     [-0.70 * half, -0.110], [-half + 0.018, -0.040], [-half + 0.010, 0.100]])
    canvas.line(geometry.head.place(smooth_curve(edge, closed=False)), 0.009, fold)


def _locks(half: float, bottom: float) -> list[list[float]]:
    """Outer edge of hair that falls along both cheeks down to `bottom`."""
    outer = half + 0.040
    return [[-half + 0.004, bottom - 0.02], [-outer + 0.006, bottom], [-1.03 * outer, 0.05],
            [-outer, -0.08], [-0.72 * outer, -0.182],
            [-0.35 * outer, -0.216], [0.0, _TOP], [0.35 * outer, -0.216], [0.72 * outer, -0.182], [outer, -0.08],
            [1.03 * outer, 0.05], [outer - 0.006, bottom], [half - 0.004, bottom - 0.02]]


def _shine(canvas: Canvas, identity: Identity, geometry: FrameGeometry) -> None:
    arc = np.array([[-0.085, -0.160], [-0.050, -0.182], [-0.005, -0.190]])
    canvas.line(geometry.head.place(smooth_curve(arc, closed=False)), 0.012, lighter(identity.hair_rgb, 0.22))


def _strand(identity: Identity) -> Colour:
    """Colour of a parting that shows on the hair."""
    hair = identity.hair_rgb
    return lighter(hair, 0.25) if luminance(hair) < 70 else darker(hair, 0.25)


def _mirrored(half_outline: list[list[float]]) -> list[list[float]]:
    """A closed outline from its picture-right half, listed from the centre line down."""
    return half_outline + [[-x, y] for x, y in reversed(half_outline) if x > 0]


def _fill(canvas: Canvas, geometry: FrameGeometry, outline: list[list[float]], colour: Colour) -> None:
    canvas.polygon(geometry.head.place(smooth_curve(np.array(outline))), colour)
