"""`python -m apoavatar_core.tiny vae`: train the VAE, measure one, or write the preset's."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...checkpoints.presets import TINY_VAE
from ...comfyui import trainable
from ...data.clips import seeds_in
from ...settings import read_settings
from .config import VAETrainingConfig
from .export import export_run
from .measure import measure
from .training import train

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "tiny_vae.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clips", type=Path, help="folder of the clip bank to learn from")
    parser.add_argument("--held-out", type=Path, help="bank of other clips to measure on (`clips --held-out`)")
    parser.add_argument("--run", type=Path, help="folder for the state and the contact sheets")
    parser.add_argument("--config", type=Path, default=CONFIG, help="YAML of a VAETrainingConfig")
    parser.add_argument("--measure", type=Path, metavar="FILE", help="measure this VAE on --held-out and stop")
    parser.add_argument("--export", type=Path, nargs="?", const=TINY_VAE, metavar="FILE",
                        help="write the run's VAE to a file (default: into the presets) and stop")


def run(arguments: argparse.Namespace) -> None:
    """Do as the parsed options say.

    Raises:
        ValueError: an option is missing, the configuration is wrong, or there is nothing to measure or to export.
    """
    if arguments.measure:
        held_out = _bank(arguments, "held_out")
        picture = arguments.measure.with_suffix(".png")
        print(measure(trainable.load_vae(arguments.measure), held_out, seeds_in(held_out), picture))
        print(f"hands enlarged: {picture}")
        return
    config = read_settings(VAETrainingConfig, arguments.config)
    clips = _bank(arguments, "clips")
    if arguments.run is None:
        raise ValueError("--run is missing: name a folder for the run's state")
    if arguments.export:
        export_run(config, clips, arguments.run, arguments.export)
        return
    print(config, flush=True)
    train(config, clips, _bank(arguments, "held_out"), arguments.run)


def _bank(arguments: argparse.Namespace, option: str) -> Path:
    """The folder that an option names.

    Raises:
        ValueError: it is not given, or holds no clips.
    """
    folder, name = getattr(arguments, option), f"--{option.replace('_', '-')}"
    if folder is None:
        raise ValueError(f"{name} is missing: draw clips with `python -m apoavatar_core.tiny clips`, name their folder")
    if not seeds_in(folder):
        raise ValueError(f"{name}: {folder} holds no clips: draw some with `python -m apoavatar_core.tiny clips`")
    return folder
