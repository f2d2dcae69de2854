"""Gestures from a voice on a portrait's own body, and a film's gestures refocused or laid on another voice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apoavatar_core.gestures import CLOSE, hear, perform, random_speaker
from apoavatar_core.gestures.body import FORE, UPPER, bent_arm, lay_on, portrait_body
from apoavatar_core.gestures.from_voice import Dials, gestures_from_voice, moving_body
from apoavatar_core.gestures.joints import bent_at_most, between, outside_range
from apoavatar_core.gestures.plan import Gesture
from apoavatar_core.gestures.refocused import refocus_gestures
from apoavatar_core.gestures.speaker import Speaker
from apoavatar_core.gestures.style import film_style, unit
from apoavatar_core.gestures.styled import style_moves
from apoavatar_core.pose import PersonKeypoints, hand_speed

FPS = 24
seeds = st.integers(0, 2**32 - 1)


def voice_of(*bursts: tuple[float, float], seconds: float, hum: float = 0.0) -> np.ndarray:
    """16 kHz noise: a burst of a quarter of a second around each (time, gain), a hum between the first and the last one,
    silence elsewhere.
    """
    time = np.arange(round(seconds * 16000)) / 16000
    gain = sum(level * np.clip(1 - np.abs(time - moment) / 0.125, 0, 1) for moment, level in bursts)
    gain = np.maximum(gain, hum * ((time > bursts[0][0] - 0.3) & (time < bursts[-1][0] + 0.5)))
    return (0.3 * gain * np.random.default_rng(0).standard_normal(len(time))).astype(np.float32)


PHRASES = voice_of(*((t, 0.4 + 0.6 * ((7 * i) % 5) / 4) for i, t in enumerate(np.r_[1:4:0.35, 7:10:0.35])), seconds=13)
SILENCE = np.zeros(4 * 16000, np.float32)


def person(**joints: tuple[float, float]) -> PersonKeypoints:
    """Shoulders, neck and head at usual places, and the given joints: all seen."""
    names = {"nose": 0, "neck": 1, "r_shoulder": 2, "r_elbow": 3, "r_wrist": 4, "l_shoulder": 5, "l_elbow": 6,
             "l_wrist": 7, "r_eye": 14, "l_eye": 15}  # fmt: skip
    usual = {"nose": (0.5, 0.25), "neck": (0.5, 0.4), "r_shoulder": (0.35, 0.4), "l_shoulder": (0.65, 0.4),
             "r_eye": (0.47, 0.21), "l_eye": (0.53, 0.21)}  # fmt: skip
    points = np.zeros((130, 3), np.float32)
    for name, place in {**usual, **joints}.items():
        points[names[name]] = *place, 1
    return PersonKeypoints.from_points(points)


HANGING = {"r_elbow": (0.30, 0.66), "r_wrist": (0.31, 0.90), "l_elbow": (0.69, 0.67), "l_wrist": (0.70, 0.88)}


def stacked(people: list[PersonKeypoints]) -> np.ndarray:
    return np.stack([one.points for one in people]).astype(np.float64)


def bones(people: list[PersonKeypoints], aspect: float) -> np.ndarray:
    """Lengths [T, 4] of upper arms and forearms in heights of the picture."""
    places = stacked(people)[..., :2] * (aspect, 1)
    return np.stack([np.linalg.norm(places[:, b] - places[:, a], axis=1) for a, b in ((2, 3), (5, 6), (3, 4), (6, 7))], 1)


@settings(max_examples=20, deadline=None)
@given(seeds, st.floats(0.5, 2.0), st.booleans())
def test_the_portraits_bones_keep_their_lengths(seed, aspect, arms_seen):
    rng = np.random.default_rng(seed)
    arms = {name: (x + rng.normal(0, 0.03), y + rng.normal(0, 0.03)) for name, (x, y) in HANGING.items()}
    portrait = person(**(arms if arms_seen else {}))
    people = gestures_from_voice(PHRASES, portrait, aspect, 13 * FPS, FPS, seed, Dials())
    found = bones(people, aspect)
    own = bones([portrait], aspect)[0] if arms_seen else np.zeros(4)
    width = 0.3 * aspect
    # A bone is as long as a person's of these shoulders, or as the portrait shows it; the picture may shorten it.
    head = 1.2 * 0.15
    longest = np.maximum(np.array([UPPER, UPPER, FORE, FORE]) * max(width, head), own.reshape(2, 2).max(1).repeat(2))
    assert (found <= longest + 1e-6).all()
    most = found.max(0).reshape(2, 2).max(1)
    assert (most > 0.6 * longest[[0, 2]]).all(), "and they are not all shortened all the time"


def test_a_bent_arm_reaches_its_place_with_bones_of_their_lengths():
    body = portrait_body(person(), 1.0)
    rng = np.random.default_rng(0)
    place = rng.uniform((-0.3, -0.7, 0.1), (0.5, 0.3, 0.6), (200, 3))
    place = place[np.linalg.norm(place, axis=1) < 0.98]
    arm = bent_arm(place, np.full((len(place), 6), 0.5), body, "left")
    assert np.linalg.norm(arm.upper, axis=1) == pytest.approx(1) and np.linalg.norm(arm.fore, axis=1) == pytest.approx(1)
    assert body.upper * arm.upper + body.fore * arm.fore == pytest.approx(body.arm * place)
    bend = np.degrees(np.arccos((arm.fore * arm.axis).sum(1)))
    assert np.linalg.norm(arm.axis, axis=1) == pytest.approx(1) and bend.max() < 60.01 and np.ptp(bend) > 20


def test_who_is_silent_stands_as_in_the_portrait():
    portrait = person(**HANGING)
    portrait = PersonKeypoints(
        portrait.body, hand_on(portrait.body[7], 0.03), hand_on(portrait.body[4], -0.04), portrait.face
    )
    people = gestures_from_voice(SILENCE, portrait, 1.0, 4 * FPS, FPS, 3, Dials())
    moved = stacked(people)[..., :2] - portrait.points[:, :2]
    seen = [*range(8), *range(18, 60)]
    assert np.abs(moved[:, seen]).max() < 0.03, "only breath and sway"
    # The root moves all of them alike.
    assert moved[:, seen[1:]] == pytest.approx(np.repeat(moved[:, [1]], len(seen) - 1, axis=1), abs=2e-3)
    assert np.ptp(moved[:, 1], axis=0).min() > 0


def hand_on(wrist: np.ndarray, lean: float) -> np.ndarray:
    """A hand that hangs from a wrist: 21 points below it."""
    along = np.linspace(0, 0.14, 21)
    return np.stack([wrist[0] + lean * along / 0.14, wrist[1] + along, np.ones(21)], 1).astype(np.float32)


@pytest.mark.parametrize("portrait", [person(), person(**HANGING)])
def test_hands_follow_the_voice_and_rest_in_its_pauses(portrait):
    frames = 13 * FPS
    for seed in range(3):
        people = gestures_from_voice(PHRASES, portrait, 1.0, frames, FPS, seed, Dials())
        speed = hand_speed(people)
        loud = np.convolve(np.abs(PHRASES), np.ones(3200), "same")[:: 16000 // FPS][:frames]
        times = np.arange(frames) / FPS
        speaking = ((times > 0.9) & (times < 4.1)) | ((times > 6.9) & (times < 10.1))
        smooth = np.convolve(speed, np.ones(5) / 5, "same")
        assert np.corrcoef(smooth, loud)[0, 1] > 0.7
        assert speed[~speaking].mean() < 0.2 * speed[speaking].mean()
        # In the middle of the long pause and as a listener at the end both hands are low and still.
        wrists = stacked(people)[:, [4, 7], :2] - stacked(people)[:, [2, 5], :2]
        for rest in (wrists[int(5 * FPS) : int(6 * FPS)], wrists[-FPS:]):
            assert np.ptp(rest, axis=0).max() < 1e-3 and rest[..., 1].min() > 0.25


@settings(max_examples=15, deadline=None)
@given(seeds, st.floats(0, 1), st.floats(0.3, 2), st.floats(-1, 1), st.floats(0, 1))
def test_no_joint_leaves_its_range_whatever_the_dials(seed, energy, size, handedness, calm):
    for portrait in (person(), person(**HANGING)):
        body = portrait_body(portrait, 1.0)
        arms, track = moving_body(PHRASES, body, 300, FPS, seed, Dials(energy, size, handedness, calm))
        assert not outside_range(arms.values(), track).any()


def test_a_joint_out_of_its_range_is_noticed():
    body = portrait_body(person(), 1.0)
    arms, track = moving_body(PHRASES, body, 10, FPS, 0, Dials())
    arms["left"].fore[4] = -arms["left"].upper[4]
    track.head_nod[7] = 1.2
    assert outside_range(arms.values(), track).tolist() == [t in (4, 7) for t in range(10)]


def test_dials_do_what_they_say():
    def speeds(**dials) -> tuple[float, float]:
        people = stacked(gestures_from_voice(PHRASES, person(), 1.0, 300, FPS, 1, Dials(**dials)))
        wrists = people[:, [4, 7], :2] - people[:, [2, 5], :2]
        return tuple(np.linalg.norm(np.diff(wrists, axis=0), axis=-1).sum(0))

    right, left = speeds(handedness=1.0)
    assert left < 1e-5 < right
    right, left = speeds(handedness=-1.0)
    assert right < 1e-5 < left
    assert sum(speeds(range=1.6)) > 1.2 * sum(speeds())
    assert sum(speeds(energy=0.2)) < 0.9 * sum(speeds(energy=1.0))
    for wrong in ({"energy": -0.1}, {"range": 3.0}, {"handedness": float("nan")}, {"calm": 1.5}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Dials(**wrong)


def test_the_head_nods_as_one_and_the_face_keeps_its_features():
    rng = np.random.default_rng(0)
    face = np.concatenate([rng.uniform((0.42, 0.15), (0.58, 0.32), (70, 2)), np.ones((70, 1))], 1).astype(np.float32)
    portrait = PersonKeypoints(person().body, person().left_hand, person().right_hand, face)
    body = portrait_body(portrait, 1.0)
    track = perform(hear(PHRASES), random_speaker(rng), 300, FPS, 1, CLOSE)
    for angle in (track.head_turn, track.head_tilt, track.sway, track.breath):
        angle[:] = 0
    arms = {side: bent_arm(getattr(track, f"{side}_wrist"), getattr(track, f"{side}_hand"), body, side) for side in ("right", "left")}
    moved = stacked(lay_on(body, arms, track)) - portrait.points
    assert np.abs(moved[:, 60:, 0]).max() < 1e-6, "a nod moves nothing sideways"
    down = moved[:, 60:, 1].mean(1)
    assert np.corrcoef(down, track.head_nod)[0, 1] > 0.99 and np.ptp(down) > 0.005


def test_a_back_view_gestures_outward_too():
    front = person()
    points = front.points.copy()
    points[[2, 5]] = points[[5, 2]]
    people = stacked(gestures_from_voice(PHRASES, PersonKeypoints.from_points(points), 1.0, 200, FPS, 0, Dials()))
    mirrored = stacked(gestures_from_voice(PHRASES, front, 1.0, 200, FPS, 0, Dials()))
    across = people[:, [4, 7], 0] - people[:, [2, 5], 0]
    assert across == pytest.approx(-(mirrored[:, [4, 7], 0] - mirrored[:, [2, 5], 0]), abs=1e-6)


@pytest.mark.parametrize("missing", [[2], [2, 5], [1, 2, 5]])
def test_what_a_portrait_does_not_show_is_a_persons(missing):
    whole = person()
    points = whole.points.copy()
    points[missing] = 0
    points[60:128, :] = [[0.43 + 0.14 * i / 67, 0.27, 1] for i in range(68)]
    people = stacked(gestures_from_voice(PHRASES, PersonKeypoints.from_points(points), 1.0, 48, FPS, 0, Dials()))
    assert people[:, 1:8, 2].min() == 1
    assert np.abs(people[0, [2, 5], :2] - whole.points[[2, 5], :2]).max() < 0.1


def test_a_picture_without_a_person_is_named():
    with pytest.raises(ValueError, match="neither shoulders nor a face"):
        gestures_from_voice(PHRASES, PersonKeypoints.nobody(), 1.0, 10, FPS, 0, Dials())


def film(seconds: float, fps: float, strokes: list[float], turned: float = 1.2) -> list[PersonKeypoints]:
    """A person whose right arm swings up and back at the strokes' moments; the left one hangs."""
    people = []
    for time in np.arange(round(seconds * fps)) / fps:
        lifted = sum((-1) ** i / (1 + np.exp(-(time - moment) / 0.05)) for i, moment in enumerate(strokes))
        angle = turned * lifted
        elbow = np.array([0.35, 0.4]) + 0.28 * np.array([-np.sin(angle), np.cos(angle)])
        wrist = elbow + 0.24 * np.array([-np.sin(angle), np.cos(angle)])
        people.append(person(**HANGING | {"r_elbow": tuple(elbow), "r_wrist": tuple(wrist)}))
    return people


