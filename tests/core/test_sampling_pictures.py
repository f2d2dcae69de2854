"""Pictures between their pixels, against OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apoavatar_core.pose.sampling import bilinear

BORDERS = {"edge": cv2.BORDER_REPLICATE, "black": cv2.BORDER_CONSTANT}


@pytest.mark.parametrize("outside", BORDERS)
@given(seed=st.integers(0, 1000), height=st.integers(1, 20), width=st.integers(1, 20))
def test_every_place_shows_what_opencv_shows(outside: str, seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (height, width, 3), np.uint8)
    x = rng.uniform(-4, width + 3, (7, 9)).astype(np.float32)
    y = rng.uniform(-4, height + 3, (7, 9)).astype(np.float32)
    places = cv2.convertMaps(x, y, cv2.CV_16SC2)
    expected = cv2.remap(picture, *places, cv2.INTER_LINEAR, borderMode=BORDERS[outside])
    found = bilinear(picture, x, y, outside=outside)
    # A value half-way between two levels may be rounded to the other one.
    assert np.abs(found.astype(int) - expected).max() <= 1 and (found != expected).mean() < 0.05
