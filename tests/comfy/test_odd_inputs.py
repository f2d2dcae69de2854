"""Inputs as people have them, through the running server in one go: each gives what it should, says what there is to say, or
is refused in one sentence; and after every refusal a good job of the same kind is done.
"""
from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from apoavatar_core.checkpoints import presets
from devtools import demo, environment
from devtools.errors import WorkflowError
from tests.comfy import odd_files as files

LAYOUT = environment.Layout(Path(__file__).resolve().parents[2])
SIZE, SHORT = 32, 5
"""Of the clips, in pixels and frames."""
FOREIGN_SIZE = "The clip is 32×32 and the adapter was trained on 128×128"
"""What the sampler says of them."""
SECONDS = 300
"""After which the table is given up."""


# Jobs: small prompts round the node that is asked, "node"


def previews(**shown: int) -> dict:
    """Nodes that show outputs of "node" as text, by their names."""
    return {name: {"class_type": "PreviewAny", "inputs": {"source": ["node", output]}} for name, output in shown.items()}


def loaded(class_type: str, **inputs) -> dict:
    return {"class_type": class_type, "inputs": inputs}


def gate(voice: str | dict = "voice.wav", **inputs) -> dict:
    sound = voice if isinstance(voice, dict) else loaded("LoadAudio", audio=voice)
    constants = {"fps": 24.0, "frames": 0, "alpha": 10.0, "beta": 0.5, "tau": 8.0, "q_low": 5.0, "q_high": 95.0}
    node = loaded("ApoAvatarLoudnessRefocusing", audio=["voice", 0], **constants | inputs)
    return {"voice": sound, "node": node, **previews(keep=2)}


def clip(voice: str | dict = "voice.wav", portrait: str | None = None, pose: dict | None = None, **inputs) -> dict:
    """Conditioning of the tiny preset, without what a prompt may leave out. `pose` are nodes, the last of which gives a pose."""
    sound = voice if isinstance(voice, dict) else loaded("LoadAudio", audio=voice)
    values = {"width": SIZE, "height": SIZE, "length": SHORT, "fps": 24.0, "pose_mode": "pose_free", "continue_from": "nothing"}
    links = {"positive": ["text", 0], "negative": ["text", 0], "vae": ["models", 2], "audio_features": ["heard", 0]}
    prompt = {
        "voice": sound,
        "models": loaded("ApoAvatarLoadModels", preset="tiny"),
        "text": loaded("CLIPTextEncode", clip=["models", 1], text="A person talks."),
        "heard": loaded("AudioEncoderEncode", audio_encoder=["models", 3], audio=["voice", 0]),
    }
    if portrait is not None:
        prompt["portrait"], links["reference_image"] = loaded("LoadImage", image=portrait), ["portrait", 0]
    if pose is not None:
        prompt |= pose
        values["pose_mode"], links["pose_mode.pose"] = "hard", [list(pose)[-1], 0]
    prompt["node"] = loaded("ApoAvatarConditioning", **links | values | inputs)
    return prompt | previews(trim=3, length=4, fps=5)


def gated(fps: float = 24.0, frames: int = 0) -> dict:
    """Nodes of a pose with a gate before it."""
    return {"gate": gate(fps=fps, frames=frames)["node"], **points("rising.json")}


GATED = {"pose_mode": "refocused", "pose_mode.gate": ["gate", 0]}


def points(file: str, **size: int) -> dict:
    return {"points": loaded("ApoAvatarLoadOpenPose", file=file, **size)}


def video(file: str) -> dict:
    return {"video": loaded("LoadVideo", file=file)}


def pictures(file: str) -> dict:
    return {**video(file), "pictures": loaded("GetVideoComponents", video=["video", 0])}


def going_on(frames: int, **more) -> dict:
    """A clip that goes on from so many frames."""
    follows = {"continue_from": "previous_frames", "continue_from.motion_frames": 9, "continue_from.previous_frames": ["film", 0]}
    return {"film": loaded("EmptyImage", width=SIZE, height=SIZE, batch_size=frames, color=0), **clip(**follows, **more)}


def track(file: str, size: int = 0, **inputs) -> dict:
    usual = {"pose_fps": 24.0, "fps": 24.0, "length": 0, "start": 0.0, "when_short": "hold", "smoothing": 0.0, "person": 0}
    node = loaded("ApoAvatarPoseTrack", pose=["points", 0], **usual | inputs)
    return {**points(file, width=size, height=size), "node": node, **previews(pose=0, length=1)}


def drawing(file: str, **inputs) -> dict:
    node = loaded("ApoAvatarRenderPose", pose=["points", 0], **{"width": 32, "height": 32} | inputs)
    return {**points(file), "node": node, "saved": loaded("PreviewImage", images=["node", 0])}


def found_in(portrait: str) -> dict:
    node = loaded(
        "ApoAvatarExtractPose", frames=["picture", 0], pose_model="apoavatar_tiny_pose.safetensors", person="whole picture"
    )
    return {"picture": loaded("LoadImage", image=portrait), "node": node, **previews(pose=0)}


