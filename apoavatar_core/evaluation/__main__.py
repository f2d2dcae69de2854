"""Measure a model on held-out clips: `python -m apoavatar_core.evaluation tiny --json result.json`."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch

from ..checkpoints import presets
from ..pose import load_keypoint_network
from ..synthetic import synthesize_clip
from . import tiny
from .generator import SamplingSettings, TinyGenerator


def positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise ValueError
    return value


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m apoavatar_core.evaluation", description=__doc__)
    parser.add_argument("model", choices=["tiny"], help="the model that ships with the pack")
    parser.add_argument("--clips", type=positive, default=20, help="held-out clips (default: %(default)s)")
    parser.add_argument("--steps", type=positive, help="denoising steps (default: the shipped workflow's)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measures here, again after every clip")
    parser.add_argument("--strips", type=Path, metavar="FOLDER", help="write a picture strip of every clip here")
    parser.add_argument(
        "--pose-model", type=Path, metavar="FILE", default=presets.TINY_POSE, help="the keypoint network that measures"
    )
    arguments = parser.parse_args()

    settings = SamplingSettings()
    if arguments.steps:
        settings = replace(settings, steps=arguments.steps)
    torch.set_flush_denormal(True)
    try:
        network = load_keypoint_network(arguments.pose_model)
    except ValueError as error:
        parser.error(str(error))
    generate = TinyGenerator(settings)
    evaluation = tiny.Evaluation([], [])
    for seed in range(arguments.clips):
        started = time.monotonic()
        clip = synthesize_clip(seed, held_out=True)
        pictures = evaluation.add(clip, seed, generate, network)
        if arguments.strips:
            write_strip(arguments.strips / f"clip_{seed:02d}.png", tiny.strip(clip, pictures))
        if arguments.json:
            tiny.write_report(arguments.json, evaluation.report())
        found = evaluation.generated[-1]
        print(
            f"clip {seed + 1}/{arguments.clips}: mouth r {found['mouth_r']:.2f} (lag {found['mouth_lag_frames']:+d}), "
            f"hands r {found['hand_r']:.2f}, pose error {found['pose_error']:.3f}, "
            f"open in silence {found['silence_opening']:.2f}, {time.monotonic() - started:.0f} s",
            flush=True,
        )
    print(tiny.table(evaluation.report()))


def write_strip(path: Path, picture) -> None:
    """Save uint8 [H, W, 3] as PNG."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


if __name__ == "__main__":
    main()
