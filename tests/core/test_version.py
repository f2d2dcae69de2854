"""An older ComfyUI is told so, before the pack asks it for anything that it may lack."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from apoavatar_core.comfyui import version

ROOT = Path(__file__).resolve().parents[2]
LOAD_THE_PACK = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("pack", {str(ROOT / "__init__.py")!r})
sys.modules["pack"] = pack = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pack)
"""
"""As ComfyUI does it."""


def load_in(folder: Path) -> str:
    """The last line of what Python says when the pack is loaded with nothing but `folder` beside it."""
    command = [sys.executable, "-c", LOAD_THE_PACK]
    result = subprocess.run(command, cwd=folder, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True)
    assert result.returncode
    return result.stderr.splitlines()[-1]


@pytest.mark.parametrize("older", ["0.3.64", "0.29.9"])
def test_an_older_comfyui_is_told_both_versions(tmp_path, older) -> None:
    (tmp_path / "comfyui_version.py").write_text(f'__version__ = "{older}"', encoding="utf-8")
    expected = f"ImportError: ApoAvatar needs ComfyUI {version.needed_version()} or newer and this is ComfyUI {older}: update ComfyUI."
    assert load_in(tmp_path) == expected


def test_a_comfyui_that_does_not_say_its_version_is_older(tmp_path) -> None:
    assert "this is ComfyUI 0: update ComfyUI." in load_in(tmp_path)


@pytest.mark.parametrize("newer", [version.needed_version(), "0.38.1", "1.0.0"])
def test_a_newer_comfyui_is_asked_for_its_parts(tmp_path, newer) -> None:
    (tmp_path / "comfyui_version.py").write_text(f'__version__ = "{newer}"', encoding="utf-8")
    assert load_in(tmp_path) == "ModuleNotFoundError: No module named 'folder_paths'"


def test_the_readme_names_the_needed_version() -> None:
    needed = version.needed_version().removesuffix(".0")
    assert f"({needed} or newer)" in (ROOT / "README.md").read_text(encoding="utf-8")
