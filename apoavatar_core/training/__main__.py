"""Train an ApoAvatar model: `python -m apoavatar_core.training pose FILMS`, `… prepare FILMS …`, `… train CONFIG.yaml`; or the
whole tiny preset: `… tiny --run FOLDER`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from ..comfyui.host import use_comfyui
from ..grid import LATENTS_PER_TOKEN, PIXELS_PER_LATENT, fills_latent_frames

MULTIPLE = PIXELS_PER_LATENT * LATENTS_PER_TOKEN
"""Pixels per token."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="command", required=True)

    train = commands.add_parser("train", help="train as a YAML file says")
    train.add_argument("config", type=Path, metavar="CONFIG.yaml")
    train.add_argument("--resume", action="store_true", help="go on with the run that the folder holds")

    estimate = commands.add_parser("estimate", help="compute what a step of a run takes with Wan's encoders, without making it")
    estimate.add_argument("config", type=Path, metavar="CONFIG.yaml")
    add_clip_arguments(estimate, size=(832, 480), frames=81)
    estimate.add_argument("--processes", type=int, default=1, metavar="N", help="among which FSDP divides it (default: 1)")

    prepare = commands.add_parser("prepare", help="compute what training needs of every clip, once")
    prepare.add_argument("data", type=Path, metavar="FOLDER", help="synthetic clips, films with sidecars, or WebDataset shards")
    prepare.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the prepared clips go")
    prepare.add_argument("--share", type=int, nargs=2, default=(0, 1), metavar=("K", "N"), help="process K of N")
    add_clip_arguments(prepare)
    prepare.add_argument("--fps", type=float, metavar="N", help="frames per second that films are played at (default: 24)")
    for option, what in (
        ("--vae", "VAE (default of this and the next two: the tiny preset's)"),
        ("--text-encoder", "text encoder (umt5 for Wan)"),
        ("--audio-encoder", "audio encoder (wav2vec2)"),
        ("--clip-vision", "CLIP vision model (for Wan 2.1 image-to-video; default: none)"),
    ):
        prepare.add_argument(option, type=Path, metavar="FILE", help=what)

    pose = commands.add_parser("pose", help="find the pose of every film that has none, and write it beside the film")
    pose.add_argument("data", type=Path, metavar="FOLDER", help="films, clip.mp4, of one person each")

    tiny = commands.add_parser("tiny", help="make the whole tiny preset, from clips to files; goes on where it was stopped")
    tiny.add_argument("--run", type=Path, required=True, metavar="FOLDER", help="of the run")
    tiny.add_argument("--config", type=Path, metavar="RECIPE.yaml", help="of a new run (default: the tiny preset's)")
    tiny.add_argument("--page", action="store_true", help="only write the page about the run as it is")


def add_clip_arguments(
    parser: argparse.ArgumentParser, size: tuple[int, int] | None = None, frames: int | None = None
) -> None:
    """Without values here, drawn clips have their own and films `ClipFormat`'s."""
    parser.add_argument(
        "--frames", type=int, default=frames, metavar="N", help=f"of a piece of a film, 4n+1 (default: {frames or 49})"
    )
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=size,
        metavar=("WIDTH", "HEIGHT"),
        help=f"films are cropped and scaled to (default: {' '.join(map(str, size or (128, 128)))})",
    )


def check_clip_arguments(arguments: argparse.Namespace) -> None:
    if arguments.frames is not None and not fills_latent_frames(arguments.frames):
        raise ValueError(f"--frames is {arguments.frames}: use 4n+1, such as 49")
    if arguments.size is not None and any(side < MULTIPLE or side % MULTIPLE for side in arguments.size):
        raise ValueError(f"--size is {' '.join(map(str, arguments.size))}: use multiples of {MULTIPLE}")


def train(arguments: argparse.Namespace) -> None:
    from .config import read_config

    try:
        from .trainer import Trainer

        Trainer(read_config(arguments.config), arguments.resume).run()
    except ModuleNotFoundError as error:
        raise ValueError(f"training needs {error.name}: pip install accelerate tensorboard peft") from None


def prepare(arguments: argparse.Namespace) -> None:
    from ..data.encoders import load_encoders
    from ..data.prepare import prepare as prepare_clips
    from ..data.sources import source_in

    check_clip_arguments(arguments)
    width, height = arguments.size or (None, None)
    source = source_in(arguments.data, width=width, height=height, frames=arguments.frames, fps=arguments.fps)
    encoders = load_encoders(arguments.vae, arguments.text_encoder, arguments.audio_encoder, arguments.clip_vision)
    prepare_clips(source, arguments.out, encoders, tuple(arguments.share))


def pose(arguments: argparse.Namespace) -> None:
    from ..data.poses import write_poses

    write_poses(arguments.data)


def tiny(arguments: argparse.Namespace) -> None:
    from ..recipe.run import run

    run(arguments.run, arguments.config, arguments.page)


def estimate(arguments: argparse.Namespace) -> None:
    from .config import read_config
    from .estimate import estimate as estimate_run

    check_clip_arguments(arguments)
    if arguments.processes < 1:
        raise ValueError(f"--processes is {arguments.processes}: use 1 or more")
    print(estimate_run(read_config(arguments.config), *arguments.size, arguments.frames, arguments.processes).text())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m apoavatar_core.training", description=__doc__)
    add_arguments(parser)
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    try:
        use_comfyui()
        {"train": train, "estimate": estimate, "prepare": prepare, "pose": pose, "tiny": tiny}[arguments.command](arguments)
    except (ValueError, FloatingPointError, FileNotFoundError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
