"""One film that is open: the pictures and the sound of a part, without decoding what lies before it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import av
import cv2
import numpy as np

from ..waveform import SAMPLE_RATE, resampled
from .voice import WholeVoice

ROUNDING = 1e-6
"""Seconds by which two times that are meant to be the same may differ."""
JITTER = 0.02
"""Seconds by which a container may round the times of pieces of sound that follow each other without a gap."""
PREROLL = 0.5
"""Seconds of sound that are decoded before a part and dropped: a decoder's first frames lack those before them."""
MARGIN = 0.05
"""Seconds of sound on both sides of a part that its resampling may look at."""
AT_ONCE = 60.0
"""Seconds of sound that are decoded together; an hour of stereo at 48 kHz would fill more than a gigabyte."""
SEEK_BACK = (0.0, 5.0, math.inf)
"""Seconds before the wanted moment, tried in turn: films are sought by the time of decoding, and a picture that is shown
before a key frame may need the key frame before that.
"""


class Film:
    """Moments count from where a player starts the film; a moment shows the last picture that began before it.

    Args:
        file: its path, or an open file that can be sought.
        name: what it is called in messages.

    Raises:
        ValueError: it is no film, or has no pictures; likewise from all methods when a part cannot be decoded.
    """

    def __init__(self, file: Path | BinaryIO, name: str):
        self.name = name
        with self._decoding():
            self.container = av.open(str(file) if isinstance(file, Path) else file)
        if not self.container.streams.video:
            self.close()
            raise ValueError(f"{name} has no pictures")
        self.start = (self.container.start_time or 0) / av.time_base

    def close(self) -> None:
        self.container.close()

    @property
    def seconds(self) -> float:
        """From the start to the end of its pictures, as the film's header says."""
        stream = self.container.streams.video[0]
        if stream.duration is None:
            return (self.container.duration or 0) / av.time_base
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base) - self.start

    @cached_property
    def begins(self) -> np.ndarray:
        """When each picture begins, in the order of showing: integers [N] of the stream's time base. Nothing is decoded."""
        stream = self.container.streams.video[0]
        with self._decoding():
            self._seek(stream, -math.inf)
            demuxed = self.container.demux(stream)
            packets = [packet for packet in demuxed if packet.pts is not None and not packet.is_discard]
        self._end = max((packet.pts + (packet.duration or 0) for packet in packets), default=0)
        return np.array(sorted(packet.pts for packet in packets), np.int64)

    def pictures(self, first: int, count: int, fps: float, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
        """Pictures first … first + count − 1 of the film played at `fps`: uint8 [count, height, width, 3], cropped in
        the middle and scaled; and the number of the film's own picture that each of them is, [count].

        Raises:
            ValueError: the film is shorter.
        """
        stream, begins = self.container.streams.video[0], self.begins
        unit = float(stream.time_base)
        moments = self.start + (first + np.arange(count)) / fps
        if not len(begins) or moments[-1] > max(self._end * unit - ROUNDING, begins[-1] * unit):
            raise ValueError(f"{self.name} has no {count} frames from {first / fps:.2f} s on")
        numbers = (np.searchsorted(begins * unit, moments + ROUNDING, side="right") - 1).clip(0)
        shown = begins[numbers]
        wanted, found = set(shown.tolist()), {}
        with self._decoding():
            for frame in self._frames(stream, int(shown[0])):
                if frame.pts in wanted:
                    found[frame.pts] = fit(upright(frame), width, height)
                if frame.pts >= shown[-1]:
                    break
        if len(found) < len(wanted):
            raise ValueError(f"{self.name} cannot be decoded (of {len(wanted)} pictures {len(found)} are whole)")
        return np.stack([found[begin] for begin in shown.tolist()]), numbers

    def each_picture(self) -> Iterator[np.ndarray]:
        """The film's own pictures one by one, as many as `begins` has, in the order of showing: uint8 [H, W, 3].

        Raises:
            ValueError: there are none, or one of them is not whole.
        """
        begins, whole = self.begins, 0
        with self._decoding():
            for frame in self._frames(self.container.streams.video[0], int(begins[0])) if len(begins) else ():
                if whole < len(begins) and frame.pts == begins[whole]:
                    whole += 1
                    yield upright(frame)
        if whole < max(len(begins), 1):
            raise ValueError(f"{self.name} cannot be decoded (of {len(begins)} pictures {whole} are whole)")

    @cached_property
    def voice(self) -> WholeVoice:
        """All that is heard from the start to the end of its pictures.

        Raises:
            ValueError: the film has no sound at all.
        """
        starts = [AT_ONCE * number for number in range(max(1, math.ceil(self.seconds / AT_ONCE)))]
        parts = [self.speech(start, min(AT_ONCE, self.seconds - start)) for start in starts]
        return WholeVoice(np.concatenate(parts, axis=1))

    def speech(self, start: float, seconds: float) -> np.ndarray:
        """The sound from `start` on, float32 [channels, S] at 16 kHz; silence where the film has none.

        Raises:
            ValueError: the film has no sound at all.
        """
        if not self.container.streams.audio:
            raise ValueError(f"{self.name} has no sound")
        rate = self.container.streams.audio[0].rate
        # Cut at moments on which samples of both rates fall, so that each part is resampled as the whole would be.
        shared = math.gcd(rate, SAMPLE_RATE)
        first, count = round(start * SAMPLE_RATE), round(seconds * SAMPLE_RATE)
        per_cut, margin = SAMPLE_RATE // shared, math.ceil(MARGIN * shared)
        low, high = first // per_cut - margin, -(-(first + count) // per_cut) + margin
        samples = resampled(self.samples(low * rate // shared, high * rate // shared), rate)
        return samples[:, first - low * per_cut :][:, :count]

    def samples(self, start: int, stop: int) -> np.ndarray:
        """Samples start … stop − 1 of the sound at its own rate, float32 [channels, stop − start]."""
        stream = self.container.streams.audio[0]
        planar, heard, end = av.AudioResampler(format="fltp"), None, None
        since = (start / stream.rate - PREROLL + self.start) / float(stream.time_base)
        with self._decoding():
            for frame in self._frames(stream, math.floor(since)):
                place = round((float(frame.pts * frame.time_base) - self.start) * stream.rate)
                if end is not None and abs(place - end) < JITTER * stream.rate:
                    place = end
                for piece in planar.resample(frame):
                    values = piece.to_ndarray()
                    heard = np.zeros((len(values), stop - start), np.float32) if heard is None else heard
                    end = place + values.shape[1]
                    low, high = max(place, start), min(end, stop)
                    if low < high:
                        heard[:, low - start : high - start] = values[:, low - place : high - place]
                    place = end
                if end is not None and end >= stop:
                    break
        return np.zeros((1, stop - start), np.float32) if heard is None else heard

    def _frames(self, stream, since: int) -> Iterator:
        """Whole decoded frames in order, the first of them at or before `since` where the stream has one that early."""
        for back in SEEK_BACK:
            frames = self._decoded(stream, since - back / float(stream.time_base))
            first = next(frames, None)
            if first is not None and (first.pts <= since or back == math.inf):
                yield first
                yield from frames
                return

    def _decoded(self, stream, since: float) -> Iterator:
        """What the decoder gives from the key frame before `since` on."""
        self._seek(stream, since)
        for frame in self.container.decode(stream):
            if frame.pts is not None and not frame.is_corrupt:
                yield frame

    def _seek(self, stream, since: float) -> None:
        """To the key frame before `since`, in the stream's time base, or to the stream's beginning."""
        # Sound begins before its stream says so, with frames that only start its decoder.
        beginning = (stream.start_time or 0) - 1 / float(stream.time_base)
        self.container.seek(math.floor(max(since, beginning)), stream=stream)

    @contextmanager
    def _decoding(self) -> Iterator[None]:
        try:
            yield
        except (av.error.FFmpegError, OSError) as error:
            raise ValueError(f"{self.name} cannot be decoded ({error})") from None


def upright(frame: av.VideoFrame) -> np.ndarray:
    """RGB [H, W, 3] as a player shows it; telephones film sideways and say so."""
    return np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))


def fit(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Crop [H, W, 3] in the middle to the wanted aspect, then scale."""
    scale = max(width / picture.shape[1], height / picture.shape[0])
    w, h = min(picture.shape[1], round(width / scale)), min(picture.shape[0], round(height / scale))
    x, y = (picture.shape[1] - w) // 2, (picture.shape[0] - h) // 2
    return cv2.resize(picture[y : y + h, x : x + w], (width, height), interpolation=cv2.INTER_AREA)
