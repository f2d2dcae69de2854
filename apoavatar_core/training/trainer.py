"""The training loop: flow matching (Eq. 1) in stages, on one process or, started by accelerate's launcher, on many."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch
from accelerate import Accelerator, DistributedType
from accelerate.utils import AutocastKwargs
from torch import Tensor, nn

from ..checkpoints.adapter_file import write_adapter
from ..data.prepared import PreparedClips
from .branches import branch_of
from .config import Stage, TrainingConfig
from .examples import ExampleSource
from .export import export_dit, export_lora, halved
from .model import build_model, drop_gradients
from .optimizers import build_optimizers, half_cosine, set_learning_rate
from .samples import SampleFilms, log_film
from .sharding import gathered, load_optimizer, split_like
from .state import load_state, save_state


def learning_rate(stage: Stage, step: int) -> float:
    """Of the stage's own step number `step`: a linear warm-up to half a cosine."""
    cosine = half_cosine(stage.learning_rate, stage.final_learning_rate, step / stage.steps)
    return cosine * min(1.0, (step + 1) / max(stage.warmup, 1))


class Trainer:
    """A run that can stop after any step and go on from its folder as if it had not.

    Raises:
        ValueError: the folder holds a state and `resume` is not set, another configuration wrote it, or the launcher
            chose FSDP's first version.
    """

    def __init__(self, config: TrainingConfig, resume: bool):
        self.config = config
        self.accelerator = new_accelerator(config)
        self.checkpoint = config.run / "state.pt"
        if self.checkpoint.exists() and not resume:
            raise ValueError(f"run: {config.run} holds a run already; give --resume or another folder")
        self.clips = PreparedClips(config.data)
        self.source = ExampleSource(self.clips, config.conditions, config.shift, config.seed)
        self.model = build_model(config, self.clips)
        optimizers = build_optimizers(config.optimizer, self.model, config.weight_decay)
        saved = self._load() if self.checkpoint.exists() else None
        self.step, self.position = (saved["step"], saved["position"]) if saved else (0, 0)
        learned = self.learned()
        pretrained = {name: learned[name].detach().clone() for name in self.restored()}
        # FSDP splits the model where it is; DDP puts a module around it.
        self.wrapped, *self.optimizers = self.accelerator.prepare(self.model, *optimizers)
        learned = self.learned()
        self.pretrained = {name: split_like(tensor, learned[name]) for name, tensor in pretrained.items()}
        if saved:
            self.set_weights({name: split_like(tensor, learned[name]) for name, tensor in saved["model"].items()})
            for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
                load_optimizer(optimizer, state)
        average = saved["average"] if saved else self.weights()
        self.average = {name: split_like(tensor, learned[name]) for name, tensor in average.items()}
        self.films = config.samples and SampleFilms(config.samples, self.clips, config.shift, config.seed)

    def learned(self) -> dict[str, nn.Parameter]:
        """The parameters that one of the stages trains, by name."""
        return {name: parameter for name, parameter in self.model.named_parameters() if parameter.requires_grad}

    def restored(self) -> list[str]:
        """Names of the learned parameters that a stage puts back to the weights that they began with."""
        branches = {branch for stage in self.config.stages for branch in stage.restore}
        return [name for name in self.learned() if branch_of(name) in branches]

    def weights(self) -> dict[str, Tensor]:
        """Copies of what is learned."""
        return {name: parameter.detach().clone() for name, parameter in self.learned().items()}

    @torch.no_grad()
    def set_weights(self, weights: dict[str, Tensor]) -> None:
        learned = self.learned()
        for name, tensor in weights.items():
            learned[name].copy_(tensor)

    def stage_at(self, step: int) -> tuple[Stage, int]:
        """The stage of a step of the run, and the step's number within it."""
        for stage in self.config.stages:
            if step < stage.steps:
                return stage, step
            step -= stage.steps
        raise IndexError("the run is over")

    def restore(self, branches: tuple[str, ...]) -> None:
        """Put branches back to the backbone's weights (§4.1, stage 2), in the average too; their moments are gone."""
        learned = self.learned()
        weights = {name: self.pretrained[name] for name in learned if branch_of(name) in branches}
        self.set_weights(weights)
        for name, tensor in weights.items():
            self.average[name].copy_(tensor)
            for optimizer in self.optimizers:
                optimizer.state.pop(learned[name], None)

    def train_step(self) -> dict[str, float]:
        """One optimiser step; returns what to log.

        Raises:
            FloatingPointError: loss or gradients are not finite; names the step, the clips and the last good state.
        """
        stage, stage_step = self.stage_at(self.step)
        if stage_step == 0 and stage.restore:
            self.restore(stage.restore)
        rate = learning_rate(stage, stage_step)
        set_learning_rate(self.optimizers, rate)
        positions = self.own_share(range(self.position, self.position + stage.batch))
        batch = self.source.batch(positions, stage.latent_frames).to(self.accelerator.device)
        with self.accelerator.autocast():
            loss = self.wrapped(batch)
        self.refuse_nan("loss", loss.item(), positions, stage)
        self.accelerator.backward(loss)
        drop_gradients(self.model, stage.train)
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
        for name, parameter in self.learned().items():
            self.average[name].lerp_(parameter, 1 - decay)

    def save(self) -> None:
        """Write the state from the main process; the others wait."""
        state = gathered(
            {
                "config": fingerprint(self.config),
                "model": self.weights(),
                "average": self.average,
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                "step": self.step,
                "position": self.position,
            }
        )
        if self.accelerator.is_main_process:
            save_state(self.checkpoint, state)
        self.accelerator.wait_for_everyone()

    def _load(self) -> dict[str, Any]:
        state = load_state(self.checkpoint)
        if state["config"] != fingerprint(self.config):
            raise ValueError(f"run: another configuration wrote {self.checkpoint}; repeat it or use another folder")
        return state

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
        self.export()
        self.accelerator.end_training()

    def log_sample(self) -> None:
        """Make a film with the averaged weights; every process does, for each may hold a part of them."""
        stage, _ = self.stage_at(self.step - 1)
        with self.averaged():
            film = self.films.film(self.model, stage.latent_frames)
        if self.accelerator.is_main_process:
            writer = self.accelerator.get_tracker("tensorboard", unwrap=True)
            log_film(writer, film, self.clips.fps, self.step, self.config.run / "samples")
        self.accelerator.wait_for_everyone()

    def export(self) -> None:
        """Write the averaged weights as files that the nodes load; of a backbone that stays as it is only its LoRA."""
        with self.averaged():
            dit, adapter = (gathered(part.state_dict()) for part in (self.model.dit, self.model.adapter))
            if not self.accelerator.is_main_process:
                return
            write_adapter(self.config.run / "adapter.safetensors", self.model.adapter.config, halved(adapter))
            if self.config.backbone.lora_rank:
                export_lora(self.config.run / "lora.safetensors", dit)
            if self.config.backbone.new or self.config.trained & {"text", "video"}:
                export_dit(self.config.run / "diffusion_model.safetensors", self.model.dit, dit)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The model with its averaged weights, for a while."""
        trained = self.weights()
        self.set_weights(self.average)
        try:
            yield
        finally:
            self.set_weights(trained)


def new_accelerator(config: TrainingConfig) -> Accelerator:
    """The processes that accelerate's launcher started, or this one alone."""
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision="bf16" if config.precision == "bf16" else "no",
        log_with="tensorboard",
        project_dir=config.run,
        # Every weight is used once a pass; a cache would hold all of them in bf16, those that FSDP gathered too.
        kwargs_handlers=[AutocastKwargs(cache_enabled=False)],
    )
    if accelerator.distributed_type is DistributedType.FSDP:
        if not accelerator.is_fsdp2:
            raise ValueError("FSDP's first version cannot split this model: launch with --fsdp_version 2")
        # Autocast alone chooses what is bf16, as on one GPU: FSDP would round positions and modulation too.
        accelerator.state.fsdp_plugin.mixed_precision_policy = None
    return accelerator


def fingerprint(config: TrainingConfig) -> str:
    """What must not change between the parts of a run: all but the places, how often it saves and what it shows."""
    content = asdict(config)
    for name in ("data", "run", "save_every", "samples"):
        del content[name]
    return json.dumps(content, default=str, sort_keys=True)
