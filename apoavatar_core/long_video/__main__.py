"""Unfinished films: `python -m apoavatar_core.long_video list ROOT` shows them, `remove ROOT NAME` removes one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .folder import Unfinished, remove, resumable


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m apoavatar_core.long_video", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    shown = commands.add_parser("list", help="show the unfinished films with their sizes")
    removed = commands.add_parser("remove", help="remove an unfinished film")
    for command in (shown, removed):
        command.add_argument("root", type=Path, help="the folder that holds them")
    removed.add_argument("name", help="the folder of the film, as the list shows it")
    arguments = parser.parse_args()
    try:
        print(answer(arguments))
    except ValueError as error:
        sys.exit(str(error))


def answer(arguments: argparse.Namespace) -> str:
    if arguments.command == "list":
        return "\n".join(map(line, resumable(arguments.root))) or f"{arguments.root} holds no unfinished film"
    remove(arguments.root, arguments.name)
    return f"removed {arguments.name}"


def line(film: Unfinished) -> str:
    settings = ", ".join(f"{name} {value}" for name, value in film.state.settings.items()) if film.state else ""
    return f"{film.path.name}: {film.described()}" + (f" ({settings})" if settings else "")


if __name__ == "__main__":
    main()
