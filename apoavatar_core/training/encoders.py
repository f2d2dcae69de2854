"""What turns clips into numbers: the VAE, text, audio and CLIP vision encoders that a workflow's loaders give."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..audio_features import LogMelEncoder, features_at_video_rate, latent_frame_windows
from ..checkpoints import presets
from ..checkpoints.safe_file import json_field, read_metadata, read_tensors
from ..waveform import SAMPLE_RATE
from . import backbone

GREY = 127.5
"""What Wan's image-to-video models see where nothing is given."""


@dataclass(frozen=True)
class Encoders:
    """ComfyUI's own objects: VAE, CLIP, audio encoder (and its name), and the CLIP vision model that Wan 2.1's
    image-to-video models look at the portrait with.
    """

    vae: Any
    text_encoder: Any
    audio_encoder: Any
    audio_name: str
    clip_vision: Any = None

    def videos(self, films: np.ndarray) -> Tensor:
        """[B, T, H, W, 3] in 0 … 255 → latents [B, 16, T_lat, h, w], not normalised.

        Give it more than one film: a batch of one takes PyTorch's slow 3-D convolution on CPUs, ten times as long.
        """
        with backbone.autocast():
            return self.vae.encode(torch.from_numpy(films.astype(np.float32) / 255)).float().cpu()

    def references(self, portraits: np.ndarray, frames: int) -> Tensor:
        """Latents of films whose first frames [B, H, W, 3] are given and whose others are grey, as the conditioning node
        makes them.
        """
        films = np.full((len(portraits), frames, *portraits.shape[1:]), GREY, np.float32)
        films[:, 0] = portraits
        return self.videos(films)

    def voice(self, speech: np.ndarray, frames: int, fps: float) -> Tensor:
        """16 kHz samples [S] of the whole film → features [8, T_lat, D] around each latent frame."""
        encoded = self.audio_encoder.encode_audio(torch.from_numpy(speech)[None, None], SAMPLE_RATE)
        return latent_frame_windows(features_at_video_rate(encoded, frames, fps)).cpu()

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
    return Encoders(
        vae=backbone.comfyui_vae(vae or presets.TINY_VAE),
        text_encoder=load_text_encoder(text_encoder) if text_encoder else load_tiny_text_encoder(),
        audio_encoder=load_audio_encoder(audio_encoder) if audio_encoder else LogMelEncoder(),
        audio_name=audio_encoder.stem if audio_encoder else LogMelEncoder.name,
        clip_vision=load_clip_vision(clip_vision) if clip_vision else None,
    )


def load_tiny_text_encoder():
    config = json_field(read_metadata(presets.TINY_T5), "config", presets.TINY_T5)
    return backbone.binding().text_encoder(read_tensors(presets.TINY_T5), config)


def load_text_encoder(path: Path):
    import comfy.sd

    return comfy.sd.load_clip([existing(path)], clip_type=comfy.sd.CLIPType.WAN)


def load_audio_encoder(path: Path):
    import comfy.audio_encoders.audio_encoders
    import comfy.utils

    tensors = comfy.utils.load_torch_file(existing(path), safe_load=True)
    encoder = comfy.audio_encoders.audio_encoders.load_audio_encoder_from_sd(tensors)
    if encoder is None:
        raise ValueError(f"{path.name} is not an audio encoder that ComfyUI knows: choose a wav2vec2 file.")
    return encoder


def load_clip_vision(path: Path):
    import comfy.clip_vision

    model = comfy.clip_vision.load(existing(path))
    if model is None:
        raise ValueError(f"{path.name} is not a CLIP vision model that ComfyUI knows: choose clip_vision_h.")
    return model


def existing(path: Path) -> str:
    if not path.is_file():
        raise ValueError(f"{path} is not there.")
    return str(path)
