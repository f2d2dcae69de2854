"""Which ComfyUI the pack needs. Imports nothing of it, so that an older one can be told so."""

from __future__ import annotations

import re
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


def needed_version() -> str:
    """As `requires-comfyui` of pyproject.toml has it for ComfyUI's registry, the one place where it is written."""
    # By a regular expression, for Python 3.10 has no tomllib.
    return re.search(r'^requires-comfyui = ">=([\d.]+)"$', PYPROJECT.read_text(encoding="utf-8"), re.MULTILINE)[1]


def running_version() -> str:
    """Of the ComfyUI that loads the pack; 0 where it is so old that it does not say."""
    try:
        from comfyui_version import __version__
    except ImportError:
        return "0"
    return __version__


def refuse_older_comfyui() -> None:
    """Refuse to be loaded by a ComfyUI that lacks what the nodes are made of.

    Raises:
        ImportError: with both versions.
    """
    running, needed = running_version(), needed_version()
    if _numbers(running) < _numbers(needed):
        raise ImportError(f"ApoAvatar needs ComfyUI {needed} or newer and this is ComfyUI {running}: update ComfyUI.")


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:3]]
