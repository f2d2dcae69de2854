"""What the measures of many clips say together: a value, the drawn clips' own, an interval over clips, a verdict."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from . import measures
from .gate_bands import least_rise, obedience
from .named_colours import THINGS
from .styles import STYLES
from .target import Target

Columns = Mapping[str, np.ndarray]
"""By its name what was measured of each clip: [clips] or [clips, n]."""
Summary = Callable[[Columns, Columns], float]
"""(a model's, the drawn clips') → one number."""
RESAMPLES = 1000


def mean(name: str) -> Summary:
    return lambda found, drawn: nan_mean(found[name])


def share_of_drawn(name: str) -> Summary:
    return lambda found, drawn: ratio(nan_mean(found[name]), nan_mean(drawn[name]))


def quotient(name: str, by: str) -> Summary:
    return lambda found, drawn: ratio(nan_mean(found[name]), nan_mean(found[by]))


def change(first: str, last: str) -> Summary:
    return lambda found, drawn: nan_mean(found[last]) - nan_mean(found[first])


def ratio(value: float, whole: float) -> float:
    """NaN where the whole is nothing."""
    return value / whole if whole else math.nan


def nan_mean(values: np.ndarray) -> float:
    """Over the clips of which it is known; NaN where it is of none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


def lag(found: Columns, drawn: Columns) -> float:
    """That of the mean correlation, since a single clip of two seconds says little about it."""
    return measures.best_lag(dict(zip(measures.LAGS, found["mouth_r_by_lag"].mean(0).tolist())))


def opening_in_silence(found: Columns, drawn: Columns) -> float:
    """The ratio of the mean openings, so that a clip that hardly opens its mouth does not blow it up; clips whose
    mouth is not seen count as 1.
    """
    openings = np.stack([found[f"opening_{which}"] for which in ("silent", "loud", "shut")], axis=1)
    seen = openings[np.isfinite(openings).all(axis=1)]
    ratio = measures.opening_ratio(*seen.mean(axis=0).tolist()) if len(seen) else 1.0
    return (ratio * len(seen) + len(openings) - len(seen)) / len(openings)


def shut_against_open(found: Columns, drawn: Columns) -> float:
    bands = obedience(found["band_moved"], found["band_asked"])
    return ratio(float(bands[0]), float(bands[-1]))


def rise_over_bands(found: Columns, drawn: Columns) -> float:
    return least_rise(obedience(found["band_moved"], found["band_asked"]))


def rise_over_text_scales(found: Columns, drawn: Columns) -> float:
    known = np.isfinite(found["named_share"]).all(1)
    return least_rise(found["named_share"][known].mean(0)) if known.any() else math.nan


@dataclass(frozen=True)
class Measure:
    """title: for readers; of: all clips; digits: behind the point."""

    title: str
    of: Summary
    target: Target | None = None
    digits: int = 2


