"""The synthetic presenter: reproducible, consistent with its keypoints, driven by its voice."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("cv2", reason="the synthetic presenter is drawn with OpenCV: pip install opencv-python-headless")

from apoavatar_core.synthetic import (
    HELD_OUT_VOICES,
    TRAINING_VOICES,
    Motion,
    describe,
    draw_frame,
    frame_keypoints,
    sample_identity,
    speech_motion,
    synthesize_clip,
    synthesize_performance,
    synthesize_speech,
)
from apoavatar_core.synthetic import speech as speech_module
from apoavatar_core.synthetic.drawing.face import MOUTH_INTERIOR
from apoavatar_core.synthetic.identity import is_held_out
from apoavatar_core.synthetic.motion import SAMPLE_RATE, frame_loudness

FRAMES, FPS, SIZE = 49, 24, 128


def burst_speech(*bursts: tuple[float, float, float], seconds: float = FRAMES / FPS) -> np.ndarray:
    """Buzzing bursts, each given as (start, end, gain), in silence."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    buzz = np.sign(np.sin(2 * np.pi * 140 * time))
    gain = np.zeros_like(time)
    for start, end, level in bursts:
        inside = (time >= start) & (time < end)
        gain[inside] = level * np.sin(np.pi * (time[inside] - start) / (end - start))
    return (gain * buzz).astype(np.float32)


def motion_for(speech: np.ndarray, seed: int = 0, frames: int = FRAMES) -> Motion:
    identity = sample_identity(np.random.default_rng(seed))
    return speech_motion(speech, frames, FPS, identity, np.random.default_rng(seed))


def posed(motion: Motion, **constants: float) -> Motion:
    """The motion with some of its tracks held at a constant."""
    held = {name: np.full(len(motion), value, np.float32) for name, value in constants.items()}
    return dataclasses.replace(motion, **held)


def hand_speed(motion: Motion) -> np.ndarray:
    wrists = (motion.right_wrist, motion.left_wrist)
    return np.mean([np.linalg.norm(np.gradient(w.astype(float), axis=0), axis=1) for w in wrists], axis=0)


def moving_average(values: np.ndarray) -> np.ndarray:
    return np.convolve(values, np.ones(5) / 5, mode="same")


def keypoint_array(keypoints: dict, name: str) -> np.ndarray:
    return np.array(keypoints["people"][0][name]).reshape(-1, 3)


def test_same_seed_gives_the_same_bits():
    first, second = (synthesize_clip(5, frames=9) for _ in range(2))
    assert np.array_equal(first.frames, second.frames)
    assert np.array_equal(first.speech, second.speech)
    assert first.keypoints == second.keypoints
    assert first.caption == second.caption


def test_different_seeds_and_streams_differ():
    clips = [synthesize_clip(1, frames=5), synthesize_clip(2, frames=5), synthesize_clip(1, frames=5, held_out=True)]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert not np.array_equal(clips[first].frames, clips[second].frames)
        assert not np.array_equal(clips[first].speech, clips[second].speech)


def test_clip_has_the_promised_shapes():
    clip = synthesize_clip(3, frames=13, size=96)
    assert clip.frames.shape == (13, 96, 96, 3) and clip.frames.dtype == np.uint8
    assert clip.speech.shape == (round(13 / 24 * 16000),) and clip.speech.dtype == np.float32
    assert clip.sample_rate == 16000 and len(clip.keypoints) == 13 == len(clip.motion)
    assert clip.caption == describe(clip.identity)


def test_held_out_voices_and_looks_are_not_trained_on():
    assert TRAINING_VOICES and HELD_OUT_VOICES
    assert not set(TRAINING_VOICES) & set(HELD_OUT_VOICES)
    variants = [{voice.partition("+")[2] for voice in voices} for voices in (TRAINING_VOICES, HELD_OUT_VOICES)]
    assert not variants[0] & variants[1]
    rng = np.random.default_rng(0)
    assert not any(is_held_out(sample_identity(rng)) for _ in range(50))
    assert all(is_held_out(sample_identity(rng, held_out=True)) for _ in range(20))


