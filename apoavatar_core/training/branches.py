"""The branches of a model (§4.1), which learn or rest stage by stage: the adapter's two, the backbone's text
cross-attention, the rest of the backbone, and a LoRA beside it.
"""

from __future__ import annotations

BRANCHES = ("audio", "pose", "text", "video")
LORA = "lora"
"""The low-rank matrices beside the backbone's."""


def branch_of(parameter: str) -> str:
    """Which of `BRANCHES` a parameter of `FlowMatching` belongs to, or `LORA`."""
    if ".lora_" in parameter:
        return LORA
    if parameter.startswith("adapter.pose_adapter."):
        return "pose"
    if parameter.startswith("adapter."):
        return "audio"
    if parameter.startswith("dit.text_embedding.") or ".cross_attn." in parameter or ".norm3." in parameter:
        return "text"
    return "video"
