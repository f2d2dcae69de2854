"""The sound of a whole film, of which clips are pieces: what is loud is judged by all of it, as at inference."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cached_property
from typing import Any

import numpy as np

from ..hearing import HeardVoice, heard_voice
from ..refocusing import RefocusingConfig, gate_of
from ..waveform import SAMPLE_RATE


class WholeVoice:
    """Everything that is heard in a film. What is made of it is kept, for all clips of the film share it.

    Args:
        sound: float32 [V] or [C, V] at 16 kHz.
    """

    def __init__(self, sound: np.ndarray):
        self.sound = sound
        self._made: dict[Hashable, Any] = {}

    @cached_property
    def heard(self) -> HeardVoice:
        """What encoder and gate hear of it."""
        return heard_voice(self.sound, SAMPLE_RATE)

    @property
    def samples(self) -> np.ndarray:
        """float32 [V] at 16 kHz."""
        return self.heard.samples

    @property
    def seconds(self) -> float:
        return self.sound.shape[-1] / SAMPLE_RATE

    def once(self, what: Hashable, make: Callable[[np.ndarray], Any]) -> Any:
        """What `make` makes of the samples; made at the first call with this name."""
        if what not in self._made:
            self._made[what] = make(self.samples)
        return self._made[what]

    def piece(self, first: int, frames: int, fps: float) -> np.ndarray:
        """The samples of the video frames first … first + frames − 1; silence past the end."""
        begin, count = round(first / fps * SAMPLE_RATE), round(frames / fps * SAMPLE_RATE)
        heard = self.samples[begin : begin + count]
        return np.pad(heard, (0, count - len(heard)))

    def dropout(self, first: int, frames: int, fps: float, config: RefocusingConfig) -> np.ndarray:
        """p_t of the video frames first … first + frames − 1, [frames]: the percentiles of Eq. 3 are the whole voice's."""
        whole = max(round(self.seconds * fps), first + frames)
        gate = self.once(("gate", whole, fps, config), lambda _: gate_of(self.heard, whole, fps, config))
        return gate.dropout[first : first + frames]
