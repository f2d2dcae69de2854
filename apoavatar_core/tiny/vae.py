"""Train the tiny Wan-layout VAE on drawn clips.

A causal VAE trained on short clips never meets its own steady state and fades on long ones. So the temporal
kernels start as "hold the newest frame", single frames come first, and then clips as long as memory allows, encoded and
decoded chunk by chunk exactly as at inference.
"""

from __future__ import annotations

import argparse
import math
import time
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor, nn

from ..checkpoints.presets import TINY_VAE
from ..comfyui import trainable
from ..comfyui.wan import latent_format
from ..data.clips import load_clip, load_frames, seeds_in
from ..grid import PIXELS_PER_LATENT, fills_latent_frames
from ..pose.keypoints import GROUPS, LEFT_WRIST, RIGHT_WRIST, VISIBLE, from_frame
from ..pose.measurements import LOWER_INNER_LIP, UPPER_INNER_LIP
from ..precision import autocast
from ..settings import Count, Filled, NotNegative, Positive, Settings, Share, WholeNumber, read_settings
from ..training.export import write
from ..training.optimizers import build_optimizers, set_learning_rate
from ..training.schedule import half_cosine, stage_at, warm_up
from ..training.state import (
    StoredTensors,
    fill_optimizers,
    fingerprint,
    newest_state,
    optimizer_tensors,
    read_facts,
    save_state,
)

CONFIG = Path(__file__).with_name("configs") / "tiny_vae.yaml"
FACE = sum(GROUPS.values()) - GROUPS["face"]
"""Index of the first face landmark among a person's points."""


def pixels(clips: np.ndarray) -> Tensor:
    """uint8 [B, T, H, W, 3] → float [B, 3, T, H, W] in [−1, 1]."""
    return (torch.from_numpy(clips).permute(0, 4, 1, 2, 3).float() / 127.5 - 1).contiguous()


class VAEStage(Settings):
    """Consecutive steps on crops of `crop` by `crop` pixels and `frames` video frames, `batch` of them a step. Muon's
    learning rate goes along half a cosine from `learning_rate` to `final_learning_rate`.
    """

    steps: Count
    batch: Count
    frames: Count
    crop: Count
    learning_rate: Positive
    final_learning_rate: NotNegative

    @model_validator(mode="after")
    def fills_latents(self) -> VAEStage:
        if not fills_latent_frames(self.frames):
            raise ValueError(f"{self.frames} frames fill no latent frames: use 4n+1, such as 17")
        if self.crop % PIXELS_PER_LATENT:
            raise ValueError(f"a crop of {self.crop} is no multiple of {PIXELS_PER_LATENT}")
        return self


class VAETrainingConfig(Settings):
    """One run, of a VAE of width `dim`.

    latent_noise: deviation of the noise that the decoder sees. latent_penalty: weight of the latents' mean square in the
    loss. detail_share: of the crops, centred on a mouth or a hand. compile_norms: wants a C++ compiler and saved a sixth
    of an image step and a third of a clip step. held_out: clips that are measured and never learned from.
    """

    dim: Count = 16
    stages: Annotated[tuple[VAEStage, ...], Filled]
    latent_noise: NotNegative = 0.1
    latent_penalty: NotNegative = 1e-3
    detail_share: Share = 0.5
    compile_norms: bool = False
    held_out: Count = 2
    seed: WholeNumber = 0

    def stage_at(self, step: int) -> tuple[VAEStage, float]:
        """The stage of a step of the run, and its learning rate after 20 steps of warm-up."""
        stage, stage_step = stage_at(self.stages, step)
        rate = half_cosine(stage.learning_rate, stage.final_learning_rate, stage_step / stage.steps)
        return stage, rate * warm_up(step, 20)


CONSTANT_CHANNEL = 4.0
"""Constant value of channel 0. The norms divide by a length; with it in the sum, brightness survives the division."""


