"""How the tiny VAE's training chooses its crops, what it asks of them, and how a VAE is measured."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from apoavatar_core.settings import build
from apoavatar_core.tiny.vae import crops, measure
from apoavatar_core.tiny.vae.config import VAETrainingConfig
from apoavatar_core.tiny.vae.losses import reconstruction_loss

STAGE = {"steps": 4, "batch": 2, "frames": 5, "crop": 32, "learning_rate": 0.01, "final_learning_rate": 0.01}


def keypoints(right: tuple[float, float], left: tuple[float, float]) -> dict:
    """A pose whose neck, wrists and mouth are seen; places are fractions of the frame."""
    body = np.zeros((18, 3))
    body[1], body[4], body[7] = (0.5, 0.5, 1), (*right, 1), (*left, 1)
    face = np.tile([0.5, 0.25, 1.0], (70, 1))
    return {"people": [{"pose_keypoints_2d": body.ravel().tolist(), "face_keypoints_2d": face.ravel().tolist()}]}


@pytest.fixture
def bank(tmp_path):
    """Two grey clips of 17 frames of 128 pixels. From frame 8 to 12 the right wrist moves by 4 pixels a frame, the left
    one rests; round each is a box of 28 by 24 pixels: 10 grey levels lighter where the wrist moves, 2 where it rests.
    """
    folder = tmp_path / "bank"
    folder.mkdir()
    for seed in range(2):
        frames, poses, x = np.full((17, 128, 128, 3), 100, np.uint8), [], 32
        for t in range(17):
            moves = 8 <= t < 13
            x += 4 * moves
            frames[t, 50:78, x - 12 : x + 12] += 10 if moves else 2
            frames[t, 50:78, 92:116] += 2
            poses.append(keypoints((x / 128, 0.5), (104 / 128, 0.5)))
        np.save(folder / f"{seed:06d}.frames.npy", frames)
        (folder / f"{seed:06d}.json").write_text(json.dumps({"caption": "", "keypoints": poses}))
    return folder


class Grey(nn.Module):
    """Reconstructs every clip as grey of level 100, at a cost of one parameter."""

    def __init__(self):
        super().__init__()
        self.level = nn.Parameter(torch.tensor(100 / 127.5 - 1))

    def encode(self, frames):
        return frames

    def decode(self, latents):
        return self.level.expand_as(latents)


def test_hands_are_measured_where_they_move_and_where_they_rest(bank, tmp_path) -> None:
    quality = measure.measure(Grey(), bank, [0, 1], tmp_path / "sheet.png")

    def decibels(levels: float) -> float:
        return 20 * np.log10(255 / levels)

    box = 28 * 24 / 128**2
    expected = {
        "moving": decibels(10),
        "resting": decibels(2),
        "all": decibels(np.sqrt(box * (5 * 10**2 + (12 + 17) * 2**2) / 17)),
        "first": decibels(np.sqrt(box * (1 * 10**2 + (8 + 9) * 2**2) / 9)),
        "last": decibels(np.sqrt(box * (5 * 10**2 + (4 + 9) * 2**2) / 9)),
    }
    assert asdict(quality) == pytest.approx(expected, abs=1e-3)
    assert "moving 28.13" in str(quality)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (4 * 128, (measure.SHOWN_FRAMES + measure.SHOWN_HANDS) * 128, 3)
    # A hand is enlarged 128/48 times: the lighter box of 28 by 24 pixels is in its middle; the reconstruction is all grey.
    hand, reconstructed = (sheet[row : row + 128, measure.SHOWN_FRAMES * 128 :][:, :128] for row in (0, 128))
    lighter = np.argwhere((hand == 110).all(-1))
    assert np.ptp(lighter, axis=0) + 1 == pytest.approx((28 * 128 / 48, 24 * 128 / 48), abs=3)
    assert lighter.mean(0) == pytest.approx((64, 64), abs=3) and not (reconstructed > 100).any()


def test_a_bank_without_hands_has_no_figures_for_them(bank, tmp_path) -> None:
    for path in bank.glob("*.json"):
        path.write_text(json.dumps({"caption": "", "keypoints": [{"people": []}] * 17}))
    quality = measure.measure(Grey(), bank, [0], tmp_path / "sheet.png")
    assert np.isnan(quality.moving) and np.isnan(quality.resting) and quality.all > 30


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_crops_follow_fast_wrists_for_their_share(share) -> None:
    places = np.tile([[0.5, 0.25], [0.25, 0.5], [0.75, 0.5]], (40, 1, 1))
    places[20:24, 2, 1] -= 0.03 * np.arange(1, 5)
    places[24:, 2, 1] -= 0.12
    config = build(VAETrainingConfig, {"stages": [STAGE], "moving_share": share, "detail_share": 0.0})
    rng = np.random.default_rng(0)
    found = [crops.sample_place(places, 5, config, rng) for _ in range(1000)]
    if share == 0:
        assert all(centre is None for _, centre in found) and {t for t, _ in found} == set(range(36))
    else:
        # Every window holds a frame in which the left wrist moves, and is centred on where it then is.
        for t, centre in found:
            assert any(np.array_equal(centre, places[at, 2]) for at in range(max(20, t), min(24, t + 5)))
        assert {t for t, _ in found} == set(range(16, 24))


def test_flicker_costs_what_stillness_does_not() -> None:
    target = torch.zeros(1, 3, 4, 8, 8)
    still, flickering = torch.full_like(target, 0.1), torch.full_like(target, 0.1)
    flickering[:, :, ::2] *= -1
    for output, change in ((still, 0.0), (flickering, 0.2)):
        assert reconstruction_loss(output, target, 2.0).item() == pytest.approx(0.1 + 0.1 + 2 * change)
    picture = target[:, :, :1]
    assert reconstruction_loss(picture + 0.1, picture, 2.0).item() == pytest.approx(0.2)


@pytest.mark.parametrize("wrong, message", [({"frames": 2}, "use 4n.1"), ({"crop": 12}, "no multiple of 8")])
def test_a_stage_that_fills_no_latents_is_refused(wrong, message) -> None:
    with pytest.raises(ValueError, match=f"stages.0: .*{message}"):
        build(VAETrainingConfig, {"stages": [STAGE | wrong]})


def test_the_rate_warms_up() -> None:
    settings = build(VAETrainingConfig, {"stages": [STAGE]})
    assert [settings.stage_at(step)[1] for step in range(2)] == pytest.approx([0.01 / 20, 0.02 / 20])
