"""What is measured of one clip: the model's films of its presenter and its voice, beside the drawn clip itself.

Mouths are read as the distance of the inner lips that the shipped keypoint network finds. On drawn clips this track
correlates with the true opening by r = 0.96, and by 0.98, 0.97 and 0.95 when the pictures are blurred by scaling them
down and up again by 2, 3 and 4. The darkness of the mouth region does no better on sharp pictures (0.96, 0.97, 0.97),
falls to 0.88 on the softest and depends on the colour of the skin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..gestures import frame_loudness
from ..pose import PersonKeypoints, PoseModel, from_frame, hand_speed
from ..synthetic import Clip, draw_clip, speech_motion
from ..tiny.hand_detail import gradient_energy, hand_box
from . import measures
from .gate_bands import band_motion, borrowed_pose, gate_of_clip
from .named_colours import named, named_share, palettes_of
from .presenter_films import HARD, POSE_FREE, RECONSTRUCTION, REFOCUSED, SILENCE, TEXTS
from .regions import COLOURS_EVERY, bare_wall, sampled_regions, steady_regions
from .styles import STYLES, styled
from .watching import Film, both_hands_seen, watch

QUIET = 0.2
"""s̃ of Eq. 3 below which a frame is quiet."""
TO_COMPARE = (POSE_FREE, HARD, SILENCE, REFOCUSED)
"""The films that the keypoint network looks at for `measure_movement`."""
Values = dict[str, float | int | list[float]]
"""What is measured, by its name; NaN where nothing could be."""


def measured(
    clip: Clip, seed: int, pictures: Mapping[str, np.ndarray], network: PoseModel
) -> tuple[Values, Values, dict[str, Film]]:
    """All measures of a model's films of a clip, those of the drawn clip, and what the network sees in the films.

    Args:
        seed: the clip's.
        pictures: uint8 [T, H, W, 3] for each of MODES and for RECONSTRUCTION.
    """
    films = {mode: watch(network, frames) for mode, frames in pictures.items() if mode != RECONSTRUCTION}
    ideal = drawn_pictures(clip, pictures[RECONSTRUCTION])
    seen = watch(network, clip.frames)
    drawn = {mode: seen for mode in ideal} | {mode: watch(network, ideal[mode]) for mode in (SILENCE, *STYLES)}
    shut = measures.mean_seen(drawn[SILENCE].openings)
    generated, true = (
        measure_movement(clip, seed, seen_in, shut) | measure_colours(clip, shown[HARD], shown[RECONSTRUCTION])
        | measure_hands(clip, seen_in, shown[HARD]) | measure_text(clip, shown) | measure_styles(clip, seen_in, shown)
        for seen_in, shown in ((films, pictures), (drawn, ideal))
    )  # fmt: skip
    return generated, true, films


def drawn_pictures(clip: Clip, reconstruction: np.ndarray) -> dict[str, np.ndarray]:
    """What a perfect model would show in each mode, with the VAE's own reconstruction to compare with."""
    styles = {style: np.stack([styled(clip, style, t) for t in range(len(clip.frames))]) for style in STYLES}
    own = dict.fromkeys((POSE_FREE, HARD, REFOCUSED, *TEXTS), clip.frames)
    return own | styles | {SILENCE: silent_drawing(clip), RECONSTRUCTION: reconstruction}


def silent_drawing(clip: Clip) -> np.ndarray:
    """The clip's presenter drawn saying nothing: uint8 [T, H, W, 3]."""
    nothing = np.zeros_like(clip.speech)
    motion = speech_motion(nothing, len(clip.frames), clip.fps, clip.identity, np.random.default_rng(0))
    return draw_clip(clip.identity, motion, clip.frames.shape[1])


