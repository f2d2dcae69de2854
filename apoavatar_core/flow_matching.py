"""Flow matching (§3.1, Eq. 1) in ComfyUI's convention.

σ goes from 1 (noise) to 0 (data), x_σ = (1−σ)·data + σ·noise, and the model predicts noise − data. The paper's t is
1 − σ with z_0 the noise and z_1 the data, so z_t = x_σ and its velocity z_1 − z_0 is the negative of ours.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def interpolate(data: Tensor, noise: Tensor, sigma: Tensor | float) -> Tensor:
    """x_σ = (1−σ)·data + σ·noise.

    Args:
        data, noise: [B, ...].
        sigma: [B] or one number, in [0, 1].
    """
    sigma = _per_sample(sigma, data)
    return (1 - sigma) * data + sigma * noise


def velocity_target(data: Tensor, noise: Tensor) -> Tensor:
    """dx_σ/dσ = noise − data, what the model predicts."""
    return noise - data


def flow_matching_loss(prediction: Tensor, data: Tensor, noise: Tensor, weight: Tensor | None = None) -> Tensor:
    """Eq. 1 as a mean over elements, a scalar: mean(weight · (prediction − (noise − data))²).

    Args:
        prediction, data, noise: [B, ...].
        weight: broadcastable to them, or None for 1 everywhere.
    """
    error = (prediction - velocity_target(data, noise)).float().square()
    return (error if weight is None else weight * error).mean()


def shifted_sigma(u: Tensor | float, shift: float) -> Tensor | float:
    """σ = shift·u / (1 + (shift−1)·u) for u in [0, 1], as ComfyUI's time_snr_shift: a shift > 1 favours noise."""
    return shift * u / (1 + (shift - 1) * u)


def sample_sigma(batch: int, shift: float, generator: torch.Generator) -> Tensor:
    """Noise levels to train at, [batch] in (0, 1] on the generator's device: uniform u through `shifted_sigma`.

    Raises:
        ValueError: if `shift` is not above 0.
    """
    if not shift > 0:
        raise ValueError(f"shift is {shift}; use a number above 0, 1 for uniform noise levels.")
    u = 1 - torch.rand(batch, generator=generator, device=generator.device)
    return shifted_sigma(u, shift)


def integrate(velocity: Callable[[Tensor, Tensor], Tensor], noise: Tensor, steps: int, shift: float) -> Tensor:
    """Data from noise by Euler's method, over σ in equal steps of u.

    Args:
        velocity: (x_σ [B, ...], σ [B]) → noise − data as the model predicts it.
        noise: x_1 [B, ...].
    """
    sigmas = shifted_sigma(torch.linspace(1, 0, steps + 1), shift).tolist()
    x = noise
    for sigma, after in zip(sigmas, sigmas[1:]):
        x = x + (after - sigma) * velocity(x, torch.full((len(x),), sigma, device=x.device))
    return x


def _per_sample(sigma: Tensor | float, like: Tensor) -> Tensor:
    """A number or [B] → a tensor that broadcasts over [B, ...]."""
    sigma = torch.as_tensor(sigma, device=like.device)
    return sigma.reshape(-1, *[1] * (like.ndim - 1)) if sigma.ndim else sigma
