"""The natural gradient against explicit Fisher matrices, direct solves and closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from specs import DISCRETE, MULTI, REAL, random_obs, settings_for, vector_spec
from torch import Tensor, nn

from a2c_cli.algorithm.learner import Learner
from a2c_cli.algorithm.natural import (
    FisherProduct,
    conjugate_gradients,
    flatten,
    line_search,
    move,
    scaled_to,
)
from a2c_cli.envs.spec import ActionSpec
from a2c_cli.envs.stream import Transition
from a2c_cli.policies.distributions import divergence, log_prob_and_entropy

SPACES = [DISCRETE, MULTI, REAL]


class Small:
    """A policy of one hidden layer, in double precision."""

    def __init__(self, action: ActionSpec, seed: int = 0) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, action.outputs))
            self.net.double()
            self.obs = torch.randn(6, 3, dtype=torch.float64)
        self.action = action
        self.log_std: Tensor | None = None
        if action.kind == "continuous":
            self.log_std = torch.tensor([-0.3, 0.4], dtype=torch.float64, requires_grad=True)

    @property
    def parameters(self) -> list[Tensor]:
        own: list[Tensor] = list(self.net.parameters())
        return own if self.log_std is None else [*own, self.log_std]

    def kl(self) -> Tensor:
        outputs = self.net(self.obs)
        std = self.log_std
        old = None if std is None else std.detach().clone()
        return divergence(self.action, outputs.detach(), outputs, old, std).mean()

    def fisher(self) -> Tensor:
        """E_s E_a [∇ log π ∇ log πᵀ], every action enumerated; the Gaussian's in closed form."""
        size = sum(p.numel() for p in self.parameters)
        total = torch.zeros(size, size, dtype=torch.float64)
        for obs in self.obs[:, None]:
            outputs = self.net(obs)
            if self.log_std is None:
                for choice in np.ndindex(*self.action.sizes):
                    log_prob, _ = log_prob_and_entropy(
                        self.action, outputs, torch.tensor([choice]), None
                    )
                    score = flatten(
                        torch.autograd.grad(log_prob.sum(), self.parameters, retain_graph=True)
                    )
                    total += log_prob.exp().item() * torch.outer(score, score)
                continue
            for i, mean in enumerate(outputs[0]):
                slopes = torch.autograd.grad(mean, list(self.net.parameters()), retain_graph=True)
                jacobian = torch.cat([flatten(slopes), torch.zeros(2, dtype=torch.float64)])
                variance = math.exp(2.0 * self.log_std[i].item())
                total += torch.outer(jacobian, jacobian) / variance
            total[-2:, -2:] += 2.0 * torch.eye(2, dtype=torch.float64)
        return total / len(self.obs)


@pytest.mark.parametrize("action", SPACES, ids=lambda a: a.kind)
def test_the_product_is_that_with_the_explicit_fisher_matrix(action: ActionSpec) -> None:
    policy = Small(action)
    product = FisherProduct(policy.kl(), policy.parameters, damping=0.1)
    fisher = policy.fisher()
    for seed in range(3):
        vector = torch.randn(
            len(fisher), generator=torch.Generator().manual_seed(seed), dtype=torch.float64
        )
        torch.testing.assert_close(product(vector), fisher @ vector + 0.1 * vector)


def positive(size: int) -> Tensor:
    root = torch.randn(
        size, size, generator=torch.Generator().manual_seed(size), dtype=torch.float64
    )
    return root @ root.T + 0.1 * torch.eye(size, dtype=torch.float64)


@pytest.mark.parametrize("size", [1, 2, 7, 12])
def test_conjugate_gradients_solve_in_as_many_steps_as_there_are_numbers(size: int) -> None:
    matrix, target = positive(size), torch.arange(1.0, size + 1, dtype=torch.float64)
    x, residual = conjugate_gradients(lambda v: matrix @ v, target, 3 * size)
    torch.testing.assert_close(x, torch.linalg.solve(matrix, target), rtol=1e-3, atol=1e-3)
    left = (target - matrix @ x).norm() / target.norm()
    assert residual == pytest.approx(float(left), abs=1e-6)


def test_fewer_iterations_leave_more_and_nothing_is_solved_by_nothing() -> None:
    matrix, target = positive(12), torch.ones(12, dtype=torch.float64)
    left = [conjugate_gradients(lambda v: matrix @ v, target, n)[1] for n in (1, 4, 24)]
    assert left[0] > left[2]
    zero, residual = conjugate_gradients(lambda v: matrix @ v, 0.0 * target, 5)
    assert (float(zero.abs().sum()), residual) == (0.0, 0.0)


