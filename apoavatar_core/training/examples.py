"""What one training step learns from. Everything random about an example follows from the seed and its position in the
run, so that a resumed run, and one on more processes, sees the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..adapters.pose_adapter import group_by_latent_frame
from ..comfyui.conditions import AUDIO, POSE, POSE_GATE, REFERENCE_LATENT, with_nulls
from ..comfyui.wan import begins_with_portrait, with_leading
from ..data.prepared import PreparedClips
from ..flow_matching import sample_sigma
from ..grid import MASK_CHANNELS
from .config import Conditions
from .draws import Purpose, random_numbers, random_tensors
from .pose_schemes import draw_pose_gate
from .states import draw_leading, draw_state


@dataclass(frozen=True)
class Batch:
    """Conditions, noise and target of one step, nulls already in place.

    data, noise: [B, C, T_lat, h, w]; sigma: [B]; mouth: 1 where the mouth is [B, T_lat, h, w]. conditions: of the
    model's forward call, by the names of its keyword arguments: context [B, L, d]; c_concat, mask and reference
    [B, 4 + C, T_lat, h, w]; reference_latent, the portrait alone [B, C, h, w]; clip_fea, the CLIP vision embedding of the
    portrait [B, 257, 1280], where the clips have one; and the adapter's own, as `comfyui.conditions` names them. A single
    example has no dimension B.
    """

    data: Tensor
    noise: Tensor
    sigma: Tensor
    mouth: Tensor
    conditions: dict[str, Tensor]

    @classmethod
    def stack(cls, examples: list[Batch]) -> Batch:
        conditions = [example.conditions for example in examples]
        return cls(
            *(torch.stack([getattr(example, name) for example in examples]) for name in ("data", "noise", "sigma", "mouth")),
            # Texts that are longer than an encoder's shortest prompt differ in length; zeros are what pads the shorter ones.
            conditions={
                name: pad_sequence([each[name] for each in conditions], batch_first=True)
                if name == "context"
                else torch.stack([each[name] for each in conditions])
                for name in conditions[0]
            },
        )

    def to(self, device: torch.device) -> Batch:
        data, noise, sigma, mouth, *conditions = (tensor.to(device) for tensor in self.tensors())
        return Batch(data, noise, sigma, mouth, dict(zip(self.conditions, conditions, strict=True)))

    def tensors(self) -> Iterator[Tensor]:
        """All of them."""
        yield from (self.data, self.noise, self.sigma, self.mouth, *self.conditions.values())


class ExampleSource:
    """Examples by position: position k of a run is the same clip with the same state, gate and noise every time."""

    def __init__(self, clips: PreparedClips, conditions: Conditions, shift: float, seed: int):
        self.clips, self.conditions, self.shift, self.seed = clips, conditions, shift, seed
        # One epoch's order is drawn once; a batch may lie in two epochs.
        self._order = lru_cache(maxsize=2)(self._draw_order)
        self._of_length = lru_cache(maxsize=1)(clips.of_length)

    def clip_at(self, position: int, latent_frames: int) -> int:
        """Index of the clip: every clip that is long enough once per epoch, each epoch in another order."""
        epoch, place = divmod(position, len(self._of_length(latent_frames)))
        return int(self._order(epoch, latent_frames)[place])

    def _draw_order(self, epoch: int, latent_frames: int) -> np.ndarray:
        return random_numbers(self.seed, Purpose.ORDER, epoch).permutation(self._of_length(latent_frames))

    def state_at(self, position: int) -> frozenset[str]:
        """The modalities that the example keeps. A portrait that is the clip's first latent stays in every state, as a latent
        that is held does at inference; `leading_at` says whether there is one.
        """
        kept = draw_state(self.conditions.states, random_numbers(self.seed, Purpose.STATE, position))
        return kept | {"image"} if begins_with_portrait(self.clips.channels) else kept

    def leading_at(self, position: int) -> int:
        """How many of the example's first latents are given."""
        shares = self.conditions.leading
        return 1 if shares is None else draw_leading(shares, random_numbers(self.seed, Purpose.LEADING, position))

    def start_at(self, position: int, latent_frames: int) -> int:
        """The latent frame of its clip with which the example begins: the first where the portrait's own is given, else any.
        Latents of earlier frames are thus those of the film itself, and only seldom the portrait's.
        """
        if self.leading_at(position) == 1:
            return 0
        last = int(self.clips.lengths[self.clip_at(position, latent_frames)]) - latent_frames
        return int(random_numbers(self.seed, Purpose.START, position).integers(last + 1))

    def example(self, position: int, latent_frames: int) -> Batch:
        """The example at a position of the run."""
        clip = self.clips.clip(self.clip_at(position, latent_frames), latent_frames, self.start_at(position, latent_frames))
        noise, sigma = (random_tensors(self.seed, purpose, position) for purpose in (Purpose.NOISE, Purpose.SIGMA))
        return Batch(
            data=clip["latents"],
            noise=torch.randn(clip["latents"].shape, generator=noise),
            sigma=sample_sigma(1, self.shift, sigma)[0],
            mouth=clip["mouth"],
            conditions=self.conditions_at(position, clip),
        )

    def conditions_at(self, position: int, clip: dict[str, Tensor]) -> dict[str, Tensor]:
        """The conditions of a position's clip in the state that is drawn for it."""
        kept, leading = self.state_at(position), self.leading_at(position)
        conditions = {
            "context": self.caption_at(position, clip) if "text" in kept else clip["null_text"],
            "c_concat": image_condition(clip["reference"], given=leading > 0),
            REFERENCE_LATENT: clip["reference"][:, 0],
            AUDIO: clip["audio"],
            POSE: clip["pose"],
            POSE_GATE: self.gate_at(position, clip),
        }
        if "portrait" in clip:
            conditions["clip_fea"] = clip["portrait"]
        conditions = with_nulls(conditions, kept)
        if leading > 1:  # in every state, as where a clip goes on
            conditions["c_concat"] = with_leading(conditions["c_concat"], clip["latents"][:, :leading])
        return conditions

    def caption_at(self, position: int, clip: dict[str, Tensor]) -> Tensor:
        """The clip's caption [L, d], with the speaking prompt or without."""
        speaking = random_numbers(self.seed, Purpose.CAPTION, position).random() < self.conditions.speaking
        return clip["speaking_text" if speaking else "text"]

    def gate_at(self, position: int, clip: dict[str, Tensor]) -> Tensor:
        """The weight of each pose frame, [4, T_lat] in 0 … 1; 0 where the clip's pose is not known."""
        settings, rng = self.conditions, random_numbers(self.seed, Purpose.POSE_GATE, position)
        gate = draw_pose_gate(settings.pose_scheme, clip["dropout"], settings.whole_pose, settings.soft_gate, rng)
        return group_by_latent_frame(gate[None])[0].T * clip["posed"]

    def batch(self, positions: range, latent_frames: int) -> Batch:
        return Batch.stack([self.example(position, latent_frames) for position in positions])

    def names(self, positions: range, latent_frames: int) -> list[str]:
        """File names of the clips at these positions, for messages."""
        return [self.clips.paths[self.clip_at(position, latent_frames)].name for position in positions]


def image_condition(reference: Tensor, given: bool) -> Tensor:
    """[4 + C, T_lat, h, w] from the latents of a film that shows the portrait and then grey [C, T_lat, h, w]: its first frame is
    given, or grey too, as in the context windows from the middle of a clip.
    """
    mask = torch.zeros(MASK_CHANNELS, *reference.shape[1:])
    if given:
        mask[:, 0] = 1
    else:
        reference = torch.cat([reference[:, 1:2], reference[:, 1:]], dim=1)
    return torch.cat([mask, reference])
