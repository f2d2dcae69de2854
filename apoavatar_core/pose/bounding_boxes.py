"""ComfyUI's BOUNDING_BOX as the boxes of persons in frames."""

from __future__ import annotations

from typing import Any

import numpy as np

PERSON = "person"
"""The label of those that count where boxes have labels."""


def boxes_in(bounding_boxes: Any, frames: int, width: int, height: int) -> dict[int, np.ndarray]:
    """Read a BOUNDING_BOX.

    Args:
        bounding_boxes: dictionaries of `x`, `y`, `width` and `height` in pixels: one, a list for all frames, or a list of a
            list for each frame.
        frames: how many there are.
        width, height: of the pictures.

    Returns:
        Boxes [n, 4] in each frame, left, top, right and bottom in fractions of the picture; those for all frames at the
        first. Boxes outside of the picture, and of other things than persons, are left out.

    Raises:
        ValueError: when it is something else, or is for another number of frames.
    """
    lists = bounding_boxes if isinstance(bounding_boxes, list) else [bounding_boxes]
    if not all(isinstance(boxes, list) for boxes in lists):
        lists = [lists]
    if len(lists) not in (1, frames):
        raise ValueError(
            f"bboxes has boxes for {len(lists)} frames, and there are {frames}: connect the boxes of the same frames."
        )
    return {frame: _boxes(boxes, width, height) for frame, boxes in enumerate(lists)}


def _boxes(boxes: list, width: int, height: int) -> np.ndarray:
    try:
        sides = [
            (box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"])
            for box in boxes
            if box.get("label", PERSON) == PERSON
        ]
        read = np.array(sides, dtype=np.float64).reshape(-1, 4)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ValueError("bboxes is not a list of x, y, width and height: connect a BOUNDING_BOX output.") from None
    read = (read / (width, height, width, height)).clip(0, 1)
    return read[(read[:, :2] < read[:, 2:]).all(1)]