def test_the_step_of_a_softmax_bandit_is_the_closed_form() -> None:
    """Logits θ: F = diag(π) - π πᵀ, and with centred advantages F⁻¹ g = A up to a constant."""
    theta = torch.tensor([[0.2, -0.5, 0.9, 0.0]], dtype=torch.float64, requires_grad=True)
    pi = theta.detach().softmax(-1)[0]
    advantages = torch.tensor([1.0, -2.0, 0.5, 0.0], dtype=torch.float64)
    gradient = pi * (advantages - pi @ advantages)
    kl = divergence(DISCRETE, theta.detach(), theta).mean()
    product = FisherProduct(kl, [theta], damping=1e-9)
    direction, _ = conjugate_gradients(product, gradient, 20)
    centred = direction - direction.mean()
    torch.testing.assert_close(centred, advantages - advantages.mean(), rtol=1e-4, atol=1e-4)
    step = scaled_to(direction, product, 1e-4)
    moved = divergence(DISCRETE, theta.detach(), theta.detach() + step).item()
    assert moved == pytest.approx(1e-4, rel=0.05)


def test_the_step_of_a_gaussian_is_the_closed_form() -> None:
    """F = 1/σ² for the mean and 2 for ln σ."""
    mean = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    log_std = torch.tensor([-1.0, 0.5], dtype=torch.float64, requires_grad=True)
    kl = divergence(REAL, mean.detach(), mean, log_std.detach().clone(), log_std).mean()
    product = FisherProduct(kl, [mean, log_std], damping=0.0)
    gradient = torch.tensor([0.3, -1.0, 0.2, 0.7], dtype=torch.float64)
    direction, _ = conjugate_gradients(product, gradient, 20)
    variance = (2.0 * log_std.detach()).exp()
    expected = torch.cat([gradient[:2] * variance, gradient[2:] / 2.0])
    torch.testing.assert_close(direction, expected, rtol=1e-5, atol=1e-7)
    length = math.sqrt(2 * 0.01 / float(gradient @ expected))
    torch.testing.assert_close(scaled_to(direction, product, 0.01), length * expected)


def test_the_new_policy_does_not_depend_on_how_its_parameters_are_scaled() -> None:
    """Twice the head's weights for half the features: the same policy, other parameters."""

    def after(natural: bool, scale: float) -> Tensor:
        policy = Small(DISCRETE)
        first, head = policy.net[0], policy.net[2]
        features = policy.obs.clone()

        def outputs() -> Tensor:
            return head(first(features) / scale)

        with torch.no_grad():
            first.weight.mul_(scale)
            first.bias.mul_(scale)
        parameters = list(policy.net.parameters())
        actions = torch.tensor([0, 1, 2, 3, 0, 1])
        advantages = torch.tensor([1.0, -1.0, 2.0, 0.0, 0.5, -2.0], dtype=torch.float64)
        log_probs, _ = log_prob_and_entropy(DISCRETE, outputs(), actions, None)
        gradient = flatten(torch.autograd.grad((log_probs * advantages).mean(), parameters))
        old = outputs().detach()
        product = FisherProduct(divergence(DISCRETE, old, outputs()).mean(), parameters, 1e-8)
        step = conjugate_gradients(product, gradient, 200)[0] if natural else gradient
        start = flatten([p.detach() for p in parameters])
        move(parameters, start, scaled_to(step, product, 1e-4))
        return outputs().detach().softmax(-1)

    torch.testing.assert_close(after(True, 1.0), after(True, 5.0), atol=2e-4, rtol=0.0)
    plain = (after(False, 1.0) - after(False, 5.0)).abs().max()
    assert float(plain) > 1e-3


# --- the line search


@pytest.mark.parametrize(
    ("kl", "gain", "accepted"),
    [
        (lambda f: 0.9 * f * f, lambda f: f, 1.0),
        (lambda f: 4.0 * f * f, lambda f: f, 0.49),  # shortened to the bound, a little inside
        (lambda f: 0.1 * f, lambda f: 0.3 - f, 0.25),  # halved until it helps
        (lambda f: 0.1 * f, lambda f: -f, 0.0),
        (lambda f: math.nan, lambda f: f, 0.0),
        (lambda f: math.inf if f > 0.3 else f, lambda f: f, 0.25),
        (lambda f: 100.0, lambda f: f, 0.0),  # as where parameters jump
    ],
)
def test_a_step_is_shortened_until_it_is_good(
    kl: Callable[[float], float], gain: Callable[[float], float], accepted: float
) -> None:
    found = line_search(lambda f: (kl(f), gain(f)), 1.0)
    assert found.fraction == pytest.approx(accepted)
    if accepted:
        assert found.kl <= 1.0
    assert 1 <= found.tries <= 10


