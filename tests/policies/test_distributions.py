"""Log-probabilities and entropies against torch.distributions and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from specs import DISCRETE, MULTI, REAL
from torch.distributions import Categorical, Independent, Normal, kl_divergence

from a2c_cli.envs.spec import ActionSpec
from a2c_cli.policies.distributions import divergence, log_prob_and_entropy


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 2**32), st.integers(1, 18))
def test_discrete_policy_is_torchs_categorical(seed: int, choices: int) -> None:
    logits = draw(6, choices, seed=seed)
    expected = Categorical(logits=logits)
    actions = expected.sample()
    action = ActionSpec("discrete", (choices,), start=(0,))
    log_probs, entropy = log_prob_and_entropy(action, logits, actions, None)
    torch.testing.assert_close(log_probs, expected.log_prob(actions))
    torch.testing.assert_close(entropy, expected.entropy(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("choices", [2, 4, 18])
def test_uniform_logits_have_the_entropy_ln_a(choices: int) -> None:
    action = ActionSpec("discrete", (choices,), start=(0,))
    log_probs, entropy = log_prob_and_entropy(
        action, torch.full((1, choices), -7.0), torch.tensor([0]), None
    )
    assert entropy.item() == pytest.approx(math.log(choices))
    assert entropy.item() == pytest.approx(action.max_entropy)
    assert log_probs.item() == pytest.approx(-math.log(choices))


def test_a_certain_policy_has_no_entropy_and_no_nan() -> None:
    logits = torch.tensor([[1000.0, -1000.0, 0.0, 0.0]], requires_grad=True)
    log_probs, entropy = log_prob_and_entropy(DISCRETE, logits, torch.tensor([0]), None)
    (log_probs + entropy).sum().backward()
    assert entropy.item() == 0.0
    assert log_probs.item() == 0.0
    assert torch.isfinite(logits.grad).all()


def test_multidiscrete_sums_over_its_choices() -> None:
    outputs = draw(5, 5)
    first, second = Categorical(logits=outputs[:, :2]), Categorical(logits=outputs[:, 2:])
    actions = torch.stack([first.sample(), second.sample()], -1)
    log_probs, entropy = log_prob_and_entropy(MULTI, outputs, actions, None)
    torch.testing.assert_close(
        log_probs, first.log_prob(actions[:, 0]) + second.log_prob(actions[:, 1])
    )
    torch.testing.assert_close(entropy, first.entropy() + second.entropy())


def test_multidiscrete_of_one_step_does_not_lose_its_axis() -> None:
    log_probs, entropy = log_prob_and_entropy(MULTI, draw(1, 5), torch.tensor([[1, 2]]), None)
    assert log_probs.shape == entropy.shape == (1,)


@given(st.integers(0, 2**32))
def test_gaussian_policy_is_torchs_independent_normal(seed: int) -> None:
    means, log_std, actions = draw(4, 2, seed=seed), draw(2, seed=seed + 1), draw(4, 2, seed=2)
    log_std = log_std / 6  # a σ of e^±1 or so
    expected = Independent(Normal(means, log_std.exp()), 1)
    log_probs, entropy = log_prob_and_entropy(REAL, means, actions, log_std)
    torch.testing.assert_close(log_probs, expected.log_prob(actions), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(entropy, expected.entropy())


def test_gaussian_entropy_has_gradient_one_in_every_log_std() -> None:
    log_std = torch.zeros(2, requires_grad=True)
    _, entropy = log_prob_and_entropy(REAL, draw(3, 2), draw(3, 2), log_std)
    entropy.mean().backward()
    assert log_std.grad.tolist() == pytest.approx([1.0, 1.0])


@given(st.integers(0, 2**32), st.integers(1, 18))
def test_divergence_of_discrete_policies_is_torchs(seed: int, choices: int) -> None:
    before, after = draw(6, choices, seed=seed), draw(6, choices, seed=seed + 1)
    action = ActionSpec("discrete", (choices,), start=(0,))
    expected = kl_divergence(Categorical(logits=before), Categorical(logits=after))
    torch.testing.assert_close(divergence(action, before, after), expected, atol=1e-5, rtol=1e-5)
    assert divergence(action, before, before + 3.0).abs().max() < 1e-5  # the same policy


def test_divergence_of_independent_choices_is_a_sum() -> None:
    sizes = list(MULTI.sizes)
    before, after = draw(5, sum(sizes)), draw(5, sum(sizes), seed=1)
    expected = sum(
        kl_divergence(Categorical(logits=b), Categorical(logits=a))
        for b, a in zip(before.split(sizes, -1), after.split(sizes, -1), strict=True)
    )
    torch.testing.assert_close(divergence(MULTI, before, after), expected)


@given(st.integers(0, 2**32))
def test_divergence_of_gaussians_is_torchs(seed: int) -> None:
    n = REAL.outputs
    before, after = draw(4, n, seed=seed), draw(4, n, seed=seed + 1)
    old, new = 0.3 * draw(n, seed=seed + 2), 0.3 * draw(n, seed=seed + 3)
    expected = kl_divergence(
        Independent(Normal(before, old.exp()), 1), Independent(Normal(after, new.exp()), 1)
    )
    found = divergence(REAL, before, after, old, new)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
