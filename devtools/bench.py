"""`dev.py bench`: measure on this machine what the pack costs."""
from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.sizes import SIZES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("benchmark", choices=["adapters"], help="adapters: beside plain Wan and ComfyUI's InfiniteTalk")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers here as well")
    parser.add_argument("--size", choices=list(SIZES), help="of the models (default: true on an NVIDIA GPU, otherwise cpu)")


def refuse_folders(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Told at once, not after minutes of measuring."""
    if arguments.json is not None and arguments.json.is_dir():
        parser.error(f"--json: {arguments.json} is a folder")


def run(arguments: argparse.Namespace) -> None:
    from apoavatar_core.comfyui.host import nodes_with_pack

    nodes_with_pack()
    from benchmarks import adapters

    adapters.run(arguments.size, arguments.json)
