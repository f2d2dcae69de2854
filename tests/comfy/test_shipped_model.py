"""Floors under the shipped model: films of the shipped portrait and voice, and of a pose, judged by what they show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import librosa
import numpy as np
import pytest
from PIL import Image

from apoavatar_core.checkpoints import presets
from apoavatar_core.evaluation import measures
from apoavatar_core.evaluation.presenter_films import HARD, POSE_FREE, TEXTS, SamplingSettings, TinyGenerator
from apoavatar_core.evaluation.regions import bare_wall
from apoavatar_core.evaluation.watching import both_hands_seen, watch
from apoavatar_core.pose import from_frame, load_keypoint_network
from apoavatar_core.refocusing import RefocusingConfig, refocus
from apoavatar_core.synthetic import synthesize_clip
from apoavatar_core.waveform import SAMPLE_RATE
from tests.comfy.floors import FLOORS, HELD_OUT

ASSETS = Path(__file__).resolve().parents[2] / "workflows" / "assets"
FPS, FRAMES, STEPS = 24.0, 33, 6
"""Less than the workflow's: a floor, not a measurement."""


LONG, PART, OVERLAP = 49, 25, 8
"""Frames of a clip in three context windows, and of each of them."""
SHORT, CREAM, SLATE = 13, 16, 17
"""Frames of films from text alone, and held-out clips before walls of these colours."""


@pytest.mark.parametrize("frames", [FRAMES, LONG], ids=["one clip", "three of ComfyUI's context windows"])
def test_the_mouth_follows_the_voice(comfy, frames: int) -> None:
    speech, _ = librosa.load(ASSETS / "speech.wav", sr=SAMPLE_RATE)
    portrait = np.asarray(Image.open(ASSETS / "presenter.png").convert("RGB").resize((128, 128)))
    clip = SimpleNamespace(
        frames=np.repeat(portrait[None], frames, 0), speech=speech, sample_rate=SAMPLE_RATE, fps=FPS, caption="A woman."
    )
    generate = TinyGenerator(replace(SamplingSettings(), steps=STEPS))
    if frames == LONG:
        generate.model = in_context_windows(generate.model)
    latents = generate.sample(clip, POSE_FREE, seed=0)
    film, _ = generate.decode([latents, latents])  # two: PyTorch takes a slow 3-D convolution for one on CPUs
    openings = watch(load_keypoint_network(presets.TINY_POSE), film).openings
    loudness = refocus(speech, SAMPLE_RATE, frames, FPS, RefocusingConfig()).loudness
    assert not missed(mouth_r=measures.in_time(measures.lagged_correlations(openings, loudness)))


def missed(**found: float) -> dict[str, str]:
    """The floors that are not reached, each with what was found."""
    return {name: f"{value} is not {FLOORS[name]}" for name, value in found.items() if not FLOORS[name].is_met(value)}


def test_hands_follow_the_pose(comfy) -> None:
    clip = synthesize_clip(HELD_OUT, frames=FRAMES, held_out=True)
    generate = TinyGenerator(replace(SamplingSettings(), steps=STEPS))
    films = generate.decode([generate.sample(clip, mode, seed=0) for mode in (HARD, POSE_FREE)])
    network, pose = load_keypoint_network(presets.TINY_POSE), [from_frame(frame) for frame in clip.keypoints]
    posed, free = (watch(network, film).people for film in films)
    assert not missed(
        hands_hard=both_hands_seen(posed, pose, *clip.frames.shape[1:3]),
        pose_worth=measures.pose_error(free, pose) - measures.pose_error(posed, pose),
    )


def test_the_wall_is_nearer_to_the_colour_that_the_text_names(comfy) -> None:
    """Than that of a film from another clip's text, the voice and the noise being the same."""
    clip, other = (synthesize_clip(seed, frames=SHORT, held_out=True) for seed in (CREAM, SLATE))
    generate = TinyGenerator(replace(SamplingSettings(), steps=STEPS))
    told = [replace(clip, caption=caption) for caption in (clip.caption, other.caption)]
    films = generate.decode([generate.sample(each, TEXTS[1], seed=0) for each in told])
    drawn, own, others = (film[:, bare_wall(clip)].mean((0, 1)) for film in (clip.frames, *films))
    assert not missed(text_worth=measures.colour_difference(others, drawn) - measures.colour_difference(own, drawn))


def in_context_windows(model):
    """With the settings that the help page of ApoAvatar Conditioning names, but shorter."""
    from comfy_extras.nodes_context_windows import WanContextWindowsManualNode

    settings = {"context_schedule": "standard_static", "context_stride": 1, "closed_loop": False, "fuse_method": "pyramid"}
    (windowed,) = WanContextWindowsManualNode.execute(
        model, context_length=PART, context_overlap=OVERLAP, freenoise=False, retain_first_frame=True, **settings
    ).result
    return windowed
