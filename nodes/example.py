"""The first node of every workflow: the pack's own portrait and voice, until a user connects others."""

from __future__ import annotations

from comfy_api.latest import io

from ..apoavatar_core.comfyui import examples


class Example(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ApoAvatarExample",
            display_name="ApoAvatar Example",
            category="ApoAvatar",
            description="A portrait, a voice and films to try the pack with. What you connect takes the place of what it has.",
            search_aliases=["talking avatar", "portrait", "voice", "sample inputs", "load image", "load audio"],
            inputs=[
                io.Image.Input("portrait", optional=True, tooltip="Your picture of a person, from Load Image."),
                io.Audio.Input("voice", optional=True, tooltip="Your recording, from Load Audio."),
                io.Video.Input("film", optional=True, tooltip="Your film of somebody who gestures, from Load Video."),
                io.Video.Input("pose", optional=True, tooltip="Your video of drawn skeletons, from Load Video."),
            ],
            outputs=[
                io.Image.Output(display_name="portrait", tooltip="The connected portrait, or the drawn presenter."),
                io.Audio.Output(display_name="voice", tooltip="The connected voice, or two seconds of hers."),
                io.Video.Output(display_name="film", tooltip="The connected film, or two seconds of a drawn man who gestures."),
                io.Video.Output(display_name="pose", tooltip="The connected poses, or two seconds of a skeleton that gestures."),
            ],
        )

    @classmethod
    def execute(cls, portrait=None, voice=None, film=None, pose=None) -> io.NodeOutput:
        return io.NodeOutput(
            examples.portrait() if portrait is None else portrait,
            examples.voice() if voice is None else voice,
            examples.film() if film is None else film,
            examples.drawn_pose() if pose is None else pose,
        )