def test_a_films_strokes_are_found_and_fall_on_the_accents_of_the_voice():
    moments = [0.8, 1.6, 2.6, 3.4]
    style = film_style(film(4.4, 30, moments), 1.0, 30)
    for moment in moments:
        assert ((style.strokes[:, 0] < moment - 0.1) & (style.strokes[:, 1] > moment + 0.1)).sum() == 1
    assert len(style.strokes) == 4, "and the waiting between them is none"
    bursts = [1.0, 2.1, 3.0, 4.2]
    voice = voice_of(*((t, 1.0) for t in bursts), seconds=9, hum=0.2)
    people = gestures_from_voice(voice, person(), 1.0, 9 * FPS, FPS, 0, Dials(energy=1.0), style)
    places = stacked(people)
    wrist = places[:, 4, :2] - places[:, 2, :2]
    speed = np.linalg.norm(np.diff(wrist, axis=0), axis=1)
    for burst in bursts:
        near = slice(round((burst - 0.3) * FPS), round((burst + 0.3) * FPS))
        assert speed[near].max() > 0.5 * speed.max()
        assert abs((near.start + np.argmax(speed[near]) + 1) / FPS - burst) < 2.5 / FPS
    # Its arm swings as far as the film's, and rests hanging, as the film's does, in the pause.
    angle = np.arctan2(-wrist[:, 0], wrist[:, 1])
    assert angle.max() == pytest.approx(1.2, abs=0.15)
    assert np.abs(angle[round(6.5 * FPS) :]).max() < 0.1 and speed[round(6.5 * FPS) :].max() < 1e-3
    assert np.abs(angle[: round(0.4 * FPS)]).max() < 0.1


