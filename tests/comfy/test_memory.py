"""Repeating load, sample and unload must not take more and more memory."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = Path(__file__).with_name("memory_rounds.py")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="memory that was freed cannot be told from memory in use")
def test_load_sample_unload_leaves_nothing_behind(comfyui_folder) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(ROUNDS)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # the model is too small for more
    result = subprocess.run(command, cwd=ROOT, env=one_thread, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
