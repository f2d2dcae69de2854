"""Make what the workflows in this folder load, and their thumbnails: `python workflows/make_assets.py` (espeak-ng speaks).

Everything is drawn and spoken by the synthetic presenter. Neither her look nor her voice is in the training clips.
The same bits come out every time with the same version of espeak-ng.
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
from apoavatar_core.refocusing import RefocusingConfig, refocus  # noqa: E402
from apoavatar_core.refocusing_plot import plot_gate  # noqa: E402
from apoavatar_core.synthetic import (  # noqa: E402
    draw_frame,
    frame_keypoints,
    speech_motion,
    synthesize_performance,
    synthesize_speech,
)

FRAMES, FPS, SAMPLE_RATE = 49, 24, 16000
PRESENTER = 20  # a woman with a grey bun in front of a dark green wall with a window
SPEECH = 32  # loud and quiet words with pauses between them; the mouth is shut in the first frame
VOICES = ("en-us+f3", "en-us+f5", "en-us+belinda")
INVENTED = 11  # a woman with a bob and glasses: the one that the prompt of tiny_text_audio describes
GESTURES = 10  # hands that keep beating where her voice is quiet: something for the gate to refocus
PORTRAIT_SIZE, POSE_SIZE = 512, 256


def main() -> None:
    assets = FOLDER / "assets"
    assets.mkdir(exist_ok=True)
    presenter, invented = (
        synthesize_performance(seed, FRAMES, FPS, held_out=True).identity for seed in (PRESENTER, INVENTED)
    )
    rng = np.random.default_rng(SPEECH)
    speech = synthesize_speech(rng, FRAMES / FPS, voices=VOICES)
    motion = speech_motion(speech, FRAMES, FPS, presenter, rng)
    pose = rendered_pose(GESTURES)

    write_picture(assets / "presenter.png", draw_frame(presenter, motion, 0, PORTRAIT_SIZE))
    write_wav(assets / "speech.wav", speech)
    write_mp4(assets / "pose.mp4", pose)

    plot = plot_gate(speech, SAMPLE_RATE, refocus(speech, SAMPLE_RATE, FRAMES, FPS, RefocusingConfig()), FPS)
    drawn = {
        who: [draw_frame(who, motion, t, POSE_SIZE) for t in (0, 16, 22, 36)] for who in (presenter, invented)
    }
    for name, pictures in {
        "tiny_image_audio": drawn[presenter],
        "tiny_pose_refocused": [*pose[[12, 22]], *drawn[presenter][1:3]],
        "tiny_text_audio": drawn[invented],
        "tiny_native_parts": drawn[presenter][::-1],
    }.items():
        write_picture(FOLDER / f"{name}.jpg", thumbnail(pictures, plot))


def rendered_pose(seed: int) -> np.ndarray:
    """The pose video of another performance: uint8 RGB [FRAMES, POSE_SIZE, POSE_SIZE, 3]."""
    performance = synthesize_performance(seed, FRAMES, FPS, held_out=True)
    people = [
        from_frame(frame_keypoints(performance.identity, performance.motion, t, POSE_SIZE)) for t in range(FRAMES)
    ]
    return render_pose(people, POSE_SIZE, POSE_SIZE)


def thumbnail(pictures: list[np.ndarray], plot: np.ndarray) -> np.ndarray:
    """Four pictures of 256 x 256 above the voice with its gate: [512, 512, 3]."""
    rows = [np.concatenate([picture[8:232] for picture in pictures[i : i + 2]], axis=1) for i in (0, 2)]
    return np.concatenate([*rows, cv2.resize(plot, (512, 64), interpolation=cv2.INTER_AREA)])


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
