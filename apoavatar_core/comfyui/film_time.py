"""The frames of a native VIDEO by time."""

from __future__ import annotations

import av
import numpy as np
import torch
from comfy_api.latest import Input, InputImpl


def frames_at(video: Input.Video, fps: float) -> torch.Tensor:
    """IMAGE [T, H, W, 3]: the picture of the VIDEO that is nearest to each time t / fps, for as many as fit into it. Each picture
    counts from its own time on, also in films of variable frame rate.

    Raises:
        ValueError: it has no pictures.
    """
    components = video.get_components()
    count = len(components.images)
    if count == 0:
        raise ValueError("pose is a video without pictures: load another one.")
    usual = 1 / float(components.frame_rate)
    begins = _begins(video)
    if begins is None or len(begins) != count:  # cut, or made in this graph
        begins = np.arange(count) * usual
    times = np.arange(max(1, round((begins[-1] + usual) * fps))) / fps
    return components.images[np.abs(begins[None] - times[:, None]).argmin(1)]


def _begins(video: Input.Video) -> np.ndarray | None:
    """The times, in seconds, at which a film's pictures begin, [N] from 0 on; None for one that is no file."""
    if not isinstance(video, InputImpl.VideoFromFile):
        return None
    with av.open(video.get_stream_source()) as container:
        stream = container.streams.video[0]
        stamps = sorted(packet.pts for packet in container.demux(stream) if packet.pts is not None)
        return np.array([float((stamp - stamps[0]) * stream.time_base) for stamp in stamps])
