"""The loss terms by their closed-form gradients."""

from __future__ import annotations

import math

import pytest
import torch
from specs import DISCRETE, MULTI

from a2c_cli.algorithm.losses import entropy_loss, policy_loss, value_loss
from a2c_cli.policies.distributions import log_prob_and_entropy


@pytest.fixture
def logits() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(7, 4, generator=generator, dtype=torch.float64).requires_grad_()


ACTIONS = torch.tensor([0, 1, 2, 3, 3, 2, 0])
ADVANTAGES = torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0, -1.0, 2.0], dtype=torch.float64)


@pytest.mark.parametrize(("reduction", "divisor"), [("mean", 7), ("sum", 1)])
def test_policy_gradient_in_the_logits_is_pi_minus_onehot_times_advantage(
    logits: torch.Tensor, reduction: str, divisor: int
) -> None:
    log_probs, _ = log_prob_and_entropy(DISCRETE, logits, ACTIONS, None)
    policy_loss(log_probs, ADVANTAGES, reduction).backward()
    pi = torch.softmax(logits.detach(), -1)
    onehot = torch.nn.functional.one_hot(ACTIONS, 4)
    torch.testing.assert_close(logits.grad, (pi - onehot) * ADVANTAGES[:, None] / divisor)


def test_a_better_than_expected_action_becomes_more_probable(logits: torch.Tensor) -> None:
    log_probs, _ = log_prob_and_entropy(DISCRETE, logits, ACTIONS, None)
    policy_loss(log_probs, torch.ones(7, dtype=torch.float64)).backward()
    after, _ = log_prob_and_entropy(DISCRETE, logits.detach() - 0.1 * logits.grad, ACTIONS, None)
    assert (after > log_probs.detach()).all()


def test_no_gradient_reaches_the_critic_through_the_advantages() -> None:
    values = torch.zeros(3, requires_grad=True)
    log_probs = torch.zeros(3, requires_grad=True)
    policy_loss(log_probs, torch.ones(3) - values).backward()
    assert values.grad is None
    assert log_probs.grad is not None


@pytest.mark.parametrize(("reduction", "divisor"), [("mean", 3), ("sum", 1)])
def test_value_gradient_is_twice_the_error(reduction: str, divisor: int) -> None:
    values = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    returns = torch.tensor([2.0, 2.0, -1.0])
    loss = value_loss(values, returns, reduction)
    loss.backward()
    assert loss.item() == pytest.approx(17.0 / divisor)
    torch.testing.assert_close(values.grad, torch.tensor([-2.0, 0.0, 8.0]) / divisor)


def test_value_loss_is_a_semi_gradient() -> None:
    returns = torch.ones(2, requires_grad=True)
    value_loss(torch.zeros(2, requires_grad=True), returns).backward()
    assert returns.grad is None


def test_entropy_loss_pushes_towards_uniform(logits: torch.Tensor) -> None:
    _, entropy = log_prob_and_entropy(DISCRETE, logits, ACTIONS, None)
    entropy_loss(entropy, 0.5).backward()
    moved = logits.detach() - 0.01 * logits.grad
    _, after = log_prob_and_entropy(DISCRETE, moved, ACTIONS, None)
    assert after.sum() > entropy.detach().sum()


def test_entropy_loss_is_minus_beta_times_entropy() -> None:
    entropy = torch.tensor([1.0, 2.0])
    assert entropy_loss(entropy, 0.1).item() == pytest.approx(-0.15)
    assert entropy_loss(entropy, 0.1, "sum").item() == pytest.approx(-0.3)


def test_entropy_is_at_its_stationary_point_where_the_policy_is_uniform() -> None:
    logits = torch.full((2, 5), 3.0, dtype=torch.float64, requires_grad=True)
    _, entropy = log_prob_and_entropy(MULTI, logits, torch.zeros(2, 2, dtype=torch.int64), None)
    entropy_loss(entropy, 1.0).backward()
    assert entropy.tolist() == pytest.approx([math.log(2) + math.log(3)] * 2)
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits))
