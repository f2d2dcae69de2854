"""Gestures from voices, measured on the keypoints of one standing person.

Hands are the wrists on the picture. A pause is whatever lies between the voice's phrases, 0.3 seconds at least.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..data.film import Film
from ..gestures import Voice, frame_loudness, hear
from ..gestures.body import SHOULDERS, Arm, lay_on, portrait_body
from ..gestures.from_voice import Dials, moving_body
from ..gestures.joints import outside_range
from ..gestures.style import FilmStyle, film_style, jerk, seen_bones
from ..hearing import heard_voice
from ..pose import PersonKeypoints, estimate, hand_speed, load_pose_model
from ..synthetic.speech import HELD_OUT_VOICES, synthesize_speech
from ..waveform import SAMPLE_RATE
from . import measures
from .target import Target

FPS = 24.0
SEED = 0
SPOKEN_SECONDS = 10.0
_SPOKEN_STREAM = 77
_BONE_SLACK = 1.01
_ANGLES = np.radians(np.arange(-180, 181, 20))

TARGETS = {
    "hand_r": Target("≥", 0.7),
    "onset_frames": Target("≤", 2),
    "quiet_ratio": Target("≤", 0.15),
    "outside_range": Target("≤", 0),
}

ASPECT = 0.75
STANDING = {
    0: (0.50, 0.25), 1: (0.50, 0.42), 2: (0.34, 0.42), 5: (0.66, 0.42), 14: (0.46, 0.21), 15: (0.54, 0.21),
    16: (0.41, 0.23), 17: (0.59, 0.23),
}  # fmt: skip
"""A person down to the hips, arms not seen, on a picture of `ASPECT`."""


def standing_person() -> PersonKeypoints:
    points = PersonKeypoints.nobody().points
    for index, place in STANDING.items():
        points[index] = *place, 1.0
    return PersonKeypoints.from_points(points)


def read_voices(files: Sequence[Path], spoken: int) -> Iterator[tuple[str, np.ndarray]]:
    """(name, mono 16 kHz speech) of sound files, then of so many voices of espeak-ng, held out from training.

    Raises:
        ValueError: when a file is no sound.
    """
    import soundfile

    for file in files:
        try:
            samples, rate = soundfile.read(file, always_2d=True)
        except (RuntimeError, OSError) as error:
            raise ValueError(f"{file} cannot be read as sound ({error}); give a WAV or FLAC file.") from None
        yield file.name, heard_voice(samples.T, rate).samples
    for number in range(spoken):
        rng = np.random.default_rng([_SPOKEN_STREAM, number])
        yield f"espeak-ng {number}", synthesize_speech(rng, SPOKEN_SECONDS, voices=HELD_OUT_VOICES)


def watch_film(file: Path, model: Path) -> tuple[FilmStyle, float]:
    """The style of a film of one person, whose pose is extracted from its pictures, and its wrists' `jerk_99`."""
    film = Film(file, file.name)
    stream = film.container.streams.video[0]
    fps = float(stream.average_rate)
    height, width = next(film.container.decode(stream)).to_ndarray(format="rgb24").shape[:2]
    pictures, _ = film.pictures(0, len(film.begins), fps, width, height)
    film.close()
    people = estimate(load_pose_model(model), pictures)
    return film_style(people, width / height, fps), jerk_99(people, width / height, fps)


def jerk_99(people: Sequence[PersonKeypoints], aspect: float, fps: float) -> float:
    """99th percentile of the jerk of a film's wrists as its keypoints are, in arm lengths per second cubed."""
    jerks = np.concatenate([jerk(upper, fore, fps) for upper, fore, _ in seen_bones(people, aspect).values()])
    return float(np.nanpercentile(jerks, 99))


