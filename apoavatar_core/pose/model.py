"""What every pose model does: consecutive pictures of one person in, keypoints with scores out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from .keypoints import PersonKeypoints


@dataclass(frozen=True, eq=False)
class Frames:
    """Consecutive frames of a film and where the person is in them.

    Attributes:
        pictures: uint8 [B, H, W, 3], RGB.
        boxes: float [B, 4], left, top, right and bottom of the part that holds the person, in fractions of the picture.
    """

    pictures: np.ndarray
    boxes: np.ndarray


class PoseModel(Protocol):
    """Finds one person in consecutive pictures, on the device where the model is.

    Crops, heatmaps, regression and memory from frame to frame are the model's own business.
    """

    detect_every: int
    """Frames from one look for persons to the next that it needs, to be given their boxes; 0: it wants the whole picture."""

    def people(self, batches: Iterable[Frames]) -> Iterator[list[PersonKeypoints]]:
        """Yields each batch's persons before it takes the next batch.

        Coordinates are fractions of the picture. Groups and frames in which nothing is found have confidence 0.
        """
        ...


def estimate(
    model: PoseModel,
    frames: np.ndarray | Tensor,
    *,
    boxes: np.ndarray | None = None,
    batch_size: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> list[PersonKeypoints]:
    """Find the person's keypoints in every frame.

    Args:
        model: the pose model.
        frames: [T, H, W, 3], uint8 from 0 to 255 or floating point from 0 to 1; any size and aspect ratio.
        boxes: [T, 4], where the person is (see `Frames.boxes`); the whole picture when None.
        batch_size: frames at a time; memory grows with it, not with T.
        progress: called with (frames done, T) after every batch; may raise to stop.

    Returns:
        T persons. Groups that the model does not find have confidence 0.

    Raises:
        ValueError: when `frames` or `boxes` has another shape.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape[1:3]:
        raise ValueError(f"Extracting a pose needs RGB frames [T, H, W, 3], not {list(frames.shape)}.")
    boxes = np.tile([0.0, 0.0, 1.0, 1.0], (len(frames), 1)) if boxes is None else np.asarray(boxes)
    if boxes.shape != (len(frames), 4) or not (boxes[:, :2] < boxes[:, 2:]).all():
        raise ValueError(
            f"Extracting a pose from {len(frames)} frames needs as many boxes of left, top, right and bottom, not "
            f"{list(boxes.shape)}."
        )
    people: list[PersonKeypoints] = []
    for found in model.people(_batches(frames, boxes, batch_size)):
        people += found
        if progress is not None:
            progress(len(people), len(frames))
    return people


def _batches(frames: np.ndarray | Tensor, boxes: np.ndarray, batch_size: int) -> Iterator[Frames]:
    """The frames in 8 bits, converted one batch at a time."""
    for start in range(0, len(frames), batch_size):
        part = slice(start, start + batch_size)
        yield Frames(in_8_bits(frames[part]), boxes[part])


def in_8_bits(pictures: np.ndarray | Tensor) -> np.ndarray:
    """Pictures of any kind that `estimate` takes -> uint8, 0 to 255."""
    if isinstance(pictures, Tensor):
        pictures = pictures.cpu().numpy()
    if pictures.dtype != np.uint8:
        pictures = (pictures.clip(0, 1) * 255).round().astype(np.uint8)
    return np.ascontiguousarray(pictures)
