"""Gestures: from a voice alone, or of a given track as far as a voice asks for them."""

from __future__ import annotations

from comfy_api.latest import io

from ..apoavatar_core.gestures.from_voice import Dials, gestures_from_voice
from ..apoavatar_core.gestures.refocused import refocus_gestures
from ..apoavatar_core.gestures.style import film_style
from ..apoavatar_core.hearing import heard_voice
from ..apoavatar_core.pose import PersonKeypoints, canvas_size, from_frame, to_frame
from ..apoavatar_core.refocusing import frames_of
from .audio import GateType
from .pose import PoseKeypoint

DEFAULTS = Dials()


def canvas_of(pose: list[dict]) -> tuple[float, float]:
    """Width and height of the picture that a pose was found in; a square of 1 for fractions that do not say."""
    return next((size for size in map(canvas_size, pose) if size is not None), (1.0, 1.0))


def first_person(pose: list[dict]) -> PersonKeypoints:
    people = map(from_frame, pose)
    return next((person for person in people if person.points[:, 2].any()), PersonKeypoints.nobody())


def keypoint_frames(people: list[PersonKeypoints], canvas: tuple[float, float]) -> list[dict]:
    return [to_frame(person, round(canvas[0]), round(canvas[1])) for person in people]


class GesturesFromVoice(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ApoAvatarGesturesFromVoice",
            display_name="Gestures from Voice",
            category="ApoAvatar",
            description="Make a portrait's body gesture with a voice: hands on the accents, at rest in the pauses.",
            search_aliases=["co-speech gestures", "audio to pose", "hand gestures", "speech to motion", "body language"],
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
        if audio is None:
            raise ValueError("audio is missing: connect a node that gives sound (the video may have no sound track).")
        voice = heard_voice(audio["waveform"], audio["sample_rate"])
        speech = voice.samples if voice.speaks else voice.samples * 0  # who hears hiss or music listens
        style = None
        if film_pose is not None:
            film_canvas = canvas_of(film_pose)
            style = film_style([from_frame(frame) for frame in film_pose], film_canvas[0] / film_canvas[1], film_fps)
        frames = length or frames_of(voice, fps)
        canvas = canvas_of(portrait_pose)
        dials = Dials(energy, range, handedness, calm)
        person = first_person(portrait_pose)
        people = gestures_from_voice(speech, person, canvas[0] / canvas[1], frames, fps, seed, dials, style)
        return io.NodeOutput(keypoint_frames(people, canvas), frames, fps)


class RefocusGestures(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ApoAvatarRefocusGestures",
            display_name="Refocus Gestures",
            category="ApoAvatar",
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
        canvas = canvas_of(pose)
        people = [from_frame(frame) for frame in pose]
        return io.NodeOutput(keypoint_frames(refocus_gestures(people, gate.keep, canvas[0] / canvas[1], strength, head), canvas))
