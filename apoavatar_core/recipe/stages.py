"""The stages of a whole run, in order. Each goes on with what it finds in the run's folder, to the same bits."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..checkpoints.adapter_file import read_adapter
from ..checkpoints.presets import TINY_ADAPTER, TINY_COLOURS, TINY_DIT, TINY_POSE, TINY_T5, TINY_VAE
from ..comfyui.host import folders_for_now
from ..data.clips import ClipBank, draw_bank, load_frames, seeds_in
from ..data.encoders import load_encoders
from ..data.prepare import prepare
from ..evaluation import presenter
from ..evaluation.long_films import LongFilmMaker
from ..evaluation.made_by import made_by
from ..evaluation.presenter_films import TinyGenerator, load_preset
from ..files import write_whole
from ..pose import load_keypoint_network
from ..precision import computes_in_bf16, training_device
from ..settings import Count, Settings, changed, read_settings
from ..synthetic import synthesize_clip
from ..tiny import text
from ..tiny.keypoint_network import KeypointTrainingConfig, train_keypoints
from ..tiny.latent_colours import write_colours
from ..tiny.vae.config import VAEStage, VAETrainingConfig
from ..tiny.vae.export import export_run
from ..tiny.vae.training import train as learn_vae
from ..training.config import Samples, TrainingConfig
from ..training.log import Log
from ..training.trainer import Trainer
from .folder import RunFolder
from .plan import fitted, settled
from .settings import Clips, Recipe

Work = Callable[[Recipe, RunFolder], None]


@dataclass(frozen=True)
class Stage:
    """work: does it, or what is left of it; makes: what is there when it is done; budget: minutes, None without limit."""

    name: str
    title: str
    work: Work
    makes: Callable[[RunFolder], list[Path]]
    budget: Callable[[Recipe], float | None] = lambda recipe: None

    def is_there(self, run: RunFolder) -> bool:
        return all(path.exists() for path in self.makes(run))


class Drawing(Settings):
    """Rounds in which every worker draws one clip."""

    steps: Count


def draw_clips(recipe: Recipe, run: RunFolder) -> None:
    plan = settled(run.plan("clips"), Clips, lambda: fitting_clips(recipe.clips, run))
    draw_bank(run.held_out, plan.held_out, plan.frames, plan.size, workers(), plan.fps, held_out=True)
    drawn = 0
    for fps, count in plan.counts.items():
        draw_bank(run.bank(fps), count, plan.frames, plan.size, workers(), fps, first=drawn)
        drawn += count


def fitting_clips(clips: Clips, run: RunFolder) -> Clips:
    """As many of each frame rate as can be drawn within the budget, and no more than asked for."""
    total = sum(clips.counts.values())

    def rehearse(stages: tuple[Drawing, ...], folder: Path) -> Path:
        log = Log(folder / "log.jsonl")
        for number in range(stages[0].steps):
            count = min(total, (number + 1) * workers())
            draw_bank(folder / "clips", count, clips.frames, clips.size, workers(), clips.fps)
            log.add(number + 1)
        return log.path

    (drawing,) = fitted((Drawing(steps=-(-total // workers())),), clips.minutes, rehearse, run.root / "rehearsal")
    return clips.of(min(total, drawing.steps * workers()))


def workers() -> int:
    return os.cpu_count() or 1


def train_vae(recipe: Recipe, run: RunFolder) -> None:
    bank = run.bank(recipe.clips.fps)

    def settle() -> VAETrainingConfig:
        config = read_settings(VAETrainingConfig, recipe.vae.config)

        def rehearse(stages: tuple[VAEStage, ...], folder: Path) -> Path:
            learn_vae(changed(config, stages=stages), bank, None, folder)
            return folder / run.log("vae").name

        return changed(config, stages=fitted(config.stages, recipe.vae.minutes, rehearse, run.root / "rehearsal"))

    config = settled(run.plan("vae"), VAETrainingConfig, settle)
    learn_vae(config, bank, run.held_out, run.vae)
    export_run(config, bank, run.vae, run.shipped(TINY_VAE))


def train_text(recipe: Recipe, run: RunFolder) -> None:
    text.train(recipe.text.steps, run.shipped(TINY_T5))


def prepare_clips(recipe: Recipe, run: RunFolder) -> None:
    encoders = load_encoders(run.shipped(TINY_VAE), run.shipped(TINY_T5))
    prepare(ClipBank(run.held_out), run.prepared_held_out, encoders)
    for bank in map(run.bank, recipe.clips.counts):
        prepare(ClipBank(bank), run.prepared / bank.name, encoders)


def train_dit(recipe: Recipe, run: RunFolder) -> None:
    def settle() -> TrainingConfig:
        config = changed(
            read_settings(TrainingConfig, recipe.dit.config),
            data=run.prepared,
            run=run.dit,
            precision="bf16" if computes_in_bf16(training_device()) else "fp32",
        )

        def rehearse(stages: tuple, folder: Path) -> Path:
            Trainer(changed(config, stages=stages, run=folder), resume=False).run()
            return folder / run.log("dit").name

        return changed(config, stages=fitted(config.stages, recipe.dit.minutes, rehearse, run.root / "rehearsal"))

    samples = Samples(
        vae=run.shipped(TINY_VAE), data=run.prepared_held_out, clips=recipe.sampled, every=recipe.sample_every
    )
    config = changed(settled(run.plan("dit"), TrainingConfig, settle), data=run.prepared, run=run.dit, samples=samples)
    Trainer(config, resume=True).run()


def train_keypoint_network(recipe: Recipe, run: RunFolder) -> None:
    def settle() -> KeypointTrainingConfig:
        config = read_settings(KeypointTrainingConfig, recipe.keypoints.config)

        def rehearse(stages: tuple[KeypointTrainingConfig, ...], folder: Path) -> Path:
            train_keypoints(stages[0], folder / TINY_POSE.name, log=folder / "log.jsonl")
            return folder / "log.jsonl"

        return fitted((config,), recipe.keypoints.minutes, rehearse, run.root / "rehearsal")[0]

    config = settled(run.plan("keypoints"), KeypointTrainingConfig, settle)
    train_keypoints(config, run.keypoints / TINY_POSE.name, vae=run.shipped(TINY_VAE), resume=True, log=run.log("keypoints"))


def export(recipe: Recipe, run: RunFolder) -> None:
    """Gather the files under the names that they ship under, and load each once as ComfyUI does."""
    made = {
        TINY_DIT: run.dit / "diffusion_model.safetensors",
        TINY_ADAPTER: run.dit / "adapter.safetensors",
        TINY_POSE: run.keypoints / TINY_POSE.name,
    }
    for preset, path in made.items():
        write_whole(run.shipped(preset), path.read_bytes())
    bank = run.bank(recipe.clips.fps)
    write_colours(run.shipped(TINY_VAE), (load_frames(bank, seed)[0] for seed in seeds_in(bank)[:48]), run.shipped(TINY_COLOURS))
    load_keypoint_network(run.shipped(TINY_POSE))
    load_preset(run.presets)


def measure(recipe: Recipe, run: RunFolder) -> None:
    """What `evaluation presenter` measures, of the finished files, on held-out clips as long as the adapter takes. What has been
    measured of the same files is kept.
    """
    clips, frames = recipe.clips, read_adapter(run.shipped(TINY_ADAPTER))[0].window
    evaluation = presenter.kept(run.measures, made_by(sorted(run.presets.rglob("*.safetensors")), clips, frames))
    left = range(len(evaluation.clips), recipe.measured)
    if left:
        generate, network = TinyGenerator(presets=run.presets), load_keypoint_network(run.shipped(TINY_POSE))
    for seed in left:
        clip = synthesize_clip(seed, frames=frames, fps=clips.fps, size=clips.size, held_out=True)
        with folders_for_now():
            evaluation.add(clip, seed, generate, LongFilmMaker(generate), network)
        presenter.write_report(run.measures, evaluation.report())
        print(f"measured {seed + 1}/{recipe.measured} clips", flush=True)
    if not recipe.measured:
        presenter.write_report(run.measures, {})


STAGES = (
    Stage("clips", "drawn clips", draw_clips, lambda run: [run.clips, run.held_out], lambda recipe: recipe.clips.minutes),
    Stage("vae", "VAE", train_vae, lambda run: [run.shipped(TINY_VAE)], lambda recipe: recipe.vae.minutes),
    Stage("text", "text encoder", train_text, lambda run: [run.shipped(TINY_T5)]),
    Stage("prepare", "prepared clips", prepare_clips, lambda run: [run.prepared, run.prepared_held_out]),
    Stage("dit", "DiT and adapter", train_dit, lambda run: [run.dit / "adapter.safetensors"], lambda recipe: recipe.dit.minutes),
    Stage(
        "keypoints",
        "keypoint network",
        train_keypoint_network,
        lambda run: [run.keypoints / TINY_POSE.name],
        lambda recipe: recipe.keypoints.minutes,
    ),
    Stage(
        "export", "files to ship", export,
        lambda run: [run.shipped(path) for path in (TINY_DIT, TINY_ADAPTER, TINY_POSE, TINY_COLOURS)],
    ),
    Stage("measures", "measures", measure, lambda run: [run.measures]),
)
"""`prepare`, `export` and `measures` take what there is to do."""
