"""The whole recipe, as small as it gets, with the command that makes the preset."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from apoavatar_core.checkpoints.adapter_file import read_adapter

ROOT = Path(__file__).resolve().parents[2]
RATES = {"learning_rate": 0.01, "final_learning_rate": 0.001}
RECIPE = {
    "recipe": {
        "clips": {"count": 2, "others": {25: 2}, "held_out": 2, "size": 64, "frames": 13},
        "vae": {"config": "vae.yaml"},
        "text": {"steps": 1},
        "dit": {"config": "dit.yaml"},
        "sample_every": 12,
        "sampled": 1,
        "keypoints": {"config": "keypoints.yaml", "minutes": 60},
        "measured": 1,
    },
    "vae": {
        "dim": 8,
        "stages": [{"steps": 2, "batch": 2, "frames": 5, "crop": 16, **RATES}],
    },
    "dit": {
        "data": "set by the recipe",
        "run": "too",
        "backbone": {"new": {"dim": 64, "ffn_dim": 128, "num_heads": 2, "num_layers": 2, "reference": True}},
        "conditions": {"leading": {0: 0.2, 1: 0.4, 2: 0.4}},
        "adapter": {"new": {"audio_dim": 32, "tokens_per_frame": 2, "pose_channels": 8}},
        "save_every": 2,
        "stages": [{"steps": steps, "batch": 2, "latent_frames": 3, "warmup": 1, **RATES} for steps in (3, 9)],
    },
    "keypoints": {"network": {"input_size": 64, "channels": [8, 8, 8, 8]}, "steps": 3, "batch_size": 2, "snippets": 2},
}


def command(comfyui_folder: Path, *arguments: str | Path) -> tuple[list, dict]:
    environment = {**os.environ, "COMFYUI_PATH": str(comfyui_folder), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-u", "-m", "apoavatar_core.training", "tiny", *map(str, arguments)]
    return words, {"cwd": ROOT, "env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("recipe")
    for name, content in RECIPE.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return folder / "recipe.yaml"


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills as POSIX does")
def test_a_run_that_was_killed_ends_with_the_files_of_one_that_was_not(recipe, comfyui_folder, tmp_path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    words, how = command(comfyui_folder, "--run", parts, "--config", recipe)
    log = parts / "dit" / "log.jsonl"
    with subprocess.Popen(words, **how) as process:
        while process.poll() is None and (not log.exists() or log.read_bytes().count(b"\n") < 7):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        said = process.stdout.read()
    assert process.returncode == -signal.SIGKILL and not (parts / "dit" / "adapter.safetensors").exists(), said
    # From the same beginnings, a run whose training is not cut in two, and which measures nothing, to save time.
    shutil.copytree(parts, whole)
    shutil.rmtree(whole / "dit")
    (whole / "recipe.json").unlink()
    unmeasured = recipe.with_name("unmeasured.yaml")
    unmeasured.write_text(yaml.safe_dump(RECIPE["recipe"] | {"measured": 0}))
    for arguments in (("--run", whole, "--config", unmeasured), ("--run", parts)):
        words, how = command(comfyui_folder, *arguments)
        done = subprocess.run(words, **how)
        assert done.returncode == 0, done.stdout
        # What was done is not done again.
        assert "== dit" in done.stdout and "== vae" not in done.stdout

    ours, theirs = ({path.name: path.read_bytes() for path in (run / "presets").rglob("*.*")} for run in (parts, whole))
    assert ours.keys() == theirs.keys() and len(ours) == 6
    assert all(ours[name] == theirs[name] for name in ours), [name for name in ours if ours[name] != theirs[name]]

    page = (parts / "page" / "index.html").read_text()
    for stage in ("drawn clips", "VAE", "DiT and adapter", "keypoint network", "files to ship"):
        assert f"<td>{stage}</td><td>done</td>" in page, stage
    assert "<td>12 of 12, " in page
    pictures = [word.split("'")[1] for word in page.split("<img ")[1:]]
    assert {"dit_loss.png", "keypoints_loss.png", "vae_loss.png", "vae.png"} < set(pictures)
    assert "<th>moving, dB</th>" in page
    assert sum(name.startswith("sheet_") for name in pictures) == 1
    assert all((parts / "page" / name).stat().st_size for name in pictures)
    assert "Measures on 1 held-out clips" in page and json.loads((parts / "measures.json").read_text())["clips"] == 1
    assert json.loads((parts / "plans" / "keypoints.json").read_text())["steps"] == 3

    # Both rates were learned, each from clips of its own.
    assert {path.name for path in parts.glob("prepared/*/*")} == {f"00000{seed}.safetensors" for seed in range(4)}
    known = read_adapter(parts / "dit" / "adapter.safetensors")[0]
    assert (known.fps, known.highest_fps, known.leading_latents, known.reference_latent) == (24, 25, 2, True)


def test_a_run_does_not_go_on_with_another_recipe(recipe, training, tmp_path) -> None:
    from apoavatar_core.recipe.folder import RunFolder
    from apoavatar_core.recipe.run import recipe_of, run

    with pytest.raises(ValueError, match="holds no run: begin one without --page"):
        run(tmp_path, None, only_page=True)
    begun = recipe_of(RunFolder(tmp_path), recipe)
    assert recipe_of(RunFolder(tmp_path), None) == recipe_of(RunFolder(tmp_path), recipe) == begun
    other = recipe.with_name("other.yaml")
    other.write_text(yaml.safe_dump(RECIPE["recipe"] | {"measured": 2}))
    with pytest.raises(ValueError, match="began with another recipe"):
        recipe_of(RunFolder(tmp_path), other)
    run(tmp_path, None, only_page=True)
    assert "<td>drawn clips</td><td></td>" in (tmp_path / "page" / "index.html").read_text()
