"""Train the keypoint network of the tiny preset on drawn frames of the synthetic speaker.

    python -m apoavatar_core.training.keypoints --out pose.safetensors --steps 1500

A run that was stopped (Ctrl-C, power cut) goes on with `--resume`.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..pose.checkpoint import load_keypoint_network, save_keypoint_network
from ..pose.estimator import KeypointNetwork, KeypointNetworkConfig, PoseModel, estimate
from ..pose.heatmaps import encode_heatmaps, window_centroids
from ..pose.keypoints import GROUPS, LIPS, VISIBLE, PersonKeypoints, from_frame
from ..pose.measurements import correlation, hand_speed, mouth_opening
from ..synthetic import Motion, draw_frame, frame_keypoints, sample_identity, synthesize_clip
from ..synthetic.motion import REST_WRIST
from .backbone import autocast
from .checkpoint import load_state, save_state

_MOUTH_WEIGHT = 4.0  # a shut and a wide open mouth differ by two heatmap cells; other points can afford half a cell


@dataclass(frozen=True)
class KeypointTrainingConfig:
    """One run.

    Attributes:
        network: size of the network.
        steps: optimiser steps.
        batch_size: frames per step.
        new_share: share of each batch that is newly drawn, 0 to 1; the rest was seen before and is augmented anew,
            because drawing a frame takes a third of the time that learning from it does.
        pool_size: drawings kept for that.
        learning_rate: peak, reached after 50 steps; falls along a cosine to a hundredth.
        save_every: steps between saves of the training state.
        seed: of weights, drawings and augmentation.
    """

    network: KeypointNetworkConfig = field(default_factory=KeypointNetworkConfig)
    steps: int = 1500
    batch_size: int = 8
    new_share: float = 0.375
    pool_size: int = 2048
    learning_rate: float = 2.5e-3
    save_every: int = 100
    seed: int = 0


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


def train_keypoints(
    config: KeypointTrainingConfig, out: Path, *, resume: bool = False, start: Path | None = None
) -> KeypointNetwork:
    """Train a network and write it to `out`.

    The state of an unfinished run lies beside `out` as `<name>.state`, is written atomically and goes when the run is
    finished. Ctrl-C saves it, too.

    Args:
        config: the run.
        out: the safetensors file to write.
        resume: go on with the state beside `out`, when there is one, instead of starting anew. The number of steps may
            have changed since, nothing else.
        start: a trained network to begin with, of the size in `config`; random weights when None.

    Returns:
        The trained network in evaluation mode.

    Raises:
        ValueError: when resuming a state that another configuration wrote, or when `start` is of another size.
        FloatingPointError: when the loss is no longer finite.
    """
    torch.manual_seed(config.seed)
    network = KeypointNetwork(config.network) if start is None else load_keypoint_network(start)
    if network.config != config.network:
        raise ValueError(f"{start} is a network of another size than the one to train: start from another file.")
    network = network.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), config.learning_rate, (0.9, 0.98), weight_decay=1e-3)
    state_path = out.with_name(out.name + ".state")
    step = 0
    if resume and state_path.exists():
        state = load_state(state_path)
        if json.loads(state["config"]) | {"steps": 0} != json.loads(json.dumps(asdict(config))) | {"steps": 0}:
            raise ValueError(f"{state_path} is of a run with other settings: repeat them or start without --resume.")
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]

    def save() -> None:
        save_state(
            state_path,
            {
                "config": json.dumps(asdict(config)),
                "network": network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": step,
            },
        )

    drawings, weights = _Drawings(config), keypoint_weights(config.network.keypoints)
    clock, average = time.monotonic(), None
    try:
        while step < config.steps:
            # Seeded by the step, so that a resumed run does not repeat the frames of its beginning.
            rng = np.random.default_rng((config.seed, step))
            pictures, points = augment(*drawings.batch(rng), rng)
            for group in optimizer.param_groups:
                group["lr"] = _learning_rate(config, step)
            with autocast():
                logits = network(pictures.contiguous(memory_format=torch.channels_last))
            loss = keypoint_loss(logits.float().contiguous(), points, weights)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            step += 1
            if not math.isfinite(loss.item()):
                raise FloatingPointError(f"The loss is {loss.item()} at step {step}: use a smaller learning rate.")
            average = loss.item() if average is None else 0.98 * average + 0.02 * loss.item()
            if step % 50 == 0:
                seconds = time.monotonic() - clock
                print(f"step {step}/{config.steps} loss {average:.4f} {seconds:.0f} s", flush=True)
            if step % config.save_every == 0:
                save()
    except KeyboardInterrupt:
        save()
        print(f"stopped at step {step}; go on with --resume", flush=True)
        raise
    save_keypoint_network(out, network)
    state_path.unlink(missing_ok=True)
    return network.eval()


def keypoint_weights(groups: Sequence[str]) -> Tensor:
    """How much each keypoint of the given groups counts in the loss: [K] with mean 1, the lips four times the rest."""
    weights = {group: torch.ones(GROUPS[group]) for group in groups}
    if "face" in weights:
        weights["face"][LIPS] = _MOUTH_WEIGHT
    stacked = torch.cat([weights[group] for group in groups])
    return stacked / stacked.mean()


def keypoint_loss(logits: Tensor, points: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy with the drawn blobs, which makes the peak a confidence, plus the distance in cells between the
    centres of mass, which makes the position precise.

    Args:
        logits: [B, K, h, w].
        points: [B, K, 3], fractions of the picture and confidence; points of confidence 0 get an empty heatmap.
        weights: [K], see `keypoint_weights`.

    Returns:
        Scalar.
    """
    height, width = logits.shape[-2:]
    target = encode_heatmaps(points, height, width)
    # A blob covers one cell in a hundred; unweighted, an empty heatmap would be a good answer for long.
    shape = F.binary_cross_entropy_with_logits(logits, target, weight=weights[:, None, None] * (1 + 10 * target))

    size = torch.tensor([width, height])
    seen = target.flatten(-2).amax(-1) >= VISIBLE
    cells = (points[..., :2] * size).long().clamp(torch.zeros(2, dtype=torch.long), size - 1)
    found = window_centroids(torch.sigmoid(logits), cells)
    # Compared with the target's own centre of mass, so that blobs cut by the picture's edge are no contradiction.
    distance = (found - window_centroids(target, cells)).abs().sum(-1)
    return 10 * shape + (distance * seen * weights).sum() / (seen * weights).sum().clamp_min(1)


