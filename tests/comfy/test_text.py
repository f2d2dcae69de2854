"""A text counts only if the model attends to it: what the tiny T5 tells of captions, and what a DiT learns from it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from apoavatar_core.synthetic import describe, sample_identity
from apoavatar_core.synthetic.identity import CLOTHES_COLOURS, HAIR_STYLES, SKIN_COLOURS, WALL_COLOURS

PEOPLE = 300


@pytest.fixture(scope="module")
def clip(training, tmp_path_factory):
    """CLIP of a T5 that learned for a short time."""
    from apoavatar_core.comfyui.loading import load_text_encoder
    from apoavatar_core.tiny import text

    path = tmp_path_factory.mktemp("text") / "t5.safetensors"
    text.train(200, path, identities=PEOPLE)
    return load_text_encoder(path)


def embedding(clip, text: str) -> torch.Tensor:
    """[L, d] as a workflow's CLIP Text Encode makes it."""
    from nodes import CLIPTextEncode

    with torch.no_grad():
        return CLIPTextEncode().encode(clip, text)[0][0][0][0]


def mean_of_tokens(clip, text: str) -> torch.Tensor:
    states = embedding(clip, text)
    return states[states.any(1)].mean(0)


def told(clip, vocabularies: dict) -> dict[str, float]:
    """Share of the captions of other people, in other wordings, whose fields a linear readout of the mean tells."""
    people = [sample_identity(np.random.default_rng((11, seed))) for seed in range(PEOPLE + 60)]
    means = torch.stack([mean_of_tokens(clip, describe(who, 10**6 + seed)) for seed, who in enumerate(people)])
    known = torch.cat([means, torch.ones(len(means), 1)], 1)
    seen, shares = known[:PEOPLE], {}
    for field, vocabulary in vocabularies.items():
        classes = torch.tensor([list(vocabulary).index(getattr(who, field)) for who in people])
        wanted = torch.nn.functional.one_hot(classes[:PEOPLE], len(vocabulary)).float()
        readout = torch.linalg.solve(seen.T @ seen + 1e-3 * torch.eye(seen.shape[1]), seen.T @ wanted)
        shares[field] = float(((known[PEOPLE:] @ readout).argmax(1) == classes[PEOPLE:]).float().mean())
    return shares


def test_embeddings_tell_captions_apart(clip) -> None:
    fields = {"hair_style": HAIR_STYLES, "clothes_colour": CLOTHES_COLOURS, "wall_colour": WALL_COLOURS, "skin": SKIN_COLOURS}
    shares = told(clip, fields)
    assert min(shares.values()) >= 0.95, shares


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
    found, share = losses(clip, steps=60)
    assert found["right"] < 0.9 * found["other"], found
    assert share > 0.4
