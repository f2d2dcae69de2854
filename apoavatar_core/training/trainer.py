"""The training loop: flow matching (Eq. 1) in stages, on one process or, started by accelerate's launcher, on many."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor, nn

from ..data.prepared import PreparedClips
from .ahead import made_ahead, workers_for
from .average import Average
from .branches import branch_of
from .config import Stage, TrainingConfig
from .examples import Batch, ExampleSource
from .export import export_run
from .log import Log
from .model import build_model, drop_gradients, planned_model
from .optimizers import build_optimizers, set_learning_rate
from .processes import is_filled_by_the_first, new_accelerator, share_of
from .samples import SampleFilms, log_film
from .schedule import learning_rate, positions_at, stage_at
from .state import StoredTensors, fill_optimizers, fingerprint, newest_state, optimizer_tensors, read_facts, save_state

CHANGEABLE = ("data", "run", "save_every", "samples")
"""Between the parts of a run: the places, how often it saves and what it shows."""


class Trainer:
    """A run that can stop after any step and go on from its folder as if it had not.

    Raises:
        ValueError: the folder holds a state and `resume` is not set, another configuration or version wrote it, or the
            launcher chose FSDP's first version.
    """

    def __init__(self, config: TrainingConfig, resume: bool):
        self.config = config
        self.accelerator = new_accelerator(config)
        self.states = config.run / "state"
        saved = newest_state(self.states)
        if saved and not resume:
            raise ValueError(f"run: {config.run} holds a run already; give --resume or another folder")
        facts = saved and read_facts(saved, fingerprint(config, *CHANGEABLE))
        self.clips = PreparedClips(config.data)
        shown = map(config.conditions_of, config.stages)
        self.sources = [ExampleSource(self.clips, conditions, config.shift, config.seed) for conditions in shown]
        if is_filled_by_the_first(self.accelerator):
            # Memory that is never touched costs nothing; accelerate knows parameters by their addresses.
            self.model = planned_model(config, self.clips).to_empty(device="cpu")
        else:
            self.model = build_model(config, self.clips)
        optimizers = build_optimizers(config.optimizer, self.model, config.weight_decay)
        # FSDP splits the model where it is; DDP puts a module around it.
        self.wrapped, *self.optimizers = self.accelerator.prepare(self.model, *optimizers)
        self.pretrained = {name: self.learned()[name].detach().clone() for name in self.restored()}
        self.average = Average(self.learned(), config.ema)
        self.step = 0
        if saved:
            self.step = facts["step"]
            stored = StoredTensors(saved, facts["processes"])
            stored.fill(self.weights_and_average())
            fill_optimizers(self.optimizers, self.learned(), stored)
        self.films = config.samples and SampleFilms(config.samples, self.clips, config.shift, config.seed)
        workers = workers_for(self.accelerator.device)
        self.batches = made_ahead(self.batch_at, range(self.step, config.steps), workers)
        self.log = Log(config.run / "log.jsonl")

    def learned(self) -> dict[str, nn.Parameter]:
        """The parameters that one of the stages trains, by name."""
        return {name: parameter for name, parameter in self.model.named_parameters() if parameter.requires_grad}

    def restored(self) -> list[str]:
        """Names of the learned parameters that a stage puts back to the weights that they began with."""
        branches = {branch for stage in self.config.stages for branch in stage.restore}
        return [name for name in self.learned() if branch_of(name) in branches]

    def weights_and_average(self) -> dict[str, Tensor]:
        """What is learned and its average, under the names that they have in a state."""
        groups = {"model": self.learned(), "average": self.average.weights}
        return {f"{group}/{name}": tensor for group, tensors in groups.items() for name, tensor in tensors.items()}

    @torch.no_grad()
    def restore(self, branches: tuple[str, ...]) -> None:
        """Put branches back to the backbone's weights (§4.1, stage 2), in the average too; their moments are gone."""
        learned = self.learned()
        for name in (name for name in learned if branch_of(name) in branches):
            learned[name].copy_(self.pretrained[name])
            self.average.weights[name].copy_(self.pretrained[name])
            for optimizer in self.optimizers:
                optimizer.state.pop(learned[name], None)

    def positions_at(self, step: int) -> range:
        """This process's positions of a step."""
        whole = positions_at(self.config.stages, step)
        return share_of(whole, self.accelerator.process_index, self.accelerator.num_processes)

    def source_of(self, stage: Stage) -> ExampleSource:
        """The examples of a stage; those that are alike have alike ones."""
        return self.sources[self.config.stages.index(stage)]

    def batch_at(self, step: int) -> Batch:
        """What this process learns from in a step."""
        stage, _ = stage_at(self.config.stages, step)
        return self.source_of(stage).batch(self.positions_at(step), stage.latent_frames)

    def train_step(self) -> dict[str, float]:
        """One optimiser step; returns what to log.

        Raises:
            FloatingPointError: loss or gradients are not finite; names the step, the clips and the last good state.
        """
        stage, stage_step = stage_at(self.config.stages, self.step)
        if stage_step == 0 and stage.restore:
            self.restore(stage.restore)
        rate = learning_rate(stage, stage_step)
        set_learning_rate(self.optimizers, rate)
        positions = self.positions_at(self.step)
        batch = next(self.batches).to(self.accelerator.device)
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
        self.average.update(self.step)
        mean = self.accelerator.reduce(loss.detach(), "mean").item()
        return {"loss": mean, "gradient norm": float(norm), "learning rate": rate}

    def refuse_nan(self, what: str, value: float, positions: range, stage: Stage) -> None:
        if math.isfinite(value):
            return
        names = ", ".join(self.source_of(stage).names(positions, stage.latent_frames))
        saved = newest_state(self.states)
        kept = f"the last good state is {saved}" if saved else "no state was saved yet"
        raise FloatingPointError(f"the {what} is {value} at step {self.step} on {names}; {kept}")

    def save(self) -> None:
        """Write the state; every process writes what it holds."""
        names = {parameter: name for name, parameter in self.learned().items()}
        tensors = self.weights_and_average() | optimizer_tensors(self.optimizers, names)
        settings = fingerprint(self.config, *CHANGEABLE)
        save_state(self.states, self.step, settings, {}, tensors)

    def run(self) -> None:
        """Train to the end of the last stage, logging to TensorBoard and saving as the configuration says."""
        self.accelerator.init_trackers("log")
        clock, since, average = time.monotonic(), self.step, None
        while self.step < self.config.steps:
            values = self.train_step()
            if self.accelerator.is_main_process:
                self.log.add(self.step, **values)
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
        with self.average.shown():
            export_run(self.config, self.model)
        self.accelerator.end_training()

    def log_sample(self) -> None:
        """Make a film with the averaged weights; every process does, for each may hold a part of them."""
        stage, _ = stage_at(self.config.stages, self.step - 1)
        with self.average.shown():
            films = self.films.films(self.model, stage.latent_frames)
        if self.accelerator.is_main_process:
            writer = self.accelerator.get_tracker("tensorboard", unwrap=True)
            for name, film in films.items():
                log_film(writer, name, film, self.clips.rates[0], self.step, self.config.run / "samples")
        self.accelerator.wait_for_everyone()
