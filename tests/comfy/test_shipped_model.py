"""A floor under the shipped model: a film of a voice that training never met, judged by what its pictures show."""

from __future__ import annotations

from dataclasses import replace

from apoavatar_core.checkpoints import presets
from apoavatar_core.evaluation import measures
from apoavatar_core.evaluation.presenter import watch
from apoavatar_core.evaluation.presenter_films import POSE_FREE, SamplingSettings, TinyGenerator
from apoavatar_core.pose import load_keypoint_network
from apoavatar_core.synthetic import synthesize_clip
from apoavatar_core.synthetic.motion import frame_loudness

FRAMES, STEPS = 33, 6
"""Less than the workflow's: a floor, not a measurement."""


def test_the_mouth_follows_the_voice(comfy) -> None:
    generate = TinyGenerator(replace(SamplingSettings(), steps=STEPS))
    clip = synthesize_clip(0, held_out=True, frames=FRAMES)
    latents = generate.sample(clip, POSE_FREE, seed=0)
    film, _ = generate.decode([latents, latents])  # two: PyTorch takes a slow 3-D convolution for one on CPUs
    openings = watch(load_keypoint_network(presets.TINY_POSE), film).openings
    loudness = frame_loudness(clip.speech, FRAMES, clip.fps)
    assert measures.in_time(measures.lagged_correlations(openings, loudness)) >= 0.65  # an adapter of zeros reaches 0.49
