"""Train the keypoint network of the tiny preset on drawn frames of the synthetic speaker.

    python -m apoavatar_core.tiny keypoints --out pose.safetensors --vae vae.safetensors

A run that was stopped (Ctrl-C, power cut) goes on with `--resume`.
"""

from __future__ import annotations

import argparse
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..pose.estimator import KeypointNetwork, KeypointNetworkConfig
from ..pose.heatmaps import encode_heatmaps, window_centroids
from ..pose.keypoints import GROUPS, LIPS, VISIBLE
from ..pose.network_file import load_keypoint_network, save_keypoint_network
from ..precision import autocast, training_device
from ..settings import Count, Positive, Settings, Share, WholeNumber, read_settings
from ..training.ahead import made_ahead, workers_for
from ..training.log import Log
from ..training.optimizers import set_learning_rate
from ..training.schedule import half_cosine, warm_up
from ..training.state import (
    StoredTensors,
    fill_optimizers,
    fingerprint,
    newest_state,
    optimizer_tensors,
    read_facts,
    save_state,
)
from .keypoint_accuracy import hands_seen, held_out_clips, measure
from .keypoint_drawings import Drawings, augment
from .keypoint_reconstructions import Reconstructions, kept_reconstructions

CONFIG = Path(__file__).with_name("configs") / "tiny_keypoints.yaml"
CHANGEABLE = ("steps", "save_every")
"""Between the parts of a run: how long it is and how often it saves."""
_MOUTH_WEIGHT = 4.0  # a shut and a wide open mouth differ by two heatmap cells; other points can afford half a cell


class KeypointTrainingConfig(Settings):
    """One run.

    Attributes:
        network: size of the network.
        steps: optimiser steps.
        batch_size: frames per step.
        new_share: share of each batch that is newly drawn, 0 to 1; the rest was seen before and is augmented anew,
            because drawing a frame takes a third of the time that learning from it does.
        pool_size: how many of the last drawings that rest is taken from.
        snippets: of five frames that a VAE decodes, to be shown besides; without a VAE there are none.
        learning_rate: peak, reached after 50 steps; falls along a cosine to a hundredth.
        save_every: steps between saves of the training state.
        seed: of weights, drawings and augmentation.
    """

    network: KeypointNetworkConfig = KeypointNetworkConfig()
    steps: Count = 1500
    batch_size: Count = 8
    new_share: Share = 0.375
    pool_size: Count = 2048
    snippets: Count = 64
    learning_rate: Positive = 2.5e-3
    save_every: Count = 100
    seed: WholeNumber = 0


def train_keypoints(
    config: KeypointTrainingConfig,
    out: Path,
    *,
    vae: Path | None = None,
    resume: bool = False,
    start: Path | None = None,
    log: Path | None = None,
) -> KeypointNetwork:
    """Train a network and write it to `out`.

    The state of an unfinished run lies beside `out` in the folder `<name>.state`, whole at any time, and goes when the run
    is finished, as what the VAE has decoded does. Ctrl-C saves it, too.

    Args:
        config: the run.
        out: the safetensors file to write.
        vae: whose reconstructions are shown besides drawings; ComfyUI loads it.
        resume: go on with the state beside `out`, when there is one, instead of starting anew. The number of steps
            and how often it saves may have changed since, nothing else.
        start: a trained network to begin with, of the size in `config`; random weights when None.
        log: file for the loss of every step (`training.log`).

    Returns:
        The trained network in evaluation mode.

    Raises:
        ValueError: when resuming a state that another configuration wrote, or when `start` is of another size.
        FloatingPointError: when the loss is no longer finite.
    """
    decoded, reconstructions = out.with_name(f"{out.stem}.decoded.safetensors"), None
    if vae:
        reconstructions = kept_reconstructions(decoded, vae, config.snippets, config.network.input_size, config.seed)
    run = KeypointTraining(config, out.with_name(out.name + ".state"), start, reconstructions)
    if resume:
        run.load()
    clock, average = time.monotonic(), None
    try:
        while run.step < config.steps:
            loss = run.train_step()
            if log:
                Log(log).add(run.step, loss=loss)
            average = loss if average is None else 0.98 * average + 0.02 * loss
            if run.step % 50 == 0:
                seconds = time.monotonic() - clock
                print(f"step {run.step}/{config.steps} loss {average:.4f} {seconds:.0f} s", flush=True)
            if run.step % config.save_every == 0:
                run.save()
    except KeyboardInterrupt:
        run.save()
        print(f"stopped at step {run.step}; go on with --resume", flush=True)
        raise
    save_keypoint_network(out, run.network)
    shutil.rmtree(run.states, ignore_errors=True)
    decoded.unlink(missing_ok=True)
    return run.network.cpu().eval()


