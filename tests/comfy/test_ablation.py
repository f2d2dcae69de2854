"""The ablations at the smallest budget: real training runs, real films, and the page that is made of them."""

from __future__ import annotations

import functools
import shutil

import cv2
import pytest
import yaml

from apoavatar_core.checkpoints import presets
from apoavatar_core.evaluation import ablation as ablation_module
from apoavatar_core.evaluation import evidence
from apoavatar_core.evaluation.ablation import COLUMNS, FIRST_FILM, TABLE_4, Ablation
from apoavatar_core.pose import load_keypoint_network
from apoavatar_core.synthetic import synthesize_clip

FRAMES, SIDE = 25, 64

SMALLEST = {
    "backbone": {"new": {"dim": 64, "ffn_dim": 128, "num_heads": 2, "num_layers": 2}},
    "adapter": {"new": {"audio_dim": 32, "tokens_per_frame": 1, "pose_channels": 8}},
    "stages": [{"steps": 1, "batch": 2, "latent_frames": 7, "learning_rate": 1e-3, "final_learning_rate": 1e-3}],
}


@pytest.mark.slow
def test_variants_are_trained_measured_once_and_written_down(prepare_clips, comfyui_folder, tmp_path, monkeypatch) -> None:
    prepared = prepare_clips(clips=2, frames=FRAMES)
    monkeypatch.setattr(ablation_module, "synthesize_clip", functools.partial(synthesize_clip, frames=FRAMES, size=SIDE))
    monkeypatch.setenv("COMFYUI_PATH", str(comfyui_folder))
    config = tmp_path / "smallest.yaml"
    config.write_text(yaml.safe_dump(SMALLEST | {"data": str(prepared), "run": "unused"}))
    ablation = Ablation(config, tmp_path / "runs", seeds=1, clips=2)
    network = load_keypoint_network(presets.TINY_POSE)
    trained = (TABLE_4[1], TABLE_4[3])
    for variant in trained:
        ablation.train(variant, 0)
        used = yaml.safe_load((ablation.folder(variant, 0) / "config.yaml").read_text())
        assert used["conditions"]["pose_scheme"] == variant.pose.value
        assert used["adapter"]["new"]["interaction"] == variant.interaction.value

    found = ablation.measure(trained[1], 0, network)
    assert set(COLUMNS) == set(found)
    assert ablation.first_film(trained[1], 0).shape == (FRAMES, SIDE, SIDE, 3)

    weights = ablation.folder(trained[0], 0) / "adapter.safetensors"
    written = weights.stat().st_mtime_ns
    ablation.train(trained[0], 0)
    assert weights.stat().st_mtime_ns == written

    # Of seven variants every seventh from the fourth is refocusing, which is there already.
    evidence.run(ablation, (3, 7), tmp_path / "none.md", network, print)
    assert not (tmp_path / "none.md").exists()
    assert len(list((tmp_path / "runs").iterdir())) == len(trained)

    # The others' numbers and film are borrowed: this is about the page.
    shutil.copy(ablation.folder(trained[1], 0) / FIRST_FILM, ablation.folder(trained[0], 0))
    results = {variant.key: [found] for variant in ablation.variants}
    evidence.write_evidence(tmp_path / "docs" / "evidence.md", ablation, results, network)
    page = (tmp_path / "docs" / "evidence.md").read_text(encoding="utf-8")
    assert "+ refocusing" in page and "*another clip's film*" in page
    assert cv2.imread(str(tmp_path / "docs" / "evidence_refocusing.png")).shape == (400, 760, 3)
