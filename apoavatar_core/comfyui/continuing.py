"""Clips that go on from earlier frames, and portraits that are held: latents that enter the model as they are."""

from __future__ import annotations

import torch

from .conditions import MOTION
from .wan import held_latents


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
        if "context_window" in transformer_options:
            raise ValueError(
                "A clip that goes on from previous_frames cannot be made in context windows: leave out the Context Windows "
                "node and make the clip in pieces, each from the end of the one before."
            )
        motion = executor.class_obj.process_latent_in(motion).to(x)
        x = torch.cat([motion, x[:, :, motion.shape[2] :]], dim=2)
    return executor(x, timestep, c_concat, c_crossattn, control, transformer_options, **kwargs)


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
