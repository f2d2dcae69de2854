"""Conditioning: text, reference, voice and pose become what the sampler works on."""

from __future__ import annotations

from comfy_api.latest import Input, io

from ..apoavatar_core.comfyui.clip_values import Earlier, earlier_frames, portrait_in
from ..apoavatar_core.comfyui.film import Film, PortraitFilm, Portraits, with_film
from ..apoavatar_core.comfyui.film_time import pictures_at
from ..apoavatar_core.comfyui.pictures import fitted
from ..apoavatar_core.comfyui.portraits import FittedPortrait, fit_portrait
from ..apoavatar_core.conditioning.clip import ClipShape, refuse_parts_of_tokens
from ..apoavatar_core.conditioning.cropping import CENTRE, KEEP_PERSON, PAD, Crop
from ..apoavatar_core.conditioning.pose import (
    Pictures,
    PoseDial,
    PoseFilm,
    film_of,
    fit_of,
    looped_film,
    portrait_of,
    said_of_pictures,
)
from ..apoavatar_core.conditioning.voice import Voice, frames_of_voice, voice_of
from ..apoavatar_core.grid import FRAMES_PER_LATENT, round_to_clip_length
from ..apoavatar_core.pose.track_clip import HOLD, LOOP
from ..apoavatar_core.speaking_prompt import SPEAKING_PROMPT, append_tokens
from .audio import GateType
from .choices import chosen
from .pose import PoseKeypoint
from .saying import saying

POSE_FREE, HARD, REFOCUSED = "pose_free", "hard", "refocused"
DIAL = {"pose_strength": 1.0, "pose_start_percent": 0.0, "pose_end_percent": 1.0}
"""What is taken where a prompt of the HTTP API names none: ComfyUI hands None to the node then."""
LONGEST_WINDOW = 81
"""Video frames that Wan models make at once."""
NOTHING, PREVIOUS_FRAMES = "nothing", "previous_frames"


def speaking(conditioning: list, clip) -> list:
    """CONDITIONING with the paper's speaking prompt (§4.1) behind its text; as it is without a CLIP to encode that."""
    if clip is None:
        return conditioning
    (addition, _), *_ = clip.encode_from_tokens_scheduled(clip.tokenize(SPEAKING_PROMPT))
    return [[append_tokens(text, addition), extras] for text, extras in conditioning]


def earlier_in(choice: dict, vae, width: int, height: int) -> Earlier:
    """What the clip goes on from."""
    if choice["continue_from"] == NOTHING:
        return Earlier()
    return earlier_frames(choice["previous_frames"], choice["motion_frames"], vae, width, height)


def pose_in(choice: dict, fps: float, crop: Crop | None = None) -> PoseFilm | None:
    """The pose of the chosen mode, at the film's frame rate; where it has the portrait's shape, cropped as the portrait is."""
    if choice["pose_mode"] == POSE_FREE:
        return None
    dial = PoseDial(*(usual if choice.get(name) is None else choice[name] for name, usual in DIAL.items()))
    pose, reference = choice["pose"], choice.get("reference_pose")
    if isinstance(pose, Input.Video):
        film = pictures_at(pose, fps, "pose")
        said = said_of_pictures(film)
    else:
        film, said = film_of(pose, choice.get("pose_fps") or fps, fps)
    gate = choice["gate"] if choice["pose_mode"] == REFOCUSED else None
    return PoseFilm(film, gate, None if reference is None else portrait_of(reference), dial, crop, said)


def portrait_shown(image, source: Pictures | None, width: int, height: int, fit: str, vae) -> FittedPortrait | None:
    """The portrait, or the first picture of a film in its place; None without either.

    Raises:
        ValueError: there are both.
    """
    if source is None:
        return None if image is None else fit_portrait(image, width, height, fit, vae)
    if image is not None:
        raise ValueError("reference_image and source_video both say who speaks: connect one of them.")
    return fit_portrait(source.part(slice(1)), width, height, fit, vae)


def said_of_source(source: Pictures | None, voice: Voice, fps: float) -> list[str]:
    """How a film in the portrait's place fits the voice, in a sentence where it is shorter."""
    frames = frames_of_voice(voice, fps)
    if source is None or len(source) + FRAMES_PER_LATENT > frames:
        return []
    return [f"source_video lasts {len(source) / fps:.1f} s and the voice {frames / fps:.1f} s: from there on its last picture stays."]


def length_for(length: int, voice: Voice, fps: float, start: int) -> int:
    """Frames of a clip that begins with frame `start` of the film: those asked for, or with 0 what is left of the voice,
    at most one window, as 4n + 1.
    """
    left = max(frames_of_voice(voice, fps) - start, 1)
    return round_to_clip_length(length or min(left, LONGEST_WINDOW))


