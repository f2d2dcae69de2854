"""Any sound → the one voice that both the audio encoder and the gate hear, whatever the recording's wiring and level."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from .waveform import SAMPLE_RATE, check_waveform, resampled

LEVEL_LUFS = -23.0
"""Loudness that every voice is brought to (EBU R 128)."""
LEVEL_RMS = 10 ** (LEVEL_LUFS / 20)
"""The same as an amplitude: Eq. 2 measures loudness in units of it."""
SILENT_PEAK = 1e-4
"""Full-scale amplitude (−80 dB) below which a recording holds nothing but its converter's noise."""
MEASURED_PEAK = 0.25
"""Full-scale amplitude at which loudness is measured."""
LOUDNESS_BLOCK = 0.4
"""Seconds that ITU-R BS.1770 measures loudness over."""
SPEECH_CHUNK = 512
"""Samples that the voice activity model looks at in one go."""
SPEECH_PROBABILITY = 0.3
"""Below the half at which the model is sure: singing gets less than speech, and music and noise get at most a fifth."""
SPEECH_CHUNKS = 4
"""So many chunks of speech (0.13 s) make a voice of a sound."""


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


def heard_voice(waveform: Tensor | np.ndarray, sample_rate: float) -> HeardVoice:
    """The voice in a sound, its channels joined and without offset.

    Args:
        waveform: [S], [C, S] or [1, C, S], at any level.
        sample_rate: Hz.

    Raises:
        ValueError: the sound is unusable.
    """
    check_waveform(waveform, sample_rate)
    channels = torch.as_tensor(waveform).detach().to(device="cpu", dtype=torch.float32)
    recorded = resampled(joined(channels.reshape(-1, channels.shape[-1])), sample_rate)
    voice = levelled(recorded)
    return HeardVoice(voice, True) if speaks(voice) else HeardVoice(recorded, False)


def joined(channels: Tensor) -> np.ndarray:
    """The channels [C, S] as one [S]: their mean after each has lost its offset and an inverted one is turned round.

    A channel counts as inverted where its sign in the first principal component differs from that of the channel with
    the largest share: what a channel has in common with the others is not to cancel out.
    """
    centred = channels - channels.mean(dim=1, keepdim=True)
    if len(centred) == 1:
        return centred[0].numpy()
    shares = torch.linalg.eigh(centred @ centred.T).eigenvectors[:, -1]
    against = shares * shares[shares.abs().argmax()] < 0
    return torch.where(against[:, None], -centred, centred).mean(dim=0).numpy()


def levelled(samples: np.ndarray) -> np.ndarray:
    """Mono 16 kHz samples [S] brought to LEVEL_LUFS; silence (below SILENT_PEAK) becomes digital silence."""
    peak = np.abs(samples).max()
    if peak < SILENT_PEAK:
        return np.zeros_like(samples)
    # BS.1770 leaves out what is below an absolute level: relative to the peak the answer is the same at any gain. Its
    # filters amplify, and torchaudio's clip at 1.
    scaled = samples * np.float32(MEASURED_PEAK / peak)
    return scaled * np.float32(10 ** ((LEVEL_LUFS - _loudness(scaled)) / 20))


def speaks(samples: np.ndarray) -> bool:
    """Whether somebody speaks in mono 16 kHz samples [S] near LEVEL_LUFS. Music, hiss and hum have no voice."""
    if not samples.any():
        return False
    model, found = _voice_activity_model(), 0
    model.reset_states()
    chunks = torch.from_numpy(np.pad(samples, (0, -len(samples) % SPEECH_CHUNK))).split(SPEECH_CHUNK)
    with torch.inference_mode():
        for chunk in chunks:
            found += model(chunk, SAMPLE_RATE).item() >= SPEECH_PROBABILITY
            if found == min(SPEECH_CHUNKS, len(chunks)):
                return True
    return False


def _loudness(samples: np.ndarray) -> float:
    """Integrated loudness in LUFS of mono 16 kHz samples [S]; a sound shorter than a block is repeated to fill one."""
    from torchaudio.functional import loudness

    filled = np.resize(samples, max(len(samples), round(LOUDNESS_BLOCK * SAMPLE_RATE)))
    return float(loudness(torch.from_numpy(filled)[None], SAMPLE_RATE))


@cache
def _voice_activity_model() -> torch.nn.Module:
    """Silero's, from its package."""
    from silero_vad import load_silero_vad

    return load_silero_vad()
