"""How far generated films are from drawn ones as a whole: the Fréchet distance of FVD, on the keypoint network's features.

FVD proper takes the features of a network that was trained on films of people (I3D). The presenter is a drawing, and the
keypoint network is what knows drawings like it; so values can be compared with each other and not with published ones.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import sqrtm

from ..pose import KeypointNetwork

FRAMES_TOGETHER = 8
"""Frames over which look and movement are summarised: a third of a second."""


@torch.inference_mode()
def film_features(network: KeypointNetwork, film: np.ndarray) -> np.ndarray:
    """uint8 [T, S, S, 3] → float64 [T // FRAMES_TOGETHER, 2c]: of every window the features' mean, and their mean change from
    frame to frame.
    """
    pictures = torch.from_numpy(np.ascontiguousarray(film)).permute(0, 3, 1, 2).float() / 255
    features = network.features(pictures).double().numpy()
    windows = features[: len(features) // FRAMES_TOGETHER * FRAMES_TOGETHER].reshape(-1, FRAMES_TOGETHER, features.shape[1])
    return np.concatenate([windows.mean(1), np.abs(np.diff(windows, axis=1)).mean(1)], axis=1)


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½) of two sets of features [N, d]."""
    means = [features.mean(0) for features in (first, second)]
    covariances = [np.cov(features, rowvar=False) for features in (first, second)]
    middle = sqrtm(covariances[0] @ covariances[1]).real
    return float(np.sum((means[0] - means[1]) ** 2) + np.trace(covariances[0] + covariances[1] - 2 * middle))
