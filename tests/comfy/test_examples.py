"""What training steps learn from: shares of the states of Eq. 8, orders of the epochs, and draws that do not disturb each other."""

from __future__ import annotations

import uuid
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from apoavatar_core.settings import changed
from apoavatar_core.training.config import Conditions
from apoavatar_core.training.pose_schemes import PoseScheme
from apoavatar_core.training.states import SHARES

TEXT, SPEAKING, NULL = 1.0, 2.0, 3.0
"""What each text's embedding is filled with."""


class StubClips:
    """Clips whose tensors say which clip and which condition they are; clip k has latents k + 1."""

    channels = 16

    def __init__(self, lengths: list[int]):
        self.lengths = np.array(lengths)
        self.paths = [Path(f"clip{number}.safetensors") for number in range(len(lengths))]

    def of_length(self, latent_frames: int) -> np.ndarray:
        return np.nonzero(self.lengths >= latent_frames)[0]

    def clip(self, index: int, latent_frames: int, start: int = 0) -> dict[str, Tensor]:
        latents = (self.channels, latent_frames, 2, 2)
        return {
            "latents": torch.full(latents, index + 1.0),
            "reference": torch.full(latents, 4.0),
            "audio": torch.full((8, latent_frames, 3), 5.0),
            "pose": torch.full((12, latent_frames, 4, 4), 0.6),
            "mouth": torch.zeros(latents[1:]),
            "posed": torch.tensor(1.0),
            "dropout": torch.linspace(0.1, 0.9, 4 * latent_frames - 3),
            "text": torch.full((2, 3), TEXT),
            "speaking_text": torch.full((2, 3), SPEAKING),
            "null_text": torch.full((2, 3), NULL),
            "portrait": torch.full((4, 3), 7.0),
        }


@pytest.fixture
def source(training):
    """`source(conditions, seed=0, clips=…)`: examples of stub clips."""
    from apoavatar_core.training.examples import ExampleSource

    def make(conditions: Conditions = Conditions(), seed: int = 0, clips: StubClips = StubClips([1] * 5)) -> ExampleSource:
        return ExampleSource(clips, conditions, 3.0, seed)

    return make


def seen_in(example) -> frozenset[str]:
    """The modalities that an example shows."""
    from apoavatar_core.comfyui.conditions import AUDIO, POSE_GATE

    found = example.conditions
    assert found["c_concat"].any() == found["clip_fea"].any()
    shown = {
        "text": (found["context"] != NULL).all(),
        "image": found["c_concat"].any(),
        "audio": found[AUDIO].any(),
        "pose": found[POSE_GATE].any(),
    }
    return frozenset(name for name, there in shown.items() if there)


KEPT = {
    "S0": "", "S1": "text", "S2": "text image", "S3": "text image audio", "S4": "text image audio pose",
    "text_audio": "text audio", "text_audio_pose": "text audio pose",
}  # fmt: skip


def test_states_and_captions_come_in_their_shares(source) -> None:
    draws = 1500
    examples = source(Conditions(whole_pose=1.0, speaking=0.3))
    drawn = [examples.example(position, 1) for position in range(draws)]
    counts = Counter(map(seen_in, drawn))
    for name, share in SHARES.items():
        deviation = (share * (1 - share) / draws) ** 0.5
        assert abs(counts.pop(frozenset(KEPT[name].split()), 0) / draws - share) < 4 * deviation, name
    assert not counts
    texts = [float(example.conditions["context"][0, 0]) for example in drawn if "text" in seen_in(example)]
    assert set(texts) == {TEXT, SPEAKING}
    assert abs(texts.count(SPEAKING) / len(texts) - 0.3) < 4 * (0.21 / len(texts)) ** 0.5


@pytest.mark.parametrize("name", KEPT)
def test_a_state_in_training_is_the_guider_s(source, name) -> None:
    import comfy.conds

    from apoavatar_core.comfyui.conditions import keep_modalities

    example = source(Conditions(states={name: 1.0}, whole_pose=1.0)).example(3, 1)
    whole = source(Conditions(states={"S4": 1.0}, whole_pose=1.0)).example(3, 1).conditions

    def prepared(text: Tensor) -> list[dict]:
        conditions = whole | {"context": text}
        return [{"uuid": uuid.UUID(int=0), "model_conds": {key: comfy.conds.CONDRegular(x) for key, x in conditions.items()}}]

    (state,) = keep_modalities(prepared(whole["context"]), prepared(torch.full((2, 3), NULL)), KEPT[name].split())
    assert state["model_conds"].keys() == example.conditions.keys()
    for key, condition in state["model_conds"].items():
        assert torch.equal(condition.cond, example.conditions[key]), key


