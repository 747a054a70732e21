"""Running scales against NumPy over everything seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2c_cli.algorithm.scales import AdvantageScale, RewardScaler
from a2c_cli.policies.normalizer import ObsNormalizer


@given(st.integers(0, 2**32), st.integers(2, 200), st.floats(-1e4, 1e4), st.floats(1e-2, 1e3))
def test_mean_and_deviation_are_those_of_everything_seen(
    seed: int, count: int, shift: float, scale: float
) -> None:
    seen = np.random.default_rng(seed).standard_normal((count, 3)) * scale + shift
    seen = seen.astype(np.float32)
    normalizer = ObsNormalizer(3)
    for obs in seen:
        normalizer.update(obs)
    expected = (seen[-1] - seen.mean(0, np.float64)) / (seen.std(0, dtype=np.float64) + 1e-8)
    np.testing.assert_allclose(normalizer.apply(seen[-1]), expected, rtol=1e-3, atol=1e-3)
    assert normalizer.apply(seen[-1]).dtype == np.float32


def test_observations_pass_until_there_is_a_deviation() -> None:
    normalizer = ObsNormalizer(1)
    normalizer.update(np.array([5.0], np.float32))
    assert normalizer.apply(np.array([5.0], np.float32)).tolist() == [5.0]


def test_outliers_are_clipped_and_constant_features_become_zero() -> None:
    normalizer = ObsNormalizer(2)
    for x in (-1.0, 1.0):
        normalizer.update(np.array([x, 3.0], np.float32))
    assert normalizer.apply(np.array([1e6, 3.0], np.float32)).tolist() == [10.0, 0.0]


def test_looking_does_not_change_the_statistics() -> None:
    normalizer = ObsNormalizer(1)
    for x in (-1.0, 1.0):
        normalizer.update(np.array([x], np.float32))
    before = normalizer.get_state()
    normalizer.apply(np.array([100.0], np.float32))
    assert {k: v.tolist() for k, v in normalizer.get_state().items()} == {
        k: v.tolist() for k, v in before.items()
    }


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=250))
def test_the_scale_of_advantages_is_a_mean_that_becomes_a_moving_one(squares: list[float]) -> None:
    scale, mean = AdvantageScale(), 0.0
    for i, square in enumerate(squares):
        sigma = scale.update(square)
        mean = float(np.mean(squares[: i + 1])) if i < 100 else 0.99 * mean + 0.01 * square
        assert sigma == pytest.approx(np.sqrt(mean), rel=1e-9)
    again = AdvantageScale()
    again.set_state(scale.get_state())
    assert again.update(7.0) == scale.update(7.0)


def reward_reference(rewards: list[float], ends: list[bool], gamma: float) -> list[float]:
    returns, running, scaled = [], 0.0, []
    for i, (reward, end) in enumerate(zip(rewards, ends, strict=True)):
        running = gamma * running + reward
        returns.append(running)
        if end:
            running = 0.0
        deviation = np.std(returns) if i else 1.0
        scaled.append(float(np.clip(reward / (deviation + 1e-8), -10, 10)))
    return scaled


@given(
    st.lists(st.tuples(st.floats(-100, 100), st.booleans()), min_size=1, max_size=40),
    st.floats(0, 1),
)
def test_rewards_are_divided_by_the_deviation_of_the_running_return(
    steps: list[tuple[float, bool]], gamma: float
) -> None:
    rewards, ends = [round(r, 3) for r, _ in steps], [e for _, e in steps]
    scaler = RewardScaler(gamma)
    actual = [scaler(r, e) for r, e in zip(rewards, ends, strict=True)]
    assert actual == pytest.approx(reward_reference(rewards, ends, gamma), rel=1e-5, abs=1e-5)


def test_a_scaled_reward_keeps_its_sign_and_zero_stays_zero() -> None:
    scaler = RewardScaler(0.9)
    assert scaler(0.0, False) == 0.0
    assert scaler(-3.0, False) < 0.0
    assert scaler(1e9, False) <= 10.0


@pytest.mark.parametrize("cut", [0, 1, 7])
def test_state_goes_on_exactly(cut: int) -> None:
    rng = np.random.default_rng(0)
    stream = rng.standard_normal((20, 2)).astype(np.float32)
    whole, before, after = (ObsNormalizer(2) for _ in range(3))
    scale_whole, scale_before, scale_after = (RewardScaler(0.9) for _ in range(3))
    expected = []
    for i, obs in enumerate(stream):
        whole.update(obs)
        expected.append((whole.apply(obs).tolist(), scale_whole(float(obs[0]), i % 6 == 5)))
    for i, obs in enumerate(stream[:cut]):
        before.update(obs)
        scale_before(float(obs[0]), i % 6 == 5)
    after.set_state(before.get_state())
    scale_after.set_state(scale_before.get_state())
    actual = []
    for i, obs in enumerate(stream[cut:], cut):
        after.update(obs)
        actual.append((after.apply(obs).tolist(), scale_after(float(obs[0]), i % 6 == 5)))
    assert actual == expected[cut:]


def test_a_state_of_another_environment_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        ObsNormalizer(3).set_state(ObsNormalizer(2).get_state())