def measure(speech: np.ndarray, style: FilmStyle | None = None) -> dict[str, float]:
    """All measures of the gestures on one voice, mono 16 kHz, with the default dials."""
    voice, frames = hear(speech), math.floor(len(speech) / SAMPLE_RATE * FPS)
    body = portrait_body(standing_person(), ASPECT)
    arms, track = moving_body(speech, body, frames, FPS, SEED, Dials(), style)
    people = lay_on(body, arms, track)
    # The speed at frame t is the way from the middle of frame t − 1 to that of frame t.
    speed = hand_speed(people, ASPECT)
    accents = [round(accent.time * FPS) for accent in voice.accents]
    distances = measures.onset_distances(accents, speed)
    found = {
        "hand_r": measures.hand_correlation(speed, frame_loudness(speech, frames, FPS)),
        "onset_frames": statistics.median(distances) if distances else math.nan,
        "quiet_ratio": quiet_ratio(speed, voice),
        "outside_range": float(np.mean(outside_range(arms.values(), track) | _stretched(people, body.upper, body.fore))),
        "jerk": max(float(jerk(arm.upper, arm.fore, FPS).max(initial=0.0)) for arm in arms.values()),
    }
    if style is not None:
        speaking = in_speech(voice, frames)
        found["limb_angle_distance"] = limb_angle_distance(style.arms, arms, speaking)
    return found


def in_speech(voice: Voice, frames: int) -> np.ndarray:
    """Whether the middle of each frame lies in a phrase: bool [T]."""
    times = (np.arange(frames) + 0.5) / FPS
    return np.any([(times >= phrase.start) & (times < phrase.end) for phrase in voice.phrases], axis=0) & np.ones(frames, bool)


def quiet_ratio(speed: np.ndarray, voice: Voice) -> float:
    """Mean hand speed [T] in pauses over that in speech; NaN for a voice that never pauses or never speaks."""
    speaking = in_speech(voice, len(speed))
    quiet, loud = measures.mean_seen(speed, ~speaking), measures.mean_seen(speed, speaking)
    return quiet / loud if loud > 0 else math.nan


def limb_angle_distance(film: Mapping[str, Arm], made: Mapping[str, Arm], where: np.ndarray) -> float:
    """How far the angles of arms on the picture are from a film's, 0 the same … 1 disjoint: mean over the four bones of
    the total variation between histograms of 20°, of all the film's frames and of the made ones `where` it counts [T].
    """

    def shares(bone: np.ndarray) -> np.ndarray:
        counts, _ = np.histogram(np.arctan2(bone[:, 0], bone[:, 1]), _ANGLES)
        return counts / max(counts.sum(), 1)

    return statistics.fmean(
        float(np.abs(shares(getattr(film[side], bone)) - shares(getattr(made[side], bone)[where])).sum() / 2)
        for side in SHOULDERS
        for bone in ("upper", "fore")
    )


def heading() -> str:
    return f"{'voice':24} {'hand_r':>7} {'onset':>6} {'quiet':>6} {'outside':>8} {'jerk':>7}"


def line(row: dict) -> str:
    text = (
        f"{row['voice'][:24]:24} {row['hand_r']:7.2f} {row['onset_frames']:6.1f} {row['quiet_ratio']:6.2f} "
        f"{row['outside_range']:8.3f} {row['jerk']:7.0f}"
    )
    return text + (f"  limb angles {row['limb_angle_distance']:.2f}" if "limb_angle_distance" in row else "")


def summary(rows: list[dict]) -> str:
    """How many voices meet each target."""
    lines = []
    for name, target in TARGETS.items():
        values = [row[name] for row in rows if math.isfinite(row[name])]
        lines.append(f"{name} {target}: {sum(map(target.is_met, values))} of {len(values)}")
    return "\n".join(lines)


def _stretched(people: Sequence[PersonKeypoints], upper: float, fore: float) -> np.ndarray:
    """Whether a bone of an arm is longer on the picture than it is: bool [T]."""
    joints = np.stack([person.body[:8, :2] for person in people]) * (ASPECT, 1.0) if people else np.zeros((0, 8, 2))
    bones = np.linalg.norm(np.diff(joints[:, [[2, 3, 4], [5, 6, 7]]], axis=2), axis=-1)
    return (bones > _BONE_SLACK * np.array([upper, fore])).any((1, 2))
