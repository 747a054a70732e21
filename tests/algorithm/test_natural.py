"""The natural gradient against explicit matrices and closed forms."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from specs import DISCRETE, MULTI, REAL
from torch import Tensor, nn

from a2c_cli.algorithm.natural import (
    conjugate_gradients,
    fisher_product,
    flat,
    line_search,
    natural_step,
)
from a2c_cli.envs.spec import ActionSpec
from a2c_cli.policies.distributions import divergence, log_prob_and_entropy

ONE_NUMBER = ActionSpec("continuous", (1,), (1,), "float32", low=(-math.inf,), high=(math.inf,))
BANDIT = ActionSpec("discrete", (3,), start=(0,))


class Policy(nn.Module):
    """A small network in double precision, with ln σ where actions are real numbers."""

    def __init__(self, action: ActionSpec, features: int = 3, units: int = 4) -> None:
        super().__init__()
        self.action = action
        self.net = nn.Sequential(
            nn.Linear(features, units), nn.Tanh(), nn.Linear(units, action.outputs)
        )
        self.log_std = None
        if action.kind == "continuous":
            self.log_std = nn.Parameter(torch.linspace(-0.7, 0.2, action.outputs))
        self.double()

    def product(self, obs: Tensor, damping: float = 0.0) -> Callable[[Tensor], Tensor]:
        return fisher_product(
            self.action, self.net(obs), self.log_std, list(self.parameters()), damping
        )


def seeded(make: Callable[[], Policy]) -> Policy:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return make()


def some_obs(count: int, features: int = 3) -> Tensor:
    return torch.from_numpy(np.random.default_rng(4).standard_normal((count, features)))


def weighted_actions(policy: Policy, obs: Tensor) -> list[tuple[float, Tensor]]:
    """All actions with their probabilities, or so many that a quartic's mean is exact."""
    outputs = policy.net(obs)[0].detach()
    if policy.log_std is None:
        parts = outputs.split(list(policy.action.sizes))
        choices = itertools.product(*(range(len(part)) for part in parts))
        return [
            (
                math.prod(float(p.softmax(-1)[i]) for p, i in zip(parts, chosen, strict=True)),
                torch.tensor([chosen]),
            )
            for chosen in choices
        ]
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)  # exact up to degree 9
    weights = weights / weights.sum()
    return [
        (
            math.prod(weights[i] for i in index),
            (outputs + policy.log_std.detach().exp() * torch.from_numpy(nodes[list(index)]))[None],
        )
        for index in itertools.product(range(5), repeat=len(outputs))
    ]


def explicit_fisher(policy: Policy, obs: Tensor) -> Tensor:
    """mean_s Σ_a π(a|s) ∇log π(a|s) ∇log π(a|s)ᵀ by the definition."""
    parameters = list(policy.parameters())
    size = sum(p.numel() for p in parameters)
    fisher = torch.zeros(size, size, dtype=torch.float64)
    for one in obs.split(1):
        for weight, action in weighted_actions(policy, one):
            log_prob, _ = log_prob_and_entropy(
                policy.action, policy.net(one), action, policy.log_std
            )
            score = flat(torch.autograd.grad(log_prob.sum(), parameters))
            fisher += weight * torch.outer(score, score) / len(obs)
    return fisher


