"""Long films of the drawn presenter: whether the last window is as good as the first, and nothing shows between windows.

Voices, sentences and people are those of held-out clips, which the model's training never met.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from ..gestures import frame_loudness
from ..pose import PoseModel
from ..synthetic import Clip, Performance, draw_clip, draw_frame, frame_keypoints, synthesize_performance
from ..synthetic.speech import SAMPLE_RATE
from . import measures
from .long_measures import drift, drift_within, mouth_by_lag, seam_ratio, watch
from .regions import bare_wall, person_regions
from .target import Target

FPS, SIZE = 24, 128
WINDOW, MOTION = 49, 9
"""Frames of a window, and of the window before that it begins with: the shipped workflow's."""

TARGETS = {
    "mouth_r_change": Target("≥", -0.05),
    "mouth_lag_first": Target("|·| ≤", 1),
    "mouth_lag_last": Target("|·| ≤", 1),
    "duration_error_frames": Target("|·| ≤", 1),
    "drift_ratio_wall": Target("≤", 1.5),
    "drift_ratio_clothes": Target("≤", 1.5),
    "seam_ratio": Target("≤", 1.5),
}
LEAST_DRIFT = 1.0
"""ΔE that nobody sees: a drift is measured by that within a window, or by this where it is smaller."""


@dataclass(frozen=True)
class Scene:
    """What a film is made of: a person who was never trained on, in the first moment of a voice.

    portrait: uint8 [H, H, 3]. regions: "wall" and "clothes" in it, bool [H, H].
    """

    performance: Performance
    portrait: np.ndarray
    regions: dict[str, np.ndarray]

    @property
    def frames(self) -> int:
        return len(self.performance.motion)

    def drawn(self) -> Iterator[np.ndarray]:
        """The true film, frame by frame."""
        identity, motion = self.performance.identity, self.performance.motion
        return (draw_frame(identity, motion, t, len(self.portrait)) for t in range(len(motion)))


Make = Callable[[Scene, int], tuple[Path, list[int]]]
"""(scene, seed) → an MP4 that was made of its portrait, caption and voice, and the first frames of its windows but the first."""


def scene_of(seed: int, seconds: float, size: int = SIZE) -> Scene:
    """The held-out scene of this seed, in pictures of so many pixels a side."""
    performance = synthesize_performance(seed, round(seconds * FPS), FPS, held_out=True)
    clip = clip_of(performance, size, min(WINDOW, len(performance.motion)))
    return Scene(performance, clip.frames[0], {"wall": bare_wall(clip), "clothes": person_regions(clip, 0)["clothes"]})


def clip_of(performance: Performance, size: int, frames: int) -> Clip:
    """The clip of so many frames that a performance begins with."""
    identity, motion = performance.identity, performance.motion.window(0, frames)
    return Clip(
        frames=draw_clip(identity, motion, size),
        voice=performance.voice,
        start=performance.start,
        speech=performance.speech,
        sample_rate=SAMPLE_RATE,
        fps=FPS,
        keypoints=[frame_keypoints(identity, motion, t, size) for t in range(frames)],
        caption=performance.caption,
        identity=identity,
        motion=motion,
    )


def read(path: Path) -> Iterator[np.ndarray]:
    """A film's frames, uint8 [H, W, 3], one after the other."""
    import av

    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def stretches_of(seams: list[int], frames: int) -> list[slice]:
    """The frames that each window added; without those of windows that were cut short, unless there are no others."""
    stretches = [slice(start, stop) for start, stop in pairwise([0, *seams, frames])]
    return [stretch for stretch in stretches if stretch.stop - stretch.start >= WINDOW - MOTION] or stretches


def measure(scene: Scene, frames: Iterator[np.ndarray], network: PoseModel, seams: list[int]) -> dict:
    """All measures of one film.

    Args:
        frames: the film's.
        seams: the first frame of each window but the first.
    """
    seen = watch(network, frames, scene.regions)
    count = len(seen.openings)
    loudness = frame_loudness(scene.performance.speech, count, FPS)
    ends = {"first": slice(0, WINDOW), "last": slice(max(count - WINDOW, 0), count)}
    by_lag = {end: mouth_by_lag(seen.openings, loudness, stretch) for end, stretch in ends.items()}
    stretches = stretches_of(seams, count)
    return {
        "frames": count,
        "seams": len(seams),
        "duration_error_frames": count - scene.frames,
        "mouth_r": measures.in_time(mouth_by_lag(seen.openings, loudness, slice(0, count))),
        **{f"mouth_r_{end}": measures.in_time(found) for end, found in by_lag.items()},
        **{f"mouth_r_by_lag_{end}": list(found.values()) for end, found in by_lag.items()},
        **{f"drift_{name}": drift(colours, FPS) for name, colours in seen.colours.items()},
        **{f"drift_within_{name}": drift_within(colours, FPS, stretches) for name, colours in seen.colours.items()},
        "seam_ratio": seam_ratio(seen.changes, seams),
    }


def summarize(films: list[dict]) -> dict[str, float]:
    """The measures over several films: means, the lag of the mean correlation, and the worst seam and duration."""

    def mean(name: str) -> float:
        return float(np.mean([film[name] for film in films]))

    def lag(end: str) -> int:
        by_lag = np.mean([film[f"mouth_r_by_lag_{end}"] for film in films], axis=0)
        return measures.best_lag(dict(zip(measures.LAGS, by_lag.tolist())))

    return {
        "mouth_r": mean("mouth_r"),
        "mouth_r_first": mean("mouth_r_first"),
        "mouth_r_last": mean("mouth_r_last"),
        "mouth_r_change": mean("mouth_r_last") - mean("mouth_r_first"),
        "mouth_lag_first": lag("first"),
        "mouth_lag_last": lag("last"),
        "duration_error_frames": max((film["duration_error_frames"] for film in films), key=abs),
        **{
            f"drift_ratio_{name}": mean(f"drift_{name}") / max(mean(f"drift_within_{name}"), LEAST_DRIFT)
            for name in ("wall", "clothes")
        },
        "seam_ratio": max(film["seam_ratio"] for film in films),
    }


@dataclass
class Evaluation:
    """The films so far, and the drawn ones that they imitate: these say what the same measures find where nothing is wrong."""

    films: list[dict]
    drawn: list[dict]

    def add(self, seed: int, seconds: float, make: Make, network: PoseModel) -> tuple[Path, list[int]]:
        """Make and measure one more film; returns it and its seams."""
        scene = scene_of(seed, seconds)
        path, seams = make(scene, seed)
        about = {"seed": seed, "seconds": seconds, "caption": scene.performance.caption}
        self.films.append(about | measure(scene, read(path), network, seams))
        self.drawn.append(about | measure(scene, scene.drawn(), network, seams))
        return path, seams

    def report(self) -> dict:
        """The content of the JSON file."""
        truth = summarize(self.drawn) | {"films": self.drawn}
        found = summarize(self.films)
        verdicts = {name: target.is_met(found[name]) for name, target in TARGETS.items()}
        return {**found, "met": verdicts, "films": self.films, "truth": truth}


def table(report: dict) -> str:
    """The measures beside those of the drawn films and the targets, for people to read."""
    lines = [f"{'measure':22} {'film':>8} {'drawn':>8}  target"]
    for name in ("mouth_r", "mouth_r_first", "mouth_r_last", *TARGETS):
        line = f"{name:22} {report[name]:8.3f} {report['truth'][name]:8.3f}"
        if target := TARGETS.get(name):
            line += f"  {target}  {'met' if target.is_met(report[name]) else 'MISSED'}"
        lines.append(line)
    return "\n".join(lines)
