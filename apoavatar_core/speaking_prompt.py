"""The paper's speaking prompt (§4.1), and how it joins a caption that is already encoded."""

from __future__ import annotations

import torch
from torch import Tensor

SPEAKING_PROMPT = (
    "The person is speaking toward the camera, with body movements naturally synchronized to their speech."
)


def append_tokens(context: Tensor, addition: Tensor) -> Tensor:
    """Write the tokens of `addition` behind those of `context`.

    Args:
        context, addition: text embeddings [B, L, d] and [1, M, d], zero where they are padding.

    Returns:
        [B, L, d] with the addition in the padding, or longer where the padding does not hold it.
    """
    tokens = addition[:, addition[0].abs().sum(-1) > 0].to(context)
    used = int((context.abs().sum((0, -1)) > 0).nonzero().max()) + 1 if context.any() else 0
    joined = torch.cat([context[:, :used], tokens.expand(context.shape[0], -1, -1)], dim=1)
    return torch.cat([joined, context[:, joined.shape[1] :]], dim=1)
