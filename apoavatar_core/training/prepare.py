"""Compute once per clip what every training step needs: latents, audio windows, rendered pose, gate, text.

Everything passes through the code that inference uses, so that a model meets in training what it meets later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn

from ..adapters.pose_adapter import group_by_latent_frame
from ..audio_features import LogMelEncoder, features_at_video_rate, latent_frame_windows
from ..checkpoints.safe_file import write_tensors
from ..pose.keypoints import LIPS, VISIBLE, PersonKeypoints, from_frame
from ..pose.render import render_pose
from ..refocusing import RefocusingConfig, refocus
from ..speaking_prompt import SPEAKING_PROMPT, append_tokens
from ..waveform import SAMPLE_RATE
from . import backbone
from .clips import ClipBank, StoredClip
from .video_folder import VideoFolder

FPS = 24.0
OPEN_TAIL = 9
"""Frames of grey that bring the VAE to its steady state; behind them the latent repeats."""


def pixels(clips: np.ndarray) -> Tensor:
    """uint8 [B, T, H, W, 3] → float [B, 3, T, H, W] in [−1, 1]."""
    return (torch.from_numpy(clips).permute(0, 4, 1, 2, 3).float() / 127.5 - 1).contiguous()


@torch.no_grad()
def encode_videos(vae: nn.Module, clips: np.ndarray) -> Tensor:
    """Latents [B, 16, T_lat, h, w] of the VAE itself (before Wan's normalisation).

    Give it more than one clip: a batch of one takes PyTorch's slow 3-D convolution on CPUs, ten times as long.
    """
    with backbone.autocast():
        return vae.encode(pixels(clips)).float()


def encode_references(vae: nn.Module, frames: np.ndarray, latent_length: int) -> Tensor:
    """Latents of clips whose first frames [B, H, W, 3] are given and whose others are grey, as the conditioning node
    makes them.
    """
    clips = np.full((len(frames), OPEN_TAIL, *frames.shape[1:]), 127.5, np.float32)
    clips[:, 0] = frames
    latents = encode_videos(vae, clips)
    tail = latents[:, :, -1:].expand(-1, -1, latent_length - latents.shape[2], -1, -1)
    return torch.cat([latents, tail], dim=2)


def audio_windows(speech: np.ndarray, frames: int) -> Tensor:
    """Features [8, T_lat, D] around each latent frame."""
    encoded = LogMelEncoder().encode_audio(torch.from_numpy(speech)[None, None], SAMPLE_RATE)
    return latent_frame_windows(features_at_video_rate(encoded, frames, FPS))


def encode_text(clip, text: str) -> Tensor:
    """Embedding [L, d] of a prompt through a native CLIP."""
    (embedding, _), *_ = clip.encode_from_tokens_scheduled(clip.tokenize(text))
    return embedding[0]


def mouth_cells(people: Sequence[PersonKeypoints], height: int, width: int) -> Tensor:
    """Which latent cells hold a piece of the mouth: bool [T_lat, h, w] for T = 4n+1 people; none where it is unseen."""
    lips = torch.from_numpy(np.stack([person.face[LIPS] for person in people]))
    seen = lips[..., 2].amin(-1) >= VISIBLE
    low, high = lips[..., :2].amin(1), lips[..., :2].amax(1)
    y, x = torch.arange(height) / height, torch.arange(width) / width
    rows = (y < high[:, 1:]) & (y + 1 / height > low[:, 1:])
    columns = (x < high[:, :1]) & (x + 1 / width > low[:, :1])
    cells = rows[:, :, None] & columns[:, None, :] & seen[:, None, None]
    return group_by_latent_frame(cells[None])[0].any(1)


def prepare_clip(stored: StoredClip, latents: Tensor, reference: Tensor, clip) -> dict[str, Tensor]:
    """All tensors of one clip; latents [16, T_lat, h, w] are in the VAE's own scale."""
    frames, height, width = stored.frames.shape[:3]
    people = [from_frame(frame) for frame in stored.keypoints]
    rendered = torch.from_numpy(render_pose(people, width, height))
    text = encode_text(clip, stored.caption)
    gate = refocus(stored.speech, SAMPLE_RATE, frames, FPS, RefocusingConfig())
    return {
        "latents": latents.half(),
        "reference": reference.half(),
        "audio": audio_windows(stored.speech, frames).half(),
        "pose": rearrange(group_by_latent_frame(rendered[None])[0], "t f h w c -> (f c) t h w").contiguous(),
        "mouth": mouth_cells(people, *latents.shape[2:]),
        "posed": torch.tensor(any(person.points[:, 2].any() for person in people)),
        "dropout": torch.from_numpy(gate.dropout).float(),
        "text": text.half(),
        "speaking_text": append_tokens(text[None], encode_text(clip, SPEAKING_PROMPT)[None])[0].half(),
    }


def prepare(
    source: ClipBank | VideoFolder, out: Path, vae: nn.Module, clip, share: tuple[int, int], batch: int = 4
) -> None:
    """Prepare the source's clips number `share[0]`, + share[1], …; those already there are kept, and those that cannot
    be read are named, skipped and counted.
    """
    out.mkdir(parents=True, exist_ok=True)
    names = source.names()[share[0] :: share[1]]
    missing = [name for name in names if not (out / f"{name}.safetensors").exists()]
    skipped: list[str] = []

    @contextmanager
    def skipping(name: str) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            skipped.append(name)
            print(f"skipped {name}: {error}", flush=True)

    for start in range(0, len(missing), batch):
        group = {}
        for name in missing[start : start + batch]:
            with skipping(name):
                group[name] = source.load(name)
        if group:
            frames = np.stack([stored.frames for stored in group.values()])
            latents = encode_videos(vae, frames)
            references = encode_references(vae, frames[:, 0], latents.shape[2])
            for (name, stored), *parts in zip(group.items(), latents, references):
                with skipping(name):
                    write_tensors(out / f"{name}.safetensors", prepare_clip(stored, *parts, clip), {})
        print(f"prepared {min(start + batch, len(missing))}/{len(missing)} clips", flush=True)
    if skipped:
        print(f"{len(skipped)} of {len(missing)} clips were skipped", flush=True)


def prepare_with_tiny_preset(source: ClipBank | VideoFolder, out: Path, share: tuple[int, int]) -> None:
    """Prepare clips with the tiny preset's VAE and T5."""
    from ..checkpoints import presets
    from ..checkpoints.safe_file import json_field, read_metadata, read_tensors

    config = json_field(read_metadata(presets.TINY_T5), "config", presets.TINY_T5)
    clip = backbone.binding().text_encoder(read_tensors(presets.TINY_T5), config)
    prepare(source, out, backbone.load_vae(presets.TINY_VAE), clip, share)
