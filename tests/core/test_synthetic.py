"""The synthetic presenter: reproducible, consistent with its keypoints, driven by its voice."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("cv2", reason="the synthetic presenter is drawn with OpenCV: pip install opencv-python")

from apoavatar_core.evaluation.measures import hand_correlation
from apoavatar_core.gestures import (
    SHAPES,
    Accent,
    BodyTrack,
    Phrase,
    Voice,
    frame_loudness,
    plan_gestures,
    speech_level,
)
from apoavatar_core.gestures.shapes import PLACE, REST, stroke_ends
from apoavatar_core.pose import from_frame, hand_speed
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
from apoavatar_core.synthetic.speech import SAMPLE_RATE

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


def wrist_speed(motion: Motion) -> np.ndarray:
    """Arm lengths per frame [T], the mean of both wrists."""
    wrists = (motion.body.right_wrist, motion.body.left_wrist)
    return np.mean([np.linalg.norm(np.gradient(w.astype(float), axis=0), axis=1) for w in wrists], axis=0)


def arms_at(*arms: np.ndarray) -> Motion:
    """A frame for each of the arms [9], which the presenter's two arms take both; nothing else moves."""
    arms = np.array(arms, np.float32)
    still, count = np.zeros(len(arms), np.float32), len(arms)
    body = BodyTrack(
        arms[:, PLACE], arms[:, PLACE], arms[:, PLACE.stop :], arms[:, PLACE.stop :],
        still, still, still, still, still, np.zeros((count, 2), np.float32), still, still,
    )  # fmt: skip
    return Motion(body, still, still)


def every_shape() -> list[np.ndarray]:
    """The rest pose and both ends of a full stroke of every shape."""
    return [REST, *(end for shape in SHAPES.values() for end in stroke_ends(shape, 1.0, np.zeros(3)))]


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
    assert clip.identity.clothes_colour in clip.caption
    whole = round(clip.start * 16000)
    assert np.array_equal(clip.voice[whole : whole + len(clip.speech)], clip.speech)


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
    assert np.all(wrist_speed(silent) == 0)
    ended = motion_for(burst_speech((0.1, 0.5, 0.6), seconds=6.0), frames=144)
    assert np.max(ended.mouth_opening) > 0.8
    assert np.all(ended.mouth_opening[16:] == 0)
    assert np.max(wrist_speed(ended)[:24]) > 0.01
    assert np.all(wrist_speed(ended)[100:] < 1e-6)


def test_motion_ignores_the_recording_gain():
    speech = burst_speech((0.1, 0.6, 0.3), (0.9, 1.5, 0.5))
    normal, loud = motion_for(speech), motion_for(1.8 * speech)
    assert np.allclose(normal.mouth_opening, loud.mouth_opening, atol=1e-5)
    assert np.allclose(normal.body.right_wrist, loud.body.right_wrist, atol=1e-5)


def test_between_frames_everything_lies_between():
    motion = motion_for(burst_speech((0.1, 0.6, 0.3)))
    middle = motion.moment(7.5)
    assert middle["right_hand"] == pytest.approx((motion.body.right_hand[7] + motion.body.right_hand[8]) / 2, abs=1e-6)
    assert middle["mouth_opening"] == pytest.approx(motion.mouth_opening[7:9].mean(), abs=1e-6)
    assert motion.moment(-0.2)["sway"] == motion.body.sway[0] and motion.moment(99)["sway"] == motion.body.sway[-1]


def test_mouth_follows_loudness_and_hands_follow_it_as_far_as_the_world_says():
    mouth, hands, without_voice = [], [], []
    for seed in range(32):
        performance = synthesize_performance(seed)
        loudness = frame_loudness(performance.speech, FRAMES, FPS)
        mouth.append(np.corrcoef(performance.motion.mouth_opening, loudness)[0, 1])
        people = [from_frame(frame_keypoints(performance.identity, performance.motion, t)) for t in range(FRAMES)]
        speed = hand_speed(people)
        hands.append(hand_correlation(speed, loudness))
        without_voice.append(hand_correlation(speed, loudness[::-1]))
    assert min(mouth) > 0.7
    assert 0.5 < np.mean(hands) < 0.65
    assert abs(np.mean(without_voice)) < 0.2