def measure_movement(clip: Clip, seed: int, films: Mapping[str, Film], shut_opening: float) -> Values:
    """How mouth and hands move with the voice, and with a pose.

    Args:
        clip: the true sound and pose.
        seed: the clip's, which says whose pose was refocused.
        films: one for each of TO_COMPARE.
        shut_opening: what the network reads from this presenter's shut mouth.
    """
    gate = gate_of_clip(clip)
    loudness = frame_loudness(clip.speech, len(clip.frames), clip.fps)
    spoken = films[POSE_FREE]
    by_lag = measures.lagged_correlations(spoken.openings, loudness)
    pose = [from_frame(frame) for frame in clip.keypoints]
    aspect = clip.frames.shape[2] / clip.frames.shape[1]
    asked = hand_speed([from_frame(frame) for frame in borrowed_pose(clip, seed)], aspect)
    moved, wanted = band_motion(films[REFOCUSED].hand_speeds, asked, gate.keep)
    return {
        "mouth_r": measures.in_time(by_lag),
        "mouth_r_by_lag": list(by_lag.values()),
        "mouth_seen": float(np.isfinite(spoken.openings).mean()),
        "hand_r": measures.hand_correlation(spoken.hand_speeds, loudness),
        "quiet_motion": measures.mean_seen(spoken.hand_speeds[1:], gate.normalized[1:] < QUIET),
        "pose_error": measures.pose_error(films[HARD].people, pose, aspect),
        "pose_error_without_pose": measures.pose_error(spoken.people, pose, aspect),
        "band_moved": moved,
        "band_asked": wanted,
        "opening_loud": measures.mean_seen(spoken.openings, gate.normalized > measures.LOUD),
        # Frame 0 is the reference picture, whose mouth may be open.
        "opening_silent": measures.mean_seen(films[SILENCE].openings[1:]),
        "opening_shut": shut_opening,
    }


def measure_hands(clip: Clip, films: Mapping[str, Film], posed: np.ndarray) -> Values:
    """Whether hands are seen, and how sharp they are.

    posed: uint8 [T, H, W, 3], the film of HARD, whose hands are where the clip's are.
    """
    pose = [from_frame(frame) for frame in clip.keypoints]
    size = clip.frames.shape[1:3]
    seen = {f"hands_{mode}": both_hands_seen(films[mode].people, pose, *size) for mode in (HARD, POSE_FREE)}
    return seen | {"hand_energy": hand_energy(posed, pose)}


def hand_energy(film: np.ndarray, pose: Sequence[PersonKeypoints]) -> float:
    """Mean gradient energy in the boxes of all hands that a pose shows; NaN when it shows none."""
    size = film.shape[1:3]
    boxes = [(t, hand_box(hand, *size)) for t, person in enumerate(pose) for hand in (person.right_hand, person.left_hand)]
    found = [gradient_energy(film[t][box]) for t, box in boxes if box]
    return float(np.mean(found)) if found else float("nan")


def measure_text(clip: Clip, pictures: Mapping[str, np.ndarray]) -> Values:
    """Whether films without a portrait have the colours that the text names, and the more the more the text weighs."""
    palettes = palettes_of(clip)
    told = {f"text_{thing}": share for thing, share in named(palettes, pictures[TEXTS[0]]).items()}
    return told | {"named_share": [named_share(palettes, pictures[text]) for text in TEXTS]}


def measure_styles(clip: Clip, films: Mapping[str, Film], pictures: Mapping[str, np.ndarray]) -> Values:
    """How films of portraits in other styles speak, gesture and keep their colours."""
    loudness = frame_loudness(clip.speech, len(clip.frames), clip.fps)
    pose, regions, found = [from_frame(frame) for frame in clip.keypoints], steady_regions(clip), {}
    for style in STYLES:
        shown, portrait = pictures[style][COLOURS_EVERY::COLOURS_EVERY], styled(clip, style, 0)
        found |= {
            f"{style}_mouth_r": measures.in_time(measures.lagged_correlations(films[style].openings, loudness)),
            f"{style}_hands": both_hands_seen(films[style].people, pose, *clip.frames.shape[1:3]),
            f"{style}_delta_e": measures.identity_difference(shown, [regions] * len(shown), portrait, regions),
        }
    return found


def measure_colours(clip: Clip, posed: np.ndarray, reconstruction: np.ndarray) -> Values:
    """How well a film keeps the presenter's colours, and how restless its wall is, beside the VAE's own.

    Args:
        clip: the portrait is its first frame; its motion says where to look.
        posed: uint8 [T, H, W, 3], the film of HARD, whose presenter is where the clip's is.
        reconstruction: the same of RECONSTRUCTION.
    """
    # Frame 0 is the portrait itself.
    frames = range(COLOURS_EVERY, len(clip.frames), COLOURS_EVERY)
    regions, wall = sampled_regions(clip), bare_wall(clip)
    return {
        "identity_delta_e": measures.identity_difference(
            posed[frames.start :: frames.step], [regions[t] for t in frames], clip.frames[0], regions[0]
        ),
        "flicker": measures.flicker(posed, wall),
        "flicker_vae": measures.flicker(reconstruction, wall),
    }
