"""UniAnimate-DiT's weights beside an adapter: its pose stacks become the adapter's pose adapter, its LoRA ComfyUI's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from ..adapters import AdapterConfig, ApoAvatarAdapter
from .renaming import Renames
from .safe_file import read_names, read_tensors

STACKS = ("dwpose_embedding.", "randomref_embedding_pose.")
"""Of the driving pose and of the portrait's."""
NAMES = Renames.of(
    {
        "dwpose_embedding.0.{kind}": "pose_adapter.embed.0.{kind}",
        "dwpose_embedding.2.{kind}": "pose_adapter.embed.1.{kind}",
        "dwpose_embedding.4.{kind}": "pose_adapter.embed.2.{kind}",
        "dwpose_embedding.6.{kind}": "pose_adapter.embed.3.{kind}",
        "dwpose_embedding.8.{kind}": "pose_adapter.merge.0.{kind}",
        "dwpose_embedding.10.{kind}": "pose_adapter.merge.1.{kind}",
        "dwpose_embedding.12.{kind}": "pose_adapter.tokens.{kind}",
        "randomref_embedding_pose.0.{kind}": "pose_adapter.reference.0.{kind}",
        "randomref_embedding_pose.2.{kind}": "pose_adapter.reference.1.{kind}",
        "randomref_embedding_pose.4.{kind}": "pose_adapter.reference.2.{kind}",
        "randomref_embedding_pose.6.{kind}": "pose_adapter.reference.3.{kind}",
        "randomref_embedding_pose.8.{kind}": "pose_adapter.reference.4.{kind}",
        "randomref_embedding_pose.10.{kind}": "pose_adapter.reference.5.{kind}",
    }
)
"""Their layers by number, activations counted."""


def is_unianimate(names: Iterable[str]) -> bool:
    """Whether a file with these tensors holds UniAnimate's pose stacks."""
    return {"dwpose_embedding.12.weight", "randomref_embedding_pose.10.weight"} <= set(names)


def read_unianimate(path: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The pose stacks of a file under the adapter's names, and its LoRA under the names that ComfyUI's loaders read.

    Raises:
        ValueError: one sentence, for a file that is missing, broken, a pickle, or of another kind.
    """
    path = Path(path)
    if not is_unianimate(read_names(path)):
        raise ValueError(f"{path.name} holds no UniAnimate pose stacks: choose UniAnimate-Wan2.1-14B-Lora as safetensors.")
    tensors = read_tensors(path)
    stacks = {name: tensor for name, tensor in tensors.items() if name.startswith(STACKS)}
    lora = {_lora_name(name): tensor for name, tensor in tensors.items() if name not in stacks}
    try:
        return NAMES.applied(stacks), lora
    except ValueError as error:
        raise ValueError(f"{path.name} has no UniAnimate layout ({error}): download it again.") from error


def _lora_name(name: str) -> str:
    """peft's adapter name is left out, and whatever stood before the block becomes ComfyUI's prefix."""
    return "diffusion_model." + name[max(name.find("blocks."), 0) :].replace(".default.", ".")


def with_unianimate(
    config: AdapterConfig, tensors: Mapping[str, Tensor], stacks: Mapping[str, Tensor]
) -> tuple[AdapterConfig, dict[str, Tensor]]:
    """An adapter whose pose adapter is UniAnimate's.

    Args:
        config, tensors: the adapter.
        stacks: of `read_unianimate`.

    Raises:
        ValueError: the stacks were made for a model of another width, or a layer is missing.
    """
    width, image_channels = (stacks[f"pose_adapter.{layer}.weight"].shape[0] for layer in ("tokens", "reference.5"))
    if width != config.backbone_dim:
        raise ValueError(
            f"The pose model was made for a Wan model of width {width}, but the adapter for one of width "
            f"{config.backbone_dim}: choose two that belong to one model."
        )
    config = replace(config, unianimate_image_channels=image_channels)
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("pose_adapter.")} | stacks
    expected = ApoAvatarAdapter(config, device="meta").state_dict()
    wrong = sorted(expected.keys() ^ tensors.keys()) or [n for n in expected if expected[n].shape != tensors[n].shape]
    if wrong:
        raise ValueError(f"The pose model has no UniAnimate layout (first at {wrong[0]}): download it again.")
    return config, tensors