def gestures(voice: str = "voice.wav", portrait: str = "somebody.json", **inputs) -> dict:
    usual = {"fps": 24.0, "length": 0, "seed": 0, "energy": 0.8, "range": 1.0, "handedness": 0.0, "calm": 0.3}
    node = loaded("ApoAvatarGesturesFromVoice", audio=["voice", 0], portrait_pose=["points", 0], **usual | inputs)
    return {**gate(voice), **points(portrait), "node": node, **previews(pose=0, length=1)}


def film(**inputs) -> dict:
    """A clip that is sampled, with a step, and saved."""
    prompt = clip(**inputs)
    scales = {"text_scale": 1.0, "image_scale": 1.0, "audio_scale": 1.0, "pose_scale": 1.0}
    usual = {"seed": 0, "steps": 1, "shift": 3.0, "sampler_name": "euler", "scheduler": "simple"}
    links = {"model": ["models", 0], "positive": ["node", 0], "negative": ["node", 1], "latent": ["node", 2]}
    return prompt | {
        "sampled": loaded("ApoAvatarSampler", **links | scales | usual),
        "decoded": loaded("VAEDecode", samples=["sampled", 0], vae=["models", 2]),
        "film": loaded("CreateVideo", images=["decoded", 0], audio=["voice", 0], fps=["node", 5]),
        "saved": loaded("SaveVideo", video=["film", 0], filename_prefix="odd", format="mp4", codec="h264"),
    }


def adapted(file: str = "apoavatar_tiny_adapter.safetensors", shift: float = 3.0) -> dict:
    return {
        "dit": loaded("ApoAvatarLoadModels", preset="tiny_backbone"),
        "shifted": loaded("ModelSamplingSD3", model=["dit", 0], shift=shift),
        "node": loaded("ApoAvatarApplyAdapter", model=["shifted", 0], adapter=file),
        **previews(model=0),
    }


def unadapted(sampler: dict) -> dict:
    return sampler | {"inputs": sampler["inputs"] | {"model": ["dit", 0]}}


GOOD = {
    "ApoAvatarLoudnessRefocusing": lambda n: gate(alpha=10 + n / 100),
    "ApoAvatarConditioning": lambda n: clip(fps=24 + n / 100),
    "ApoAvatarPoseTrack": lambda n: track("rising.json", smoothing=n / 1000),
    "ApoAvatarRenderPose": lambda n: drawing("rising.json", width=32 + 16 * n),
    "ApoAvatarExtractPose": lambda n: found_in("presenter.png"),
    "ApoAvatarGesturesFromVoice": lambda n: gestures(seed=n),
    "ApoAvatarApplyAdapter": lambda n: adapted(shift=3 + n / 100),
}
"""For each node a job that it does well; another number gives another job, which is not remembered from before."""


# What comes of a job


@dataclass(frozen=True)
class Seen:
    """What a client sees of a job: why it was refused, before or while it ran, and else what its nodes showed."""

    refusal: str = ""
    outputs: dict | None = None

    @property
    def said(self) -> list[str]:
        return [line for name in ("node", "sampled") for line in "\n".join(self.outputs.get(name, {}).get("text", [])).splitlines()]

    def text(self, name: str) -> list[str]:
        return self.outputs[name]["text"]

    def number(self, name: str) -> float:
        return float(self.text(name)[0])

    @property
    def keep(self) -> np.ndarray:
        """A clip's weights; the node that shows them ran once, on all of them."""
        (weights,) = self.text("keep")
        return np.array(json.loads(weights))

    @property
    def pose(self) -> list[dict]:
        return json.loads(self.text("pose")[0])

    def place(self, point: int, at: int) -> np.ndarray:
        """Where a point of the body is in a frame, in fractions of the picture."""
        shown = self.pose[at]
        x, y, _ = np.reshape(shown["people"][0]["pose_keypoints_2d"], (-1, 3))[point]
        return np.array([x / shown["canvas_width"], y / shown["canvas_height"]])


Check = Callable[[Seen, Seen], bool]
"""Whether a job shows what it should; the second is what the gate of the pack's own voice looks like."""


def named(name: str) -> Callable:
    def with_name(check: Check) -> Check:
        check.__name__ = name
        return check

    return with_name


def shows(**numbers: float) -> Check:
    return named(f"shows {numbers}")(lambda seen, _: all(abs(seen.number(k) - v) < 1e-3 for k, v in numbers.items()))


def opens_as_the_voices(tolerance: float = 0.02) -> Check:
    """The gate is that of the pack's own voice."""

    @named("the gate opens as the voice's")
    def check(seen: Seen, voice: Seen) -> bool:
        frames = min(len(seen.keep), len(voice.keep))
        return abs(len(seen.keep) - len(voice.keep)) <= 3 and abs(seen.keep[:frames] - voice.keep[:frames]).mean() <= tolerance

    return check


@named("the gate rests")
def rests(seen: Seen, _: Seen) -> bool:
    return seen.keep.max() <= 0.05


