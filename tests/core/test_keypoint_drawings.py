"""What the keypoint network learns from: smears are no hands, and what a VAE decodes keeps those that it still shows."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

from apoavatar_core.pose.keypoints import GROUPS, PersonKeypoints
from apoavatar_core.tiny import keypoint_drawings, keypoint_reconstructions, smears
from apoavatar_core.tiny.hand_detail import gradient_energy, hand_box
from apoavatar_core.tiny.keypoint_drawings import Drawings, draw_example, with_smears
from apoavatar_core.tiny.keypoint_reconstructions import kept_reconstructions, reconstruct, snippet

HANDS = ("left_hand", "right_hand")
SIZE = 96


@cache
def example(seed: int) -> tuple[np.ndarray, PersonKeypoints]:
    """A drawing that shows both hands."""
    while True:
        picture, person = draw_example(np.random.default_rng(seed), SIZE)
        if all(hand_box(getattr(person, hand), SIZE, SIZE) for hand in HANDS):
            return picture, person
        seed += 1000


def hand(places: list[tuple[float, float]], shown: int = 21) -> np.ndarray:
    """A hand whose points lie at these places in turn; so many of them are shown."""
    points = np.array([(*places[number % len(places)], number < shown) for number in range(21)], np.float32)
    return points


def test_a_hands_box_holds_its_points_and_stays_in_the_frame() -> None:
    rows, columns = hand_box(hand([(0.5, 0.25), (0.75, 0.5)]), 200, 100)
    assert (rows.start, rows.stop, columns.start, columns.stop) == (45, 105, 45, 80)
    rows, columns = hand_box(hand([(0.99, 0.99)]), 200, 100)
    assert rows.stop == 200 and columns.stop == 100 and rows.start < 199 and columns.start < 99
    assert hand_box(hand([(0.5, 0.5)], shown=10), 200, 100) is None


def test_gradient_energy_is_that_of_brightness() -> None:
    ramp = np.repeat(np.arange(0, 40, 4, dtype=np.uint8)[:, None, None], 6, 1).repeat(3, 2)
    assert gradient_energy(ramp) == pytest.approx(16)
    assert gradient_energy(ramp.transpose(1, 0, 2)) == pytest.approx(16)
    assert gradient_energy(np.full((5, 5, 3), 9, np.uint8)) == 0


@pytest.mark.parametrize("kind", smears.KINDS)
def test_a_smear_leaves_nothing_of_a_hand_and_the_rest_as_it_was(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smears, "KINDS", (kind,))
    left = []
    for seed in range(4):
        picture, person = example(seed)
        changed, cover = smears.smear(picture, person.right_hand, np.random.default_rng(seed))
        box = hand_box(person.right_hand, SIZE, SIZE)
        left.append(gradient_energy(changed[box]) / gradient_energy(picture[box]))
        assert smears.is_lost(person.right_hand, cover).all()
        assert np.array_equal(changed[cover == 0], picture[cover == 0]) and (cover == 0).mean() > 0.5
    # Edges of arm and clothes at the box's own edges stay.
    assert np.mean(left) < 0.3, left


def test_smeared_hands_lose_their_confidence_and_nothing_else_does() -> None:
    picture, person = example(1)
    counts = {0: 0, 1: 0, 2: 0}
    for seed in range(200):
        changed, points = with_smears(picture, person.points, np.random.default_rng(seed))
        shown = PersonKeypoints.from_points(points)
        gone = [name for name in HANDS if not getattr(shown, name)[:, 2].any()]
        counts[len(gone)] += 1
        assert np.array_equal(points[..., :2], person.points[..., :2]) and np.array_equal(shown.body, person.body)
        assert np.array_equal(changed, picture) == (not gone)
    assert counts[0] == pytest.approx(200 * (1 - keypoint_drawings.SMEARED), abs=20)
    assert counts[1] == pytest.approx(counts[2], abs=20) and min(counts.values()) > 5


def blurred_on_the_right(pictures: torch.Tensor) -> torch.Tensor:
    """A VAE that is perfect in the left half of the picture, and blurs beyond recognition in the right one."""
    half = pictures.shape[3] // 2
    flat = pictures.flatten(0, 1).movedim(-1, 1)
    small = F.interpolate(flat, scale_factor=1 / 12, mode="area")
    soft = F.interpolate(small, size=flat.shape[-2:], mode="bicubic").movedim(1, -1).reshape(pictures.shape)
    return torch.cat([pictures[:, :, :, :half], soft[:, :, :, half:]], 3)


def test_decoded_hands_count_where_the_vae_still_shows_them() -> None:
    decoded = reconstruct(blurred_on_the_right, 6, SIZE, seed=0)
    assert len(decoded) == 30 and decoded.points.shape == (30, sum(GROUPS.values()), 3)
    drawn = [snippet(np.random.default_rng((0, 2, number)), SIZE) for number in range(6)]
    frames, people = np.concatenate([frames for frames, _ in drawn]), [person for _, persons in drawn for person in persons]
    assert np.array_equal(decoded.pictures[:, :, : SIZE // 2], frames[:, :, : SIZE // 2])
    seen = {"left": [], "right": []}
    for person, points in zip(people, decoded.points):
        found = PersonKeypoints.from_points(points)
        assert np.array_equal(found.body, person.body) and np.array_equal(found.face, person.face)
        for name in HANDS:
            box = hand_box(getattr(person, name), SIZE, SIZE)
            if box and (box[1].stop <= SIZE // 2 or box[1].start >= SIZE // 2):
                seen["left" if box[1].stop <= SIZE // 2 else "right"].append(bool(getattr(found, name)[:, 2].any()))
    assert all(seen["left"]) and not any(seen["right"]) and min(map(len, seen.values())) > 5


def test_hands_of_a_snippet_move_no_faster_than_strokes() -> None:
    for seed in range(5):
        frames, people = snippet(np.random.default_rng(seed), SIZE)
        steps = np.linalg.norm(np.diff([person.body[[4, 7], :2] for person in people], axis=0), axis=-1)
        assert frames.shape == (5, SIZE, SIZE, 3) and (frames[1:] != frames[:-1]).any() and steps.max() < 0.1


def test_a_batch_shows_decoded_pictures_and_smears_with_their_points() -> None:
    decoded = reconstruct(lambda pictures: torch.zeros_like(pictures), 1, SIZE, seed=0)
    drawings = Drawings(("left_hand", "right_hand"), SIZE, 8, 0.25, 16, 0, decoded)
    black, empty = 0, 0
    for number in range(12):
        pictures, points = drawings.batch(number, np.random.default_rng(number))
        assert pictures.shape == (8, 3, SIZE, SIZE) and points.shape == (8, 42, 3)
        is_black = pictures.flatten(1).amax(1) == 0
        assert not points[is_black][..., 2].any()
        black += int(is_black.sum())
        empty += int((points[~is_black][..., 2].unflatten(1, (2, 21)).amax(-1) == 0).sum())
    assert black == pytest.approx(96 * keypoint_drawings.RECONSTRUCTED, abs=16) and empty > 4


def test_what_was_decoded_is_kept_until_the_vae_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(keypoint_reconstructions, "vae_of", lambda path: made.append(path) or (lambda pictures: pictures))
    save_file({"weights": np.zeros(1)}, vae := tmp_path / "vae.safetensors")
    first = kept_reconstructions(tmp_path / "decoded.safetensors", vae, 1, 32, 0)
    again = kept_reconstructions(tmp_path / "decoded.safetensors", vae, 1, 32, 0)
    assert len(made) == 1 and np.array_equal(first.pictures, again.pictures) and np.array_equal(first.points, again.points)
    save_file({"weights": np.ones(1)}, vae)
    kept_reconstructions(tmp_path / "decoded.safetensors", vae, 1, 32, 0)
    assert len(made) == 2
