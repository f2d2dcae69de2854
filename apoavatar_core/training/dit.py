"""Train the DiT and the ApoAvatar adapter together with flow matching (§3.1, Eq. 1), through the node's own binding."""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn

from ..adapters import AdapterConfig, ApoAvatarAdapter
from ..adapters.pose_adapter import group_by_latent_frame
from ..audio_features import LogMelEncoder
from ..flow_matching import flow_matching_loss, interpolate, sample_sigma
from ..refocusing import sample_pose_mask
from . import backbone
from .checkpoint import load_state, save_state
from .prepare import FPS

TIMESTEP_SCALE = 1000.0
"""ComfyUI's flow models see σ · 1000."""


@dataclass(frozen=True)
class DiTTrainingConfig:
    """One run. `stages` are (steps, batch, latent frames); dropouts are the chances of a null condition.

    `whole_pose` is the chance that a pose that is kept acts in every frame (the hard mode of A.1); otherwise the
    refocused mask of Eq. 4 is drawn. `motion_weight` is the extra loss weight of the latents that move most.
    """

    dim: int = 256
    ffn_dim: int = 1024
    num_heads: int = 4
    num_layers: int = 8
    audio_dim: int = 192
    tokens_per_frame: int = 2
    pose_channels: int = 32
    stages: tuple[tuple[int, int, int], ...] = ((1200, 6, 7), (1200, 4, 13))
    learning_rate: float = 6e-4
    final_learning_rate: float = 2e-5
    weight_decay: float = 0.01
    ema: float = 0.997
    shift: float = 2.0
    motion_weight: float = 3.0
    text_dropout: float = 0.1
    image_dropout: float = 0.12
    audio_dropout: float = 0.1
    pose_dropout: float = 0.45
    whole_pose: float = 0.3
    seed: int = 0

    def dit(self, text_dim: int, text_len: int) -> dict:
        """Arguments of the Wan DiT: 16 noisy channels, 4 of mask and 16 of reference in."""
        return {
            "dim": self.dim,
            "ffn_dim": self.ffn_dim,
            "num_heads": self.num_heads,
            "num_layers": self.num_layers,
            "in_dim": 2 * backbone.LATENT_CHANNELS + 4,
            "text_dim": text_dim,
            "text_len": text_len,
        }

    def adapter(self, window: int) -> AdapterConfig:
        """The adapter for this DiT, for clips of `window` video frames."""
        return AdapterConfig(
            backbone_dim=self.dim,
            backbone_layers=self.num_layers,
            backbone_in_channels=2 * backbone.LATENT_CHANNELS + 4,
            heads=self.num_heads,
            audio_encoder=LogMelEncoder.name,
            audio_feature_dim=LogMelEncoder.feature_dim,
            audio_dim=self.audio_dim,
            tokens_per_frame=self.tokens_per_frame,
            pose_channels=self.pose_channels,
            fps=FPS,
            window=window,
        )


@dataclass(frozen=True)
class Batch:
    """Conditions and target of one step, nulls already in place.

    data: [B, 16, T_lat, h, w]; concat: mask and reference [B, 20, T_lat, h, w]; text: [B, L, d];
    audio: [B, 8, T_lat, D]; pose: [B, 12, T_lat, H, W] in 0 … 1; pose_gate: [B, 4, T_lat].
    """

    data: Tensor
    concat: Tensor
    text: Tensor
    audio: Tensor
    pose: Tensor
    pose_gate: Tensor