def test_speech_has_loud_parts_and_silences():
    for seed in range(6):
        loudness = frame_loudness(synthesize_speech(np.random.default_rng(seed), 3.0), 72, FPS)
        assert np.max(loudness) > 0.02
        assert np.mean(loudness < 0.1 * np.max(loudness)) > 0.08


def test_words_sound_the_same_whatever_and_whenever_was_spoken_before():
    """espeak-ng keeps its oscillators' phases between utterances and seeds its noise with the second."""
    first = speech_module._speak("believe me", "en-us+f3", 150, 50)
    speech_module._speak("the old house", "es+m1", 180, 40)
    time.sleep(1 - time.time() % 1)
    assert np.array_equal(speech_module._speak("believe me", "en-us+f3", 150, 50), first)


def test_every_language_and_variant_has_a_sound_of_its_own():
    voices = TRAINING_VOICES + HELD_OUT_VOICES
    languages, variants = ({voice.partition("+")[part] for voice in voices} for part in (0, 2))
    spoken = [f"{language}+m1" for language in languages] + [f"en-us+{variant}" for variant in variants - {"m1"}]
    sounds = {speech_module._speak("the answer is that", voice, 160, 50).tobytes() for voice in spoken}
    assert len(sounds) == len(languages) + len(variants) - 1


