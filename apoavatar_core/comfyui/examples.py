"""What the pack's workflows begin with, so that they run before a user has put a file anywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from comfy_api.latest import InputImpl
from comfy_extras.nodes_audio import load
from PIL import Image

ASSETS = Path(__file__).resolve().parents[2] / "workflows" / "assets"
VOICE = ASSETS / "speech.wav"


def portrait() -> torch.Tensor:
    """The drawn presenter: IMAGE [1, 512, 512, 3], as Load Image would give it."""
    with Image.open(ASSETS / "presenter.png") as picture:
        return torch.from_numpy(np.asarray(picture.convert("RGB")).astype(np.float32) / 255)[None]


def voice() -> dict:
    """Her voice: AUDIO of two seconds, as Load Audio would give it."""
    waveform, rate = load(str(VOICE))
    return {"waveform": waveform[None], "sample_rate": rate}


def film() -> InputImpl.VideoFromFile:
    """Somebody else who gestures, drawn: VIDEO of two seconds."""
    return InputImpl.VideoFromFile(str(ASSETS / "gestures.mp4"))


def drawn_pose() -> InputImpl.VideoFromFile:
    """A skeleton that gestures, in OpenPose colours: VIDEO of two seconds."""
    return InputImpl.VideoFromFile(str(ASSETS / "pose.mp4"))
