"""What turns clips into numbers: the VAE, text, audio and CLIP vision encoders that a workflow's loaders give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checkpoints import presets
from ..comfyui import loading
from ..conditioning.voice import Voice, voice_of, voice_windows
from ..log_mel import LogMelEncoder
from ..precision import autocast
from ..waveform import SAMPLE_RATE
from .settings import identity
from .voice import WholeVoice

GREY = 127.5
"""What Wan's image-to-video models see where nothing is given."""
LONGEST_HEARD = 30.0
"""Seconds of a voice that an audio encoder model hears at once; its attention grows with their square."""
AROUND = 5.0
"""Seconds before and after a clip that it hears of a longer one."""


@dataclass(frozen=True)
class Encoders:
    """ComfyUI's own objects: VAE, CLIP, audio encoder, and the CLIP vision model that Wan 2.1's image-to-video models look
    at the portrait with; and what tells their files from others, by the names that `Settings` has for them.
    """

    vae: Any
    text_encoder: Any
    audio_encoder: Any
    files: Mapping[str, str]
    clip_vision: Any = None

    @property
    def audio_kind(self) -> str:
        """What adapters call the audio encoder."""
        return loading.audio_encoder_kind(self.audio_encoder)

    def videos(self, films: np.ndarray) -> Tensor:
        """[B, T, H, W, 3] in 0 … 255 → latents [B, C, T_lat, h, w], not normalised.

        Give it more than one film: a batch of one takes PyTorch's slow 3-D convolution on CPUs, ten times as long.
        """
        with autocast():
            return self.vae.encode(torch.from_numpy(films.astype(np.float32) / 255)).float().cpu()

    def references(self, portraits: np.ndarray, frames: int) -> Tensor:
        """Latents of films whose first frames [B, H, W, 3] are given and whose others are grey, as the conditioning node
        makes them.
        """
        films = np.full((len(portraits), frames, *portraits.shape[1:]), GREY, np.float32)
        films[:, 0] = portraits
        return self.videos(films)

    def voice(self, voice: WholeVoice, first: int, frames: int, fps: float) -> Tensor:
        """Features [8, T_lat, D] around each latent frame of a clip that begins with frame `first` of a film.

        The encoder hears the whole film, as at inference. Of films that are too long for the attention of its layers it
        hears the clip with what is said around it.
        """
        if isinstance(self.audio_encoder, LogMelEncoder) or voice.seconds <= LONGEST_HEARD:
            return voice_windows(voice.once(("features", self.audio_encoder), self._heard), frames, fps, first).cpu()
        before = min(first, round(AROUND * fps))
        part = voice.piece(first - before, before + frames + round(AROUND * fps), fps)
        return voice_windows(self._heard(part), frames, fps, before).cpu()

    def _heard(self, samples: np.ndarray) -> Voice:
        encoded = self.audio_encoder.encode_audio(torch.from_numpy(samples)[None, None], SAMPLE_RATE)
        return voice_of(encoded, self.audio_kind)

    def prompt(self, text: str) -> Tensor:
        """Embedding [L, d] of a text."""
        (embedding, _), *_ = self.text_encoder.encode_from_tokens_scheduled(self.text_encoder.tokenize(text))
        return embedding[0].cpu()

    def portrait(self, picture: np.ndarray) -> Tensor | None:
        """Embedding [257, 1280] of a picture [H, W, 3], cropped in the middle; None without a CLIP vision model."""
        if self.clip_vision is None:
            return None
        image = torch.from_numpy(picture[None].astype(np.float32) / 255)
        return self.clip_vision.encode_image(image).penultimate_hidden_states[0].float().cpu()


def load_encoders(
    vae: Path | None = None,
    text_encoder: Path | None = None,
    audio_encoder: Path | None = None,
    clip_vision: Path | None = None,
) -> Encoders:
    """Encoders from files as ComfyUI's loaders read them; the tiny preset's for those that are not given.

    Raises:
        ValueError: a file is not what its option asks for.
    """
    files = {
        "vae": vae or presets.TINY_VAE,
        "text_encoder": text_encoder or presets.TINY_T5,
        "audio_file": audio_encoder,
        "clip_vision": clip_vision,
    }
    return Encoders(
        vae=load_vae(files["vae"]),
        text_encoder=loading.load_text_encoder(files["text_encoder"]),
        audio_encoder=loading.load_audio_encoder(audio_encoder) if audio_encoder else LogMelEncoder(),
        clip_vision=loading.load_clip_vision(clip_vision) if clip_vision else None,
        files={name: identity(Path(path)) if path else "none" for name, path in files.items()},
    )


def load_vae(path: Path):
    """A VAE that takes several films at once."""
    vae = loading.load_vae(path)
    vae.crop_input = False  # it would take the frames of several films for a side to crop to a multiple of 8
    return vae