def weights(count: int) -> Check:
    return named(f"{count} weights")(lambda seen, _: len(seen.keep) == count and 0 <= seen.keep.min() < 0.1 < 0.9 < seen.keep.max())


def poses(count: int) -> Check:
    return named(f"{count} poses of one person")(
        lambda seen, _: len(seen.pose) == count and all(len(shown["people"]) == 1 for shown in seen.pose)
    )


def at(place: int, x: float, y: float, point: int = files.RIGHT_WRIST, tolerance: float = 0.01) -> Check:
    """A point of the body is there, in pixels of the usual picture."""
    wanted = np.array([x, y]) / files.SIZE
    return named(f"point {point} in frame {place} at {x}, {y}")(
        lambda seen, _: bool(abs(seen.place(point, place) - wanted).max() <= tolerance)
    )


def saves(frames: int) -> Check:
    return named(f"{frames} frames saved")(lambda seen, _: len(seen.outputs["saved"]["images"]) == frames)


@named("a film is saved")
def a_film(seen: Seen, _: Seen) -> bool:
    (file,) = seen.outputs["saved"]["images"]
    return file["filename"].endswith(".mp4")


@dataclass(frozen=True)
class Row:
    """An odd input and what is right for it: a refusal with these words, of one sentence where it is the pack that refuses;
    or the job is done, says these things and nothing else (None: whatever it says), and shows what it should. `report` is
    where people met it.
    """

    what: str
    job: dict
    shows: tuple[Check, ...] = ()
    says: tuple[str, ...] | None = ()
    refused: str = ""
    comfyui_refuses: str = ""
    report: str = ""

    @property
    def words(self) -> str:
        return self.refused or self.comfyui_refuses

    def faults(self, seen: Seen, voice: Seen) -> list[str]:
        if self.refused and (not seen.refusal.endswith(".") or re.search(r"\n|[.!?] [A-Z]", seen.refusal)):
            return [f"not one sentence: {seen.refusal}"]
        if self.words or seen.refusal:
            return [] if self.words and re.search(self.words, seen.refusal) else [seen.refusal or f"not refused: {seen.said}"]
        said = self.says is None or len(self.says) == len(seen.said) and all(map(re.search, self.says, seen.said))
        return ([] if said else [f"says {seen.said}"]) + [f"not so: {one.__name__}" for one in self.shows if not one(seen, voice)]


NOBODY_SPEAKS = "Nobody speaks or sings in this audio: the body rests."
VOICE = opens_as_the_voices()

