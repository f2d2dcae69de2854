"""One run: learn, save, measure, go on where it stopped."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ...comfyui import trainable, whole_clips
from ...data.clips import seeds_in
from ...precision import autocast, training_device
from ...training.ahead import made_ahead, workers_for
from ...training.average import Average
from ...training.log import Log
from ...training.optimizers import build_optimizers, set_learning_rate
from ...training.state import (
    StoredTensors,
    fill_optimizers,
    fingerprint,
    newest_state,
    optimizer_tensors,
    read_facts,
    save_state,
)
from .config import VAETrainingConfig
from .crops import sample_crops
from .losses import reconstruction_loss
from .measure import measure
from .start import build, freeze_encoder

STATES = "state"
LOG = "log.jsonl"
"""Loss and deviation of the latents of every step, and the fields of `Quality` where it was measured."""
CHANGEABLE = ("start", "compile_norms", "save_every", "measure_every")


def opened(config: VAETrainingConfig, saved: Path) -> tuple[int, StoredTensors]:
    """The number of steps behind a saved state of a run, and its tensors.

    Raises:
        ValueError: another version of the pack or other settings wrote it.
    """
    facts = read_facts(saved, fingerprint(config, *CHANGEABLE))
    return facts["step"], StoredTensors(saved, facts["processes"])


def averaged_vae(config: VAETrainingConfig, run: Path) -> nn.Module:
    """The VAE that a run has come to: its averaged weights.

    Raises:
        ValueError: there is no state yet, or one of other settings.
    """
    saved = newest_state(run / STATES)
    if saved is None:
        raise ValueError(f"--run: {run} holds no state to export: train first, without --export")
    vae = trainable.build_vae(config.dim)
    opened(config, saved)[1].fill(_named("average", dict(vae.named_parameters())))
    return vae


class VAETrainer:
    """A run in `run` that learns from the clips in `folder`; one that exists there goes on where it stopped."""

    def __init__(self, config: VAETrainingConfig, folder: Path, run: Path):
        self.config, self.folder, self.run = config, folder, run
        run.mkdir(parents=True, exist_ok=True)
        saved = newest_state(run / STATES)
        torch.manual_seed(config.seed)
        self.device = training_device()
        self.vae = build(config.dim, None if saved else config.start).to(self.device)
        if config.trained == "decoder":
            freeze_encoder(self.vae)
        if config.compile_norms:
            trainable.compile_norms(self.vae)
        self.parameters = dict(self.vae.named_parameters())
        self.optimizers = build_optimizers("muon", self.vae, weight_decay=0.0)
        self.step = 0
        if saved:
            self.step, stored = opened(config, saved)
            stored.fill(_named("vae", self.parameters))
            fill_optimizers(self.optimizers, self.parameters, stored)
        self.log = Log(run / LOG)
        steps = range(self.step, sum(stage.steps for stage in config.stages))
        self.crops = made_ahead(self.crops_at, steps, workers_for(self.device))
        self.average = Average(self.parameters, config.average)
        if saved:
            stored.fill(_named("average", self.average.weights))

    def crops_at(self, step: int) -> Tensor:
        """What a step learns from, and from nothing but its number."""
        stage, _ = self.config.stage_at(step)
        rng = np.random.default_rng((self.config.seed, step))
        return sample_crops(self.folder, seeds_in(self.folder), stage, self.config, rng)

    def train_step(self) -> dict[str, float]:
        """One step; returns its loss and the deviation of the latents, which are logged too.

        Raises:
            FloatingPointError: the loss is not finite.
        """
        config = self.config
        torch.manual_seed(self.step)
        _, rate = config.stage_at(self.step)
        set_learning_rate(self.optimizers, rate)
        target = next(self.crops).to(self.device)
        with autocast(self.device):
            latent = whole_clips.encode(self.vae, target)
            output = whole_clips.decode(self.vae, latent + config.latent_noise * torch.randn_like(latent))
        loss = reconstruction_loss(output.float(), target, config.motion_weight)
        (loss + config.latent_penalty * latent.float().square().mean()).backward()
        nn.utils.clip_grad_norm_(self.vae.parameters(), 1.0)
        self.step += 1
        if not math.isfinite(loss.item()):
            raise FloatingPointError(
                f"loss is {loss.item()} at step {self.step}; go on from the last good state in {self.run / STATES}"
            )
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.average.update(self.step)
        values = {"loss": loss.item(), "latent_std": float(latent.detach().float().std())}
        self.log.add(self.step, **values)
        return values

    def save(self) -> None:
        """Keep all that the run goes on with."""
        names = {parameter: name for name, parameter in self.parameters.items()}
        tensors = _named("vae", self.parameters) | _named("average", self.average.weights)
        tensors |= optimizer_tensors(self.optimizers, names)
        save_state(self.run / STATES, self.step, fingerprint(self.config, *CHANGEABLE), {}, tensors)

    def measure(self, held_out: Path) -> None:
        """Print how well the averaged weights draw the clips in `held_out`, and keep it beside a contact sheet."""
        with self.average.shown():
            quality = measure(self.vae, held_out, seeds_in(held_out), self.run / f"step_{self.step:06d}.png")
        print(f"step {self.step} {quality}", flush=True)
        self.log.add(self.step, **{f"{name}_db": value for name, value in asdict(quality).items()})


def train(config: VAETrainingConfig, folder: Path, held_out: Path | None, run: Path) -> None:
    """Learn from the clips in `folder` until the run is over, measured now and then on those in `held_out` (None: not)."""
    trainer = VAETrainer(config, folder, run)
    total = sum(stage.steps for stage in config.stages)
    begin, smooth = time.time(), None
    while trainer.step < total:
        values = trainer.train_step()
        loss = values["loss"]
        smooth = loss if smooth is None else 0.98 * smooth + 0.02 * loss
        step, over = trainer.step, trainer.step == total
        if step % 25 == 0:
            seconds = time.time() - begin
            spread = values["latent_std"]
            print(f"step {step}/{total} loss {smooth:.4f} latent std {spread:.2f} {seconds:.0f} s", flush=True)
        if step % config.save_every == 0 or over:
            trainer.save()
        if held_out and (step % config.measure_every == 0 or over):
            trainer.measure(held_out)


def _named(kind: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """What a state holds of this kind, under the names that it has there."""
    return {f"{kind}/{name}": tensor for name, tensor in tensors.items()}
