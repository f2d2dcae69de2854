"""What is compared: the rows of Tables 4 and 5, and controls whose gate is not the voice's own."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from ..adapters.interaction import InteractionScheme
from ..training.pose_schemes import PoseScheme


class GateControl(str, Enum):
    """What becomes of Eq. 4's p before the pose is dropped with it: nothing, or its frames in another order, 1 − p, or the p of
    another voice.
    """

    OWN = "own"
    SHUFFLED = "shuffled"
    INVERTED = "inverted"
    ANOTHER = "another"


@dataclass(frozen=True)
class Variant:
    """One way to train: how the pose is dropped, by which gate, how audio and video meet, and whether FWCA's keys know places."""

    key: str
    title: str
    pose: PoseScheme = PoseScheme.REFOCUSING
    gate: GateControl = GateControl.OWN
    interaction: InteractionScheme = InteractionScheme.BOTH
    places: bool = True


REFOCUSING = Variant("refocusing", "+ refocusing")
NONE = Variant("none", "Baseline (train without pose)", pose=PoseScheme.NONE)
CLIP = Variant("clip", "+ pose dropout", pose=PoseScheme.CLIP)
TEMPORAL = Variant("temporal", "+ temporal pose dropout", pose=PoseScheme.TEMPORAL)
TABLE_4 = (NONE, CLIP, TEMPORAL, REFOCUSING)

SHUFFLED = Variant("shuffled", "refocusing, gate shuffled in time", gate=GateControl.SHUFFLED)
INVERTED = Variant("inverted", "refocusing, gate inverted", gate=GateControl.INVERTED)
ANOTHER = Variant("another", "refocusing, another voice's gate", gate=GateControl.ANOTHER)
CONTROLS = (SHUFFLED, INVERTED, ANOTHER)

CLIP_WISE = Variant("clip_wise", "Baseline (train with pose)", interaction=InteractionScheme.CLIP_WISE)
FRAME_WISE = Variant("frame_wise", "+ frame-wise", interaction=InteractionScheme.FRAME_WISE)
AUDIO_DIT = Variant("audio_dit", "+ audio-video interaction", interaction=InteractionScheme.AUDIO_DIT)
BOTH = Variant("refocusing", "frame-wise audio-video interaction")
NO_PLACES = Variant("no_places", "frame-wise audio-video interaction, keys without places", places=False)
TABLE_5 = (CLIP_WISE, FRAME_WISE, AUDIO_DIT, NO_PLACES, BOTH)
"""The last is Table 4's last."""

ALL = tuple({variant.key: variant for variant in (*TABLE_4, *CONTROLS, *TABLE_5)}.values())


def controlled(control: GateControl, dropout: Tensor, another: Tensor, generator: torch.Generator) -> Tensor:
    """The p [T] that a variant drops the pose with, from the voice's own and another voice's."""
    if control is GateControl.SHUFFLED:
        return dropout[torch.randperm(len(dropout), generator=generator)]
    if control is GateControl.INVERTED:
        return 1 - dropout
    return another if control is GateControl.ANOTHER else dropout