def swinging(angles: np.ndarray) -> list[PersonKeypoints]:
    """A person whose right arm is straight at these angles from hanging, outward; the left one hangs, and both hands are
    bent upward as far as can be.
    """
    people = []
    for angle in angles:
        way = np.array([-np.sin(angle), np.cos(angle)])
        wrist = np.array([0.35, 0.4]) + 0.52 * way
        one = person(**HANGING | {"r_elbow": tuple(wrist - 0.24 * way), "r_wrist": tuple(wrist)})
        hands = [hand_on(place, 0.0) * (1, -1, 1) + (0, 2 * place[1], 0) for place in (one.body[7], one.body[4])]
        people.append(PersonKeypoints(one.body, *(hand.astype(np.float32) for hand in hands), one.face))
    return people


def dance(fps: float) -> list[PersonKeypoints]:
    """Eight seconds of an arm that goes up and down, ever differently far, for 0.9 seconds each way."""
    ends = np.array([0, 1.3, 0.2, 0.8, 0.4, 1.5, 0.7, 1.1, 0.0, 0.9])
    time = np.arange(round(8 * fps)) / fps / 0.9
    share = time % 1
    return swinging(ends[time.astype(int)] + np.diff(ends)[time.astype(int)] * (1 - np.cos(np.pi * share)) / 2)