def test_a_clip_is_a_piece_of_its_voice():
    performances = [synthesize_performance(seed, 25, 25.0) for seed in range(12)]
    for performance in performances:
        first = round(performance.start * SAMPLE_RATE)
        assert len(performance.speech) == SAMPLE_RATE
        assert np.array_equal(performance.voice[first : first + SAMPLE_RATE], performance.speech)
        # Where the whole voice is quiet the mouth is, however loud the clip finds it.
        frames = round(len(performance.voice) / SAMPLE_RATE * 25)
        level = speech_level(frame_loudness(performance.voice, frames, 25.0))
        piece = level[round(performance.start * 25) :][:25]
        assert np.array_equal(performance.motion.mouth_opening > 0, piece > 0)
    assert min(performance.start for performance in performances) == 0
    assert max(performance.start for performance in performances) > 1
    assert max(len(performance.voice) for performance in performances) > 4 * SAMPLE_RATE


def hand_region(picture: np.ndarray, hand: np.ndarray, margin: float) -> np.ndarray:
    """The pixels [H, W] of the convex hull of hand points [21, 2] (pixels), widened by `margin` frame fractions."""
    import cv2

    region = np.zeros(picture.shape[:2], np.uint8)
    hull = cv2.convexHull(hand[:, :2].round().astype(np.int32))
    cv2.fillPoly(region, [hull], 1)
    cv2.polylines(region, [hull], True, 1, max(1, round(2 * margin * len(picture))))
    return region.astype(bool)


def hands_of(identity, motion, t, size) -> list[np.ndarray]:
    keypoints = frame_keypoints(identity, motion, t, size)
    return [keypoint_array(keypoints, f"hand_{side}_keypoints_2d") for side in ("right", "left")]


@pytest.mark.parametrize("seed", range(6))
def test_hands_are_large_skin_coloured_and_inside_the_frame_in_every_shape(seed):
    identity = sample_identity(np.random.default_rng(seed))
    motion = arms_at(*every_shape())
    for t in range(len(motion)):
        picture = draw_frame(identity, motion.window(t, 1), 0, SIZE).astype(int)
        is_skin = np.abs(picture - identity.skin_rgb).max(-1) < 30
        for hand in hands_of(identity, motion, t, SIZE):
            assert np.all(hand[:, 2] == 1)
            points = hand[:, :2].astype(int)
            assert sum(is_skin[y - 1 : y + 2, x - 1 : x + 2].any() for x, y in points) >= 18, "few lie under lines"
            rows, columns = np.nonzero(hand_region(picture, hand, 0.02) & is_skin)
            assert max(np.ptp(rows), np.ptp(columns)) + 1 >= 0.15 * SIZE
            assert min(rows.min(), columns.min()) > 0 and max(rows.max(), columns.max()) < SIZE - 1


@pytest.mark.parametrize("seed", range(30))
def test_hands_stand_out_from_whatever_is_behind_them(seed):
    import cv2

    identity = sample_identity(np.random.default_rng(seed))
    motion = arms_at(*every_shape()[seed % 3 :: 3])
    for t in range(len(motion)):
        picture = draw_frame(identity, motion.window(t, 1), 0, SIZE).astype(int)
        distance = np.abs(picture - identity.skin_rgb).max(-1)
        for hand in hands_of(identity, motion, t, SIZE):
            # Open fingers leave gaps within the hull, so the border is looked for along the hand's own skin.
            near = hand_region(picture, hand, 0.035)
            # Soft lines between fingers are no border: what closes over them is hand.
            skin = cv2.morphologyEx((near & (distance < 25)).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5))).astype(bool)
            beside = near & ~skin & (np.roll(skin, 1, 0) | np.roll(skin, -1, 0) | np.roll(skin, 1, 1) | np.roll(skin, -1, 1))
            # The pixels at the skin are smoothed; the line is one further out at most.
            strongest = cv2.dilate((distance * ~skin).astype(np.uint8), np.ones((3, 3)))
            assert np.median(strongest[beside]) > 60


def test_a_closed_line_goes_round_every_hand():
    """On a background of its own colour, a hand is an island."""
    import cv2

    from apoavatar_core.synthetic.drawing.body import draw_hand
    from apoavatar_core.synthetic.drawing.canvas import Canvas
    from apoavatar_core.synthetic.geometry import frame_geometry
    from apoavatar_core.synthetic.identity import SKIN_COLOURS

    identity = sample_identity(np.random.default_rng(0))
    for colour in SKIN_COLOURS.values():
        for t, arm in enumerate(every_shape()):
            canvas = Canvas(np.full((512, 512, 3), colour, np.uint8))
            hand = frame_geometry(identity, arms_at(arm), 0).right_arm.hand
            draw_hand(canvas, hand, colour)
            line = np.abs(canvas.pixels.astype(int) - colour).max(-1) > 50
            _, islands = cv2.connectedComponents((~line).astype(np.uint8), connectivity=4)
            x, y = (512 * (0.75 * hand[0] + 0.25 * hand[17])).astype(int)
            assert not line[y, x] and islands[y, x] != islands[0, 0], (colour, t)


