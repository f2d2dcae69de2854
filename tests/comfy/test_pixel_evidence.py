"""Evidence in pixels at the smallest budget: real training runs, real films, and the page that is made of them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
import torch
import yaml

from apoavatar_core.checkpoints import presets
from apoavatar_core.checkpoints.adapter_file import read_adapter
from apoavatar_core.checkpoints.safe_file import read_tensors
from apoavatar_core.evaluation import variants as v
from apoavatar_core.evaluation.page_parts import PIXELS, PLAIN
from apoavatar_core.evaluation.pixels import questions
from apoavatar_core.training.states import STATES

FRAMES, SIDE = 25, 64

SMALLEST = {
    "backbone": {"new": {"dim": 64, "ffn_dim": 128, "num_heads": 2, "num_layers": 2}},
    "adapter": {"new": {"audio_dim": 32, "tokens_per_frame": 1, "pose_channels": 8}},
    "stages": [{"steps": 1, "batch": 2, "latent_frames": 7, "learning_rate": 1e-3, "final_learning_rate": 1e-3}],
}


@pytest.fixture(scope="module")
def pixels(prepare_clips, tmp_path_factory):
    from apoavatar_core.evaluation.pixels.runs import Pixels

    folder = tmp_path_factory.mktemp("pixels")
    prepared = prepare_clips(clips=2, frames=FRAMES)
    config = folder / "smallest.yaml"
    config.write_text(yaml.safe_dump(SMALLEST | {"data": str(prepared), "run": "unused"}))
    return Pixels(config, folder / "runs", seeds=1, clips=2, pose_model=presets.TINY_POSE)


# --- what a variant learns from


def test_variants_of_a_seed_begin_with_the_same_weights(pixels, tmp_path) -> None:
    from apoavatar_core.evaluation.pixels import lessons

    def first(variant: v.Variant, seed: int = 0) -> tuple:
        lessons.write_first_weights(tmp_path / "first.safetensors", pixels.training, variant, seed)
        return read_adapter(tmp_path / "first.safetensors")

    config, whole = first(v.BOTH)
    for variant in (v.CLIP_WISE, v.AUDIO_DIT, v.NO_PLACES):
        own_config, own = first(variant)
        assert own_config == replace(config, interaction=variant.interaction.value, keys_know_places=variant.places)
        assert all(torch.equal(weights, whole[name]) for name, weights in own.items())
    assert len(own) < len(whole)
    assert not torch.equal(first(v.BOTH, seed=1)[1]["audio_dit.q.weight"], whole["audio_dit.q.weight"])


def test_only_the_gate_of_a_control_is_another(pixels, tmp_path) -> None:
    from apoavatar_core.data.prepared import PreparedClips
    from apoavatar_core.evaluation.pixels import lessons

    data = pixels.training.data
    own = [read_tensors(path) for path in PreparedClips(data).paths]
    wanted = {
        v.GateControl.INVERTED: [1 - clip["dropout"] for clip in own],
        v.GateControl.ANOTHER: [own[1]["dropout"], own[0]["dropout"]],
        v.GateControl.SHUFFLED: [clip["dropout"].sort().values for clip in own],
    }
    for control, gates in wanted.items():
        folder = lessons.clips_with_gate(data, control, tmp_path / control.value)
        for path, clip, gate in zip(PreparedClips(folder).paths, own, gates, strict=True):
            copy = read_tensors(path)
            changed = copy.pop("dropout")
            assert all(torch.equal(copy[name], clip[name]) for name in copy) and len(copy) == len(clip) - 1
            assert not torch.equal(changed, clip["dropout"])
            assert torch.equal(changed.sort().values if control is v.GateControl.SHUFFLED else changed, gate)
    assert lessons.clips_with_gate(data, v.GateControl.OWN, tmp_path / "own") == data
    assert not (tmp_path / "own").exists()


def test_a_run_has_its_variant_seed_and_clips(pixels) -> None:
    content = pixels.config_of(v.INVERTED, 3)
    assert content["seed"] == 3 and content["conditions"]["pose_scheme"] == "refocusing"
    assert Path(content["data"]).name == "clips_inverted" and Path(content["run"]).name == "inverted_3"
    assert pixels.config_of(v.TEMPORAL, 0)["conditions"]["pose_scheme"] == "temporal"
    assert Path(pixels.config_of(v.TEMPORAL, 0)["data"]) == pixels.training.data


def test_each_variant_is_trained_once_from_every_seed(pixels) -> None:
    asked = replace(pixels, seeds=3).runs()
    assert len(asked) == len({pixels.run_folder(*run) for run in asked}) == 3 * 11
    assert {seed for _, seed in asked[:11]} == {0}


def test_time_is_that_of_the_runs_that_the_page_is_about(pixels, tmp_path) -> None:
    timed = replace(pixels, folder=tmp_path, seeds=2)
    for seed, seconds in ((0, "10"), (1, "30.4"), (2, "1000")):
        timed.run_folder(v.NONE, seed).mkdir()
        (timed.run_folder(v.NONE, seed) / "seconds.txt").write_text(seconds)
    assert timed.training_seconds() == pytest.approx(20.2)


def test_a_backbone_that_rests_is_measured_from_its_own_file(pixels, tmp_path) -> None:
    config = tmp_path / "resting.yaml"
    config.write_text(yaml.safe_dump(SMALLEST | {"data": "clips", "run": "unused", "backbone": {"file": str(presets.TINY_DIT)}}))
    resting = replace(pixels, config=config, folder=tmp_path)
    adapter = resting.run_folder(v.NONE, 0) / "adapter.safetensors"
    assert resting.trained(v.NONE, 0) == (presets.TINY_DIT, adapter)
    learned = adapter.with_name("diffusion_model.safetensors")
    learned.parent.mkdir()
    learned.touch()
    assert resting.trained(v.NONE, 0) == (learned, adapter)


# --- what is measured


def test_one_clip_has_no_other_voice(pixels) -> None:
    with pytest.raises(ValueError, match="--clips: give two or more"):
        replace(pixels, clips=1)


def test_clips_that_are_missing_are_said_before_anything_runs(pixels, tmp_path, monkeypatch) -> None:
    from apoavatar_core.evaluation import __main__ as command

    config = tmp_path / "none.yaml"
    config.write_text(yaml.safe_dump(SMALLEST | {"data": str(tmp_path / "nowhere"), "run": "unused"}))
    monkeypatch.setitem(command.ABLATIONS, PIXELS, config)
    with pytest.raises(ValueError, match="nowhere holds no prepared clips"):
        command.pixels_of(command.arguments_of(["ablate", "--runs", str(tmp_path / "runs")]), PIXELS)
    assert not (tmp_path / "runs").exists()


def test_a_backbone_that_is_missing_is_said_before_anything_runs(pixels, tmp_path, monkeypatch) -> None:
    from apoavatar_core.evaluation import __main__ as command

    config = tmp_path / "plain.yaml"
    config.write_text(
        yaml.safe_dump(SMALLEST | {"data": str(pixels.training.data), "run": "unused", "backbone": {"file": "nowhere.safetensors"}})
    )
    monkeypatch.setitem(command.ABLATIONS, PLAIN, config)
    with pytest.raises(ValueError, match="backbone: plain.yaml names nowhere.safetensors, which is not there: train it"):
        command.pixels_of(command.arguments_of(["ablate", "--runs", str(tmp_path / "runs")]), PLAIN)
    assert not (tmp_path / "runs").exists()


def test_each_part_has_runs_of_its_own(pixels, tmp_path, monkeypatch) -> None:
    from apoavatar_core.evaluation import __main__ as command

    arguments = command.arguments_of(["ablate", "--runs", str(tmp_path), "--seeds", "4"])
    for name in (PIXELS, PLAIN):
        monkeypatch.setitem(command.ABLATIONS, name, pixels.config)
        made = command.pixels_of(arguments, name)
        assert (made.folder, made.config, made.seeds) == (tmp_path / name, pixels.config, 4)


def test_the_backbone_that_never_met_an_adapter_is_where_its_training_leaves_it() -> None:
    from apoavatar_core.evaluation.__main__ import ABLATIONS, CONFIGS
    from apoavatar_core.training.config import read_config

    plain = read_config(CONFIGS / "plain.yaml")
    assert read_config(ABLATIONS[PLAIN]).backbone.file == plain.run / "diffusion_model.safetensors"
    assert plain.trained == {"text", "video"}
    for conditions in map(plain.conditions_of, plain.stages):
        assert all("audio" not in STATES[state] for state, share in conditions.states.items() if share)


def test_another_voice_is_that_of_the_clip_beside_it(pixels) -> None:
    """It costs as much as the same clips with their voices exchanged."""
    from apoavatar_core.evaluation.losses import Case, clip_losses, load_model
    from apoavatar_core.evaluation.pixels import measuring

    model, clips, case = load_model(presets.TINY_DIT, presets.TINY_ADAPTER), pixels.held_out, Case("", "", "S3")
    exchanged = Exchanged(clips)
    with_others = clip_losses(model, clips, replace(case, change=measuring.with_another_voice), 1)
    assert with_others == pytest.approx(clip_losses(model, exchanged, case, 1), rel=1e-4)
    assert with_others != pytest.approx(clip_losses(model, clips, case, 1), rel=1e-4)


class Exchanged:
    """Two prepared clips, each with the other's voice."""

    def __init__(self, clips):
        self.clips = clips

    def __getattr__(self, name: str):
        return getattr(self.clips, name)

    def clip(self, index: int, *window) -> dict:
        return self.clips.clip(index, *window) | {"audio": self.clips.clip(1 - index, *window)["audio"]}


