"""Odd input files, made from the pack's own presenter and voice: each function writes one into a folder."""
from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image, ImageOps
from scipy.io import wavfile

from apoavatar_core.adapters import AdapterConfig, ApoAvatarAdapter
from apoavatar_core.checkpoints import presets
from apoavatar_core.checkpoints.adapter_file import save_adapter

ASSETS = Path(__file__).resolve().parents[2] / "workflows" / "assets"
RATE, VOICE = wavfile.read(ASSETS / "speech.wav")
SPEECH = VOICE.astype(np.float32) / 2**15
PRESENTER = Image.open(ASSETS / "presenter.png").convert("RGB")

Writer = Callable[[Path], None]
"""Writes a file under the name it is given."""


# Sound


def wav(samples: np.ndarray, rate: int = RATE) -> Writer:
    """Samples [S] or [C, S], float32 unless they are integers."""
    samples = samples if samples.dtype in (np.int16, np.uint8) else samples.astype(np.float32)
    return lambda path: wavfile.write(path, rate, samples.T)


def at_rate(rate: int) -> np.ndarray:
    """The voice, at another sample rate."""
    times = np.arange(round(len(SPEECH) / RATE * rate)) * (RATE / rate)
    return np.interp(times, np.arange(len(SPEECH)), SPEECH)


def compressed(codec: str) -> Writer:
    """The voice in a file of another kind, which the name's ending says."""
    return lambda path: _write_media(path, sound=(codec, SPEECH))


def film_with_voice(path: Path) -> None:
    _write_media(path, pictures=[np.full((32, 32, 3), 90, np.uint8)] * 8, sound=("aac", SPEECH))


def hiss(seconds: float = 2.0, level: float = 10 ** (-65 / 20)) -> np.ndarray:
    return level * np.random.default_rng(0).standard_normal(round(seconds * RATE))


def hum(seconds: float = 2.0) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return 0.01 * sum(np.sin(2 * np.pi * 50 * k * time) / k for k in (1, 2, 3)) + hiss(seconds, 1e-4)


def music(seconds: float = 2.0) -> np.ndarray:
    """A chord that is plucked twice a second."""
    time = np.arange(round(seconds * RATE)) / RATE
    chord = sum(np.sin(2 * np.pi * tone * overtone * time) / overtone for tone in (220, 277.2, 329.6) for overtone in (1, 2, 3))
    return 0.05 * chord * np.exp(-4 * (time % 0.5))


# Pictures


def picture(image: Image.Image, **options) -> Writer:
    return lambda path: image.save(path, **options)


def shaped(width: int, height: int) -> Image.Image:
    """The presenter, whole, in the middle of a wall of another shape."""
    return ImageOps.pad(PRESENTER, (width, height), color=(90, 110, 90))


def cut_out() -> Image.Image:
    """The presenter with nothing round her, and magenta under that nothing."""
    inside = Image.new("L", PRESENTER.size, 0)
    inside.paste(255, (100, 60, 412, 512))
    return Image.merge("RGBA", (*Image.composite(PRESENTER, Image.new("RGB", PRESENTER.size, "magenta"), inside).split(), inside))


def sixteen_bits(path: Path) -> None:
    """A PNG with 16 bits a channel, as scanners write it."""
    pixels = np.asarray(PRESENTER).astype(np.uint16) * 257
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb48le")
    codec = av.CodecContext.create("png", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = *PRESENTER.size, "rgb48be", Fraction(1)
    path.write_bytes(b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode()]))


