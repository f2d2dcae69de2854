"""Hands that are none: what is left of a hand when a model smears it, for the keypoint network to learn that it sees nothing."""

from __future__ import annotations

import cv2
import numpy as np

from ..pose.keypoints import VISIBLE
from .hand_detail import MARGIN, hand_box

BLUR, STREAK, GONE = KINDS = ("blur", "streak", "gone")
"""Out of all focus, drawn out over more than its own length, and not there at all."""
COVERED = 0.5
"""Share of what was there from which on a point is lost."""


def smear(picture: np.ndarray, hand: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A picture without one of its hands, and what has gone: uint8 [H, W, 3] and [H, W], 0 as it was … 1 lost.

    Args:
        picture: uint8 [H, W, 3].
        hand: its points [21, 3]; nothing changes where the picture does not show it.
        rng: chooses how.
    """
    height, width = picture.shape[:2]
    box = hand_box(hand, height, width)
    if box is None:
        return picture, np.zeros((height, width), np.float32)
    rows, columns = box
    side = max(rows.stop - rows.start, columns.stop - columns.start)
    shown = hand[hand[:, 2] >= VISIBLE, :2] * (width, height)
    cover = np.zeros((height, width), np.float32)
    cv2.fillConvexPoly(cover, cv2.convexHull(shown.round().astype(np.int32)), 1.0)
    # As thick as fingers are round their points, and a soft edge, which does not give away that something was done.
    thick = 2 * round(1.5 * MARGIN * height) + 1
    cover = cv2.dilate(cover, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (thick, thick)))
    cover = cv2.GaussianBlur(cover, (0, 0), 1.0)
    lost = smeared(picture, cover, side, KINDS[int(rng.integers(len(KINDS)))], rng)
    mixed = picture + cover[..., None] * (lost.astype(np.float32) - picture)
    return mixed.round().clip(0, 255).astype(np.uint8), cover


def smeared(picture: np.ndarray, cover: np.ndarray, side: int, kind: str, rng: np.random.Generator) -> np.ndarray:
    """The whole picture as it looks where the hand, `side` pixels large, is lost: uint8 [H, W, 3]."""
    if kind == BLUR:
        return cv2.GaussianBlur(picture, (0, 0), side * rng.uniform(0.25, 0.5))
    if kind == STREAK:
        # Thicker than a line, so that no finger stays sharp across it.
        length, angle = side * rng.uniform(1.0, 2.0), rng.uniform(0, np.pi)
        reach = int(length / 2) + 1
        kernel, end = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32), length / 2 * np.array([np.cos(angle), np.sin(angle)])
        corners = [(reach + sign * end).round().astype(int).tolist() for sign in (-1, 1)]
        cv2.line(kernel, *corners, 1.0, thickness=max(2, side // 5))
        return cv2.filter2D(picture, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)
    return cv2.inpaint(picture, (cover > 0.1).astype(np.uint8), 3, cv2.INPAINT_TELEA)


def is_lost(points: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """Which of the points [N, 3] lie where the picture has gone: bool [N]."""
    height, width = cover.shape
    places = (points[:, :2] * (width, height)).astype(int)
    inside = ((places >= 0) & (places < (width, height))).all(1)
    x, y = np.where(inside[:, None], places, 0).T
    return inside & (cover[y, x] >= COVERED)
