"""RMSProp as TensorFlow has it, against a loop over plain floats."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from a2c_cli.algorithm.optimizer import RMSpropTF, make_optimizer
from a2c_cli.config.defaults import resolve
from a2c_cli.config.settings import TrainConfig, settings


def reference(theta: float, gradients: list[float], lr: float, alpha: float, eps: float) -> float:
    average = 1.0
    for g in gradients:
        average = alpha * average + (1 - alpha) * g * g
        theta -= lr * g / math.sqrt(average + eps)
    return theta


@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=20),
    st.floats(1e-4, 1),
    st.floats(0, 0.999),
    st.floats(1e-8, 0.1),
)
def test_rmsprop_tf_follows_its_formula(
    gradients: list[float], lr: float, alpha: float, eps: float
) -> None:
    theta = torch.tensor([0.5, -1.0], dtype=torch.float64, requires_grad=True)
    optimizer = RMSpropTF([theta], lr=lr, alpha=alpha, eps=eps)
    for g in gradients:
        theta.grad = torch.tensor([g, -2 * g], dtype=torch.float64)
        optimizer.step()
    expected = [
        reference(0.5, gradients, lr, alpha, eps),
        reference(-1.0, [-2 * g for g in gradients], lr, alpha, eps),
    ]
    assert theta.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_its_first_step_is_small_where_the_gradient_is_unlike_torchs() -> None:
    steps = {}
    for kind in (RMSpropTF, torch.optim.RMSprop):
        theta = torch.zeros(1, requires_grad=True)
        theta.grad = torch.tensor([1e-3])
        kind([theta], lr=1.0, alpha=0.99, eps=1e-5).step()
        steps[kind] = abs(theta.item())
    assert steps[RMSpropTF] == pytest.approx(1e-3, rel=0.01)
    assert steps[torch.optim.RMSprop] > 1.0


def test_a_parameter_without_gradient_stays_where_it_is() -> None:
    still, moving = (torch.ones(1, requires_grad=True) for _ in range(2))
    moving.grad = torch.ones(1)
    RMSpropTF([still, moving], lr=0.1).step()
    assert still.item() == 1.0
    assert moving.item() < 1.0


def rmsprop(theta: float, gradients: list[float], lr: float) -> float:
    average = 0.0
    for g in gradients:
        average = 0.9 * average + 0.1 * g * g
        theta -= lr * g / (math.sqrt(average) + 1e-4)
    return theta


def rmsprop_tf(theta: float, gradients: list[float], lr: float) -> float:
    return reference(theta, gradients, lr, 0.9, 1e-4)


def adam(theta: float, gradients: list[float], lr: float) -> float:
    mean = square = 0.0
    for t, g in enumerate(gradients, 1):
        mean = 0.8 * mean + 0.2 * g
        square = 0.95 * square + 0.05 * g * g
        theta -= lr * (mean / (1 - 0.8**t)) / (math.sqrt(square / (1 - 0.95**t)) + 1e-4)
    return theta


@pytest.mark.parametrize("slow", [rmsprop, rmsprop_tf, adam])
@given(gradients=st.lists(st.floats(-5, 5), min_size=1, max_size=20))
def test_every_optimizer_follows_its_formula_with_a_rate_for_each_group(
    slow: Callable[[float, list[float], float], float], gradients: list[float]
) -> None:
    gradients = [round(g, 2) for g in gradients]
    values: dict[str, Any] = {"rmsprop_alpha": 0.9, "adam_beta1": 0.8, "adam_beta2": 0.95}
    config = TrainConfig(env="x", optimizer=slow.__name__, optimizer_eps=1e-4, **values)
    thetas = [torch.ones(1, requires_grad=True) for _ in range(2)]
    groups = [{"params": [t], "lr": lr} for t, lr in zip(thetas, (0.1, 0.02), strict=True)]
    optimizer = make_optimizer(resolve(config, "atari"), groups)
    for g in gradients:
        for theta in thetas:
            theta.grad = torch.tensor([g])
        optimizer.step()
    for theta, lr in zip(thetas, (0.1, 0.02), strict=True):
        assert theta.item() == pytest.approx(slow(1.0, gradients, lr), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.999, 0.9999])
def test_rmsprop_is_torchs_own(alpha: float) -> None:
    config = TrainConfig(env="x", optimizer="rmsprop", optimizer_eps=1e-5, rmsprop_alpha=alpha)
    ours, theirs = (torch.ones(50, requires_grad=True) for _ in range(2))
    generator = torch.Generator().manual_seed(0)
    optimizers = (
        make_optimizer(resolve(config, "atari"), [{"params": [ours], "lr": 1e-2}]),
        torch.optim.RMSprop([theirs], lr=1e-2, alpha=alpha, eps=1e-5),
    )
    for _ in range(30):
        ours.grad = torch.randn(50, generator=generator)
        theirs.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["rmsprop", "rmsprop_tf", "adam"])
def test_the_extreme_settings_that_are_allowed_build_an_optimizer(name: str) -> None:
    for setting in ("rmsprop_alpha", "adam_beta1", "adam_beta2"):
        meta = settings()[setting].metadata
        for value in (meta["low"], meta["high"]):
            config = TrainConfig(env="x", optimizer=name, **{setting: value})
            theta = torch.ones(1, requires_grad=True)
            optimizer = make_optimizer(resolve(config, "atari"), [{"params": [theta], "lr": 0.1}])
            theta.grad = torch.ones(1)
            optimizer.step()
            assert math.isfinite(theta.item())
