"""How fast the holistic pose model is, beside the original MediaPipe: `python dev.py bench pose`.

Both look at the same frames, in turns, so that a ratio is one of a single round.
"""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from apoavatar_core.checkpoints.presets import MEDIAPIPE
from apoavatar_core.evaluation.target import Target
from apoavatar_core.pose import estimate
from apoavatar_core.pose.mediapipe import Holistic, load_networks
from apoavatar_core.pose.mediapipe.network import Network

from .report import Finding, machine, of_rounds, ratios, told

ROOT = Path(__file__).resolve().parents[1]
PRESENTER = ROOT / "workflows" / "assets" / "presenter.png"
ORIGINAL = ROOT / "benchmarks" / "mediapipe_original.py"

AS_FAST, MOSTLY_NETWORK = Target("≥", 1.0), Target("≥", 0.8)

FRAMES, ROUNDS = 24, 3

Pass = tuple[float, float]
"""Wall-clock and processor's seconds of one look at all frames."""


@dataclass(frozen=True)
class Passes:
    """What each round took, and the part of ours that the networks took."""

    ours: list[Pass]
    network_shares: list[float]
    original: list[Pass] | None


def run(film: Path | None, python: Path, path: Path | None) -> None:
    """Measure, print, and write the JSON."""
    frames = swaying_presenter() if film is None else frames_of(film)
    where = machine(torch.device("cpu"))
    findings = found(measure(frames, python), len(frames))
    about = f"{len(frames)} frames of {frames.shape[2]}×{frames.shape[1]}; {ROUNDS} rounds"
    told(where, about, findings, path, frames=list(frames.shape))


def swaying_presenter() -> np.ndarray:
    """The drawn presenter, moving to and fro by a few pixels: uint8 [T, 512, 512, 3]."""
    import cv2

    picture = cv2.cvtColor(cv2.imread(str(PRESENTER)), cv2.COLOR_BGR2RGB)
    shifts = np.round(6 * np.sin(np.arange(FRAMES) / 4)).astype(int)
    return np.stack([np.roll(picture, shift, axis=1) for shift in shifts])


def frames_of(film: Path) -> np.ndarray:
    """A film's first frames."""
    import av

    with av.open(str(film)) as container:
        decoded = zip(range(FRAMES), container.decode(video=0))
        return np.stack([frame.to_ndarray(format="rgb24") for _, frame in decoded])


def measure(frames: np.ndarray, python: Path) -> Passes:
    model = Holistic(load_networks(MEDIAPIPE))
    estimate(model, frames[:2])  # warming up
    ours, shares, originals = [], [], []
    with original(frames, python) as original_pass:
        for _ in range(ROUNDS):
            (wall, used), inside = own_pass(model, frames)
            ours.append((wall, used))
            shares.append(inside / wall)
            if original_pass:
                originals.append(original_pass())
    return Passes(ours, shares, originals or None)


def own_pass(model: Holistic, frames: np.ndarray) -> tuple[Pass, float]:
    """One look at all frames, and the seconds in which a network computes, in whichever thread."""
    inside, since, active, lock = 0.0, 0.0, 0, threading.Lock()

    def enter(*_: object) -> None:
        nonlocal since, active
        with lock:
            since = since if active else time.perf_counter()
            active += 1

    def leave(*_: object) -> None:
        nonlocal inside, active
        with lock:
            active -= 1
            inside += 0.0 if active else time.perf_counter() - since

    networks = [module for module in model.modules() if isinstance(module, Network)]
    hooks = [hook for one in networks for hook in (one.register_forward_pre_hook(enter), one.register_forward_hook(leave))]
    started, used = time.perf_counter(), time.process_time()
    estimate(model, frames)
    taken = time.perf_counter() - started, time.process_time() - used
    for hook in hooks:
        hook.remove()
    return taken, inside


@contextmanager
def original(frames: np.ndarray, python: Path) -> Iterator[Callable[[], Pass] | None]:
    """A function that has the original look at the frames once; None where the interpreter has no MediaPipe."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames.npy"
        np.save(path, frames)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        process = subprocess.Popen([str(python), str(ORIGINAL), str(path)], **pipes)

        def one_pass() -> Pass:
            process.stdin.write("\n")
            process.stdin.flush()
            wall, used = map(float, process.stdout.readline().split())
            return wall, used

        try:
            has_it = process.poll() is None and bool(one_pass())  # warming up
        except (ValueError, OSError):
            has_it = False
        try:
            yield one_pass if has_it else None
        finally:
            process.kill()
            process.communicate()


def found(passes: Passes, frames: int) -> list[Finding]:
    speed, beside = "frames a second", "MediaPipe's seconds / ours"
    walls, used = zip(*passes.ours)
    findings = [of_rounds("frames_per_second", speed, "ours", [frames / wall for wall in walls])]
    if passes.original is None:
        missing = "its interpreter has no mediapipe: --mediapipe PYTHON, see docs/pose.md"
        findings += [
            Finding("frames_per_second_original", speed, "MediaPipe", None, missing=missing),
            Finding("speed_ratio", beside, "by the clock", None, target=AS_FAST, missing=missing),
            Finding("processor_ratio", beside, "of processors", None, missing=missing),
        ]
    else:
        original_walls, original_used = zip(*passes.original)
        findings += [
            of_rounds("frames_per_second_original", speed, "MediaPipe", [frames / wall for wall in original_walls]),
            of_rounds("speed_ratio", beside, "by the clock", ratios(original_walls, walls), "", AS_FAST),
            of_rounds("processor_ratio", beside, "of processors", ratios(original_used, used)),
        ]
    share = of_rounds("network_share", "part of our time", "in which a network computes", passes.network_shares, "", MOSTLY_NETWORK)
    return [*findings, share]
