"""The paper's ablations in miniature: Tables 4 and 5 with the tiny model, at equal budget, from several seeds each."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ..adapters.interaction import InteractionScheme
from ..gestures import find_accents, frame_loudness, speech_level
from ..hearing import heard_voice
from ..pose import KeypointNetwork
from ..refocusing import RefocusingConfig, gate_of
from ..synthetic import Clip, synthesize_clip
from ..training.pose_schemes import PoseScheme
from . import measures, presenter
from .frechet import film_features, frechet_distance
from .presenter_films import POSE_FREE, TinyGenerator
from .regions import COLOURS_EVERY, steady_regions

QUIET = 0.2
"""s̃ of Eq. 3 below which a frame is quiet."""
FIRST_FILM = "first_film.npy"
MADE_BY = "made_by"
CORE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Variant:
    """One row of Table 4 or 5: its name there and the schemes that make it."""

    title: str
    pose: PoseScheme
    interaction: InteractionScheme

    @property
    def key(self) -> str:
        return f"{self.pose.value}_{self.interaction.value}"


TABLE_4 = (
    Variant("Baseline (train without pose)", PoseScheme.NONE, InteractionScheme.BOTH),
    Variant("+ pose dropout", PoseScheme.CLIP, InteractionScheme.BOTH),
    Variant("+ temporal pose dropout", PoseScheme.TEMPORAL, InteractionScheme.BOTH),
    Variant("+ refocusing", PoseScheme.REFOCUSING, InteractionScheme.BOTH),
)
TABLE_5 = (
    Variant("Baseline (train with pose)", PoseScheme.REFOCUSING, InteractionScheme.CLIP_WISE),
    Variant("+ frame-wise", PoseScheme.REFOCUSING, InteractionScheme.FRAME_WISE),
    Variant("+ audio-video interaction", PoseScheme.REFOCUSING, InteractionScheme.AUDIO_DIT),
    Variant("frame-wise audio-video interaction", PoseScheme.REFOCUSING, InteractionScheme.BOTH),
)

COLUMNS = {
    "mouth_r": "mouth r ↑",
    "mouth_lag_frames": "mouth lag",
    "hand_r": "hand r ↑",
    "onset_frames": "onset ↓",
    "quiet_motion": "quiet motion ↓",
    "hkc": "HKC ↑",
    "hkv": "HKV",
    "identity_delta_e": "identity ΔE ↓",
    "frechet": "Fréchet ↓",
}


@dataclass(frozen=True)
class Ablation:
    """What is compared: seeds of the training, held-out clips, and where runs and results go.

    config: YAML of one training run, whose schemes, seed and folder are replaced.
    """

    config: Path
    runs: Path
    seeds: int
    clips: int

    @property
    def variants(self) -> list[Variant]:
        """Every variant once; the paper's method is the last row of both tables."""
        return list({variant.key: variant for variant in (*TABLE_4, *TABLE_5)}.values())

    def all_runs(self) -> list[tuple[Variant, int]]:
        """Every variant from every seed: all of them once before any of them again."""
        return [(variant, seed) for seed in range(self.seeds) for variant in self.variants]

    def folder(self, variant: Variant, seed: int) -> Path:
        return self.runs / f"{variant.key}_{seed}"

    def train(self, variant: Variant, seed: int) -> None:
        """Train one variant, or go on where it was stopped, with the training command in a process of its own.

        Raises:
            RuntimeError: the training failed; its own words are on the screen.
        """
        import yaml

        folder = self.folder(variant, seed)
        if (folder / "adapter.safetensors").exists():
            return
        content = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        content["run"], content["seed"] = str(folder), seed
        content["conditions"] = {**content.get("conditions", {}), "pose_scheme": variant.pose.value}
        content["adapter"]["new"]["interaction"] = variant.interaction.value
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "config.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        command = [sys.executable, "-m", "apoavatar_core.training", "train", str(path), "--resume"]
        started = time.monotonic()
        if subprocess.run(command).returncode:
            raise RuntimeError(f"training {folder.name} failed")
        (folder / "seconds.txt").write_text(f"{time.monotonic() - started:.0f}", encoding="utf-8")

    def measure(self, variant: Variant, seed: int, network: KeypointNetwork) -> dict[str, float]:
        """The measures of one trained variant; kept beside it, and made again when what made them has changed."""
        folder = self.folder(variant, seed)
        path = folder / f"measures_{self.clips}.json"
        made_by = self.makers(variant, seed, network)
        if path.exists():
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept.pop(MADE_BY, None) == made_by:
                return kept
        films = self.films(variant, seed)
        np.save(folder / FIRST_FILM, films[0])
        found = measure_films(zip(self.held_out_clips, films), network)
        presenter.write_report(path, found | {MADE_BY: made_by})
        return found

    def makers(self, variant: Variant, seed: int, network: KeypointNetwork) -> str:
        """A hash of what the measures follow from: the trained adapter, the keypoint network and the core's code."""
        digest = hashlib.sha256()
        digest.update((self.folder(variant, seed) / "adapter.safetensors").read_bytes())
        for name, tensor in sorted(network.state_dict().items()):
            digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
        for path in sorted(CORE.rglob("*.py")):
            digest.update(path.read_bytes())
        return digest.hexdigest()

    @cached_property
    def held_out_clips(self) -> list[Clip]:
        return [synthesize_clip(number, held_out=True) for number in range(self.clips)]

    def films(self, variant: Variant, seed: int) -> list[np.ndarray]:
        """What this variant makes of the held-out clips' portraits and voices alone."""
        generate = TinyGenerator(run=self.folder(variant, seed))
        latents = [generate.sample(clip, POSE_FREE, number) for number, clip in enumerate(self.held_out_clips)]
        return list(generate.decode(latents))

    def first_film(self, variant: Variant, seed: int) -> np.ndarray:
        """The first of the films that were measured."""
        return np.load(self.folder(variant, seed) / FIRST_FILM)

    def training_seconds(self) -> float:
        """Mean duration of the runs' last part: of the whole run where none was interrupted."""
        return float(np.mean([float(path.read_text()) for path in self.runs.glob("*/seconds.txt")] or [np.nan]))


