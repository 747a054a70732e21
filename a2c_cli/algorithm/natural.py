"""The natural gradient: the direction in which the policy, not its parameters, moves best. PURE.

    x = F⁻¹ g,     Δθ = √(2δ / xᵀFx) · x

where g is the gradient of the surrogate and F the Fisher information of the policy, the second
derivative of KL(π_old ‖ π_θ) at θ_old. Of all steps of the same KL divergence δ this one raises the
surrogate most, whatever the parameters are called. F is never formed: conjugate gradients need only
its products with vectors.

Sources: Kakade 2001, "A Natural Policy Gradient"; Peters and Schaal 2008, "Natural Actor-Critic";
Schulman et al. 2015 (arXiv 1502.05477) for conjugate gradients and the line search.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

_MOST_TRIES = 10  # of a line search
_INSIDE = 0.98  # of δ, where a step that was too long is shortened to
_TINY = 1e-10


class FisherProduct:
    """v ↦ (F + damping · I) v, by differentiating the mean KL divergence twice.

    Args:
        kl: mean over the states of KL(π_old ‖ π_θ), a scalar with gradient, at θ = θ_old.
        parameters: θ.
        damping: added to F's diagonal: directions that no state tells about stay short.
    """

    def __init__(self, kl: Tensor, parameters: Sequence[Tensor], damping: float) -> None:
        self._parameters, self._damping = list(parameters), damping
        self._gradient = flatten(torch.autograd.grad(kl, self._parameters, create_graph=True))

    def __call__(self, vector: Tensor) -> Tensor:
        """The product with a (parameters,) vector; same shape."""
        along: Tensor = self._gradient @ vector
        product = flatten(torch.autograd.grad(along, self._parameters, retain_graph=True))
        damped: Tensor = product + self._damping * vector
        return damped


def conjugate_gradients(
    product: Callable[[Tensor], Tensor], target: Tensor, iterations: int
) -> tuple[Tensor, float]:
    """x ≈ A⁻¹ b of a positive definite A, from its products alone.

    Source: Hestenes and Stiefel 1952.

    Args:
        product: v ↦ A v.
        target: (n,) b.
        iterations: at most so many; n would be exact but for rounding.

    Returns:
        (n,) x, and what is left, ‖b - A x‖ / ‖b‖.
    """
    x = torch.zeros_like(target)
    residual, direction = target.clone(), target.clone()
    square = start = float(residual @ residual)
    for _ in range(iterations):
        if square <= _TINY * start:
            break
        image = product(direction)
        length = square / (float(direction @ image) + _TINY * start)
        x = x + length * direction
        residual = residual - length * image
        following = float(residual @ residual)
        direction = residual + following / square * direction
        square = following
    return x, (square / start) ** 0.5 if start > 0.0 else 0.0


def scaled_to(direction: Tensor, product: Callable[[Tensor], Tensor], bound: float) -> Tensor:
    """√(2δ / xᵀFx) · x: the step along x whose KL divergence is δ, to second order.

    Args:
        direction: (n,) x.
        product: v ↦ F v.
        bound: δ in nats.
    """
    curvature = float(direction @ product(direction))
    length: float = (2.0 * bound / max(curvature, _TINY)) ** 0.5
    return direction * length


class Search(NamedTuple):
    """How a line search ended.

    Args:
        fraction: of the step that was taken; 0 where nothing was accepted.
        kl: of what was taken, in nats.
        tries: steps that were looked at.
    """

    fraction: float
    kl: float
    tries: int


def line_search(measure: Callable[[float], tuple[float, float]], bound: float) -> Search:
    """The longest fraction of a step, of a few, that keeps to δ and raises the surrogate.

    A step whose divergence is too large is shortened by √(δ / KL), as that is quadratic in it; one
    that does not raise the surrogate by half.

    Args:
        measure: from a fraction of the step to its KL divergence and the surrogate's gain.
        bound: δ in nats.
    """
    fraction = 1.0
    for tries in range(1, _MOST_TRIES + 1):
        kl, gain = measure(fraction)
        if kl <= bound and gain > 0.0:
            return Search(fraction, kl, tries)
        too_long = bound < kl < math.inf  # where it is no finite number, half of it is tried
        fraction *= min(0.9, _INSIDE * (bound / kl) ** 0.5) if too_long else 0.5
    return Search(0.0, 0.0, _MOST_TRIES)


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """(n,) all numbers one after the other."""
    return torch.cat([t.reshape(-1) for t in tensors])


@torch.no_grad()
def move(parameters: Sequence[Tensor], start: Tensor, step: Tensor) -> None:
    """θ ← start + step.

    Args:
        parameters: θ, changed in place.
        start, step: (n,) as `flatten` orders them.
    """
    place = 0
    for parameter in parameters:
        part = slice(place, place + parameter.numel())
        parameter.copy_((start[part] + step[part]).view_as(parameter))
        place = part.stop
