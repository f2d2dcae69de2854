"""What the gate of an hour costs beside the resampling of its samples alone: `python dev.py bench gate`.

Both are counted in the processor's seconds of one thread, so that other programs on the machine hardly change them.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

from apoavatar_core.evaluation.target import Target
from apoavatar_core.hearing import heard_voice
from apoavatar_core.refocusing import RefocusingConfig, frames_of, gate_of

from .measuring import Call, in_rounds
from .report import Finding, machine, of_rounds, ratios, told

VOICE = Path(__file__).resolve().parents[1] / "workflows" / "assets" / "speech.wav"
RATE, FPS, MINUTES, ROUNDS = 44_100, 24.0, 60, 3
QUICK = Target("≤", 5.0)

GATE, NOBODY, RESAMPLING = "the gate of an hour", "the same where nobody speaks", "librosa's resampling of the hour to 16 kHz"


def run(path: Path | None) -> None:
    """Measure, print, and write the JSON."""
    where = machine(torch.device("cpu")) | {"threads": 1}
    findings = measure(MINUTES, ROUNDS)
    told(where, f"{MINUTES} minutes of {RATE} Hz stereo; {ROUNDS} rounds", findings, path, minutes=MINUTES)


def measure(minutes: float, rounds: int) -> list[Finding]:
    """Seconds for so many minutes, which are those of the titles where they are 60."""
    import librosa

    voice = stereo(spoken(minutes))
    hiss = stereo(np.random.default_rng(0).standard_normal(voice.shape[1], dtype=np.float32) * np.float32(0.01))
    contestants = {
        GATE: lambda: gate(voice),
        NOBODY: lambda: gate(hiss),
        RESAMPLING: lambda: librosa.resample(voice.numpy(), orig_sr=RATE, target_sr=16_000, res_type="soxr_hq"),
    }
    gate(voice[:, :RATE])  # loading what it needs
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        taken = in_rounds({name: lambda call=call: processor_seconds(call) for name, call in contestants.items()}, rounds)
    finally:
        torch.set_num_threads(threads)
    return found(taken)


def found(taken: dict[str, list[float]]) -> list[Finding]:
    group, beside = "processor's seconds", f"beside {RESAMPLING}"
    return [
        of_rounds("gate_seconds", group, GATE, taken[GATE], "s", QUICK),
        of_rounds("gate_seconds_nobody", group, NOBODY, taken[NOBODY], "s"),
        of_rounds("resampling_seconds", group, RESAMPLING, taken[RESAMPLING], "s"),
        of_rounds("gate_ratio", beside, GATE, ratios(taken[GATE], taken[RESAMPLING])),
        of_rounds("gate_ratio_nobody", beside, NOBODY, ratios(taken[NOBODY], taken[RESAMPLING])),
    ]


def gate(sound: torch.Tensor) -> None:
    voice = heard_voice(sound, RATE)
    gate_of(voice, frames_of(voice, FPS), FPS, RefocusingConfig())


def processor_seconds(call: Call) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


def spoken(minutes: float) -> np.ndarray:
    """The voice of the workflows, over and over: float32 [S] at RATE."""
    import librosa

    voice, _ = librosa.load(VOICE, sr=RATE)
    return np.resize(voice, round(minutes * 60 * RATE))


def stereo(sound: np.ndarray) -> torch.Tensor:
    """The sound and, softer, itself."""
    return torch.from_numpy(np.stack([sound, np.float32(0.8) * sound]))
