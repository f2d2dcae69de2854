"""Sampling: decoupled guidance (§3.4, Eq. 8), and a sampler with everything in one node."""

from __future__ import annotations

import comfy.samplers
from comfy_api.latest import io
from comfy_extras.nodes_custom_sampler import BasicScheduler, KSamplerSelect, RandomNoise, SamplerCustomAdvanced
from comfy_extras.nodes_model_advanced import ModelSamplingSD3

from ..apoavatar_core.comfyui.attaching import said_of_clip
from ..apoavatar_core.comfyui.guider import DecoupledGuider
from ..apoavatar_core.guidance import GuidanceScales
from .saying import saying


def _scale(name: str, default: float, tooltip: str) -> io.Float.Input:
    return io.Float.Input(name, default=default, min=0.0, max=100.0, step=0.1, tooltip=tooltip)


def guidance_inputs() -> list[io.Input]:
    return [
        io.Model.Input("model", tooltip="With an ApoAvatar adapter in it."),
        io.Conditioning.Input("positive", tooltip="From ApoAvatar Conditioning."),
        io.Conditioning.Input("negative", tooltip="From ApoAvatar Conditioning."),
        _scale("text_scale", 2.0, "λ_txt: how strongly the prompt acts."),
        _scale("image_scale", 2.0, "λ_img: how strongly the reference image acts."),
        _scale("audio_scale", 3.0, "λ_audio: how strongly the voice drives mouth and gestures."),
        _scale("pose_scale", 2.0, "λ_pose: how strongly a given pose acts; without a pose it has no effect."),
    ]


class Guider(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ApoAvatarDecoupledCFGGuider",
            display_name="Decoupled CFG Guider",
            category="ApoAvatar",
            has_intermediate_output=True,
            description="One guidance scale each for text, image, audio and pose. Equal scales cost two evaluations a step, "
            "all ones cost one.",
            search_aliases=["cfg", "guidance", "audio cfg", "multi cfg", "dual cfg"],
            inputs=guidance_inputs(),
            outputs=[io.Guider.Output(tooltip="For Sampler Custom (Advanced) or Long Video.")],
        )

    @classmethod
    def execute(cls, model, positive, negative, text_scale, image_scale, audio_scale, pose_scale) -> io.NodeOutput:
        scales = GuidanceScales(text_scale, image_scale, audio_scale, pose_scale)
        guider = DecoupledGuider(model, positive, negative, scales)
        return io.NodeOutput(guider, ui=saying("Decoupled CFG Guider", said_of_clip(model, positive)))


class Sampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ApoAvatarSampler",
            display_name="ApoAvatar Sampler",
            category="ApoAvatar",
            has_intermediate_output=True,
            description="Sample a clip with decoupled guidance.",
            search_aliases=["talking avatar", "cfg", "guidance", "ksampler", "speech to video"],
            inputs=[
                *guidance_inputs(),
                io.Latent.Input("latent", tooltip="From ApoAvatar Conditioning."),
                io.Int.Input(
                    "seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, control_after_generate=True,
                    tooltip="Of the noise: the same seed gives the same clip.",
                ),
                io.Int.Input("steps", default=20, min=1, max=1000, tooltip="More is slower and finer."),
                io.Float.Input(
                    "shift", default=3.0, min=0.01, max=100.0, step=0.01,
                    tooltip="More shift spends more steps on the coarse shape of the motion.",
                ),
                io.Combo.Input(
                    "sampler_name", options=comfy.samplers.SAMPLER_NAMES, default="euler",
                    tooltip="ComfyUI's own; the pack is tested with euler.",
                ),
                io.Combo.Input(
                    "scheduler", options=comfy.samplers.SCHEDULER_NAMES, default="simple",
                    tooltip="ComfyUI's own; the pack is tested with simple.",
                ),
            ],
            outputs=[io.Latent.Output(tooltip="The finished clip, for VAE Decode.")],
        )

    @classmethod
    def execute(
        cls, model, positive, negative, text_scale, image_scale, audio_scale, pose_scale, latent, seed, steps, shift,
        sampler_name, scheduler,
    ) -> io.NodeOutput:
        (model,) = ModelSamplingSD3().patch(model, shift)
        guider = DecoupledGuider(model, positive, negative, GuidanceScales(text_scale, image_scale, audio_scale, pose_scale))
        said = saying("ApoAvatar Sampler", said_of_clip(model, positive))
        (noise,) = RandomNoise.execute(seed).result
        (sampler,) = KSamplerSelect.execute(sampler_name).result
        (sigmas,) = BasicScheduler.execute(model, scheduler, steps, 1.0).result
        return io.NodeOutput(SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, latent).result[0], ui=said)
