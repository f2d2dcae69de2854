"""A film of any length, as what makes the values of any of its clips."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import node_helpers
import torch

from ..conditioning.clip import ClipShape
from ..conditioning.pose import Pictures, PoseFilm
from ..conditioning.voice import Voice
from .clip_values import ClipValues, Earlier, Portrait, pose_of, values_of
from .conditions import with_conditions

FILM = "apoavatar_film"
"""Where CONDITIONING keeps the `Film` that its clip is of. A key of its own, as ComfyUI's `control` and `hooks` are."""


class Portraits:
    """The portrait as clips of any length are shown it, encoded once for the longest of them."""

    def __init__(self, encode: Callable[[int], Portrait]):
        """encode: makes it for a clip of so many frames."""
        self._encode, self._longest, self._found = encode, 0, None

    def of(self, frames: int, start: int = 0) -> Portrait:
        """What a clip of so many frames is shown, wherever in the film it begins."""
        if frames > self._longest:
            self._found, self._longest = self._encode(frames), frames
        return self._found.cut(frames)

    def facts(self, frames: int) -> Any:
        """What clips of so many frames follow from."""
        return vars(self.of(frames))


@dataclass(frozen=True, eq=False)
class PortraitFilm:
    """A film in the portrait's place, whose body is kept while the lips follow the voice: each clip is shown the picture of the
    moment at which it begins, as in InfiniteTalk's video mode.

    Attributes:
        pictures: the film at the frame rate of the one that is made.
        encode: makes the portrait of a picture, IMAGE [1, H, W, 3], for a clip of so many frames.
    """

    pictures: Pictures
    encode: Callable[[int, torch.Tensor], Portrait]

    def of(self, frames: int, start: int = 0) -> Portrait:
        """What a clip of so many frames is shown that begins with frame `start`; after the film's end, its last picture."""
        number = min(start, len(self.pictures) - 1)
        return self.encode(frames, self.pictures.part(slice(number, number + 1)))

    def facts(self, frames: int) -> Any:
        """What clips follow from."""
        return vars(self.of(frames)), self.pictures


@dataclass(frozen=True, eq=False)
class Film:
    """All that a film is made from but its texts. What grows with its length is only referred to: voice, pose and gate are
    cut, drawn and encoded for each clip when that clip is made.

    Attributes:
        voice, pose: of the whole film.
        portrait: who speaks.
        width, height: of its pictures, in pixels.
        fps: video frames per second.
        window: frames of a clip, 4n + 1.
        start: the frame with which the clip of this CONDITIONING begins.
    """

    vae: Any
    voice: Voice
    pose: PoseFilm | None
    portrait: Portraits | PortraitFilm
    width: int
    height: int
    fps: float
    window: int
    start: int = 0

    def shape(self, start: int, frames: int) -> ClipShape:
        """Of the clip of so many frames (4n + 1) from frame `start` on."""
        return ClipShape(self.width, self.height, frames, self.fps, start)

    def clip(self, frames: int, earlier: Earlier = Earlier()) -> ClipValues:
        """What a clip of so many frames (4n + 1) is made from that goes on from what came before."""
        shape = self.shape(earlier.start, frames)
        pose = None if self.pose is None else pose_of(self.pose, shape)
        return values_of(shape, self.vae, self.voice, pose, self.portrait.of(frames, earlier.start), earlier)


def with_film(conditioning: list, film: Film, clip: ClipValues) -> list:
    """CONDITIONING with what is known of a clip and of the film that it belongs to."""
    return with_conditions(node_helpers.conditioning_set_values(conditioning, {**clip.values, FILM: film}), clip.tensors)


def film_in(conditions: Iterable[dict]) -> Film | None:
    """The film that these conditions, or CONDITIONING's extras, are of; None if they come from other nodes."""
    return next((condition[FILM] for condition in conditions if FILM in condition), None)
