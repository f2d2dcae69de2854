"""Eq. 1 in ComfyUI's convention."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from apoavatar_core.flow_matching import (
    flow_matching_loss,
    integrate,
    interpolate,
    sample_sigma,
    shifted_sigma,
    velocity_target,
)

SHAPE = (3, 2, 2, 4, 4)


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(SHAPE, generator=generator), torch.randn(SHAPE, generator=generator)


def test_interpolation_goes_from_data_to_noise(pair) -> None:
    data, noise = pair
    assert torch.equal(interpolate(data, noise, 0.0), data)
    assert torch.equal(interpolate(data, noise, 1.0), noise)
    sigma = torch.tensor([0.0, 0.25, 1.0])
    x = interpolate(data, noise, sigma)
    for b, s in enumerate(sigma.tolist()):
        torch.testing.assert_close(x[b], (1 - s) * data[b] + s * noise[b], atol=1e-5, rtol=0)


def test_the_target_is_the_derivative_and_the_negative_of_the_papers(pair) -> None:
    data, noise = (tensor.double() for tensor in pair)
    slope = (interpolate(data, noise, 0.6) - interpolate(data, noise, 0.2)) / 0.4
    torch.testing.assert_close(velocity_target(data, noise), slope, atol=1e-5, rtol=0)

    def papers_z(t: float) -> torch.Tensor:  # z_0 the noise, z_1 the data
        return (1 - t) * noise + t * data

    torch.testing.assert_close(interpolate(data, noise, 0.3), papers_z(0.7), atol=1e-6, rtol=0)
    torch.testing.assert_close(velocity_target(data, noise), -(papers_z(1.0) - papers_z(0.0)))


def test_a_perfect_prediction_recovers_the_data_in_one_step(pair) -> None:
    data, noise = pair
    prediction = velocity_target(data, noise)
    x = interpolate(data, noise, 0.8)
    torch.testing.assert_close(x - 0.8 * prediction, data, atol=1e-5, rtol=0)
    assert flow_matching_loss(prediction, data, noise) == 0


def test_the_loss_is_the_mean_squared_error(pair) -> None:
    data, noise = pair
    prediction = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    errors = [
        (p - (n - d)) ** 2
        for p, n, d in zip(*(tensor.double().flatten().tolist() for tensor in (prediction, noise, data)), strict=True)
    ]
    loss = flow_matching_loss(prediction, data, noise)
    assert loss.ndim == 0
    assert loss.item() == pytest.approx(sum(errors) / len(errors), abs=1e-5)


def test_a_weight_counts_some_places_more(pair) -> None:
    data, noise = pair
    prediction = velocity_target(data, noise)
    prediction[..., :2] += 1
    prediction[..., 2:] += 2
    weight = torch.tensor([3.0, 3.0, 0.5, 0.5])
    assert flow_matching_loss(prediction, data, noise, weight).item() == pytest.approx((3 * 1 + 0.5 * 4) / 2, abs=1e-5)


def test_the_loss_is_in_float32_and_has_gradients(pair) -> None:
    data, noise = (tensor.bfloat16() for tensor in pair)
    prediction = torch.zeros(SHAPE, dtype=torch.bfloat16, requires_grad=True)
    loss = flow_matching_loss(prediction, data, noise)
    loss.backward()
    assert loss.dtype == torch.float32 and prediction.grad.abs().sum() > 0


@given(st.floats(0, 1), st.floats(0.1, 20))
def test_shift_is_comfyuis(u: float, shift: float) -> None:
    sigma = shifted_sigma(u, shift)
    assert sigma == pytest.approx(u if shift == 1.0 else shift * u / (1 + (shift - 1) * u))
    assert 0 <= sigma <= 1 + 1e-12
    assert sigma >= u - 1e-12 if shift >= 1 else sigma <= u + 1e-12


def test_shift_by_known_values() -> None:
    assert shifted_sigma(0.5, 5.0) == pytest.approx(5 / 6)
    assert (shifted_sigma(0.0, 5.0), shifted_sigma(1.0, 5.0)) == (0.0, 1.0)


@pytest.mark.parametrize("shift", [1.0, 5.0])
def test_noise_levels_are_uniform_before_the_shift(shift: float) -> None:
    draws = 100_000
    sigma = sample_sigma(draws, shift, torch.Generator().manual_seed(0))
    assert sigma.shape == (draws,) and sigma.min() > 0 and sigma.max() <= 1
    u = sigma / (shift - (shift - 1) * sigma)
    for threshold in (0.1, 0.5, 0.9):
        spread = (threshold * (1 - threshold) / draws) ** 0.5
        assert abs((u < threshold).float().mean().item() - threshold) < 3 * spread


def test_noise_levels_follow_their_generator() -> None:
    first, again, other = (sample_sigma(8, 3.0, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("shift", [0.0, -1.0, float("nan")])
def test_impossible_shifts_are_refused(shift: float) -> None:
    with pytest.raises(ValueError, match="shift is"):
        sample_sigma(1, shift, torch.Generator())


@given(st.integers(1, 20), st.floats(0.5, 8))
def test_integration_along_straight_lines_ends_at_the_data(steps: int, shift: float) -> None:
    data, noise = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    found = integrate(lambda x, sigma: velocity_target(data, noise), noise, steps, shift)
    torch.testing.assert_close(found, data, atol=1e-5, rtol=0)


def test_integration_follows_a_curved_field_and_knows_the_noise_level() -> None:
    # dx/dσ = 2σ·x has the solution x(0) = x(1)·exp(−1).
    noise = torch.tensor([[1.0], [-3.0]])
    found = integrate(lambda x, sigma: 2 * sigma[:, None] * x, noise, 2000, 1.0)
    torch.testing.assert_close(found, noise * math.exp(-1), atol=2e-3, rtol=0)
