"""The shipped tiny model behind the nodes of a workflow, run in this process by a real ComfyUI."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..comfyui.host import nodes_with_pack
from ..synthetic import Clip

POSE_FREE, HARD, SILENCE = MODES = ("pose_free", "hard", "silence")
"""The voice alone; the voice and the clip's own pose as it is (A.1); no sound and no pose."""
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

    run: the folder of a training run, whose diffusion model and adapter take the place of the preset's. files: MODEL, CLIP
    and VAE that take the preset's place.
    """

    def __init__(
        self, settings: SamplingSettings = SamplingSettings(), run: Path | None = None, files: tuple | None = None
    ):
        self.settings = settings
        self.nodes = nodes_with_pack()
        loaded = self.node("ApoAvatarLoadModels").execute({"preset": "tiny"})
        self.model, self.clip, self.vae, self.audio_encoder = loaded.result
        if files:
            self.model, self.clip, self.vae = files
        if run:
            self.model = model_of(run)

    @torch.inference_mode()
    def __call__(self, clip: Clip, seed: int) -> dict[str, np.ndarray]:
        """Films of the clip's presenter and voice.

        Args:
            clip: its first frame is the reference, its caption the prompt, its keypoints the pose of HARD.
            seed: of the noise.

        Returns:
            For each of MODES and for RECONSTRUCTION uint8 [T, H, W, 3], as many frames and as large as the clip's.
        """
        latents = {mode: self.sample(clip, mode, seed) for mode in MODES}
        (encoded,) = self.node("VAEEncode")().encode(self.vae, image_of(clip.frames))
        latents[RECONSTRUCTION] = encoded["samples"]
        return dict(zip(latents, self.decode(list(latents.values()))))

    @torch.inference_mode()
    def decode(self, latents: list[torch.Tensor]) -> np.ndarray:
        """Latents [1, 16, T_lat, h, w] → films uint8 [N, T, H, W, 3].

        In one batch: a single clip takes PyTorch's slow 3-D convolution on CPUs.
        """
        (pictures,) = self.node("VAEDecode")().decode(self.vae, {"samples": torch.cat(latents)})
        films = pictures[..., :3].mul(255).round().clamp(0, 255).byte().cpu().numpy()
        return films.reshape(len(latents), -1, *films.shape[1:])

    @torch.inference_mode()
    def sample(self, clip: Clip, mode: str, seed: int) -> torch.Tensor:
        """Latent [1, 16, T_lat, h, w] of one film."""
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
            pose_mode={"pose_mode": "hard", "pose": clip.keypoints} if mode == HARD else {"pose_mode": "pose_free"},
            continue_from={"continue_from": "nothing"},
            reference_image=image_of(clip.frames[:1]),
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
                settings.text_scale,
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


def model_of(run: Path):
    """MODEL with the diffusion model and the adapter that a training run wrote into its folder."""
    from ..comfyui import loading

    return loading.apply_adapter(
        loading.load_diffusion_model(run / "diffusion_model.safetensors"), run / "adapter.safetensors"
    )


def image_of(frames: np.ndarray) -> torch.Tensor:
    """uint8 [T, H, W, 3] as ComfyUI's IMAGE."""
    return torch.from_numpy(frames.astype(np.float32) / 255)
