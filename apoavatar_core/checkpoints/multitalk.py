"""A warm start: MultiTalk's and InfiniteTalk's weights as an ApoAvatar adapter.

Their audio projection and per-block cross-attention are Eq. 7 without the refinement. The Audio DiT adapter and the pose
adapter are added as they begin, changing nothing; so the adapter does what the source model does until it is trained.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ..adapters import AdapterConfig, ApoAvatarAdapter
from ..grid import AUDIO_WINDOW, FRAMES_PER_LATENT, latent_frames
from .renaming import Renames

HEADS = 40
"""Of their cross-attention, whatever the width."""
REFINING_HEADS = 12
POSE_CHANNELS = 64
FPS, LONGEST_CLIP = 25.0, 81
MULTITALK_MOTION = 25
"""Earlier frames that MultiTalk goes on from."""
AUDIO_ENCODER = "wav2vec2"

NAMES = Renames.of(
    {
        "audio_proj.proj1.{kind}": "audio_projection.first.{kind}",
        "audio_proj.proj1_vf.{kind}": "audio_projection.later.{kind}",
        "audio_proj.proj2.{kind}": "audio_projection.hidden.{kind}",
        "audio_proj.proj3.{kind}": "audio_projection.out.{kind}",
        "audio_proj.norm.{kind}": "audio_projection.norm.{kind}",
        "blocks.{block}.norm_x.{kind}": "injections.{block}.norm.{kind}",
        "blocks.{block}.audio_cross_attn.q_linear.{kind}": "injections.{block}.q.{kind}",
        "blocks.{block}.audio_cross_attn.kv_linear.{kind}": ("injections.{block}.k.{kind}", "injections.{block}.v.{kind}"),
        "blocks.{block}.audio_cross_attn.proj.{kind}": "injections.{block}.o.{kind}",
    }
)


def is_multitalk(names: Iterable[str]) -> bool:
    """Whether a file with these tensors is a MultiTalk or InfiniteTalk model."""
    names = {name.removeprefix(PREFIX) for name in names}
    return {"audio_proj.proj1_vf.weight", "blocks.0.audio_cross_attn.kv_linear.weight"} <= names


def is_whole_model(names: Iterable[str]) -> bool:
    """Whether video layers are in the file too, as in SkyReels-V3 A2V, whose audio layers have MultiTalk's names."""
    names = {name.removeprefix(PREFIX) for name in names}
    return bool({"patch_embedding.weight", "blocks.0.self_attn.q.weight"} & names)


def is_named_multitalk(file: str) -> bool:
    """Whether a file's name says MultiTalk and not InfiniteTalk, whose tensors have the same names and shapes."""
    return "multitalk" in file.lower() and "infinite" not in file.lower()


def adapter_from_multitalk(tensors: Mapping[str, Tensor], infinite: bool = True) -> tuple[AdapterConfig, dict[str, Tensor]]:
    """Configuration and weights of the adapter; weights keep their precision.

    Args:
        infinite: they are InfiniteTalk's, which holds the portrait and goes on from latents that enter without noise. MultiTalk
            holds nothing and is shown up to 25 earlier frames in the image condition, as its own `generate` does it.

    Raises:
        ValueError: a tensor is missing, too much, or of another shape than the others ask for.
    """
    tensors = multiplied_out(without_prefix(tensors))
    config = multitalk_config(tensors)
    if not infinite:
        config = replace(config, holds_reference=False, leading_latents=latent_frames(MULTITALK_MOTION))
    taken = NAMES.applied(tensors)
    adapter = ApoAvatarAdapter(config, device="meta")  # true size is 2.4 billion; only what is new gets memory
    expected = {name: tensor.shape for name, tensor in adapter.state_dict().items() if not is_new(name)}
    if wrong := sorted(expected.keys() ^ taken.keys()):
        raise ValueError(f"{wrong[0]} is missing or too much")
    if wrong := [name for name in expected if expected[name] != taken[name].shape]:
        raise ValueError(f"{wrong[0]} does not fit the others")
    return config, new_layers(adapter, dtype_of_matrices(tensors)) | taken


def new_layers(adapter: ApoAvatarAdapter, dtype: torch.dtype) -> dict[str, Tensor]:
    """The layers that MultiTalk has not got, as they begin; the same ones every time."""
    for module in (adapter.audio_dit, adapter.pose_adapter):
        module.to_empty(device="cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        adapter.initialize()
    return {name: tensor.to(dtype) for name, tensor in adapter.state_dict().items() if is_new(name)}


def dtype_of_matrices(tensors: Mapping[str, Tensor]) -> torch.dtype:
    """In which most numbers of the matrices are: in a mixed file norms, biases and the audio projection may be wider.

    Nothing new is kept in 8 bit: fp16 stands in its place.
    """
    numbers: Counter[torch.dtype] = Counter()
    for tensor in tensors.values():
        if tensor.ndim == 2:
            numbers[tensor.dtype] += tensor.numel()
    ((dtype, _),) = numbers.most_common(1)
    return dtype if dtype.itemsize > 1 else torch.float16


def multitalk_config(tensors: Mapping[str, Tensor]) -> AdapterConfig:
    """Dimensions as the tensors' shapes tell them."""
    width, audio_width = tensors["blocks.0.audio_cross_attn.kv_linear.weight"].shape
    hidden, window = tensors["audio_proj.proj1.weight"].shape
    return AdapterConfig(
        backbone_dim=width // 2,
        backbone_layers=len({name.split(".")[1] for name in tensors if name.startswith("blocks.")}),
        backbone_in_channels=None,
        heads=HEADS,
        audio_encoder=AUDIO_ENCODER,
        audio_feature_dim=window // AUDIO_WINDOW,
        audio_dim=audio_width,
        tokens_per_frame=tensors["audio_proj.proj3.weight"].shape[0] // audio_width // FRAMES_PER_LATENT,
        pose_channels=POSE_CHANNELS,
        fps=FPS,
        window=LONGEST_CLIP,
        refining_heads=REFINING_HEADS,
        multitalk_hidden_dim=hidden,
        holds_reference=True,
        normalized_pose=True,
        keys_know_places=True,
    )


PREFIX = "diffusion_model."
SCALES = (".scale_weight", ".weight_scale")
"""What the factor of a weight that is kept as scaled fp8 is called."""


def without_prefix(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by their names inside the model."""
    return {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}


def multiplied_out(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights that are kept as scaled fp8 in bf16, and no factors or marks any more."""
    factors = {name.rpartition(".")[0]: tensor for name, tensor in tensors.items() if name.endswith(SCALES)}
    result = {}
    for name, tensor in tensors.items():
        module, _, kind = name.rpartition(".")
        if kind == "weight" and module in factors:
            tensor = (tensor.float() * factors[module].float()).bfloat16()
        if kind in ("weight", "bias"):
            result[name] = tensor
    return result


def is_new(name: str) -> bool:
    """Whether a tensor of the adapter has no counterpart in MultiTalk."""
    return name.startswith(("audio_dit.", "pose_adapter."))
