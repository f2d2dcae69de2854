"""Look into adapter files: `python -m apoavatar_core.checkpoints inspect FILE`, or `convert` a warm start; `document` writes
what is known of other people's files into README and docs.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from .adapter_file import FORMAT, read_adapter, write_adapter
from .documents import write_documents
from .safe_file import read_metadata, read_names
from .unianimate import is_unianimate, read_unianimate


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m apoavatar_core.checkpoints", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    look = commands.add_parser("inspect", help="say what an adapter file is and which models it fits")
    look.add_argument("file", type=Path)
    change = commands.add_parser("convert", help="write a MultiTalk or InfiniteTalk model as an ApoAvatar adapter")
    change.add_argument("source", type=Path)
    change.add_argument("target", type=Path)
    commands.add_parser("document", help="write README and docs anew from known_files.py")
    arguments = parser.parse_args()
    try:
        print(answer(arguments))
    except ValueError as error:
        sys.exit(str(error))


def answer(arguments: argparse.Namespace) -> str:
    if arguments.command == "inspect":
        return inspect(arguments.file)
    if arguments.command == "convert":
        return convert(arguments.source, arguments.target)
    return f"written: {', '.join(write_documents()) or 'nothing, all is as the table says'}"


def inspect(path: Path) -> str:
    """What a file holds, one fact a line."""
    if is_unianimate(read_names(path)):
        return inspect_unianimate(path)
    config, tensors = read_adapter(path)
    own = read_metadata(path).get("format") == FORMAT
    parameters = sum(tensor.numel() for tensor in tensors.values())
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    channels = config.backbone_in_channels or "any number of"
    return "\n".join(
        [
            f"{path.name}: {'an ApoAvatar adapter' if own else 'a MultiTalk or InfiniteTalk model, usable as a warm start'}",
            f"fits Wan models of width {config.backbone_dim}, {config.backbone_layers} blocks, {channels} input channels",
            f"as an adapter {parameters:,} parameters, {size / 2**20:,.1f} MiB",
            *(f"  {name}: {value}" for name, value in asdict(config).items()),
        ]
    )


def inspect_unianimate(path: Path) -> str:
    stacks, lora = read_unianimate(path)
    width = stacks["pose_adapter.tokens.weight"].shape[0]
    return "\n".join(
        [
            f"{path.name}: UniAnimate's pose model, usable as the pose_model of Apply ApoAvatar Adapter",
            f"fits adapters for Wan image-to-video models of width {width}",
            f"a LoRA of {len(lora)} tensors for the model" if lora else "without a LoRA for the model",
            "without an audio branch: an adapter is needed beside it",
        ]
    )


def convert(source: Path, target: Path) -> str:
    """Write any file that can be read as an adapter in this pack's own format, in the precision that it has.

    Raises:
        ValueError: the source is no such file, or the target exists.
    """
    if target.exists():
        raise ValueError(f"{target} exists already: choose another name.")
    config, tensors = read_adapter(source)
    write_adapter(target, config, tensors)
    return f"wrote {target}"


if __name__ == "__main__":
    main()