# --- the rule as a whole


def live(learner: Learner, steps: range, seed: int = 3) -> list[Any]:
    """Updates of a stream whose observations and rewards depend on the step alone."""
    stats = []
    spec = learner.agent.spec
    for t in steps:
        rng = np.random.default_rng((seed, t))
        action = learner.act(random_obs(spec, rng))
        reward = float(np.sum(action)) + 0.1 * float(rng.normal())
        following = random_obs(spec, np.random.default_rng((seed, t + 1)))
        step = Transition(action, reward, t % 13 == 12, t % 29 == 28, False, following)
        found = learner.learn(step, 0.0)
        if found is not None:
            stats.append(found)
    return stats


@pytest.mark.parametrize("action", SPACES, ids=lambda a: a.kind)
def test_the_policy_moves_within_delta_and_towards_reward(action: ActionSpec) -> None:
    spec = vector_spec(3, action)
    settings = settings_for(spec, policy_step="natural", n_steps=64, max_kl=0.01)
    stats = live(Learner(settings, spec), range(640))
    assert len(stats) == 10
    for s in stats:
        assert 0.0 <= s.kl <= 0.01
        assert 0.0 <= s.cg_residual < 1.0
        assert 1.0 <= s.line_search_steps <= 10.0
    taken = [s for s in stats if not s.rejected_steps]
    assert len(taken) >= 8
    assert max(s.kl for s in taken) > 0.005


@pytest.mark.parametrize("floor", [0.0, 0.2, 0.6])
def test_the_deviation_keeps_above_its_floor(floor: float) -> None:
    """What pays is to act without noise: σ falls at every update, until the floor holds it."""
    action = ActionSpec("continuous", (2,), (2,), "float32", low=(-1.0,) * 2, high=(1.0,) * 2)
    spec = vector_spec(3, action)
    settings = settings_for(spec, policy_step="natural", n_steps=32, max_kl=0.2, std_floor=floor,
                            critic_epochs=1)  # fmt: skip
    learner, rng = Learner(settings, spec), np.random.default_rng(1)
    start = deviations = learner.agent.network.log_std.copy()
    for _ in range(32 * 20):
        reward = -float(np.square(learner.act(random_obs(spec, rng))).sum())
        learner.learn(Transition(0.0, reward, True, False, False, random_obs(spec, rng)), 0.0)
        deviations = np.minimum(deviations, learner.agent.network.log_std)
    lowest = np.exp(deviations - start)
    if floor:
        np.testing.assert_allclose(lowest, floor, rtol=1e-5)
    else:
        assert (lowest < 0.2).all()


def test_a_rollout_has_all_its_steps_however_often_it_is_cut_short() -> None:
    spec = vector_spec()
    learner = Learner(settings_for(spec, policy_step="natural", n_steps=50), spec)
    updates = []
    for t in range(200):
        updates += [t] * len(live(learner, range(t, t + 1)))
    assert updates == [49, 99, 149, 199]


@pytest.mark.parametrize("action", SPACES, ids=lambda a: a.kind)
@pytest.mark.parametrize("cut", [0, 10, 29, 40, 71])
def test_it_is_resumed_bit_for_bit(action: ActionSpec, cut: int) -> None:
    spec = vector_spec(3, action)
    settings = settings_for(
        spec, policy_step="natural", n_steps=40, critic_minibatch=16, critic_epochs=2
    )
    whole = Learner(settings, spec)
    live(whole, range(100))
    first = Learner(settings, spec)
    live(first, range(cut))
    second = Learner(settings, spec)
    second.set_state(first.get_state())
    live(second, range(cut, 100))
    expected, found = whole.get_state(), second.get_state()
    assert found.keys() == expected.keys()
    for name in expected:
        if name.endswith(".obs"):  # its last row is only filled when the segment closes
            found[name], expected[name] = found[name][:-1], expected[name][:-1]
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_the_critic_comes_to_know_the_returns() -> None:
    spec = vector_spec()
    settings = settings_for(
        spec, policy_step="natural", n_steps=64, gamma=0.0, reward_transform="none"
    )
    stats = live(Learner(settings, spec), range(64 * 20))
    assert stats[-1].value_loss < 0.5 * stats[0].value_loss
