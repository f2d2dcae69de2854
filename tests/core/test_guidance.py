"""Eq. 8 against the equation written term by term."""

import math
from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from apoavatar_core.guidance import (
    MODALITIES,
    GuidanceScales,
    evaluation_plan,
    guided_prediction,
    state_coefficients,
)

EVERYTHING = frozenset(MODALITIES)
scales = st.builds(GuidanceScales, *[st.floats(-10, 10)] * 4)
subsets = st.sampled_from([frozenset(kept) for size in range(5) for kept in combinations(MODALITIES, size)])


def velocity(state: frozenset[str]) -> torch.Tensor:
    """A made-up model: a different tensor for every set of conditions, with no additive structure."""
    seed = sum(2**k for k, modality in enumerate(MODALITIES) if modality in state)
    return torch.rand(2, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def equation_8(s: GuidanceScales, present: frozenset[str]) -> torch.Tensor:
    def v(*kept: str) -> torch.Tensor:
        return velocity(frozenset(kept) & present)

    return (
        s.pose * (v("text", "image", "audio", "pose") - v("text", "image", "audio"))
        + s.audio * (v("text", "image", "audio") - v("text", "image"))
        + s.image * (v("text", "image") - v("text"))
        + s.text * (v("text") - v())
        + v()
    )


def planned(s: GuidanceScales, present: frozenset[str]) -> torch.Tensor:
    plan = evaluation_plan(s, present)
    return guided_prediction([velocity(state) for state, _ in plan], [coefficient for _, coefficient in plan])


@given(scales, subsets)
def test_the_plan_computes_equation_8(s: GuidanceScales, present: frozenset[str]) -> None:
    torch.testing.assert_close(planned(s, present), equation_8(s, present), atol=1e-5, rtol=0)


@given(scales)
def test_coefficients_are_those_of_the_five_states(s: GuidanceScales) -> None:
    states = [velocity(frozenset(MODALITIES[:k])) for k in range(5)]
    torch.testing.assert_close(guided_prediction(states, state_coefficients(s)), equation_8(s, EVERYTHING))
    assert sum(state_coefficients(s)) == pytest.approx(1)


@given(scales, subsets)
def test_a_plan_sums_to_one_and_goes_from_full_to_empty(s: GuidanceScales, present: frozenset[str]) -> None:
    plan = evaluation_plan(s, present)
    assert sum(coefficient for _, coefficient in plan) == pytest.approx(1, abs=1e-6)
    assert all(larger > smaller for (larger, _), (smaller, _) in zip(plan, plan[1:], strict=False))
    assert all(state <= present for state, _ in plan)


@given(scales)
def test_guidance_holds_in_denoised_space_too(s: GuidanceScales) -> None:
    sigma, x = 0.7, torch.rand(2, 3, dtype=torch.float64)
    states = [velocity(frozenset(MODALITIES[:k])) for k in range(5)]
    coefficients = state_coefficients(s)
    denoised = guided_prediction([x - sigma * v for v in states], coefficients)
    torch.testing.assert_close(denoised, x - sigma * guided_prediction(states, coefficients), atol=1e-9, rtol=0)


@pytest.mark.parametrize("present", [EVERYTHING, frozenset({"text", "audio"}), frozenset()])
def test_all_ones_cost_one_evaluation(present: frozenset[str]) -> None:
    assert evaluation_plan(GuidanceScales(1, 1, 1, 1), present) == [(present, 1.0)]


@given(st.floats(1.5, 10))
def test_equal_scales_cost_two_evaluations(scale: float) -> None:
    plan = evaluation_plan(GuidanceScales(scale, scale, scale, scale), EVERYTHING)
    assert [state for state, _ in plan] == [EVERYTHING, frozenset()]
    assert [coefficient for _, coefficient in plan] == pytest.approx([scale, 1 - scale])


def test_different_scales_cost_five_evaluations() -> None:
    plan = evaluation_plan(GuidanceScales(5, 4, 3, 2), EVERYTHING)
    assert plan == [
        (EVERYTHING, 2),
        (frozenset({"text", "image", "audio"}), 1),
        (frozenset({"text", "image"}), 1),
        (frozenset({"text"}), 1),
        (frozenset(), -4),
    ]


def test_without_a_pose_its_scale_does_not_matter() -> None:
    present = EVERYTHING - {"pose"}
    plans = [evaluation_plan(GuidanceScales(5, 4, 3, pose), present) for pose in (0, 1, 7)]
    assert plans[0] == plans[1] == plans[2]
    assert plans[0] == [(present, 3), (frozenset({"text", "image"}), 1), (frozenset({"text"}), 1), (frozenset(), -4)]


def test_without_a_reference_image_its_state_merges() -> None:
    present = frozenset({"text", "audio", "pose"})
    assert evaluation_plan(GuidanceScales(5, 4, 3, 2), present) == [
        (present, 2),
        (frozenset({"text", "audio"}), 1),
        (frozenset({"text"}), 2),
        (frozenset(), -4),
    ]


def test_a_pose_with_scale_zero_is_not_evaluated() -> None:
    states = [state for state, _ in evaluation_plan(GuidanceScales(5, 5, 5, 0), EVERYTHING)]
    assert states == [EVERYTHING - {"pose"}, frozenset()]


def test_rounding_does_not_cost_an_evaluation() -> None:
    assert len(evaluation_plan(GuidanceScales(0.1 + 0.2, 0.3, 0.3, 0.3), EVERYTHING)) == 2


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("scale", [math.nan, math.inf, -math.inf])
def test_scales_that_are_no_numbers_are_refused(modality: str, scale: float) -> None:
    with pytest.raises(ValueError, match=f"the {modality} guidance scale is"):
        GuidanceScales(**{**dict.fromkeys(MODALITIES, 1.0), modality: scale})


def test_unknown_modalities_are_refused() -> None:
    with pytest.raises(ValueError, match="no such modality: smell"):
        evaluation_plan(GuidanceScales(1, 1, 1, 1), frozenset({"text", "smell"}))


@pytest.mark.parametrize(("predictions", "coefficients"), [(0, 0), (2, 1), (1, 2)])
def test_predictions_and_coefficients_come_in_pairs(predictions: int, coefficients: int) -> None:
    with pytest.raises(ValueError, match=f"{predictions} predictions and {coefficients} coefficients"):
        guided_prediction([torch.zeros(1)] * predictions, [1.0] * coefficients)
