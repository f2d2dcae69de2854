"""Train the tiny Wan-layout VAE on drawn clips.

A causal VAE trained on short clips never meets its own steady state and fades on long ones. So the temporal
kernels start as "hold the newest frame", single frames come first, and then clips as long as memory allows, encoded and
decoded chunk by chunk exactly as at inference.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import backbone
from .checkpoint import load_state, save_state
from .clips import load_clip, seeds_in


@dataclass(frozen=True)
class VAETrainingConfig:
    """One run: (steps, batch, frames, crop) per stage, in order."""

    dim: int = 16
    stages: tuple[tuple[int, int, int, int], ...] = ((1500, 8, 1, 64), (1200, 2, 17, 64), (400, 1, 49, 64))
    learning_rate: float = 1.5e-3
    final_learning_rate: float = 1e-4
    latent_noise: float = 0.1
    latent_penalty: float = 1e-3
    held_out: int = 2
    seed: int = 0


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


def reconstruction_loss(output: Tensor, target: Tensor) -> Tensor:
    """L1 in pixels, in edges, and in 4×4 averages, of [B, 3, T, H, W] in [−1, 1]."""
    difference = output - target
    edges = difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
    coarse = F.avg_pool3d(difference, (1, 4, 4)).abs().mean()
    return difference.abs().mean() + 0.5 * edges + coarse


def sample_crops(folder: Path, seeds: list[int], batch: int, frames: int, crop: int, rng: np.random.Generator) -> Tensor:
    """Random crops in space and time as float [B, 3, T, crop, crop] in [−1, 1]."""
    crops = []
    for seed in rng.choice(seeds, batch):
        clip = load_clip(folder, int(seed)).frames
        t = rng.integers(0, clip.shape[0] - frames + 1)
        y, x = rng.integers(0, clip.shape[1] - crop + 1), rng.integers(0, clip.shape[2] - crop + 1)
        crops.append(np.asarray(clip[t : t + frames, y : y + crop, x : x + crop]))
    pixels = torch.from_numpy(np.stack(crops)).permute(0, 4, 1, 2, 3).float()
    return (pixels / 127.5 - 1).contiguous()


@torch.no_grad()
def validate(vae: nn.Module, folder: Path, seeds: list[int], picture: Path) -> tuple[float, float]:
    """PSNR in dB of whole clips, of their first and of their last nine frames; a contact sheet goes to `picture`."""
    from PIL import Image

    first, last, rows = [], [], []
    for seed in seeds:
        frames = np.asarray(load_clip(folder, seed).frames)
        pixels = (torch.from_numpy(frames).permute(3, 0, 1, 2).float() / 127.5 - 1)[None].contiguous()
        output = vae.decode(vae.encode(pixels)).clamp(-1, 1)
        error = ((output - pixels) / 2).square().mean((0, 1, 3, 4))
        first.append(-10 * error[:9].mean().log10())
        last.append(-10 * error[-9:].mean().log10())
        shown = [0, 4, 12, 24, frames.shape[0] - 1]
        rendered = ((output[0].permute(1, 2, 3, 0) + 1) * 127.5).round().byte().numpy()
        rows += [np.concatenate(frames[shown], 1), np.concatenate(rendered[shown], 1)]
    Image.fromarray(np.concatenate(rows)).save(picture)
    return float(torch.stack(first).mean()), float(torch.stack(last).mean())


def train(config: VAETrainingConfig, folder: Path, run: Path) -> None:
    """Train, saving to `run` every 100 steps; a run that exists goes on where it stopped."""
    backbone.use_comfyui()
    run.mkdir(parents=True, exist_ok=True)
    vae = backbone.build_vae(config.dim)
    torch.set_flush_denormal(True)
    torch.manual_seed(config.seed)
    initialize_vae(vae)
    optimizer = torch.optim.AdamW(vae.parameters(), config.learning_rate, (0.9, 0.98), weight_decay=1e-4)
    total = sum(steps for steps, *_ in config.stages)
    step, checkpoint = 0, run / "state.pt"
    if checkpoint.exists():
        state = load_state(checkpoint)
        vae.load_state_dict(state["vae"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
    schedule = [stage[1:] for stage in config.stages for _ in range(stage[0])]
    clock, average = time.time(), None
    while step < total:
        seeds = seeds_in(folder)[config.held_out :]
        rng = np.random.default_rng((config.seed, step))
        torch.manual_seed(step)
        batch, frames, crop = schedule[step]
        rate = config.final_learning_rate + 0.5 * (config.learning_rate - config.final_learning_rate) * (
            1 + math.cos(math.pi * step / total)
        )
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 50)
        target = sample_crops(folder, seeds, batch, frames, crop, rng)
        with torch.autocast("cpu", torch.bfloat16):
            latent = vae.encode(target)
            output = vae.decode(latent + config.latent_noise * torch.randn_like(latent))
        loss = reconstruction_loss(output.float(), target)
        (loss + config.latent_penalty * latent.float().square().mean()).backward()
        nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        average = loss.item() if average is None else 0.98 * average + 0.02 * loss.item()
        if not math.isfinite(loss.item()):
            raise FloatingPointError(f"loss is {loss.item()} at step {step}; the last good state is {checkpoint}")
        if step % 25 == 0:
            spread = latent.float().std()
            print(f"step {step}/{total} loss {average:.4f} (now {loss.item():.3f}) latent std {spread:.2f} {time.time() - clock:.0f} s", flush=True)
        if step % 100 == 0 or step == total:
            save_state(checkpoint, {"vae": vae.state_dict(), "optimizer": optimizer.state_dict(), "step": step})
        if step % 500 == 0 or step == total:
            psnr = validate(vae, folder, seeds_in(folder)[: config.held_out], run / f"step_{step:06d}.png")
            print(f"step {step} PSNR first {psnr[0]:.2f} dB, last {psnr[1]:.2f} dB", flush=True)


@torch.no_grad()
def export(vae: nn.Module, folder: Path, seeds: list[int], path: Path) -> None:
    """Write the VAE as a native Wan 2.1 file whose latents have Wan's published statistics, measured on `seeds`."""
    import comfy.latent_formats

    from .export import fold_latent_scale, write
    from .prepare import encode_video

    wan = comfy.latent_formats.Wan21()
    latents = torch.cat([encode_video(vae, load_clip(folder, seed).frames).flatten(1) for seed in seeds], dim=1)
    fold_latent_scale(
        vae, latents.mean(1), latents.std(1), wan.latents_mean.view(-1), wan.latents_std.view(-1)
    )
    write(path, vae.state_dict())


def main() -> None:
    from ..checkpoints.presets import TINY_VAE

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, required=True, help="folder of the clip bank")
    parser.add_argument("--run", type=Path, required=True, help="folder for the state and the contact sheets")
    parser.add_argument("--config", type=Path, help="JSON with fields of VAETrainingConfig")
    parser.add_argument("--export", action="store_true", help="write the run's VAE into the presets and stop")
    arguments = parser.parse_args()
    fields = json.loads(arguments.config.read_text()) if arguments.config else {}
    config = VAETrainingConfig(**fields)
    if not arguments.export:
        print(asdict(config), flush=True)
        train(config, arguments.clips, arguments.run)
    backbone.use_comfyui()
    vae = backbone.build_vae(config.dim)
    vae.load_state_dict(load_state(arguments.run / "state.pt")["vae"])
    export(vae, arguments.clips, seeds_in(arguments.clips)[:12], TINY_VAE)


if __name__ == "__main__":
    main()
