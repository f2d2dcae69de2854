"""The pieces of training that run without ComfyUI, against obvious implementations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from apoavatar_core.data.mouth import mouth_cells
from apoavatar_core.pose import from_frame
from apoavatar_core.pose.keypoints import LIPS
from apoavatar_core.settings import build, changed
from apoavatar_core.synthetic import synthesize_clip
from apoavatar_core.training.average import Average
from apoavatar_core.training.branches import BRANCHES, branch_of
from apoavatar_core.training.config import Loss, Stage, TrainingConfig, read_config
from apoavatar_core.training.loss import loss_weights
from apoavatar_core.training.optimizers import Muon, build_optimizers, orthogonalize, set_learning_rate, suits_muon
from apoavatar_core.training.pose_schemes import PoseScheme, draw_pose_gate
from apoavatar_core.training.schedule import learning_rate, stage_at


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(2, 40), columns=st.integers(2, 40), seed=st.integers(0, 1000))
def test_orthogonalising_keeps_the_directions_and_levels_the_lengths(rows: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    u, _, vt = np.linalg.svd(rng.normal(size=(rows, columns)), full_matrices=False)
    lengths = rng.uniform(0.3, 1, size=min(rows, columns))
    found = orthogonalize(torch.from_numpy((u * lengths) @ vt).float()).double().numpy()
    in_its_own_axes = u.T @ found @ vt.T
    assert np.abs(in_its_own_axes - np.diag(np.diag(in_its_own_axes))).max() < 1e-3
    assert ((np.diag(in_its_own_axes) > 0.6) & (np.diag(in_its_own_axes) < 1.3)).all()


def test_orthogonalising_nothing_gives_nothing() -> None:
    assert torch.equal(orthogonalize(torch.zeros(16, 32)), torch.zeros(16, 32))


@pytest.mark.parametrize(
    ("shape", "suits"), [((16, 16), True), ((16, 3, 3, 3, 3), True), ((16,), False), ((3, 64), False), ((64, 1, 1, 1), False)]
)
def test_muon_takes_matrices_and_kernels_alone(shape: tuple[int, ...], suits: bool) -> None:
    assert suits_muon(torch.zeros(shape)) is suits


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_every_parameter_learns_and_the_state_returns(kind: str) -> None:
    def network() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(24, 32), nn.SiLU(), nn.Linear(32, 16))

    def advance(module: nn.Module, optimizers: list[torch.optim.Optimizer], steps: range) -> None:
        set_learning_rate(optimizers, 0.02)
        for step in steps:
            torch.manual_seed(step)
            (module(torch.randn(8, 24)) - 1).square().mean().backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()

    whole = network()
    before = [p.clone() for p in whole.parameters()]
    advance(whole, build_optimizers(kind, whole, 0.01), range(4))
    assert all(not torch.equal(p, old) for p, old in zip(whole.parameters(), before))

    parts = network()
    first, second = build_optimizers(kind, parts, 0.01), build_optimizers(kind, parts, 0.01)
    advance(parts, first, range(2))
    for optimizer, saved in zip(second, first):
        optimizer.load_state_dict(saved.state_dict())
    advance(parts, second, range(2, 4))
    assert all(torch.equal(p, q) for p, q in zip(whole.parameters(), parts.parameters()))


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_weights_decay_by_the_rate_times_the_decay(kind: str) -> None:
    def after_one_step(decay: float) -> tuple[torch.Tensor, torch.Tensor]:
        weight, bias = nn.Parameter(torch.full((16, 16), 2.0)), nn.Parameter(torch.full((16,), 2.0))
        optimizers = build_optimizers(kind, nn.ParameterList([weight, bias]), decay)
        set_learning_rate(optimizers, 0.1)
        weight.grad, bias.grad = torch.eye(16), torch.ones(16)
        for optimizer in optimizers:
            optimizer.step()
        return weight.detach(), bias.detach()

    (weight, bias), (free_weight, free_bias) = after_one_step(0.5), after_one_step(0.0)
    torch.testing.assert_close(free_weight - weight, torch.full((16, 16), 0.1 * 0.5 * 2))
    # Beside Muon, AdamW holds what should not decay, and learns at a tenth of the rate.
    lost, moved = (0.1 * 0.5 * 2, 0.1) if kind == "adamw" else (0.0, 0.01)
    torch.testing.assert_close(free_bias - bias, torch.full((16,), lost))
    torch.testing.assert_close(2 - free_bias, torch.full((16,), moved))


def test_the_rate_warms_up_evenly_and_falls_along_half_a_cosine() -> None:
    stage = Stage(steps=12, batch=1, latent_frames=1, learning_rate=8.0, final_learning_rate=2.0, warmup=3)
    # The cosine of 0°, 15°, …: at 60° three quarters of the way are left, at 90° half, at 120° a quarter.
    assert learning_rate(stage, 0) == pytest.approx(8 / 3)
    assert learning_rate(stage, 1) == pytest.approx((2 + 3 * (1 + (6**0.5 + 2**0.5) / 4)) * 2 / 3)
    assert learning_rate(stage, 2) == pytest.approx(2 + 3 * (1 + 3**0.5 / 2))
    assert [learning_rate(stage, step) for step in (4, 6, 8)] == pytest.approx([6.5, 5.0, 3.5])
    assert learning_rate(changed(stage, warmup=0), 0) == 8.0


def test_a_step_belongs_to_the_stage_that_it_falls_into() -> None:
    short = Stage(steps=2, batch=1, latent_frames=1, learning_rate=1, final_learning_rate=1)
    long = changed(short, steps=3)
    assert [stage_at((short, long), step) for step in range(5)] == [(short, 0), (short, 1), (long, 0), (long, 1), (long, 2)]
    with pytest.raises(IndexError):
        stage_at((short, long), 5)


def test_the_average_remembers_each_step_by_what_later_ones_left_of_it() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    average = Average({"x": parameter}, decay=0.5)
    decays = [2 / 11, 3 / 12, 4 / 13, 5 / 14, 6 / 15, 7 / 16, 8 / 17, 9 / 18, 0.5, 0.5]
    for step in range(1, 11):
        parameter.data.fill_(float(step))
        average.update(step)
    shares = [(1 - decay) * np.prod(decays[step:]) for step, decay in enumerate(decays, 1)]
    expected = float(np.dot(shares, range(1, 11)))
    assert average.weights["x"].item() == pytest.approx(expected)
    with average.shown():
        assert parameter.item() == pytest.approx(expected)
    assert parameter.item() == 10 and average.weights["x"].item() == pytest.approx(expected)


def test_muon_finds_a_linear_map() -> None:
    torch.manual_seed(0)
    wanted, found = torch.randn(16, 16), nn.Parameter(torch.zeros(16, 16))
    optimizer = Muon([found], lr=0.1)
    for step in range(300):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 300)
        ((found - wanted).square().mean()).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert (found - wanted).abs().max() < 0.05


def test_mouth_cells_hold_the_lips_and_little_else() -> None:
    clip = synthesize_clip(3, frames=5)
    people = [from_frame(frame) for frame in clip.keypoints]
    cells = mouth_cells(people, 16, 16)
    assert cells.shape == (2, 16, 16)
    expected = torch.zeros(2, 16, 16, dtype=torch.bool)
    for t, person in enumerate(people):
        x, y = person.face[LIPS, 0], person.face[LIPS, 1]
        for row in range(int(y.min() * 16), int(np.ceil(y.max() * 16))):
            for column in range(int(x.min() * 16), int(np.ceil(x.max() * 16))):
                expected[(t + 3) // 4, row, column] = True
    assert torch.equal(cells, expected)
    assert 0 < cells.sum() < 30


DRAWS = 100_000


@pytest.mark.parametrize("scheme", PoseScheme)
def test_each_pose_scheme_keeps_the_frames_that_it_says(scheme: PoseScheme) -> None:
    dropout = torch.tensor([0.0, 0.1, 0.4, 0.9, 1.0])
    expected = {
        PoseScheme.NONE: np.zeros(5),
        PoseScheme.CLIP: np.ones(5),
        PoseScheme.TEMPORAL: np.full(5, 0.52),
        PoseScheme.REFOCUSING: 1 - dropout.numpy(),
    }[scheme]
    # Many clips side by side: the mask of one long clip whose frames repeat.
    mask = draw_pose_gate(scheme, dropout.repeat(DRAWS), 0, 0, np.random.default_rng(0)).view(DRAWS, 5)
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    deviation = np.sqrt(expected * (1 - expected) / DRAWS)
    assert (np.abs(mask.mean(0).numpy() - expected) <= 3 * deviation + 1e-7).all()


@pytest.mark.parametrize("scheme", PoseScheme)
def test_shares_of_the_poses_act_whole_and_softly(scheme: PoseScheme) -> None:
    dropout, draws = torch.linspace(0.2, 0.8, 13), 1000
    gates = [draw_pose_gate(scheme, dropout, 0.3, 0.2, np.random.default_rng(seed)) for seed in range(draws)]
    soft = {
        PoseScheme.NONE: torch.zeros(13),
        PoseScheme.CLIP: torch.ones(13),
        PoseScheme.TEMPORAL: torch.full((13,), 0.5),
        PoseScheme.REFOCUSING: 1 - dropout,
    }[scheme]
    masked = scheme in (PoseScheme.TEMPORAL, PoseScheme.REFOCUSING)
    whole = np.mean([bool((gate == 1).all()) for gate in gates])
    weighed = np.mean([torch.allclose(gate, soft) for gate in gates])
    allowed = 4 * np.sqrt(0.25 / draws)
    assert abs(whole - {PoseScheme.NONE: 0, PoseScheme.CLIP: 1}.get(scheme, 0.3)) < allowed
    assert abs(weighed - (0.2 if masked else 1)) < allowed
    assert all(((gate == 0) | (gate == 1)).all() or torch.allclose(gate, soft) for gate in gates)


MINIMAL = {
    "data": "clips",
    "run": "run",
    "backbone": {"new": {"dim": 64, "ffn_dim": 128, "num_heads": 2, "num_layers": 2}},
    "stages": [{"steps": 3, "batch": 2, "latent_frames": 3, "learning_rate": 1e-4, "final_learning_rate": 1e-5}],
}


def test_a_configuration_is_read_with_its_defaults(tmp_path) -> None:
    import yaml

    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(MINIMAL | {"conditions": {"pose_scheme": "temporal", "states": {"S3": 0.4, "S4": 0.6}}}))
    config = read_config(path)
    assert config.steps == 3
    assert config.stages[0].train == BRANCHES
    assert config.conditions.pose_scheme is PoseScheme.TEMPORAL
    assert config.conditions.states == {"S3": 0.4, "S4": 0.6}
    assert config.optimizer == "adamw"


STAGE = MINIMAL["stages"][0]
NEW_DIT = MINIMAL["backbone"]["new"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stpes": 3}, "stpes: there is no such field, only data, run, backbone, "),
        ({"stages": [{"steps": 3}]}, "stages.0.batch: is missing"),
        ({"stages": [STAGE, STAGE | {"batch": 1.5}]}, "stages.1.batch: should be a valid integer"),
        ({"stages": [STAGE | {"learning_rate": 0}]}, "stages.0.learning_rate: should be greater than 0, not 0"),
        ({"stages": [STAGE | {"train": ["sound"]}]}, "stages.0.train.0: should be 'audio', 'pose', 'text', 'video' or 'lora'"),
        ({"stages": [STAGE | {"train": []}]}, "stages.0.train: is empty"),
        ({"stages": [STAGE | {"train": ["lora"]}]}, "to train lora, give the backbone a lora_rank"),
        ({"stages": []}, "stages: is empty"),
        ({"stages": 3}, "stages: is 3: write a list"),
        ({"backbone": MINIMAL["backbone"] | {"lora_rank": 4}}, "beside a LoRA the backbone stays as it is"),
        ({"backbone": MINIMAL["backbone"] | {"lora_rank": 0}}, "backbone.lora_rank: should be greater than or equal to 1"),
        ({"backbone": MINIMAL["backbone"] | {"recompute": 1}}, "backbone.recompute: is 1, not true or false"),
        ({"backbone": {}}, "backbone: needs either `file`.*or `new`"),
        ({"backbone": {"new": NEW_DIT | {"dimm": 64}}}, "backbone.new.dimm: there is no such field, only dim, ffn_dim"),
        ({"backbone": {"new": NEW_DIT | {"num_heads": 3}}}, "backbone.new: a dim of 64 does not divide into 3 heads"),
        ({"adapter": {"audio_dim": 8}}, "adapter.audio_dim: there is no such field, only file, new"),
        ({"adapter": {}}, "adapter: needs either `file`.*or `new`"),
        ({"adapter": {"new": {"interaction": "loud"}}}, "adapter.new.interaction: should be 'clip_wise', .* not 'loud'"),
        ({"optimizer": "sgd"}, "optimizer: should be 'adamw' or 'muon', not 'sgd'"),
        ({"save_every": 0}, "save_every: should be greater than or equal to 1, not 0"),
        ({"ema": 3}, "ema: should be less than 1, not 3"),
        ({"ema": True}, "ema: is true or false, and this field is neither"),
        ({"shift": -1}, "shift: should be greater than 0, not -1"),
        ({"shift": float("nan")}, "shift: should be .*, not nan"),
        ({"samples": {"vae": "vae", "every": 0}}, "samples.every: should be greater than or equal to 1, not 0"),
        ({"conditions": {"pose_scheme": "loud"}}, "conditions.pose_scheme: should be 'none', .* not 'loud'"),
        ({"conditions": {"whole_pose": 7}}, "conditions.whole_pose: should be less than or equal to 1, not 7"),
        ({"conditions": {"text_dropout": 0.1}}, "conditions.text_dropout: there is no such field, only states, speaking"),
        ({"conditions": {"states": {"S5": 1}}}, "conditions.states: there is no state 'S5', only S0, S1, S2, S3, S4, text_audio"),
        ({"conditions": {"states": {"S3": 0.5, "S4": 0.6}}}, "conditions.states: the shares sum to 1.1: let them sum to 1"),
        ({"conditions": {"states": {"S3": -0.5, "S4": 1.5}}}, "conditions.states: the share of S3 is -0.5: use 0 or more"),
        ({"conditions": {"leading": {1: 0.5, 2: 0.6}}}, "conditions.leading: the shares sum to 1.1: let them sum to 1"),
        ({"conditions": {"leading": {1: 1.5, 2: -0.5}}}, "conditions.leading: the share of 2 leading latents is -0.5: use more"),
        ({"conditions": {"leading": {-1: 1.0}}}, "conditions.leading.-1.*: should be greater than or equal to 0"),
        ({"conditions": {"leading": {STAGE["latent_frames"]: 1.0}}}, "conditions.leading: . latents are given of . in a stage"),
        ({"conditions": {"whole_pose": 0.7, "soft_gate": 0.4}}, "conditions: whole_pose is 0.7 and soft_gate is 0.4: use shares"),
        ({"conditions": 3}, "conditions: is 3: write its fields under it"),
        ({"stages": [{**STAGE, "conditions": {"states": {"S3": 0.5}}}]}, "stages.0.conditions.states: the shares sum to 0.5"),
        ({"stages": [{**STAGE, "conditions": {"leading": {2: 1.0}}}]}, "stages.0.conditions.leading: name its numbers in the run's"),
        (
            {"conditions": {"leading": {1: 1.0}}, "stages": [STAGE, {**STAGE, "conditions": {}}]},
            "stages.1.conditions.leading: the run's conditions have it; give it here too",
        ),
        (
            {"conditions": {"leading": {0: 0.5, 3: 0.5}},
             "stages": [{**STAGE, "latent_frames": 4}, {**STAGE, "latent_frames": 3}]},
            "conditions.leading: 3 latents are given of 3 in a stage",
        ),
    ],
)
def test_a_wrong_configuration_is_refused_by_the_fields_path(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}|; {message}|^stages: {message}") as refused:
        build(TrainingConfig, MINIMAL | change)
    assert "\n" not in str(refused.value)


def test_a_changed_configuration_is_checked_like_a_file(tmp_path) -> None:
    config = build(TrainingConfig, MINIMAL)
    assert changed(config, shift=1.0).shift == 1 and config.shift == 3
    with pytest.raises(ValueError, match="shift: should be greater than 0"):
        changed(config, shift=0)
    with pytest.raises(ValueError, match="frozen"):
        config.shift = 2.0
    (tmp_path / "none.yaml").write_text("stages: [")
    for name in ("none.yaml", "missing.yaml"):
        with pytest.raises(ValueError, match=name):
            read_config(tmp_path / name)


def test_every_parameter_belongs_to_one_branch() -> None:
    assert branch_of("adapter.pose_adapter.embed.0.weight") == "pose"
    assert branch_of("adapter.injections.3.o.weight") == "audio"
    assert branch_of("dit.blocks.0.cross_attn.q.weight") == "text"
    assert branch_of("dit.text_embedding.0.weight") == "text"
    assert branch_of("dit.blocks.0.self_attn.q.weight") == "video"
    assert branch_of("dit.patch_embedding.weight") == "video"
    assert branch_of("dit.blocks.0.cross_attn.q.lora_A.default.weight") == "lora"
    assert branch_of("dit.blocks.0.cross_attn.q.base_layer.weight") == "text"


def test_loss_weights_favour_movement_and_the_mouth_and_keep_the_mean() -> None:
    data = torch.zeros(2, 3, 4, 5, 6)
    data[:, :, ::2, 1, 2] = 1.0
    mouth = torch.zeros(2, 4, 5, 6)
    mouth[:, :, 3, 3] = 1.0
    plain = loss_weights(data, mouth, Loss())
    assert torch.equal(plain, torch.ones_like(plain))
    weights = loss_weights(data, mouth, Loss(motion_weight=3, mouth_weight=6))[0, 0, 0]
    assert weights[1, 2] / weights[0, 0] == pytest.approx(4)
    assert weights[3, 3] / weights[0, 0] == pytest.approx(7)
    assert weights.mean() == pytest.approx(1)
