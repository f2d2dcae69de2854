"""How large the measured models and clips are. Standard library only: `dev.py` reads the names before there is PyTorch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """A Wan 2.1 image-to-video DiT, InfiniteTalk's layers for it, and clips.

    width, feed_forward, heads, layers: of the DiT. InfiniteTalk has forty heads whatever the width, which they must divide.
    text_width, text_tokens: of the prompt that the DiT is made for.
    audio_hidden, audio_width: InfiniteTalk's audio projection, and each of its 32 tokens a latent frame.
    frames: video frames of the clips on which growth is measured; all the rest is measured on the last, the longest.
    picture: height and width in pixels.
    dtype: PyTorch's name of the precision of weights and activations.
    rounds: timed calls of each contestant; attention_rounds: of each form of attention.
    matrix: side of the square matrices whose product is the machine's peak.
    remark: what a reader should know of these numbers.
    """

    width: int
    feed_forward: int
    heads: int
    layers: int
    text_width: int
    text_tokens: int
    audio_hidden: int
    audio_width: int
    frames: tuple[int, ...]
    picture: tuple[int, int]
    dtype: str
    rounds: int
    attention_rounds: int
    matrix: int
    remark: str


SIZES = {
    "true": Size(
        width=5120, feed_forward=13824, heads=40, layers=40, text_width=4096, text_tokens=512,
        audio_hidden=512, audio_width=768, frames=(9, 21, 41, 81), picture=(480, 832),
        dtype="bfloat16", rounds=20, attention_rounds=20, matrix=8192,
        remark="Wan 2.1 14B and InfiniteTalk at true size, with random weights",
    ),
    "cpu": Size(
        width=1040, feed_forward=2808, heads=10, layers=8, text_width=4096, text_tokens=512,
        audio_hidden=512, audio_width=768, frames=(9, 21, 41, 81), picture=(224, 224),
        dtype="float32", rounds=7, attention_rounds=15, matrix=2048,
        remark="1040 wide and not 1024, because InfiniteTalk's forty heads must divide it",
    ),
    "smallest": Size(
        width=120, feed_forward=240, heads=10, layers=2, text_width=16, text_tokens=8,
        audio_hidden=32, audio_width=96, frames=(5, 9, 17), picture=(32, 32),
        dtype="float32", rounds=2, attention_rounds=2, matrix=64,
        remark="too small for numbers that mean anything: it shows that the benchmark runs",
    ),
}  # fmt: skip