class KeypointTraining:
    """A run between two steps; `states` is the folder that `save` writes and `load` reads."""

    def __init__(
        self, config: KeypointTrainingConfig, states: Path, start: Path | None, reconstructions: Reconstructions | None
    ):
        torch.manual_seed(config.seed)
        network = KeypointNetwork(config.network) if start is None else load_keypoint_network(start)
        if network.config != config.network:
            raise ValueError(f"{start} is a network of another size than the one to train: start from another file.")
        self.config, self.states, self.step = config, states, 0
        self.device = training_device()
        self.network = network.train().to(self.device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(network.parameters(), config.learning_rate, (0.9, 0.98), weight_decay=1e-3)
        self.weights = keypoint_weights(config.network.keypoints).to(self.device)
        self.batches: Iterator[tuple[Tensor, Tensor]] | None = None
        self.drawings = Drawings(
            config.network.keypoints,
            config.network.input_size,
            config.batch_size,
            config.new_share,
            config.pool_size,
            config.seed,
            reconstructions,
        )

    def batch_at(self, step: int) -> tuple[Tensor, Tensor]:
        """What a step learns from, and from nothing but its number."""
        rng = np.random.default_rng((self.config.seed, step))
        return augment(*self.drawings.batch(step, rng), rng)

    def train_step(self) -> float:
        """One optimiser step; returns the loss."""
        if self.batches is None:
            self.batches = made_ahead(self.batch_at, range(self.step, self.config.steps), workers_for(self.device))
        pictures, points = (part.to(self.device) for part in next(self.batches))
        set_learning_rate([self.optimizer], _learning_rate(self.config, self.step))
        with autocast(self.device):
            logits = self.network(pictures.contiguous(memory_format=torch.channels_last))
        loss = keypoint_loss(logits.float().contiguous(), points, self.weights)
        if not math.isfinite(loss.item()):
            raise FloatingPointError(f"The loss is {loss.item()} at step {self.step}: use a smaller learning rate.")
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        return loss.item()

    def save(self) -> None:
        names = {parameter: name for name, parameter in self.network.named_parameters()}
        tensors = self.named_weights() | optimizer_tensors([self.optimizer], names)
        save_state(self.states, self.step, fingerprint(self.config, *CHANGEABLE), {}, tensors)

    def load(self) -> None:
        """Go on with the saved state, when there is one."""
        saved = newest_state(self.states)
        if saved is None:
            return
        facts = read_facts(saved, fingerprint(self.config, *CHANGEABLE))
        stored = StoredTensors(saved, facts["processes"])
        stored.fill(self.named_weights())
        fill_optimizers([self.optimizer], dict(self.network.named_parameters()), stored)
        self.step = facts["step"]

    def named_weights(self) -> dict[str, Tensor]:
        """What the network is, under the names that it has in a state."""
        return {f"network/{name}": tensor for name, tensor in self.network.state_dict().items()}


def keypoint_weights(groups: Sequence[str]) -> Tensor:
    """How much each keypoint of the given groups counts in the loss: [K] with mean 1, the lips four times the rest."""
    weights = {group: torch.ones(GROUPS[group]) for group in groups}
    if "face" in weights:
        weights["face"][LIPS] = _MOUTH_WEIGHT
    stacked = torch.cat([weights[group] for group in groups])
    return stacked / stacked.mean()


def keypoint_loss(logits: Tensor, points: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy with the drawn blobs, which makes the peak a confidence, plus the distance in cells between the
    centres of mass, which makes the position precise.

    Args:
        logits: [B, K, h, w].
        points: [B, K, 3], fractions of the picture and confidence; points of confidence 0 get an empty heatmap.
        weights: [K], see `keypoint_weights`.

    Returns:
        Scalar.
    """
    height, width = logits.shape[-2:]
    target = encode_heatmaps(points, height, width)
    # A blob covers one cell in a hundred; unweighted, an empty heatmap would be a good answer for long.
    shape = F.binary_cross_entropy_with_logits(logits, target, weight=weights[:, None, None] * (1 + 10 * target))

    size = torch.tensor([width, height], device=logits.device)
    seen = target.flatten(-2).amax(-1) >= VISIBLE
    cells = (points[..., :2] * size).long().clamp(torch.zeros_like(size), size - 1)
    found = window_centroids(torch.sigmoid(logits), cells)
    # Compared with the target's own centre of mass, so that blobs cut by the picture's edge are no contradiction.
    distance = (found - window_centroids(target, cells)).abs().sum(-1)
    return 10 * shape + (distance * seen * weights).sum() / (seen * weights).sum().clamp_min(1)


def _learning_rate(config: KeypointTrainingConfig, step: int) -> float:
    """Warm-up over 50 steps, then a cosine to a hundredth of the peak."""
    return half_cosine(config.learning_rate, 0.01 * config.learning_rate, step / config.steps) * warm_up(step, 50)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this training, for a parser of its own or a sub-command."""
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--config", type=Path, default=CONFIG, help="YAML of a KeypointTrainingConfig (default: the preset's)")
    parser.add_argument("--vae", type=Path, metavar="FILE", help="VAE whose reconstructions it learns from besides drawings")
    parser.add_argument("--resume", action="store_true", help="go on with the unfinished run beside --out")
    parser.add_argument("--start", type=Path, help="trained weights to begin with instead of random ones")
    parser.add_argument("--held-out-clips", type=int, default=8, help="clips to measure on afterwards; 0 for none")


def run(arguments: argparse.Namespace) -> None:
    """Train as the parsed options say, then print the accuracy on held-out clips, sharp and blurred."""
    config = read_settings(KeypointTrainingConfig, arguments.config)
    network = train_keypoints(config, arguments.out, vae=arguments.vae, resume=arguments.resume, start=arguments.start)
    if arguments.held_out_clips:
        clips = held_out_clips(arguments.held_out_clips)
        for name, blur in (("sharp", 1), ("blurred x2", 2)):
            print(name, measure(network, clips, blur=blur), flush=True)
        print(hands_seen(network, clips), flush=True)