def changes_to(length: int, film: Film, frames: int) -> list[str]:
    """What was done to make the inputs fit a clip of so many frames, in sentences."""
    rounded = [] if length in (0, frames) else [f"length {length} is not 4n+1: {frames} frames are made."]
    spoken = frames_of_voice(film.voice, film.fps)
    if length == 0 and film.start + frames < spoken - FRAMES_PER_LATENT:
        rounded = [
            f"The voice lasts {spoken / film.fps:.1f} s and this clip goes up to {(film.start + frames) / film.fps:.1f} s: Long "
            "Video makes a film of the whole voice; other samplers leave the rest out."
        ]
    if film.pose is None:
        return rounded
    whole = film.shape(film.start, frames if length else max(frames, spoken - film.start))
    return rounded + film.pose.said + fit_of(film.pose, whole)


def pose_inputs(*more: io.Input) -> list[io.Input]:
    """What following a pose needs."""
    return [
        io.MultiType.Input(
            "pose", types=[PoseKeypoint, io.Image, io.Video],
            tooltip="Keypoints or rendered pose frames, of the whole video. A VIDEO is followed by its own time.",
        ),
        *more,
        io.MultiType.Input(
            "reference_pose", types=[PoseKeypoint, io.Image], optional=True,
            tooltip="Pose of the portrait itself, for UniAnimate's pose model.",
        ),
        io.Float.Input(
            "pose_strength", optional=True, default=DIAL["pose_strength"], min=0.0, max=10.0, step=0.01,
            tooltip="How strongly the pose acts: 1 as it was trained, less for calmer movements, 0 not at all.",
        ),
        io.Float.Input(
            "pose_start_percent", optional=True, default=DIAL["pose_start_percent"], min=0.0, max=1.0, step=0.001,
            tooltip="Share of the sampling from which on the pose acts.",
        ),
        io.Float.Input(
            "pose_end_percent", optional=True, default=DIAL["pose_end_percent"], min=0.0, max=1.0, step=0.001,
            tooltip="Share of the sampling up to which the pose acts; later steps draw details without it.",
        ),
        io.Float.Input(
            "pose_fps", optional=True, default=0.0, min=0.0, max=240.0, step=0.01,
            tooltip="Frame rate of keypoints and pictures in pose, which are brought to the clip's; 0 for the clip's. A VIDEO knows.",
        ),
    ]


