"""Between places and what the network sees: what a VAE is to pictures, fixed and without loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from scipy.fft import dct
from torch import Tensor

from ...adapters.pose_adapter import group_by_latent_frame
from ...grid import FRAMES_PER_LATENT
from .world import HANDS, Performances

PIXELS = 2
"""Of a hand's square in a pose picture, in height and width."""
COSINES = torch.from_numpy(dct(np.eye(FRAMES_PER_LATENT), axis=0, norm="ortho")).float()
"""Four frames → their mean, slope and two finer numbers [4, 4]; its inverse is its transpose."""
LEAST_DEVIATION = 0.01
"""Of numbers that never change."""


@dataclass(frozen=True, eq=False)
class Latents:
    """mean, deviation: float32 [3, 3], of the places of what training performs, the same for both hands, so that nothing but
    their column tells them apart. details: [4, 3, 3], deviations of the cosines of four frames of places that are scaled so: the
    network sees numbers of deviation one.
    """

    mean: Tensor
    deviation: Tensor
    details: Tensor

    def scaled(self, places: np.ndarray) -> Tensor:
        """Places [B, T, 3, 3], of mean 0 and deviation 1."""
        return (torch.from_numpy(places) - self.mean) / self.deviation

    def encode(self, places: np.ndarray) -> Tensor:
        """Places [B, 4n+1, 3, 3] → tokens [B, n+1, 3, 12]; the first frame fills its latent frame alone."""
        cosines = torch.einsum("kf,btfnc->btknc", COSINES, group_by_latent_frame(self.scaled(places)))
        return rearrange(cosines / self.details, "b t k n c -> b t n (k c)")

    def decode(self, tokens: Tensor) -> np.ndarray:
        """The other way round; the first frame is the mean of its four."""
        cosines = rearrange(tokens, "b t n (k c) -> b t k n c", k=FRAMES_PER_LATENT) * self.details
        places = torch.einsum("kf,btknc->btfnc", COSINES, cosines)
        places = torch.cat([places[:, 0].mean(1, keepdim=True), places[:, 1:].flatten(1, 2)], dim=1)
        return (places * self.deviation + self.mean).numpy()

    def pose_pictures(self, places: np.ndarray) -> Tensor:
        """Places [B, 4n+1, 3, 3] → what the pose adapter sees, [B, 12, n+1, 2, 6]: each hand's three numbers are the colour of
        its square, and the mouth's square stays grey, for what it says is the voice's business.
        """
        colours = (self.scaled(places) / 4 + 0.5).clamp(0, 1)
        colours = torch.stack([colours[:, :, 0], torch.full_like(colours[:, :, 1], 0.5), colours[:, :, 2]], dim=2)
        pictures = colours.repeat_interleave(PIXELS, dim=2)[:, :, None].expand(-1, -1, PIXELS, -1, -1)
        return rearrange(group_by_latent_frame(pictures), "b t f h w c -> b (f c) t h w")


def latents_of(performances: Performances) -> Latents:
    """The latents that suit these performances."""
    places = torch.from_numpy(performances.places)
    mean, square = places.mean((0, 1)), places.square().mean((0, 1))
    for moment in (mean, square):
        moment[list(HANDS)] = moment[list(HANDS)].mean(0)
    deviation = (square - mean.square()).clamp(min=LEAST_DEVIATION**2).sqrt()
    scaled = (places - mean) / deviation
    fours = scaled[:, : scaled.shape[1] // FRAMES_PER_LATENT * FRAMES_PER_LATENT].unflatten(1, (-1, FRAMES_PER_LATENT))
    details = torch.einsum("kf,ptfnc->ptknc", COSINES, fours).square().mean((0, 1))
    details[:, list(HANDS)] = details[:, list(HANDS)].mean(1, keepdim=True)
    return Latents(mean, deviation, details.clamp(min=LEAST_DEVIATION**2).sqrt())


def gates_of(weights: Tensor) -> Tensor:
    """The weight of each pose frame [B, 4n+1] → [B, 4, n+1]."""
    return group_by_latent_frame(weights).transpose(1, 2)
