"""Frame-wise attention in three forms: one batched call as the adapters make it, xformers' block-diagonal form, and one
call on the whole clip under a dense mask that is block-diagonal.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from apoavatar_core.adapters.attention import frame_wise_attention, scaled_dot_product

BATCHED, BLOCK_DIAGONAL, DENSE = "one batched call", "xformers, block-diagonal", "one call, dense mask"


@dataclass(frozen=True)
class Attention:
    """Attention within each of `frames` latent frames: queries and keys are tokens a frame, width is that of all heads."""

    key: str
    title: str
    frames: int
    queries: int
    keys: int
    width: int
    heads: int

    def inputs(self, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Random query, key and value [1, T, N, d]."""
        generator = torch.Generator().manual_seed(0)
        return tuple(
            torch.randn(1, self.frames, tokens, self.width, generator=generator).to(device, dtype)
            for tokens in (self.queries, self.keys, self.keys)
        )


def missing_xformers(device: torch.device) -> str:
    """Why xformers' form cannot run; empty where it can."""
    if device.type != "cuda":
        return "not available here: xformers needs CUDA"
    return "" if importlib.util.find_spec("xformers") else "not available here: xformers is not installed"


def forms(attention: Attention, dtype: torch.dtype, device: torch.device) -> dict[str, Callable[[], Tensor]]:
    """Every form that can run here, as a call on the same inputs that returns [1, T, N_q, d]. Masks are made before."""
    inputs = attention.inputs(dtype, device)
    mask = block_diagonal_mask(attention, device)
    found = {
        BATCHED: lambda: frame_wise_attention(*inputs, attention.heads, scaled_dot_product),
        DENSE: lambda: masked(*inputs, attention.heads, mask),
    }
    if not missing_xformers(device):
        found[BLOCK_DIAGONAL] = xformers_form(attention, inputs)
    return found


def block_diagonal_mask(attention: Attention, device: torch.device) -> Tensor:
    """bool [T · N_q, T · N_k], true where query and key are of the same frame."""
    frames = torch.arange(attention.frames, device=device)
    return frames.repeat_interleave(attention.queries)[:, None] == frames.repeat_interleave(attention.keys)


def masked(query: Tensor, key: Tensor, value: Tensor, heads: int, mask: Tensor) -> Tensor:
    """Attention over the whole clip where the mask allows it: [1, T, N, d] → [1, T, N_q, d]."""
    frames = query.shape[1]
    split = (rearrange(x, "b t n (h d) -> b h (t n) d", h=heads) for x in (query, key, value))
    return rearrange(F.scaled_dot_product_attention(*split, attn_mask=mask), "b h (t n) d -> b t n (h d)", t=frames)


def xformers_form(attention: Attention, inputs: tuple[Tensor, Tensor, Tensor]) -> Callable[[], Tensor]:
    from xformers.ops import memory_efficient_attention
    from xformers.ops.fmha.attn_bias import BlockDiagonalMask

    frames = attention.frames
    blocks = BlockDiagonalMask.from_seqlens(
        [attention.queries] * frames, [attention.keys] * frames, device=inputs[0].device
    )

    def call() -> Tensor:
        split = (rearrange(x, "b t n (h d) -> b (t n) h d", h=attention.heads) for x in inputs)
        return rearrange(memory_efficient_attention(*split, attn_bias=blocks), "b (t n) h d -> b t n (h d)", t=frames)

    return call
