"""Keypoints from heatmaps: what models that draw them share, and the small network of the tiny preset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .heatmaps import decode_heatmaps
from .keypoints import GROUPS, PersonKeypoints
from .model import Frames


@dataclass(frozen=True)
class KeypointNetworkConfig:
    """Size of a `KeypointNetwork`.

    Attributes:
        input_size: side of the square input in pixels, a multiple of 16. Heatmaps have a quarter of it.
        channels: feature channels at 1/2, 1/4, 1/8 and 1/16 of the input, each a multiple of 8.
        keypoints: the keypoint groups it predicts, out of body, left_hand, right_hand and face.

    Raises:
        ValueError: when a value is outside those ranges.
    """

    input_size: int = 128
    channels: tuple[int, int, int, int] = (16, 48, 80, 112)
    keypoints: tuple[str, ...] = tuple(GROUPS)

    def __post_init__(self) -> None:
        if self.input_size <= 0 or self.input_size % 16:
            raise ValueError(f"A keypoint network's input_size must be a multiple of 16, not {self.input_size}.")
        if len(self.channels) != 4 or any(c <= 0 or c % 8 for c in self.channels):
            raise ValueError(f"A keypoint network needs four channel counts, multiples of 8, not {self.channels}.")
        if not self.keypoints or not set(self.keypoints) <= set(GROUPS):
            raise ValueError(f"A keypoint network's keypoints must be out of {', '.join(GROUPS)}.")

    @property
    def keypoint_count(self) -> int:
        """Heatmaps the network draws."""
        return sum(GROUPS[group] for group in self.keypoints)


class HeatmapModel:
    """A pose model that looks at pictures one by one and draws a heatmap per keypoint."""

    input_size: int
    """Side of the square input in pixels."""

    keypoints: tuple[str, ...]
    """The keypoint groups it predicts, in the order of its heatmaps."""

    detect_every = 0

    def heatmaps(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, S, S] with values 0 to 1, on the CPU -> heatmaps [B, K, h, w] with values 0 to 1, anywhere."""
        raise NotImplementedError

    def people(self, batches: Iterable[Frames]) -> Iterator[list[PersonKeypoints]]:
        """See `PoseModel.people`."""
        for batch in batches:
            yield self._people_in(batch)

    @torch.inference_mode()
    def _people_in(self, batch: Frames) -> list[PersonKeypoints]:
        views = [_inside(picture, box) for picture, box in zip(batch.pictures, batch.boxes)]
        squares, placements = zip(*(letterbox(_values(view), self.input_size) for view, _ in views))
        found = decode_heatmaps(self.heatmaps(torch.cat(squares)))
        people = []
        for points, placement, (_, (left, top, width, height)) in zip(found, placements, views):
            points = placement.to_picture(points) * torch.tensor([width, height, 1], device=points.device)
            points += torch.tensor([left, top, 0], device=points.device)
            people.append(_assemble(points.float().cpu().numpy(), self.keypoints))
        return people