MEASURES = {
    "hands_hard": Measure(
        "frames in which both hands are seen, of those whose drawn frame shows both, hard", mean("hands_hard"), Target("≥", 0.97)
    ),
    "hands_pose_free": Measure("the same, pose-free", mean("hands_pose_free"), Target("≥", 0.95)),
    "hand_sharpness": Measure(
        "hand sharpness: gradient energy in the hand boxes against the drawn clip's, hard", share_of_drawn("hand_energy"),
        Target("≥", 0.7),
    ),
    "mouth_r": Measure("mouth opening against the voice's loudness, r", mean("mouth_r"), Target("≥", 0.88)),
    "mouth_lag_frames": Measure("its lag in frames", lag, Target("|·| ≤", 0), 0),
    "hand_r": Measure("hand speed against loudness, r, pose-free", mean("hand_r")),
    "hand_r_share": Measure("the same, as a share of the drawn clips' own", share_of_drawn("hand_r"), Target("≥", 0.85)),
    "quiet_motion": Measure(
        "hand speed in quiet moments, as a multiple of the drawn clips'", share_of_drawn("quiet_motion"), Target("≤", 1.5)
    ),
    "pose_error": Measure(
        "keypoints' distance from the pose, of the frame height, hard", mean("pose_error"), Target("≤", 0.01), 3
    ),
    "pose_error_without_pose": Measure("the same without a pose", mean("pose_error_without_pose"), digits=3),
    "refocused_shut": Measure("movement for what another's pose asks where the gate is shut, against open", shut_against_open),
    "refocused_rise": Measure(
        "its smallest rise over five bands of the gate, from shut to open", rise_over_bands, Target(">", 0)
    ),
    **{
        f"text_{thing}": Measure(f"without a portrait: {thing} of the named colour", mean(f"text_{thing}"), Target("≥", 0.9))
        for thing in THINGS
    },
    "text_scale_rise": Measure(
        "smallest rise of the named colours' share over text_scale 1, 2, 4", rise_over_text_scales, Target(">", 0), 3
    ),
    "silence_opening": Measure("mouth opening in silence against speech", opening_in_silence, Target("≤", 0.2)),
    "identity_delta_e": Measure(
        "colours of skin, hair and clothes against the portrait, ΔE, hard", mean("identity_delta_e"), Target("≤", 2.5), 1
    ),
    "flicker_ratio": Measure(
        "flicker of the bare wall, as a multiple of the VAE's own, hard", quotient("flicker", "flicker_vae"), Target("≤", 1.2)
    ),
    "windows_mouth_r": Measure(
        "four windows in a row: mouth r of the last against the first", change("windows_mouth_r_first", "windows_mouth_r_last"),
        Target("≥", -0.03),
    ),
    "windows_delta_e": Measure("colours of the last against the first, ΔE", mean("windows_delta_e"), Target("≤", 1.0), 1),
    "mouth_seen": Measure("frames in which the mouth is seen", mean("mouth_seen")),
    **{
        f"{style}_{name}": Measure(f"a portrait {whose}: {title}", mean(f"{style}_{name}"), digits=digits)
        for style, whose in zip(STYLES, ("as a flat vector face", "drawn in pencil"))
        for name, title, digits in (("mouth_r", "mouth r", 2), ("hands", "both hands seen", 2), ("delta_e", "colours, ΔE", 1))
    },
}  # fmt: skip
"""What is reported, in this order."""


def verdicts(generated: Sequence[Mapping], drawn: Sequence[Mapping]) -> dict[str, dict]:
    """For each of MEASURES its title, value, the drawn clips' value, target, whether it is met and its interval.

    generated, drawn: what `clip_measures` and `windows_in_row` found in each clip, in the same order.
    """
    found, true = columns(generated), columns(drawn)
    draws = np.random.default_rng(0).integers(len(generated), size=(RESAMPLES, len(generated)))
    samples = [({k: v[draw] for k, v in found.items()}, {k: v[draw] for k, v in true.items()}) for draw in draws]
    report = {}
    for name, measure in MEASURES.items():
        value = measure.of(found, true)
        report[name] = {
            "title": measure.title,
            "value": value,
            "drawn": measure.of(true, true),
            "target": str(measure.target) if measure.target else None,
            "met": measure.target.is_met(value) if measure.target else None,
            "interval": interval([measure.of(*sample) for sample in samples]),
        }
    return report


def columns(clips: Sequence[Mapping]) -> dict[str, np.ndarray]:
    """The clips' values by name; None, as a file has it, is NaN."""
    return {name: np.array([clip[name] for clip in clips], dtype=np.float64) for name in clips[0]}


def interval(values: Sequence[float]) -> list[float]:
    """The 2.5th and 97.5th percentile of what samples of the clips, with replacement, say; NaN where none says anything."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all of them unknown
        return np.nanpercentile(np.array(values, dtype=np.float64), (2.5, 97.5)).tolist()


def table(report: Mapping[str, Mapping]) -> str:
    """Values, intervals, the drawn clips' values and targets, for people to read at a terminal."""
    lines = [f"{'measure':24} {'generated':>9} {'95 % interval':>18} {'drawn':>9}  target"]
    for name, found in report.items():
        low, high = found["interval"]
        between = f"{number(low, 3)} … {number(high, 3)}"
        line = f"{name:24} {number(found['value'], 3):>9} {between:>18} {number(found['drawn'], 3):>9}"
        lines.append(line + (f"  {found['target']}  {verdict(found)}" if found["target"] else ""))
    return "\n".join(lines)


def verdict(found: Mapping) -> str:
    return "met" if found["met"] else "MISSED"


def number(value: float | None, digits: int) -> str:
    """With so many digits; a dash where it is unknown."""
    return f"{value:.{digits}f}" if value is not None and math.isfinite(value) else "–"
