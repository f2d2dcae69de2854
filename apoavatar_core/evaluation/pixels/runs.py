"""All trainings of the comparison, each with its measures in a folder of its own, so that a stopped run goes on where it was."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import yaml

from ...data.clips import draw_bank
from ...data.encoders import load_encoders
from ...data.prepare import prepare
from ...data.prepared import PreparedClips
from ...data.sources import source_in
from ...files import whole_file, write_whole
from ...pose import KeypointNetwork, load_keypoint_network
from ...shares import share_of
from ...synthetic import Clip, synthesize_clip
from ...training.config import TrainingConfig, read_config
from ..made_by import made_by
from ..presenter import write_report
from ..presenter_films import POSE_FREE, SamplingSettings, TinyGenerator
from ..questions import Results
from ..variants import ALL, Variant
from .lessons import clips_with_gate, write_first_weights
from .measuring import measure_films, measure_losses

STEPS = 6
"""Of a film that is measured."""
FIRST_WEIGHTS, FIRST_FILM, SECONDS = "first_weights.safetensors", "first_film.npy", "seconds.txt"
MADE_BY = "made_by"


@dataclass(frozen=True)
class Pixels:
    """What is compared.

    config: YAML of one training run, whose adapter, scheme, gate, seed and folder are replaced; folder: where runs and results go;
    seeds: of the training; clips: held-out ones that measure it; pose_model: the keypoint network that watches films.

    Raises:
        ValueError: there is one held-out clip alone.
    """

    config: Path
    folder: Path
    seeds: int
    clips: int
    pose_model: Path

    def __post_init__(self) -> None:
        if self.clips < 2:
            raise ValueError("--clips: give two or more, so that there is another clip's voice")

    @cached_property
    def training(self) -> TrainingConfig:
        return read_config(self.config)

    @cached_property
    def prepared(self) -> PreparedClips:
        """The clips that training learns from."""
        return PreparedClips(self.training.data)

    @cached_property
    def network(self) -> KeypointNetwork:
        return load_keypoint_network(self.pose_model)

    def runs(self) -> list[tuple[Variant, int]]:
        """Every variant from every seed: all of them once before any of them again."""
        return [(variant, seed) for seed in range(self.seeds) for variant in ALL]

    def run_folder(self, variant: Variant, seed: int) -> Path:
        return self.folder / f"{variant.key}_{seed}"

    def train(self, variant: Variant, seed: int) -> None:
        """Train one variant, or go on where it was stopped, with the training command in a process of its own.

        Raises:
            ValueError: what is there was trained by another configuration.
            RuntimeError: the training failed; its own words are on the screen.
        """
        folder = self.run_folder(variant, seed)
        config, content = folder / "config.yaml", yaml.safe_dump(self.config_of(variant, seed))
        if config.exists() and config.read_text(encoding="utf-8") != content:
            raise ValueError(f"--runs: {folder} was trained by another configuration: give another folder, or delete this one")
        if (folder / "adapter.safetensors").exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(config, content)
        if not (folder / FIRST_WEIGHTS).exists():
            write_first_weights(folder / FIRST_WEIGHTS, self.training, variant, seed)
        command = [sys.executable, "-m", "apoavatar_core.training", "train", str(config), "--resume"]
        started = time.monotonic()
        if subprocess.run(command).returncode:
            raise RuntimeError(f"training {folder.name} failed")
        write_whole(folder / SECONDS, f"{time.monotonic() - started:.0f}")

    def config_of(self, variant: Variant, seed: int) -> dict:
        """The YAML of one run, as plain values."""
        content, folder = yaml.safe_load(self.config.read_text(encoding="utf-8")), self.run_folder(variant, seed)
        data = clips_with_gate(self.training.data, variant.gate, self.folder / f"clips_{variant.gate.value}")
        content |= {"data": str(data), "run": str(folder), "seed": seed, "adapter": {"file": str(folder / FIRST_WEIGHTS)}}
        content["conditions"] = {**content.get("conditions", {}), "pose_scheme": variant.pose.value}
        return content

    def trained(self, variant: Variant, seed: int) -> tuple[Path, Path]:
        """Files of the diffusion model, which is the backbone's own where the run left it as it was, and of the adapter."""
        folder = self.run_folder(variant, seed)
        learned = folder / "diffusion_model.safetensors"
        return learned if learned.exists() else self.training.backbone.file, folder / "adapter.safetensors"

    def measure(self, variant: Variant, seed: int) -> dict[str, float]:
        """The measures of one trained variant; kept beside it, and made again when what made them has changed."""
        folder, trained = self.run_folder(variant, seed), self.trained(variant, seed)
        path = folder / f"measures_{self.clips}.json"
        made = made_by([*trained, self.pose_model], self.clips, STEPS)
        if path.exists():
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept.pop(MADE_BY, None) == made:
                return kept
        losses = measure_losses(*trained, self.held_out)
        films = self.films(variant, seed)
        with whole_file(folder / FIRST_FILM) as unfinished:
            np.save(unfinished, films[0])
        found = measure_films(zip(self.held_out_clips, films), self.network) | losses
        write_report(path, found | {MADE_BY: made})
        return found

    @cached_property
    def held_out_clips(self) -> list[Clip]:
        """As long, large and fast as the training's."""
        made = self.prepared.settings
        return [
            synthesize_clip(number, frames=made.frames, size=made.width, fps=made.fps, held_out=True)
            for number in range(self.clips)
        ]

    @cached_property
    def held_out(self) -> PreparedClips:
        """The same clips as training prepares them; kept."""
        made, drawn = self.prepared.settings, self.folder / f"held_out_{self.clips}"
        draw_bank(drawn, self.clips, made.frames, made.width, 1, made.fps, held_out=True)
        prepared = self.folder / f"held_out_{self.clips}_prepared"
        prepare(source_in(drawn), prepared, load_encoders())
        return PreparedClips(prepared)

    def films(self, variant: Variant, seed: int) -> list[np.ndarray]:
        """What this variant makes of the held-out clips' portraits and voices alone."""
        generate = TinyGenerator(SamplingSettings(steps=STEPS), self.trained(variant, seed))
        latents = [generate.sample(clip, POSE_FREE, number) for number, clip in enumerate(self.held_out_clips)]
        return list(generate.decode(latents))

    def first_film(self, variant: Variant, seed: int) -> np.ndarray:
        """The first of the films that were measured."""
        return np.load(self.run_folder(variant, seed) / FIRST_FILM)

    def training_seconds(self) -> float:
        """Mean duration of the runs' last part: of the whole run where none was interrupted."""
        kept = [self.run_folder(*run) / SECONDS for run in self.runs()]
        return float(np.mean([float(path.read_text()) for path in kept if path.exists()] or [np.nan]))


def run_all(pixels: Pixels, share: tuple[int, int], say: Callable[[str], None]) -> Results | None:
    """Train and measure every variant from every seed, keeping what is there already.

    share: process k of n, which does its share of the runs.

    Returns:
        All results; None from a process that did a share.
    """
    runs, found = pixels.runs(), {}
    for number, (variant, seed) in share_of(list(enumerate(runs)), share):
        say(f"run {number + 1}/{len(runs)}: {pixels.run_folder(variant, seed).name}")
        pixels.train(variant, seed)
        found[variant.key, seed] = pixels.measure(variant, seed)
    if share[1] > 1:
        return None
    return {variant.key: [found[variant.key, seed] for seed in range(pixels.seeds)] for variant in ALL}
