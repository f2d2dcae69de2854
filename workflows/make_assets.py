"""Make what the workflows in this folder load: `python workflows/make_assets.py`.

Everything is drawn and spoken by the synthetic presenter (`pip install espeakng-loader`, which speaks). Neither her look
nor her voice is in the training clips. The same bits come out every time with the same version of espeakng-loader.
"""

from __future__ import annotations

import sys
import wave
from pathlib import Path

import av
import cv2
import numpy as np

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from apoavatar_core.pose.keypoints import from_frame  # noqa: E402
from apoavatar_core.pose.render import render_pose  # noqa: E402
from apoavatar_core.synthetic import (  # noqa: E402
    draw_frame,
    frame_keypoints,
    speech_motion,
    synthesize_performance,
    synthesize_speech,
)

FRAMES, FPS, SAMPLE_RATE = 49, 24, 16000
PRESENTER = 20  # a woman with a brown bun in front of a lavender wall with a window
SPEECH = 32  # loud and quiet words with pauses between them; the mouth is shut in the first frame
VOICES = ("en-us+f3", "en-us+f5", "en-us+belinda")
GESTURES = 14  # hands that keep beating where her voice is quiet: something for the gate to refocus
FILM = 23  # a man whose hands beat, both, and rest in between
PORTRAIT_SIZE, POSE_SIZE, FILM_SIZE = 512, 256, 320


def main() -> None:
    assets = FOLDER / "assets"
    assets.mkdir(exist_ok=True)
    presenter = synthesize_performance(PRESENTER, FRAMES, FPS, held_out=True).identity
    rng = np.random.default_rng(SPEECH)
    speech = synthesize_speech(rng, FRAMES / FPS, voices=VOICES)
    motion = speech_motion(speech, FRAMES, FPS, presenter, rng)

    write_picture(assets / "presenter.png", draw_frame(presenter, motion, 0, PORTRAIT_SIZE))
    write_wav(assets / "speech.wav", speech)
    write_mp4(assets / "pose.mp4", rendered_pose(GESTURES))
    write_mp4(assets / "gestures.mp4", drawn_film(FILM))


def rendered_pose(seed: int) -> np.ndarray:
    """The pose video of another performance: uint8 RGB [FRAMES, POSE_SIZE, POSE_SIZE, 3]."""
    performance = synthesize_performance(seed, FRAMES, FPS, held_out=True)
    people = [
        from_frame(frame_keypoints(performance.identity, performance.motion, t, POSE_SIZE)) for t in range(FRAMES)
    ]
    return render_pose(people, POSE_SIZE, POSE_SIZE)


def drawn_film(seed: int) -> np.ndarray:
    """The film of another performance: uint8 RGB [FRAMES, FILM_SIZE, FILM_SIZE, 3]."""
    performance = synthesize_performance(seed, FRAMES, FPS, held_out=True)
    return np.stack([draw_frame(performance.identity, performance.motion, t, FILM_SIZE) for t in range(FRAMES)])


def write_picture(path: Path, rgb: np.ndarray) -> None:
    cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))


def write_wav(path: Path, samples: np.ndarray) -> None:
    """16-bit mono."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", "none"))
        file.writeframes((samples.clip(-1, 1) * 32767).round().astype("<i2").tobytes())


def write_mp4(path: Path, pictures: np.ndarray) -> None:
    """H.264 without sound."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.height, stream.width = pictures.shape[1:3]
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "14"}
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


if __name__ == "__main__":
    main()
