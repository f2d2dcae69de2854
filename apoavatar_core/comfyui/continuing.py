"""Clips that go on from earlier frames, and portraits that are held: latents that are given and not made."""

from __future__ import annotations

import torch

from ..grid import video_frames
from .conditions import MOTION
from .wan import has_image_condition, held_latents, with_leading


def hold_given(
    executor, x, timestep, c_concat=None, c_crossattn=None, control=None, transformer_options={}, **kwargs
) -> torch.Tensor:
    """APPLY_MODEL wrapper: latents of earlier frames take the place of the first noisy ones; without them a reference
    latent does, wherever one is given.

    Done where ComfyUI's InfiniteTalk node does it, so that the prediction of those latents starts from it too.
    """
    motion = taken_motion(executor, transformer_options, kwargs)
    x = held_latents(x, c_concat) if motion is None else with_first(x, motion)
    return executor(x, timestep, c_concat, c_crossattn, control, transformer_options, **kwargs)


def hold_leading(
    most: int,
    executor,
    x,
    timestep,
    c_concat=None,
    c_crossattn=None,
    control=None,
    transformer_options={},
    **kwargs,
) -> torch.Tensor:
    """APPLY_MODEL wrapper for adapters that learned to go on from up to `most` latents: those of earlier frames become the
    image condition's first, whatever else the state shows; what the image condition gives is held, and predicted as itself.
    """
    motion = taken_motion(executor, transformer_options, kwargs)
    if motion is not None:
        refuse_other_lengths(motion.shape[2], most)
        c_concat = with_leading(c_concat, motion.to(c_concat))
    x = held_latents(x, c_concat)
    prediction = executor(x, timestep, c_concat, c_crossattn, control, transformer_options, **kwargs)
    return held_latents(prediction, c_concat)


def hold_reference(
    executor, x, timestep, c_concat=None, c_crossattn=None, control=None, transformer_options={}, **kwargs
) -> torch.Tensor:
    """APPLY_MODEL wrapper for adapters that learned to hold the portrait's latent alone: it is held where a film begins."""
    if kwargs.get(MOTION) is None:
        return hold_leading(1, executor, x, timestep, c_concat, c_crossattn, control, transformer_options, **kwargs)
    taken_motion(executor, transformer_options, kwargs)
    return executor(x, timestep, c_concat, c_crossattn, control, transformer_options, **kwargs)


def show_leading(
    most: int,
    executor,
    x,
    timestep,
    c_concat=None,
    c_crossattn=None,
    control=None,
    transformer_options={},
    **kwargs,
) -> torch.Tensor:
    """APPLY_MODEL wrapper for adapters that hold nothing. Where they learned, as MultiTalk did, to be shown up to `most` latents of
    earlier frames, these become the image condition's first; else the image condition goes on showing the portrait, with which
    colours drift less from window to window than with the film's own last frame (docs/experiments.md).
    """
    motion = taken_motion(executor, transformer_options, kwargs)
    if motion is not None and most > 1:
        refuse_other_lengths(motion.shape[2], most)
        if has_image_condition(x, c_concat):
            c_concat = with_leading(c_concat, motion.to(c_concat))
    return executor(x, timestep, c_concat, c_crossattn, control, transformer_options, **kwargs)


def taken_motion(executor, transformer_options: dict, values: dict) -> torch.Tensor | None:
    """The latents of earlier frames as the model sees them, taken out of what a call of it is given; None without any.

    Raises:
        ValueError: the call is one of a context window.
    """
    motion = values.pop(MOTION, None)
    if motion is None:
        return None
    if "context_window" in transformer_options:
        raise ValueError(
            "A clip that goes on from previous_frames cannot be made in context windows: leave out the Context Windows "
            "node and make the clip in pieces, each from the end of the one before."
        )
    return executor.class_obj.process_latent_in(motion)


def refuse_other_lengths(latents: int, most: int) -> None:
    """Refuse more or fewer latents of earlier frames than an adapter learned to go on from, 2 to `most`.

    Raises:
        ValueError: with the numbers of frames that will do.
    """
    if not 2 <= latents <= most:
        choices = " or ".join(str(video_frames(count)) for count in range(2, most + 1))
        raise ValueError(
            f"The clip begins with {video_frames(latents)} earlier frames but this adapter learned to go on from {choices}: set "
            f"motion_frames to {choices}."
        )


def end_with_motion(executor, *args, **kwargs):
    """OUTER_SAMPLE wrapper: a clip that goes on from earlier frames begins with exactly their latents, so that the VAE
    decodes what follows as their continuation.
    """
    motion = motion_of(executor.class_obj)
    samples = executor(*args, **kwargs)
    return samples if motion is None else with_first(samples, motion)


def keep_motion(executor, noise, latent_image, sampler, sigmas, denoise_mask=None, *args, **kwargs):
    """OUTER_SAMPLE wrapper for adapters that hold no earlier frames: their latents are kept as ComfyUI's inpainting keeps what a
    noise mask leaves out, and the clip begins with exactly them.
    """
    guider = executor.class_obj
    motion = motion_of(guider)
    if motion is None:
        return executor(noise, latent_image, sampler, sigmas, denoise_mask, *args, **kwargs)
    if denoise_mask is None:
        denoise_mask = torch.ones_like(latent_image, device=guider.model_patcher.load_device)
    mask = with_first(denoise_mask, torch.zeros_like(motion))
    samples = executor(noise, with_first(latent_image, motion), sampler, sigmas, mask, *args, **kwargs)
    return with_first(samples, motion)


def motion_of(guider) -> torch.Tensor | None:
    """The latents of earlier frames that a GUIDER's clip goes on from."""
    told = (condition["model_conds"] for condition in guider.conds["positive"])
    return next((conditions[MOTION].cond for conditions in told if MOTION in conditions), None)


def with_first(samples: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """samples [B, C, T_lat, h, w] that begin with `latents` [1 or B, C, k, h, w]."""
    latents = latents.to(samples).expand(len(samples), *latents.shape[1:])
    return torch.cat([latents, samples[:, :, latents.shape[2] :]], dim=2)
