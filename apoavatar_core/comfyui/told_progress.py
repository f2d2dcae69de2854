"""Progress over all windows of a film, with the newest picture and the time that is left."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import comfy.utils
import latent_preview
import torch
from comfy_execution.utils import get_executing_context
from PIL import Image
from server import PromptServer

from ..long_video.windows import Window

LARGEST_PREVIEW = 512
"""Pixels of its longer side."""


class Progress:
    """Told to ComfyUI: the bar and the picture in the node, and a line of text below it."""

    def __init__(self, sampling, windows: Sequence[Window], done: int):
        """windows: of the whole film. done: frames that are there already."""
        self.steps = max(sampling.steps, 1)
        self.windows = len(windows)
        self.bar = comfy.utils.ProgressBar(self.steps * self.windows)
        model = sampling.guider.model_patcher
        self.previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)
        self.begun, self.done = time.monotonic(), done

    def steps_of(self, window: Window) -> Callable:
        """What a sampler calls after each step of a window."""

        def after(step: int, x0: torch.Tensor, x: torch.Tensor, steps: int) -> None:
            preview = self.previewer.decode_latent_to_preview_image("JPEG", x0) if self.previewer else None
            self._tell(window.index * self.steps + step + 1, preview)

        return after

    def finished(self, window: Window, frames: int, newest: torch.Tensor) -> None:
        """A window is on the disk; `newest` [H, W, 3] is its last frame, `frames` are those of the whole film."""
        picture = Image.fromarray((newest[..., :3] * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy())
        self._tell((window.index + 1) * self.steps, ("JPEG", picture, LARGEST_PREVIEW))
        there, spent = min(window.stop, frames), time.monotonic() - self.begun
        left = spent / max(there - self.done, 1) * (frames - there)
        words = f"{there} of {frames} frames are done" + (f", about {in_minutes(left)} left" if left else "")
        logging.info("Long Video: %s", words)
        context = get_executing_context()
        if context is not None:
            PromptServer.instance.send_progress_text(words, context.node_id)

    def _tell(self, value: int, preview) -> None:
        self.bar.update_absolute(value, max(self.bar.total, value), preview)


def in_minutes(seconds: float) -> str:
    """Hours, minutes and seconds as on a clock."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
