"""Decoupled guidance (§3.4, Eq. 8) as a native GUIDER."""

from __future__ import annotations

import logging

import comfy.samplers
import torch

from ..guidance import GuidanceScales, evaluation_plan, guided_prediction
from .attaching import adapter_in, hint_at_clip_vision, refuse_other_conditioning
from .conditions import keep_modalities, modalities_in

NOTHING: frozenset[str] = frozenset()
"""What S0 keeps."""


class DecoupledGuider(comfy.samplers.CFGGuider):
    """Eq. 8: the states it needs are evaluated in one batched call per step.

    The hooks that other nodes put on the MODEL act as under the native guider. Their conditional is the fullest state that
    is evaluated, their unconditional S0 (where it is evaluated), their scale λ_txt, for S0's coefficient is 1 − λ_txt.
    """

    def __init__(self, model, positive, negative, scales: GuidanceScales):
        adapter_in(model)
        for conditioning in (positive, negative):
            refuse_other_conditioning(model, conditioning)
        hint_at_clip_vision(model, positive)
        super().__init__(model)
        self.scales = scales
        self.set_conds(positive, negative)
        self.set_cfg(scales.text)
        if "sampler_cfg_function" in model.model_options and scales.text == 0:
            logging.warning(
                "Decoupled CFG Guider: the model's sampler_cfg_function (RescaleCFG and the like) has no effect where "
                "text_scale is 0 and another scale is not: raise text_scale or leave that node out."
            )

    def predict_noise(self, x, timestep, model_options={}, seed=None):
        positive, negative = self.conds["positive"], self.conds["negative"]
        present = modalities_in(positive)
        coefficients = dict(evaluation_plan(self.scales, present))
        if model_options.get("disable_cfg1_optimization", False):  # a hook wants S0 though it has no weight
            coefficients.setdefault(NOTHING, 0.0)
        of_null = coefficients.pop(NOTHING, None)
        fullest, *others = coefficients or {present: 0.0}

        def state(kept: frozenset[str]) -> list[dict]:
            return keep_modalities(positive, negative, kept)

        pair = [state(fullest), None if of_null is None else state(NOTHING)]  # None as in the native guider
        (full, null), between = self.evaluated(pair, [state(kept) for kept in others], x, timestep, model_options)
        if others:
            weights = [coefficients[kept] for kept in (fullest, *others)]
            model_options = with_equation_8(model_options, null, of_null or 0.0, [full, *between], weights)
        return comfy.samplers.cfg_function(
            self.inner_model, full, null, self.cfg, x, timestep, model_options, cond=pair[0], uncond=pair[1]
        )

    def evaluated(
        self, pair: list, others: list, x: torch.Tensor, timestep: torch.Tensor, model_options: dict
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """The predictions of conditional and unconditional, after the hooks that act on them, and of the other states."""
        model = self.inner_model
        told = {"conds": pair, "input": x, "sigma": timestep, "model": model, "model_options": model_options}
        if "sampler_calc_cond_batch_function" in model_options:
            of_pair = model_options["sampler_calc_cond_batch_function"](told)
            of_others = comfy.samplers.calc_cond_batch(model, others, x, timestep, model_options) if others else []
        else:
            predictions = comfy.samplers.calc_cond_batch(model, pair + others, x, timestep, model_options)
            of_pair, of_others = predictions[:2], predictions[2:]
        for hook in model_options.get("sampler_pre_cfg_function", []):
            of_pair = hook({**told, "conds_out": of_pair, "cond_scale": self.cfg, "timestep": timestep})
        return of_pair, of_others


def with_equation_8(
    model_options: dict, null: torch.Tensor, of_null: float, conditional: list[torch.Tensor], weights: list[float]
) -> dict:
    """Model options in which Eq. 8, of more than two states, takes the place of the native sum of two.

    Eq. 8 is null + λ_txt (mean − null) with the mean of the conditional predictions under their weights, which sum to λ_txt.
    So a `sampler_cfg_function` of the MODEL gets that mean as its conditional. Without λ_txt there is none.
    """
    hook = model_options.get("sampler_cfg_function")

    def combine(args: dict) -> torch.Tensor:
        x, scale = args["input"], args["cond_scale"]
        if hook is None or scale == 0:
            return x - guided_prediction([null, *conditional], [of_null, *weights])
        mean = guided_prediction(conditional, [weight / scale for weight in weights])
        return hook({**args, "cond": x - mean, "cond_denoised": mean})

    return {**model_options, "sampler_cfg_function": combine}
