"""`dev.py serve`: ComfyUI with this pack, in the browser, until Ctrl-C."""
from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys

from .environment import Layout
from .errors import ServerError
from .server import comfyui_command, comfyui_variables


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=8188, metavar="N", help="default: %(default)s")


def run(layout: Layout, arguments: argparse.Namespace) -> None:
    refuse_taken_port(arguments.port)
    # What a user makes here is kept, unlike a demo's: workflows, inputs and outputs stay in the base directory.
    for name in ("user", "input", "output"):
        (layout.base / name).mkdir(parents=True, exist_ok=True)
    options = ["--database-url", f"sqlite:///{layout.base / 'user' / 'comfyui.db'}"]
    options += ["--auto-launch"] if has_screen() else ["--disable-auto-launch"]
    command = comfyui_command(layout, arguments.port, options)
    process = subprocess.Popen(command, env=comfyui_variables(layout))
    print(f"ComfyUI is starting at http://127.0.0.1:{arguments.port} (Ctrl-C stops it)", flush=True)
    try:
        status = process.wait()
    except KeyboardInterrupt:
        status = process.wait()  # the terminal told ComfyUI as well, which is closing down
    finally:
        process.terminate()
        process.wait()
    if status > 0:
        raise ServerError(f"ComfyUI ended with exit status {status}.")


def refuse_taken_port(port: int) -> None:
    with socket.socket() as probe:
        if os.name != "nt":  # there this option would share the port instead of skipping a closing connection
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            raise ServerError(
                f"port {port} cannot be used (is another ComfyUI running?); choose one with --port."
            ) from None


def has_screen() -> bool:
    """Whether a browser window can open; without one, ComfyUI might open a text browser in the terminal."""
    return sys.platform in ("win32", "darwin") or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
