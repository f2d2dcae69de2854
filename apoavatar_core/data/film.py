"""A film to learn from: its pictures, and all that is heard in it."""

from __future__ import annotations

import math
from functools import cached_property

import cv2
import numpy as np

from ..film import Film, middle
from .voice import WholeVoice

AT_ONCE = 60.0
"""Seconds of sound that are decoded together; an hour of stereo at 48 kHz would fill more than a gigabyte."""


class SpeakingFilm(Film):
    @staticmethod
    def sized(picture: np.ndarray, width: int, height: int) -> np.ndarray:
        """A picture [H, W, 3] cropped in the middle and scaled by OpenCV, as all prepared clips were."""
        return cv2.resize(middle(picture, width, height), (width, height), interpolation=cv2.INTER_AREA)

    @cached_property
    def voice(self) -> WholeVoice:
        """All that is heard from the start to the end of its pictures.

        Raises:
            ValueError: the film has no sound at all.
        """
        starts = [AT_ONCE * number for number in range(max(1, math.ceil(self.seconds / AT_ONCE)))]
        parts = [self.speech(start, min(AT_ONCE, self.seconds - start)) for start in starts]
        return WholeVoice(np.concatenate(parts, axis=1))
