"""Films that show how far a run is: clips as they are drawn, posed and by their voice alone, side by side."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..comfyui.conditions import with_nulls
from ..data.encoders import load_vae
from ..data.prepared import PreparedClips
from ..flow_matching import integrate
from .config import Conditions, Samples
from .examples import Batch, ExampleSource
from .model import FlowMatching

ALL_CONDITIONS = Conditions(states={"S4": 1.0}, whole_pose=1.0)


class SampleFilms:
    """Makes the films of a run, the same clips and noise every time."""

    def __init__(self, settings: Samples, clips: PreparedClips, shift: float, seed: int):
        """clips: of the run, which are shown where the settings name no others."""
        self.settings, self.shift, self.seed = settings, shift, seed
        self.clips = PreparedClips(settings.data) if settings.data else clips
        self.vae = load_vae(settings.vae)

    def films(self, model: FlowMatching, latent_frames: int) -> dict[str, np.ndarray]:
        """The films by the names of their clips."""
        source = ExampleSource(self.clips, ALL_CONDITIONS, self.shift, self.seed)
        positions = range(min(self.settings.clips, len(self.clips.paths)))
        names = [Path(name).stem for name in source.names(positions, latent_frames)]
        return {name: self.film(model, source, position, latent_frames) for position, name in enumerate(names)}

    @torch.no_grad()
    def film(self, model: FlowMatching, source: ExampleSource, position: int, latent_frames: int) -> np.ndarray:
        """uint8 [T, H, 3·W, 3]: the position's clip through the VAE, generated with its pose, and without."""
        posed = source.example(position, latent_frames)
        unposed = replace(posed, conditions=with_nulls(posed.conditions, ("text", "image", "audio")))
        device = next(model.parameters()).device
        batch = Batch.stack([posed, unposed]).to(device)
        generated = integrate(
            lambda noisy, sigma: model.velocity(batch, noisy, sigma), batch.noise, self.settings.steps, self.shift
        )
        return self.decoded(torch.cat([batch.data[:1], generated]))

    def decoded(self, latents: Tensor) -> np.ndarray:
        """Normalised latents [B, C, T_lat, h, w] → uint8 [T, H, B·W, 3]."""
        pictures = self.vae.decode(self.clips.latent_format.process_out(latents.cpu()))
        films = pictures[..., :3].mul(255).round().clamp(0, 255).byte().cpu().numpy()
        return np.concatenate(list(films), axis=2)


def gif(film: np.ndarray, fps: float) -> bytes:
    """A film, uint8 [T, H, W, 3], that every viewer plays, TensorBoard too."""
    first, *others = map(Image.fromarray, film)
    content = io.BytesIO()
    first.save(content, "GIF", save_all=True, append_images=others, duration=1000 / fps, loop=0)
    return content.getvalue()


def log_film(writer, clip: str, film: np.ndarray, fps: float, step: int, folder: Path) -> None:
    """Put the film of a clip into the run's `folder` and into the log of TensorBoard's `writer`."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    content = gif(film, fps)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"step_{step:06d}_{clip}.gif").write_bytes(content)
    height, width = film.shape[1:3]
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=content)
    writer.file_writer.add_summary(Summary(value=[Summary.Value(tag=f"{clip}: drawn, posed, by voice", image=image)]), step)