def voice_accents(clip: Clip) -> list[int]:
    """Frames of the voice's accents."""
    level = speech_level(frame_loudness(clip.speech, len(clip.frames), clip.fps))
    return [int(accent.time * clip.fps) for accent in find_accents(level, clip.fps)]


def measure_films(pairs: Iterable[tuple[Clip, np.ndarray]], network: KeypointNetwork) -> dict[str, float]:
    """The columns of the tables for films of clips: each film [T, H, W, 3] was made of its clip's portrait and voice."""
    rows, drawn_features, shown_features = [], [], []
    for clip, frames in pairs:
        film = presenter.watch(network, frames)
        loudness = frame_loudness(clip.speech, len(clip.frames), clip.fps)
        gate = gate_of(heard_voice(clip.speech, clip.sample_rate), len(clip.frames), clip.fps, RefocusingConfig())
        by_lag = measures.lagged_correlations(film.openings, loudness)
        rows.append(
            {
                "mouth_r": measures.in_time(by_lag),
                "mouth_r_by_lag": list(by_lag.values()),
                "hand_r": measures.hand_correlation(film.hand_speeds, loudness),
                "onset_frames": measures.onset_distance(voice_accents(clip), film.hand_speeds),
                "quiet_motion": 100 * measures.mean_seen(film.hand_speeds[1:], gate.normalized[1:] < QUIET),
                "hkc": measures.hand_confidence(film.people),
                "hkv": measures.hand_variance(film.people),
                "identity_delta_e": identity_without_pose(clip, frames),
            }
        )
        drawn_features.append(film_features(network, clip.frames))
        shown_features.append(film_features(network, frames))
    by_lag = np.mean([row.pop("mouth_r_by_lag") for row in rows], axis=0)
    found = {name: float(np.nanmean([row[name] for row in rows])) for name in rows[0]}
    found["mouth_lag_frames"] = measures.best_lag(dict(zip(measures.LAGS, by_lag.tolist())))
    found["frechet"] = frechet_distance(np.concatenate(drawn_features), np.concatenate(shown_features))
    return found


def identity_without_pose(clip: Clip, film: np.ndarray) -> float:
    """ΔE of skin, hair and clothes where the drawn clip shows each of them in every frame: there a presenter who makes
    other gestures shows them too.
    """
    steady, frames = steady_regions(clip), film[COLOURS_EVERY::COLOURS_EVERY]
    return measures.identity_difference(frames, [steady] * len(frames), clip.frames[0], steady)
