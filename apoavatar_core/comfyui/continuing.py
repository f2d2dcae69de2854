"""Clips that go on from earlier frames, and portraits that are held: latents that enter the model as they are."""

from __future__ import annotations

import torch

from ..grid import video_frames
from .conditions import MOTION
from .wan import held_latents, with_leading


def hold_given(
    executor, x, timestep, c_concat=None, c_crossattn=None, control=None, transformer_options={}, **kwargs
) -> torch.Tensor:
    """APPLY_MODEL wrapper: latents of earlier frames take the place of the first noisy ones; without them a reference
    latent does, wherever one is given.

    Done where ComfyUI's InfiniteTalk node does it, so that the prediction of those latents starts from it too.
    """
    motion = kwargs.pop(MOTION, None)
    if motion is None:
        x = held_latents(x, c_concat)
    else:
        refuse_context_windows(transformer_options)
        motion = executor.class_obj.process_latent_in(motion).to(x)
        x = torch.cat([motion, x[:, :, motion.shape[2] :]], dim=2)
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
    motion = kwargs.pop(MOTION, None)
    if motion is not None:
        refuse_context_windows(transformer_options)
        refuse_other_lengths(motion.shape[2], most)
        c_concat = with_leading(c_concat, executor.class_obj.process_latent_in(motion).to(c_concat))
    x = held_latents(x, c_concat)
    prediction = executor(x, timestep, c_concat, c_crossattn, control, transformer_options, **kwargs)
    return held_latents(prediction, c_concat)


def refuse_context_windows(transformer_options: dict) -> None:
    """Refuse earlier frames in context windows.

    Raises:
        ValueError: the call is one of a window.
    """
    if "context_window" in transformer_options:
        raise ValueError(
            "A clip that goes on from previous_frames cannot be made in context windows: leave out the Context Windows "
            "node and make the clip in pieces, each from the end of the one before."
        )


def refuse_other_lengths(latents: int, most: int) -> None:
    """Refuse more or fewer latents of earlier frames than an adapter learned to go on from, 2 to `most`.

    Raises:
        ValueError: with the numbers of frames that will do.
    """
    if most < 2:
        raise ValueError("This adapter was not trained to go on from earlier frames: choose 'nothing' in continue_from.")
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
    samples = executor(*args, **kwargs)
    for condition in executor.class_obj.conds["positive"]:
        if MOTION in condition["model_conds"]:
            motion = condition["model_conds"][MOTION].cond.to(samples)
            return torch.cat([motion.expand(len(samples), *motion.shape[1:]), samples[:, :, motion.shape[2] :]], dim=2)
    return samples
