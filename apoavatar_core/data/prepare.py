"""Compute once per clip what every training step needs: latents, audio windows, rendered pose, gate, text.

Everything passes through the code that inference uses, so that a model meets in training what it meets later.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..checkpoints.safe_file import write_tensors
from ..conditioning.clip import refuse_parts_of_tokens
from ..conditioning.pose import grouped_frames
from ..pose import canvas_size, from_frame, in_middle_of, render_pose
from ..refocusing import RefocusingConfig
from ..shares import share_of
from ..speaking_prompt import SPEAKING_PROMPT, append_tokens
from .clips import ClipFormat, StoredClip
from .encoders import Encoders
from .mouth import mouth_cells
from .settings import Settings, prepared_files, read_settings
from .sources import Source


def settings_for(format: ClipFormat, encoders: Encoders) -> Settings:
    """What clips of this format and these encoders are prepared with; the gate has the paper's constants."""
    return Settings(
        **asdict(format), audio_encoder=encoders.audio_kind, **encoders.files, **asdict(RefocusingConfig())
    )


def prepare_clip(
    stored: StoredClip, latents: Tensor, reference: Tensor, encoders: Encoders, settings: Settings
) -> dict[str, Tensor]:
    """All tensors of one clip; latents [C, T_lat, h, w] are in the VAE's own scale."""
    frames, height, width = stored.frames.shape[:3]
    people = [
        in_middle_of(from_frame(frame), canvas_size(frame) or (width, height), width, height) for frame in stored.keypoints
    ]
    rendered = torch.from_numpy(render_pose(people, width, height))
    text = encoders.prompt(stored.caption)
    portrait = encoders.portrait(stored.frames[0])
    dropout = stored.voice.dropout(stored.first, frames, settings.fps, settings.refocusing)
    return {
        "latents": latents.half(),
        "reference": reference.half(),
        "audio": encoders.voice(stored.voice, stored.first, frames, settings.fps).half(),
        "pose": grouped_frames(rendered),
        "mouth": mouth_cells(people, *latents.shape[2:]),
        "posed": torch.tensor(any(person.points[:, 2].any() for person in people)),
        "dropout": torch.from_numpy(dropout).float(),
        "text": text.half(),
        "null_text": encoders.prompt("").half(),
        "speaking_text": append_tokens(text[None], encoders.prompt(SPEAKING_PROMPT)[None])[0].half(),
    } | ({} if portrait is None else {"portrait": portrait.half()})


@torch.no_grad()  # a VAE's activations of four films fill gigabytes
def prepare(
    source: Source,
    out: Path,
    encoders: Encoders,
    share: tuple[int, int] = (0, 1),
    batch: int = 4,
) -> None:
    """Prepare the source's clips, of several processes only this one's share; those already there are kept, and those
    that cannot be read are named, skipped and counted.

    Raises:
        ValueError: other settings made those already there, or the clips' size does not fill the VAE's tokens.
    """
    refuse_parts_of_tokens(source.format.width, source.format.height, encoders.vae.spacial_compression_encode())
    settings = settings_for(source.format, encoders)
    refuse_other_settings(out, settings)
    out.mkdir(parents=True, exist_ok=True)
    names = share_of(source.names(), share)
    # Groups stay as they are when half of one is there: the bits of a latent depend on how many are encoded at once.
    groups = [names[start : start + batch] for start in range(0, len(names), batch)]
    missing = [group for group in groups if not all((out / f"{name}.safetensors").exists() for name in group)]
    skipped: list[str] = []

    @contextmanager
    def skipping(name: str) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            skipped.append(name)
            print(f"skipped {name}: {error}", flush=True)

    for done, wanted in enumerate(missing, 1):
        group = {}
        for name in wanted:
            with skipping(name):
                group[name] = source.load(name)
        if group:
            frames = np.stack([stored.frames for stored in group.values()])
            latents = encoders.videos(frames)
            references = encoders.references(frames[:, 0], frames.shape[1])
            for (name, stored), *parts in zip(group.items(), latents, references):
                path = out / f"{name}.safetensors"
                if path.exists():
                    continue
                with skipping(name):
                    write_tensors(path, prepare_clip(stored, *parts, encoders, settings), settings.metadata())
        print(f"prepared {sum(map(len, missing[:done]))}/{sum(map(len, missing))} clips", flush=True)
    if skipped:
        print(f"{len(skipped)} of {sum(map(len, missing))} clips were skipped", flush=True)


def refuse_other_settings(folder: Path, settings: Settings) -> None:
    """Refuse a folder whose clips were prepared with other settings.

    Raises:
        ValueError: with the first setting that differs.
    """
    for path in prepared_files(folder):
        difference = read_settings(path)[0].difference(settings)
        if difference:
            raise ValueError(f"--out: {folder} holds clips with {difference}: prepare these into another folder")
