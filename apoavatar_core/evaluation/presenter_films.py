"""The shipped tiny model behind the nodes of a workflow, run in this process by a real ComfyUI."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..checkpoints.presets import PRESETS, TINY_ADAPTER, TINY_DIT, TINY_T5, TINY_VAE
from ..comfyui.host import nodes_with_pack
from ..synthetic import Clip
from .gate_bands import borrowed_pose, gate_of_clip
from .styles import STYLES, styled

POSE_FREE, HARD, SILENCE, REFOCUSED = ("pose_free", "hard", "silence", "refocused")
"""The voice alone; the voice and the clip's own pose as it is (A.1); no sound and no pose; the voice and another speaker's pose
under the gate.
"""
TEXT_SCALES = {"text_1": 1.0, "text_2": 2.0, "text_4": 4.0}
"""The voice and the text without a portrait, by how much the text weighs."""
TEXTS = tuple(TEXT_SCALES)
MODES = (POSE_FREE, HARD, SILENCE, REFOCUSED, *TEXTS, *STYLES)
"""All films of a clip; those of STYLES are of its portrait in another style and of the voice alone."""
RECONSTRUCTION = "reconstruction"
"""The clip's own pictures, through the VAE and back: the best that a model can show."""


@dataclass(frozen=True)
class SamplingSettings:
    """What the shipped workflow sets."""

    text_scale: float = 1.0
    image_scale: float = 1.0
    audio_scale: float = 2.0
    pose_scale: float = 1.0
    shift: float = 3.0
    steps: int = 12
    sampler_name: str = "euler"
    scheduler: str = "simple"


class TinyGenerator:
    """Films of the tiny preset, made by calling the nodes one after the other as the shipped workflow does.

    trained: a diffusion model and an adapter that take the place of the preset's. presets: a folder whose files take the place
    of the pack's, as in `files_in`.
    """

    def __init__(
        self,
        settings: SamplingSettings = SamplingSettings(),
        trained: tuple[Path, Path] | None = None,
        presets: Path | None = None,
    ):
        self.settings = settings
        self.nodes = nodes_with_pack()
        loaded = self.node("ApoAvatarLoadModels").execute({"preset": "tiny"})
        self.model, self.clip, self.vae, self.audio_encoder = loaded.result
        if presets:
            self.model, self.clip, self.vae = load_preset(presets)
        if trained:
            self.model = load_model(*trained)

    @torch.inference_mode()
    def __call__(self, clip: Clip, seed: int) -> dict[str, np.ndarray]:
        """Films of the clip's presenter and voice.

        Args:
            clip: its first frame is the reference, its caption the prompt, its keypoints the pose of HARD.
            seed: of the noise, and of the pose of REFOCUSED.

        Returns:
            For each of MODES and for RECONSTRUCTION uint8 [T, H, W, 3], as many frames and as large as the clip's.
        """
        latents = {mode: self.sample(clip, mode, seed) for mode in MODES}
        (encoded,) = self.node("VAEEncode")().encode(self.vae, image_of(clip.frames))
        latents[RECONSTRUCTION] = encoded["samples"]
        return dict(zip(latents, self.decode(list(latents.values()))))

    @torch.inference_mode()
    def decode(self, latents: list[torch.Tensor]) -> np.ndarray:
        """Latents [1, 16, T_lat, h, w] → films uint8 [N, T, H, W, 3]."""
        films = []
        for latent in latents:
            (pictures,) = self.node("VAEDecode")().decode(self.vae, {"samples": latent})
            films.append(pictures[..., :3].mul(255).round().clamp(0, 255).byte().cpu().numpy())
        return np.stack(films)

    @torch.inference_mode()
    def sample(self, clip: Clip, mode: str, seed: int) -> torch.Tensor:
        """Latent [1, 16, T_lat, h, w] of one film, of one of MODES."""
        frames, height, width = clip.frames.shape[:3]
        speech = torch.from_numpy(clip.speech)[None, None].float()
        features = self.audio_encoder.encode_audio(
            torch.zeros_like(speech) if mode == SILENCE else speech, clip.sample_rate
        )
        conditioned = self.node("ApoAvatarConditioning").execute(
            positive=self.text(clip.caption),
            negative=self.text(""),
            vae=self.vae,
            audio_features=features,
            width=width,
            height=height,
            length=frames,
            fps=clip.fps,
            pose_mode=pose_mode_of(clip, mode, seed),
            continue_from={"continue_from": "nothing"},
            reference_image=portrait_of(clip, mode),
            clip=self.clip,
        )
        positive, negative, latent, *_ = conditioned.result
        settings = self.settings
        (samples,) = (
            self.node("ApoAvatarSampler")
            .execute(
                self.model,
                positive,
                negative,
                TEXT_SCALES.get(mode, settings.text_scale),
                settings.image_scale,
                settings.audio_scale,
                settings.pose_scale,
                latent,
                seed,
                settings.steps,
                settings.shift,
                settings.sampler_name,
                settings.scheduler,
            )
            .result
        )
        return samples["samples"]

    def node(self, node_id: str) -> type:
        return self.nodes.NODE_CLASS_MAPPINGS[node_id]

    def text(self, text: str) -> list:
        return self.node("CLIPTextEncode")().encode(self.clip, text)[0]


def pose_mode_of(clip: Clip, mode: str, seed: int) -> dict:
    """What ApoAvatar Conditioning is given as its pose_mode."""
    if mode == HARD:
        return {"pose_mode": "hard", "pose": clip.keypoints}
    if mode == REFOCUSED:
        return {"pose_mode": "refocused", "pose": borrowed_pose(clip, seed), "gate": gate_of_clip(clip)}
    return {"pose_mode": "pose_free"}


def portrait_of(clip: Clip, mode: str) -> torch.Tensor | None:
    """IMAGE [1, H, W, 3] that a film begins with; None where there is only text."""
    if mode in TEXTS:
        return None
    return image_of(styled(clip, mode, 0)[None] if mode in STYLES else clip.frames[:1])


def files_in(presets: Path) -> dict[str, Path]:
    """The DiT, the adapter, the text encoder and the VAE in a folder that is ordered and named as the pack's own presets are.

    Raises:
        ValueError: one is missing.
    """
    kinds = {"dit": TINY_DIT, "adapter": TINY_ADAPTER, "text_encoder": TINY_T5, "vae": TINY_VAE}
    found = {kind: presets / path.relative_to(PRESETS) for kind, path in kinds.items()}
    for path in found.values():
        if not path.is_file():
            raise ValueError(f"{path} is not there: give a folder with the files of a whole preset, named as the pack's are.")
    return found


def load_preset(presets: Path) -> tuple:
    """MODEL with its adapter, CLIP and VAE of such a folder."""
    from ..comfyui import loading

    files = files_in(presets)
    model = load_model(files["dit"], files["adapter"])
    return model, loading.load_text_encoder(files["text_encoder"]), loading.load_vae(files["vae"])


def load_model(dit: Path, adapter: Path):
    """MODEL of a diffusion model's file with an adapter on it."""
    from ..comfyui import loading

    return loading.apply_adapter(loading.load_diffusion_model(dit), adapter)


def image_of(frames: np.ndarray) -> torch.Tensor:
    """uint8 [T, H, W, 3] as ComfyUI's IMAGE."""
    return torch.from_numpy(frames.astype(np.float32) / 255)
