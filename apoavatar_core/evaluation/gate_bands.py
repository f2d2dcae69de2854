"""Refocused: hands follow a pose where the gate is open, and move the less the more it is shut.

The pose is another speaker's, so that it does not rest where this voice is quiet.
"""

from __future__ import annotations

import numpy as np

from ..hearing import heard_voice
from ..refocusing import Gate, RefocusingConfig, gate_of
from ..synthetic import Clip, frame_keypoints, synthesize_performance

BANDS = 5
"""Equal parts of the keep weight 1 − p of Eq. 4, from shut to open."""
OTHERS = 1000
"""How far away the seed of the other speaker is."""


def borrowed_pose(clip: Clip, seed: int) -> list[dict]:
    """OpenPose frames [T] in which this presenter's body moves as another held-out speaker's does."""
    other = synthesize_performance(seed + OTHERS, len(clip.frames), clip.fps, held_out=True).motion
    return [frame_keypoints(clip.identity, other, t, clip.frames.shape[1]) for t in range(len(clip.frames))]


def gate_of_clip(clip: Clip) -> Gate:
    """That of its voice, with the paper's constants."""
    return gate_of(heard_voice(clip.speech, clip.sample_rate), len(clip.frames), clip.fps, RefocusingConfig())


def band_motion(speeds: np.ndarray, asked: np.ndarray, keep: np.ndarray) -> tuple[list[float], list[float]]:
    """How far hands moved in each band of the gate, and how far the pose's did.

    Args:
        speeds, asked: of the film's and of the pose's hands, [T]; frames in which one is unknown are left out, and the
            first, before which no movement is known.
        keep: 1 − p, [T].

    Returns:
        Sums over the frames of each of BANDS, from shut to open.
    """
    known = np.isfinite(speeds) & np.isfinite(asked)
    known[0] = False
    bands = np.minimum((keep[known] * BANDS).astype(int), BANDS - 1)
    moved, wanted = (np.bincount(bands, weights=track[known], minlength=BANDS).tolist() for track in (speeds, asked))
    return moved, wanted


def obedience(moved: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """How far the hands of all clips moved for what the pose asked, in each band: [clips, BANDS] each → [BANDS]; NaN where
    nothing was asked.
    """
    total = asked.sum(0)
    return np.where(total > 0, moved.sum(0) / np.where(total > 0, total, 1), np.nan)


def least_rise(values: np.ndarray) -> float:
    """The smallest step up from one value to the next, of the largest of them: below 0 where one is a step down."""
    return float(np.diff(values).min() / np.abs(values).max()) if np.isfinite(values).all() and values.any() else float("nan")
