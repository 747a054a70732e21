"""RMSProp and Adam against loops over plain floats."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from a2c_cli.algorithm.optimizer import ADAM, Adam, make_optimizer
from a2c_cli.config.resolve import resolve
from a2c_cli.config.settings import TrainConfig


def rmsprop(theta: float, gradients: list[float], lr: float) -> float:
    average = 0.0
    for t, g in enumerate(gradients, 1):
        average = 0.99 * average + 0.01 * g * g
        theta -= lr * g / (math.sqrt(average / (1 - 0.99**t)) + 1e-4)
    return theta


def adam(theta: float, gradients: list[float], lr: float) -> float:
    mean = square = 0.0
    for t, g in enumerate(gradients, 1):
        mean = 0.9 * mean + 0.1 * g
        square = 0.999 * square + 0.001 * g * g
        theta -= lr * (mean / (1 - 0.9**t)) / (math.sqrt(square / (1 - 0.999**t)) + 1e-4)
    return theta


@pytest.mark.parametrize("slow", [rmsprop, adam])
@given(gradients=st.lists(st.floats(-5, 5), min_size=1, max_size=20))
def test_every_optimizer_follows_its_formula_with_a_rate_for_each_group(
    slow: Callable[[float, list[float], float], float], gradients: list[float]
) -> None:
    gradients = [round(g, 2) for g in gradients]
    config = TrainConfig(env="x", optimizer=slow.__name__, optimizer_eps=1e-4)
    thetas = [torch.ones(1, requires_grad=True) for _ in range(2)]
    groups = [{"params": [t], "lr": lr} for t, lr in zip(thetas, (0.1, 0.02), strict=True)]
    optimizer = make_optimizer(resolve(config, "atari"), groups)
    for g in gradients:
        for theta in thetas:
            theta.grad = torch.tensor([g])
        optimizer.step()
    for theta, lr in zip(thetas, (0.1, 0.02), strict=True):
        assert theta.item() == pytest.approx(slow(1.0, gradients, lr), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("size", [1e-3, 1.0, 100.0])
def test_a_first_step_is_as_long_as_the_step_size_whatever_the_gradient(size: float) -> None:
    for name in ("rmsprop", "adam"):
        config = TrainConfig(env="x", optimizer=name, optimizer_eps=1e-8)
        theta = torch.zeros(1, requires_grad=True)
        optimizer = make_optimizer(resolve(config, "atari"), [{"params": [theta], "lr": 0.1}])
        theta.grad = torch.tensor([size])
        optimizer.step()
        assert theta.item() == pytest.approx(-0.1, rel=1e-3)


def test_it_has_the_bits_of_torchs_fused_adam() -> None:
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (
        [torch.ones(size, requires_grad=True) for size in ((7, 5), (33,), (1,))] for _ in range(2)
    )
    mine = Adam([{"params": ours, "lr": 0.01}], ADAM, 1e-5)
    torchs = torch.optim.Adam(theirs, lr=0.01, betas=ADAM, eps=1e-5, fused=True)
    for number in range(20):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = b.grad = torch.randn(a.shape, generator=generator)
        if number == 3:  # a parameter without a gradient stays, and its step is not counted
            ours[1].grad = theirs[1].grad = None
        mine.param_groups[0]["lr"] = torchs.param_groups[0]["lr"] = 0.01 / (number + 1)
        mine.step()
        torchs.step()
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b)
        assert all(
            torch.equal(mine.state[a][slot], torchs.state[b][slot]) for slot in mine.state[a]
        )
