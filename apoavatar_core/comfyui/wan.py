"""What a backbone is: Wan's DiT as the adapter sees it. A second family of models would fill the same functions.

Its size (`refuse_other_backbones`), its grid (`by_frame`), the two places where the adapter acts (`before_blocks`,
`after_text_attention`), how its noise and its image condition lie in one tensor (`with_addition_to_image`,
`held_latents`, `with_leading`), and whether it looks at the portrait through CLIP vision (`has_clip_vision`), in a frame
of tokens of its own (`has_reference_frame`) or as the clip's first latent (`begins_with_portrait`).
"""

from __future__ import annotations

from collections.abc import Callable

import comfy.latent_formats
import torch
from comfy.ldm.wan.model import WanModel
from comfy.model_patcher import ModelPatcher

from ..adapters import AdapterConfig
from ..grid import LATENT_CHANNELS, MASK_CHANNELS

NO_CLIP_VISION = (
    "This Wan model can look at the portrait through CLIP vision too: connect CLIP Vision Encode to clip_vision_output."
)


def latent_format(channels: int = LATENT_CHANNELS) -> comfy.latent_formats.LatentFormat:
    """How Wan's models normalise latents of so many channels: 16, or the 48 of Wan 2.2's 5B model.

    Raises:
        ValueError: no VAE of Wan's makes such latents.
    """
    formats = {known.latent_channels: known for known in (comfy.latent_formats.Wan21, comfy.latent_formats.Wan22)}
    if channels not in formats:
        raise ValueError(f"no Wan VAE makes latents of {channels} channels: use one of {' or '.join(map(str, formats))}")
    return formats[channels]()


def begins_with_portrait(channels: int) -> bool:
    """Whether models of latents of so many channels are given the portrait as a clip's first latent, clean and at the time 0,
    as Wan 2.2's 5B is, and not in an image condition beside the noise.
    """
    return channels == comfy.latent_formats.Wan22.latent_channels


def network_of(model: ModelPatcher) -> WanModel:
    """The DiT of a MODEL.

    Raises:
        ValueError: it is no plain Wan model.
    """
    network = model.get_model_object("diffusion_model")
    if type(network) is not WanModel:
        raise ValueError(
            f"ApoAvatar adapters attach to Wan text- or image-to-video models, not to {type(network).__name__}: choose a "
            "plain Wan model."
        )
    return network


def refuse_other_backbones(model: ModelPatcher, config: AdapterConfig) -> None:
    """Refuse a MODEL that the adapter was not made for.

    Raises:
        ValueError: with both sides' dimensions.
    """
    network = network_of(model)
    found = (network.dim, len(network.blocks), network.in_dim)
    channels = config.backbone_in_channels or network.in_dim
    if config.unianimate_image_channels is not None:  # its reference pose needs the image condition to add to
        channels = network.out_dim + config.unianimate_image_channels
    wanted = (config.backbone_dim, config.backbone_layers, channels)
    if found != wanted:
        raise ValueError(
            "This adapter was made for a model of width {}, {} blocks and {} input channels, but the connected one has "
            "width {}, {} blocks and {} input channels: choose the model that belongs to the adapter.".format(*wanted, *found)
        )
    if config.reference_latent and not has_reference_frame(network):
        raise ValueError(
            "This adapter was made for a model that looks at the portrait in every window (with a ref_conv layer), which the "
            "connected one lacks: choose the model that belongs to the adapter."
        )


def has_clip_vision(network: WanModel) -> bool:
    """Whether the DiT attends to a CLIP vision embedding of the portrait."""
    return network.img_emb is not None


def has_reference_frame(network: WanModel) -> bool:
    """Whether the DiT has a `ref_conv`: it puts the tokens of a reference latent, a frame of their own, before the video's."""
    return network.ref_conv is not None


def by_frame(tokens: torch.Tensor, options: dict, reference: bool = False) -> torch.Tensor:
    """The video's tokens [B, T_lat, N_v, d] among all of the model's [B, T_lat·N_v, d], as a view of them; by the grid that the
    model's `transformer_options` name. With a `reference` frame N_v tokens more come before them.

    Raises:
        ValueError: there are other tokens beside the video's.
    """
    frames, height, width = options["grid_sizes"]
    first = height * width if reference else 0
    if tokens.shape[1] != first + frames * height * width:
        raise ValueError(
            f"The model runs {tokens.shape[1]} tokens for {frames} latent frames of {height}×{width}: ApoAvatar does not "
            "support context tokens next to the video; use a plain Wan text- or image-to-video model."
        )
    return tokens[:, first:].unflatten(1, (frames, height * width))


def before_blocks(model: ModelPatcher, hook: Callable[[Callable | None], Callable]) -> None:
    """Run `hook(earlier)` in the place of block 0; `earlier` is another node's replacement, which it goes on with."""
    replacements = model.model_options["transformer_options"].get("patches_replace", {}).get("dit", {})
    model.set_model_patch_replace(hook(replacements.get(("double_block", 0))), "dit", "double_block", 0)


def after_text_attention(model: ModelPatcher, patch: Callable[[dict], torch.Tensor]) -> None:
    """Run `patch` after the text attention of every block."""
    model.set_model_patch(patch, "attn2_patch")


def with_addition_to_image(x: torch.Tensor, addition: torch.Tensor) -> torch.Tensor:
    """x [B, noise + condition, T_lat, h, w] with `addition` [B, condition, T_lat or 1, h, w] in its image condition."""
    channels = addition.shape[1]
    return torch.cat([x[:, :-channels], x[:, -channels:] + addition], dim=1)


def held_frames(image_condition: torch.Tensor) -> torch.Tensor:
    """Which latent frames an image condition [B, 4 + C, T_lat, h, w] gives: bool [B, T_lat]."""
    return image_condition[:, :MASK_CHANNELS].amin((1, 3, 4)) > 0


def has_image_condition(x: torch.Tensor, image_condition: torch.Tensor | None) -> bool:
    """Whether what goes beside latents x [B, C, T_lat, h, w] is a mask, 1 where a frame is given, before the given latents:
    [B, 4 + C, T_lat, h, w].
    """
    return image_condition is not None and image_condition.shape[1] == MASK_CHANNELS + x.shape[1]


def held_latents(x: torch.Tensor, image_condition: torch.Tensor | None) -> torch.Tensor:
    """The latents x [B, C, T_lat, h, w] with those in their place that the image condition gives. Any other layout than
    `has_image_condition` asks for holds nothing.
    """
    if not has_image_condition(x, image_condition):
        return x
    mask, latents = image_condition.to(x).split([MASK_CHANNELS, x.shape[1]], dim=1)
    return torch.where(mask.amin(1, keepdim=True) > 0, latents, x)


def with_leading(image_condition: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """An image condition [..., 4 + C, T_lat, h, w] that gives the latents [..., C, k, h, w] of earlier frames first."""
    mask = torch.ones_like(latents).narrow(-4, 0, MASK_CHANNELS)
    rest = image_condition[..., latents.shape[-3] :, :, :]
    return torch.cat([torch.cat([mask, latents], dim=-4), rest], dim=-3)
