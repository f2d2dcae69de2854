"""The frames of a native VIDEO by time, a part at a time."""

from __future__ import annotations

from dataclasses import dataclass

import av
import numpy as np
import torch
from comfy_api.latest import Input, InputImpl

from ..conditioning.pose import Pictures


def pictures_at(video: Input.Video, fps: float, name: str) -> Pictures:
    """A film of `fps` frames a second: the picture of the VIDEO that is nearest to each time t / fps, for as many as fit into it.
    Each picture counts from its own time on, also in films of variable frame rate. name: the input that it comes from.

    Raises:
        ValueError: it has no pictures.
    """
    file = _file_of(video)
    begins = _uniform(video) if file is None else file.begins
    if len(begins) == 0:
        raise ValueError(f"{name} is a video without pictures: load another one.")
    usual = 1 / float(video.get_frame_rate())
    times = np.arange(max(1, round((begins[-1] + usual) * fps))) / fps
    shown = np.searchsorted((begins[:-1] + begins[1:]) / 2, times, side="left")
    if file is not None:
        return Pictures(shown, file.read, video.get_stream_source())
    images = video.get_components().images
    return Pictures(shown, lambda numbers: images[torch.from_numpy(numbers)], images)


def _uniform(video: Input.Video) -> np.ndarray:
    """When the pictures of a VIDEO in memory begin, in seconds."""
    components = video.get_components()
    return np.arange(len(components.images)) / float(components.frame_rate)


@dataclass(frozen=True, eq=False)
class _File:
    """A VIDEO in a file.

    Attributes:
        stamps: int [N], when its pictures begin, in units of `unit` seconds, rising.
    """

    video: InputImpl.VideoFromFile
    stamps: np.ndarray
    unit: float

    @property
    def begins(self) -> np.ndarray:
        """In seconds, from 0 on."""
        return (self.stamps - self.stamps[0]) * self.unit

    def read(self, numbers: np.ndarray) -> torch.Tensor:
        """The pictures of these numbers, never falling: only what lies between the first and the last is decoded."""
        first, last = self.stamps[numbers[0]], self.stamps[numbers[-1]]
        # Half a unit on, for ComfyUI rounds times down to units.
        begin, length = (first + 0.5) * self.unit, (last - first + 1) * self.unit
        part = InputImpl.VideoFromFile(self.video.get_stream_source(), start_time=begin, duration=length)
        return part.get_components().images[torch.from_numpy(numbers - numbers[0])]


def _file_of(video: Input.Video) -> _File | None:
    """A VIDEO in a file that says when each picture begins; None for any other."""
    if not isinstance(video, InputImpl.VideoFromFile):
        return None
    start, duration = video.get_active_trim_window()
    with av.open(video.get_stream_source()) as container:
        stream = container.streams.video[0]
        unit = float(stream.time_base)
        stamps = np.unique([packet.pts for packet in container.demux(stream) if packet.pts is not None]).astype(int)
    first, end = int(start / unit), int((start + duration) / unit)
    stamps = stamps[(stamps >= first) & ((stamps < end) | (not duration))]
    return _File(video, stamps, unit) if len(stamps) else None
