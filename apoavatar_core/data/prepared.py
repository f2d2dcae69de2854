"""The clips that `prepare` wrote, read one at a time; training never decodes a video."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors import safe_open
from torch import Tensor

from ..comfyui.wan import latent_format
from ..grid import FRAMES_PER_LATENT, video_frames
from .settings import prepared_files, read_settings


class PreparedClips:
    """The clips of a folder, in the order of their names, or those of the folders in it, each with a frame rate of its own.
    Latents come out as the latent format of their VAE normalises them.

    Attributes:
        settings: what made all of them, but for the frame rate.
        width, height: of their pictures, in pixels.
        channels, pixels_per_latent: of their latents.
        rates: lowest and highest frame rate.
        lengths: latent frames of each.

    Raises:
        ValueError: the folder has no prepared clip, one of its files is broken, or they were prepared in different ways.
    """

    def __init__(self, folder: Path):
        self.paths = prepared_files(folder) or [path for inner in sorted(folder.glob("*/")) for path in prepared_files(inner)]
        if not self.paths:
            raise ValueError(f"data: {folder} holds no prepared clips; write them with `prepare`")
        try:
            made = [read_settings(path) for path in self.paths]
        except ValueError as error:
            raise ValueError(f"data: {error}") from None
        self.settings, (self.channels, _, _, columns) = made[0]
        self.latent_format = latent_format(self.channels)
        self.width, self.height = self.settings.width, self.settings.height
        self.pixels_per_latent = self.width // columns
        rate_of = {path.parent: settings.fps for path, (settings, _) in zip(reversed(self.paths), reversed(made))}
        self.rates = min(rate_of.values()), max(rate_of.values())
        for path, (settings, _) in zip(self.paths, made):
            difference = settings.difference(replace(self.settings, fps=rate_of[path.parent]))
            if difference:
                raise ValueError(
                    f"data: {path} was prepared with {difference} as {self.paths[0].name}: give each its own folder"
                )
        self.lengths = np.array([shape[1] for _, shape in made])

    @property
    def audio_encoder(self) -> str:
        """What adapters call the encoder that heard the voices."""
        return self.settings.audio_encoder

    def of_length(self, latent_frames: int) -> np.ndarray:
        """Indices of the clips that have at least so many latent frames.

        Raises:
            ValueError: there is none.
        """
        (indices,) = np.nonzero(self.lengths >= latent_frames)
        if not len(indices):
            raise ValueError(f"stages: no clip has {latent_frames} latent frames; the longest has {self.lengths.max()}")
        return indices

    def clip(self, index: int, latent_frames: int, start: int = 0) -> dict[str, Tensor]:
        """`latent_frames` latent frames of one clip from its latent frame `start` on, in float32: latents and reference
        [C, T_lat, h, w], audio [8, T_lat, D], pose [12, T_lat, H, W] in 0 … 1, mouth [T_lat, h, w], posed (0 when no pose
        is known), dropout p_t [T], text, speaking_text and null_text, the embedding of "" [L, d], and, where a CLIP vision
        model looked at it, portrait [257, 1280].

        A part is what the conditioning node makes of a clip that goes on from frame 4·start: its first latent frame has the
        pose of that frame alone, and the reference is still the film that begins with the clip's first frame.
        """
        end = start + latent_frames
        with safe_open(str(self.paths[index]), "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}
        for key, part in (("latents", slice(start, end)), ("reference", slice(latent_frames))):
            tensors[key] = self.latent_format.process_in(tensors[key].float()[None])[0, :, part]
        tensors["audio"] = tensors["audio"][:, start:end].float()
        tensors["pose"] = tensors["pose"][:, start:end].float() / 255
        tensors["pose"][:, 0] = tensors["pose"][-3:, 0].repeat(FRAMES_PER_LATENT, 1, 1)
        tensors["mouth"] = tensors["mouth"][start:end].float()
        tensors["posed"] = tensors["posed"].float()
        tensors["dropout"] = tensors["dropout"][FRAMES_PER_LATENT * start : video_frames(end)]
        others = ("text", "speaking_text", "null_text", "portrait")
        return tensors | {key: tensors[key].float() for key in others if key in tensors}
