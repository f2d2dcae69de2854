"""A folder of filmed clips with sidecars: `clip.mp4` with its sound, `clip.txt` the caption, and, where the pose is known,
`clip.pose.json`, a list of OpenPose frames, one for each frame of the film.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from ..waveform import SAMPLE_RATE
from .clips import StoredClip

SUFFIX = ".mp4"
SIDECARS = CAPTION, POSE = ".txt", ".pose.json"
NOBODY = {"people": [], "canvas_width": 1, "canvas_height": 1}


@dataclass(frozen=True)
class VideoFolder:
    """The films of a folder, each cut into as many pieces of `frames` frames as it holds, at `fps` and in one size."""

    folder: Path
    frames: int
    width: int
    height: int
    fps: float

    def names(self) -> list[str]:
        """`<film>_<piece>` of every piece. A film that cannot be opened counts as one, so that loading it says why."""
        return [
            f"{path.stem}_{piece:04d}"
            for path in sorted(self.folder.glob(f"*{SUFFIX}"))
            for piece in range(max(1, self._pieces(path)))
        ]

    def _pieces(self, path: Path) -> int:
        try:
            with av.open(str(path)) as container:
                return int((container.duration or 0) / av.time_base * self.fps / self.frames)
        except (av.error.FFmpegError, OSError):
            return 1

    def load(self, name: str) -> StoredClip:
        """One piece.

        Raises:
            ValueError: what about the film or its sidecars is unusable.
        """
        stem, piece = name.rsplit("_", 1)
        path = self.folder / f"{stem}{SUFFIX}"
        start = int(piece) * self.frames
        try:
            frames, sources = read_pictures(path, start, self.frames, self.fps, self.width, self.height)
            speech = read_speech(path, start / self.fps, self.frames / self.fps)
        except (av.error.FFmpegError, OSError, IndexError) as error:
            raise ValueError(f"{path.name} cannot be decoded ({error})") from None
        return StoredClip(frames, speech, read_pose(path, sources), read_caption(path))


def read_pictures(
    path: Path, start: int, count: int, fps: float, width: int, height: int
) -> tuple[np.ndarray, list[int]]:
    """Frames start … start + count − 1 of a film played at `fps`: uint8 [count, height, width, 3], cropped in the middle
    and scaled; and the number of the film's own frame that each of them is.

    Raises:
        ValueError: the film is shorter.
    """
    pictures, sources, earlier = [], [], None
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for number, frame in enumerate(container.decode(stream)):
            # Each wanted moment shows the last frame that began before it.
            while earlier is not None and len(pictures) < count and (start + len(pictures)) / fps < frame.time - 1e-6:
                pictures.append(fit(earlier[1].to_ndarray(format="rgb24"), width, height))
                sources.append(earlier[0])
            if len(pictures) == count:
                return np.stack(pictures), sources
            earlier = (number, frame)
    if earlier is not None and len(pictures) == count - 1:
        pictures.append(fit(earlier[1].to_ndarray(format="rgb24"), width, height))
        sources.append(earlier[0])
    if len(pictures) < count:
        raise ValueError(f"{path.name} has no {count} frames from {start / fps:.2f} s on")
    return np.stack(pictures), sources


def fit(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Crop [H, W, 3] in the middle to the wanted aspect, then scale."""
    scale = max(width / picture.shape[1], height / picture.shape[0])
    w, h = min(picture.shape[1], round(width / scale)), min(picture.shape[0], round(height / scale))
    x, y = (picture.shape[1] - w) // 2, (picture.shape[0] - h) // 2
    return cv2.resize(picture[y : y + h, x : x + w], (width, height), interpolation=cv2.INTER_AREA)


def read_speech(path: Path, start: float, seconds: float) -> np.ndarray:
    """Mono float32 at 16 kHz; silence after the film's sound ends.

    Raises:
        ValueError: the film has no sound.
    """
    with av.open(str(path)) as container:
        if not container.streams.audio:
            raise ValueError(f"{path.name} has no sound")
        resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
        pieces = [
            piece.to_ndarray().reshape(-1)
            for frame in (*container.decode(audio=0), None)
            for piece in resampler.resample(frame)
        ]
    sound = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    first, length = round(start * SAMPLE_RATE), round(seconds * SAMPLE_RATE)
    heard = sound[first : first + length]
    return np.pad(heard, (0, length - len(heard))).astype(np.float32)


def read_caption(path: Path) -> str:
    caption = path.with_suffix(CAPTION)
    if not caption.is_file():
        raise ValueError(f"{path.name} has no caption: write what it shows into {caption.name}")
    return caption.read_text(encoding="utf-8").strip()


def read_pose(path: Path, sources: list[int]) -> list[dict]:
    """The OpenPose frames of these frames of the film; nobody in any when the film has no pose file."""
    file = path.with_suffix(POSE)
    if not file.is_file():
        return [NOBODY] * len(sources)
    try:
        frames = json.loads(file.read_text(encoding="utf-8"))
        return [frames[number] for number in sources]
    except (ValueError, IndexError, TypeError, KeyError) as error:
        raise ValueError(f"{file.name} is no list with an OpenPose frame for every frame of the film ({error})") from None