def lying(path: Path) -> None:
    """A JPEG that lies on its side, with the EXIF note of a telephone that says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    PRESENTER.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)


def animated(path: Path) -> None:
    PRESENTER.save(path, save_all=True, append_images=[PRESENTER, ImageOps.mirror(PRESENTER)], duration=40)


# Films


def drawn_film(fps: float, seconds: float = 1.0) -> Writer:
    """A white stroke on black that crosses the picture in a second."""
    return lambda path: _write_media(path, pictures=[stroke(t / fps) for t in range(round(seconds * fps))], times=None, fps=fps)


def film_of_varying_rate(path: Path) -> None:
    """The same, of pictures that stay for 10, 20, 30 and 40 ms."""
    times = np.cumsum([0, *[0.01, 0.02, 0.03, 0.04] * 10])[:-1]
    _write_media(path, pictures=[stroke(time) for time in times], times=times)


def film_of_presenter(path: Path) -> None:
    _write_media(path, pictures=[np.asarray(PRESENTER.resize((64, 64)))] * 24)


def stroke(seconds: float) -> np.ndarray:
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[20:44, round(60 * (seconds % 1)) :][:, :4] = 255
    return frame


def _write_media(path: Path, pictures: Sequence[np.ndarray] = (), times=None, fps: float = 24, sound=None) -> None:
    with av.open(str(path), "w") as container:
        if len(pictures):
            stream = container.add_stream("libx264", rate=1000 if times is not None else Fraction(fps).limit_denominator(1001))
            stream.height, stream.width = pictures[0].shape[:2]
            stream.pix_fmt = "yuv420p"
        if sound is not None:
            codec, samples = sound
            voice = container.add_stream(codec, rate=RATE, layout="mono")
            chunk = av.AudioFrame.from_ndarray((samples[None] * 32767).astype(np.int16), "s16", "mono")
            chunk.sample_rate, chunk.pts, chunk.time_base = RATE, 0, Fraction(1, RATE)
            resampler = av.AudioResampler(voice.format, "mono", RATE, frame_size=voice.codec_context.frame_size or None)
            for part in [*resampler.resample(chunk), *resampler.resample(None)]:
                container.mux(voice.encode(part))
            container.mux(voice.encode(None))
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = round(times[number] * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        if len(pictures):
            container.mux(stream.encode(None))


# Keypoints

SIZE = 200
"""Width and height in pixels of the pictures that the keypoints are of."""
RIGHT_WRIST = 4
_STANDING = (
    (100, 40), (100, 70), (80, 70), (70, 100), (60, 130), (120, 70), (130, 100), (140, 130), (88, 130), (86, 160), (86, 190),
    (112, 130), (114, 160), (114, 190), (95, 35), (105, 35), (90, 40), (110, 40),
)  # fmt: skip
"""OpenPose's 18 points of somebody who stands upright, in pixels."""


def somebody(x: float = 0, wrist: float = 130, confidence: float = 1.0, unit: float = 1.0) -> dict:
    """An entry of `people`: moved by x pixels, with the right wrist at that height; `unit` pixels are 1."""
    points = np.array([(*place, confidence) for place in _STANDING])
    points[:, 0] += x
    points[RIGHT_WRIST, 1] = wrist
    points[:, :2] /= unit
    return {"pose_keypoints_2d": points.flatten().tolist()}


def frame(*people: dict | None, size: int | None = SIZE) -> dict:
    canvas = {} if size is None else {"canvas_width": size, "canvas_height": size}
    return {"people": list(people), **canvas}


def rising(count: int = 5, **of_somebody) -> list[dict]:
    """Somebody whose wrist rises from 130 to 30."""
    return [frame(somebody(wrist=130 - 100 * t / (count - 1), **of_somebody)) for t in range(count)]


def keypoints(content) -> Writer:
    return lambda path: path.write_text(content if isinstance(content, str) else json.dumps(content))


def with_points(points: list) -> list[dict]:
    """Five frames of somebody with such a list of points."""
    return [frame({"pose_keypoints_2d": points})] * 5


def as_body_25(person: dict) -> dict:
    """OpenPose's default: the middle of the hips in ninth place, and the feet."""
    points = np.reshape(person["pose_keypoints_2d"], (-1, 3))
    hips = points[[8, 11]].mean(0)
    return {"pose_keypoints_2d": np.concatenate([points[:8], hips[None], points[8:], np.zeros((6, 3))]).flatten().tolist()}


def hole_in(person: dict) -> dict:
    """One of the points, the nose, is no number."""
    return {"pose_keypoints_2d": [float("nan")] * 3 + person["pose_keypoints_2d"][3:]}


# Adapter files


def half_an_adapter(path: Path) -> None:
    whole = presets.TINY_ADAPTER.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


class OpensAFile:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def pickled(path: Path) -> None:
    """A file that would write another one beside itself, "opened", if it were unpickled."""
    torch.save({"harm": OpensAFile(path.with_name("opened"))}, path)


def adapter_of_another_model(path: Path) -> None:
    config = AdapterConfig(
        backbone_dim=64, backbone_layers=2, backbone_in_channels=36, heads=2, audio_encoder="log_mel_40",
        audio_feature_dim=40, audio_dim=32, tokens_per_frame=2, pose_channels=8, fps=24.0, window=49,
    )  # fmt: skip
    save_adapter(path, ApoAvatarAdapter(config))