def initialize_vae(vae: nn.Module) -> None:
    """Start as an image autoencoder that holds each frame still in time, with quiet residual branches."""
    for name, parameter in vae.named_parameters():
        if name.endswith("gamma"):
            nn.init.ones_(parameter)
        elif parameter.ndim < 2:
            nn.init.zeros_(parameter)
        elif parameter.ndim == 5:
            newest = torch.empty_like(parameter[:, :, -1])
            nn.init.kaiming_uniform_(newest, a=math.sqrt(5) if "residual.6" not in name else 20.0)
            with torch.no_grad():
                parameter.zero_()
                parameter[:, :, -1] = newest
        else:
            nn.init.kaiming_uniform_(parameter, a=math.sqrt(5))
    with torch.no_grad():
        for name, module in vae.named_modules():
            if name.endswith("time_conv"):
                out_channels, in_channels = module.weight.shape[:2]
                module.weight.zero_()
                module.weight[:, :, -1, 0, 0] = torch.eye(in_channels).repeat(out_channels // in_channels, 1)
            if name.endswith(("coder.conv1", "shortcut", "resample.1")) and not isinstance(module, nn.Identity):
                module.weight[0].zero_()
                module.bias[0] = CONSTANT_CHANNEL


def reconstruction_loss(output: Tensor, target: Tensor) -> Tensor:
    """L1 in pixels, in edges, and in 4×4 averages, of [B, 3, T, H, W] in [−1, 1]."""
    difference = output - target
    edges = difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
    coarse = F.avg_pool3d(difference, (1, 4, 4)).abs().mean()
    return difference.abs().mean() + 0.5 * edges + coarse


@lru_cache(maxsize=None)
def details(folder: Path, seed: int) -> np.ndarray:
    """Where the mouth and both wrists are: [T, 3, 2] as (x, y) fractions of the frame, NaN where unseen."""
    points = np.stack([from_frame(frame).points for frame in load_clip(folder, seed).keypoints])
    points = np.where(points[..., 2:] >= VISIBLE, points[..., :2], np.nan)
    mouth = points[:, [FACE + landmark for landmark in UPPER_INNER_LIP + LOWER_INNER_LIP]].mean(1, keepdims=True)
    return np.concatenate([mouth, points[:, [RIGHT_WRIST, LEFT_WRIST]]], axis=1)


def crop_corner(size: int, crop: int, centre: np.ndarray | None, rng: np.random.Generator) -> tuple[int, int]:
    """(y, x) of a crop: anywhere, or with `centre` (x, y) in its middle as far as the frame allows."""
    if centre is None or not np.isfinite(centre).all():
        return int(rng.integers(0, size - crop + 1)), int(rng.integers(0, size - crop + 1))
    x, y = np.clip((centre * size - crop / 2).round().astype(int), 0, size - crop)
    return int(y), int(x)


def sample_crops(
    folder: Path, seeds: list[int], stage: VAEStage, detail_share: float, rng: np.random.Generator
) -> Tensor:
    """Random crops in space and time as float [B, 3, T, crop, crop] in [−1, 1]."""
    crops = []
    for seed in rng.choice(seeds, stage.batch):
        clip = load_frames(folder, int(seed))
        t = int(rng.integers(0, clip.shape[0] - stage.frames + 1))
        centre = details(folder, int(seed))[t, rng.integers(3)] if rng.random() < detail_share else None
        y, x = crop_corner(clip.shape[1], stage.crop, centre, rng)
        crops.append(np.asarray(clip[t : t + stage.frames, y : y + stage.crop, x : x + stage.crop]))
    return pixels(np.stack(crops))


@torch.no_grad()
def validate(vae: nn.Module, folder: Path, seeds: list[int], picture: Path) -> tuple[float, float]:
    """PSNR in dB of whole clips, of their first and of their last nine frames; a contact sheet goes to `picture`."""
    from PIL import Image

    first, last, rows = [], [], []
    clips = [np.array(load_frames(folder, seed)) for seed in seeds]
    # A batch of one takes PyTorch's slow 3-D convolution on CPUs.
    batch = pixels(np.stack(clips))
    outputs = vae.decode(vae.encode(batch)).clamp(-1, 1)
    for frames, target, output in zip(clips, batch, outputs):
        error = ((output - target) / 2).square().mean((0, 2, 3))
        first.append(-10 * error[:9].mean().log10())
        last.append(-10 * error[-9:].mean().log10())
        shown = np.linspace(0, len(frames) - 1, 5).astype(int)
        rendered = ((output.permute(1, 2, 3, 0) + 1) * 127.5).round().byte().numpy()
        rows += [np.concatenate(frames[shown], 1), np.concatenate(rendered[shown], 1)]
    Image.fromarray(np.concatenate(rows)).save(picture)
    return float(torch.stack(first).mean()), float(torch.stack(last).mean())


STATES = "state"
CHANGEABLE = ("compile_norms",)


def opened(config: VAETrainingConfig, saved: Path) -> tuple[dict, StoredTensors]:
    """A saved state of a run: what it says, and its tensors.

    Raises:
        ValueError: another version of the pack or other settings wrote it.
    """
    facts = read_facts(saved, fingerprint(config, *CHANGEABLE))
    return facts, StoredTensors(saved, facts["processes"])


def named_weights(vae: nn.Module) -> dict[str, Tensor]:
    """What the VAE is, under the names that it has in a state."""
    return {f"vae/{name}": tensor for name, tensor in vae.state_dict().items()}


def load_weights(vae: nn.Module, stored: StoredTensors) -> None:
    stored.fill(named_weights(vae))


def train(config: VAETrainingConfig, folder: Path, run: Path) -> None:
    """Train, saving to `run` every 100 steps; a run that exists goes on where it stopped."""
    run.mkdir(parents=True, exist_ok=True)
    vae = trainable.build_vae(config.dim)
    torch.manual_seed(config.seed)
    initialize_vae(vae)
    if config.compile_norms:
        trainable.compile_norms(vae)
    optimizers = build_optimizers("muon", vae, weight_decay=0.0)
    total = sum(stage.steps for stage in config.stages)
    step, names = 0, {parameter: name for name, parameter in vae.named_parameters()}
    saved = newest_state(run / STATES)
    if saved:
        facts, stored = opened(config, saved)
        load_weights(vae, stored)
        fill_optimizers(optimizers, dict(vae.named_parameters()), stored)
        step = facts["step"]
    clock, average = time.time(), None
    while step < total:
        seeds = seeds_in(folder)[config.held_out :]
        rng = np.random.default_rng((config.seed, step))
        torch.manual_seed(step)
        stage, rate = config.stage_at(step)
        set_learning_rate(optimizers, rate)
        target = sample_crops(folder, seeds, stage, config.detail_share, rng)
        with autocast():
            latent = vae.encode(target)
            output = vae.decode(latent + config.latent_noise * torch.randn_like(latent))
        loss = reconstruction_loss(output.float(), target)
        (loss + config.latent_penalty * latent.float().square().mean()).backward()
        nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        step += 1
        average = loss.item() if average is None else 0.98 * average + 0.02 * loss.item()
        if not math.isfinite(loss.item()):
            raise FloatingPointError(f"loss is {loss.item()} at step {step}; go on from the last good state in {run / STATES}")
        if step % 25 == 0:
            spread = latent.float().std()
            print(f"step {step}/{total} loss {average:.4f} (now {loss.item():.3f}) latent std {spread:.2f} {time.time() - clock:.0f} s", flush=True)
        if step % 100 == 0 or step == total:
            tensors = named_weights(vae) | optimizer_tensors(optimizers, names)
            save_state(run / STATES, step, fingerprint(config, *CHANGEABLE), {}, tensors)
        if step % 500 == 0 or step == total:
            psnr = validate(vae, folder, seeds_in(folder)[: config.held_out], run / f"step_{step:06d}.png")
            print(f"step {step} PSNR first {psnr[0]:.2f} dB, last {psnr[1]:.2f} dB", flush=True)


@torch.no_grad()
def fold_latent_scale(vae: nn.Module, mean: Tensor, deviation: Tensor, wan_mean: Tensor, wan_deviation: Tensor) -> None:
    """Give a VAE's latents Wan's published statistics, so that ComfyUI's Wan latent format normalises them.

    The affine map goes into the 1×1×1 convolutions behind the encoder and before the decoder, which leaves every
    reconstruction as it was. mean, deviation, wan_mean, wan_deviation: one value per latent channel [16].
    """
    channels = mean.shape[0]
    scale = wan_deviation / deviation
    shape = (-1, 1, 1, 1, 1)
    vae.conv1.weight[:channels] *= scale.view(shape)
    vae.conv1.bias[:channels] = (vae.conv1.bias[:channels] - mean) * scale + wan_mean
    vae.conv2.bias += (vae.conv2.weight[:, :, 0, 0, 0] * (mean - wan_mean / scale)).sum(1)
    vae.conv2.weight /= scale.view(1, -1, 1, 1, 1)


@torch.no_grad()
def export(vae: nn.Module, folder: Path, seeds: list[int], path: Path) -> None:
    """Write the VAE as a native Wan 2.1 file whose latents have Wan's published statistics, measured on `seeds`."""
    wan = latent_format()
    with autocast():
        latents = vae.encode(pixels(np.stack([load_frames(folder, seed) for seed in seeds])))
    latents = latents.float().transpose(0, 1).flatten(1)
    fold_latent_scale(
        vae, latents.mean(1), latents.std(1), wan.latents_mean.view(-1), wan.latents_std.view(-1)
    )
    write(path, vae.state_dict())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clips", type=Path, required=True, help="folder of the clip bank")
    parser.add_argument("--run", type=Path, required=True, help="folder for the state and the contact sheets")
    parser.add_argument("--config", type=Path, default=CONFIG, help="YAML of a VAETrainingConfig (default: the preset's)")
    parser.add_argument("--export", action="store_true", help="write the run's VAE into the presets and stop")


def run(arguments: argparse.Namespace) -> None:
    """Train as the parsed options say, then write the VAE into the presets.

    Raises:
        ValueError: the configuration is wrong, or there is nothing to export.
    """
    config = read_settings(VAETrainingConfig, arguments.config)
    if not arguments.export:
        print(config, flush=True)
        train(config, arguments.clips, arguments.run)
    saved = newest_state(arguments.run / STATES)
    if saved is None:
        raise ValueError(f"--run: {arguments.run} holds no state to export: train first, without --export")
    vae = trainable.build_vae(config.dim)
    load_weights(vae, opened(config, saved)[1])
    export(vae, arguments.clips, seeds_in(arguments.clips)[:6], TINY_VAE)
