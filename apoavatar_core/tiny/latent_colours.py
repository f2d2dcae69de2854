"""Fit the colours of the tiny VAE's latents, which ComfyUI's live preview shows in the place of decoded pictures.

    python -m apoavatar_core.tiny colours

Wan's own factors know nothing of this VAE's latents: through them a blue sweater is grey on a green ground.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..checkpoints.presets import TINY_COLOURS, TINY_VAE
from ..comfyui.loading import load_vae
from ..comfyui.wan import latent_format
from ..files import write_whole

DIGITS = 4
NOISE = 0.1
"""Deviation of the noise that the factors shall bear: some channels nearly repeat others, and what such a pair says together
would be weighed a hundredfold otherwise, the sampler's unfinished latents with it.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--vae", type=Path, default=TINY_VAE, metavar="FILE", help="default: the tiny preset's")
    parser.add_argument("--out", type=Path, default=TINY_COLOURS, metavar="FILE", help="JSON file to write; default: the preset's")
    parser.add_argument("--presenters", type=int, default=48, metavar="N", help="how many are drawn to fit to; default: %(default)s")


def run(arguments: argparse.Namespace) -> None:
    """Fit to as many drawn presenters as the parsed options say."""
    from ..synthetic import synthesize_clip

    pictures = (synthesize_clip(seed, frames=5).frames[0] for seed in range(arguments.presenters))
    write_colours(arguments.vae, pictures, arguments.out)


@torch.no_grad()
def write_colours(vae_path: Path, pictures: Iterable, out: Path) -> None:
    """Fit to pictures (uint8 [H, W, 3] each) that the VAE encodes, and write the factors as JSON."""
    vae = load_vae(vae_path)
    pairs = [latent_and_small(vae, torch.from_numpy(picture.copy()).float() / 255) for picture in pictures]
    factors, bias = fitted_colours(*map(torch.cat, zip(*pairs)))
    write_whole(out, json.dumps({"factors": rounded(factors), "bias": rounded(bias)}) + "\n")


def rounded(values: Tensor) -> list:
    """Nested lists of as many digits as a preview can show."""
    return (values * 10**DIGITS).round().div(10**DIGITS).tolist()


def latent_and_small(vae, picture: Tensor) -> tuple[Tensor, Tensor]:
    """The latents of one picture [H, W, 3] in [0, 1] as the sampler sees them, [N, C], and the mean colours that they stand for,
    [N, 3] in [−1, 1].
    """
    latent = latent_format().process_in(vae.encode(picture[None]))[0, :, 0]
    small = F.adaptive_avg_pool2d(picture.movedim(-1, 0), latent.shape[-2:]) * 2 - 1
    return latent.flatten(1).T, small.flatten(1).T


def fitted_colours(latents: Tensor, colours: Tensor) -> tuple[Tensor, Tensor]:
    """Factors [C, 3] and bias [3] that bring latents [N, C] with that noise nearest to colours [N, 3], in the sum of squares."""
    rows = torch.cat((latents, torch.ones(len(latents), 1)), 1).double()
    noise = torch.full((rows.shape[1],), len(rows) * NOISE**2, dtype=torch.float64)
    noise[-1] = 0
    solution = torch.linalg.solve(rows.T @ rows + noise.diag(), rows.T @ colours.double())
    return solution[:-1], solution[-1]
