"""What made a prepared clip. Every file says it, and all files of a folder say the same."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ..refocusing import RefocusingConfig

KEY = "prepared"
"""Of the metadata."""
VERSION = 5
"""Grows when the meaning of a tensor changes."""


@dataclass(frozen=True)
class Settings:
    """Everything that prepared clips depend on beside the films.

    Attributes:
        width, height, frames, fps: of each clip.
        audio_encoder: what adapters call the kind of encoder that heard the voices.
        vae, text_encoder, audio_file, clip_vision: what `identity` says of the encoders' files; "none" where there is none.
        alpha, beta, tau, q_low, q_high: constants of the gate (`RefocusingConfig`).
    """

    width: int
    height: int
    frames: int
    fps: float
    audio_encoder: str
    vae: str
    text_encoder: str
    audio_file: str
    clip_vision: str
    alpha: float
    beta: float
    tau: float
    q_low: float
    q_high: float
    version: int = VERSION

    @property
    def refocusing(self) -> RefocusingConfig:
        return RefocusingConfig(self.alpha, self.beta, self.tau, self.q_low, self.q_high)

    def metadata(self) -> dict[str, str]:
        return {KEY: json.dumps(asdict(self))}

    def difference(self, other: Settings) -> str:
        """The first setting that differs with its values here and there; empty when none does."""
        ours, theirs = asdict(self), asdict(other)
        return next((f"{name} {ours[name]}, not {theirs[name]}" for name in ours if ours[name] != theirs[name]), "")


def identity(path: Path) -> str:
    """What tells a file from all others, whatever it is called."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return f"sha256:{digest.hexdigest()[:16]}"


def prepared_files(folder: Path) -> list[Path]:
    """The prepared clips of a folder, without those that are just being written, in the order of their names."""
    return sorted(folder.glob("[!.]*.safetensors"))


def read_settings(path: Path) -> tuple[Settings, tuple[int, int, int, int]]:
    """What made a prepared clip, and the shape of its latents [C, T_lat, h, w].

    Raises:
        ValueError: the file is broken, or another version wrote it.
    """
    try:
        with safe_open(str(path), "pt") as file:
            written, shape = file.metadata() or {}, tuple(file.get_slice("latents").get_shape())
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} cannot be read ({error}); delete it and run `prepare` again") from None
    try:
        settings = Settings(**json.loads(written[KEY]))
    except (KeyError, TypeError, ValueError):
        settings = None
    if settings is None or settings.version != VERSION:
        raise ValueError(f"another version wrote {path}: run `prepare` again, into another folder")
    return settings, shape
