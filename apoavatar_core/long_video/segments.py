"""Pieces of a film as H.264 in MP4, each playable by itself, and the one file that their packets make without encoding
them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor

from ..files import whole_file
from ..waveform import check_fps

CODEC = "libx264"
"""What ComfyUI's SaveVideo writes; it passes such a film on without encoding it again."""
LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}
"""Of the numbers of channels that AAC has."""
AAC_RATES = (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
"""Hz that AAC has."""
MATRIX, LIMITED = 6, 1
"""FFmpeg's numbers for BT.601 and for the range 16 … 235, in which frames become YUV."""


@dataclass(frozen=True)
class Encoding:
    """How the pictures of a film are written, the same for all its segments.

    Attributes:
        rate: frames per second.
        crf: x264's quality, 0 (lossless) … 51; SaveVideo's own default is 23.
    """

    rate: Fraction
    crf: float = 18.0

    def __post_init__(self) -> None:
        if not 0 <= self.crf <= 51:
            raise ValueError(f"crf is {self.crf}: use 0 (best) to 51 (smallest).")


@dataclass(frozen=True)
class Sound:
    """What is heard from the film's beginning on.

    Attributes:
        waveform: float [C, N], the original samples.
        rate: their number per second.

    Raises:
        ValueError: a number of channels that MP4's sound cannot have.
    """

    waveform: Tensor
    rate: int

    def __post_init__(self) -> None:
        if self.waveform.ndim != 2 or len(self.waveform) not in LAYOUTS:
            raise ValueError(f"audio has shape {list(self.waveform.shape)}: give [channels, samples] with 1 to 6 or 8 channels.")


def frame_rate(fps: float) -> Fraction:
    """Frames per second as cameras mean it: 23.976, 29.97 and 59.94 are thousandths of 1001.

    Raises:
        ValueError: not finite or not above 0.
    """
    check_fps(fps)
    slowed = Fraction(round(fps * 1.001) * 1000, 1001)
    if slowed and abs(float(slowed) - fps) < 0.005 and abs(fps - round(fps)) > 0.005:
        return slowed
    return Fraction(fps).limit_denominator(1000)


def write_segment(path: Path, frames: Tensor, encoding: Encoding) -> None:
    """Write frames [T, H, W, 3], float 0 … 1 or uint8 on any device, as one finished film that others can be joined to.

    Its first picture is whole and no picture waits for a later one, so a segment needs no other. Odd sizes, which H.264's
    usual pixels do not have, get their last row or column twice.

    Raises:
        ValueError: no frames, or another shape.
        OSError: it cannot be written.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
        raise ValueError(f"The frames have shape {list(frames.shape)}: give [frames, height, width, 3].")
    height, width = frames.shape[1:3]
    with whole_file(path) as unfinished, av.open(str(unfinished), "w") as container:
        # No B-frames: pictures are stored in the order in which they are shown, so the times of joined segments are exact.
        stream = container.add_stream(CODEC, rate=encoding.rate, options={"crf": f"{encoding.crf:g}", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = MATRIX, LIMITED
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(_picture(frame), format="rgb24")))
        container.mux(stream.encode())


def join(segments: Sequence[Path], path: Path, rate: Fraction, sound: Sound | None = None) -> int:
    """Write the segments, one after the other, as one MP4 with the sound; returns its number of frames.

    Frame n is shown at exactly n / rate. The sound ends with the film's last frame, or earlier where there is no more of
    it. Pictures are copied as they are; one packet and a moment of sound are in memory at a time. The segments may be
    those of a film that is not finished yet.

    Raises:
        ValueError: no segments, or some that were encoded in another way than the first.
        OSError: it cannot be written.
    """
    if not segments:
        raise ValueError("No part of the film is finished yet: let the first window be made.")
    with whole_file(path) as unfinished, av.open(str(segments[0])) as first:
        options = {"movflags": "faststart"}
        with av.open(str(unfinished), "w", format="mp4", options=options) as container:
            pictures = container.add_stream_from_template(first.streams.video[0], opaque=True)
            pictures.time_base = 1 / rate
            heard = _Heard(container, sound) if sound is not None else None
            count = 0
            for packet in _packets(segments, first.streams.video[0].codec_context.extradata):
                packet.stream, packet.time_base = pictures, 1 / rate
                packet.pts = packet.dts = count
                packet.duration = 1
                container.mux(packet)
                count += 1
                # Side by side, or the writer would wait for the sound with all pictures in memory.
                if heard:
                    heard.write_until(count / rate)
            if heard:
                heard.finish()
    return count


def _packets(segments: Iterable[Path], extradata: bytes) -> Iterator[av.Packet]:
    for segment in segments:
        with av.open(str(segment)) as container:
            stream = container.streams.video[0]
            if stream.codec_context.extradata != extradata:
                raise ValueError(
                    f"{segment.name} was encoded in another way than the film's beginning: remove the unfinished film and "
                    "make it again."
                )
            yield from (packet for packet in container.demux(stream) if packet.pts is not None)


class _Heard:
    """The sound of a film that is being written, encoded as far as its pictures are."""

    def __init__(self, container: av.container.OutputContainer, sound: Sound):
        self.container, self.sound = container, sound
        rate = next((rate for rate in AAC_RATES if rate >= sound.rate), AAC_RATES[-1])
        self.layout = LAYOUTS[len(sound.waveform)]
        self.stream = container.add_stream("aac", rate=rate, layout=self.layout)
        self.resampler = None if rate == sound.rate else av.AudioResampler("fltp", self.layout, rate)
        self.done = 0

    def write_until(self, seconds: Fraction) -> None:
        stop = min(round(seconds * self.sound.rate), self.sound.waveform.shape[1])
        if stop <= self.done:
            return
        samples = self.sound.waveform[:, self.done : stop].to("cpu", torch.float32).numpy()
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=self.layout)
        frame.sample_rate, frame.time_base, frame.pts = self.sound.rate, Fraction(1, self.sound.rate), self.done
        self._encode(frame)
        self.done = stop

    def finish(self) -> None:
        if self.resampler:
            self._encode(None)
        self.container.mux(self.stream.encode())

    def _encode(self, frame: av.AudioFrame | None) -> None:
        for piece in [frame] if self.resampler is None else self.resampler.resample(frame):
            if piece is not None:
                self.container.mux(self.stream.encode(piece))


def _picture(frame: Tensor) -> np.ndarray:
    """RGB uint8 [H, W, 3] of even height and width."""
    if frame.dtype != torch.uint8:
        frame = (frame.float() * 255).round().clamp(0, 255).to(torch.uint8)
    picture = frame.cpu().numpy()
    return np.pad(picture, [(0, side % 2) for side in picture.shape[:2]] + [(0, 0)], mode="edge")
