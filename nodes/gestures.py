"""Gestures: from a voice alone, or of a given track as far as a voice asks for them."""

from __future__ import annotations

from comfy_api.latest import io

from ..apoavatar_core.gestures.from_voice import Dials, gestures_from_voice
from ..apoavatar_core.gestures.refocused import refocus_gestures
from ..apoavatar_core.gestures.style import film_style
from ..apoavatar_core.pose import PersonKeypoints
from ..apoavatar_core.pose.following import Followed, follow, is_there
from ..apoavatar_core.pose.track import to_pose
from ..apoavatar_core.refocusing import frames_of
from .audio import NOBODY, GateType, voice_in
from .pose import PoseKeypoint
from .saying import saying

DEFAULTS = Dials()

SQUARE = (1.0, 1.0)
"""The canvas of a pose in fractions that says nothing of its picture."""


def aspect_of(followed: Followed) -> float:
    """Width over height of the picture that a pose was found in."""
    width, height = followed.canvas or SQUARE
    return width / height


class GesturesFromVoice(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ApoAvatarGesturesFromVoice",
            display_name="Gestures from Voice",
            category="ApoAvatar",
            has_intermediate_output=True,
            description="Make a portrait's body gesture with a voice: hands on the accents, at rest in the pauses.",
            search_aliases=["co-speech", "talking", "audio to pose", "hand gestures", "speech to motion", "body language"],
            inputs=[
                io.Audio.Input("audio", tooltip="The voice, whole."),
                PoseKeypoint.Input("portrait_pose", tooltip="The pose of the portrait that will move, from Extract Pose. "
                                   "Of several frames the first with a person counts."),
                io.Float.Input("fps", default=24.0, min=1.0, max=120.0, step=0.01, tooltip="Frame rate of the video."),
                io.Int.Input("length", default=0, min=0, max=1_000_000,
                             tooltip="Frames to make; 0 makes as many as the voice lasts. After the voice the person listens."),
                io.Int.Input("seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, control_after_generate=True,
                             tooltip="Chooses hands, shapes and places. The same seed gives the same gestures."),
                io.Float.Input("energy", default=DEFAULTS.energy, min=0.0, max=1.0, step=0.05,
                               tooltip="How many accents become gestures: 0 only the strongest, 1 all."),
                io.Float.Input("range", default=DEFAULTS.range, min=0.3, max=2.0, step=0.05, tooltip="Size of the gestures."),
                io.Float.Input("handedness", default=DEFAULTS.handedness, min=-1.0, max=1.0, step=0.1,
                               tooltip="-1 the left hand only, 0 mostly both, 1 the right hand only. A film's strokes keep "
                               "their hands."),
                io.Float.Input("calm", default=DEFAULTS.calm, min=0.0, max=1.0, step=0.05,
                               tooltip="Slower strokes, sooner at rest."),
                PoseKeypoint.Input("film_pose", optional=True, tooltip="The pose of a film whose style is wanted: its "
                                   "strokes are made on this voice's accents, its rest in the pauses."),
                io.Float.Input("film_fps", default=24.0, min=1.0, max=240.0, step=0.01, optional=True,
                               tooltip="Frame rate of film_pose."),
            ],
            outputs=[
                PoseKeypoint.Output(display_name="pose", tooltip="One frame of keypoints for each frame of the video, on the "
                                    "portrait's picture."),
                io.Int.Output(display_name="frames", tooltip="How many they are."),
                io.Float.Output(display_name="fps", tooltip="Their frame rate, for Create Video."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, audio, portrait_pose, fps, length, seed, energy, range, handedness, calm, film_pose=None, film_fps=24.0
    ) -> io.NodeOutput:
        voice = voice_in(audio)
        portrait, style = follow(portrait_pose), None
        if film_pose is not None:
            film = follow(film_pose)
            style = film_style(film.people, aspect_of(film), film_fps)
        frames = length or frames_of(voice, fps)
        person = next(filter(is_there, portrait.people), PersonKeypoints.nobody())
        dials = Dials(energy, range, handedness, calm)
        people = gestures_from_voice(voice.speech, person, aspect_of(portrait), frames, fps, seed, dials, style)
        said = [*portrait.sentences, *([] if voice.speaks else [NOBODY])]
        return io.NodeOutput(to_pose(people, portrait.canvas or SQUARE), frames, fps, ui=saying("Gestures from Voice", said))


class RefocusGestures(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ApoAvatarRefocusGestures",
            display_name="Refocus Gestures",
            category="ApoAvatar",
            has_intermediate_output=True,
            description="Let the gestures of a pose follow a voice: as they are where it is loud, at rest where it is quiet.",
            search_aliases=["pose strength", "audio driven pose", "gesture strength", "loudness gate", "less motion"],
            inputs=[
                PoseKeypoint.Input("pose", tooltip="A track of gestures, from Extract Pose, DWPose or SDPose, at the clip's "
                                   "frame rate."),
                GateType.Input("gate", tooltip="From Audio Loudness Refocusing, for as many frames as the pose has."),
                io.Float.Input("strength", default=1.0, min=0.0, max=2.0, step=0.05,
                               tooltip="How much of the gestures is left where the voice is loudest: 0 none, 1 all, above 1 "
                               "they get larger."),
                io.Boolean.Input("head", default=False, tooltip="Scale the motion of the head and the face too, the mouth "
                                 "with it; otherwise they are left alone."),
            ],
            outputs=[PoseKeypoint.Output(display_name="pose", tooltip="The same track with its gestures scaled.")],
        )  # fmt: skip

    @classmethod
    def execute(cls, pose: list[dict], gate, strength: float, head: bool) -> io.NodeOutput:
        followed = follow(pose)
        people = refocus_gestures(followed.people, gate.keep, aspect_of(followed), strength, head)
        return io.NodeOutput(to_pose(people, followed.canvas or SQUARE), ui=saying("Refocus Gestures", followed.sentences))