LONG_NAME = "the voice of a person who says a sentence " * 4 + ".wav"
FILES: dict[str, files.Writer] = {
    "voice.wav": files.wav(files.VOICE),
    "antiphase.wav": files.wav(np.stack([files.SPEECH, -files.SPEECH])),
    "left only.wav": files.wav(np.stack([files.SPEECH, 0 * files.SPEECH])),
    "stereo.wav": files.wav(np.stack([files.SPEECH, files.SPEECH])),
    "five and one.wav": files.wav(np.stack([0 * files.SPEECH] * 2 + [files.SPEECH] + [0 * files.SPEECH] * 3)),
    "8 kHz.wav": files.wav(files.at_rate(8_000), 8_000),
    "22050 Hz.wav": files.wav(np.stack([files.at_rate(22_050)] * 2), 22_050),
    "96 kHz.wav": files.wav(files.at_rate(96_000), 96_000),
    "8 bit.wav": files.wav((files.SPEECH * 127 + 128).round().astype(np.uint8)),
    "-30 dB.wav": files.wav(files.SPEECH * 10 ** (-30 / 20)),
    "-35 dB.wav": files.wav(files.SPEECH * 10 ** (-35 / 20)),
    "clipped.wav": files.wav((files.SPEECH * 8).clip(-1, 1)),
    "offset.wav": files.wav(files.SPEECH + 0.2),
    "hiss.wav": files.wav(files.hiss()),
    "hum.wav": files.wav(files.hum()),
    "music.wav": files.wav(files.music()),
    "silence.wav": files.wav(np.zeros(32_000, np.int16)),
    "late.wav": files.wav(np.concatenate([0 * files.SPEECH[:16_000], files.SPEECH])),
    "one sample.wav": files.wav(np.array([1000], np.int16)),
    "no sample.wav": files.wav(np.zeros(0, np.int16)),
    "hole.wav": files.wav(np.where(np.arange(16_000) == 8_000, np.nan, 0.1)),
    "voice.mp3": files.compressed("libmp3lame"),
    "voice.ogg": files.compressed("libopus"),
    "voice.m4a": files.compressed("aac"),
    "voice.flac": files.compressed("flac"),
    "a film that talks.mp4": files.film_with_voice,
    LONG_NAME: files.wav(files.VOICE),
    "ein Gruß, 你好 (1).wav": files.wav(files.VOICE),
    "0.3 s.wav": files.wav(files.SPEECH[:4_800]),
    "6 s.wav": files.wav(np.tile(files.SPEECH, 3)),
    "not a sound.wav": files.keypoints("no sound"),
    "presenter.png": files.picture(files.PRESENTER),
    "9 to 16.png": files.picture(files.shaped(180, 320)),
    "3 to 4.png": files.picture(files.shaped(240, 320)),
    "wide.png": files.picture(files.shaped(640, 200)),
    "cut out.png": files.picture(files.cut_out()),
    "grey.png": files.picture(files.PRESENTER.convert("L")),
    "sixteen bits.png": files.sixteen_bits,
    "cmyk.jpg": files.picture(files.PRESENTER.convert("CMYK")),
    "lying.jpg": files.lying,
    "dot.png": files.picture(files.PRESENTER.resize((1, 1))),
    "16.png": files.picture(files.PRESENTER.resize((16, 16))),
    "huge.jpg": files.picture(files.shaped(4000, 3000)),
    "animated.gif": files.animated,
    "animated.webp": files.animated,
    "24 fps.mp4": files.drawn_film(24),
    "16 fps.mp4": files.drawn_film(16),
    "30 fps.mp4": files.drawn_film(30),
    "48 fps.mp4": files.drawn_film(48),
    "60 fps.mp4": files.drawn_film(60),
    "varying.mp4": files.film_of_varying_rate,
    "no skeleton.mp4": files.film_of_presenter,
    "rising.json": files.keypoints(files.rising()),
    "somebody.json": files.keypoints([files.frame(files.somebody())]),
    "one frame.json": files.keypoints(files.frame(files.somebody(wrist=50))),
    "seven.json": files.keypoints(files.rising(7)),
    "body 25.json": files.keypoints([files.frame(files.as_body_25(files.somebody(wrist=50)))] * 5),
    "fractions.json": files.keypoints(files.rising(unit=files.SIZE)),
    "bare fractions.json": files.keypoints([{"people": [files.somebody(wrist=50, unit=files.SIZE)]}] * 5),
    "bare pixels.json": files.keypoints([{"people": [files.somebody(wrist=50)]}] * 5),
    "in turn.json": files.keypoints(
        [files.frame(files.somebody(-50, 130 - 25 * t), files.somebody(50, 30 + 25 * t)) for t in range(5)]
    ),
    "swapped.json": files.keypoints(
        [files.frame(*[files.somebody(-50), files.somebody(50)][:: (-1) ** t]) for t in range(5)]
    ),
    "nobody.json": files.keypoints([files.frame()] * 5),
    "none.json": files.keypoints([None] * 5),
    "lost for two.json": files.keypoints([files.frame() if 0 < t < 3 else shown for t, shown in enumerate(files.rising())]),
    "late.json": files.keypoints([files.frame(), *files.rising(4)]),
    "empty.json": files.keypoints([]),
    "hole.json": files.keypoints([files.frame(files.hole_in(files.somebody(wrist=50)))] * 5),
    "text.json": files.keypoints("people: 1"),
    "number.json": files.keypoints(5),
    "no people.json": files.keypoints({"frames": 5}),
    "people of text.json": files.keypoints([files.frame("somebody")]),
    "animals.json": files.keypoints([{"animals": [[[0.5, 0.5, 1.0]] * 17], "people": [], "canvas_width": 9, "canvas_height": 9}]),
    "hands only.json": files.keypoints([files.frame({"pose_keypoints_2d": None, "hand_left_keypoints_2d": [90, 90, 1] * 21})] * 5),
    "coco 17.json": files.keypoints(files.with_points([50, 50, 1] * 17)),
    "coco 133.json": files.keypoints(files.with_points([50, 50, 1] * 133)),
    "pairs.json": files.keypoints(files.with_points([50, 50] * 18)),
    "without hands.json": files.keypoints([files.frame(files.somebody())]),
}  # fmt: skip
"""What is in the server's input folder."""

