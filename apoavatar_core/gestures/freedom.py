"""What a pose adds to a voice: how much of where the hands are no one could tell from the voice alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def pose_share(performances: Sequence[np.ndarray]) -> float:
    """Share of the variance of the hands' places that the voice leaves open, 0 … 1 (law of total variance).

    It is E[Var(place | voice, moment)] / Var(place): the mean over voices and moments of the variance among
    performances of the same voice, over the variance of all places.

    Args:
        performances: one array [K, T, D] for each of at least two voices: the D coordinates of the wrists in T frames
            of K performances of that voice.
    """
    within = np.concatenate([voice.var(axis=0).sum(-1) for voice in performances]).mean()
    places = np.concatenate([voice.reshape(-1, voice.shape[-1]) for voice in performances])
    return float(within / places.var(axis=0).sum())
