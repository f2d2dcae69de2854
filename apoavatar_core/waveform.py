"""Sound as it enters the method: checked, mixed to mono, resampled to 16 kHz."""

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

SAMPLE_RATE = 16_000
"""Hz; loudness (Eq. 2) and every audio encoder work at this rate."""


def check_waveform(waveform: Tensor | np.ndarray, sample_rate: float) -> None:
    """Raise ValueError unless `waveform` ([S], [C, S] or [1, C, S]) is one clip of at least two finite samples."""
    if not (math.isfinite(sample_rate) and sample_rate > 0):
        raise ValueError(f"audio has a sample rate of {sample_rate} Hz; give a positive one, such as 16000.")
    if waveform.ndim not in (1, 2, 3):
        raise ValueError(
            f"audio has shape {list(waveform.shape)}; give samples, [channels, samples] or [1, channels, samples]."
        )
    if waveform.ndim == 3 and waveform.shape[0] > 1:
        raise ValueError(f"audio holds {waveform.shape[0]} clips; pass one clip at a time.")
    if 0 in waveform.shape:
        raise ValueError("audio is empty; connect a clip that has sound in it.")
    if waveform.shape[-1] < 2:
        raise ValueError("audio has 1 sample; connect a longer clip.")
    if not _is_finite(waveform):
        raise ValueError("audio holds NaN or infinite samples; load or generate the clip again.")


def mono(waveform: Tensor | np.ndarray, sample_rate: float) -> np.ndarray:
    """Mean of the channels as float32 [S] on the CPU, after `check_waveform`."""
    check_waveform(waveform, sample_rate)
    samples = _float32(waveform)
    return samples.reshape(-1, samples.shape[-1]).mean(dim=0).numpy()


def mono_16k(waveform: Tensor | np.ndarray, sample_rate: float) -> np.ndarray:
    """`mono`, resampled to 16 kHz: float32 [ceil(S · 16000 / sample_rate)]."""
    return resampled(mono(waveform, sample_rate), sample_rate)


def resampled(samples: np.ndarray, sample_rate: float) -> np.ndarray:
    """Samples [..., S] at 16 kHz: float32 [..., ceil(S · 16000 / sample_rate)]."""
    if sample_rate == SAMPLE_RATE:
        return samples
    import librosa

    return librosa.resample(samples, orig_sr=sample_rate, target_sr=SAMPLE_RATE, res_type="soxr_hq")


def resampled_pieces(pieces: Iterable[np.ndarray], samples: int, sample_rate: float) -> np.ndarray:
    """`resampled` for so many mono samples that come piece by piece, float32, and are never held all at once."""
    found, end = np.zeros(math.ceil(samples * SAMPLE_RATE / sample_rate), np.float32), 0
    for piece in pieces if sample_rate == SAMPLE_RATE else _resampling(pieces, sample_rate):
        ready = piece[: len(found) - end]
        found[end : end + len(ready)] = ready
        end += len(ready)
    return found


def check_fps(fps: float) -> None:
    """Raise ValueError unless `fps` is finite and above 0."""
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"fps is {fps}; give the video's frames per second, such as 24.")


def _resampling(pieces: Iterable[np.ndarray], sample_rate: float) -> Iterator[np.ndarray]:
    """What each piece adds at 16 kHz, and then what is left of the last."""
    import soxr

    stream = soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, "float32", "soxr_hq")
    for piece in pieces:
        yield stream.resample_chunk(piece)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _is_finite(waveform: Tensor | np.ndarray) -> bool:
    """Whether all samples are. Their sum is only if they are, and asks for no memory; it may overflow where they are."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(waveform.sum())
    return math.isfinite(total) or bool(torch.isfinite(_float32(waveform)).all())


def _float32(waveform: Tensor | np.ndarray) -> Tensor:
    """The same samples as a float32 tensor on the CPU."""
    if isinstance(waveform, np.ndarray):
        return torch.from_numpy(np.array(waveform, dtype=np.float32))
    return waveform.detach().to(device="cpu", dtype=torch.float32)
