"""The natural gradient step: Fisher products, conjugate gradients, line search. PURE.

Of all steps Δθ that change the policy by the same KL divergence, the one that gains most:

    g = ∇J                                   the policy gradient
    F = E_s E_a [ ∇log π(a|s) ∇log π(a|s)ᵀ ] the Fisher matrix of the policy
    x ≈ (F + d I)⁻¹ g                        by conjugate gradients, from products F v alone
    s = √(2δ / xᵀ(F + d I)x) x               so that KL ≈ ½ sᵀFs ≤ δ
    θ ← θ + α s                              α ≤ 1 by a line search: KL ≤ δ, and J improves

It depends on the policies around θ, not on how the network writes them down: with layers scaled
otherwise, or other units of an output, x leads to the same policies, which g does not.

Source: Kakade 2001 (A Natural Policy Gradient); Peters and Schaal 2008 (doi
10.1016/j.neucom.2007.11.026); Schulman et al. 2015 (TRPO, arXiv 1502.05477), appendix C. TRPO's
line search accepts α s of the fixed lengths 1, ½, ¼, ...; this one shortens to where KL ≈ δ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from a2c_cli.envs.spec import ActionSpec
from a2c_cli.policies.distributions import divergence

Product = Callable[[Tensor], Tensor]

_SOLVED = 1e-8  # of the right-hand side's norm, at which conjugate gradients stop
_TRIES = 10  # of a line search


class Step(NamedTuple):
    """A step of the policy's parameters before its line search.

    Args:
        step: (parameters,) s.
        residual: ‖g - (F + d I)x‖ / ‖g‖, what conjugate gradients have left undone; 0 to 1.
    """

    step: Tensor
    residual: float


class Accepted(NamedTuple):
    """What a line search has come to.

    Args:
        fraction: α; 0 if no step was good enough.
        kl: KL(before ‖ after) in nats; 0 without a step.
        tries: steps that were looked at.
    """

    fraction: float
    kl: float
    tries: int


def fisher_product(
    action: ActionSpec,
    outputs: Tensor,
    log_std: Tensor | None,
    parameters: Sequence[Tensor],
    damping: float,
) -> Product:
    """v ↦ (F + d I) v for the mean Fisher matrix over N observations, without building F.

    F is the second derivative of mean_s KL(π_θ₀(·|s) ‖ π_θ(·|s)) in θ at θ₀, so F v = ∇(∇KL · v):
    the gradient of a scalar, as cheap as two backward passes.

    Args:
        action: the action space.
        outputs: (N, action.outputs) logits or means, with gradient.
        log_std: (numbers,) ln σ with gradient for continuous actions, else None.
        parameters: on which outputs and log_std depend.
        damping: d ≥ 0, for directions in which the policy hardly depends on θ.
    """
    frozen = None if log_std is None else log_std.detach()
    kl = divergence(action, outputs.detach(), outputs, frozen, log_std).mean()
    slope = flat(torch.autograd.grad(kl, parameters, create_graph=True))

    def product(v: Tensor) -> Tensor:
        found = torch.autograd.grad(slope @ v, parameters, retain_graph=True)
        return flat(found) + damping * v

    return product


def conjugate_gradients(product: Product, b: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """x with A x ≈ b for a symmetric positive A, after at most so many products with A.

    Hestenes and Stiefel 1952: in exact arithmetic x is A⁻¹b after as many iterations as A has
    distinct eigenvalues, and the best approximation of its Krylov space before that.

    Args:
        product: v ↦ A v.
        b: (n,) the right-hand side.
        iterations: the most products; fewer where ‖b - A x‖ ≤ 1e-8 ‖b‖ before.

    Returns:
        (n,) x, and (n,) b - A x.
    """
    x, residual = torch.zeros_like(b), b.clone()
    direction, square = residual.clone(), float(b @ b)
    enough = _SOLVED**2 * square
    for _ in range(iterations):
        if square <= enough:
            break
        image = product(direction)
        curvature = float(direction @ image)
        if curvature <= 0.0:  # only by rounding, where A hardly sees this direction
            break
        x += square / curvature * direction
        residual -= square / curvature * image
        square, before = float(residual @ residual), square
        direction = residual + square / before * direction
    return x, residual


def natural_step(product: Product, gradient: Tensor, bound: float, iterations: int) -> Step:
    """s = √(2δ / xᵀAx) x with A x ≈ g: up the natural gradient, as far as KL ≈ δ.

    Args:
        product: v ↦ A v with A = F + d I; see `fisher_product`.
        gradient: (parameters,) g, of what is to grow.
        bound: δ > 0 in nats.
        iterations: of conjugate gradients.
    """
    x, residual = conjugate_gradients(product, gradient, iterations)
    curvature = float(x @ gradient)  # xᵀAx: conjugate gradients leave a residual orthogonal to x
    norm = float(gradient.norm())
    if curvature <= 0.0:  # no gradient, no step
        return Step(torch.zeros_like(x), 0.0)
    return Step(math.sqrt(2.0 * bound / curvature) * x, float(residual.norm()) / norm)


def line_search(look: Callable[[float], tuple[float, float]], bound: float) -> Accepted:
    """The longest step α s that was found with KL ≤ δ and a gain.

    α is 1 at first. A step that goes too far is shortened to .95 √(δ / KL) of itself, for the
    divergence is nearly quadratic; one that gains nothing, to a half.

    Args:
        look: takes the step α s and returns its KL divergence in nats and what it gains.
        bound: δ > 0 in nats.
    """
    fraction = 1.0
    for tries in range(1, _TRIES + 1):
        kl, gain = look(fraction)
        if kl <= bound and gain > 0.0:
            return Accepted(fraction, kl, tries)
        too_far = bound < kl < math.inf
        fraction *= 0.95 * math.sqrt(bound / kl) if too_far else 0.5
    return Accepted(0.0, 0.0, _TRIES)


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """(n,) the entries of all tensors, one after the other."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
