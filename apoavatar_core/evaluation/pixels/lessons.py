"""What a variant learns from: the weights that it begins with and the clips that it sees. All that two variants of a seed have in
common is the same for both.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from ...adapters import ApoAvatarAdapter
from ...checkpoints.adapter_file import save_adapter
from ...checkpoints.safe_file import read_metadata, read_tensors, write_tensors
from ...data.prepared import PreparedClips
from ...training.config import TrainingConfig
from ...training.model import build_model
from ..variants import GateControl, Variant, controlled


def write_first_weights(path: Path, config: TrainingConfig, variant: Variant, seed: int) -> None:
    """Write the adapter that a variant begins with: the paper's whole one with random weights of a seed, without what the variant
    has not.
    """
    whole = build_model(config.model_copy(update={"seed": seed}), PreparedClips(config.data)).adapter
    known = whole.state_dict()
    adapter = ApoAvatarAdapter(
        replace(whole.config, interaction=variant.interaction.value, keys_know_places=variant.places)
    )
    adapter.load_state_dict({name: known[name] for name in adapter.state_dict()})
    save_adapter(path, adapter, torch.float32)


def clips_with_gate(data: Path, control: GateControl, out: Path) -> Path:
    """The folder of a variant's clips: `data` itself, or copies in `out` whose p of Eq. 4 is not the voice's own. Copies that are
    there are kept.
    """
    if control is GateControl.OWN:
        return data
    paths = PreparedClips(data).paths
    for number, path in enumerate(paths):
        copy = out / path.relative_to(data)
        if copy.exists():
            continue
        tensors, another = read_tensors(path), read_tensors(paths[(number + 1) % len(paths)])["dropout"]
        order = torch.Generator().manual_seed(number)
        tensors["dropout"] = controlled(control, tensors["dropout"], another, order)
        write_tensors(copy, tensors, read_metadata(path))
    return out