def test_an_epoch_shows_every_clip_once_and_each_in_another_order(source) -> None:
    clips = StubClips([3, 1, 3, 3, 2, 3, 3])
    examples = source(clips=clips)
    for latent_frames, indices in ((1, [0, 1, 2, 3, 4, 5, 6]), (3, [0, 2, 3, 5, 6])):
        count = len(indices)
        epochs = [[examples.clip_at(count * epoch + place, latent_frames) for place in range(count)] for epoch in range(6)]
        assert all(sorted(epoch) == indices for epoch in epochs)
        assert len(set(map(tuple, epochs))) > 4
        shown = examples.example(count + 2, latent_frames).data
        assert (shown == epochs[1][2] + 1).all()
        resumed = source(clips=clips)
        assert [resumed.clip_at(count * 3 + place, latent_frames) for place in range(2, count)] == epochs[3][2:]
        assert examples.names(range(count), latent_frames) == [f"clip{index}.safetensors" for index in epochs[0]]
    assert [source(seed=1, clips=clips).clip_at(place, 1) for place in range(7)] != epochs[0]


def test_an_epoch_s_order_is_drawn_once(source) -> None:
    """At the paper's 3,200 hours an order takes half a second."""

    class CountedClips(StubClips):
        asked = 0

        def of_length(self, latent_frames: int) -> np.ndarray:
            self.asked += 1
            return super().of_length(latent_frames)

    clips = CountedClips([1] * 50)
    examples = source(clips=clips)
    for position in range(100):
        examples.clip_at(position, 1)
    assert clips.asked == 1
    assert examples._order.cache_info().misses == 2


def test_a_resumed_source_gives_the_same_examples(source) -> None:
    first, second = (source() for _ in range(2))
    for position in range(4):
        first.example(position, 1)
    ours, theirs = (examples.batch(range(4, 8), 1) for examples in (first, second))
    assert all(torch.equal(one, other) for one, other in zip(ours.tensors(), theirs.tensors(), strict=True))
    assert len({float(noise[0, 0, 0, 0]) for noise in ours.noise}) == len(set(ours.sigma.tolist())) == 4
    assert not torch.equal(source(seed=1).batch(range(4, 8), 1).noise, ours.noise)


VARIANTS = [
    Conditions(pose_scheme=scheme, whole_pose=whole, soft_gate=soft)
    for scheme in PoseScheme
    for whole, soft in ((0.0, 0.0), (0.3, 0.4))
]


def test_variants_of_one_seed_differ_in_their_gates_alone(source) -> None:
    from apoavatar_core.comfyui.conditions import POSE_GATE

    positions = range(40)
    batches = [source(conditions, clips=StubClips([2] * 5)).batch(positions, 2) for conditions in VARIANTS]
    for batch in batches[1:]:
        for name in ("data", "noise", "sigma"):
            assert torch.equal(getattr(batch, name), getattr(batches[0], name)), name
        for name, condition in batch.conditions.items():
            assert name == POSE_GATE or torch.equal(condition, batches[0].conditions[name]), name
    gates = [tuple(batch.conditions[POSE_GATE].flatten().tolist()) for batch in batches]
    # Without a pose and with the whole one there is nothing to weigh.
    assert len(set(gates)) == 6

    reference_free = source(changed(VARIANTS[0], states={"S1": 0.5, "text_audio": 0.5}), clips=StubClips([2] * 5)).batch(positions, 2)
    assert not reference_free.conditions["c_concat"].any()
    for name in ("data", "noise", "sigma"):
        assert torch.equal(getattr(reference_free, name), getattr(batches[0], name)), name


def test_a_shorter_text_of_a_batch_ends_in_zeros(source) -> None:
    from dataclasses import replace

    from apoavatar_core.training.examples import Batch

    example = source(changed(Conditions(), states={"S3": 1.0})).example(0, 1)
    longer = replace(example, conditions=example.conditions | {"context": torch.full((3, 3), TEXT)})
    context = Batch.stack([example, longer]).conditions["context"]
    assert torch.equal(context[0, :2], example.conditions["context"]) and not context[0, 2:].any()
    assert torch.equal(context[1], longer.conditions["context"])
