"""Paired differences over seeds: their bootstrap interval, their p, Holm's correction, and how many seeds it takes to see one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.05
"""Chance of a false verdict that is allowed, over all comparisons together."""
POWER = 0.8
"""Chance of seeing a difference that is there."""
RESAMPLES = 10_000
QUANTILES = 1000
"""Of the deviation in `power_of`."""


@dataclass(frozen=True)
class Difference:
    """A mean paired difference over n seeds: its 95 % interval, its deviation over seeds, and p of Student's paired t,
    uncorrected.
    """

    mean: float
    low: float
    high: float
    deviation: float
    p: float
    seeds: int

    def within(self, worth: float, level: float) -> bool:
        """Whether Student's interval of 1 − level holds nothing as large as `worth`."""
        if self.seeds < 2:
            return False
        reach = stats.t.isf(level / 2, self.seeds - 1) * self.deviation / math.sqrt(self.seeds)
        return abs(self.mean) + reach < worth


def paired_difference(first: Sequence[float], second: Sequence[float]) -> Difference:
    """first − second, seed by seed; below two seeds nothing is known but the mean.

    Raises:
        ValueError: they are not pairs, or there is none.
    """
    if len(first) != len(second) or not len(first):
        raise ValueError(f"{len(first)} and {len(second)} values are no pairs: give as many of both, at least one")
    differences = np.subtract(first, second).astype(np.float64)
    mean, seeds = float(differences.mean()), len(differences)
    if seeds < 2:
        return Difference(mean, -math.inf, math.inf, math.nan, 1.0, seeds)
    low, high = bootstrap_interval(differences)
    deviation = float(differences.std(ddof=1))
    return Difference(mean, low, high, deviation, student_p(mean, deviation, seeds), seeds)


def bootstrap_interval(values: np.ndarray, resamples: int = RESAMPLES) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of the means of samples with replacement from values [n]; the same every time."""
    drawn = np.random.default_rng(0).integers(len(values), size=(resamples, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def student_p(mean: float, deviation: float, seeds: int) -> float:
    """p, two-sided, of a mean difference of no difference at all."""
    if deviation == 0:
        return float(mean == 0)
    return float(2 * stats.t.sf(abs(mean) / deviation * math.sqrt(seeds), seeds - 1))


def holm(p: Sequence[float]) -> list[float]:
    """p values corrected for their number (Holm 1979), in the order given: below `LEVEL` all together are false with that
    chance.
    """
    order = np.argsort(p, kind="stable")
    stepped = np.asarray(p, dtype=np.float64)[order] * (len(p) - np.arange(len(p)))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return corrected.tolist()


def power_of(difference: float, deviation: float, seeds: int, level: float) -> float:
    """Chance that a paired t test of a level finds a true difference, whose deviation over seeds is known from a pilot.

    The mean over the deviations that so many seeds may show: SciPy's noncentral t is NaN in places.
    """
    freedom, shift = seeds - 1, difference / deviation * math.sqrt(seeds)
    shown = np.sqrt(stats.chi2.ppf((np.arange(QUANTILES) + 0.5) / QUANTILES, freedom) / freedom)
    edges = stats.t.isf(level / 2, freedom) * shown
    return float((stats.norm.sf(edges - shift) + stats.norm.cdf(-edges - shift)).mean())


def seeds_needed(difference: float, deviation: float, comparisons: int, most: int = 1000) -> int:
    """The fewest seeds that see a true difference with chance `POWER`, each of the comparisons at `LEVEL` / comparisons: what
    Holm asks of the first of them. `most` where it takes as many or more.
    """
    if not deviation > 0:
        return 2
    enough = (seeds for seeds in range(2, most) if power_of(difference, deviation, seeds, LEVEL / comparisons) >= POWER)
    return next(enough, most)
