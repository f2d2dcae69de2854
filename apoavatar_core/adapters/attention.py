"""Attention from video to audio or back: frame by frame (§3.3, Figure 3 right), or over the whole clip (Table 5)."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

Attention = Callable[..., Tensor]
"""`attention(q, k, v, heads=h)` on [N, tokens, d]: the calling convention of ComfyUI's `optimized_attention`."""


def scaled_dot_product(query: Tensor, key: Tensor, value: Tensor, heads: int, **_: object) -> Tensor:
    """PyTorch's attention in the host's calling convention; what runs where there is no host."""
    query, key, value = (rearrange(x, "n l (h d) -> n h l d", h=heads) for x in (query, key, value))
    return rearrange(F.scaled_dot_product_attention(query, key, value), "n h l d -> n l (h d)")


def frame_wise_attention(query: Tensor, key: Tensor, value: Tensor, heads: int, attention: Attention) -> Tensor:
    """Block-diagonal attention over frames as one batched call, linear in the number of frames.

    Args:
        query: [B, T, N_q, d]; key, value: [B, T, N_k, d].

    Returns:
        [B, T, N_q, d]; frame t of the result depends on frame t of the inputs alone.
    """
    frames = query.shape[1]
    folded = (rearrange(x, "b t n d -> (b t) n d") for x in (query, key, value))
    return rearrange(attention(*folded, heads=heads), "(b t) n d -> b t n d", t=frames)


def clip_wise_attention(query: Tensor, key: Tensor, value: Tensor, heads: int, attention: Attention) -> Tensor:
    """Attention of every frame to all frames: shapes as in `frame_wise_attention`."""
    frames = query.shape[1]
    folded = (rearrange(x, "b t n d -> b (t n) d") for x in (query, key, value))
    return rearrange(attention(*folded, heads=heads), "b (t n) d -> b t n d", t=frames)
