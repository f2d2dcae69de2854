"""Attach an adapter to a MODEL from any loader, and ask a MODEL about it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from itertools import chain

from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ..adapters import AdapterConfig
from .conditions import CLIP_SIZE, LATENT_CHANNELS
from .continuing import end_with_motion, hold_given, hold_leading, hold_reference, keep_motion, show_leading
from .film import film_in
from .steps import KEY, EmbedPoses, EnterBlocks, InjectAudio, TakeConditions
from .wan import NO_CLIP_VISION, after_text_attention, before_blocks, has_clip_vision, refuse_other_backbones

FARTHEST_RATE = 2.0
"""How many times faster or slower than its training a clip may be."""


def attach(model: ModelPatcher, adapter: ModelPatcher) -> ModelPatcher:
    """A clone of `model` with the adapter in it; `model` itself stays as it is.

    Raises:
        ValueError: the model has an adapter, or is not the one that the adapter was made for.
    """
    if has_adapter(model):
        raise ValueError("The model already has an ApoAvatar adapter: connect the model from before it.")
    refuse_other_backbones(model, adapter.model.config)
    model = model.clone()
    model.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, KEY, refuse_other_rates)
    model.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, KEY, EmbedPoses(adapter))
    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, KEY, TakeConditions(adapter))
    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, entering(adapter.model.config))
    at_the_end = end_with_motion if adapter.model.config.holds_earlier_frames else keep_motion
    model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, at_the_end)
    before_blocks(model, lambda earlier: EnterBlocks(adapter, earlier))
    after_text_attention(model, InjectAudio(adapter))
    return model


def entering(config: AdapterConfig) -> Callable:
    """The APPLY_MODEL wrapper that gives the model portraits and earlier frames as this adapter learned it."""
    leading = config.leading_latents
    if not config.holds_reference:
        return partial(show_leading, leading)
    if leading == 0:
        return hold_given
    return hold_reference if leading == 1 else partial(hold_leading, leading)


def has_adapter(model: ModelPatcher) -> bool:
    """Whether `attach` was applied to this MODEL."""
    return bool(model.get_wrappers(WrappersMP.DIFFUSION_MODEL, KEY))


def adapter_in(model: ModelPatcher) -> AdapterConfig:
    """What the adapter in this MODEL was trained as.

    Raises:
        ValueError: there is none.
    """
    wrappers = model.get_wrappers(WrappersMP.DIFFUSION_MODEL, KEY)
    if not wrappers:
        raise ValueError("The model has no ApoAvatar adapter: put Apply ApoAvatar Adapter before this node.")
    return wrappers[0].patcher.model.config


def said_of_clip(model: ModelPatcher, conditioning: list) -> list[str]:
    """How the clips of a CONDITIONING differ from what this MODEL's adapter was trained on, in sentences.

    Raises:
        ValueError: their frame rate is too far off.
    """
    film = film_in(extras for _, extras in conditioning)
    return (said_of_rate(adapter_in(model), film.fps) if film else []) + untrained_size(model, conditioning)


def said_of_rate(adapter: AdapterConfig, fps: float) -> list[str]:
    """That a clip has another frame rate than an adapter was trained on, in a sentence if so.

    Raises:
        ValueError: it is too far off.
    """
    highest = adapter.highest_fps or adapter.fps
    if adapter.fps <= fps <= highest:
        return []
    trained = f"{adapter.fps:g}" if highest == adapter.fps else f"{adapter.fps:g} to {highest:g}"
    differs = f"The adapter was trained on {trained} frames a second and this film has {fps:g}"
    if not adapter.fps / FARTHEST_RATE <= fps <= highest * FARTHEST_RATE:
        raise ValueError(
            f"{differs}, which is too far from it: set fps in ApoAvatar Conditioning to {trained}, and bring the finished film to "
            "another rate with Run Frame Interpolation Model."
        )
    return [f"{differs}: set fps to what it was trained on."]


def refuse_other_rates(executor, model: ModelPatcher, noise_shape, conds: dict[str, list[dict]], *args, **kwargs):
    """PREPARE_SAMPLING wrapper: refuses clips of a frame rate that is too far off, whatever sampler they meet."""
    for condition in chain.from_iterable(conds.values()):
        film = film_in([condition])
        if film is not None:
            said_of_rate(adapter_in(model), film.fps)
    return executor(model, noise_shape, conds, *args, **kwargs)


def transformer_options(model: ModelPatcher) -> dict:
    """The options that a forward call of this MODEL gets: its patches and its wrappers."""
    return {**model.model_options["transformer_options"], "wrappers": model.wrappers}


def refuse_other_conditioning(model: ModelPatcher, conditioning: list) -> None:
    """Refuse CONDITIONING that this MODEL cannot work with, before it is moved to the GPU.

    Raises:
        ValueError: made with a VAE of other latents.
    """
    channels = model.get_model_object("latent_format").latent_channels
    for _, extras in conditioning:
        if extras.get(LATENT_CHANNELS, channels) != channels:
            raise ValueError(
                f"The VAE of the conditioning makes latents of {extras[LATENT_CHANNELS]} channels but the model works on "
                f"{channels}: load the VAE that belongs to the model."
            )


def hint_at_clip_vision(model: ModelPatcher, conditioning: list) -> None:
    """Say in the log that the portrait of a CONDITIONING could be looked at as well; ComfyUI's own nodes run without, too."""
    blind = any("concat_latent_image" in extras and "clip_vision_output" not in extras for _, extras in conditioning)
    if blind and has_clip_vision(model.get_model_object("diffusion_model")):
        logging.info("ApoAvatar: %s", NO_CLIP_VISION)


def untrained_size(model: ModelPatcher, conditioning: list) -> list[str]:
    """Says if a CONDITIONING is for clips of another width and height than this MODEL's adapter was trained on, as far as both
    are known.
    """
    config = adapter_in(model)
    trained = config.width, config.height
    wanted = next((extras[CLIP_SIZE] for _, extras in conditioning if CLIP_SIZE in extras), trained)
    if None in trained or wanted == trained:
        return []
    return [
        "The clip is {}×{} and the adapter was trained on {}×{}: set that width and height in "
        "ApoAvatar Conditioning, or expect less of this size.".format(*wanted, *trained)
    ]
