"""OpenPose's JSON files: one that holds a list of frames, or a folder with a file for each frame."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .following import frames_of
from .keypoints import canvas_size


@dataclass(frozen=True)
class Size:
    """Width and height in pixels of the pictures that keypoints were found in; 0 where the file says it."""

    width: int = 0
    height: int = 0


def read_openpose(path: Path, size: Size = Size()) -> list[dict[str, Any] | None]:
    """POSE_KEYPOINT frames of a JSON file, or of all JSON files of a folder in the order of the numbers in their names.

    Args:
        path: the file or the folder.
        size: of the pictures; OpenPose's own files do not say it.

    Raises:
        ValueError: it is missing, holds no JSON, or no frames.
    """
    if path.is_dir():
        files = sorted(path.glob("*.json"), key=_natural)
        frames = [frame for file in files for frame in _frames_in(file)]
    elif path.is_file():
        frames = _frames_in(path)
    else:
        raise ValueError(f"There is no file or folder {path.name}: put it into ComfyUI's input folder and refresh.")
    if not frames:
        raise ValueError(f"{path.name} has no frames: choose a JSON file of OpenPose frames, or a folder with one for each frame.")
    return [_sized(frame, size) for frame in frames]


def _frames_in(file: Path) -> list[dict[str, Any] | None]:
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        raise ValueError(f"{file.name} cannot be read as JSON: choose a file that OpenPose, DWPose or SDPose wrote.") from None
    if content == []:
        return []
    if not (isinstance(content, dict) and "people" in content or isinstance(content, list)):
        raise ValueError(f"{file.name} holds no OpenPose frames with 'people' in them: choose a file of keypoints.")
    return frames_of(content)


def _sized(frame: dict[str, Any] | None, size: Size) -> dict[str, Any] | None:
    """The frame with its canvas, where it says none."""
    if not isinstance(frame, dict) or canvas_size(frame) is not None or not (size.width and size.height):
        return frame
    return {**frame, "canvas_width": size.width, "canvas_height": size.height}


def _natural(file: Path) -> list[tuple[int, int, str]]:
    """Sorts frame_2 before frame_10."""
    parts = re.split(r"(\d+)", file.stem)
    return [(0, int(part), "") if part.isdigit() and part.isascii() else (1, 0, part) for part in parts]
