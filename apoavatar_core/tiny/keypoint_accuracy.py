"""How well a keypoint network finds keypoints that are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ..pose import PoseModel, estimate
from ..pose.keypoints import LEFT_WRIST, LIPS, RIGHT_WRIST, VISIBLE, PersonKeypoints, from_frame
from ..pose.measurements import correlation, hand_speed, mouth_opening
from ..synthetic import synthesize_clip
from .hand_detail import hand_box, is_seen
from .smears import smear


@dataclass(frozen=True)
class KeypointAccuracy:
    """How well a network finds the keypoints of clips whose keypoints are known.

    Errors are mean distances in percent of the frame height over the points that are in the picture; correlations are
    Pearson's between the estimated track and the true one, averaged over the clips.
    """

    body_error: float
    wrist_error: float
    hand_error: float
    mouth_error: float
    mouth_opening_correlation: float
    hand_speed_correlation: float


def measure(
    network: PoseModel, clips: Sequence[tuple[np.ndarray, Sequence[PersonKeypoints]]], *, blur: int = 1
) -> KeypointAccuracy:
    """Compare estimates with known keypoints.

    Args:
        network: the network to judge.
        clips: frames uint8 [T, H, W, 3] with their T true persons, one pair per clip.
        blur: factor by which frames are scaled down and up again first, the look of a mediocre autoencoder.
    """
    errors: dict[str, list[np.ndarray]] = {"body": [], "wrist": [], "hand": [], "mouth": []}
    mouths, hands = [], []
    for frames, truth in clips:
        found = estimate(network, _blur(frames, blur))
        height, width = frames.shape[1:3]
        for group, part in (
            ("body", lambda person: person.body),
            ("wrist", lambda person: person.body[[RIGHT_WRIST, LEFT_WRIST]]),
            ("hand", lambda person: np.concatenate([person.left_hand, person.right_hand])),
            ("mouth", lambda person: person.face[LIPS]),
        ):
            true, guess = np.stack([part(p) for p in truth]), np.stack([part(p) for p in found])
            inside = (true[..., 2] >= VISIBLE) & (true[..., :2] >= 0).all(-1) & (true[..., :2] <= 1).all(-1)
            distance = np.linalg.norm((true - guess)[..., :2] * (width / height, 1.0), axis=-1)
            errors[group].append(distance[inside])
        tracks = [([mouth_opening(p) for p in people], hand_speed(people, width / height)) for people in (found, truth)]
        mouths.append(correlation(tracks[0][0], tracks[1][0]))
        hands.append(correlation(tracks[0][1][1:], tracks[1][1][1:]))
    percent = {group: 100 * float(np.concatenate(values).mean()) for group, values in errors.items()}
    return KeypointAccuracy(
        body_error=percent["body"],
        wrist_error=percent["wrist"],
        hand_error=percent["hand"],
        mouth_error=percent["mouth"],
        mouth_opening_correlation=float(np.nanmean(mouths)),
        hand_speed_correlation=float(np.nanmean(hands)),
    )


@dataclass(frozen=True)
class HandsSeen:
    """Shares of the hands in clips that a network sees: as they are drawn, and where each of them is smeared."""

    drawn: float
    smeared: float


def hands_seen(network: PoseModel, clips: Sequence[tuple[np.ndarray, Sequence[PersonKeypoints]]], every: int = 6) -> HandsSeen:
    """Of the hands that every sixth frame of clips like `measure`'s shows."""
    rng = np.random.default_rng(0)
    drawn, smeared = [], []
    for frames, truth in clips:
        for hand in ("left_hand", "right_hand"):
            hands = [getattr(person, hand) for person in truth[::every]]
            shown = np.array([hand_box(points, *frames.shape[1:3]) is not None for points in hands])
            without = np.stack([smear(frame, points, rng)[0] for frame, points in zip(frames[::every], hands)])
            for seen, pictures in ((drawn, frames[::every]), (smeared, without)):
                found = [is_seen(getattr(person, hand)) for person in estimate(network, np.ascontiguousarray(pictures))]
                seen += np.array(found)[shown].tolist()
    return HandsSeen(float(np.mean(drawn)), float(np.mean(smeared)))


def _blur(frames: np.ndarray, factor: int) -> np.ndarray:
    """Frames uint8 [T, H, W, 3] scaled down by `factor` and up again."""
    if factor == 1:
        return frames
    height, width = frames.shape[1:3]
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    small = F.interpolate(pixels, (height // factor, width // factor), mode="bilinear", antialias=True)
    return F.interpolate(small, (height, width), mode="bilinear").round().byte().permute(0, 2, 3, 1).numpy()


def held_out_clips(count: int, frames: int = 49) -> list[tuple[np.ndarray, list[PersonKeypoints]]]:
    """Clips of identities and voices that no training clip has: frames uint8 [T, H, W, 3] and T true persons each."""
    clips = [synthesize_clip(seed, frames=frames, held_out=True) for seed in range(count)]
    return [(clip.frames, [from_frame(frame) for frame in clip.keypoints]) for clip in clips]
