"""A gate acts at the moments it was made for, whatever the frame rates of gate and clip."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apoavatar_core.conditioning.clip import ClipShape
from apoavatar_core.conditioning.pose import refocused_gate
from apoavatar_core.refocusing import Gate

RATES = [16, 23.976, 24, 25, 29.97, 30, 48, 60]


def ramp(fps: float, frames: int) -> Gate:
    """A gate that opens in proportion to the time, by a tenth a second."""
    dropout = 1 - np.arange(frames, dtype=np.float32) / fps / 10
    return Gate(1 - dropout, 1 - dropout, dropout, fps)


@given(st.sampled_from(RATES), st.sampled_from(RATES), st.integers(0, 40))
def test_a_gate_of_another_rate_is_read_at_the_clips_times(own: float, wanted: float, start: int) -> None:
    clip = ClipShape(64, 64, 49, wanted, start)
    gate = refocused_gate(ramp(own, round(8 * own)), clip).numpy()
    np.testing.assert_allclose(gate, (start + np.arange(49)) / wanted / 10, atol=1e-5)


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_the_body_rests_in_the_frames_by_which_a_clip_outlasts_its_voice(missing: int) -> None:
    gate = ramp(24, 49 - missing)
    found = refocused_gate(gate, ClipShape(64, 64, 49, 24)).numpy()
    np.testing.assert_array_equal(found[: 49 - missing], gate.keep)
    np.testing.assert_array_equal(found[49 - missing :], 0)


def test_a_gate_that_is_too_short_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match="gate has 45 frames but the clip has 49: set frames to 0 in Audio Loudness Refocusing"):
        refocused_gate(ramp(24, 45), ClipShape(64, 64, 49, 24))


def test_a_gate_without_a_rate_has_the_clips() -> None:
    gate = ramp(24, 49)
    bare = Gate(gate.loudness, gate.normalized, gate.dropout)
    np.testing.assert_array_equal(refocused_gate(bare, ClipShape(64, 64, 49, 60)).numpy(), gate.keep)