VOICES = [
    Row("the pack's own voice", gate(), (weights(50),)),
    Row("a channel that is the other one inverted", gate("antiphase.wav"), (VOICE,), report="m-bain/whisperX#750"),
    Row("a channel that is silent", gate("left only.wav"), (VOICE,)),
    Row("stereo", gate("stereo.wav"), (VOICE,), report="scofano/comfy-audio-duration#4"),
    Row("surround sound", gate("five and one.wav"), (VOICE,)),
    Row("a telephone's rate", gate("8 kHz.wav"), (opens_as_the_voices(0.08),)),
    Row("half of a CD's rate", gate("22050 Hz.wav"), (VOICE,)),
    Row("a studio's rate", gate("96 kHz.wav"), (VOICE,)),
    Row("8 bits", gate("8 bit.wav"), comfyui_refuses="Unsupported wav dtype: torch.uint8"),  # says ComfyUI's own loader
    Row("a voice 30 dB lower", gate("-30 dB.wav"), (VOICE,)),
    Row("a voice 35 dB lower", gate("-35 dB.wav"), (VOICE,)),
    Row("a clipped voice", gate("clipped.wav"), (weights(50),)),
    Row("an offset", gate("offset.wav"), (VOICE,)),
    Row("hiss", gate("hiss.wav"), (rests,), (NOBODY_SPEAKS,)),
    Row("hum", gate("hum.wav"), (rests,), (NOBODY_SPEAKS,)),
    Row("music", gate("music.wav"), (rests,), (NOBODY_SPEAKS,)),
    Row("silence", gate("silence.wav"), (rests,), (NOBODY_SPEAKS,), report="bytedance/LatentSync#28"),
    Row("a voice that begins late", gate("late.wav"), (weights(74),), report="smthemex/ComfyUI_Sonic#72"),
    Row("a sample", gate("one sample.wav"), refused="audio has 1 sample; connect a longer clip"),
    Row("no sample", gate(loaded("EmptyAudio", duration=0.0, sample_rate=16000, channels=1)),
        refused="audio is empty; connect a clip that has sound"),
    Row("a file without a sample", gate("no sample.wav"), comfyui_refuses="No audio frames decoded|Invalid data"),
    Row("samples that are no numbers", gate("hole.wav"), refused="audio holds NaN or infinite samples; load or generate"),
    Row("a file that is no sound", gate("not a sound.wav"), comfyui_refuses="Invalid data"),
    Row("MP3", gate("voice.mp3"), (opens_as_the_voices(0.08),)),
    Row("Ogg", gate("voice.ogg"), (opens_as_the_voices(0.08),)),
    Row("M4A", gate("voice.m4a"), (opens_as_the_voices(0.08),), report="smthemex/ComfyUI_Sonic#80"),
    Row("FLAC", gate("voice.flac"), (VOICE,)),
    Row("the sound of a film", gate("a film that talks.mp4"), (opens_as_the_voices(0.08),)),
    Row("a very long name", gate(LONG_NAME), (VOICE,), report="bytedance/LatentSync#296"),
    Row("a name in other scripts", gate("ein Gruß, 你好 (1).wav"), (VOICE,)),
    Row("a film without sound", gate() | {"voice": loaded("GetVideoComponents", video=["video", 0]), **video("24 fps.mp4")}
        | {"node": gate()["node"] | {"inputs": gate()["node"]["inputs"] | {"audio": ["voice", 1]}}},
        refused="audio is missing: connect a node that gives sound"),
    Row("a voice that is not connected", {name: node for name, node in gate().items() if name != "voice"}, comfyui_refuses="voice"),
    Row("a gate at a film's rate", gate(fps=23.976), (weights(49),)),
    Row("a gate at a frame a second", gate(fps=1.0, q_low=0.0, q_high=100.0), (named("3")(lambda seen, _: len(seen.keep) == 3),)),
    Row("a gate at a high rate", gate(fps=120.0), (weights(246),)),
    Row("percentiles the wrong way round", gate(q_low=95.0, q_high=5.0), refused="q_low is 95.0 and q_high is 5.0; use"),
    Row("a voice that its encoder cannot hear", clip("one sample.wav"), refused="audio has 1 sample; connect a longer clip"),
    Row("a voice with a hole for the encoder", clip("hole.wav"), refused="audio holds NaN or infinite samples"),
    Row("gestures for silence", gestures("silence.wav"), (poses(48),), (NOBODY_SPEAKS,)),
]  # fmt: skip

NOSE = 0
PORTRAITS = [
    Row("a telephone's portrait", clip(portrait="9 to 16.png"), (shows(length=5),), None, report="Zejun-Yang/AniPortrait#63"),
    Row("a camera's portrait", clip(portrait="3 to 4.png"), (shows(length=5),), None),
    Row("a wide picture", clip(portrait="wide.png"), (shows(length=5),), None, report="yuvraj108c/ComfyUI-FLOAT#22"),
    Row("a cut-out with hidden colour", clip(portrait="cut out.png"), (shows(length=5),), None, report="OpenTalker/SadTalker#274"),
    Row("a point", clip(portrait="dot.png"), (shows(length=5),), None),
    Row("an icon", clip(portrait="16.png"), (shows(length=5),), None),
    Row("a very large picture", clip(portrait="huge.jpg"), (shows(length=5),), None, report="smthemex/ComfyUI_Sonic#78"),
    Row("a moving GIF", clip(portrait="animated.gif"), (shows(length=5),), None),
    Row("a moving WebP", clip(portrait="animated.webp"), (shows(length=5),), None),
    *(Row(what, found_in(file), (at(0, 97, 64, NOSE, 0.02),))
      for what, file in [
          ("the presenter", "presenter.png"), ("shades of grey", "grey.png"), ("16 bits a channel", "sixteen bits.png"),
          ("printer's colours", "cmyk.jpg"), ("a telephone's note on what is up", "lying.jpg"), ("the cut-out", "cut out.png"),
          ("the GIF", "animated.gif"),
      ]),
    Row("a portrait that is not there", clip(portrait="nowhere.png"), comfyui_refuses="Invalid image file: nowhere.png"),
]  # fmt: skip

