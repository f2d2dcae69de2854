"""A text counts only if the model attends to it: what the tiny T5 tells of captions, and what a DiT learns from it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from apoavatar_core.checkpoints.presets import TINY_T5
from apoavatar_core.synthetic import describe, sample_identity

PEOPLE = 300


@pytest.fixture(scope="module")
def clip(training):
    """The shipped text encoder."""
    from apoavatar_core.comfyui.loading import load_text_encoder

    return load_text_encoder(TINY_T5)


def embedding(clip, text: str) -> torch.Tensor:
    """[L, d] as a workflow's CLIP Text Encode makes it."""
    from nodes import CLIPTextEncode

    with torch.no_grad():
        return CLIPTextEncode().encode(clip, text)[0][0][0][0]


def test_an_encoder_soon_learns_to_tell_captions_apart(training, tmp_path) -> None:
    """Of people whom training has not met: random weights get 0.22 of the facts right, these steps 0.52."""
    from apoavatar_core.tiny import text

    shares = text.train(40, tmp_path / "t5.safetensors")
    assert sum(shares.values()) / len(shares) > 0.42, shares


def toy_latents(who) -> torch.Tensor:
    """[16, 1, 4, 4]: the upper half says the colour of the wall, the lower that of the clothes."""
    latents = torch.empty(16, 1, 4, 4)
    for rows, rgb in ((slice(0, 2), who.wall_rgb), (slice(2, 4), who.clothes_rgb)):
        latents[:, :, rows] = (torch.tensor(rgb).repeat(6)[:16].view(16, 1, 1, 1) - 150) / 60
    return latents


def losses(clip, steps: int) -> tuple[dict[str, float], float]:
    """Train a DiT on toy latents for some steps; its loss with right, other and no captions for people that it has not
    seen, and the share of its cross-attention that real tokens get.
    """
    from apoavatar_core.comfyui import trainable
    from apoavatar_core.comfyui.text_attention import attention_on_words
    from apoavatar_core.training.optimizers import build_optimizers, set_learning_rate

    people = [sample_identity(np.random.default_rng((13, seed))) for seed in range(PEOPLE + 60)]
    texts = torch.stack([embedding(clip, describe(who, seed)) for seed, who in enumerate(people)])
    latents = torch.stack([toy_latents(who) for who in people])
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    dimensions = {"dim": 64, "ffn_dim": 128, "num_heads": 2, "num_layers": 2}
    dit = trainable.new_dit(dimensions, text_dim=texts.shape[-1], text_len=texts.shape[1])
    optimizers = build_optimizers("muon", dit, weight_decay=0.0)
    set_learning_rate(optimizers, 0.01)

    def loss(rows: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(latents[rows].shape, generator=generator)
        sigma = 0.5 + 0.5 * torch.rand(len(rows), generator=generator)
        noisy = torch.lerp(latents[rows], noise, sigma.view(-1, 1, 1, 1, 1))
        seen = torch.cat([noisy, noisy.new_zeros(len(rows), 20, 1, 4, 4)], dim=1)
        return torch.nn.functional.mse_loss(dit(seen, sigma * 1000, context), noise - latents[rows])

    for _ in range(steps):
        rows = torch.randint(PEOPLE, (32,), generator=generator)
        loss(rows, texts[rows]).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    rows, nothing = torch.arange(PEOPLE, PEOPLE + 60), embedding(clip, "").expand(60, -1, -1)
    found = {}
    for name, context in {"right": texts[rows], "other": texts[rows].roll(1, 0), "none": nothing}.items():
        generator.manual_seed(1)
        with torch.no_grad():
            found[name] = float(loss(rows, context))
    shares = attention_on_words(dit, lambda: loss(rows, texts[rows]), texts[rows])
    return found, sum(shares) / len(shares)


def test_a_dit_soon_learns_what_the_caption_says(clip) -> None:
    found, share = losses(clip, steps=150)
    assert found["right"] < 0.9 * found["other"], found
    assert found["right"] < 0.9 * found["none"], found
    assert share > 0.2, "the text is looked at"
