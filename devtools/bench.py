"""`dev.py bench`: measure on this machine what the pack costs."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.sizes import SIZES

from .environment import Layout


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "benchmark",
        choices=["adapters", "pose", "gate", "long", "page"],
        help="adapters: beside plain Wan and ComfyUI's InfiniteTalk; pose: the holistic pose model beside MediaPipe; "
        "gate: of an hour, beside librosa's resampling of it; long: a film of two minutes beside one of 20 s, and the gate; "
        "page: how soon the gate's curve follows a dial (wants Chromium)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers here as well")
    parser.add_argument(
        "--size", choices=list(SIZES), help="adapters: of the models (default: true on an NVIDIA GPU, otherwise cpu)"
    )
    parser.add_argument("--film", type=Path, metavar="FILE", help="pose: of a person (default: the drawn presenter)")
    parser.add_argument(
        "--mediapipe", type=Path, default=Path(sys.executable), metavar="PYTHON",
        help="pose: an interpreter that has mediapipe==0.10.21 (it needs an older NumPy)",
    )


def refuse_folders(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Told at once, not after minutes of measuring."""
    if arguments.json is not None and arguments.json.is_dir():
        parser.error(f"--json: {arguments.json} is a folder")
    if arguments.film is not None and not arguments.film.is_file():
        parser.error(f"--film: {arguments.film} is not there")


def run(layout: Layout, arguments: argparse.Namespace) -> None:
    if arguments.benchmark == "pose":
        from benchmarks import pose

        pose.run(arguments.film, arguments.mediapipe, arguments.json)
        return
    if arguments.benchmark == "gate":
        from benchmarks import gate

        gate.run(arguments.json)
        return
    if arguments.benchmark == "long":
        from benchmarks import long

        long.run(arguments.json)
        return
    if arguments.benchmark == "page":
        from benchmarks import page

        page.run(layout, arguments.json)
        return
    from apoavatar_core.comfyui.host import nodes_with_pack

    nodes_with_pack()
    from benchmarks import adapters

    adapters.run(arguments.size, arguments.json)
