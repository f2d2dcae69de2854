"""Any sound → the one voice that both the audio encoder and the gate hear, whatever the recording's wiring and level."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .loudness import integrated_loudness
from .waveform import SAMPLE_RATE, check_waveform, resampled_pieces

LEVEL_LUFS = -23.0
"""Loudness that every voice is brought to (EBU R 128)."""
LEVEL_RMS = 10 ** (LEVEL_LUFS / 20)
"""The same as an amplitude: Eq. 2 measures loudness in units of it."""
SILENT_PEAK = 1e-4
"""Full-scale amplitude (−80 dB) below which a recording holds nothing but its converter's noise."""
PIECE = 2**18
"""Samples of each channel that are joined in one go: an hour is never copied whole."""
SPEECH_CHUNK = 512
"""Samples that the voice activity model looks at in one go."""
SPEECH_PROBABILITY = 0.3
"""Below the half at which the model is sure: singing gets less than speech, and music and noise get at most a fifth."""
SPEECH_CHUNKS = 4
"""So many chunks of speech (0.13 s) make a voice of a sound."""
STRETCH, OVERLAP = 512, 32
"""Chunks that the model hears as one recording, and how many of them end the stretch before: it knows the sound by then."""
STRETCHES = 128
"""Heard side by side: one after the other, an hour in which nobody speaks takes more than a minute."""
one_at_a_time = threading.Lock()
"""The model remembers what it has heard, and ComfyUI's page asks for a gate while a run hears a sound."""


@dataclass(frozen=True, eq=False)
class HeardVoice:
    """What is heard of a sound.

    Attributes:
        samples: float32 [S₁₆ₖ] at 16 kHz. With a voice in it at LEVEL_LUFS, so that its peaks may exceed 1; else as loud as
            it was recorded.
        speaks: somebody speaks or sings in it. Hiss, hum and music alone have no accents to gesture on.
    """

    samples: np.ndarray
    speaks: bool

    @property
    def speech(self) -> np.ndarray:
        """The samples where somebody speaks; else silence, as long."""
        return self.samples if self.speaks else np.zeros_like(self.samples)


def heard_voice(waveform: Tensor | np.ndarray, sample_rate: float, between: Callable[[], object] = bool) -> HeardVoice:
    """The voice in a sound, its channels joined and without offset.

    Args:
        waveform: [S], [C, S] or [1, C, S], at any level.
        sample_rate: Hz.
        between: is called every fraction of a second; what it raises ends the hearing.

    Raises:
        ValueError: the sound is unusable.
    """
    check_waveform(waveform, sample_rate)
    channels = torch.as_tensor(waveform).detach()
    channels = channels.reshape(-1, channels.shape[-1])
    recorded = resampled_pieces(joined(channels, between), channels.shape[1], sample_rate)
    gain = gain_to_level(recorded)
    if speaking := speaks(recorded, gain, between):
        recorded *= gain
    return HeardVoice(recorded, speaking)


def joined(channels: Tensor, between: Callable[[], object] = bool) -> Iterator[np.ndarray]:
    """The channels [C, S] as one, piece by piece: their mean after each has lost its offset and an inverted one is turned round.

    A channel counts as inverted where its sign in the first principal component differs from that of the channel with
    the largest share: what a channel has in common with the others is not to cancel out.
    """
    means, products = statistics(channels, between)
    shares = torch.linalg.eigh(products).eigenvectors[:, -1]
    weights = torch.where(shares * shares[shares.abs().argmax()] < 0, -1.0, 1.0).double() / len(channels)
    offset = float(weights @ means)
    for piece in pieces(channels):
        between()
        yield (weights.float() @ piece - offset).numpy()


def statistics(channels: Tensor, between: Callable[[], object] = bool) -> tuple[Tensor, Tensor]:
    """Mean of each channel of [C, S], float64 [C], and the sums of the products of two without their means, [C, C].

    Each piece is summed up about its own mean: about zero, an offset would drown what is soft.
    """
    count, means, products = 0, torch.zeros(len(channels)).double(), torch.zeros(len(channels), len(channels)).double()
    for piece in pieces(channels):
        between()
        own = piece.mean(dim=1)
        centred = piece - own[:, None]
        apart, both = own.double() - means, count + piece.shape[1]
        products += (centred @ centred.T).double() + torch.outer(apart, apart) * (count * piece.shape[1] / both)
        means += apart * (piece.shape[1] / both)
        count = both
    return means, products


def pieces(channels: Tensor) -> Iterator[Tensor]:
    """Channels [C, S] cut into float32 pieces on the CPU."""
    return (piece.to(device="cpu", dtype=torch.float32) for piece in channels.split(PIECE, dim=1))


def gain_to_level(samples: np.ndarray) -> np.float32:
    """What brings mono 16 kHz samples [S] to LEVEL_LUFS; 0 for silence (below SILENT_PEAK)."""
    if max(samples.max(), -samples.min()) < SILENT_PEAK:
        return np.float32(0)
    return np.float32(10 ** ((LEVEL_LUFS - integrated_loudness(samples)) / 20))


def speaks(samples: np.ndarray, gain: float, between: Callable[[], object] = bool) -> bool:
    """Whether somebody speaks in mono 16 kHz samples [S] that a gain brings near LEVEL_LUFS, or to silence where it is 0.

    Music, hiss and hum have no voice.
    """
    if not gain:
        return False
    enough = min(SPEECH_CHUNKS, -(-len(samples) // SPEECH_CHUNK))
    with one_at_a_time:
        return any(found >= enough for found in chunks_of_speech(samples, gain, between))


def chunks_of_speech(samples: np.ndarray, gain: float, between: Callable[[], object]) -> Iterator[int]:
    """How many chunks of speech are found so far, as often as the model answers."""
    model, found = _voice_activity_model(), 0
    chunks, step = -(-len(samples) // SPEECH_CHUNK), STRETCH - OVERLAP
    for start in range(0, chunks, STRETCHES * step):
        firsts = torch.arange(start, min(start + STRETCHES * step, chunks), step)
        stretches = _side_by_side(samples[start * SPEECH_CHUNK :], len(firsts))
        model.reset_states()
        for number in range(min(STRETCH, chunks - start)):
            between()
            with torch.inference_mode():
                speech = model(stretches[:, number] * gain, SAMPLE_RATE)[:, 0] >= SPEECH_PROBABILITY
            # What overlaps was heard with the stretch before, and beyond the end there is nothing.
            new = (firsts + number < chunks) & ((firsts == 0) | (number >= OVERLAP))
            found += int((speech & new).sum())
            yield found


def _side_by_side(samples: np.ndarray, count: int) -> Tensor:
    """The first stretches of samples, [count, STRETCH, SPEECH_CHUNK]; silence follows the sound."""
    step = (STRETCH - OVERLAP) * SPEECH_CHUNK
    length = count * step + OVERLAP * SPEECH_CHUNK
    known = samples[:length]
    padded = torch.from_numpy(np.pad(known, (0, length - len(known))))
    return padded.unfold(0, STRETCH * SPEECH_CHUNK, step).unflatten(1, (STRETCH, SPEECH_CHUNK))


@cache
def _voice_activity_model() -> torch.nn.Module:
    """Silero's, from its package, which is not imported: that would leave all of PyTorch with a single thread.

    On the CPU on every machine: 2 MB of TorchScript, which hears chunk after chunk of 32 ms.
    """
    package = Path(find_spec("silero_vad").submodule_search_locations[0])
    return torch.jit.load(package / "data" / "silero_vad.jit", map_location="cpu").eval()