def test_movements_longer_than_a_stroke_are_cut():
    style = film_style(dance(30), 1.0, 30)
    lasting = np.diff(style.strokes, axis=1)
    assert len(lasting) > 8 and lasting.max() < 0.7 + 1e-6 and (style.strokes[1:, 0] >= style.strokes[:-1, 1]).all()


@pytest.mark.parametrize(("beat", "apart"), [(0.35, 0.24), (0.134, 1.2)])
def test_a_films_strokes_keep_near_its_pace_with_their_middle_on_the_accents(beat, apart):
    angles = 0.6 + 0.5 * np.cos(np.pi * np.arange(round(6 * 30)) / 30 / (2 * beat))
    style = film_style(swinging(angles), 1.0, 30)
    seconds = np.diff(style.strokes, axis=1)
    times = 1 + apart * np.arange(8)
    gestures = [Gesture(time, 0.4, 0.8, "beat", True, True, np.zeros(3)) for time in times.tolist()]
    strokes = style_moves(style, gestures, Speaker(), 0)[2:-1]
    assert [move.start + move.duration / 2 for move in strokes] == pytest.approx(times[1:-1])
    lasting = np.array([move.duration for move in strokes])
    assert (lasting >= seconds.min() / 1.6 - 1e-6).all() and np.median(lasting) <= np.median(seconds) / 0.6 + 1e-6


