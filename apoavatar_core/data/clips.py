"""A bank of synthetic clips on disk: drawn once, read as memory maps, so that training never waits for a pencil."""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..files import whole_file, write_whole


@dataclass(frozen=True)
class StoredClip:
    """One clip of the bank.

    frames: uint8 [T, H, W, 3] (memory map); speech: float32 [S] at 16 kHz; keypoints: OpenPose dicts, one a frame.
    """

    frames: np.ndarray
    speech: np.ndarray
    keypoints: list[dict]
    caption: str


def _paths(folder: Path, seed: int) -> tuple[Path, Path, Path]:
    return folder / f"{seed:06d}.frames.npy", folder / f"{seed:06d}.speech.npy", folder / f"{seed:06d}.json"


def _draw(folder: Path, seed: int, frames: int, size: int) -> None:
    frames_path, speech_path, facts_path = _paths(folder, seed)
    if facts_path.exists():
        return
    from ..synthetic import synthesize_clip

    clip = synthesize_clip(seed, frames=frames, size=size)
    for path, array in ((frames_path, clip.frames), (speech_path, clip.speech)):
        with whole_file(path) as unfinished:
            np.save(unfinished, array)
    # Last: its presence says that the clip is whole.
    write_whole(facts_path, json.dumps({"caption": clip.caption, "keypoints": clip.keypoints}))


def draw_bank(folder: Path, clips: int, frames: int, size: int, workers: int) -> None:
    """Draw clips with the seeds 0 … clips−1 into `folder`; those already there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers) as pool:
        jobs = [pool.submit(_draw, folder, seed, frames, size) for seed in range(clips)]
        for done, job in enumerate(jobs, 1):
            job.result()
            if done % 50 == 0 or done == clips:
                print(f"drawn {done}/{clips} clips", flush=True)


def load_clip(folder: Path, seed: int) -> StoredClip:
    """The clip of `seed`, its frames as a memory map."""
    _, speech_path, facts_path = _paths(folder, seed)
    facts = json.loads(facts_path.read_text())
    return StoredClip(load_frames(folder, seed), np.load(speech_path), facts["keypoints"], facts["caption"])


def load_frames(folder: Path, seed: int) -> np.ndarray:
    """The pictures of the clip of `seed` alone: uint8 [T, H, W, 3], a memory map."""
    return np.load(_paths(folder, seed)[0], mmap_mode="r")


def seeds_in(folder: Path) -> list[int]:
    """The seeds of all whole clips in the bank, in order."""
    return sorted(int(path.stem) for path in folder.glob("[0-9]" * 6 + ".json"))


class ClipBank:
    """The bank as `prepare` reads it: names of its clips, and each of them."""

    def __init__(self, folder: Path):
        self.folder = folder

    def names(self) -> list[str]:
        return [f"{seed:06d}" for seed in seeds_in(self.folder)]

    def load(self, name: str) -> StoredClip:
        return load_clip(self.folder, int(name))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="folder of the clip bank")
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--frames", type=int, default=49)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--workers", type=int, default=os.cpu_count())


def run(arguments: argparse.Namespace) -> None:
    """Draw as the parsed options say."""
    draw_bank(arguments.out, arguments.clips, arguments.frames, arguments.size, arguments.workers)
