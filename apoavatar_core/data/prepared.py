"""The clips that `prepare` wrote, read one at a time; training never decodes a video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import safe_open
from torch import Tensor

from ..comfyui.wan import latent_format
from ..grid import video_frames
from .settings import prepared_files, read_settings


class PreparedClips:
    """The clips of a folder, in the order of their names. Latents come out as Wan's latent format normalises them.

    Attributes:
        settings: what made all of them.
        lengths: latent frames of each.

    Raises:
        ValueError: the folder has no prepared clip, one of its files is broken, or they were prepared in different ways.
    """

    def __init__(self, folder: Path):
        self.latent_format = latent_format()
        self.paths = prepared_files(folder)
        if not self.paths:
            raise ValueError(f"data: {folder} holds no prepared clips; write them with `prepare`")
        try:
            made = [read_settings(path) for path in self.paths]
        except ValueError as error:
            raise ValueError(f"data: {error}") from None
        self.settings = made[0][0]
        for path, (settings, _) in zip(self.paths, made):
            difference = settings.difference(self.settings)
            if difference:
                raise ValueError(
                    f"data: {path} was prepared with {difference} as {self.paths[0].name}: give each its own folder"
                )
        self.lengths = np.array([length for _, length in made])

    @property
    def audio_encoder(self) -> str:
        """What adapters call the encoder that heard the voices."""
        return self.settings.audio_encoder

    @property
    def fps(self) -> float:
        """Frames per second of the clips."""
        return self.settings.fps

    def of_length(self, latent_frames: int) -> np.ndarray:
        """Indices of the clips that have at least so many latent frames.

        Raises:
            ValueError: there is none.
        """
        (indices,) = np.nonzero(self.lengths >= latent_frames)
        if not len(indices):
            raise ValueError(f"stages: no clip has {latent_frames} latent frames; the longest has {self.lengths.max()}")
        return indices

    def clip(self, index: int, latent_frames: int) -> dict[str, Tensor]:
        """The first `latent_frames` latent frames of one clip, in float32: latents and reference [16, T_lat, h, w],
        audio [8, T_lat, D], pose [12, T_lat, H, W] in 0 … 1, mouth [T_lat, h, w], posed (0 when no pose
        is known), dropout p_t [T], text, speaking_text and null_text, the embedding of "" [L, d], and, where a CLIP vision
        model looked at it, portrait [257, 1280].
        """
        with safe_open(str(self.paths[index]), "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}
        for key in ("latents", "reference"):
            tensors[key] = self.latent_format.process_in(tensors[key].float()[None])[0, :, :latent_frames]
        tensors["audio"] = tensors["audio"][:, :latent_frames].float()
        tensors["pose"] = tensors["pose"][:, :latent_frames].float() / 255
        tensors["mouth"] = tensors["mouth"][:latent_frames].float()
        tensors["posed"] = tensors["posed"].float()
        tensors["dropout"] = tensors["dropout"][: video_frames(latent_frames)]
        others = ("text", "speaking_text", "null_text", "portrait")
        return tensors | {key: tensors[key].float() for key in others if key in tensors}
