"""What one training step learns from. Everything random about an example follows from the seed and its position in the
run, so that a resumed run, and one on more processes, sees the same.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from ..adapters.pose_adapter import group_by_latent_frame
from ..data.prepared import PreparedClips
from ..flow_matching import sample_sigma
from .config import Conditions
from .pose_schemes import PoseScheme, draw_pose_mask

MODALITIES = ("text", "image", "audio", "pose")
SPEAKING_SHARE = 0.5
"""Share of the captions that carry the speaking prompt (§4.1); both kinds are met at inference."""


@dataclass(frozen=True)
class Batch:
    """Conditions, noise and target of one step, nulls already in place.

    data, noise: [B, 16, T_lat, h, w]; sigma: [B]; concat: mask and reference [B, 20, T_lat, h, w]; text: [B, L, d];
    audio: [B, 8, T_lat, D]; pose: [B, 12, T_lat, H, W] in 0 … 1; pose_gate: [B, 4, T_lat]; mouth: 1 where the mouth is
    [B, T_lat, h, w]; portrait: the CLIP vision embedding [B, 257, 1280], where the clips have one. A single example has
    no dimension B.
    """

    data: Tensor
    noise: Tensor
    sigma: Tensor
    concat: Tensor
    text: Tensor
    audio: Tensor
    pose: Tensor
    pose_gate: Tensor
    mouth: Tensor
    portrait: Tensor | None = None

    @classmethod
    def stack(cls, examples: list[Batch]) -> Batch:
        return cls(**{name: torch.stack([getattr(example, name) for example in examples]) for name in examples[0].present})

    def to(self, device: torch.device) -> Batch:
        return Batch(**{name: getattr(self, name).to(device) for name in self.present})

    @property
    def present(self) -> list[str]:
        """Names of what is there."""
        return [item.name for item in fields(self) if getattr(self, item.name) is not None]


class ExampleSource:
    """Examples by position: position k of a run is the same clip with the same nulls, mask and noise every time."""

    def __init__(self, clips: PreparedClips, conditions: Conditions, shift: float, seed: int):
        self.clips, self.conditions, self.shift, self.seed = clips, conditions, shift, seed

    def clip_at(self, position: int, latent_frames: int) -> int:
        """Index of the clip: every clip that is long enough once per epoch, each epoch in another order."""
        indices = self.clips.of_length(latent_frames)
        epoch, place = divmod(position, len(indices))
        return int(np.random.default_rng((self.seed, 0, epoch)).permutation(indices)[place])

    def example(self, position: int, latent_frames: int) -> Batch:
        """The example at a position of the run."""
        clip = self.clips.clip(self.clip_at(position, latent_frames), latent_frames)
        rng = np.random.default_rng((self.seed, 1, position))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        conditions = self.conditions
        keep = {name: float(rng.random() >= getattr(conditions, f"{name}_dropout")) for name in MODALITIES}
        text = clip["speaking_text" if rng.random() < SPEAKING_SHARE else "text"]
        whole = rng.random() < conditions.whole_pose and conditions.pose_scheme is not PoseScheme.NONE
        scheme = PoseScheme.CLIP if whole else conditions.pose_scheme
        gate = draw_pose_mask(scheme, clip["dropout"], generator)
        mask = torch.zeros(4, *clip["latents"].shape[1:])
        mask[:, 0] = 1
        return Batch(
            data=clip["latents"],
            noise=torch.randn(clip["latents"].shape, generator=generator),
            sigma=sample_sigma(1, self.shift, generator)[0],
            concat=torch.cat([mask, clip["reference"]]) * keep["image"],
            text=text * keep["text"],
            audio=clip["audio"] * keep["audio"],
            pose=clip["pose"],
            # Eq. 8 never shows a pose without its audio.
            pose_gate=group_by_latent_frame(gate[None])[0].T * keep["pose"] * keep["audio"] * clip["posed"],
            mouth=clip["mouth"],
            portrait=clip["portrait"] * keep["image"] if "portrait" in clip else None,
        )

    def batch(self, positions: range, latent_frames: int) -> Batch:
        return Batch.stack([self.example(position, latent_frames) for position in positions])

    def names(self, positions: range, latent_frames: int) -> list[str]:
        """File names of the clips at these positions, for messages."""
        return [self.clips.paths[self.clip_at(position, latent_frames)].name for position in positions]
