"""What a run would take: counted from shapes, compared with formulas and with the real thing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from apoavatar_core.settings import build, changed
from apoavatar_core.training.config import Backbone, Dimensions, TrainingConfig

pytestmark = pytest.mark.usefixtures("training")
CONFIGS = Path(__file__).resolve().parents[2] / "apoavatar_core" / "training" / "configs"
TINY = CONFIGS.parents[1] / "tiny" / "configs" / "tiny_dit.yaml"
WAN = sorted(path.stem for path in CONFIGS.glob("wan*.yaml"))
DIMENSIONS = {"dim": 64, "ffn_dim": 128, "num_heads": 2, "num_layers": 2}


@pytest.fixture
def run(tmp_path) -> TrainingConfig:
    """A run that nothing was prepared for."""
    content = {
        "data": tmp_path / "none",
        "run": tmp_path / "run",
        "backbone": {"new": DIMENSIONS},
        "adapter": {"new": {"audio_dim": 32, "tokens_per_frame": 2, "pose_channels": 8}},
        "stages": [{"steps": 1, "batch": 1, "latent_frames": 3, "learning_rate": 1e-3, "final_learning_rate": 1e-3}],
    }
    return build(TrainingConfig, content)


def estimated(run: TrainingConfig, processes: int = 1, frames: int = 9, side: int = 64):
    from apoavatar_core.training.estimate import estimate

    return estimate(run, side, side, frames, processes)


def test_memory_is_counted_by_what_is_alive() -> None:
    from apoavatar_core.training.estimate import LiveMemory

    with LiveMemory() as memory:
        first = torch.zeros(1000)
        second = first + 1
        del first
        seen = second.view(10, 100)
    assert (memory.live, memory.peak) == (4000, 8000)
    del second, seen
    assert memory.live == 0


def test_attention_counts_two_products_forward_and_five_back() -> None:
    from apoavatar_core.training.estimate import CPU_ATTENTION

    query, key, value = (torch.ones(2, 3, 64, 16, requires_grad=True) for _ in range(3))
    with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as flops:
        F.scaled_dot_product_attention(query, key, value).sum().backward()
    assert flops.get_total_flops() == 7 * 2 * (2 * 3) * 64 * 64 * 16


def test_a_run_keeps_weights_gradients_average_and_two_moments(run) -> None:
    from comfy.ldm.wan.model import WanModel

    found = estimated(run)
    real = WanModel(operations=torch.nn, in_dim=36, text_dim=4096, text_len=512, **DIMENSIONS)
    assert found.learned["text"] + found.learned["video"] == sum(parameter.numel() for parameter in real.parameters())
    assert found.frozen == 0
    assert found.kept == pytest.approx(5 * 4 * sum(found.learned.values()), rel=0.01)
    assert found.host == 4 * sum(found.learned.values())
    # Weights, average and two moments, and AdamW's count of steps for each parameter.
    assert found.saved == pytest.approx(4 * 4 * sum(found.learned.values()), rel=0.01)
    assert f"{found.flops / 1e12:,.1f} TFLOP" in found.text()
    assert f"{found.host / 2**30:.1f} GiB of memory to build the model in" in found.text()


def test_twice_the_batch_is_twice_the_work_and_recomputing_trades_work_for_memory(run) -> None:
    deep = changed(run, backbone=Backbone(new=Dimensions(**DIMENSIONS | {"num_layers": 4})))
    once = estimated(deep, side=256)
    twice = estimated(changed(deep, stages=(changed(run.stages[0], batch=2),)), side=256)
    recomputed = estimated(changed(deep, backbone=changed(deep.backbone, recompute=True)), side=256)
    assert twice.flops == 2 * once.flops
    assert once.flops < recomputed.flops < 1.5 * once.flops
    assert recomputed.passing < once.passing < twice.passing


def test_processes_share_what_is_kept_and_the_batch(run) -> None:
    pair = changed(run, stages=(changed(run.stages[0], batch=2),))
    alone, shared = estimated(run), estimated(pair, processes=2)
    assert shared.kept == alone.kept // 2 and shared.flops == alone.flops
    assert (shared.host, shared.saved) == (alone.host, alone.saved)
    assert shared.passing > alone.passing
    with pytest.raises(ValueError, match="a batch of 1 does not divide among 2 processes"):
        estimated(run, processes=2)


def test_a_file_is_judged_by_its_header(run, tmp_path) -> None:
    from apoavatar_core.comfyui import trainable
    from apoavatar_core.training.export import export_dit

    dit = trainable.new_dit(DIMENSIONS, 4096, 512)
    path = tmp_path / "wan.safetensors"
    export_dit(path, dit, dit.state_dict())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    stage = changed(run.stages[0], train=("audio", "pose", "lora"))
    found = estimated(changed(run, backbone=Backbone(file=path, lora_rank=4), stages=(stage,)))
    assert found.frozen == sum(parameter.numel() for parameter in dit.parameters())
    for broken in (b"", b"no tensors here", b"\2\0\0\0\0\0\0\0[1", b"\7\0\0\0\0\0\0\0{\"a\":1}"):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="wan.safetensors is not there or no safetensors file"):
            estimated(changed(run, backbone=Backbone(file=path)))


def test_clips_for_wan_2_2_5b_are_planned_with_its_vae(run, tmp_path) -> None:
    from apoavatar_core.comfyui import trainable
    from apoavatar_core.training.export import export_dit

    work = {}
    for channels in (16, 48):
        dit = trainable.new_dit(DIMENSIONS, 4096, 512, channels=channels)
        path = tmp_path / f"{channels}.safetensors"
        export_dit(path, dit, dit.state_dict())
        run = changed(run, backbone=Backbone(file=path))
        work[channels] = estimated(run, side=128).flops
    # A token for each 32 pixels and not for each 16: what is counted beside the tokens is the text.
    assert work[48] < 0.8 * work[16]
    from apoavatar_core.training.estimate import estimate

    with pytest.raises(ValueError, match="width 80 is not a multiple of 32: use 64 or 96"):
        estimate(run, 80, 64, 9, 1)


def test_a_stage_of_longer_clips_is_refused(run) -> None:
    with pytest.raises(ValueError, match="3 latent frames, and the clips have 2: raise --frames"):
        estimated(run, frames=5)


@pytest.mark.parametrize("name", WAN)
def test_the_shipped_configurations_can_be_read(name) -> None:
    from apoavatar_core.training.config import read_config

    config = read_config(CONFIGS / f"{name}.yaml")
    assert config.backbone.recompute and config.precision == "bf16"


@pytest.mark.parametrize("name", WAN)
def test_wan_s_configurations_show_what_the_tiny_preset_s_does(name) -> None:
    """Text, voice and pose in as many examples, the portrait too where the backbone sees one, and the same loss."""
    from apoavatar_core.training.config import read_config
    from apoavatar_core.training.states import STATES

    ours, theirs = read_config(CONFIGS / f"{name}.yaml"), read_config(TINY)

    def share(config: TrainingConfig, modality: str) -> float:
        return sum(config.conditions.states.get(state, 0) for state, kept in STATES.items() if modality in kept)

    for modality in ("text", "audio", "pose"):
        assert share(ours, modality) == pytest.approx(share(theirs, modality))
    if name == "wan22_5b":
        assert ours.conditions.leading[1] == pytest.approx(share(theirs, "image"))
    elif name != "wan21_1_3b":
        assert share(ours, "image") == pytest.approx(share(theirs, "image"))
    others = ("pose_scheme", "whole_pose", "soft_gate", "speaking")
    assert [getattr(ours.conditions, field) for field in others] == [getattr(theirs.conditions, field) for field in others]
    assert ours.loss == theirs.loss
