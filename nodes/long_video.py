"""Long Video: a voice of any length becomes a film, window after window."""

from __future__ import annotations

from comfy_api.latest import io

from ..apoavatar_core.comfyui.film_making import LongVideo as Making
from ..apoavatar_core.comfyui.windowed_sampling import Expert, Sampling
from .saying import saying


class LongVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        defaults = Making(None, None)
        return io.Schema(
            node_id="ApoAvatarLongVideo",
            display_name="Long Video",
            category="ApoAvatar",
            has_intermediate_output=True,
            description="Sample a film as long as the voice, window after window, in the memory of one. Every finished window is "
            "kept on the disk: after a cancelled or broken run, queue again and the film goes on.",
            search_aliases=["talking avatar", "infinite", "video of any length", "context windows", "resume"],
            inputs=[
                io.Noise.Input("noise", tooltip="From Random Noise; each window gets noise of its own from its seed."),
                io.Guider.Input("guider", tooltip="Any guider with the outputs of ApoAvatar Conditioning: Decoupled CFG Guider."),
                io.Sampler.Input("sampler", tooltip="From KSampler Select."),
                io.Sigmas.Input("sigmas", tooltip="The steps of every window, from Basic Scheduler."),
                io.Audio.Input("audio", tooltip="The film's sound, as it is: the recording of the voice."),
                io.Int.Input(
                    "length", default=defaults.frames, min=0, max=10_000_000, step=1,
                    tooltip="Video frames of the film; 0 for as long as audio.",
                ),
                io.Int.Input(
                    "motion_frames", default=defaults.motion_frames, min=1, max=33, step=4,
                    tooltip="How many frames of the window before a window begins with: 4n+1.",
                ),
                io.Float.Input(
                    "crf", default=defaults.crf, min=0.0, max=51.0, step=1.0,
                    tooltip="Quality of the H.264 film: lower is better and larger.",
                ),
                io.Guider.Input(
                    "low_noise_guider", optional=True,
                    tooltip="For Wan 2.2 14B: a guider like the first, of the low-noise model. The first has the high-noise model.",
                ),
                io.Sigmas.Input(
                    "low_noise_sigmas", optional=True,
                    tooltip="For Wan 2.2 14B: low_sigmas of Split Sigmas, whose high_sigmas go to sigmas.",
                ),
            ],
            outputs=[io.Video.Output(tooltip="The film with its sound, for Save Video.")],
        )

    @classmethod
    def execute(
        cls, noise, guider, sampler, sigmas, audio, length, motion_frames, crf, low_noise_guider=None, low_noise_sigmas=None
    ) -> io.NodeOutput:
        if audio is None:
            raise ValueError("audio is missing: connect a node that gives sound (the video may have no sound track).")
        if (low_noise_guider is None) != (low_noise_sigmas is None):
            raise ValueError("low_noise_guider and low_noise_sigmas belong together: connect both, or neither.")
        low_noise = None if low_noise_guider is None else Expert(low_noise_guider, low_noise_sigmas)
        film = Making(Sampling(noise, guider, sampler, sigmas, low_noise), audio, length, motion_frames, crf)
        video, said = film.made()
        return io.NodeOutput(video, ui=saying("Long Video", said))
