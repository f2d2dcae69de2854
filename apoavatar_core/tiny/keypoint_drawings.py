"""What the keypoint network learns from: drawn presenters in random poses, varied as cameras and autoencoders vary them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..pose.keypoints import GROUPS, VISIBLE, PersonKeypoints, from_frame
from ..synthetic import draw_frame, frame_keypoints, sample_identity
from .keypoint_reconstructions import Reconstructions
from .random_motion import random_motion
from .smears import is_lost, smear

_DRAWING = 1
"""Sets the seeds of drawings apart from those of a run's steps."""
RECONSTRUCTED = 0.3
"""Share of what is shown that a VAE has decoded, where there is one."""
SMEARED = 0.2
"""Share of what is shown in which a hand is smeared; in every other of them both are."""


class Drawings:
    """Numbered drawings, each from a seed of its own, of which every batch shows some new ones and others again; decoded ones
    in the place of some, and some with smears in the place of hands.

    Which drawings a batch shows, and what they are, follows from the batch's number: a run that goes on sees what it would
    have seen.
    """

    def __init__(
        self, groups: Sequence[str], size: int, batch_size: int, new_share: float, pool_size: int, seed: int,
        reconstructions: Reconstructions | None = None,
    ) -> None:  # fmt: skip
        """groups: of keypoints; size: of the pictures; new_share: share of each batch that is newly drawn; pool_size:
        how many of the last drawings the rest is taken from; reconstructions: of this size.
        """
        self._reconstructions = reconstructions
        self._size, self._batch_size, self._pool_size, self._seed = size, batch_size, pool_size, seed
        self._new = round(new_share * batch_size)
        rows = np.cumsum([0, *GROUPS.values()])
        starts = dict(zip(GROUPS, rows))
        self._rows = np.concatenate([starts[group] + np.arange(GROUPS[group]) for group in groups])
        self._drawn = lru_cache(maxsize=pool_size + batch_size)(self._draw)

    def batch(self, number: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Batch `number` of the run, from 0: pictures [B, 3, S, S] with values 0 to 1 and their points [B, K, 3]. `rng`
        chooses what is shown again.
        """
        drawings = [with_smears(*self._shown(chosen, rng), rng) for chosen in self._chosen(number, rng)]
        pictures, points = (torch.from_numpy(np.stack(part)) for part in zip(*drawings))
        points = points[:, self._rows]
        points[..., 2] = (points[..., 2] >= VISIBLE).float()
        return pictures.permute(0, 3, 1, 2).float() / 255, points

    def _chosen(self, number: int, rng: np.random.Generator) -> list[int]:
        """The numbers of a batch's drawings. The first batch is all new."""
        if number == 0:
            return list(range(self._batch_size))
        first = self._batch_size + (number - 1) * self._new
        again = rng.integers(max(0, first - self._pool_size), first, size=self._batch_size - self._new)
        return [*range(first, first + self._new), *again.tolist()]

    def _shown(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Drawing `number`, or any decoded picture in its place: uint8 [S, S, 3] and all its points [130, 3]."""
        decoded = self._reconstructions
        if decoded is None or rng.random() >= RECONSTRUCTED:
            return self._drawn(number)
        chosen = int(rng.integers(len(decoded)))
        return decoded.pictures[chosen], decoded.points[chosen]

    def _draw(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        picture, person = draw_example(np.random.default_rng((self._seed, _DRAWING, number)), self._size)
        return picture, person.points


def with_smears(picture: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Now and then without a hand, or without both: uint8 [S, S, 3] and all its points [130, 3].

    A wrist of the body stays: an arm shows where it ends.
    """
    if rng.random() >= SMEARED:
        return picture, points
    person = PersonKeypoints.from_points(points)
    hands = [("left_hand", "right_hand"), ("left_hand",), ("right_hand",), ("left_hand", "right_hand")][int(rng.integers(4))]
    lost = np.zeros(len(points), bool)
    for name in hands:
        picture, cover = smear(picture, getattr(person, name), rng)
        lost |= is_lost(points, cover)
    lost[: GROUPS["body"]] = False
    return picture, np.where(lost[:, None], points * np.array((1, 1, 0), points.dtype), points)


def draw_example(rng: np.random.Generator, size: int) -> tuple[np.ndarray, PersonKeypoints]:
    """One drawn frame of a random training identity, uint8 [size, size, 3], and its keypoints.

    Mouth, face and hands take independent random positions instead of following speech, so that the network learns to
    look rather than to expect one from the other.
    """
    identity = sample_identity(rng)
    motion = random_motion(rng)
    return draw_frame(identity, motion, 0, size), from_frame(frame_keypoints(identity, motion, 0, size))


def augment(pictures: Tensor, points: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Vary framing, sharpness and colours, so that the network reads what a VAE decodes as well as drawings.

    Args:
        pictures: [B, 3, S, S], values 0 to 1.
        points: [B, K, 3], fractions and confidence.
        rng: source of all randomness.

    Returns:
        Both, varied, in the same layout.
    """
    batch, _, size, _ = pictures.shape

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, (batch, *shape)).astype(np.float32))

    # p' = zoom * (p - 1/2) + 1/2 + shift; half of the frames stay as drawn, the way most clips come.
    moved = torch.from_numpy(rng.random(batch) < 0.5)
    zoom = torch.where(moved, uniform(0.6, 1.15), 1.0)
    shift = torch.where(moved[:, None], uniform(-0.08, 0.08, 2), 0.0)
    theta = torch.zeros(batch, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 / zoom
    theta[:, :, 2] = -2 * shift / zoom[:, None]
    grid = F.affine_grid(theta, list(pictures.shape), align_corners=False)
    edge = "zeros" if rng.random() < 0.5 else "border"
    pictures = F.grid_sample(pictures, grid, padding_mode=edge, align_corners=False)
    xy = zoom[:, None, None] * (points[..., :2] - 0.5) + 0.5 + shift[:, None]
    points = torch.cat([xy, points[..., 2:]], dim=-1)

    varied = []
    for picture in pictures:
        if rng.random() < 0.5:
            smaller = round(size / rng.uniform(1.2, 2.5))
            blurred = F.interpolate(picture[None], (smaller, smaller), mode="bilinear", antialias=True)
            picture = F.interpolate(blurred, (size, size), mode="bicubic" if rng.random() < 0.5 else "bilinear")[0]
        if rng.random() < 0.25:
            picture = _compress(picture, quality=int(rng.integers(15, 80)))
        varied.append(picture)
    pictures = torch.stack(varied)

    middle = pictures.mean((2, 3), keepdim=True)
    pictures = middle + uniform(0.75, 1.2, 3, 1, 1) * (pictures - middle)
    pictures = pictures * uniform(0.85, 1.15, 3, 1, 1) + uniform(-0.08, 0.08, 1, 1, 1)
    noise = torch.from_numpy(rng.standard_normal(pictures.shape, dtype=np.float32))
    return (pictures + uniform(0, 0.04, 1, 1, 1) * noise).clamp(0, 1), points


def _compress(picture: Tensor, quality: int) -> Tensor:
    """JPEG-compress and decode one picture [3, S, S] with values 0 to 1; `quality` from 1 to 100."""
    import cv2

    pixels = (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return torch.from_numpy(cv2.imdecode(encoded, cv2.IMREAD_COLOR)).permute(2, 0, 1).float() / 255