# --- runs and page


@pytest.mark.slow
def test_variants_are_trained_measured_once_and_written_down(pixels, comfyui_folder, tmp_path, monkeypatch) -> None:
    from apoavatar_core.evaluation.pixels import page, runs

    monkeypatch.setenv("COMFYUI_PATH", str(comfyui_folder))
    monkeypatch.setattr(runs, "ALL", (v.CLIP, v.REFOCUSING))
    said: list[str] = []
    # Process 1 of 2 does the second of two runs, and no page.
    assert runs.run_all(pixels, (1, 2), said.append) is None
    assert said == ["run 2/2: refocusing_0"]
    results = runs.run_all(pixels, (0, 1), said.append)
    assert {key: len(found) for key, found in results.items()} == {"clip": 1, "refocusing": 1}
    assert set(results["clip"][0]) == set(questions.MEASURES)
    assert pixels.first_film(v.CLIP, 0).shape == (FRAMES, SIDE, SIDE, 3)

    kept = pixels.run_folder(v.CLIP, 0) / "measures_2.json"
    adapter = kept.with_name("adapter.safetensors")
    written = kept.stat().st_mtime_ns, adapter.stat().st_mtime_ns
    assert runs.run_all(pixels, (0, 1), said.append) == results
    assert written == (kept.stat().st_mtime_ns, adapter.stat().st_mtime_ns)
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(yaml.safe_load(pixels.config.read_text()) | {"ema": 0.5}))
    with pytest.raises(ValueError, match="clip_0 was trained by another configuration"):
        replace(pixels, config=other).train(v.CLIP, 0)
    # Other weights are measured anew.
    shutil.copy(pixels.run_folder(v.REFOCUSING, 0) / "adapter.safetensors", adapter)
    assert pixels.measure(v.CLIP, 0) == pytest.approx(results["refocusing"][0], rel=1e-3, abs=1e-3, nan_ok=True)
    assert json.loads(kept.read_text())["made_by"]

    # The others' numbers are borrowed: this is about the page.
    results |= {variant.key: results["clip"] for variant in v.ALL if variant.key not in results}
    evidence = tmp_path / "docs" / "evidence.md"
    page.write_page(evidence, PIXELS, pixels, results)
    page.write_page(evidence, PLAIN, pixels, results)
    text = evidence.read_text(encoding="utf-8")
    for name, backbone in ((PIXELS, "the shipped backbone"), (PLAIN, "texts and portraits alone")):
        part = text[text.index(f"<!-- {name}") : text.index(f"<!-- end of {name}")]
        assert part.index("### Answers") < part.index("### Pose prior") < part.index("### How the variants")
        assert "gate inverted" in part and "*another clip's film*" in part and backbone in part
        assert f"ablate {name} --seeds 1 --clips 2" in part
        assert cv2.imread(str(evidence.with_name(f"evidence_{name}_hands.png"))).shape == (400, 760, 3)
        assert cv2.imread(str(evidence.with_name(f"evidence_{name}_differences.png"))).shape[1] == 860
    assert text.count("train apoavatar_core/training/configs/plain.yaml") == 1
