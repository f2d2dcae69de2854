"""Anti-aliased flat illustration of one frame, from the shared geometry."""

from __future__ import annotations

import cv2
import numpy as np

from ..geometry import frame_geometry
from ..identity import Identity
from ..motion import Motion
from .background import background_image
from .body import draw_arm, draw_neck, draw_torso
from .canvas import SUPERSAMPLING, Canvas
from .face import draw_ears, draw_face
from .hair import draw_hair_behind, draw_hair_in_front

__all__ = ["draw_background", "draw_frame"]


def draw_background(identity: Identity, size: int = 128) -> np.ndarray:
    """The wall without the presenter, uint8 RGB [size, size, 3]."""
    return _reduced(_background(identity, size), size)


def draw_frame(identity: Identity, motion: Motion, t: int, size: int = 128) -> np.ndarray:
    """Frame `t` as uint8 RGB [size, size, 3]."""
    geometry = frame_geometry(identity, motion, t)
    canvas = Canvas(_background(identity, size).copy())
    draw_hair_behind(canvas, identity, geometry)
    draw_neck(canvas, identity, geometry)
    draw_torso(canvas, identity, geometry)
    draw_ears(canvas, identity, geometry)
    draw_face(canvas, identity, geometry)
    draw_hair_in_front(canvas, identity, geometry)
    for arm, side in ((geometry.right_arm, -1), (geometry.left_arm, 1)):
        draw_arm(canvas, identity, arm, side)
    return _reduced(canvas.pixels, size)


def _background(identity: Identity, size: int) -> np.ndarray:
    return background_image(identity.background, identity.wall_rgb, size * SUPERSAMPLING)


def _reduced(pixels: np.ndarray, size: int) -> np.ndarray:
    """A supersampled picture in its final size."""
    return cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA)
