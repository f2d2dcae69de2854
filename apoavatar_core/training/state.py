"""Training state on disk: whole files of plain data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..files import whole_file


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors, numbers, strings), all of it or nothing."""
    with whole_file(path) as unfinished:
        torch.save(state, unfinished)


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote; plain data only, never pickled code."""
    return torch.load(path, map_location="cpu", weights_only=True)