@pytest.mark.parametrize("action", [DISCRETE, MULTI, REAL], ids=lambda a: a.kind)
def test_the_product_is_that_of_the_explicit_fisher_matrix(action: ActionSpec) -> None:
    policy = seeded(lambda: Policy(action))
    obs = some_obs(5)
    fisher = explicit_fisher(policy, obs)
    product, damped = policy.product(obs), policy.product(obs, damping=0.3)
    for v in torch.from_numpy(np.random.default_rng(5).standard_normal((4, len(fisher)))):
        torch.testing.assert_close(product(v), fisher @ v, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(damped(v), fisher @ v + 0.3 * v, rtol=1e-9, atol=1e-9)


def test_conjugate_gradients_solve_what_a_direct_solver_solves() -> None:
    rng = np.random.default_rng(6)
    root = torch.from_numpy(rng.standard_normal((12, 12)))
    matrix, b = root @ root.T + torch.eye(12), torch.from_numpy(rng.standard_normal(12))
    exact = torch.linalg.solve(matrix, b)
    x, residual = conjugate_gradients(lambda v: matrix @ v, b, 40)
    torch.testing.assert_close(x, exact, rtol=1e-3, atol=1e-4)
    few, left = conjugate_gradients(lambda v: matrix @ v, b, 3)
    torch.testing.assert_close(left, b - matrix @ few)  # says what is left undone
    assert left.norm() > 1e4 * residual.norm()
    # The best of its Krylov space {b, Ab, A²b} in A's own norm.
    space = torch.stack([b, matrix @ b, matrix @ matrix @ b], dim=1)
    best = space @ torch.linalg.solve(space.T @ matrix @ space, space.T @ b)
    torch.testing.assert_close(few, best, rtol=1e-6, atol=1e-8)


def test_as_many_iterations_as_there_are_eigenvalues_are_enough_and_no_more_are_made() -> None:
    values = torch.tensor([1.0, 1.0, 5.0, 5.0, 5.0], dtype=torch.float64)
    b = torch.arange(1.0, 6.0, dtype=torch.float64)
    made = []

    def product(v: Tensor) -> Tensor:
        made.append(v)
        return values * v

    x, _ = conjugate_gradients(product, b, 50)
    torch.testing.assert_close(x, b / values)
    assert len(made) == 2


def test_the_step_of_a_linear_softmax_bandit_is_its_closed_form() -> None:
    logits = torch.tensor([[0.3, -0.2, 0.9]], dtype=torch.float64, requires_grad=True)
    pi = logits.detach().softmax(-1)[0]
    rewards = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    (g,) = torch.autograd.grad((logits.softmax(-1)[0] * rewards).sum(), [logits])
    # F = diag(π) - ππᵀ and g = F r: the natural gradient is r, but for a constant.
    centred = rewards - (pi * rewards).sum()
    expected = math.sqrt(2 * 0.01 / float((pi * centred.square()).sum())) * rewards
    step, residual = natural_step(
        fisher_product(BANDIT, logits, None, [logits], 0.0), g[0], 0.01, 10
    )
    torch.testing.assert_close(step - step.mean(), expected - expected.mean())
    assert residual < 1e-5


def test_the_step_of_a_gaussian_is_its_closed_form() -> None:
    mean = torch.tensor([[0.4]], dtype=torch.float64, requires_grad=True)
    log_std = torch.tensor([-0.6], dtype=torch.float64, requires_grad=True)
    g = torch.tensor([3.0, -1.0], dtype=torch.float64)
    product = fisher_product(ONE_NUMBER, mean, log_std, [mean, log_std], 0.0)
    # F = diag(1 / σ², 2)
    natural = torch.tensor([3.0 * math.exp(-1.2), -0.5], dtype=torch.float64)
    expected = math.sqrt(2 * 0.02 / float(g @ natural)) * natural
    torch.testing.assert_close(natural_step(product, g, 0.02, 10).step, expected)


def test_no_gradient_no_step() -> None:
    step, residual = natural_step(lambda v: v, torch.zeros(3), 0.1, 5)
    assert not step.any()
    assert residual == 0.0


# --- the line search


def test_a_step_within_the_bound_that_gains_is_taken_whole() -> None:
    assert line_search(lambda a: (0.009 * a * a, a), 0.01) == (1.0, 0.009, 1)


@pytest.mark.parametrize("steepness", [1.1, 4.0, 1e4])
def test_a_step_too_far_is_shortened_to_just_within_the_bound(steepness: float) -> None:
    fraction, kl, tries = line_search(lambda a: (0.01 * steepness * a * a, a), 0.01)
    assert 0.009 < kl <= 0.01
    assert kl == pytest.approx(0.01 * steepness * fraction**2)
    assert tries == 2


def test_a_step_that_gains_nothing_is_halved_until_it_does() -> None:
    fraction, _, tries = line_search(lambda a: (0.001 * a, 0.3 - a), 0.01)
    assert (fraction, tries) == (0.25, 3)


@pytest.mark.parametrize("kl", [math.nan, math.inf, 0.0])
def test_what_is_not_finite_or_never_gains_is_not_taken(kl: float) -> None:
    seen: list[float] = []

    def look(fraction: float) -> tuple[float, float]:
        seen.append(fraction)
        return kl, math.nan

    assert line_search(look, 0.01) == (0.0, 0.0, 10)
    assert seen == [0.5**i for i in range(10)]


# --- the whole step


def some_actions(action: ActionSpec, obs: Tensor) -> Tensor:
    """Actions that follow from the observations, so that there is something to learn."""
    if action.kind == "continuous":
        return obs[:, : action.outputs] + 0.3
    return torch.stack([(obs[:, i] > 0).long() for i in range(len(action.sizes))], dim=1)


def stepped(policy: Policy, obs: Tensor, actions: Tensor, bound: float, iterations: int) -> float:
    """One step towards these actions' log-probability; returns its KL divergence."""
    parameters = list(policy.parameters())
    outputs = policy.net(obs)
    log_std = None if policy.log_std is None else policy.log_std.detach().clone()

    def objective() -> Tensor:
        outputs = policy.net(obs)
        return log_prob_and_entropy(policy.action, outputs, actions, policy.log_std)[0].mean()

    before = objective()
    gradient = flat(torch.autograd.grad(before, parameters))
    step, _ = natural_step(policy.product(obs), gradient, bound, iterations)
    start = flat([p.detach().clone() for p in parameters])

    @torch.no_grad()
    def look(fraction: float) -> tuple[float, float]:
        move(parameters, start + fraction * step)
        kl = divergence(
            policy.action, outputs.detach(), policy.net(obs), log_std, policy.log_std
        ).mean()
        return float(kl), float(objective() - before.detach())

    accepted = line_search(look, bound)
    assert accepted.fraction > 0.0
    return accepted.kl


def move(parameters: list[nn.Parameter], target: Tensor) -> None:
    parts = target.split([p.numel() for p in parameters])
    for p, part in zip(parameters, parts, strict=True):
        p.data.copy_(part.view_as(p))


@pytest.mark.parametrize("action", [DISCRETE, MULTI, REAL], ids=lambda a: a.kind)
@pytest.mark.parametrize("bound", [1e-4, 1e-2, 0.5])
def test_the_divergence_of_a_step_is_close_to_the_bound_and_never_above(
    action: ActionSpec, bound: float
) -> None:
    policy = seeded(lambda: Policy(action))
    obs = some_obs(60)
    kl = stepped(policy, obs, some_actions(action, obs), bound, 10)
    assert 0.5 * bound < kl <= bound


class Scaled(Policy):
    """The same policies with the first layer's weights and biases in other units."""

    def __init__(self, action: ActionSpec, units: float) -> None:
        super().__init__(action)
        first = self.net[0]
        for p in first.parameters():
            p.data /= units
        torch.nn.utils.parametrize.register_parametrization(first, "weight", Times(units))
        torch.nn.utils.parametrize.register_parametrization(first, "bias", Times(units))


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


def test_the_new_policy_does_not_depend_on_the_units_of_a_layer_but_the_plain_gradient_s_does(
) -> None:  # fmt: skip
    obs = some_obs(200)
    actions = some_actions(REAL, obs)
    natural, plain = [], []
    for units in (1.0, 5.0):
        policy = seeded(lambda units=units: Scaled(REAL, units))  # type: ignore[misc]
        parameters = list(policy.parameters())
        loss = log_prob_and_entropy(REAL, policy.net(obs), actions, policy.log_std)[0].mean()
        gradient = flat(torch.autograd.grad(loss, parameters))
        with torch.no_grad():
            start = flat([p.clone() for p in parameters])
            move(parameters, start + 0.01 * gradient)
            plain.append(policy.net(obs))
            move(parameters, start)
        stepped(policy, obs, actions, 0.01, 500)
        natural.append(policy.net(obs).detach())
        assert policy.log_std is not None
        natural.append(policy.log_std.detach())
    torch.testing.assert_close(natural[0], natural[2], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(natural[1], natural[3], rtol=1e-3, atol=1e-3)
    assert (plain[0] - plain[1]).abs().max() > 0.1
