"""Write one synthetic clip as MP4 with sound: `python -m apoavatar_core.synthetic --seed 3 --out clip.mp4`."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import numpy as np

from .clip import Clip, synthesize_clip


def write_mp4(clip: Clip, path: Path) -> None:
    """H.264 video and AAC sound."""
    import av

    height, width = clip.frames.shape[1:3]
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=Fraction(clip.fps).limit_denominator(1001))
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.options = {"crf": "14"}
        audio = container.add_stream("aac", rate=clip.sample_rate, layout="mono")
        for picture in clip.frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
        sound = av.AudioFrame.from_ndarray(np.ascontiguousarray(clip.speech[None]), format="fltp", layout="mono")
        sound.sample_rate = clip.sample_rate
        container.mux(audio.encode(sound))
        container.mux(audio.encode())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m apoavatar_core.synthetic", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="MP4 file to write")
    parser.add_argument("--frames", type=int, default=49)
    parser.add_argument("--fps", type=float, default=24)
    parser.add_argument("--size", type=int, default=128, help="picture width and height in pixels")
    parser.add_argument("--held-out", action="store_true", help="use the voices and looks kept for evaluation")
    options = parser.parse_args()
    clip = synthesize_clip(options.seed, options.frames, options.fps, options.size, options.held_out)
    write_mp4(clip, options.out)
    print(f"{options.out}: {clip.caption}")


if __name__ == "__main__":
    main()
