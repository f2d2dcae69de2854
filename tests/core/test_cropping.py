"""Which part of a portrait a clip shows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apoavatar_core.conditioning.cropping import CENTRE, KEEP_PERSON, PAD, Crop, crop_for, has_shape
from apoavatar_core.conditioning.portrait import too_few_pixels, what_was_cut
from apoavatar_core.pose import PersonKeypoints
from apoavatar_core.pose.upper_body import upper_body

SIDES = st.integers(1, 3000)
PICTURES = st.tuples(SIDES, SIDES)
CLIPS = st.tuples(st.integers(1, 100), st.integers(1, 100)).map(lambda units: (16 * units[0], 16 * units[1]))
SPANS = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted)
PERSONS = st.tuples(SPANS, SPANS).map(lambda spans: (spans[0][0], spans[1][0], spans[0][1], spans[1][1]))
FITS = st.sampled_from([KEEP_PERSON, CENTRE, PAD])


@given(PICTURES, CLIPS, FITS, st.none() | PERSONS)
def test_a_crop_has_the_clips_shape_and_is_inside_the_picture_or_padded(picture, clip, fit, person):
    crop = crop_for(picture, clip, fit, person)
    shape = clip[0] / clip[1]
    # One side is within a pixel of what the other asks for; slips keep a pixel or two.
    off = min(abs(crop.width - crop.height * shape), abs(crop.height - crop.width / shape))
    assert off <= 1.001 or 1 <= min(crop.width, crop.height) <= 2
    for start, size, side in ((crop.left, crop.width, picture[0]), (crop.top, crop.height, picture[1])):
        assert (0 <= start and start + size <= side) or (start <= 0 and side <= start + size)
    assert crop.is_padded or crop.width == picture[0] or crop.height == picture[1]
    if fit == CENTRE:
        assert crop.is_middle


@given(PICTURES, CLIPS, PERSONS)
def test_all_of_the_person_stays_and_bars_are_no_wider_than_that_takes(picture, clip, person):
    crop = crop_for(picture, clip, KEEP_PERSON, person)
    left, top, right, bottom = np.multiply(person, (*picture, *picture))
    assert crop.left <= left + 1e-6 and right - 1e-6 <= crop.left + crop.width
    assert crop.top <= top + 1e-6 and bottom - 1e-6 <= crop.top + crop.height
    if crop.is_padded:
        # A smaller part would not hold the person: one side is hers, to the pixel, and the clip's shape gives the other.
        assert crop.width <= right - left + 2 or crop.height <= bottom - top + 2 + clip[1] / clip[0]


@given(PICTURES, CLIPS)
def test_pad_shows_all_of_the_picture_with_equal_bars(picture, clip):
    crop = crop_for(picture, clip, PAD)
    assert crop.shown == picture and crop.left <= 0 and crop.top <= 0
    assert crop.width == picture[0] or crop.height == picture[1]
    assert abs(2 * crop.left + crop.width - picture[0]) <= 1 and abs(2 * crop.top + crop.height - picture[1]) <= 1


@given(PICTURES, st.integers(1, 5), FITS, st.none() | PERSONS)
def test_a_portrait_of_the_clips_shape_stays_whole(picture, times, fit, person):
    clip = (picture[0] * times, picture[1] * times)
    assert has_shape(picture, clip)
    crop = crop_for(picture, clip, fit, person)
    assert crop == Crop(picture, 0, 0, *picture) and crop.is_middle
    assert what_was_cut(crop, clip, fit, person is not None) == []


@pytest.mark.parametrize(
    ("picture", "clip", "person", "expected"),
    [
        ((300, 900), (64, 64), (0.2, 0.0, 0.8, 0.3), (0, 0, 300, 300)),
        ((300, 900), (64, 64), (0.2, 0.5, 0.8, 0.8), (0, 435, 300, 300)),
        ((900, 300), (64, 64), (0.8, 0.1, 1.0, 1.0), (600, 0, 300, 300)),
        ((300, 900), (64, 64), None, (0, 0, 300, 300)),
        ((900, 300), (64, 64), None, (300, 0, 300, 300)),
        # Slips of pictures keep a pixel or two, where ComfyUI's rounding leaves none.
        ((100, 1), (64, 64), None, (49, 0, 2, 1)),
        ((1, 100), (64, 64), None, (0, 0, 1, 2)),
        # Too tall for the wide clip: bars on both sides. Too wide for the tall one: a bar above.
        ((300, 300), (128, 64), (0.2, 0.0, 0.8, 1.0), (-150, 0, 600, 300)),
        ((300, 300), (64, 128), (0.0, 0.1, 1.0, 1.0), (0, -300, 300, 600)),
    ],
)
def test_known_portraits(picture, clip, person, expected):
    crop = crop_for(picture, clip, KEEP_PERSON, person)
    assert (crop.left, crop.top, crop.width, crop.height) == expected


def test_keypoints_are_cropped_as_their_picture():
    crop = Crop((300, 900), 0, 435, 300, 300)
    person = PersonKeypoints.nobody()
    person.body[4], person.body[7] = (0.5, 585 / 900, 0.9), (0.1, 0.0, 0.7)
    body = crop.keypoints(person).body
    assert body[4] == pytest.approx([0.5, 0.5, 0.9]) and body[7] == pytest.approx([0.1, -1.45, 0.7])
    assert crop.fits(512, 1530) and crop.fits(100, 302) and not crop.fits(300, 300)
    assert crop.of(100, 300) == Crop((100, 300), 0, 145, 100, 100)


@pytest.mark.parametrize(
    ("fit", "person", "said"),
    [
        (KEEP_PERSON, (0.2, 0.0, 0.8, 0.3), "cut round the person: 300×300 from 0, 0"),
        (KEEP_PERSON, (0.2, 0.0, 0.8, 0.9), "padded so that head, shoulders and hands stay"),
        (KEEP_PERSON, None, "Nobody was found in the portrait of 300×900"),
        (PAD, None, "padded with one colour of its edges"),
        (CENTRE, None, ""),
    ],
)
def test_what_was_cut_is_said_unless_it_is_the_plain_middle(fit, person, said):
    sentences = what_was_cut(crop_for((300, 900), (64, 64), fit, person), (64, 64), fit, person is not None)
    assert len(sentences) == (1 if said else 0) and said in "".join(sentences)


@pytest.mark.parametrize(
    ("picture", "said"), [((1, 1), "1×1 pixels"), ((16, 16), "16×16 pixels"), ((40, 200), "40×40 pixels"), ((64, 64), "")]
)
def test_too_few_pixels_are_said(picture, said):
    sentences = too_few_pixels(crop_for(picture, (128, 128), KEEP_PERSON), (128, 128))
    assert len(sentences) == (1 if said else 0) and said in "".join(sentences)


def person_with(**groups: dict[int, tuple[float, float]]) -> PersonKeypoints:
    person = PersonKeypoints.nobody()
    for group, places in groups.items():
        for point, place in places.items():
            getattr(person, group)[point] = (*place, 1)
    return person


def test_the_upper_body_is_head_shoulders_and_hands_in_the_picture():
    person = person_with(
        face={8: (0.5, 0.4), 19: (0.45, 0.3), 24: (0.55, 0.3)},
        body={2: (0.3, 0.5), 5: (0.7, 0.5), 3: (0.1, 0.7), 4: (0.4, 0.8), 10: (0.4, 1.5)},
        left_hand={9: (0.75, 0.85)},
    )
    left, top, right, bottom = upper_body(person, 100, 200)
    # The face is 20 pixels high and the head reaches 18 above it; joints are from 30 to 75, 100 to 170, with room of 3.5.
    assert (left, top, right, bottom) == pytest.approx((0.265, 0.21, 0.785, 0.8675))
    assert upper_body(PersonKeypoints.nobody(), 100, 200) is None
    assert upper_body(person_with(body={4: (0.4, 1.5)}), 100, 200) is None
    assert upper_body(person_with(body={2: (-0.2, 0.9), 5: (0.4, 0.9), 4: (0.4, 1.5)}), 100, 100)[0::3] == (0, 1)
