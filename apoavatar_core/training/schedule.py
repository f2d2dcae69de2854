"""Which stage a step of a run belongs to, and how fast it learns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, TypeVar

from .config import Stage


class Steps(Protocol):
    steps: int


AnyStage = TypeVar("AnyStage", bound=Steps)


def stage_at(stages: Sequence[AnyStage], step: int) -> tuple[AnyStage, int]:
    """The stage of a step of the run, and the step's number within it.

    Raises:
        IndexError: the run is over by then.
    """
    for stage in stages:
        if step < stage.steps:
            return stage, step
        step -= stage.steps
    raise IndexError("the run is over")


def positions_at(stages: Sequence[Stage], step: int) -> range:
    """The positions of the run that a step learns from, after those of all steps before it.

    Raises:
        IndexError: the run is over by then.
    """
    first = 0
    for stage in stages:
        if step < stage.steps:
            return range(first + step * stage.batch, first + (step + 1) * stage.batch)
        first += stage.steps * stage.batch
        step -= stage.steps
    raise IndexError("the run is over")


def half_cosine(first: float, last: float, progress: float) -> float:
    """From `first` at progress 0 to `last` at 1."""
    return last + 0.5 * (first - last) * (1 + math.cos(math.pi * progress))


def warm_up(step: int, steps: int) -> float:
    """Share of the learning rate: grows evenly over the first `steps` and is 1 from the last of them on."""
    return min(1.0, (step + 1) / max(steps, 1))


def learning_rate(stage: Stage, step: int) -> float:
    """Of the stage's own step number `step`: a warm-up to half a cosine."""
    cosine = half_cosine(stage.learning_rate, stage.final_learning_rate, step / stage.steps)
    return cosine * warm_up(step, stage.warmup)
