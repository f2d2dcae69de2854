"""Decoupled guidance (§3.4, Eq. 8) as a native GUIDER."""

from __future__ import annotations

import comfy.samplers

from ..guidance import GuidanceScales, evaluation_plan, guided_prediction
from .attaching import has_adapter, hint_at_clip_vision, refuse_other_conditioning
from .conditions import keep_modalities, modalities_in


class DecoupledGuider(comfy.samplers.CFGGuider):
    """Eq. 8: the states it needs are evaluated in one batched call per step."""

    def __init__(self, model, positive, negative, scales: GuidanceScales):
        if not has_adapter(model):
            raise ValueError("The model has no ApoAvatar adapter: put Apply ApoAvatar Adapter before this node.")
        for conditioning in (positive, negative):
            refuse_other_conditioning(model, conditioning)
        hint_at_clip_vision(model, positive)
        super().__init__(model)
        self.scales = scales
        self.set_conds(positive, negative)

    def predict_noise(self, x, timestep, model_options={}, seed=None):
        positive, negative = self.conds["positive"], self.conds["negative"]
        plan = evaluation_plan(self.scales, modalities_in(positive))
        states = [keep_modalities(positive, negative, kept) for kept, _ in plan]
        predictions = comfy.samplers.calc_cond_batch(self.inner_model, states, x, timestep, model_options)
        return guided_prediction(predictions, [coefficient for _, coefficient in plan])
