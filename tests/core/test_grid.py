"""The grid of frames, latents and tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apoavatar_core.grid import latent_frames, round_to_clip_length


@given(st.integers(1, 10_000))
def test_clip_lengths_round_to_the_nearest_4n_plus_1(frames: int) -> None:
    candidates = range(1, 10_010, 4)
    nearest = min(candidates, key=lambda length: (abs(length - frames), -length))
    assert round_to_clip_length(frames) == nearest
    assert latent_frames(nearest) == candidates.index(nearest) + 1


def test_clips_without_a_frame_are_refused() -> None:
    for length in (latent_frames, round_to_clip_length):
        with pytest.raises(ValueError, match="frames is 0"):
            length(0)