ONE_OF_TWO = "The pose shows up to 2 people: one of them is followed from beginning to end."
POSES = [
    Row("five frames", track("rising.json"), (poses(5), at(0, 60, 130), at(4, 60, 30))),
    Row("a frame by itself", track("one frame.json"), (poses(1), at(0, 60, 50))),
    Row("a frame by itself in a clip", clip(pose=points("one frame.json")), (shows(length=5),),
        ("The pose has 1 frames for a clip of 5: its last frame is held.",)),
    Row("OpenPose's 25 points", track("body 25.json"), (poses(5), at(0, 60, 50), at(0, 100, 40, NOSE), at(0, 110, 40, 17))),
    Row("fractions", track("fractions.json"), (poses(5), at(4, 60, 30))),
    Row("fractions of no picture", track("bare fractions.json"), (poses(5), at(0, 60, 50))),
    Row("pixels of no picture", track("bare pixels.json"), refused="no valid canvas_width and canvas_height.*name the size"),
    Row("pixels of a named picture", track("bare pixels.json", size=200), (poses(5), at(0, 60, 50))),
    Row("two who gesture in turn", track("in turn.json"), (poses(5), at(0, 110, 30), at(4, 110, 130)), (ONE_OF_TWO,)),
    Row("two who change places in the list", track("swapped.json"), (poses(5), at(0, 10, 130), at(1, 10, 130)), (ONE_OF_TWO,),
        report="CMU-Perceptual-Computing-Lab/openpose#319"),
    Row("the first of two", track("in turn.json", person=1), (poses(5), at(0, 10, 130), at(4, 10, 30)), (ONE_OF_TWO,)),
    Row("the third of two", track("in turn.json", person=3), refused="no person number 3, for it shows 2.*choose a smaller number"),
    Row("nobody", track("nobody.json"), refused="shows nobody in any of its frames.*extract it from a film",
        report="kijai/ComfyUI-WanVideoWrapper#865"),
    Row("nobody, in a clip", clip(pose=points("nobody.json")), refused="shows nobody in any of its frames"),
    Row("frames that are none", track("none.json"), refused="shows nobody in any of its frames"),
    Row("nobody in two frames", track("lost for two.json"), (poses(5), at(0, 60, 130), at(4, 60, 30)),
        ("In 2 of the pose's 5 frames nobody was found",), report="bytedance/LatentSync#44"),
    Row("nobody in two frames of a clip", clip(pose=points("lost for two.json")), (shows(length=5),),
        ("In 2 of the pose's 5 frames nobody was found",)),
    Row("nobody in a drawn frame", drawing("late.json"), (saves(5),), ("Nobody is seen in 1 of 5 frames.",)),
    Row("nobody at first", track("late.json"), (poses(5), at(0, 60, 130)), ("In 1 of the pose's 5 frames nobody was found",)),
    Row("no frames", track("empty.json"), refused="empty.json has no frames: choose"),
    Row("a point that is no number", track("hole.json"), (poses(5), at(0, 60, 50)), report="kijai/ComfyUI-WanAnimatePreprocess#22"),
    Row("no JSON", track("text.json"), refused="text.json cannot be read as JSON: choose"),
    Row("JSON of a number", track("number.json"), refused="number.json holds no OpenPose frames with 'people' in them: choose"),
    Row("JSON of something else", track("no people.json"), refused="no people.json holds no OpenPose frames.*choose"),
    Row("people who are text", track("people of text.json"), refused="A person in the pose is a str, not a dictionary.*connect"),
    Row("animals", drawing("animals.json"), says=("Nobody is seen in 1 of 1 frames.",), shows=(saves(1),),
        report="Fannovel16/comfyui_controlnet_aux#627"),
    Row("hands alone", track("hands only.json"), refused="shows nobody in any of its frames"),
    Row("COCO's 17 points", track("coco 17.json"), refused="17 keypoints instead of 18: extract the pose with"),
    Row("COCO's 133 points", track("coco 133.json"), refused="133 keypoints instead of 18: extract the pose with"),
    Row("points without confidence", track("pairs.json"), refused="."),
    Row("seven frames in a clip", clip(pose=points("seven.json")), (shows(length=5),)),
    Row("a pose at twice the rate", track("rising.json", pose_fps=48.0), (poses(2), at(1, 60, 80))),
    Row("a pose at half of the rate", track("rising.json", pose_fps=12.0), (poses(10), at(1, 60, 117.5))),
    Row("a start after the end", track("rising.json", start=9.0), refused="0.21 seconds long, so it cannot start at 9: start earlier"),
    Row("gestures of a portrait without hands", gestures(portrait="without hands.json"), (poses(50),),
        report="antgroup/echomimic_v2#109"),
    Row("gestures of nobody", gestures(portrait="nobody.json"), refused="."),
]  # fmt: skip


def one_second(file: str) -> dict:
    return clip(pose=video(file), length=21)