class KeypointNetwork(HeatmapModel, nn.Module):
    """A U-Net that draws one heatmap per keypoint at a quarter of the input's resolution.

    The tiny preset's weights know only the synthetic speaker; `mediapipe/` knows real people.
    GroupNorm instead of BatchNorm, so that a single picture gives at inference what it gave in a training batch.
    `operations` supplies the layers: `torch.nn` to train, `comfy.ops.manual_cast` to run inside ComfyUI.
    """

    def __init__(self, config: KeypointNetworkConfig = KeypointNetworkConfig(), operations=nn) -> None:
        super().__init__()
        self.config = config
        half, quarter, eighth, sixteenth = config.channels
        self.to_half = _convolution(operations, 3, half, stride=2)
        self.to_quarter = _narrowing(operations, half, quarter)
        self.to_eighth = _narrowing(operations, quarter, eighth)
        self.to_sixteenth = _narrowing(operations, eighth, sixteenth)
        self.up_eighth = nn.Sequential(operations.Conv2d(sixteenth, eighth, 1), nn.Upsample(scale_factor=2))
        self.mix_eighth = _Residual(operations, eighth)
        self.up_quarter = nn.Sequential(operations.Conv2d(eighth, quarter, 1), nn.Upsample(scale_factor=2))
        self.mix_quarter = nn.Sequential(_Residual(operations, quarter), _convolution(operations, quarter, sixteenth))
        self.head = operations.Conv2d(sixteenth, config.keypoint_count, 1)
        # Heatmaps are almost everywhere empty; starting there saves the first hundred steps.
        nn.init.constant_(self.head.bias, -4.0)

    @property
    def input_size(self) -> int:
        """Side of the square input in pixels."""
        return self.config.input_size

    @property
    def keypoints(self) -> tuple[str, ...]:
        """The keypoint groups it predicts, in the order of its heatmaps."""
        return self.config.keypoints

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, S, S] with values 0 to 1 -> heatmap logits [B, K, S / 4, S / 4]."""
        quarter, eighth, sixteenth = self._narrowed(pictures)
        eighth = self.mix_eighth(eighth + self.up_eighth(sixteenth))
        return self.head(self.mix_quarter(quarter + self.up_quarter(eighth)))

    def features(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, S, S] with values 0 to 1 -> [B, c], what the narrowest layer sees on average."""
        return self._narrowed(pictures)[2].mean((2, 3))

    def _narrowed(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures -> features at 1/4, 1/8 and 1/16 of the input."""
        quarter = self.to_quarter(self.to_half(pictures * 2 - 1))
        eighth = self.to_eighth(quarter)
        return quarter, eighth, self.to_sixteenth(eighth)

    def heatmaps(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, S, S] with values 0 to 1 -> heatmaps [B, K, S / 4, S / 4] where the network is."""
        return torch.sigmoid(self(pictures.to(self.head.weight.device)))


class _Residual(nn.Module):
    """Two 3 x 3 convolutions around a skip connection, [B, c, h, w] -> the same."""

    def __init__(self, operations, channels: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(*(_convolution(operations, channels, channels) for _ in range(2)))

    def forward(self, features: Tensor) -> Tensor:
        return features + self.convolutions(features)


def _narrowing(operations, inputs: int, outputs: int) -> nn.Sequential:
    """Half the resolution, other channels."""
    return nn.Sequential(_convolution(operations, inputs, outputs, stride=2), _Residual(operations, outputs))


def _convolution(operations, inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3 x 3 convolution, GroupNorm in groups of 8 channels, SiLU."""
    return nn.Sequential(
        operations.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        operations.GroupNorm(outputs // 8, outputs),
        nn.SiLU(inplace=True),
    )


@dataclass(frozen=True)
class Letterbox:
    """Where a picture of any aspect ratio lies inside a network's square input, in fractions of that square."""

    left: float
    top: float
    width: float
    height: float

    def to_picture(self, points: Tensor) -> Tensor:
        """Points [..., 3] in fractions of the square -> fractions of the picture; confidence unchanged."""
        x, y, confidence = points.unbind(-1)
        return torch.stack([(x - self.left) / self.width, (y - self.top) / self.height, confidence], dim=-1)


def letterbox(pictures: Tensor, size: int) -> tuple[Tensor, Letterbox]:
    """Fit pictures into a black square without distorting them.

    Args:
        pictures: [B, 3, H, W], values 0 to 1.
        size: side of the square in pixels.

    Returns:
        The square [B, 3, size, size] and where the pictures lie in it.
    """
    height, width = pictures.shape[-2:]
    scale = size / max(height, width)
    new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
    if (new_height, new_width) != (height, width):
        pictures = F.interpolate(pictures, (new_height, new_width), mode="bilinear", antialias=True)
    left, top = (size - new_width) // 2, (size - new_height) // 2
    square = F.pad(pictures, (left, size - new_width - left, top, size - new_height - top))
    return square, Letterbox(left / size, top / size, new_width / size, new_height / size)


def _inside(picture: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """The part of a picture [H, W, 3] in a box, in whole pixels, and its left, top, width and height in fractions."""
    height, width = picture.shape[:2]
    left, top = (int(round(start * side)) for start, side in zip(box[:2].clip(0, 1), (width, height)))
    right, bottom = (int(round(end * side)) for end, side in zip(box[2:].clip(0, 1), (width, height)))
    left, top = min(left, width - 1), min(top, height - 1)
    part = picture[top : max(bottom, top + 1), left : max(right, left + 1)]
    return part, (left / width, top / height, part.shape[1] / width, part.shape[0] / height)


def _values(picture: np.ndarray) -> Tensor:
    """Uint8 [H, W, 3] -> float32 [1, 3, H, W] with values 0 to 1."""
    return torch.from_numpy(np.ascontiguousarray(picture)).float().div(255).permute(2, 0, 1)[None]


def _assemble(found: np.ndarray, groups: tuple[str, ...]) -> PersonKeypoints:
    """Keypoints [K, 3] of the predicted groups -> a whole person."""
    parts = dict(zip(groups, np.split(found, np.cumsum([GROUPS[group] for group in groups])[:-1])))
    return PersonKeypoints.from_points(
        np.concatenate([parts.get(group, np.zeros((count, 3), np.float32)) for group, count in GROUPS.items()])
    )
