"""Anti-aliased flat illustration of one frame, from the shared geometry."""

from __future__ import annotations

import cv2
import numpy as np

from ..geometry import ARM, HAND_LENGTH, FrameGeometry, frame_geometry
from ..identity import Identity
from ..motion import Motion
from .background import background_image
from .body import draw_arm, draw_neck, draw_torso
from .canvas import SUPERSAMPLING, Canvas
from .face import draw_ears, draw_face
from .hair import draw_hair_behind, draw_hair_in_front

__all__ = ["draw_background", "draw_frame"]

SHUTTER = 0.5
"""Share of a frame's time for which the shutter is open."""
SUBFRAMES = 5
"""Instants of that time which are drawn."""
STILL = 0.25
"""Pixels of movement while the shutter is open that no one sees."""


def draw_background(identity: Identity, size: int = 128) -> np.ndarray:
    """The wall without the presenter, uint8 RGB [size, size, 3]."""
    return _reduced(_background(identity, size), size)


def draw_frame(identity: Identity, motion: Motion, t: int, size: int = 128) -> np.ndarray:
    """Frame `t` as uint8 RGB [size, size, 3], as a camera with a shutter open for half of the frame's time sees it."""
    moments = [t] if _is_still(motion, t, size) else t + SHUTTER * ((np.arange(SUBFRAMES) + 0.5) / SUBFRAMES - 0.5)
    exposures = [_reduced(_drawn(identity, frame_geometry(identity, motion, moment), size), size) for moment in moments]
    if len(exposures) == 1:
        return exposures[0]
    return np.round(np.mean(exposures, axis=0, dtype=np.float32)).astype(np.uint8)


def _is_still(motion: Motion, t: int, size: int) -> bool:
    """Whether nothing moves so far while the shutter is open that blurring could be seen."""
    begin, end = motion.moment(t - SHUTTER / 2), motion.moment(t + SHUTTER / 2)
    wrists = max(float(np.abs(end[f"{side}_wrist"] - begin[f"{side}_wrist"]).max()) for side in ("right", "left"))
    turned = max(float(np.abs(end[name] - begin[name]).max()) for name in ("right_hand", "left_hand", "mouth_opening"))
    return size * max(ARM * wrists, HAND_LENGTH * turned) < STILL


def _drawn(identity: Identity, geometry: FrameGeometry, size: int) -> np.ndarray:
    """The supersampled picture of one instant."""
    canvas = Canvas(_background(identity, size).copy())
    draw_hair_behind(canvas, identity, geometry)
    draw_neck(canvas, identity, geometry)
    draw_torso(canvas, identity, geometry)
    draw_ears(canvas, identity, geometry)
    draw_face(canvas, identity, geometry)
    draw_hair_in_front(canvas, identity, geometry)
    for arm, side in ((geometry.right_arm, -1), (geometry.left_arm, 1)):
        draw_arm(canvas, identity, arm, side)
    return canvas.pixels


def _background(identity: Identity, size: int) -> np.ndarray:
    return background_image(identity.background, identity.wall_rgb, size * SUPERSAMPLING)


def _reduced(pixels: np.ndarray, size: int) -> np.ndarray:
    """A supersampled picture in its final size."""
    return cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA)
