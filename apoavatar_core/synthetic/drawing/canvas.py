"""Filled shapes and strokes in frame fractions on an oversized RGB image."""

from __future__ import annotations

import cv2
import numpy as np

from ..identity import Colour

SUPERSAMPLING = 4
"""Drawn pixels per final pixel along each axis."""

_SHIFT = 4
_SUBPIXELS = 1 << _SHIFT


class Canvas:
    """Draws on `pixels`, uint8 RGB [P, P, 3]; all lengths are frame fractions."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels
        self.scale = pixels.shape[0]

    def polygon(self, points: np.ndarray, colour: Colour) -> None:
        """Filled polygon of points [N, 2]."""
        cv2.fillPoly(self.pixels, [self._fixed(points)], colour, shift=_SHIFT)

    def line(self, points: np.ndarray, width: float, colour: Colour, *, closed: bool = False) -> None:
        """Stroke of constant width with round ends through points [N, 2]."""
        thickness = max(1, round(width * self.scale))
        cv2.polylines(
            self.pixels, [self._fixed(points)], closed, colour, thickness, cv2.LINE_8, shift=_SHIFT
        )

    def disc(self, centre: np.ndarray, radius: float, colour: Colour) -> None:
        """Filled circle around centre [2]."""
        self.ellipse(centre, (radius, radius), colour)

    def ellipse(
        self, centre: np.ndarray, radii: tuple[float, float], colour: Colour, *, tilt: float = 0.0
    ) -> None:
        """Filled ellipse around centre [2]; tilt in radians, clockwise on the picture."""
        x, y = self._fixed(centre)
        axes = tuple(round(radius * self.scale * _SUBPIXELS) for radius in radii)
        cv2.ellipse(
            self.pixels, (int(x), int(y)), axes, float(np.degrees(tilt)), 0, 360, colour, -1,
            cv2.LINE_8, _SHIFT,
        )

    def limb(self, points: np.ndarray, radii: tuple[float, ...], colour: Colour) -> None:
        """Tapered tube through points [N, 2] with one radius per point and round ends."""
        for start, end, start_radius, end_radius in zip(points, points[1:], radii, radii[1:], strict=False):
            along = end - start
            length = float(np.hypot(*along))
            if length > 1e-6:
                normal = np.array([-along[1], along[0]]) / length
                sides = (start_radius * normal, end_radius * normal)
                self.polygon(np.stack([start + sides[0], end + sides[1], end - sides[1], start - sides[0]]), colour)
        for point, radius in zip(points, radii, strict=True):
            self.disc(point, radius, colour)

    def _fixed(self, points: np.ndarray) -> np.ndarray:
        """Frame fractions to OpenCV's fixed-point pixel coordinates."""
        return np.rint((points * self.scale - 0.5) * _SUBPIXELS).astype(np.int32)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Colour at `share` of the way from the first to the second."""
    return tuple(round(a + (b - a) * share) for a, b in zip(first, second, strict=True))


def darker(colour: Colour, share: float) -> Colour:
    """The colour mixed with a warm near-black."""
    return mix(colour, (34, 16, 34), share)


def lighter(colour: Colour, share: float) -> Colour:
    """The colour mixed with white."""
    return mix(colour, (255, 255, 255), share)


def luminance(colour: Colour) -> float:
    """Perceived brightness in [0, 255]."""
    red, green, blue = colour
    return 0.299 * red + 0.587 * green + 0.114 * blue


def smooth_curve(points: np.ndarray, *, closed: bool = True, steps: int = 6) -> np.ndarray:
    """Catmull-Rom curve through points [N, 2], `steps` points per segment."""
    points = np.asarray(points, dtype=np.float64)
    if closed:
        before, after, last = np.roll(points, 1, 0), np.roll(points, -1, 0), np.roll(points, -2, 0)
        start = points
    else:
        padded = np.concatenate([points[:1], points, points[-1:]])
        before, start, after, last = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    share = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    before, start, after, last = (p[:, None, :] for p in (before, start, after, last))
    curve = 0.5 * (
        2 * start
        + (after - before) * share
        + (2 * before - 5 * start + 4 * after - last) * share**2
        + (3 * start - before - 3 * after + last) * share**3
    )
    return curve.reshape(-1, 2)
