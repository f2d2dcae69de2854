"""Banks of drawn clips: what they say of their clips, and that one bank holds one format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from apoavatar_core.data.clips import ClipBank, ClipFormat, draw_bank
from apoavatar_core.data.settings import identity
from apoavatar_core.data.sources import source_in


@pytest.fixture
def bank(tmp_path) -> Path:
    """A bank of one black clip of five frames."""
    draw_bank(tmp_path, clips=0, frames=5, size=32, workers=1, fps=25)
    np.save(tmp_path / "000007.frames.npy", np.zeros((5, 32, 32, 3), np.uint8))
    np.save(tmp_path / "000007.voice.npy", np.ones(8000, np.float32))
    (tmp_path / "000007.json").write_text(json.dumps({"caption": "night", "first": 3, "keypoints": [{"people": []}] * 5}))
    (tmp_path / "000008.frames.npy").write_bytes(b"a clip that is not whole yet")
    return tmp_path


def test_a_bank_says_what_its_clips_have_in_common(bank) -> None:
    found = source_in(bank, frames=5, fps=None)
    assert isinstance(found, ClipBank)
    assert found.format == ClipFormat(32, 32, 5, 25)
    assert found.names() == ["000007"]
    clip = found.load("000007")
    assert clip.frames.shape == (5, 32, 32, 3) and clip.voice.sound.sum() == 8000 and clip.first == 3 and clip.caption == "night"
    assert len(clip.keypoints) == 5


def test_a_bank_without_whole_voices_is_refused(bank) -> None:
    (bank / "000007.voice.npy").rename(bank / "000007.speech.npy")
    with pytest.raises(ValueError, match="holds no whole voice of clip 7: draw the clips again, into another folder"):
        source_in(bank).load("000007")


@pytest.mark.parametrize("asked", [{"fps": 24.0}, {"width": 64}, {"frames": 9}])
def test_drawn_clips_are_not_asked_to_be_others(bank, asked) -> None:
    with pytest.raises(ValueError, match="holds clips of 5 frames of 32x32 at 25 fps, not .*: draw them as you want them"):
        source_in(bank, **asked)


def test_a_bank_grows_in_its_own_format_only(bank) -> None:
    with pytest.raises(ValueError, match="holds clips of 5 frames of 32x32 at 25 fps, not 5 frames of 32x32 at 24 fps"):
        draw_bank(bank, clips=1, frames=5, size=32, workers=1)
    draw_bank(bank, clips=0, frames=5, size=32, workers=1, fps=25)


def test_a_bank_that_does_not_say_its_format_is_refused(bank) -> None:
    (bank / "bank.json").unlink()
    with pytest.raises(ValueError, match="does not say how its clips were drawn"):
        source_in(bank)


def test_a_file_is_known_by_its_bytes_and_not_by_its_name(tmp_path) -> None:
    for name, content in (("a", b"weights"), ("b", b"weights"), ("c", b"weightz")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (identity(tmp_path / name) for name in "abc")
    assert a == b != c
