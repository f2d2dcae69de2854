"""Four windows in a row, as Long Video strings them: whether the last speaks as the first does, and shows the same person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from ..gestures import frame_loudness
from ..pose import PoseModel
from . import measures
from .long import FPS, Scene, clip_of, read, scene_of
from .long_measures import mouth_by_lag, watch
from .regions import steady_regions

WINDOWS = 4


class LongFilms(Protocol):
    """`LongFilmMaker` is one."""

    def length_of(self, windows: int) -> tuple[int, int]:
        """Frames of a window, and of a film of so many."""

    def __call__(self, scene: Scene, seed: int) -> tuple[Path, list[int]]:
        """The film of a scene, and its seams."""


def measured(seed: int, size: int, make: LongFilms, network: PoseModel) -> tuple[dict[str, float], dict[str, float]]:
    """The measures of a film of the held-out scene of this seed, whose sides are `size` pixels, and of the drawn film."""
    window, frames = make.length_of(WINDOWS)
    scene = scene_of(seed, frames / FPS, size)
    drawn = clip_of(scene.performance, size, frames)
    regions = {name: where for name, where in steady_regions(drawn).items() if where.any()}
    path, _ = make(scene, seed)
    return tuple(measure(scene, film, regions, window, network) for film in (read(path), drawn.frames))


def measure(
    scene: Scene, film: Iterable[np.ndarray], regions: Mapping[str, np.ndarray], window: int, network: PoseModel
) -> dict[str, float]:
    """Of a film's frames, uint8 [H, W, 3] each.

    regions: where the drawn film shows skin, hair and clothes throughout, bool [H, W]. window: frames of one.
    """
    seen = watch(network, film, regions)
    loudness = frame_loudness(scene.performance.speech, len(seen.openings), FPS)
    first, last = slice(0, window), slice(len(seen.openings) - window, None)
    ends = {"first": first, "last": last}
    mouths = {
        f"windows_mouth_r_{end}": measures.in_time(mouth_by_lag(seen.openings, loudness, part)) for end, part in ends.items()
    }
    changes = [measures.colour_difference(track[first].mean(0), track[last].mean(0)) for track in seen.colours.values()]
    return mouths | {"windows_delta_e": float(np.mean(changes)) if changes else float("nan")}
