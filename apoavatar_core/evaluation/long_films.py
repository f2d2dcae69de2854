"""Long films of the shipped tiny model, by the nodes of the workflow that `dev.py demo` runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..long_video.windows import Window, windows_of
from ..synthetic.speech import SAMPLE_RATE
from .long import FPS, MOTION, WINDOW, Scene
from .presenter_films import TinyGenerator, image_of

CRF = 16.0
"""The workflow's."""


@dataclass(frozen=True)
class LongFilm:
    """A film that was made: an MP4 in ComfyUI's temp folder, and its windows."""

    path: Path
    windows: list[Window]

    @property
    def seams(self) -> list[int]:
        """The first frame that each window adds to the one before."""
        return [window.start + window.overlap for window in self.windows[1:]]


class LongFilmMaker:
    """Films of the tiny preset, made by calling the nodes one after the other as the shipped workflow does."""

    def __init__(self, tiny: TinyGenerator):
        self.tiny = tiny

    def length_of(self, windows: int) -> tuple[int, int]:
        """Frames of a window, and of a film of so many."""
        window, overlap = self.window_and_overlap()
        return window, window + (windows - 1) * (window - overlap)

    def window_and_overlap(self) -> tuple[int, int]:
        """Frames of a window, and of the one before that it begins with, as the model's adapter has it."""
        from ..comfyui.attaching import adapter_in
        from ..comfyui.windowed_sampling import going_on

        how = going_on(adapter_in(self.tiny.model), WINDOW, MOTION)
        return how.window, how.overlap

    def __call__(self, scene: Scene, seed: int) -> tuple[Path, list[int]]:
        """The film of a scene and its seams."""
        speech = torch.from_numpy(scene.performance.speech)[None, None].float()
        audio = {"waveform": speech, "sample_rate": SAMPLE_RATE}
        film = self.film(scene.portrait, scene.performance.caption, audio, scene.frames, seed)
        return film.path, film.seams

    @torch.inference_mode()
    def film(self, portrait: np.ndarray, caption: str, audio: dict, frames: int, seed: int) -> LongFilm:
        """A film of so many frames.

        Args:
            portrait: uint8 [H, W, 3], the film's size.
            audio: AUDIO.
            seed: of the noise.
        """
        tiny, settings = self.tiny, self.tiny.settings
        height, width = portrait.shape[:2]
        positive, negative, *_ = tiny.node("ApoAvatarConditioning").execute(
            positive=tiny.text(caption),
            negative=tiny.text(""),
            vae=tiny.vae,
            audio_features=tiny.audio_encoder.encode_audio(audio["waveform"], audio["sample_rate"]),
            width=width,
            height=height,
            length=WINDOW,
            fps=FPS,
            pose_mode={"pose_mode": "pose_free"},
            continue_from={"continue_from": "nothing"},
            reference_image=image_of(portrait[None]),
            clip=tiny.clip,
        ).result
        (model,) = tiny.node("ModelSamplingSD3")().patch(tiny.model, settings.shift)
        scales = settings.text_scale, settings.image_scale, settings.audio_scale, settings.pose_scale
        (guider,) = tiny.node("ApoAvatarDecoupledCFGGuider").execute(model, positive, negative, *scales).result
        (noise,) = tiny.node("RandomNoise").execute(seed).result
        (sampler,) = tiny.node("KSamplerSelect").execute(settings.sampler_name).result
        (sigmas,) = tiny.node("BasicScheduler").execute(model, settings.scheduler, settings.steps, 1.0).result
        made = tiny.node("ApoAvatarLongVideo").execute(noise, guider, sampler, sigmas, audio, frames, MOTION, CRF)
        return LongFilm(Path(made.result[0].get_stream_source()), windows_of(frames, *self.window_and_overlap()))
