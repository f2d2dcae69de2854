"""A bank of synthetic clips on disk: drawn once, read as memory maps, so that training never waits for a pencil."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..files import whole_file, write_whole
from ..waveform import check_fps
from .voice import WholeVoice

BANK = "bank.json"
"""Says of a bank's clips what they have in common."""


@dataclass(frozen=True)
class ClipFormat:
    """What all clips of a source have in common: their size in pixels, number of frames, and frames per second."""

    width: int = 128
    height: int = 128
    frames: int = 49
    fps: float = 24.0

    def __post_init__(self) -> None:
        check_fps(self.fps)

    def __str__(self) -> str:
        return f"{self.frames} frames of {self.width}x{self.height} at {self.fps:g} fps"


@dataclass(frozen=True)
class StoredClip:
    """One clip, a piece of a film.

    frames: uint8 [T, H, W, 3] (memory map); voice: of the whole film, in which the clip begins with frame `first`;
    keypoints: OpenPose dicts, one a frame.
    """

    frames: np.ndarray
    voice: WholeVoice
    first: int
    keypoints: list[dict]
    caption: str


def _paths(folder: Path, seed: int) -> tuple[Path, Path, Path]:
    return folder / f"{seed:06d}.frames.npy", folder / f"{seed:06d}.voice.npy", folder / f"{seed:06d}.json"


def _draw(folder: Path, seed: int, frames: int, size: int, fps: float, held_out: bool) -> None:
    frames_path, voice_path, facts_path = _paths(folder, seed)
    if facts_path.exists():
        return
    from ..synthetic import synthesize_clip

    clip = synthesize_clip(seed, frames=frames, size=size, fps=fps, held_out=held_out)
    for path, array in ((frames_path, clip.frames), (voice_path, clip.voice)):
        with whole_file(path) as unfinished:
            np.save(unfinished, array)
    facts = {"caption": clip.caption, "first": round(clip.start * fps), "keypoints": clip.keypoints}
    # Last: its presence says that the clip is whole.
    write_whole(facts_path, json.dumps(facts))


def _end_with_parent() -> None:
    """Have this worker end when the process that started it does, however that ended."""

    def watch() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def draw_bank(
    folder: Path,
    clips: int,
    frames: int,
    size: int,
    workers: int,
    fps: float = 24.0,
    held_out: bool = False,
    first: int = 0,
) -> None:
    """Draw clips with the seeds first … first + clips − 1 into `folder`; those already there are kept. `held_out` ones
    show people and speak with voices that the others don't have.

    Raises:
        ValueError: they are of another format.
    """
    wanted = ClipFormat(size, size, frames, fps)
    if seeds_in(folder):
        drawn = read_format(folder)
        if drawn != wanted:
            raise ValueError(f"--out: {folder} holds clips of {drawn}, not {wanted}: draw those into another folder")
    write_whole(folder / BANK, json.dumps(asdict(wanted)))
    with ProcessPoolExecutor(workers, initializer=_end_with_parent) as pool:
        jobs = [pool.submit(_draw, folder, seed, frames, size, fps, held_out) for seed in range(first, first + clips)]
        for done, job in enumerate(jobs, 1):
            job.result()
            if done % 50 == 0 or done == clips:
                print(f"drawn {done}/{clips} clips", flush=True)


def read_format(folder: Path) -> ClipFormat:
    """What the clips of a bank have in common.

    Raises:
        ValueError: the bank does not say.
    """
    try:
        return ClipFormat(**json.loads((folder / BANK).read_text()))
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"{folder} does not say how its clips were drawn ({error}): draw them again") from None


def load_clip(folder: Path, seed: int) -> StoredClip:
    """The clip of `seed`, its frames as a memory map.

    Raises:
        ValueError: it was drawn before banks held whole voices.
    """
    _, voice_path, facts_path = _paths(folder, seed)
    facts = json.loads(facts_path.read_text())
    try:
        voice = WholeVoice(np.load(voice_path))
        return StoredClip(load_frames(folder, seed), voice, facts["first"], facts["keypoints"], facts["caption"])
    except (FileNotFoundError, KeyError):
        raise ValueError(f"{folder} holds no whole voice of clip {seed}: draw the clips again, into another folder") from None


def load_frames(folder: Path, seed: int) -> np.ndarray:
    """The pictures of the clip of `seed` alone: uint8 [T, H, W, 3], a memory map."""
    return np.load(_paths(folder, seed)[0], mmap_mode="r")


def load_keypoints(folder: Path, seed: int) -> list[dict]:
    """The poses of the clip of `seed` alone: OpenPose dicts, one a frame."""
    return json.loads(_paths(folder, seed)[2].read_text())["keypoints"]


def seeds_in(folder: Path) -> list[int]:
    """The seeds of all whole clips in the bank, in order."""
    return sorted(int(path.stem) for path in folder.glob("[0-9]" * 6 + ".json"))


class ClipBank:
    """The bank as `prepare` reads it: names of its clips, and each of them."""

    def __init__(self, folder: Path):
        self.folder, self.format = folder, read_format(folder)

    def names(self) -> list[str]:
        return [f"{seed:06d}" for seed in seeds_in(self.folder)]

    def load(self, name: str) -> StoredClip:
        return load_clip(self.folder, int(name))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="folder of the clip bank")
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--frames", type=int, default=49)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--fps", type=float, default=24.0)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--held-out", action="store_true", help="clips to measure on: nothing in them is in other banks")


def run(arguments: argparse.Namespace) -> None:
    """Draw as the parsed options say."""
    draw_bank(
        arguments.out,
        arguments.clips,
        arguments.frames,
        arguments.size,
        arguments.workers,
        arguments.fps,
        arguments.held_out,
    )