class PreparedClips:
    """The prepared clips of a folder, latents normalised to zero mean and unit deviation by Wan's latent format."""

    def __init__(self, folder: Path):
        import comfy.latent_formats

        self.paths = sorted(folder.glob("*.safetensors"))
        self.latent_format = comfy.latent_formats.Wan21()

    def clip(self, index: int, latent_length: int) -> dict[str, Tensor]:
        """The first `latent_length` latent frames of one clip, in float32."""
        with safe_open(str(self.paths[index]), "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}
        for key in ("latents", "reference"):
            tensors[key] = self.latent_format.process_in(tensors[key].float()[None])[0, :, :latent_length]
        tensors["audio"] = tensors["audio"][:, :latent_length].float()
        tensors["pose"] = tensors["pose"][:, :latent_length].float() / 255
        tensors["dropout"] = tensors["dropout"][: 4 * (latent_length - 1) + 1]
        return tensors

    def batch(self, config: DiTTrainingConfig, size: int, latent_length: int, seed: tuple[int, int]) -> Batch:
        """Draw clips, and nulls of their conditions, from `seed` alone."""
        rng = np.random.default_rng(seed)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        samples = []
        for index in rng.choice(len(self.paths), size, replace=False):
            clip = self.clip(int(index), latent_length)
            drop = {name: rng.random() < getattr(config, f"{name}_dropout") for name in ("text", "image", "audio", "pose")}
            mask = torch.zeros(4, *clip["latents"].shape[1:])
            mask[:, 0] = 1
            concat = torch.cat([mask, clip["reference"]])
            text = clip["speaking_text" if rng.random() < 0.5 else "text"].float()
            kept = torch.ones_like(clip["dropout"])
            if rng.random() >= config.whole_pose:
                kept = sample_pose_mask(clip["dropout"], generator).float()
            # Eq. 8 never shows a pose without its audio.
            kept = kept * (not (drop["pose"] or drop["audio"]))
            samples.append(
                (
                    clip["latents"],
                    concat * (not drop["image"]),
                    text * (not drop["text"]),
                    clip["audio"] * (not drop["audio"]),
                    clip["pose"],
                    group_by_latent_frame(kept[None])[0].T,
                )
            )
        return Batch(*(torch.stack(tensors) for tensors in zip(*samples)))


def predict(dit: nn.Module, options: dict, batch: Batch, noisy: Tensor, sigma: Tensor) -> Tensor:
    """The velocity noise − data that the model predicts at σ [B]."""
    return dit(
        torch.cat([noisy, batch.concat], dim=1),
        sigma * TIMESTEP_SCALE,
        batch.text,
        transformer_options=options,
        apoavatar_audio=batch.audio,
        apoavatar_pose=batch.pose,
        apoavatar_pose_gate=batch.pose_gate,
    ).float()


def motion_weights(data: Tensor, extra: float) -> Tensor:
    """Loss weights of mean 1 over each clip, 1 + `extra` times heavier where latents [B, C, T, h, w] move most."""
    movement = data.std(2, keepdim=True).mean(1, keepdim=True)
    weights = 1 + extra * movement / movement.amax((3, 4), keepdim=True).clamp(min=1e-6)
    return weights / weights.mean((3, 4), keepdim=True)


class Training:
    """A run that can stop after any step and go on from its folder as if it had not."""

    def __init__(self, config: DiTTrainingConfig, clips: PreparedClips, run: Path):
        self.config, self.clips, self.run = config, clips, run
        first = clips.clip(0, 10**6)
        window = 4 * (first["latents"].shape[1] - 1) + 1
        torch.manual_seed(config.seed)
        self.dit_config = config.dit(first["text"].shape[-1], first["text"].shape[0])
        self.dit = backbone.build_dit(self.dit_config)
        self.adapter = ApoAvatarAdapter(config.adapter(window))
        self.adapter.initialize()
        self.options = backbone.attach(self.dit, self.adapter)
        self.model = nn.ModuleDict({"dit": self.dit, "adapter": self.adapter})
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), config.learning_rate, (0.9, 0.98), weight_decay=config.weight_decay
        )
        self.average = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.schedule = [stage[1:] for stage in config.stages for _ in range(stage[0])]
        self.step = 0
        self.checkpoint = run / "state.pt"
        if self.checkpoint.exists():
            state = load_state(self.checkpoint)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average, self.step = state["average"], state["step"]

    def save(self) -> None:
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        save_state(self.checkpoint, {**state, "average": self.average, "step": self.step})

    def learning_rate(self) -> float:
        """Linear warm-up over 100 steps, then half a cosine."""
        low, high = self.config.final_learning_rate, self.config.learning_rate
        cosine = low + 0.5 * (high - low) * (1 + math.cos(math.pi * self.step / len(self.schedule)))
        return cosine * min(1.0, (self.step + 1) / 100)

    def train_step(self) -> float:
        """One optimiser step; returns the loss."""
        size, latent_length = self.schedule[self.step]
        batch = self.clips.batch(self.config, size, latent_length, (self.config.seed, self.step))
        generator = torch.Generator().manual_seed(self.step)
        noise = torch.randn(batch.data.shape, generator=generator)
        sigma = sample_sigma(size, self.config.shift, generator)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        with torch.autocast("cpu", torch.bfloat16):
            prediction = predict(self.dit, self.options, batch, interpolate(batch.data, noise, sigma), sigma)
        loss = flow_matching_loss(prediction, batch.data, noise, motion_weights(batch.data, self.config.motion_weight))
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, tensor in self.model.state_dict().items():
                self.average[name].lerp_(tensor, 1 - decay)
        return loss.item()

    def export(self, dit_path: Path, adapter_path: Path) -> None:
        """Write the averaged weights as the files that the nodes load."""
        from ..checkpoints.adapter_file import save_adapter
        from .export import export_dit

        trained = self.model.state_dict()
        trained = {name: tensor.clone() for name, tensor in trained.items()}
        self.model.load_state_dict(self.average)
        export_dit(dit_path, self.dit, self.dit_config)
        adapter_path.parent.mkdir(parents=True, exist_ok=True)
        save_adapter(adapter_path, self.adapter)
        self.model.load_state_dict(trained)


def train(training: Training) -> None:
    """Run to the end of the schedule, saving every 100 steps."""
    clock, average = time.time(), None
    while training.step < len(training.schedule):
        loss = training.train_step()
        if not math.isfinite(loss):
            raise FloatingPointError(f"loss is {loss} at step {training.step}; the last good state is {training.checkpoint}")
        average = loss if average is None else 0.98 * average + 0.02 * loss
        if training.step % 20 == 0:
            total = len(training.schedule)
            print(f"step {training.step}/{total} loss {average:.4f} {time.time() - clock:.0f} s", flush=True)
        if training.step % 100 == 0 or training.step == len(training.schedule):
            training.save()


def main() -> None:
    from ..checkpoints import presets

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, required=True, help="folder of prepared clips")
    parser.add_argument("--run", type=Path, required=True, help="folder for the state")
    parser.add_argument("--config", type=Path, help="JSON with fields of DiTTrainingConfig")
    parser.add_argument("--export", action="store_true", help="write the run's averaged weights into the presets and stop")
    arguments = parser.parse_args()
    backbone.use_comfyui()
    torch.set_flush_denormal(True)
    fields = json.loads(arguments.config.read_text()) if arguments.config else {}
    config = DiTTrainingConfig(**fields)
    training = Training(config, PreparedClips(arguments.clips), arguments.run)
    if not arguments.export:
        print(asdict(config), flush=True)
        train(training)
    training.export(presets.TINY_DIT, presets.TINY_ADAPTER)


if __name__ == "__main__":
    main()
