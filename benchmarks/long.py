"""What a long film costs beside a short one of the same model: `python dev.py bench long`, and the gate of an hour."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from apoavatar_core.evaluation.target import Target

from . import gate
from .report import Finding, machine, told

ROOT = Path(__file__).resolve().parents[1]
MEBIBYTE = 2**20
SAME_RAM, SAME_PACE, LITTLE_ELSE = Target("≤", 1.10), Target("≤", 1.05), Target("≤", 0.05)
COMPARED = 5
"""Windows at either end whose median is taken: single ones waver with what else the machine does."""


@dataclass(frozen=True)
class Films:
    """What is made: seconds of a short and of a long film, pixels a side, denoising steps.

    Memory and pace do not depend on the number of steps, and what is done outside model and VAE is the larger share the fewer
    they are: two do, and the hour that the workflow's twelve would take is saved.
    """

    short: float = 20.0
    long: float = 120.0
    side: int = 128
    steps: int = 2


def run(path: Path | None, films: Films = Films()) -> None:
    """Measure, print, and write the JSON."""
    where = machine(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    about = f"films of {films.short:g} and {films.long:g} s, {films.side}×{films.side}, {films.steps} steps"
    print(f"making {about} ...", flush=True)
    findings = [*found(cost(films.short, films), cost(films.long, films)), *gate.measure(gate.MINUTES, gate.ROUNDS)]
    told(where, about, findings, path, films=asdict(films))


def cost(seconds: float, films: Films) -> dict:
    """What a film costs, made in a process of its own.

    Raises:
        RuntimeError: it could not be made.
    """
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.long_film", *map(str, (seconds, films.side, films.steps))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"The film of {seconds:g} s could not be made:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def found(short: dict, long: dict) -> list[Finding]:
    """What is read from the costs of both films, as `long_film.made` gives them."""
    # The first window has no earlier frames, and loads the models; the last may be cut short.
    full = [seconds for seconds, frames in zip(long["windows"], long["frames"]) if frames == max(long["frames"])][1:]
    first, last = statistics.median(full[:COMPARED]), statistics.median(full[-COMPARED:])
    ram = "peak RAM of the process"
    return [
        Finding("ram_short", ram, "short film", short["peak_ram"] / MEBIBYTE, "MiB"),
        Finding("ram_long", ram, "long film", long["peak_ram"] / MEBIBYTE, "MiB"),
        Finding("ram_ratio", ram, "long / short", long["peak_ram"] / short["peak_ram"], target=SAME_RAM),
        Finding("window_first", "seconds of a window", f"second to {1 + COMPARED}th, median", first, "s"),
        Finding("window_last", "seconds of a window", f"last {COMPARED}, median", last, "s"),
        Finding("window_ratio", "seconds of a window", "last / first", last / first, target=SAME_PACE),
        Finding("film_seconds", "time of the long film", "all of it", long["seconds"], "s"),
        Finding(
            "share_outside", "time of the long film", "share outside model and VAE", 1 - long["inside"] / long["seconds"],
            target=LITTLE_ELSE,
        ),
    ]
