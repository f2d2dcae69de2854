"""What a trained network makes of held-out voices: by the voice alone, with a pose as it is, and with a pose refocused by the
voice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...flow_matching import flow_matching_loss, integrate, interpolate
from ...gestures import find_accents, speech_level
from ...training.draws import Purpose, random_numbers, random_tensors
from .latents import Latents, gates_of
from .network import KeypointDiT
from .training import SHIFT, heard_windows, windows
from .voices import FPS, Voices
from .world import HANDS, World, perform_all

STEPS = 10
"""Euler steps."""
AT_EXAM = 2**32
"""The position of its draws, which no training reaches."""
LOSS_SIGMAS = (0.2, 0.4, 0.6, 0.8)
FREE, HARD, MISFIT, REFOCUSED, BORROWED = "free", "hard", "misfit", "refocused", "borrowed"
MODES = {
    FREE: "pose-free: the voice alone",
    HARD: "hard: the clip's own pose",
    MISFIT: "hard: a pose that does not fit the voice, another clip's",
    REFOCUSED: "refocused: the clip's own pose under the soft gate 1 − p",
    BORROWED: "refocused: another clip's pose under the soft gate 1 − p",
}


@dataclass(frozen=True, eq=False)
class Exam:
    """C held-out clips of T frames.

    Attributes:
        places: [C, T, 3, 3] as they were performed; others: those of another voice's performance.
        audio: [C, 8, T_lat, 40].
        loudness, normalized, dropout: [C, T] as in `Voices`.
        accents: the frames of each clip's accents.
    """

    places: np.ndarray
    others: np.ndarray
    audio: Tensor
    loudness: np.ndarray
    normalized: np.ndarray
    dropout: np.ndarray
    accents: list[list[int]]

    def __len__(self) -> int:
        return len(self.places)

    def pose_and_gate(self, mode: str) -> tuple[np.ndarray, np.ndarray]:
        """The pose [C, T, 3, 3] that is given in a mode, and the weight of its frames [C, T]."""
        pose = self.others if mode in (MISFIT, BORROWED) else self.places
        gate = {FREE: 0 * self.dropout, HARD: 0 * self.dropout + 1, MISFIT: 0 * self.dropout + 1}.get(mode, 1 - self.dropout)
        return pose, gate


def make_exam(voices: Voices, world: World, clips: int, frames: int, seed: int) -> Exam:
    """Clips of all voices in turn, performed by people whom no training met."""
    which = np.arange(clips) % len(voices)
    starts = random_numbers(seed, Purpose.START, AT_EXAM).integers(voices.frames - frames + 1, size=clips)
    performances = perform_all(voices, world, which, random_numbers(seed, Purpose.ORDER, AT_EXAM))
    places = windows(performances.places, np.arange(clips), starts, frames)
    heard = [find_accents(speech_level(voices.loudness[voice]), FPS) for voice in which]
    accents = [
        [frame for accent in found if 0 <= (frame := int(accent.time * FPS) - start) < frames]
        for found, start in zip(heard, starts.tolist())
    ]
    return Exam(
        places=places,
        others=np.roll(places, 1, axis=0),
        audio=heard_windows(voices, which, starts, frames),
        **{name: windows(getattr(voices, name), which, starts, frames) for name in ("loudness", "normalized", "dropout")},
        accents=accents,
    )


@torch.inference_mode()
def make(network: KeypointDiT, latents: Latents, exam: Exam, mode: str, seed: int) -> np.ndarray:
    """What the network makes of the exam's voices in a mode: places [C, T, 3, 3]. The noise is the same for all modes and
    variants.
    """
    given = conditions(latents, exam, mode)
    noise = torch.randn(latents.encode(exam.places).shape, generator=random_tensors(seed, Purpose.NOISE, AT_EXAM))
    made = integrate(lambda x, sigma: network(x, sigma, *given), noise, STEPS, SHIFT)
    return latents.decode(made)


@torch.inference_mode()
def hands_loss(network: KeypointDiT, latents: Latents, exam: Exam, mode: str, seed: int, another_voice: bool = False) -> float:
    """Eq. 1 of the hands on the exam's clips at fixed σ; with `another_voice` each of them hears that of the clip before."""
    audio, *posed = conditions(latents, exam, mode)
    audio = audio.roll(1, 0) if another_voice else audio
    data, generator = latents.encode(exam.places), random_tensors(seed, Purpose.SIGMA, AT_EXAM)
    losses = []
    for sigma in LOSS_SIGMAS:
        noise, levels = torch.randn(data.shape, generator=generator), torch.full((len(data),), sigma)
        prediction = network(interpolate(data, noise, levels), levels, audio, *posed)
        losses.append(flow_matching_loss(*(each[:, :, HANDS] for each in (prediction, data, noise))).item())
    return float(np.mean(losses))


def conditions(latents: Latents, exam: Exam, mode: str) -> tuple[Tensor, Tensor, Tensor]:
    """Audio, pose pictures and gate of a mode, as the network takes them."""
    pose, gate = exam.pose_and_gate(mode)
    return exam.audio, latents.pose_pictures(pose), gates_of(torch.from_numpy(gate))
