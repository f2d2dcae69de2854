"""A track on another body: its directions, the portrait's lengths, place, hands and face."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apoavatar_core.pose import PersonKeypoints, from_frame, mouth_opening
from apoavatar_core.pose.following import Followed
from apoavatar_core.pose.retargeting import BONES, retargeted
from apoavatar_core.pose.track import FACE, LEFT_HAND, RIGHT_HAND, Track
from apoavatar_core.synthetic import frame_keypoints, sample_identity, speech_motion

NOSE, NECK, ELBOW, WRIST = 0, 1, 3, 4
REST = {(1, 2): 180, (2, 3): 100, (3, 4): 80, (1, 5): 0, (5, 6): 80, (6, 7): 100, (1, 8): 110, (8, 9): 90, (9, 10): 90,
        (1, 11): 70, (11, 12): 90, (12, 13): 90, (1, 0): 270}  # fmt: skip


def stick_figure(rng: np.random.Generator) -> dict:
    """Someone flat, as a paper puppet: limb lengths as shares of the height, a palm and a face."""
    lengths = {bone: rng.uniform(0.06, 0.12) for bone in BONES}
    for right, left in (((1, 2), (1, 5)), ((2, 3), (5, 6)), ((3, 4), (6, 7)), ((1, 8), (1, 11))):
        lengths[left] = lengths[right]
    return {"lengths": lengths, "palm": rng.uniform(0.03, 0.05), "eyes": rng.uniform(0.02, 0.04)}


def posed(figure: dict, angles: dict, neck: tuple[float, float], size: float, aspect: float, tilt: float = 0.0) -> np.ndarray:
    """Points [130, 3] of a puppet, whose limbs have these angles in degrees, in a picture of that aspect; `size` scales it."""
    points = np.zeros((130, 3))
    points[:18, 2] = 1
    points[NECK, :2] = neck
    for near, far in BONES:
        angle = np.radians(angles[near, far])
        along = size * figure["lengths"][near, far] * np.array([np.cos(angle), np.sin(angle)])
        points[far, :2] = points[near, :2] + along
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    eyes = size * figure["eyes"] * np.array([[-1, -1], [1, -1], [-2, -0.5], [2, -0.5]])
    points[14:18, :2] = points[NOSE, :2] + eyes @ turn.T
    for hand, wrist in ((LEFT_HAND, 7), (RIGHT_HAND, 4)):
        fan = np.stack([np.linspace(-0.4, 0.4, 21), np.linspace(0, 1, 21)], 1)
        points[hand, :2] = points[wrist, :2] + size * figure["palm"] * (fan - fan[0])
        points[hand, 2] = 1
    points[:, 0] /= aspect
    return points


def in_pixels(points: np.ndarray, aspect: float) -> np.ndarray:
    return points[..., :2] * (aspect, 1)


def limb(points: np.ndarray, bone: tuple[int, int], aspect: float) -> np.ndarray:
    pixels = in_pixels(points, aspect)
    return pixels[..., bone[1], :] - pixels[..., bone[0], :]


@given(st.integers(0, 10_000), st.sampled_from([0.5, 1.0, 16 / 9]), st.sampled_from([0.5, 1.0, 16 / 9]))
@settings(max_examples=40, deadline=None)
def test_limbs_are_as_long_as_the_portraits_and_point_where_the_tracks_do(seed: int, aspect: float, other: float) -> None:
    rng = np.random.default_rng(seed)
    driver, person = stick_figure(rng), stick_figure(rng)
    frames = [{bone: angle + rng.uniform(-60, 60) for bone, angle in REST.items()} for _ in range(12)]
    film = np.stack([posed(driver, angles, (0.5, 0.4), 0.8, aspect) for angles in frames])
    portrait = posed(person, REST, (0.5, 0.45), 1.0, other)
    track = Track(film, 24.0, (1000 * aspect, 1000))
    found = retargeted(track, PersonKeypoints.from_points(portrait), (1000 * other, 1000)).points
    for bone in BONES:
        seen = found[:, bone, 2].min(1) > 0
        result, wanted, given_ = (limb(p, bone, a)[seen] for p, a in ((found, other), (portrait[None].repeat(12, 0), other), (film, aspect)))  # noqa: E501
        np.testing.assert_allclose(np.linalg.norm(result, axis=1), np.linalg.norm(wanted, axis=1), rtol=0.02)
        cosines = (result * given_).sum(1) / np.linalg.norm(result, axis=1) / np.linalg.norm(given_, axis=1)
        assert (cosines >= np.cos(np.radians(2))).all()
    outside = ((found[..., :2] < 0) | (found[..., :2] > 1)).any(-1)
    assert not found[outside, 2].any() and found[~outside][:, 2].sum() > 0
    assert (found[:, LEFT_HAND, 2].max(1) <= found[:, 7, 2]).all()


def test_the_neck_begins_at_the_portraits_and_moves_as_much_as_its_size_says() -> None:
    rng = np.random.default_rng(0)
    driver = stick_figure(rng)
    film = [posed(driver, REST, (0.5 + 0.01 * max(t - 12, 0), 0.4), 1.0, 1.0) for t in range(20)]
    portrait = posed(driver, REST, (0.3, 0.6), 0.5, 1.0)
    found = retargeted(Track(np.stack(film), 24.0), PersonKeypoints.from_points(portrait), (512, 512)).points
    np.testing.assert_allclose(found[:12, NECK, :2], portrait[None, NECK, :2].repeat(12, 0), atol=1e-6)
    np.testing.assert_allclose(found[12:, NECK, 0] - 0.3, 0.005 * np.arange(8), atol=1e-6)
    hand = np.linalg.norm(found[0, RIGHT_HAND, :2] - found[0, WRIST, :2], axis=1).max()
    assert hand == pytest.approx(np.linalg.norm(portrait[RIGHT_HAND, :2] - portrait[WRIST, :2], axis=1).max(), rel=0.01)


def test_limbs_and_hands_that_the_portrait_does_not_show_have_the_size_of_the_rest() -> None:
    rng = np.random.default_rng(1)
    driver = stick_figure(rng)
    portrait = posed(driver, REST, (0.5, 0.45), 2.0, 1.0)
    portrait[[3, 4, 6, 7], 2] = 0
    portrait[LEFT_HAND, 2] = portrait[RIGHT_HAND, 2] = 0
    film = posed(driver, REST, (0.5, 0.4), 1.0, 1.0)[None].repeat(3, 0)
    found = retargeted(Track(film, 24.0), PersonKeypoints.from_points(portrait), (512, 512)).points
    for bone in ((2, 3), (3, 4), (5, 6), (6, 7)):
        np.testing.assert_allclose(limb(found, bone, 1.0), 2 * limb(film, bone, 1.0), atol=1e-5)
    np.testing.assert_allclose(found[:, RIGHT_HAND, :2] - found[:, [WRIST], :2], 2 * (film[:, RIGHT_HAND, :2] - film[:, [WRIST], :2]),
                               atol=1e-5)  # fmt: skip


def test_a_forearm_towards_the_camera_is_as_short_as_in_the_track_and_does_not_shrink_the_rest() -> None:
    """At rest driver and portrait both show the forearm at a third of its length; then the driver stretches it out."""
    rng = np.random.default_rng(2)
    driver = stick_figure(rng)
    short = {**driver, "lengths": {**driver["lengths"], (3, 4): driver["lengths"][3, 4] / 3}}
    out = {**REST, (3, 4): 10}
    film = np.stack([posed(short, REST, (0.5, 0.4), 1.0, 1.0)] * 5 + [posed(driver, out, (0.5, 0.4), 1.0, 1.0)] * 5)
    portrait = posed(short, REST, (0.5, 0.4), 1.0, 1.0)
    found = retargeted(Track(film, 24.0), PersonKeypoints.from_points(portrait), (512, 512)).points
    np.testing.assert_allclose(found[..., :2], film[..., :2], atol=1e-5)


@pytest.mark.parametrize("name", ["portrait", "pose"])
def test_bodies_without_shoulders_are_refused(name: str) -> None:
    rng = np.random.default_rng(0)
    points = {who: posed(stick_figure(rng), REST, (0.5, 0.5), 1.0, 1.0) for who in ("portrait", "pose")}
    points[name][[1, 2], 2] = 0
    with pytest.raises(ValueError, match=r"^The (portrait's )?pose shows no shoulders: use"):
        retargeted(Track(points["pose"][None], 24.0), PersonKeypoints.from_points(points["portrait"]), (512, 512))


# --- the drawn presenter, whose arms have depth and whose face moves


def performed(seed: int, frames: int = 24) -> tuple:
    """Two presenters who make the same movements."""
    rng = np.random.default_rng(seed)
    first, second = sample_identity(rng), sample_identity(rng)
    seconds = np.arange(16_000 * frames // 24) / 16_000
    speech = (0.3 * np.sin(2 * np.pi * 220 * seconds) * (np.sin(2 * np.pi * 2 * seconds) > 0)).astype(np.float32)
    motion = speech_motion(speech, frames, 24, first, rng)
    return [[from_frame(frame_keypoints(who, motion, t, 512)) for t in range(frames)] for who in (first, second)]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_presenters_gestures_become_those_that_another_one_makes(seed: int) -> None:
    theirs, own = performed(seed)
    found = retargeted(Track.of(Followed(theirs, (512, 512), 0), 24.0), own[0], (512, 512))
    truth = np.stack([person.points for person in own])
    both = (found.points[..., 2] > 0) & (truth[..., 2] > 0)
    apart = np.where(both, np.linalg.norm(found.points[..., :2] - truth[..., :2], axis=-1), np.nan)
    assert np.nanmedian(apart[:, [3, 4, 6, 7]]) < 0.01 and np.nanmax(apart[:, [3, 4, 6, 7]]) < 0.05
    head = apart[:, FACE.start + np.array([*range(17), *range(27, 36), *range(48, 68)])]
    assert np.nanmedian(head) < 0.01 and np.nanmax(head) < 0.03
    openings = np.array([[mouth_opening(person) for person in people] for people in (found.people, own)])
    assert np.corrcoef(openings)[0, 1] > 0.95 and np.abs(np.diff(openings, axis=0)).max() < 0.01
