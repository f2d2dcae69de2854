"""The command that measures gestures from voices."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import soundfile

from apoavatar_core.evaluation import gestures
from apoavatar_core.evaluation.__main__ import arguments_of, measure_gestures
from apoavatar_core.gestures import Phrase, Voice
from apoavatar_core.gestures.body import Arm


@pytest.fixture
def voice(tmp_path):
    """A stereo file of 6 s at 44.1 kHz: bursts of noise for 3 s, then silence."""
    time = np.arange(6 * 44100) / 44100
    gain = np.maximum(np.sin(2 * np.pi * 1.4 * time), 0) * (1 - 0.5 * np.sin(1.7 * time) ** 2) * (time < 3)
    noise = np.random.default_rng(0).standard_normal((len(time), 2))
    soundfile.write(tmp_path / "voice.wav", 0.2 * gain[:, None] * noise, 44100)
    return tmp_path / "voice.wav"


def test_the_command_measures_a_voice_and_writes_one_row_for_it(voice, tmp_path, capsys):
    measure_gestures(arguments_of(["gestures", str(voice), "--json", str(tmp_path / "result.json")]))
    (row,) = json.loads((tmp_path / "result.json").read_text())["rows"]
    assert row["voice"] == "voice.wav" and row["hand_r"] > 0.7 and row["onset_frames"] <= 2
    assert row["quiet_ratio"] < 0.15 and row["outside_range"] == 0
    printed = capsys.readouterr().out
    assert "voice.wav" in printed and "hand_r ≥ 0.7: 1 of 1" in printed


def test_without_a_voice_ten_are_spoken():
    assert arguments_of(["gestures"]).voices == [] and arguments_of(["gestures"]).spoken is None
    names = [name for name, _ in gestures.read_voices([], 2)]
    assert len(set(names)) == 2


def test_what_is_no_sound_is_named(tmp_path):
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(ValueError, match="text.wav cannot be read as sound"):
        next(gestures.read_voices([tmp_path / "text.wav"], 0))


def test_quiet_ratio_compares_pauses_with_speech():
    voice = Voice(3.0, (), (Phrase(0.0, 1.0), Phrase(2.0, 3.0)))
    speed = np.repeat([2.0, 0.5, 2.0], 24)
    assert gestures.quiet_ratio(speed, voice) == pytest.approx(0.25)
    assert math.isnan(gestures.quiet_ratio(speed, Voice(3.0, (), (Phrase(0.0, 3.0),))))
    assert math.isnan(gestures.quiet_ratio(speed, Voice(3.0, (), ())))


def test_limb_angle_distance_is_the_share_of_frames_at_other_angles():
    def arm(*degrees: float) -> Arm:
        bone = np.stack([np.sin(np.radians(degrees)), np.cos(np.radians(degrees)), np.zeros(len(degrees))], axis=1)
        return Arm(bone, bone, np.zeros((len(degrees), 21, 2)), bone)

    still = arm(10, 10, 10, 10)
    everywhere = np.ones(4, bool)
    assert gestures.limb_angle_distance({"right": still, "left": still}, {"right": still, "left": still}, everywhere) == 0
    moving = arm(10, 10, 90, 170)
    assert gestures.limb_angle_distance({"right": still, "left": still}, {"right": moving, "left": still}, everywhere) == 0.25
    first = np.array([True, True, False, False])
    assert gestures.limb_angle_distance({"right": still, "left": still}, {"right": moving, "left": still}, first) == 0
