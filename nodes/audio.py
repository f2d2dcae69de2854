"""Audio: how loudness refocuses the pose prior (§3.2)."""

from __future__ import annotations

import json

import torch
from comfy_api.latest import io

from ..apoavatar_core.comfyui.cancelling import end_if_cancelled
from ..apoavatar_core.hearing import HeardVoice, heard_voice
from ..apoavatar_core.refocusing import RefocusingConfig, frames_of, gate_of
from ..apoavatar_core.refocusing_plot import drawn_numbers, plot_gate
from .saying import saying

GateType = io.Custom("APOAVATAR_GATE")

NOBODY = "Nobody speaks or sings in this audio: the body rests."


def voice_in(audio: dict | None) -> HeardVoice:
    """The voice of AUDIO.

    Raises:
        ValueError: there is none (a video without a sound track gives None), or the sound is unusable.
    """
    if audio is None:
        raise ValueError("audio is missing: connect a node that gives sound (the video may have no sound track).")
    return heard_voice(audio["waveform"], audio["sample_rate"], end_if_cancelled)


class LoudnessRefocusing(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        defaults = RefocusingConfig()
        return io.Schema(
            node_id="ApoAvatarLoudnessRefocusing",
            display_name="Audio Loudness Refocusing",
            category="ApoAvatar",
            has_intermediate_output=True,
            description="Weigh each pose frame by how loud the voice is: accents keep the gesture, quiet parts let it rest.",
            search_aliases=["voice", "loudness gate", "audio reactive", "envelope", "rms", "gesture strength"],
            inputs=[
                io.Audio.Input("audio", tooltip="The voice."),
                io.Float.Input("fps", default=24.0, min=1.0, max=120.0, step=0.01, tooltip="Frame rate of the video."),
                io.Int.Input(
                    "frames", default=0, min=0, max=1_000_000, step=1,
                    tooltip="Length of the clip in video frames; 0 for as long as the voice.",
                ),
                io.Float.Input(
                    "alpha", default=defaults.alpha, min=0.0, max=100.0, step=0.1, advanced=True,
                    tooltip="α: how sharply the gate opens.",
                ),
                io.Float.Input(
                    "beta", default=defaults.beta, min=0.0, max=1.0, step=0.01, advanced=True,
                    tooltip="β: the relative loudness at which the gate is half open.",
                ),
                io.Float.Input(
                    "tau", default=defaults.tau, min=0.01, max=100.0, step=0.1, advanced=True,
                    tooltip="τ: how much the loudest moment of a frame counts over the rest of it.",
                ),
                io.Float.Input(
                    "q_low", default=defaults.q_low, min=0.0, max=100.0, step=1.0, advanced=True,
                    tooltip="Percentile of the clip's loudness that counts as silent.",
                ),
                io.Float.Input(
                    "q_high", default=defaults.q_high, min=0.0, max=100.0, step=1.0, advanced=True,
                    tooltip="Percentile of the clip's loudness that counts as loud.",
                ),
            ],
            outputs=[
                GateType.Output(display_name="gate", tooltip="For the gate input of ApoAvatar Conditioning."),
                io.Image.Output(display_name="plot", tooltip="The waveform with the keep weight over it."),
                # One list, not a FLOAT per frame: what nodes that take a weight for each frame expect.
                io.Float.Output(display_name="keep_weights", tooltip="1 − p for every frame, as one list."),
            ],
        )

    @classmethod
    def execute(cls, audio, fps, frames, alpha, beta, tau, q_low, q_high) -> io.NodeOutput:
        voice = voice_in(audio)
        gate = gate_of(voice, frames or frames_of(voice, fps), fps, RefocusingConfig(alpha, beta, tau, q_low, q_high))
        plot = torch.from_numpy(plot_gate(voice.samples, gate)).float()[None] / 255
        said = saying("Audio Loudness Refocusing", [] if voice.speaks else [NOBODY])
        # As text: ComfyUI counts a dict as a result of the run.
        drawn = {"apoavatar_gate": [json.dumps(drawn_numbers(voice.samples, gate, beta))]}
        return io.NodeOutput(gate, plot, gate.keep.tolist(), ui=said | drawn)