class Conditioning(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        gate = GateType.Input("gate", tooltip="From Audio Loudness Refocusing: how much of each pose frame is kept.")
        return io.Schema(
            node_id="ApoAvatarConditioning",
            display_name="ApoAvatar Conditioning",
            category="ApoAvatar",
            has_intermediate_output=True,
            description="Bring text, portrait, voice and pose together for one clip.",
            search_aliases=["talking avatar", "lip sync", "speech to video", "portrait", "voice", "pose strength", "gestures"],
            inputs=[
                io.Conditioning.Input("positive", tooltip="Describes the picture, from CLIP Text Encode."),
                io.Conditioning.Input("negative", tooltip="What the picture shall not show; an empty text will do."),
                io.Vae.Input("vae", tooltip="Encodes the portrait and earlier frames."),
                io.AudioEncoderOutput.Input("audio_features", tooltip="The voice, from Audio Encoder Encode."),
                io.Image.Input("reference_image", optional=True, tooltip="The portrait; leave open to invent one from text."),
                io.ClipVisionOutput.Input(
                    "clip_vision_output", optional=True,
                    tooltip="How Wan 2.1 image-to-video models look at the portrait, from CLIP Vision Encode.",
                ),
                io.Clip.Input(
                    "clip", optional=True,
                    tooltip="Appends the paper's sentence that the person speaks toward the camera to positive; leave open to "
                    "keep positive as it is.",
                ),
                io.Int.Input("width", default=128, min=16, max=16384, step=16, tooltip="In pixels, a multiple of 16."),
                io.Int.Input("height", default=128, min=16, max=16384, step=16, tooltip="In pixels, a multiple of 16."),
                io.Int.Input(
                    "length", default=49, min=0, max=16384, step=1,
                    tooltip=f"Video frames of one clip: 4n+1; 0 for as long as the voice, up to {LONGEST_WINDOW}. Long Video strings clips "
                    "together until the voice ends.",
                ),
                io.Float.Input("fps", default=24.0, min=1.0, max=120.0, step=0.01, tooltip="Frame rate of the video."),
                io.DynamicCombo.Input(
                    "pose_mode",
                    options=[
                        io.DynamicCombo.Option(POSE_FREE, []),
                        io.DynamicCombo.Option(HARD, pose_inputs()),
                        io.DynamicCombo.Option(REFOCUSED, pose_inputs(gate)),
                    ],
                    tooltip="pose_free: gestures from the voice alone. hard: follow the pose as it is. refocused: the pose "
                    "acts where the voice is loud.",
                ),
                io.DynamicCombo.Input(
                    "continue_from",
                    options=[
                        io.DynamicCombo.Option(NOTHING, []),
                        io.DynamicCombo.Option(
                            PREVIOUS_FRAMES,
                            [
                                io.Image.Input("previous_frames", tooltip="The whole video so far."),
                                io.Int.Input(
                                    "motion_frames", default=9, min=1, max=33, step=4,
                                    tooltip="How many of the previous frames the clip begins with: 4n+1.",
                                ),
                            ],
                        ),
                    ],
                    tooltip="previous_frames: go on from the video so far.",
                ),
                io.Combo.Input(
                    "fit", options=[KEEP_PERSON, CENTRE, PAD], default=KEEP_PERSON, optional=True,
                    tooltip="For a portrait of another shape than the clip. keep person: cut round head, shoulders and hands, "
                    "padded where they would not fit. centre: the middle. pad: all of it, with bars.",
                ),
                io.Video.Input(
                    "source_video", optional=True,
                    tooltip="A film in the place of reference_image, to dub: its body stays and the lips follow the voice. Every window "
                    "of Long Video begins from the film's picture of that moment.",
                ),
                io.Combo.Input(
                    "pose_when_short", options=[HOLD, LOOP], default=HOLD, optional=True,
                    tooltip="For a pose that ends before the voice. hold: its last frame stays. loop: keypoints go over into their "
                    "beginning without a jump; drawn frames run backwards and forwards again.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(display_name="positive", tooltip="The prompt with portrait, voice and pose, for a sampler."),
                io.Conditioning.Output(display_name="negative", tooltip="What guidance leads away from, for the same sampler."),
                io.Latent.Output(display_name="latent", tooltip="An empty clip of this size and length, for the sampler."),
                io.Int.Output(display_name="trim_image", tooltip="Frames at the clip's start that the video has already."),
                io.Int.Output(display_name="length", tooltip="Video frames of the clip."),
                io.Float.Output(display_name="fps", tooltip="Frame rate of the clip, for Create Video."),
            ],
        )

    @classmethod
    def execute(
        cls, positive, negative, vae, audio_features, width, height, length, fps, pose_mode: dict | None = None,
        continue_from: dict | None = None, reference_image=None, clip_vision_output=None, clip=None, fit=KEEP_PERSON,
        source_video=None, pose_when_short=HOLD, **_of_other_choices,
    ) -> io.NodeOutput:
        """ComfyUI hands over links that a prompt of its HTTP API still holds for another pose_mode or continue_from."""
        pose_mode = chosen("pose_mode", pose_mode, (POSE_FREE, HARD, REFOCUSED))
        continue_from = chosen("continue_from", continue_from, (NOTHING, PREVIOUS_FRAMES))
        refuse_parts_of_tokens(width, height, vae.spacial_compression_encode())
        earlier = earlier_in(continue_from, vae, width, height)
        voice = voice_of(audio_features)
        source = None if source_video is None else pictures_at(source_video, fps, "source_video")
        shown = portrait_shown(reference_image, source, width, height, fit or KEEP_PERSON, vae)

        def encoded(frames: int, image):
            return portrait_in(ClipShape(width, height, frames, fps), vae, image, clip_vision_output)

        if source is None:
            portrait = Portraits(lambda frames: encoded(frames, shown and shown.image))
        else:
            portrait = PortraitFilm(source, lambda frames, image: encoded(frames, fitted(image, width, height, shown.crop)))
        window = round_to_clip_length(length or LONGEST_WINDOW)
        pose = pose_in(pose_mode, fps, shown and shown.crop)
        if pose is not None and pose_when_short == LOOP:
            pose = looped_film(pose, max(frames_of_voice(voice, fps), earlier.start + length), fps)
        film = Film(vae, voice, pose, portrait, width, height, fps, window, earlier.start)
        frames = length_for(length, voice, fps, earlier.start)
        values = film.clip(frames, earlier)
        positive, negative = (with_film(text, film, values) for text in (speaking(positive, clip), negative))
        about_portrait = [*(shown.said if shown else []), *said_of_source(source, voice, fps)]
        said = saying("ApoAvatar Conditioning", about_portrait + changes_to(length, film, frames))
        return io.NodeOutput(positive, negative, values.latent, earlier.overlap, frames, fps, ui=said)