def augment(pictures: Tensor, points: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Vary framing, sharpness and colours, so that the network reads what a VAE decodes as well as drawings.

    Args:
        pictures: [B, 3, S, S], values 0 to 1.
        points: [B, K, 3], fractions and confidence.
        rng: source of all randomness.

    Returns:
        Both, varied, in the same layout.
    """
    batch, _, size, _ = pictures.shape

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, (batch, *shape)).astype(np.float32))

    # p' = zoom * (p - 1/2) + 1/2 + shift; half of the frames stay as drawn, the way most clips come.
    moved = torch.from_numpy(rng.random(batch) < 0.5)
    zoom = torch.where(moved, uniform(0.6, 1.15), 1.0)
    shift = torch.where(moved[:, None], uniform(-0.08, 0.08, 2), 0.0)
    theta = torch.zeros(batch, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 / zoom
    theta[:, :, 2] = -2 * shift / zoom[:, None]
    grid = F.affine_grid(theta, list(pictures.shape), align_corners=False)
    edge = "zeros" if rng.random() < 0.5 else "border"
    pictures = F.grid_sample(pictures, grid, padding_mode=edge, align_corners=False)
    xy = zoom[:, None, None] * (points[..., :2] - 0.5) + 0.5 + shift[:, None]
    points = torch.cat([xy, points[..., 2:]], dim=-1)

    varied = []
    for picture in pictures:
        if rng.random() < 0.5:
            smaller = round(size / rng.uniform(1.2, 2.5))
            blurred = F.interpolate(picture[None], (smaller, smaller), mode="bilinear", antialias=True)
            picture = F.interpolate(blurred, (size, size), mode="bicubic" if rng.random() < 0.5 else "bilinear")[0]
        if rng.random() < 0.25:
            picture = _compress(picture, quality=int(rng.integers(15, 80)))
        varied.append(picture)
    pictures = torch.stack(varied)

    middle = pictures.mean((2, 3), keepdim=True)
    pictures = middle + uniform(0.75, 1.2, 3, 1, 1) * (pictures - middle)
    pictures = pictures * uniform(0.85, 1.15, 3, 1, 1) + uniform(-0.08, 0.08, 1, 1, 1)
    noise = torch.from_numpy(rng.standard_normal(pictures.shape, dtype=np.float32))
    return (pictures + uniform(0, 0.04, 1, 1, 1) * noise).clamp(0, 1), points


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
            ("wrist", lambda person: person.body[[4, 7]]),
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


class _Drawings:
    """A pool of drawn frames that is renewed a little for every batch."""

    def __init__(self, config: KeypointTrainingConfig) -> None:
        self._config = config
        self._pictures: list[np.ndarray] = []
        self._points: list[np.ndarray] = []
        rows = np.cumsum([0, *GROUPS.values()])
        starts = dict(zip(GROUPS, rows))
        self._rows = np.concatenate([starts[group] + np.arange(GROUPS[group]) for group in config.network.keypoints])

    def batch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Pictures [B, 3, S, S] with values 0 to 1 and their points [B, K, 3]."""
        # The first batch is all new; later ones mix in drawings of earlier steps.
        new = self._config.batch_size if not self._pictures else round(self._config.new_share * self._config.batch_size)
        chosen = []
        for _ in range(new):
            picture, person = draw_example(rng, self._config.network.input_size)
            slot = len(self._pictures)
            if slot < self._config.pool_size:
                self._pictures.append(picture)
                self._points.append(person.points[self._rows])
            else:
                slot = int(rng.integers(self._config.pool_size))
                self._pictures[slot], self._points[slot] = picture, person.points[self._rows]
            chosen.append(slot)
        chosen += rng.integers(len(self._pictures), size=self._config.batch_size - new).tolist()
        pictures = torch.from_numpy(np.stack([self._pictures[slot] for slot in chosen]))
        points = torch.from_numpy(np.stack([self._points[slot] for slot in chosen]))
        points[..., 2] = (points[..., 2] >= VISIBLE).float()
        return pictures.permute(0, 3, 1, 2).float() / 255, points


def draw_example(rng: np.random.Generator, size: int) -> tuple[np.ndarray, PersonKeypoints]:
    """One drawn frame of a random training identity, uint8 [size, size, 3], and its keypoints.

    Mouth, face and hands take independent random positions instead of following speech, so that the network learns to
    look rather than to expect one from the other.
    """
    identity = sample_identity(rng)
    motion = _random_motion(rng)
    return draw_frame(identity, motion, 0, size), from_frame(frame_keypoints(identity, motion, 0, size))


def _random_motion(rng: np.random.Generator) -> Motion:
    """A single frame's motion, somewhat beyond what speech causes."""
    # Half of the mouths are nearly shut, as in speech; the exact opening matters most there.
    opening = rng.uniform(0, 1) ** (2 if rng.random() < 0.5 else 1) * (rng.random() < 0.9)
    return Motion(
        mouth_opening=np.array([opening]),
        mouth_width=rng.uniform(0, 1, 1),
        blink=np.array([rng.uniform(0, 1) * (rng.random() < 0.3)]),
        brow=rng.uniform(0, 1, 1),
        head_x=rng.uniform(-0.015, 0.015, 1),
        head_y=rng.uniform(-0.006, 0.022, 1),
        head_tilt=rng.uniform(-0.07, 0.07, 1),
        body_x=rng.uniform(-0.01, 0.01, 1),
        right_wrist=_random_wrist(rng, side=-1)[None],
        left_wrist=_random_wrist(rng, side=1)[None],
    )


def _random_wrist(rng: np.random.Generator, side: int) -> np.ndarray:
    """Wrist [2] in frame fractions, from the resting place up to beyond the largest gesture; side -1 is the right."""
    # Hands rest most of the time, so the resting place gets more than its share of the area.
    spread = [rng.uniform(-0.04, 0.06), rng.uniform(-0.06, 0.02)]
    if rng.random() < 0.7:
        spread = [rng.uniform(-0.08, 0.15), rng.uniform(-0.30, 0.02)]
    outward, down = REST_WRIST + spread
    return np.array([0.5 + side * outward, down])


def _blur(frames: np.ndarray, factor: int) -> np.ndarray:
    """Frames uint8 [T, H, W, 3] scaled down by `factor` and up again."""
    if factor == 1:
        return frames
    height, width = frames.shape[1:3]
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    small = F.interpolate(pixels, (height // factor, width // factor), mode="bilinear", antialias=True)
    return F.interpolate(small, (height, width), mode="bilinear").round().byte().permute(0, 2, 3, 1).numpy()


def _compress(picture: Tensor, quality: int) -> Tensor:
    """JPEG-compress and decode one picture [3, S, S] with values 0 to 1; `quality` from 1 to 100."""
    import cv2

    pixels = (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return torch.from_numpy(cv2.imdecode(encoded, cv2.IMREAD_COLOR)).permute(2, 0, 1).float() / 255


def _learning_rate(config: KeypointTrainingConfig, step: int) -> float:
    """Warm-up over 50 steps, then a cosine to a hundredth of the peak."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / config.steps))
    return config.learning_rate * min(1.0, (step + 1) / 50) * (0.01 + 0.99 * cosine)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this training, for a parser of its own or a sub-command."""
    defaults = KeypointTrainingConfig()
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--steps", type=int, default=defaults.steps, help="optimiser steps (default %(default)s)")
    parser.add_argument("--batch-size", type=int, default=defaults.batch_size, help="default %(default)s")
    parser.add_argument("--learning-rate", type=float, default=defaults.learning_rate, help="default %(default)s")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="default %(default)s")
    parser.add_argument("--resume", action="store_true", help="go on with the unfinished run beside --out")
    parser.add_argument("--start", type=Path, help="trained weights to begin with instead of random ones")
    parser.add_argument("--held-out-clips", type=int, default=8, help="clips to measure on afterwards; 0 for none")


def run(arguments: argparse.Namespace) -> None:
    """Train as the parsed options say, then print the accuracy on held-out clips, sharp and blurred."""
    config = KeypointTrainingConfig(
        steps=arguments.steps,
        batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
    )
    network = train_keypoints(config, arguments.out, resume=arguments.resume, start=arguments.start)
    if arguments.held_out_clips:
        clips = held_out_clips(arguments.held_out_clips)
        for name, blur in (("sharp", 1), ("blurred x2", 2)):
            print(name, measure(network, clips, blur=blur), flush=True)


def held_out_clips(count: int, frames: int = 49) -> list[tuple[np.ndarray, list[PersonKeypoints]]]:
    """Clips of identities and voices that no training clip has: frames uint8 [T, H, W, 3] and T true persons each."""
    clips = [synthesize_clip(seed, frames=frames, held_out=True) for seed in range(count)]
    return [(clip.frames, [from_frame(frame) for frame in clip.keypoints]) for clip in clips]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    try:
        run(parser.parse_args())
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
