"""How many steps fit into a budget: measured once, when a stage begins, and kept, so that a stopped run goes on as it was."""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from ..files import write_whole
from ..settings import Settings, build, changed
from ..training.log import Entry, read_log

REHEARSED = 8
"""Steps of each stage of a training that are made to see how long they take. The first ones take longer, for memory is asked
for and kernels are chosen in them; a median does not mind.
"""


class Steps(Protocol):
    steps: int


AnySteps = TypeVar("AnySteps", bound=Settings)
Config = TypeVar("Config", bound=Settings)


def settled(path: Path, kind: type[Config], settle: Callable[[], Config]) -> Config:
    """The settings that `path` keeps; when it is not there, what `settle` returns, kept from now on."""
    if not path.exists():
        write_whole(path, settle().model_dump_json(indent=1))
    return build(kind, json.loads(path.read_text(encoding="utf-8")))


def rehearsed(stages: Sequence[AnySteps]) -> tuple[AnySteps, ...]:
    """The first steps of every stage."""
    return tuple(changed(stage, steps=min(stage.steps, REHEARSED)) for stage in stages)


def fitted(
    stages: Sequence[AnySteps], minutes: float | None, rehearse: Callable[[tuple[AnySteps, ...], Path], Path], folder: Path
) -> tuple[AnySteps, ...]:
    """The stages with as many steps as fit into `minutes`, each in proportion, and no more than they have.

    rehearse: trains as the given stages say in a new folder, `folder`, and returns the file of its log.
    """
    if minutes is None:
        return tuple(stages)
    shutil.rmtree(folder, ignore_errors=True)
    short = rehearsed(stages)
    seconds = seconds_per_step(read_log(rehearse(short, folder)), short)
    shutil.rmtree(folder)
    whole = sum(stage.steps * each for stage, each in zip(stages, seconds))
    share = min(1.0, 60 * minutes / whole) if whole else 1.0
    return tuple(changed(stage, steps=max(1, int(stage.steps * share))) for stage in stages)


def seconds_per_step(log: Sequence[Entry], stages: Sequence[Steps]) -> list[float]:
    """The median time of a step in each stage of a training that logged every step; 0 where too few were made."""
    times = [entry["time"] for entry in log]
    found, first = [], 0
    for stage in stages:
        last = first + stage.steps
        durations = [times[step] - times[step - 1] for step in range(max(1, first), last)]
        found.append(statistics.median(durations or [0.0]))
        first = last
    return found
