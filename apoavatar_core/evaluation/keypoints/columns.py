"""What is measured of the keypoints."""

from __future__ import annotations

from ..questions import Measure

MEASURES = {
    "free_hand_r": Measure("hand r", +1, 0.05, "pose-free: correlation of the hands' speed and the voice's loudness, smoothed"),
    "free_onset": Measure("onset", -1, 0.5, "pose-free: frames from an accent to the nearest peak of the hands' speed"),
    "free_quiet": Measure("quiet", -1, 0.05, "pose-free: speed of the hands in quiet frames over that in all frames"),
    "free_amount": Measure("amount", +1, 0.05, "pose-free: speed of the hands over that of the drawn clips"),
    "free_mouth_r": Measure("mouth r", +1, 0.02, "pose-free: correlation of the mouth's opening with that of the drawn clip"),
    "hard_distance": Measure("pose distance", -1, 0.01, "hard, own pose: distance of the wrists from it, arm lengths"),
    "hard_side": Measure("which hand", +1, 0.05, "hard, own pose: correlation of right minus left hand's speed with the pose's"),
    "misfit_distance": Measure("misfit distance", -1, 0.01, "hard, another clip's pose: distance from it, arm lengths"),
    "misfit_mouth_r": Measure("misfit mouth r", +1, 0.02, "hard, another clip's pose: correlation of the mouth with the voice's"),
    "refocused_distance": Measure("refocused distance", -1, 0.01, "refocused, own pose: distance of the wrists from it"),
    "refocused_side": Measure("refocused which hand", +1, 0.05, "refocused, own pose: which hand, as above"),
    "borrowed_open": Measure("open distance", -1, 0.01, "refocused, another clip's pose: distance where the gate is open"),
    "borrowed_still": Measure("shut / open", -1, 0.05, "refocused, another clip's pose: speed where the gate is shut over open"),
    "borrowed_hand_r": Measure("refocused hand r", +1, 0.05, "refocused, another clip's pose: hand r, as above"),
    "borrowed_rough": Measure("roughness", -1, 0.2, "refocused, another clip's pose: acceleration over the drawn clips'"),
    "free_worth": Measure("worth of the voice", +1, 0.005, "pose-free: how much higher the hands' Eq. 1 is with another voice"),
    "free_loss": Measure("loss, free", -1, 0.005, "Eq. 1 of the hands on held-out clips, pose-free"),
    "hard_loss": Measure("loss, hard", -1, 0.005, "Eq. 1 of the hands on held-out clips with their own pose"),
    "refocused_loss": Measure("loss, refocused", -1, 0.005, "Eq. 1 of the hands with their own pose under the soft gate"),
}
