"""λ-returns against a slow double sum, the definition as a mixture of n-step returns, and GAE."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from a2c_cli.algorithm.returns import lambda_returns


@dataclass
class Stretch:
    """T rewards and discounts, T+1 values."""

    rewards: list[float]
    discounts: list[float]
    values: list[float]

    def returns(self, gae_lambda: float) -> list[float]:
        tensors = (torch.tensor(x, dtype=torch.float64) for x in
                   (self.rewards, self.discounts, self.values))  # fmt: skip
        return lambda_returns(*tensors, gae_lambda).tolist()

    def n_step(self, t: int, n: int) -> float:
        """r_t + d_t r_{t+1} + ... + (d_t ... d_{t+n-1}) V(s_{t+n}), term by term."""
        total = 0.0
        for k in range(n):
            total += float(np.prod(self.discounts[t : t + k])) * self.rewards[t + k]
        return total + float(np.prod(self.discounts[t : t + n])) * self.values[t + n]


@st.composite
def stretches(draw: st.DrawFn) -> Stretch:
    length = draw(st.integers(1, 12))
    numbers = st.floats(-10, 10)
    gamma = draw(st.floats(0, 1))
    alive = st.sampled_from([0.0, 1.0, 1.0, 1.0])
    return Stretch(
        draw(st.lists(numbers, min_size=length, max_size=length)),
        [gamma * a for a in draw(st.lists(alive, min_size=length, max_size=length))],
        draw(st.lists(numbers, min_size=length + 1, max_size=length + 1)),
    )


@given(stretches(), st.floats(0, 1))
def test_lambda_return_is_the_weighted_mean_of_all_n_step_returns(s: Stretch, lam: float) -> None:
    length = len(s.rewards)
    for t, actual in enumerate(s.returns(lam)):
        left = length - t
        expected = lam ** (left - 1) * s.n_step(t, left)
        expected += sum((1 - lam) * lam ** (n - 1) * s.n_step(t, n) for n in range(1, left))
        assert actual == pytest.approx(expected, abs=1e-9)


@given(stretches())
def test_lambda_one_is_the_n_step_return_to_the_end_of_the_segment(s: Stretch) -> None:
    expected = [s.n_step(t, len(s.rewards) - t) for t in range(len(s.rewards))]
    assert s.returns(1.0) == pytest.approx(expected, abs=1e-9)


@given(stretches())
def test_lambda_zero_is_the_one_step_td_target(s: Stretch) -> None:
    expected = [r + d * v for r, d, v in zip(s.rewards, s.discounts, s.values[1:], strict=True)]
    assert s.returns(0.0) == pytest.approx(expected, abs=1e-9)


@given(stretches(), st.floats(0, 1))
def test_advantage_is_generalised_advantage_estimation(s: Stretch, lam: float) -> None:
    length = len(s.rewards)
    delta = [s.rewards[t] + s.discounts[t] * s.values[t + 1] - s.values[t] for t in range(length)]
    for t, actual in enumerate(s.returns(lam)):
        expected = sum(
            float(np.prod([lam * d for d in s.discounts[t:k]])) * delta[k] for k in range(t, length)
        )
        assert actual - s.values[t] == pytest.approx(expected, abs=1e-9)


@given(stretches(), st.floats(0, 1))
def test_one_step_segment_is_the_td_target_whatever_lambda_is(s: Stretch, lam: float) -> None:
    one = Stretch(s.rewards[:1], s.discounts[:1], s.values[:2])
    expected = one.rewards[0] + one.discounts[0] * one.values[1]
    assert one.returns(lam) == pytest.approx([expected], abs=1e-9)


@given(stretches(), st.floats(0, 1), st.data())
def test_nothing_behind_a_termination_reaches_what_lies_before_it(
    s: Stretch, lam: float, data: st.DataObject
) -> None:
    death = data.draw(st.integers(0, len(s.rewards) - 1))
    s.discounts[death] = 0.0
    before = s.returns(lam)[: death + 1]
    changed = Stretch(list(s.rewards), s.discounts, list(s.values))
    for t in range(death + 1, len(s.rewards)):
        changed.rewards[t] += 100.0
    for t in range(death + 1, len(s.values)):
        changed.values[t] -= 100.0
    assert changed.returns(lam)[: death + 1] == pytest.approx(before, abs=1e-9)
    assert before[death] == pytest.approx(s.rewards[death])


@pytest.mark.parametrize("gamma", [0.5, 0.9, 0.99])
def test_constant_reward_sums_to_the_geometric_series(gamma: float) -> None:
    s = Stretch([1.0] * 50, [gamma] * 50, [0.0] * 51)
    expected = [(1 - gamma ** (50 - t)) / (1 - gamma) for t in range(50)]
    assert s.returns(1.0) == pytest.approx(expected)


@pytest.mark.parametrize("lam", [0.0, 0.5, 0.95, 1.0])
def test_perfect_values_are_a_fixed_point_for_every_lambda(lam: float) -> None:
    s = Stretch([1.0] * 7, [0.9] * 7, [10.0] * 8)
    assert s.returns(lam) == pytest.approx([10.0] * 7)


def test_gamma_one_without_values_counts_the_rewards_to_go() -> None:
    assert Stretch([1.0, 2.0, 3.0], [1.0] * 3, [0.0] * 4).returns(1.0) == [6.0, 5.0, 3.0]


def test_returns_carry_no_gradient_and_the_values_dtype() -> None:
    values = torch.ones(4, requires_grad=True)
    returns = lambda_returns(torch.ones(3), torch.full((3,), 0.9), values, 0.5)
    assert not returns.requires_grad
    assert returns.dtype == torch.float32
    assert returns.shape == (3,)
