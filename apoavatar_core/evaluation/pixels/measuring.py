"""What the films and the predictions of a trained variant show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ...adapters import ApoAvatarAdapter
from ...data.prepared import PreparedClips
from ...gestures import find_accents, frame_loudness, speech_level
from ...hearing import heard_voice
from ...pose import KeypointNetwork
from ...refocusing import RefocusingConfig, gate_of
from ...synthetic import Clip
from ...training.config import Loss
from .. import measures, presenter
from ..frechet import film_features, frechet_distance
from ..losses import Case, clip_losses, load_model
from ..regions import COLOURS_EVERY, steady_regions

QUIET = 0.2
"""s̃ of Eq. 3 below which a frame is quiet."""
DRAWS = 2
"""Of noise and σ for each clip's losses."""
MOVING, MOUTH = Loss(motion_weight=1e6), Loss(mouth_weight=1e6)
"""Where the losses look: at what moves most, and at the mouth."""


@contextmanager
def with_another_voice(adapter: ApoAvatarAdapter) -> Iterator[None]:
    """Each clip is heard with the voice of another one beside it."""
    hook = adapter.audio_projection.register_forward_pre_hook(lambda layer, heard: (heard[0].roll(1, 0), *heard[1:]))
    yield
    hook.remove()


LOSSES = {
    "free_loss": Case("moves", "free", "S3", weights=MOVING),
    "hard_loss": Case("moves", "hard", "S4", weights=MOVING),
    "refocused_loss": Case("moves", "refocused", "S4", soft_gate=1.0, weights=MOVING),
    "mouth_loss": Case("mouth", "free", "S3", weights=MOUTH),
    "another_voice": Case("mouth", "another voice", "S3", weights=MOUTH, change=with_another_voice),
}


def measure_losses(dit: Path, adapter: Path, held_out: PreparedClips) -> dict[str, float]:
    """Eq. 1 of a model's files on held-out clips in each of LOSSES; clips, noise and σ are the same for every model."""
    model = load_model(dit, adapter)
    found = {name: float(clip_losses(model, held_out, case, DRAWS).mean()) for name, case in LOSSES.items()}
    found["worth"] = found.pop("another_voice") - found["mouth_loss"]
    return found


def voice_accents(clip: Clip) -> list[int]:
    """Frames of the voice's accents."""
    level = speech_level(frame_loudness(clip.speech, len(clip.frames), clip.fps))
    return [int(accent.time * clip.fps) for accent in find_accents(level, clip.fps)]


def measure_films(pairs: Iterable[tuple[Clip, np.ndarray]], network: KeypointNetwork) -> dict[str, float]:
    """What films of clips show: each film [T, H, W, 3] was made of its clip's portrait and voice."""
    rows, drawn_features, shown_features = [], [], []
    for clip, frames in pairs:
        film = presenter.watch(network, frames)
        loudness = frame_loudness(clip.speech, len(clip.frames), clip.fps)
        gate = gate_of(heard_voice(clip.speech, clip.sample_rate), len(clip.frames), clip.fps, RefocusingConfig())
        by_lag = measures.lagged_correlations(film.openings, loudness)
        rows.append(
            {
                "mouth_r": measures.in_time(by_lag),
                "mouth_r_by_lag": list(by_lag.values()),
                "hand_r": measures.hand_correlation(film.hand_speeds, loudness),
                "onset_frames": measures.onset_distance(voice_accents(clip), film.hand_speeds),
                "quiet_motion": 100 * measures.mean_seen(film.hand_speeds[1:], gate.normalized[1:] < QUIET),
                "hkc": measures.hand_confidence(film.people),
                "hkv": measures.hand_variance(film.people),
                "identity_delta_e": identity_without_pose(clip, frames),
            }
        )
        drawn_features.append(film_features(network, clip.frames))
        shown_features.append(film_features(network, frames))
    by_lag = np.mean([row.pop("mouth_r_by_lag") for row in rows], axis=0)
    found = {name: float(np.nanmean([row[name] for row in rows])) for name in rows[0]}
    found["mouth_lag_frames"] = measures.best_lag(dict(zip(measures.LAGS, by_lag.tolist())))
    found["frechet"] = frechet_distance(np.concatenate(drawn_features), np.concatenate(shown_features))
    return found


def identity_without_pose(clip: Clip, film: np.ndarray) -> float:
    """ΔE of skin, hair and clothes where the drawn clip shows each of them in every frame: there a presenter who makes
    other gestures shows them too.
    """
    steady, frames = steady_regions(clip), film[COLOURS_EVERY::COLOURS_EVERY]
    return measures.identity_difference(frames, [steady] * len(frames), clip.frames[0], steady)
