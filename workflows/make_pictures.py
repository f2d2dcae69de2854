"""Run every workflow of this folder whose models are in the repository, and picture what it makes: `python workflows/make_pictures.py`.

Writes the thumbnails beside the workflows, and `docs/demo.jpg`. Run it in the environment of `dev.py`.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import av
import cv2
import numpy as np

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from apoavatar_core.refocusing import RefocusingConfig, refocus  # noqa: E402
from apoavatar_core.refocusing_plot import plot_gate  # noqa: E402
from devtools import demo, environment, server, workflow  # noqa: E402

DEMO = "tiny_image_audio"
THUMBNAIL_FRAMES = (8, 16, 22, 36)
DEMO_FRAMES = range(0, 48, 6)
CELL = 256


def main() -> None:
    layout = environment.Layout(FOLDER.parent)
    environment.link_pack(layout)
    with server.running_server(layout) as running:
        for asset in (FOLDER / "assets").iterdir():
            running.upload(asset)
        definitions = running.object_info()
        for path in sorted(FOLDER.glob("tiny_*.json")):
            frames, voice, rate, fps = watch(demo.generate(running, workflow.to_prompt(workflow.load(path), definitions)))
            gate = refocus(voice, rate, len(frames), fps, RefocusingConfig())
            plot = plot_gate(voice, rate, gate, fps)
            write(path.with_suffix(".jpg"), thumbnail(frames, plot))
            if path.stem == DEMO:
                write(layout.root / "docs" / "demo.jpg", film_under_its_sound(frames, plot))


def watch(video: bytes) -> tuple[list[np.ndarray], np.ndarray, int, float]:
    """Frames uint8 [H, W, 3], samples [C, S], sample rate and frame rate of an MP4."""
    with av.open(io.BytesIO(video)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        fps = float(container.streams.video[0].average_rate)
    with av.open(io.BytesIO(video)) as container:
        rate = container.streams.audio[0].rate
        voice = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    return frames, voice, rate, fps


def enlarge(picture: np.ndarray) -> np.ndarray:
    return cv2.resize(picture, (CELL, CELL), interpolation=cv2.INTER_CUBIC)


def thumbnail(frames: list[np.ndarray], plot: np.ndarray) -> np.ndarray:
    """Four frames above the voice with its gate: [2 · CELL, 2 · CELL, 3]."""
    chosen = [enlarge(frames[t])[16:-16] for t in THUMBNAIL_FRAMES]
    rows = [np.concatenate(chosen[i : i + 2], axis=1) for i in (0, 2)]
    return np.concatenate([*rows, cv2.resize(plot, (2 * CELL, 64), interpolation=cv2.INTER_AREA)])


def film_under_its_sound(frames: list[np.ndarray], plot: np.ndarray) -> np.ndarray:
    """The voice with its gate above frames at equal distances."""
    row = np.concatenate([enlarge(frames[t]) for t in DEMO_FRAMES], axis=1)
    return np.concatenate([cv2.resize(plot, (row.shape[1], CELL), interpolation=cv2.INTER_AREA), row])


def write(path: Path, rgb: np.ndarray) -> None:
    cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
