"""A film in the place of the portrait: its body is kept and its lips follow another voice.

InfiniteTalk shows every window one picture of it, the one of the moment at which the window begins; other models take the
pictures of the whole window. Either way no more than a window of it is in memory.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from ..film import CLOSE, ROUNDING, Film


class SourceFilm:
    """A film, or a part of it, read by the frames of the film that is made from it.

    Args:
        file: its path, or an open file that can be sought.
        name: what it is called in messages.
        start: seconds at which the part begins.
        seconds: length of the part; 0 for all that follows.

    Raises:
        ValueError: it is no film, has no pictures or ends before `start`; likewise from `frames` when it cannot be decoded.
    """

    def __init__(self, file: Path | BinaryIO, name: str, start: float = 0.0, seconds: float = 0.0):
        self.film, self.start = Film(file, name), start
        self.latest = self.film.latest - start
        if self.latest < 0:
            self.close()
            raise ValueError(f"{name} ends before {start:g} s: let the part begin earlier.")
        if seconds:
            self.latest = min(self.latest, seconds - ROUNDING)

    def close(self) -> None:
        self.film.close()

    def length(self, fps: float) -> int:
        """Frames that it fills at this rate, at least one."""
        return math.floor(self.latest * fps + CLOSE) + 1

    def frames(self, first: int, count: int, fps: float, width: int, height: int) -> Tensor:
        """What it shows at frames first … first + count − 1 of a film of this rate: [count, height, width, 3], 0 … 1, cropped
        in the middle and scaled. Each picture counts from its own time on, also at a variable frame rate. After its end the
        last picture stays.
        """
        moments = np.minimum((first + np.arange(count)) / fps, self.latest)
        pictures, _ = self.film.pictures_at(self.start + moments, width, height)
        return torch.from_numpy(pictures).float() / 255