TIME = [
    Row("as long as the voice", clip("0.3 s.wav", length=0), (shows(length=9),), report="kijai/ComfyUI-WanVideoWrapper#778"),
    Row("as long as a very short voice", clip("one sample.wav", length=0), refused="audio has 1 sample"),
    Row("as long as a voice of several windows", clip("6 s.wav", length=0), (shows(length=81),),
        ("The voice lasts 6.2 s",)),
    Row("a length that fills no latent frames", clip(length=18), (shows(length=17),),
        ("length 18 is not 4n\\+1: 17 frames are made.",), report="ShmuelRonen/ComfyUI-LatentSyncWrapper#49"),
    Row("a length below nothing", clip(length=-1), comfyui_refuses="smaller than min of 0: length"),
    Row("a frame a second", clip(fps=1.0, length=0), (shows(length=5, fps=1),)),
    Row("a film's rate", clip(fps=23.976, length=0), (shows(length=49, fps=23.976),)),
    Row("a high rate", clip(fps=120.0), (shows(length=5, fps=120),)),
    Row("no rate", clip(fps=0.0), comfyui_refuses="smaller than min of 1.0: fps"),
    Row("pose and clip of one rate", one_second("24 fps.mp4"), (shows(length=21),)),
    Row("a film of 16 fps", one_second("16 fps.mp4"), (shows(length=21),), report="ShmuelRonen/ComfyUI-LatentSyncWrapper#199"),
    Row("a film of 30 fps", one_second("30 fps.mp4"), (shows(length=21),)),
    Row("a film of 48 fps", one_second("48 fps.mp4"), (shows(length=21),)),
    Row("a film of 60 fps", one_second("60 fps.mp4"), (shows(length=21),)),
    Row("a film of varying rate", one_second("varying.mp4"), (shows(length=21),)),
    Row("pictures of 60 fps", clip(pose=pictures("60 fps.mp4"), length=21, **{"pose_mode.pose_fps": 60.0}), (shows(length=21),)),
    Row("a film that is longer than the clip", clip(pose=video("24 fps.mp4")), (shows(length=5),),
        ("The pose has 24 frames for a clip of 5: the rest is left out.",)),
    Row("a film that is no skeleton", clip(pose=video("no skeleton.mp4"), length=21), (shows(length=21),),
        ("The pose does not look like skeletons drawn on black: put Extract Pose between",)),
    Row("a gate at another rate", clip(pose=gated(fps=48.0), **GATED), (shows(length=5),)),
    Row("a gate that is a frame short", clip(pose=gated(frames=4), **GATED), (shows(length=5),),
        report="kijai/ComfyUI-WanVideoWrapper#1739"),
    Row("a gate that is too short", clip(pose=gated(frames=1), **GATED), refused="gate has 1 frames but the clip has 5: set frames to 0"),
    Row("a clip that goes on", going_on(13), (shows(length=5, trim=9),)),
    Row("a clip that goes on from too little", going_on(5), refused="previous_frames has 5 frames but 9 go before.*set motion_frames"),
    Row("a clip that goes on from nothing", clip(continue_from="previous_frames"),
        comfyui_refuses="Required input is missing: previous_frames"),
    Row("a width that fills no tokens", clip(width=130), refused="width 130 is not a multiple of 16: use 128 or 144"),
    Row("a height that fills no tokens", clip(height=40), refused="height 40 is not a multiple of 16: use 32 or 48"),
    Row("no width", clip(width=0), comfyui_refuses="smaller than min of 16: width"),
    Row("the smallest clip", clip(width=16, height=16, length=1), (shows(length=1),)),
    Row("no pose where one is followed", clip(pose_mode="hard"), comfyui_refuses="Required input is missing: pose"),
    Row("no gate where one is needed", clip(pose=points("rising.json"), pose_mode="refocused"),
        comfyui_refuses="Required input is missing: gate"),
    Row("inputs that another pose mode takes", clip(pose=gated(), **GATED | {"pose_mode": "pose_free"}), (shows(length=5),)),
    Row("a pose that hardly acts", clip(pose=points("rising.json"), **{"pose_mode.pose_strength": 0.0}), (shows(length=5),)),
    Row("a pose that acts too much", clip(pose=points("rising.json"), **{"pose_mode.pose_strength": 11.0}),
        comfyui_refuses="bigger than max of 10.0: pose_mode.pose_strength"),
    Row("a pose that ends before it starts",
        clip(pose=points("rising.json"), **{"pose_mode.pose_start_percent": 0.8, "pose_mode.pose_end_percent": 0.2}),
        refused="would end at 0.2 of the sampling, before it starts at 0.8: set end_percent higher"),
    Row("a pose mode that is none", clip(pose_mode="soft"), refused="pose_mode is none of pose_free, hard, refocused: choose one of them"),
    Row("a way to go on that is none", clip(continue_from="there"), refused="continue_from is none of nothing, previous_frames: choose"),
    Row("a preset that is none", clip() | {"models": loaded("ApoAvatarLoadModels", preset="huge")},
        refused="preset is none of tiny, files, tiny_backbone: choose one of them"),
    Row("a film", film(), (a_film,), (FOREIGN_SIZE,)),
    Row("a film without its voice", {name: loaded("CreateVideo", images=["decoded", 0], fps=24.0) if name == "film" else node
                                     for name, node in film().items()}, (a_film,), None),
    Row("a clip longer than its model makes", film(length=57), refused="57 frames but this adapter was trained on 49.*shorten it"),
]  # fmt: skip

