"""How much of a Wan DiT's cross-attention goes to a text's tokens: it has no mask, so padding takes its share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from comfy.ldm.wan.model import WanModel
from torch import Tensor, nn


@torch.no_grad()
def attention_on_words(dit: WanModel, call: Callable[[], object], texts: Tensor) -> list[float]:
    """The share of each block's text attention that tokens get which are no padding, a mean over heads, tokens and texts.

    Args:
        dit: a text- or image-to-video model whose cross-attention sees nothing but text.
        call: calls it with these texts.
        texts: embeddings [B, L, d]; zeros are padding.
    """
    words, shares = texts.any(-1)[:, None, None], []

    def watch(attention: nn.Module, arguments: tuple) -> None:
        tokens, context = arguments[:2]
        query, key = (
            x.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
            for x in (attention.norm_q(attention.q(tokens)), attention.norm_k(attention.k(context)))
        )
        weights = (query @ key.mT * query.shape[-1] ** -0.5).softmax(-1)
        shares.append(float((weights * words).sum(-1).mean()))

    hooks = [block.cross_attn.register_forward_pre_hook(watch) for block in dit.blocks]
    try:
        call()
    finally:
        for hook in hooks:
            hook.remove()
    return shares
