"""Gestures from a voice: reproducible, smooth, at rest in silence, stronger on stronger accents."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apoavatar_core.gestures import (
    CLOSE,
    LOOSE,
    SHAPES,
    Accent,
    BodyTrack,
    Bond,
    Phrase,
    Speaker,
    Voice,
    hear,
    perform,
    plan_gestures,
    pose_share,
    random_speaker,
)
from apoavatar_core.gestures.arms import arm_moves
from apoavatar_core.gestures.close import close_moves
from apoavatar_core.gestures.phases import Move, follow, minimum_jerk
from apoavatar_core.gestures.shapes import REST

seeds = st.integers(0, 2**32 - 1)
bonds = st.sampled_from([LOOSE, CLOSE])
speakers = seeds.map(lambda seed: random_speaker(np.random.default_rng(seed)))


@st.composite
def voices(draw) -> Voice:
    """One phrase of up to twelve accents, some of them too near for one gesture each."""
    gaps = draw(st.lists(st.floats(0.2, 3.0), max_size=12))
    strengths = draw(st.lists(st.floats(0.1, 1.0), min_size=len(gaps), max_size=len(gaps)))
    times = np.cumsum(gaps).tolist()
    phrases = (Phrase(0.0, times[-1] + 0.3),) if times else ()
    return Voice(sum(gaps) + 1.0, tuple(map(Accent, times, strengths)), phrases)


def syllables(*bursts: tuple[float, float, float], seconds: float) -> np.ndarray:
    """16 kHz noise in bursts of (start, end, gain), silence elsewhere."""
    time = np.arange(round(seconds * 16000)) / 16000
    noise = np.random.default_rng(0).standard_normal(len(time))
    gain = sum(level * np.clip(np.sin(np.pi * (time - start) / (end - start)), 0, 1) * (start < time) * (time < end)
               for start, end, level in bursts)
    return (0.3 * gain * noise).astype(np.float32)


def arrays(track: BodyTrack) -> dict[str, np.ndarray]:
    return {field.name: getattr(track, field.name) for field in fields(track)}


def spread(path: np.ndarray) -> float:
    """How far a path [T, D] gets from where it begins."""
    return float(np.linalg.norm(path - path[0], axis=1).max())


def test_gestures_need_no_drawing():
    code = "import sys, apoavatar_core.gestures; print([m for m in sys.modules if 'synthetic' in m or m == 'cv2'])"
    root = Path(__file__).parents[2]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_voice_is_heard_where_it_is_loud():
    voice = hear(syllables((0.5, 0.9, 1.0), (1.0, 1.4, 0.4), (3.0, 3.5, 0.8), seconds=5.0))
    assert [accent.time for accent in voice.accents] == pytest.approx([0.7, 1.2, 3.25], abs=0.06)
    assert voice.accents[1].strength < voice.accents[2].strength <= voice.accents[0].strength
    assert [(phrase.start, phrase.end) for phrase in voice.phrases] == [
        (pytest.approx(0.5, abs=0.12), pytest.approx(1.4, abs=0.12)),
        (pytest.approx(3.0, abs=0.12), pytest.approx(3.5, abs=0.12)),
    ]


@pytest.mark.parametrize("samples", [0, 1, 400, 16000])
def test_silence_says_nothing(samples):
    voice = hear(np.zeros(samples, np.float32))
    assert voice.accents == () and voice.phrases == ()


def test_minimum_jerk_is_the_polynomial_of_fifth_degree_at_rest_at_both_ends():
    powers = np.arange(6)
    place = lambda x: x**powers  # noqa: E731
    speed = lambda x: powers * np.where(powers > 0, float(x) ** np.maximum(powers - 1, 0), 0)  # noqa: E731
    push = lambda x: powers * (powers - 1) * np.where(powers > 1, float(x) ** np.maximum(powers - 2, 0), 0)  # noqa: E731
    conditions = np.array([place(0.0), place(1.0), speed(0), speed(1), push(0), push(1)])
    coefficients = np.linalg.solve(conditions, [0, 1, 0, 0, 0, 0])
    x = np.linspace(0, 1, 21)
    assert minimum_jerk(x) == pytest.approx(np.polyval(coefficients[::-1], x), abs=1e-12)
    assert minimum_jerk(np.array([-1.0, 2.0])).tolist() == [0, 1]


def test_overlapping_moves_end_where_the_last_one_leads():
    moves = [Move(0.0, 1.0, np.array([1.0, 0.0])), Move(0.6, 1.0, np.array([1.0, 3.0]))]
    path = follow(np.zeros(2), moves, np.array([-1.0, 0.5, 1.6, 9.0]))
    assert path == pytest.approx(np.array([[0, 0], [0.5, 0], [1, 3], [1, 3]]))


@settings(max_examples=30, deadline=None)
@given(voices(), speakers, seeds, bonds)
def test_velocity_and_acceleration_never_jump(voice, speaker, seed, bond):
    gestures = plan_gestures(voice, speaker, seed, bond)
    for side in ("right", "left"):
        moves = (close_moves if bond.close else arm_moves)(gestures, side, speaker, REST)
        # A tenth of the time step must leave a tenth of the step in acceleration: of a jump it would leave all.
        for move in moves:
            for edge in (move.start, move.end):
                changes = []
                for step in (1e-2, 1e-3):
                    path = follow(REST, moves, edge + step * np.arange(-4, 5))
                    acceleration = np.diff(path, 2, axis=0) / step**2
                    changes.append(np.abs(np.diff(acceleration, axis=0)).max())
                assert changes[1] <= 0.3 * changes[0] + 1e-3


@settings(max_examples=40, deadline=None)
@given(voices(), speakers, seeds, st.integers(0, 400), st.sampled_from([12, 24, 25, 60]), bonds)
def test_any_length_the_same_every_time(voice, speaker, seed, frames, fps, bond):
    first, second = (arrays(perform(voice, speaker, frames, fps, seed, bond)) for _ in range(2))
    for name, track in first.items():
        assert len(track) == frames and track.dtype == np.float32 and np.isfinite(track).all(), name
        assert np.array_equal(track, second[name]), name


@settings(max_examples=20, deadline=None)
@given(voices(), speakers, seeds)
def test_a_longer_performance_begins_like_a_shorter_one_and_the_frame_rate_changes_nothing(voice, speaker, seed):
    short = arrays(perform(voice, speaker, 40, 24, seed))
    long = arrays(perform(voice, speaker, 70, 24, seed))
    fine = arrays(perform(voice, speaker, 120, 72, seed))
    for name, track in short.items():
        assert track == pytest.approx(long[name][:40], abs=1e-5), name
        # The middle of frame t at 24 fps is that of frame 3t + 1 at 72.
        assert track == pytest.approx(fine[name][1::3], abs=1e-5), name


@settings(max_examples=40, deadline=None)
@given(voices(), speakers, seeds, bonds)
def test_hands_rest_in_long_silences(voice, speaker, seed, bond):
    voice = replace(voice, seconds=voice.seconds + 12)
    track = perform(voice, speaker, round(24 * voice.seconds), 24, seed, bond)
    rested = round(24 * (voice.seconds - 12 + 4))
    for side in ("right", "left"):
        arm = np.concatenate([getattr(track, f"{side}_wrist"), getattr(track, f"{side}_hand")], axis=1)
        assert np.abs(arm[rested:] - REST).max() < 1e-5
    assert np.ptp(track.breath[rested:]) > 0, "who rests breathes"


@settings(max_examples=60, deadline=None)
@given(voices().filter(lambda voice: voice.accents), speakers, seeds, st.floats(0, 1), st.floats(0, 1), st.data())
def test_a_louder_accent_never_makes_a_smaller_stroke(voice, speaker, seed, share, louder, data):
    index = data.draw(st.integers(0, len(voice.accents) - 1))
    accent = voice.accents[index]
    raised = replace(accent, strength=accent.strength + louder * (1 - accent.strength))
    other = replace(voice, accents=(*voice.accents[:index], raised, *voice.accents[index + 1 :]))
    moment = accent.time - speaker.lead
    before, after = (
        [gesture.size for gesture in plan_gestures(heard, speaker, seed, Bond(voice_share=share)) if abs(gesture.time - moment) < 1e-9]
        for heard in (voice, other)
    )
    assert sum(before) <= sum(after)


@settings(max_examples=40, deadline=None)
@given(speakers, seeds, st.floats(0.1, 1), st.floats(0.1, 1), st.floats(0.2, 2))
def test_the_hand_goes_farther_on_the_louder_of_two_lonely_accents(speaker, seed, first, second, time):
    speaker = replace(speaker, energy=1.5)
    ranges = []
    for strength in sorted((first, second)):
        voice = Voice(4.0, (Accent(time, strength),), (Phrase(0.0, time + 0.3),))
        track = perform(voice, speaker, 96, 24, seed, bond=Bond(voice_share=1.0))
        stroke = slice(max(0, round(24 * (time - 0.3))), round(24 * (time + 0.35)))
        ranges.append(sum(spread(getattr(track, f"{side}_wrist")[stroke]) for side in ("right", "left")))
    assert ranges[0] <= ranges[1] + 1e-3 and ranges[1] > 0


@settings(max_examples=40, deadline=None)
@given(voices(), speakers, seeds)
def test_strokes_take_as_long_as_peoples(voice, speaker, seed):
    assert all(0.4 <= gesture.duration <= 0.7 for gesture in plan_gestures(voice, speaker, seed))


def test_the_speaker_decides_hand_shape_and_size():
    accents = tuple(Accent(2.0 * i + 1, 0.6) for i in range(40))
    voice = Voice(82.0, accents, (Phrase(0.0, 81.0),))
    right_handed = Speaker(right_hand=1.0, both_hands=0.0, energy=1.0, shapes=(0.0, 0.0, 1.0, 0.0))
    gestures = plan_gestures(voice, right_handed, seed=1)
    assert len(gestures) > 30
    assert all(gesture.right and not gesture.left for gesture in gestures)
    assert {gesture.shape for gesture in gestures} == {tuple(SHAPES)[2]}
    larger = plan_gestures(voice, replace(right_handed, range=1.3), seed=1)
    assert all(b.size == pytest.approx(1.3 * a.size) for a, b in zip(gestures, larger, strict=True))
    earlier = plan_gestures(voice, replace(right_handed, lead=0.13), seed=1)
    assert all(a.time - b.time == pytest.approx(0.1) for a, b in zip(gestures, earlier, strict=True))
    calmer = plan_gestures(voice, replace(right_handed, energy=0.4), seed=1)
    assert len(calmer) < 0.75 * len(gestures)


def test_the_share_of_cues_on_accents_is_the_worlds_number():
    accents = tuple(Accent(2.0 * i + 1, 0.6) for i in range(200))
    voice = Voice(402.0, accents, (Phrase(0.0, 401.0),))
    speaker = Speaker(energy=1.5, lead=0.0)
    moments = {accent.time for accent in accents}
    for share in (0.0, 0.5, 1.0):
        gestures = plan_gestures(voice, speaker, 3, Bond(voice_share=share))
        on_accents = sum(gesture.time in moments for gesture in gestures) / len(accents)
        assert on_accents == pytest.approx(share, abs=0.09)


def test_pose_share_is_nothing_for_what_the_voice_decides_and_all_for_what_it_does_not():
    rng = np.random.default_rng(0)
    places = rng.standard_normal((2, 1, 50, 3))
    assert pose_share(list(np.repeat(places, 4, axis=1))) == pytest.approx(0)
    assert pose_share(list(rng.standard_normal((20, 50, 100, 3)))) == pytest.approx(1, abs=0.03)
    half = [rng.standard_normal((1, 100, 3)) + rng.standard_normal((50, 100, 3)) for _ in range(20)]
    assert pose_share(half) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("wrong", [{"energy": -1.0}, {"calm": float("nan")}, {"shapes": (1.0,)}, {"shapes": (0.0,) * 4}])
def test_an_impossible_speaker_is_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Speaker(**wrong)
