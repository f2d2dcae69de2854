"""Who is followed, and a pose in time: other rates, gaps, smoothing, loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apoavatar_core.pose import PersonKeypoints, to_frame
from apoavatar_core.pose.following import Followed, follow
from apoavatar_core.pose.track import Track
from apoavatar_core.pose.track_gaps import filled
from apoavatar_core.pose.track_loop import looped
from apoavatar_core.pose.track_smoothing import smoothed
from apoavatar_core.pose.track_time import from_moment, held, resampled

NECK, WRIST = 1, 4
SIZE = 400


def person_at(x: float, y: float = 0.5, wrist: float = 0.0, size: float = 0.2) -> PersonKeypoints:
    """Someone with head, arms and right hand, whose right wrist is raised by `wrist`."""
    points = np.zeros((130, 3), np.float32)
    around = np.array([[0, -0.5], [0, 0], [-0.4, 0], [-0.5, 0.4], [-0.5, 0.8], [0.4, 0], [0.5, 0.4], [0.5, 0.8]])
    points[:8, :2] = (x, y) + size * around
    points[:8, 2] = 1
    points[WRIST, 1] -= wrist
    points[39:60, :2] = points[WRIST, :2] + np.linspace(0, 0.05, 21)[:, None]
    points[39:60, 2] = 1
    return PersonKeypoints.from_points(points)


def frame_of(*people: PersonKeypoints) -> dict:
    everyone = [to_frame(person, SIZE, SIZE)["people"] for person in people]
    return {"people": [one for (one,) in everyone], "canvas_width": SIZE, "canvas_height": SIZE}


def track_of(people: list[PersonKeypoints], fps: float = 24.0) -> Track:
    return Track.of(Followed(people, (SIZE, SIZE), 0), fps)


def waving(frames: int, fps: float, period: float = 2.0) -> list[PersonKeypoints]:
    seconds = np.arange(frames) / fps
    return [person_at(0.5, wrist=0.2 * np.sin(2 * np.pi * s / period)) for s in seconds]


def without(person: PersonKeypoints, *points: int) -> PersonKeypoints:
    left = person.points
    left[list(points), 2] = 0
    return PersonKeypoints.from_points(left)


# --- who


def test_one_person_is_followed_from_beginning_to_end() -> None:
    """Two walk side by side; which comes first in the list, and who is larger, changes from frame to frame."""
    left = [person_at(0.25 + 0.004 * t, size=0.2 + 0.02 * (t % 2)) for t in range(12)]
    right = [person_at(0.7 + 0.004 * t, size=0.21) for t in range(12)]
    pose = [frame_of(*((a, b) if t % 3 else (b, a))) for t, (a, b) in enumerate(zip(left, right))]

    def necks(number: int) -> list[float]:
        return [float(person.body[NECK, 0]) for person in follow(pose, number).people]

    assert necks(1) == pytest.approx([p.body[NECK, 0] for p in left], abs=1e-5)
    assert necks(2) == pytest.approx([p.body[NECK, 0] for p in right], abs=1e-5)
    assert necks(0) == necks(2)  # the larger one of the first frame
    assert follow(pose).others == 1
    with pytest.raises(ValueError, match="no person number 3, for it shows 2"):
        follow(pose, 3)


def test_nobody_takes_the_place_of_a_person_who_leaves() -> None:
    pose = [frame_of(person_at(0.25), person_at(0.7)), frame_of(person_at(0.7)), frame_of(person_at(0.26), person_at(0.7))]
    followed = follow(pose, 1)
    assert followed.lost == 1 and followed.people[1].points[:, 2].max() == 0
    assert followed.people[2].body[NECK, 0] == pytest.approx(0.26)


def test_a_person_alone_is_the_same_after_a_cut() -> None:
    followed = follow([frame_of(person_at(0.2)), None, frame_of(person_at(0.8))])
    assert followed.lost == 1 and followed.people[2].body[NECK, 0] == pytest.approx(0.8)


def test_a_person_who_comes_later_is_followed_back_to_the_beginning() -> None:
    pose = [frame_of(person_at(0.7)), frame_of(person_at(0.25), person_at(0.7))]
    assert [bool(p.points[:, 2].any()) for p in follow(pose, 1).people] == [False, True]
    assert [bool(p.points[:, 2].any()) for p in follow(pose, 2).people] == [True, True]


@pytest.mark.parametrize(
    "pose", [frame_of(person_at(0.5)), [frame_of(person_at(0.5))], [{"people": [None, *frame_of(person_at(0.5))["people"]]} | {
        "canvas_width": SIZE, "canvas_height": SIZE}]],
)  # fmt: skip
def test_every_form_of_a_pose_is_read(pose: object) -> None:
    (person,) = follow(pose).people
    np.testing.assert_allclose(person.points, person_at(0.5).points, atol=1e-5)


@pytest.mark.parametrize("pose", [None, 3, "people", [], [3], [{}]])
def test_what_is_no_pose_is_refused_in_one_sentence(pose: object) -> None:
    with pytest.raises(ValueError, match=r"^The pose .*: connect .*\.$") as error:
        follow(pose)
    assert "\n" not in str(error.value)


# --- time


@given(st.sampled_from([12, 23.976, 25, 30, 48, 59.94, 120]), st.integers(3, 120))
@settings(max_examples=30, deadline=None)
def test_a_moment_is_shown_at_its_time_at_any_rate(fps: float, frames: int) -> None:
    """A wrist that rises steadily stands where it was at that time."""
    track = track_of([person_at(0.5, wrist=0.3 * t / frames) for t in range(frames)], fps)
    clip = resampled(track, 24)
    assert clip.fps == 24 and len(clip.points) == max(1, round(frames / fps * 24))
    moments = np.minimum(np.arange(len(clip.points)) / 24, (frames - 1) / fps)
    rising = track.points[0, WRIST, 1] - 0.3 * moments * fps / frames
    np.testing.assert_allclose(clip.points[:, WRIST, 1], rising, atol=1e-5)


def test_a_point_that_vanishes_between_two_frames_is_not_drawn_towards_the_corner() -> None:
    track = track_of([person_at(0.5), without(person_at(0.5), WRIST)], 10)
    clip = resampled(track, 40)
    seen = clip.points[:, WRIST, 2] > 0
    assert seen.tolist() == [True, True, False, False, False, False, False, False]
    assert np.ptp(clip.points[seen, WRIST, 1]) == 0


def test_a_track_starts_where_it_is_told_and_is_held_at_its_end() -> None:
    track = track_of(waving(24, 24))
    np.testing.assert_array_equal(from_moment(track, 0.5).points, track.points[12:])
    longer = held(track, 30)
    assert len(longer.points) == 30 and (longer.points[24:] == track.points[-1]).all()
    with pytest.raises(ValueError, match="1.00 seconds long, so it cannot start at 1: start earlier"):
        from_moment(track, 1.0)


# --- gaps


def test_frames_without_the_person_are_blended_and_counted() -> None:
    people = [person_at(0.3)] * 5 + [PersonKeypoints.nobody()] * 9 + [person_at(0.5)] * 5 + [PersonKeypoints.nobody()] * 2
    result = filled(track_of([PersonKeypoints.nobody(), *people]))
    neck = result.track.points[:, NECK, 0]
    assert result.frames == 12 and (result.track.points[:, NECK, 2] == 1).all()
    assert neck[0] == neck[1] and (neck[-3:] == neck[-4]).all()
    steps = np.diff(neck[5:17])
    assert (steps >= 0).all() and steps.argmax() in (4, 5, 6) and steps.max() < 0.2 * 2 / 10
    with pytest.raises(ValueError, match="nobody in any of its frames"):
        filled(track_of([PersonKeypoints.nobody()] * 3))


def test_points_that_lack_for_a_moment_come_back_and_those_out_of_sight_do_not() -> None:
    people = [person_at(0.3 + 0.01 * t) for t in range(40)]
    people[5:8] = [without(person, WRIST, *range(39, 60)) for person in people[5:8]]
    people[15:35] = [without(person, NECK) for person in people[15:35]]
    result = filled(track_of(people))
    assert (result.frames, result.points) == (0, 3)
    points = result.track.points
    np.testing.assert_allclose(points[5:8, 39:60, :2] - points[5:8, WRIST, None, :2],
                               points[:3, 39:60, :2] - points[:3, WRIST, None, :2], atol=1e-5)  # fmt: skip
    assert not points[15:35, NECK, 2].any()
    whole = track_of([person_at(0.3 + 0.01 * t) for t in range(40)])
    np.testing.assert_array_equal(filled(whole).track.points, whole.points)


# --- smoothing


def test_trembling_is_stilled_and_a_stroke_keeps_its_onset() -> None:
    fps, frames, begin, end = 24, 96, 48, 54
    share = np.clip((np.arange(frames) - begin) / (end - begin), 0, 1)
    stroke = 0.3 * share**3 * (10 - 15 * share + 6 * share**2)
    rng = np.random.default_rng(0)
    track = track_of([person_at(0.5 + x, wrist=rise + y) for rise, (x, y) in zip(stroke, rng.normal(0, 0.002, (frames, 2)))], fps)
    clean = track_of([person_at(0.5, wrist=rise) for rise in stroke], fps)
    calm = smoothed(track, 0.5).points[:, WRIST, 1]
    still = slice(0, begin - 8)
    assert np.diff(calm[still]).std() < 0.4 * np.diff(track.points[still, WRIST, 1]).std()

    def crossing(height: np.ndarray, share: float) -> float:
        """The frame, with its fraction, at which the wrist has come so far."""
        return float(np.interp(share, (height[0] - height[begin - 4 : end + 5]) / 0.3, np.arange(begin - 4, end + 5)))

    alone = smoothed(clean, 0.5).points[:, WRIST, 1]
    for share in (0.1, 0.5, 0.9):
        assert crossing(alone, share) == pytest.approx(crossing(clean.points[:, WRIST, 1], share), abs=0.5)


def test_nothing_is_smoothed_at_strength_0_or_across_what_is_not_seen() -> None:
    people = [person_at(0.2)] * 5 + [without(person_at(0.8), *range(39, 60))] * 5 + [person_at(0.8)] * 5
    track = track_of(people)
    assert smoothed(track, 0) is track
    calm = smoothed(track, 1.0).points
    np.testing.assert_array_equal(calm[5:10, 39:60], track.points[5:10, 39:60])
    np.testing.assert_allclose(calm[10:, 40], track.points[10:, 40], atol=1e-6)


# --- loops


@given(st.integers(3, 80), st.integers(1, 400), st.floats(0.3, 3.0))
@settings(max_examples=40, deadline=None)
def test_a_loop_has_no_jump_at_any_length(frames: int, wanted: int, period: float) -> None:
    track = track_of(waving(frames, 24, period))
    loop = looped(track, wanted)
    assert len(loop.points) == wanted
    np.testing.assert_array_equal(loop.points[: min(frames // 2, wanted)], track.points[: min(frames // 2, wanted)])
    if wanted > frames > 6:
        rises = loop.points[:, WRIST, 1]
        within, around = (np.abs(np.diff(track.points[:, WRIST, 1])).max(), np.abs(np.diff(rises)).max())
        assert around <= within + 1.5 * 0.4 * 1.1 / min(12, frames // 3)


def test_a_movement_that_repeats_itself_goes_on_as_if_it_were_longer() -> None:
    loop = looped(track_of(waving(110, 24, 1.0)), 300)
    np.testing.assert_allclose(loop.points[:, WRIST, 1], track_of(waving(300, 24, 1.0)).points[:, WRIST, 1], atol=1e-4)


def test_a_pose_of_one_or_two_frames_is_held() -> None:
    assert (looped(track_of(waving(2, 24)), 9).points[1:, WRIST, 1] == track_of(waving(2, 24)).points[1, WRIST, 1]).all()