def test_a_moving_hand_is_blurred_as_by_a_shutter_open_for_half_a_frame():
    identity = sample_identity(np.random.default_rng(1))
    low, high = every_shape()[3:5]
    motion = arms_at(*(low + share * (high - low) for share in (0.0, 0.2, 0.4)))
    picture = draw_frame(identity, motion, 1, SIZE).astype(float)
    instants = [arms_at(low + share * (high - low)) for share in np.linspace(0.15, 0.25, 11)[1::2]]
    sharp = [draw_frame(identity, instant, 0, SIZE).astype(float) for instant in instants]
    assert np.abs(picture - np.mean(sharp, axis=0)).max() < 2
    assert np.abs(picture - sharp[2]).max() > 40


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


def test_captions_name_what_is_seen_in_many_wordings():
    stems = {
        "gesture_shape": {"beat": "closed|fist", "open": "open|spread", "point": "point|index", "flat": "flat|straight"},
        "gesture_hands": {"right hand": "right", "left hand": "left", "both hands": "both|two-h", "either hand": "other|either|now"},
        "gesture_size": {"small": "small|narrow|little", "medium": "medium|moderately|middle", "wide": "wide|large|sweep"},
        "gesture_energy": {"calm": "calm|sparing|quiet", "moderate": "moderate|even|measured", "lively": "live|energ|anim"},
    }
    wordings = set()
    for seed in range(150):
        identity = sample_identity(np.random.default_rng(seed))
        text = describe(identity, seed).lower()
        wordings.add(describe(identity, seed + 1000))
        wordings.add(describe(identity, seed + 2000))
        for word in (identity.skin, identity.clothes_colour, identity.wall_colour):
            assert word in text
        assert ("glasses" in text) == identity.glasses
        assert (f"{identity.hair_colour} beard" in text) == identity.beard
        if identity.hair_style == "headscarf":
            assert identity.scarf_colour in text
        elif identity.hair_style != "bald":
            assert identity.hair_colour in text
        for attribute, words in stems.items():
            assert re.search(words[getattr(identity, attribute)], text), (attribute, text)
        assert not re.search(r"\ba [aeiou]|[{}]", text)
    assert len(wordings) == 300
    assert describe(identity, 5) == describe(identity, 5)


def test_the_words_for_gestures_are_true():
    accents = tuple(Accent(1.6 * i + 1, 0.2 + 0.8 * (i % 7) / 6) for i in range(60))
    voice = Voice(98.0, accents, (Phrase(0.0, 97.0),))
    plans = []
    for seed in range(60):
        identity = sample_identity(np.random.default_rng(seed))
        plans.append((identity, plan_gestures(voice, identity.speaker, seed)))

    def mean(attribute: str, word: str, value) -> list[float]:
        return [float(np.mean([value(g) for g in plan])) for who, plan in plans if getattr(who, attribute) == word]

    for shape in SHAPES:
        assert min(mean("gesture_shape", shape, lambda g: g.shape == shape)) > 0.5
    assert min(mean("gesture_hands", "right hand", lambda g: g.right and not g.left)) > 0.6
    assert min(mean("gesture_hands", "left hand", lambda g: g.left and not g.right)) > 0.6
    assert min(mean("gesture_hands", "both hands", lambda g: g.left and g.right)) > 0.6
    assert max(mean("gesture_hands", "either hand", lambda g: g.left and g.right)) < 0.4
    sizes = [mean("gesture_size", word, lambda g: g.size) for word in ("small", "medium", "wide")]
    assert max(sizes[0]) < min(sizes[1]) and max(sizes[1]) < min(sizes[2])
    counts = [[len(plan) for who, plan in plans if who.gesture_energy == word] for word in ("calm", "moderate", "lively")]
    assert 1.2 * np.mean(counts[0]) < np.mean(counts[2]) and np.mean(counts[0]) < np.mean(counts[1]) < np.mean(counts[2])
    speeds = [mean("gesture_energy", word, lambda g: g.duration) for word in ("lively", "moderate", "calm")]
    assert max(speeds[0]) < min(speeds[1]) and max(speeds[1]) < min(speeds[2])


def test_command_line_writes_a_clip_with_sound(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "clip.mp4"
    command = [sys.executable, "-m", "apoavatar_core.synthetic", "--seed", "3", "--frames", "5", "--out", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    with av.open(str(path)) as container:
        assert len(list(container.decode(video=0))) == 5
        assert len(container.streams.audio) == 1
