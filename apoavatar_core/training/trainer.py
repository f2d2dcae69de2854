"""The training loop: flow matching (Eq. 1) in stages, on one process or, started by accelerate's launcher, on many."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import torch
from accelerate import Accelerator
from torch import Tensor

from ..checkpoints.adapter_file import save_adapter
from .checkpoint import load_state, save_state
from .config import Stage, TrainingConfig
from .examples import ExampleSource
from .export import export_dit, export_lora
from .model import FlowMatching, build_model, restore_branches, set_trained_branches
from .optimizers import build_optimizers, half_cosine, set_learning_rate
from .prepared import PreparedClips
from .samples import SampleFilms, log_film


def learning_rate(stage: Stage, step: int) -> float:
    """Of the stage's own step number `step`: a linear warm-up to half a cosine."""
    cosine = half_cosine(stage.learning_rate, stage.final_learning_rate, step / stage.steps)
    return cosine * min(1.0, (step + 1) / max(stage.warmup, 1))


class Trainer:
    """A run that can stop after any step and go on from its folder as if it had not.

    Raises:
        ValueError: the folder holds a state and `resume` is not set, or another configuration wrote it.
    """

    def __init__(self, config: TrainingConfig, resume: bool):
        self.config = config
        self.accelerator = Accelerator(
            cpu=not torch.cuda.is_available(),
            mixed_precision="bf16" if config.precision == "bf16" else "no",
            log_with="tensorboard",
            project_dir=config.run,
        )
        self.checkpoint = config.run / "state.pt"
        if self.checkpoint.exists() and not resume:
            raise ValueError(f"run: {config.run} holds a run already; give --resume or another folder")
        self.clips = PreparedClips(config.data)
        self.source = ExampleSource(self.clips, config.conditions, config.shift, config.seed)
        self.model = build_model(config, self.clips)
        restoring = any(stage.restore for stage in config.stages)
        self.pretrained = copy_of(self.model) if restoring else {}
        self.average = copy_of(self.model)
        self.optimizers = build_optimizers(config.optimizer, self.model, config.weight_decay)
        self.step = self.position = 0
        if self.checkpoint.exists():
            self._load()
        self.model.to(self.accelerator.device)
        self.optimizers = [self.accelerator.prepare(optimizer) for optimizer in self.optimizers]
        self.stage: Stage | None = None
        self.films = config.samples and SampleFilms(config.samples, self.clips, config.shift, config.seed)

    def stage_at(self, step: int) -> tuple[Stage, int]:
        """The stage of a step of the run, and the step's number within it."""
        for stage in self.config.stages:
            if step < stage.steps:
                return stage, step
            step -= stage.steps
        raise IndexError("the run is over")

    def enter(self, stage: Stage, stage_step: int) -> None:
        """Set up what changes between stages."""
        if stage is self.stage:
            return
        self.stage = stage
        set_trained_branches(self.model, stage.train)
        if stage_step == 0 and stage.restore:
            restore_branches(self.model, self.pretrained, stage.restore)
            for branch in stage.restore:
                for name, parameter in self.model.branch(branch):
                    self.average[name].copy_(self.pretrained[name])
                    for optimizer in self.optimizers:
                        optimizer.state.pop(parameter, None)  # moments of weights that are gone
        self.wrapped = self.accelerator.prepare(self.model)  # anew: DDP keeps the list of what learns

    def train_step(self) -> dict[str, float]:
        """One optimiser step; returns what to log.

        Raises:
            FloatingPointError: loss or gradients are not finite; names the step, the clips and the last good state.
        """
        stage, stage_step = self.stage_at(self.step)
        self.enter(stage, stage_step)
        rate = learning_rate(stage, stage_step)
        set_learning_rate(self.optimizers, rate)
        positions = self.own_share(range(self.position, self.position + stage.batch))
        batch = self.source.batch(positions, stage.latent_frames).to(self.accelerator.device)
        with self.accelerator.autocast():
            loss = self.wrapped(batch)
        self.refuse_nan("loss", loss.item(), positions, stage)
        self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.clip_gradients)
        self.refuse_nan("gradients' length", float(norm), positions, stage)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        self.position += stage.batch
        self._update_average()
        mean = self.accelerator.reduce(loss.detach(), "mean").item()
        return {"loss": mean, "gradient norm": float(norm), "learning rate": rate}

    def refuse_nan(self, what: str, value: float, positions: range, stage: Stage) -> None:
        if math.isfinite(value):
            return
        names = ", ".join(self.source.names(positions, stage.latent_frames))
        kept = f"the last good state is {self.checkpoint}" if self.checkpoint.exists() else "no state was saved yet"
        raise FloatingPointError(f"the {what} is {value} at step {self.step} on {names}; {kept}")

    def own_share(self, positions: range) -> range:
        """This process's part of a step's positions.

        Raises:
            ValueError: the batch does not divide by the number of processes.
        """
        processes = self.accelerator.num_processes
        if len(positions) % processes:
            raise ValueError(f"stages: a batch of {len(positions)} does not divide among {processes} processes")
        share = len(positions) // processes
        first = positions.start + share * self.accelerator.process_index
        return range(first, first + share)

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for name, tensor in self.model.state_dict().items():
            self.average[name].lerp_(tensor.to(self.average[name].device), 1 - decay)

    def save(self) -> None:
        """Write the state from the main process; the others wait."""
        if self.accelerator.is_main_process:
            save_state(
                self.checkpoint,
                {
                    "config": fingerprint(self.config),
                    "model": self.model.state_dict(),
                    "average": self.average,
                    "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                    "step": self.step,
                    "position": self.position,
                },
            )
        self.accelerator.wait_for_everyone()

    def _load(self) -> None:
        state = load_state(self.checkpoint)
        if state["config"] != fingerprint(self.config):
            raise ValueError(f"run: another configuration wrote {self.checkpoint}; repeat it or use another folder")
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.position = state["step"], state["position"]

    def run(self) -> None:
        """Train to the end of the last stage, logging to TensorBoard and saving as the configuration says."""
        self.accelerator.init_trackers("log")
        clock, since, average = time.monotonic(), self.step, None
        while self.step < self.config.steps:
            values = self.train_step()
            average = values["loss"] if average is None else 0.98 * average + 0.02 * values["loss"]
            if self.step % 20 == 0:
                values["steps per second"] = (self.step - since) / (time.monotonic() - clock)
                self.accelerator.print(
                    f"step {self.step}/{self.config.steps} loss {average:.4f} "
                    f"{1 / values['steps per second']:.2f} s a step",
                    flush=True,
                )
            self.accelerator.log(values, step=self.step)
            if self.films and self.step % self.config.samples.every == 0:
                self.log_sample()
            if self.step % self.config.save_every == 0 or self.step == self.config.steps:
                self.save()
        self.accelerator.end_training()

        if self.accelerator.is_main_process:
            self.export()

    def log_sample(self) -> None:
        """Make a film with the averaged weights, on the main process; the others wait."""
        if self.accelerator.is_main_process:
            stage, _ = self.stage_at(self.step - 1)
            with self.averaged():
                film = self.films.film(self.model, stage.latent_frames)
            writer = self.accelerator.get_tracker("tensorboard", unwrap=True)
            log_film(writer, film, self.step, self.config.run / "samples")
        self.accelerator.wait_for_everyone()

    def export(self) -> None:
        """Write the averaged weights as files that the nodes load; of a backbone with a LoRA the LoRA alone."""
        with self.averaged():
            save_adapter(self.config.run / "adapter.safetensors", self.model.adapter)
            if self.config.backbone.lora_rank:
                export_lora(self.config.run / "lora.safetensors", self.model.dit)
            else:
                export_dit(self.config.run / "diffusion_model.safetensors", self.model.dit)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The model with its averaged weights, for a while."""
        trained = copy_of(self.model)
        self.model.load_state_dict(self.average)
        try:
            yield
        finally:
            self.model.load_state_dict(trained)


def copy_of(model: FlowMatching) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def fingerprint(config: TrainingConfig) -> str:
    """What must not change between the parts of a run: all but the places, how often it saves and what it shows."""
    content = asdict(config)
    for name in ("data", "run", "save_every", "samples"):
        del content[name]
    return json.dumps(content, default=str, sort_keys=True)