def test_a_stronger_accent_carries_a_films_hands_farther():
    style = film_style(dance(30), 1.0, 30)
    gestures = [Gesture(1 + 0.5 * i, 0.4, (0.3, 0.9)[i % 2], "beat", True, True, np.zeros(3)) for i in range(20)]
    steps = np.abs(np.diff([move.target[0] for move in style_moves(style, gestures, Speaker(), 0)[3:-3]]))
    assert 2 * steps[1::2].mean() < steps[::2].mean() or 2 * steps[::2].mean() < steps[1::2].mean()


@pytest.mark.parametrize("seed", range(3))
def test_a_films_hands_follow_the_voice_and_rest_in_its_pauses(seed):
    frames = 13 * FPS
    style = film_style(dance(25), 1.0, 25)
    speed = hand_speed(gestures_from_voice(PHRASES, person(), 1.0, frames, FPS, seed, Dials(), style))
    loud = np.convolve(np.abs(PHRASES), np.ones(3200), "same")[:: 16000 // FPS][:frames]
    times = np.arange(frames) / FPS
    speaking = ((times > 0.9) & (times < 4.1)) | ((times > 6.9) & (times < 10.1))
    assert np.corrcoef(np.convolve(speed, np.ones(5) / 5, "same"), loud)[0, 1] > 0.7
    assert speed[~speaking].mean() < 0.15 * speed[speaking].mean()


def test_without_an_accent_and_without_a_frame_a_film_rests():
    style = film_style(dance(25), 1.0, 25)
    still = stacked(gestures_from_voice(SILENCE, person(), 1.0, FPS, FPS, 0, Dials(), style))
    assert np.ptp(still[:, [4, 7]] - still[:, [2, 5]], axis=0).max() < 1e-6
    assert gestures_from_voice(SILENCE, person(), 1.0, 0, FPS, 0, Dials(), style) == []


@settings(max_examples=10, deadline=None)
@given(seeds, st.floats(0, 1), st.floats(0.3, 2), st.floats(0, 1))
def test_no_joint_leaves_its_range_whatever_the_film(seed, energy, size, calm):
    style = film_style(dance(25), 1.0, 25)
    assert between(style.arms["left"].fore, style.arms["left"].axis).max() > 90, "the film's own hands do"
    dials = Dials(energy, size, 0.0, calm)
    arms, track = moving_body(PHRASES, portrait_body(person(), 1.0), 300, FPS, seed, dials, style)
    assert not outside_range(arms.values(), track).any()


def test_a_joint_is_bent_back_into_its_range_in_its_own_plane():
    rng = np.random.default_rng(0)
    first, second = (unit(rng.normal(size=(500, 3))) for _ in range(2))
    bent = bent_at_most(80.0, first, second)
    angle = between(first, second)
    assert np.array_equal(bent[angle <= 80], second[angle <= 80])
    assert between(first, bent)[angle > 80] == pytest.approx(80) and np.linalg.norm(bent, axis=1) == pytest.approx(1)
    assert between(bent, second)[angle > 80] == pytest.approx(angle[angle > 80] - 80, abs=1e-5)


@pytest.mark.parametrize(
    ("people", "what"), [([person()] * 30, "no arms"), ([person(**HANGING)] * 30, "no stroke"), ([], "no arms")]
)
def test_a_film_without_gestures_is_named(people, what):
    with pytest.raises(ValueError, match=what):
        film_style(people, 1.0, 24)


@st.composite
def tracks(draw) -> list[PersonKeypoints]:
    """A person who walks and waves, with hands and face, some points of it not seen."""
    rng = np.random.default_rng(draw(seeds))
    walk = np.cumsum(rng.normal(0, 0.003, (40, 1, 2)), axis=0)
    wave = np.cumsum(rng.normal(0, 0.01, (40, 130, 2)), axis=0)
    points = np.concatenate([rng.uniform(0.2, 0.8, (1, 130, 2)) + walk + wave, np.ones((40, 130, 1))], axis=2)
    points[..., 2] *= rng.random((40, 130)) > draw(st.sampled_from([0.0, 0.02]))
    return [PersonKeypoints.from_points(frame) for frame in points]


ARMS = ((2, 3), (2, 4), (5, 6), (5, 7))


@settings(max_examples=25, deadline=None)
@given(tracks(), seeds, st.floats(0, 1), st.floats(0.4, 2.5))
def test_with_more_keep_nothing_moves_less(track, seed, strength, aspect):
    quiet = np.random.default_rng(seed).random(40)
    louder = quiet + np.random.default_rng(seed + 1).random(40) * (1 - quiet)
    rest, low, high = (
        stacked(refocus_gestures(track, keep, aspect, strength))[..., :2] * (aspect, 1) for keep in (0 * quiet, quiet, louder)
    )
    for origin, point in ARMS:
        away = [np.linalg.norm(one[:, point] - one[:, origin] - (rest[:, point] - rest[:, origin]), axis=1) for one in (low, high)]
        assert (away[0] <= away[1] + 1e-5).all()


@settings(max_examples=25, deadline=None)
@given(tracks(), st.floats(0, 2), st.floats(0.4, 2.5))
def test_no_bone_gets_longer_than_in_the_track(track, strength, aspect):
    keep = np.random.default_rng(0).random(40)
    before, after = (stacked(people) for people in (track, refocus_gestures(track, keep, aspect, strength)))
    for a, b in ((2, 3), (3, 4), (5, 6), (6, 7)):
        seen = (before[:, [2, 3, 4] if a < 5 else [5, 6, 7], 2] >= 0.3).all(1)
        lengths = [np.linalg.norm((one[:, b, :2] - one[:, a, :2]) * (aspect, 1), axis=1) for one in (before, after)]
        assert (lengths[1][seen] <= lengths[0][(before[:, [a, b], 2] >= 0.3).all(1)].max() + 1e-5).all()


@settings(max_examples=15, deadline=None)
@given(tracks(), st.booleans())
def test_an_open_gate_changes_nothing_and_the_head_is_left_alone_unless_asked(track, head):
    before = stacked(track)
    assert stacked(refocus_gestures(track, np.ones(40), head=head)) == pytest.approx(before, abs=1e-5)
    shut = stacked(refocus_gestures(track, np.zeros(40), head=head))
    assert np.array_equal(shut[..., 2], before[..., 2])
    assert np.array_equal(shut[:, 60:], before[:, 60:].astype(np.float32)) != head
    alone = [1, 2, 5, *range(8, 14)]
    assert np.array_equal(shut[:, alone], before[:, alone])


def test_at_a_shut_gate_arms_hands_and_asked_heads_rest():
    rng = np.random.default_rng(0)
    points = np.ones((60, 130, 3))
    points[..., :2] = rng.uniform(0.2, 0.8, (130, 2)) + np.cumsum(rng.normal(0, 0.01, (60, 130, 2)), axis=0)
    shut = stacked(refocus_gestures([PersonKeypoints.from_points(frame) for frame in points], np.zeros(60), head=True))
    for origin, moved in ((2, (3, 4)), (5, (6, 7)), (18, range(19, 39)), (39, range(40, 60)), (1, (0, 14, 17)), (0, range(60, 130))):
        for point in moved:
            assert np.ptp(shut[:, point, :2] - shut[:, origin, :2], axis=0).max() < 1e-5


def test_a_gate_that_shuts_at_once_moves_nothing_at_once():
    points = np.ones((90, 130, 3))
    points[..., :2] = np.random.default_rng(0).uniform(0.2, 0.8, (130, 2))
    points[60:, 4, 1] -= 0.3
    track = [PersonKeypoints.from_points(frame) for frame in points]
    height = stacked(refocus_gestures(track, np.arange(90) < 75))[65:, 4, 1]
    assert height[-1] - height[0] == pytest.approx(0.3, abs=0.01)
    assert np.abs(np.diff(height)).max() < 0.06


def test_a_gate_that_is_too_short_and_a_wrong_strength_are_named():
    with pytest.raises(ValueError, match="number of frames of Audio Loudness Refocusing to 3"):
        refocus_gestures([person()] * 3, np.ones(2))
    with pytest.raises(ValueError, match="strength is 2.5"):
        refocus_gestures([person()], np.ones(1), strength=2.5)
    assert refocus_gestures([], np.ones(4)) == []
