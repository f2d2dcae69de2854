"""What the page asks while nothing runs (`js/`): the gate of a sound, and what guidance costs. It computes neither itself."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

import av
import folder_paths
import numpy as np
from aiohttp import web
from comfy_extras.nodes_audio import load

from ..guidance import MODALITIES, GuidanceScales, evaluation_plan
from ..hearing import HeardVoice, heard_voice
from ..refocusing import RefocusingConfig, frames_of, gate_from, levels_of
from ..refocusing_plot import drawn_numbers
from ..waveform import check_fps
from .examples import VOICE

LONGEST = 600
"""Seconds of sound, or of gate, that are looked at before a run."""
LARGEST = 256 * 2**20
"""Bytes of a file that are."""

one_at_a_time = asyncio.Lock()
"""A dial that is dragged asks often, and the machine may be sampling."""


def answer_the_page() -> None:
    """Add this module's answers to ComfyUI's server. Where there is none (a command, a test) nobody asks."""
    from server import PromptServer

    server = getattr(PromptServer, "instance", None)
    if server is not None:
        server.routes.get("/apoavatar/gate")(answering(gate_before_a_run))
        server.routes.get("/apoavatar/evaluations")(answering(evaluations))


def answering(work: Callable[[Mapping[str, str]], dict]) -> Callable:
    """A handler that does some work off the event loop and answers in JSON.

    What cannot be done is {"error": one sentence}, under status 200: the browser reports any other as an error of the page.
    """

    async def handler(request: web.Request) -> web.Response:
        async with one_at_a_time:
            if request.transport is None:  # the page has asked anew, or is closed
                return web.Response()
            try:
                return web.json_response(await asyncio.to_thread(work, request.query))
            except ValueError as error:
                return web.json_response({"error": str(error)})

    return handler


def gate_before_a_run(query: Mapping[str, str]) -> dict:
    """What Audio Loudness Refocusing would show of a file that Load Audio knows, or of ApoAvatar Example's voice.

    Args:
        query: `file`, or `example` in its place; `fps`, `frames` and the names of RefocusingConfig may be left out for the node's
            defaults.

    Raises:
        ValueError: a number or the file is unusable.
    """
    fps, frames = number(query, "fps", 24.0), number(query, "frames", 0.0)
    constants = ("alpha", "beta", "tau", "q_low", "q_high")
    config = RefocusingConfig(**{name: number(query, name, getattr(RefocusingConfig, name)) for name in constants})
    check_fps(fps)
    if not 0 <= frames <= LONGEST * fps:
        raise ValueError(f"frames is {frames:g}: a gate of up to {LONGEST // 60} minutes is shown before a run.")
    voice = heard(VOICE, "the example", 0, 0) if "example" in query else voice_in_file(query.get("file", ""))
    gate = gate_from(levels(voice), int(frames) or frames_of(voice, fps), fps, config)
    return drawn_numbers(voice.samples, gate, config.beta)


def evaluations(query: Mapping[str, str]) -> dict:
    """The states of Eq. 8 that a step evaluates, each as the list of what it keeps.

    Args:
        query: `text`, `image`, `audio` and `pose`, the scales; `present`, the modalities that are given, between commas.

    Raises:
        ValueError: a number or a modality is unusable.
    """
    scales = GuidanceScales(*(number(query, modality, 1.0) for modality in MODALITIES))
    present = frozenset(filter(None, query.get("present", "").split(",")))
    plan = evaluation_plan(scales, present)
    return {"states": [[modality for modality in MODALITIES if modality in kept] for kept, _ in plan]}


def number(query: Mapping[str, str], name: str, default: float) -> float:
    try:
        value = float(query.get(name, default))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name} is {query[name][:40]!r}: give a number.")
    return value


def voice_in_file(name: str) -> HeardVoice:
    """The voice in a file of ComfyUI's own folders, by the name that Load Audio has for it.

    Raises:
        ValueError: there is no such file, it is too large or too long to be heard in passing, or no sound can be read from it.
    """
    try:
        path = Path(folder_paths.get_annotated_filepath(name))
        found = path.stat() if name and path.is_file() else None
    except (ValueError, OSError):
        found = None
    if found is None:
        raise ValueError(f"{name[:200]!r} is not in ComfyUI's input folder: choose the audio again.")
    if found.st_size > LARGEST:
        raise ValueError(f"{name} has more than {LARGEST >> 20} MB: its gate is shown after a run.")
    return heard(path, name, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=2)
def heard(path: Path, name: str, changed: int, size: int) -> HeardVoice:
    """The voice in a file; `changed` and `size` tell one content from another."""
    try:
        seconds = duration(path)
        waveform, rate = load(os.fspath(path)) if seconds is not None and seconds <= LONGEST else (None, None)
    except (OSError, ValueError, av.error.FFmpegError) as error:
        raise ValueError(f"No sound can be read from {name}: choose another file.") from error
    if seconds is None:
        raise ValueError(f"{name} does not say how long it is: its gate is shown after a run.")
    if waveform is None:
        raise ValueError(f"{name} is longer than {LONGEST // 60} minutes: its gate is shown after a run.")
    return heard_voice(waveform, rate)


@lru_cache(maxsize=2)
def levels(voice: HeardVoice) -> np.ndarray:
    """How loud a voice is, which no dial changes."""
    return levels_of(voice)


def duration(path: Path) -> float | None:
    """Seconds of a file's sound as the file says, None where it does not."""
    with av.open(os.fspath(path)) as container:
        stream = container.streams.audio[0] if container.streams.audio else None
        if stream is None:
            raise ValueError("no sound")
        if stream.duration is not None:
            return float(stream.duration * stream.time_base)
        return None if container.duration is None else container.duration / av.time_base
