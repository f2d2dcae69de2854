"""Measures of a film that was made window after window: what it must not show where one window ends and the next begins.

A film is read once, frame by frame (`watch`); what stays of a frame is a handful of numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise

import numpy as np

from ..pose import PoseModel, estimate, mouth_opening
from . import measures

AT_ONCE = 24
"""Frames that the keypoint network looks at together: of a film no more is ever held."""
ELSEWHERE = 95.0
"""Percentile of the changes within windows that a seam's change is measured by."""


@dataclass(frozen=True)
class Seen:
    """What is kept of a film of T frames.

    openings: of the mouth, [T]. changes: mean change of all pixels from the frame before, in grey levels, [T − 1].
    colours: of each region the median colour, [T, 3], as uint8-scaled RGB; a hand may pass in front of it.
    """

    openings: np.ndarray
    changes: np.ndarray
    colours: dict[str, np.ndarray]


def watch(network: PoseModel, frames: Iterable[np.ndarray], regions: Mapping[str, np.ndarray]) -> Seen:
    """Read a film: uint8 [H, W, 3] frames, one after the other; regions: bool [H, W] by their names."""
    openings, changes, before = [], [], None
    colours = {name: [] for name in regions}
    for pictures in batches(frames):
        openings += [mouth_opening(person) for person in estimate(network, np.stack(pictures))]
        for name, region in regions.items():
            colours[name] += [np.median(picture[region], axis=0) for picture in pictures]
        known = pictures if before is None else [before, *pictures]
        changes += [np.abs(later.astype(np.int16) - earlier).mean() for earlier, later in pairwise(known)]
        before = pictures[-1]
    return Seen(np.array(openings), np.array(changes), {name: np.array(values) for name, values in colours.items()})


def batches(frames: Iterable[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """AT_ONCE frames at a time."""
    left = iter(frames)
    return iter(lambda: list(islice(left, AT_ONCE)), [])


def seam_ratio(changes: np.ndarray, seams: Sequence[int]) -> float:
    """The largest change at a seam over the 95th percentile of those elsewhere; 0 for a film without seams.

    Args:
        changes: [T − 1], of frame t + 1 from frame t.
        seams: the first frame of each window but the first.
    """
    if not seams:
        return 0.0
    at = np.isin(np.arange(1, len(changes) + 1), seams)
    largest, usual = changes[at].max(), np.percentile(changes[~at], ELSEWHERE)
    return float(largest / usual) if usual > 0 else float("inf") if largest > 0 else 0.0


def drift(colours: np.ndarray, second: int) -> float:
    """ΔE between the mean colour of the first and of the last second of a stretch: colours [T, 3], so many frames a second.

    What is shorter than two seconds is halved.
    """
    part = max(min(second, len(colours) // 2), 1)
    return measures.colour_difference(colours[:part].mean(0), colours[-part:].mean(0))


def drift_within(colours: np.ndarray, second: int, stretches: Sequence[slice]) -> float:
    """Mean `drift` of the stretches of a film that came from one window each."""
    return float(np.mean([drift(colours[stretch], second) for stretch in stretches]))


def mouth_by_lag(openings: np.ndarray, loudness: np.ndarray, stretch: slice) -> dict[int, float]:
    """`lagged_correlations` of mouth and voice in one stretch of a film."""
    return measures.lagged_correlations(openings[stretch], loudness[stretch])


def seam_strips(frames: Iterable[np.ndarray], seams: Sequence[int], around: int = 3) -> Iterator[tuple[int, np.ndarray]]:
    """Each seam and so many frames on both sides of it side by side, [H, 2 · around · W, 3]; fewer at the film's end.

    A white line stands at the seam itself.
    """
    wanted, pictures = iter(sorted(seams)), {}
    seam = next(wanted, None)
    for t, picture in enumerate(chain(frames, [None])):
        while seam is not None and (t == seam + around or picture is None):
            shown = [pictures[k] for k in range(max(seam - around, 0), seam + around) if k in pictures]
            left = sum(k in pictures for k in range(max(seam - around, 0), seam))
            if picture is None and left == len(shown):
                return
            strip = np.concatenate(shown, axis=1)
            strip[:, left * shown[0].shape[1]] = 255
            yield seam, strip
            seam = next(wanted, None)
        if seam is None or picture is None:
            return
        pictures = {k: kept for k, kept in (pictures | {t: picture}).items() if k > t - 2 * around}
