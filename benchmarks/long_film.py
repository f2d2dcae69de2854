"""One long film of the tiny preset in a process of its own, whose peak memory is then the film's:
`python -m benchmarks.long_film SECONDS SIDE STEPS` prints what it cost as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from apoavatar_core.comfyui.host import folders_for_now, nodes_with_pack
from apoavatar_core.evaluation.long import FPS
from apoavatar_core.evaluation.long_films import LongFilmMaker
from apoavatar_core.evaluation.presenter_films import SamplingSettings, TinyGenerator

ASSETS = Path(__file__).resolve().parents[1] / "workflows" / "assets"
CAPTION = "A cartoon person talks in front of a wall."


@dataclass
class Inside:
    """Seconds in which the model or the VAE computes, and when each call of the model began."""

    seconds: float = 0.0
    calls: list[float] = field(default_factory=list)
    since: float | None = None


@contextmanager
def watched(model: torch.nn.Module, vae_parts: list[torch.nn.Module]) -> Iterator[Inside]:
    """Watch the calls of a model and of a VAE's encoder and decoder."""
    inside = Inside()

    def enter(module: torch.nn.Module, *_: object) -> None:
        inside.since = time.perf_counter()
        if module is model:
            inside.calls.append(inside.since)

    def leave(*_: object) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        inside.seconds += time.perf_counter() - inside.since

    hooks = [hook for one in (model, *vae_parts) for hook in (one.register_forward_pre_hook(enter), one.register_forward_hook(leave))]
    try:
        yield inside
    finally:
        for hook in hooks:
            hook.remove()


def window_seconds(calls: list[float], windows: int, ended: float) -> list[float]:
    """From the first call of the model for one window to that for the next; the last lasts until the end.

    Raises:
        ValueError: the windows did not have as many calls each.
    """
    if not calls or len(calls) % windows:
        raise ValueError(f"{len(calls)} calls of the model for {windows} windows: they were not sampled alike.")
    return np.diff([*calls[:: len(calls) // windows], ended]).tolist()


def peak_ram() -> int:
    """The most bytes of memory that this process has held."""
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return psutil.Process().memory_info().peak_wset
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def audio_of(seconds: float) -> dict:
    """AUDIO: the voice of the workflows, over and over."""
    import librosa

    voice, rate = librosa.load(ASSETS / "speech.wav", sr=None)
    return {"waveform": torch.from_numpy(np.resize(voice, round(seconds * rate)))[None, None], "sample_rate": int(rate)}


def made(seconds: float, side: int, steps: int) -> dict:
    """What a film of so many seconds, and a picture of so many pixels a side, costs."""
    nodes_with_pack()
    portrait = np.array(Image.open(ASSETS / "presenter.png").convert("RGB").resize((side, side), Image.Resampling.BOX))
    tiny = TinyGenerator(SamplingSettings(steps=steps))
    vae = tiny.vae.first_stage_model
    with folders_for_now(), watched(tiny.model.model.diffusion_model, [vae.encoder, vae.decoder]) as inside:
        started = time.perf_counter()
        film = LongFilmMaker(tiny).film(portrait, CAPTION, audio_of(seconds), round(seconds * FPS), seed=0)
        ended = time.perf_counter()
    return {
        "peak_ram": peak_ram(),
        "seconds": ended - started,
        "inside": inside.seconds,
        "windows": window_seconds(inside.calls, len(film.windows), ended),
        "frames": [window.frames for window in film.windows],
    }


if __name__ == "__main__":
    print(json.dumps(made(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
