"""Audio-pose prior refocusing (§3.2): how loud the voice is decides how much of the pose is kept.

Loudness l_n per audio frame → s_t per pose frame (Eq. 2) → s̃_t in [0, 1] relative to the clip (Eq. 3) → dropout
probability p_t (Eq. 4). Training samples a mask m_t ~ Bernoulli(1 − p_t); inference never samples.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from .hearing import LEVEL_RMS, HeardVoice
from .waveform import SAMPLE_RATE, check_fps, mono_16k

HOP = 160
"""Samples between audio frames; frame n is centred at n · HOP / SAMPLE_RATE seconds."""
FRAME = 640
"""Samples in one audio frame."""
EPSILON = 1e-8
"""ε of Eq. 3."""


@dataclass(frozen=True)
class RefocusingConfig:
    """Constants of Eq. 2-4, with the paper's values.

    Attributes:
        alpha: α ≥ 0, sharpness of the gate.
        beta: β, the normalised loudness at which half of the pose is kept.
        tau: τ > 0 of the log-mean-exp; larger is closer to the loudest audio frame in the window.
        q_low, q_high: percentiles that become 0 and 1, 0 ≤ q_low < q_high ≤ 100.
    """

    alpha: float = 10.0
    beta: float = 0.5
    tau: float = 8.0
    q_low: float = 5.0
    q_high: float = 95.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.alpha) and self.alpha >= 0):
            raise ValueError(f"alpha is {self.alpha}; use 0 or more (the paper uses 10).")
        if not math.isfinite(self.beta):
            raise ValueError(f"beta is {self.beta}; use a finite number (the paper uses 0.5).")
        _check_tau(self.tau)
        if not 0 <= self.q_low < self.q_high <= 100:
            raise ValueError(
                f"q_low is {self.q_low} and q_high is {self.q_high}; use percentiles with 0 <= q_low < q_high <= 100."
            )


@dataclass(frozen=True, eq=False)
class Gate:
    """The gate of one clip, a float32 array [T] per quantity.

    Attributes:
        loudness: s_t of Eq. 2, an RMS amplitude.
        normalized: s̃_t of Eq. 3, in [0, 1].
        dropout: p_t of Eq. 4, in [0, 1].
        fps: its frames per second; None for those of the clip that it is used for.
    """

    loudness: np.ndarray
    normalized: np.ndarray
    dropout: np.ndarray
    fps: float | None = None

    @property
    def keep(self) -> np.ndarray:
        """1 − p_t, the probability with which training keeps the pose of frame t."""
        return 1 - self.dropout


def refocus(
    waveform: Tensor | np.ndarray, sample_rate: float, frames: int, fps: float, config: RefocusingConfig
) -> Gate:
    """The gate of a clip of `frames` pose frames at `fps` for its sound (Eq. 2-4).

    Args:
        waveform: [S], [C, S] or [1, C, S].
        sample_rate: Hz.
        frames: T ≥ 1.
        fps: pose frames per second.
        config: the constants.

    Raises:
        ValueError: if the sound, `frames` or `fps` is unusable.
    """
    return gate_from(audio_rms(waveform, sample_rate), frames, fps, config)


def gate_of(voice: HeardVoice, frames: int, fps: float, config: RefocusingConfig) -> Gate:
    """`refocus` for a voice whose loudness is told in units of the level that all voices are brought to.

    Accents lie above 1 then, where the paper's τ = 8 lets the loudest moment of a pose frame decide; on full-scale
    amplitudes (up to 0.25) Eq. 2 is hardly more than the mean. Where nobody speaks there is silence.
    """
    return gate_from(levels_of(voice), frames, fps, config)


def levels_of(voice: HeardVoice) -> np.ndarray:
    """l_n of a voice in units of the level that all voices are brought to, float32 [N]; silence where nobody speaks."""
    return (_rms(voice.samples) if voice.speaks else np.zeros(1, np.float32)) / LEVEL_RMS


def frames_of(voice: HeardVoice, fps: float) -> int:
    """How many pose frames, at least one, it takes to show all of a voice."""
    check_fps(fps)
    return math.ceil(round(len(voice.samples) / SAMPLE_RATE * fps, 6)) or 1


def gate_from(rms: np.ndarray, frames: int, fps: float, config: RefocusingConfig) -> Gate:
    """Eq. 2-4 for l_n, the loudness of audio frames [N]."""
    loudness = pose_frame_loudness(rms, frames, fps, config.tau)
    normalized = normalized_loudness(loudness, config.q_low, config.q_high)
    dropout = dropout_probability(normalized, config.alpha, config.beta)
    return Gate(*(values.astype(np.float32) for values in (loudness, normalized, dropout)), fps)


def audio_rms(waveform: Tensor | np.ndarray, sample_rate: float) -> np.ndarray:
    """l_n: root-mean-square amplitude of each audio frame, float32 [1 + S₁₆ₖ // HOP]."""
    return _rms(mono_16k(waveform, sample_rate))


def _rms(samples: np.ndarray) -> np.ndarray:
    """`audio_rms` of mono samples at 16 kHz: each hop is squared once, for all the audio frames that it is in."""
    whole, rest = np.split(samples, [len(samples) // HOP * HOP])
    hops = whole.reshape(-1, HOP)
    squares = np.pad(np.append(np.einsum("hs,hs->h", hops, hops), rest @ rest), FRAME // HOP // 2)
    sums = np.lib.stride_tricks.sliding_window_view(squares, FRAME // HOP).sum(axis=1)
    return np.sqrt(sums[: 1 + len(samples) // HOP] / FRAME)


def log_mean_exps(values: np.ndarray, starts: np.ndarray, stops: np.ndarray, tau: float) -> np.ndarray:
    """LME_τ of Eq. 2, (1/τ) · log(mean(exp(τ·x))), over each window: between the mean of its values and their maximum.

    Args:
        values: [N], none below 0; 0 follows the last.
        starts, stops: [W], whole numbers of any size, the windows [start, stop) with start < N.
        tau: τ > 0.
    """
    sizes = (stops - starts).astype(np.float64)
    starts, counts = starts.astype(np.int64), (np.minimum(stops, len(values)) - starts).astype(np.int64)
    # The windows' values one after the other, for windows that share an audio frame or leave some out.
    firsts = np.cumsum(counts) - counts
    inside = np.asarray(values, dtype=np.float64)[np.repeat(starts - firsts, counts) + np.arange(counts.sum())]
    peaks = np.maximum.reduceat(inside, firsts)
    sums = np.add.reduceat(np.exp(tau * (inside - np.repeat(peaks, counts))), firsts)
    sums += (sizes - counts) * np.exp(-tau * peaks)
    return peaks + np.log(sums / sizes) / tau


def pose_frame_loudness(rms: np.ndarray, frames: int, fps: float, tau: float) -> np.ndarray:
    """s_t of Eq. 2, float64 [T]: LME over the audio frames with t/fps ≤ n · HOP / SAMPLE_RATE < (t+1)/fps.

    A window without an audio frame (fps above 100) takes the one nearest to t/fps. Past the end of the sound
    there is silence, l = 0.

    Args:
        rms: l_n, [N].
        frames: T ≥ 1.
        fps: pose frames per second.
        tau: τ > 0.
    """
    if frames < 1:
        raise ValueError(f"frames is {frames}; ask for at least 1 pose frame.")
    check_fps(fps)
    _check_tau(tau)
    # Windows and audio frames share boundaries (every 10 ms at 25, 50 and 100 fps), where one rounding error would
    # move an audio frame to the neighbouring window. So boundaries are integers: the fps becomes the fraction it
    # stands for (23.976 → 2997/125), and window t starts at audio frame ceil(t · audio_frames_per_pose_frame).
    exact_fps = Fraction(float(fps)).limit_denominator(1_000_000) or Fraction(float(fps))
    step = Fraction(SAMPLE_RATE, HOP) / exact_fps
    numerator, denominator = step.as_integer_ratio()
    edges = np.array([-(-t * numerator // denominator) for t in range(frames + 1)])  # any size: a film may be slow
    starts, stops = edges[:-1].copy(), edges[1:].copy()
    (empty,) = np.nonzero(starts == stops)
    # Halfway between two audio frames goes to the later: windows look forward from t/fps.
    starts[empty] = [(2 * t * numerator + denominator) // (2 * denominator) for t in empty.tolist()]
    stops[empty] = starts[empty] + 1
    heard = np.count_nonzero(starts < len(rms))
    loudness = np.zeros(frames)
    loudness[:heard] = log_mean_exps(rms, starts[:heard], stops[:heard], tau)
    return loudness


def normalized_loudness(loudness: np.ndarray, q_low: float, q_high: float) -> np.ndarray:
    """s̃_t of Eq. 3, [T] in [0, 1]: loudness relative to the clip's own percentiles; all 0 if it never changes."""
    low, high = np.percentile(loudness, (q_low, q_high))
    # RMS arrives in float32: a spread of a few of its roundings is a constant sound, yet well above ε when loud.
    if high - low <= 8 * np.finfo(np.float32).eps * abs(high):
        return np.zeros(np.shape(loudness))
    return np.clip((loudness - low) / (high - low + EPSILON), 0.0, 1.0)


def dropout_probability(normalized: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """p_t = σ(−α(s̃_t − β)) of Eq. 4, [T] in [0, 1]: loud frames are dropped less."""
    # σ(x) = (1 + tanh(x/2)) / 2, which no α can overflow.
    return (1 - np.tanh(alpha * (normalized - beta) / 2)) / 2


def sample_pose_mask(dropout: Tensor, generator: torch.Generator) -> Tensor:
    """m_t ~ Bernoulli(1 − p_t), for training: 1 keeps the pose of frame t, 0 drops it.

    Args:
        dropout: p, [..., T] in [0, 1].
        generator: source of the draws; they are made on its device.

    Returns:
        0 or 1 in the shape, dtype and device of `dropout`.
    """
    draws = torch.rand(dropout.shape, generator=generator, device=generator.device).to(dropout.device)
    return (draws >= dropout).to(dropout.dtype)


def _check_tau(tau: float) -> None:
    if not (math.isfinite(tau) and tau > 0):
        raise ValueError(f"tau is {tau}; use a number above 0 (the paper uses 8).")