ADAPTER_FILES: dict[str, files.Writer] = {
    "odd_empty.safetensors": Path.touch,
    "odd_half.safetensors": files.half_an_adapter,
    "odd_pickle.safetensors": files.pickled,
    "odd_vae.safetensors": lambda path: path.write_bytes(presets.TINY_VAE.read_bytes()),
    "odd_other.safetensors": files.adapter_of_another_model,
}
"""What is in the server's folder of adapters."""
ADAPTERS = [
    Row("an adapter of no bytes", adapted("odd_empty.safetensors"), refused=r"odd_empty\.safetensors is empty .*: download it again"),
    Row("half of an adapter", adapted("odd_half.safetensors"), refused=r"odd_half\.safetensors is not a whole .*: download it again"),
    Row("a pickle", adapted("odd_pickle.safetensors"), refused=r"odd_pickle\.safetensors is a pickle.*: use a \.safetensors file"),
    Row("a VAE for an adapter", adapted("odd_vae.safetensors"), refused="is not an ApoAvatar adapter .*: choose an adapter file"),
    Row("the adapter of another model", adapted("odd_other.safetensors"), refused="width 64, 2 blocks and 36 input channels"
        ".* width 256, .*choose the model that belongs to the adapter"),
    Row("no adapter", film() | {"sampled": unadapted(film()["sampled"]), "dit": adapted()["dit"]},
        refused="The model has no ApoAvatar adapter: put Apply ApoAvatar Adapter before this node"),
    Row("a second adapter", adapted() | {"shifted": loaded("ApoAvatarLoadModels", preset="tiny")},
        refused="already has an ApoAvatar adapter: connect the model from before it"),
    Row("an adapter that is not there", adapted("nowhere.safetensors"), comfyui_refuses="nowhere.safetensors is not there: put it"),
]  # fmt: skip

TABLE = [*VOICES, *PORTRAITS, *POSES, *TIME, *ADAPTERS]


@pytest.fixture(scope="module")
def inputs(comfy_server, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("inputs")
    for name, write in FILES.items():
        write(folder / name)
        comfy_server.upload(folder / name)


@pytest.fixture
def adapters() -> Iterator[Path]:
    """The server's folder of adapters, with odd ones in it for a while."""
    if LAYOUT.own_comfyui:
        pytest.skip("COMFYUI_PATH names somebody's own ComfyUI, whose models folder is not written to")
    folder = LAYOUT.base / "models" / presets.ADAPTERS
    folder.mkdir(parents=True, exist_ok=True)
    for name, write in ADAPTER_FILES.items():
        write(folder / name)
    yield folder
    for name in [*ADAPTER_FILES, "opened"]:
        (folder / name).unlink(missing_ok=True)


def asked(row: Row) -> str:
    return row.job["node"]["class_type"]


def with_good_jobs(table: list[Row]) -> Iterator[Row]:
    """The rows of one node after those of another, so that its models stay loaded, and a good job behind each refusal."""
    for number, row in enumerate(sorted(table, key=asked)):
        yield row
        if row.words:
            yield Row(f"a good job after {row.what}", GOOD[asked(row)](number))


def submitted(server, job: dict) -> str | Seen:
    """The job's number in the queue, or why it was not taken."""
    try:
        return server.submit(job)
    except WorkflowError as refusal:
        return Seen(str(refusal))


def seen(server, job: str | Seen) -> Seen:
    if isinstance(job, Seen):
        return job
    entry = json.loads(server.get(f"/history/{job}"))[job]
    for kind, message in entry["status"]["messages"]:
        if kind == "execution_error":
            return Seen(message["exception_message"].strip())
    return Seen(outputs=entry["outputs"])


def test_every_input_has_its_outcome(comfy_server, inputs, adapters):
    queue = [(row, submitted(comfy_server, row.job)) for row in with_good_jobs(TABLE)]
    deadline = time.monotonic() + SECONDS
    while any(json.loads(comfy_server.get("/queue")).values()):
        assert time.monotonic() < deadline, "the table is not done"
        time.sleep(0.5)
    results = [(row, seen(comfy_server, job)) for row, job in queue]
    (voice,) = (found for row, found in results if row is VOICES[0])
    wrong = {row.what: faults for row, found in results if (faults := row.faults(found, voice))}
    assert not wrong, "\n" + "\n".join(f"{what}: {'; '.join(faults)}" for what, faults in wrong.items())
    assert not (adapters / "opened").exists(), "the pickle was unpickled"


def test_what_a_node_says_reaches_the_command_line(comfy_server, inputs):
    job = {name: node | {"_meta": {"title": name}} for name, node in clip(length=18).items()}
    assert "node: length 18 is not 4n+1: 17 frames are made." in demo.sentences(comfy_server.queue(job), job)
