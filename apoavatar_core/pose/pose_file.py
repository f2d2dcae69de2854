"""Which pose model a file holds."""

from __future__ import annotations

import os
from pathlib import Path

from ..checkpoints.safe_file import read_metadata
from . import network_file
from .mediapipe import weights
from .mediapipe.holistic import Holistic
from .model import PoseModel


def load_pose_model(path: str | os.PathLike[str]) -> PoseModel:
    """Read any pose model of ours, on the CPU.

    Raises:
        ValueError: when the file is missing, broken, or no pose model.
    """
    path = Path(path)
    if read_metadata(path).get("format") == weights.FORMAT:
        return Holistic(weights.load_networks(path))
    return network_file.load_keypoint_network(path)