def test_speed_and_pitch_are_heard():
    def period(pitch: int) -> int:
        """Samples from one pulse of the glottis to the next, in the middle of a long vowel."""
        waveform = speech_module._speak("la", "en-us+m1", 100, pitch)
        middle = waveform[len(waveform) // 2 :][:2000]
        return 40 + int(np.argmax(np.correlate(middle, middle, "full")[2000 + 39 : 2000 + 300]))

    quick, slow = (speech_module._speak("a very long day", "en-us+m1", speed, 50) for speed in (199, 135))
    assert 1.2 < len(slow) / len(quick) < 1.7
    assert period(25) > 1.3 * period(75)


def test_a_voice_that_is_not_there_is_named():
    with pytest.raises(RuntimeError, match="'xx-yy'.*no such voice"):
        synthesize_speech(np.random.default_rng(0), 1.0, voices=("xx-yy",))


def test_a_missing_espeak_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(RuntimeError, match="pip install espeakng-loader"):
        synthesize_speech(np.random.default_rng(0), 1.0)


def test_silence_shuts_the_mouth_and_rests_the_hands():
    silent = motion_for(np.zeros(round(FRAMES / FPS * SAMPLE_RATE), np.float32))
    assert np.all(silent.mouth_opening == 0)
    assert np.all(hand_speed(silent) == 0)
    ended = motion_for(burst_speech((0.1, 0.5, 0.6), seconds=4.0), frames=96)
    assert np.max(ended.mouth_opening) > 0.8
    assert np.all(ended.mouth_opening[16:] == 0)
    assert np.max(hand_speed(ended)[:24]) > 0.005
    assert np.all(hand_speed(ended)[72:] < 1e-6)


def test_motion_ignores_the_recording_gain():
    speech = burst_speech((0.1, 0.6, 0.3), (0.9, 1.5, 0.5))
    normal, loud = motion_for(speech), motion_for(1.8 * speech)
    assert np.allclose(normal.mouth_opening, loud.mouth_opening, atol=1e-5)
    assert np.allclose(normal.right_wrist, loud.right_wrist, atol=1e-5)


def test_louder_accents_make_larger_strokes():
    motion = motion_for(burst_speech((0.2, 0.5, 0.25), (2.6, 2.9, 0.6), seconds=4.0), frames=96)
    rise = motion.right_wrist[0, 1] - motion.right_wrist[:, 1]
    assert rise[55:].max() > 2 * rise[:50].max() > 0.02
    assert 0.10 < rise.max() < 0.25


def test_mouth_and_hands_follow_loudness():
    mouth, hands = [], []
    for seed in range(10):
        performance = synthesize_performance(seed)
        loudness = frame_loudness(performance.speech, FRAMES, FPS)
        mouth.append(np.corrcoef(performance.motion.mouth_opening, loudness)[0, 1])
        speed = moving_average(hand_speed(performance.motion))
        hands.append(np.corrcoef(speed, moving_average(loudness))[0, 1])
    assert min(mouth) > 0.8
    assert np.mean(hands) > 0.6


@pytest.mark.parametrize("seed", range(8))
def test_hand_keypoints_lie_on_skin(seed):
    identity = sample_identity(np.random.default_rng(seed))
    motion = motion_for(burst_speech((0.2, 0.6, 0.5), (0.9, 1.4, 0.5)), seed)
    for t in (0, 11, 30):
        picture = draw_frame(identity, motion, t, SIZE).astype(int)
        keypoints = frame_keypoints(identity, motion, t, SIZE)
        for name in ("hand_left_keypoints_2d", "hand_right_keypoints_2d"):
            hand = keypoint_array(keypoints, name)
            palm = hand[[0, 5, 17], :2].mean(axis=0)
            for x, y in (palm, hand[4, :2]):
                assert np.abs(picture[int(y), int(x)] - identity.skin_rgb).max() < 45


def test_mouth_interior_grows_with_the_opening_and_its_keypoints():
    identity = sample_identity(np.random.default_rng(4))
    silent = motion_for(np.zeros(4000, np.float32), frames=2)
    areas, gaps = [], []
    for opening in (0.0, 0.25, 0.5, 0.75, 1.0):
        motion = posed(silent, mouth_opening=opening)
        picture = draw_frame(identity, motion, 0, SIZE).astype(int)
        face = keypoint_array(frame_keypoints(identity, motion, 0, SIZE), "face_keypoints_2d")
        left, right = int(face[48, 0]), int(face[54, 0]) + 1
        mouth = picture[int(face[51, 1]) - 1 : int(face[57, 1]) + 2, left:right]
        areas.append(int((np.abs(mouth - MOUTH_INTERIOR).max(axis=-1) < 30).sum()))
        gaps.append(face[66, 1] - face[62, 1])
    assert areas == sorted(areas) and areas[-1] > areas[0] + 40
    assert gaps == sorted(gaps) and gaps[0] == 0 and 0.08 * SIZE < gaps[-1] < 0.1 * SIZE


@pytest.mark.parametrize("seed", range(12))
def test_visible_points_stay_inside_the_frame(seed):
    identity = sample_identity(np.random.default_rng(seed))
    motion = motion_for(burst_speech((0.1, 0.5, 0.6), (0.7, 1.1, 0.6), (1.3, 1.9, 0.4)), seed)
    for t in range(0, FRAMES, 4):
        keypoints = frame_keypoints(identity, motion, t, SIZE)
        body = keypoint_array(keypoints, "pose_keypoints_2d")
        visible = [index for index in range(18) if index not in range(8, 14)]
        assert np.all(body[visible, 2] == 1) and np.all(body[8:14] == 0)
        for name, count in (("hand_left_keypoints_2d", 21), ("hand_right_keypoints_2d", 21), ("face_keypoints_2d", 70)):
            points = keypoint_array(keypoints, name)
            assert points.shape == (count, 3) and np.all(points[:, 2] == 1)
            assert np.all((points[:, :2] >= 0) & (points[:, :2] < SIZE))
        assert body[4, 0] < body[7, 0] and body[2, 0] < body[5, 0], "the person's right is the picture's left"


def test_command_line_writes_a_clip_with_sound(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "clip.mp4"
    command = [sys.executable, "-m", "apoavatar_core.synthetic", "--seed", "3", "--frames", "5", "--out", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    with av.open(str(path)) as container:
        assert len(list(container.decode(video=0))) == 5
        assert len(container.streams.audio) == 1
