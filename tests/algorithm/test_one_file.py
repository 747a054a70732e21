"""examples/a2c_in_one_file.py: the slow oracle of the real update, and a script that learns."""

from __future__ import annotations

import copy
import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from process import run_python
from specs import pixel_spec, random_obs, settings_for, vector_spec

from a2c_cli.algorithm.learner import Learner
from a2c_cli.algorithm.returns import lambda_returns
from a2c_cli.envs.spec import EnvSpec
from a2c_cli.envs.stream import Transition

SCRIPT = Path(__file__).parents[2] / "examples" / "a2c_in_one_file.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("a2c_in_one_file", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_imports_nothing_of_this_package() -> None:
    assert not re.search(r"(import|from) a2c_cli", SCRIPT.read_text())


@pytest.mark.parametrize("lam", [0.0, 0.7, 1.0])
def test_its_returns_are_those_of_the_package(example: ModuleType, lam: float) -> None:
    rng = np.random.default_rng(0)
    rewards = torch.from_numpy(rng.normal(size=40))
    terminated = torch.from_numpy((rng.random(40) < 0.2).astype(np.float64))
    values = torch.from_numpy(rng.normal(size=41))
    expected = example.lambda_returns(rewards, terminated, values, 0.9, lam)
    actual = lambda_returns(rewards, 0.9 * (1.0 - terminated), values, lam)
    assert torch.allclose(actual, expected, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize(
    ("spec", "events"),
    [(vector_spec(), "........"), (vector_spec(), ".t...t.t"), (vector_spec(), "..t..u"),
     (pixel_spec(), "...t...."), (pixel_spec(), "..u")],
)  # fmt: skip
def test_an_update_of_the_package_has_its_loss_and_its_gradient(
    example: ModuleType, spec: EnvSpec, events: str
) -> None:
    plain: dict[str, Any] = {"normalize_obs": False} if spec.kind == "vector" else {
        "prediction_coef": 0.0}  # fmt: skip
    config = settings_for(
        spec, n_steps=8, gamma=0.9, gae_lambda=0.7, value_coef=0.4, entropy_coef=0.03,
        init="torch", max_grad_norm=0.0, reward_transform="none", **plain,
    )  # fmt: skip
    learner = Learner(config, spec)
    before = copy.deepcopy(learner.network)
    rng = np.random.default_rng(1)
    observations, actions, rewards, stats = [random_obs(spec, rng)], [], [], None
    for event in events:
        actions.append(int(learner.act(observations[-1])))
        rewards.append(float(rng.normal()))
        observations.append(random_obs(spec, rng))
        step = Transition(actions[-1], rewards[-1], event == "t", event == "u", False,
                          observations[-1])  # fmt: skip
        assert stats is None
        stats = learner.learn(step, 0.0)
    assert stats is not None

    segment = {
        "obs": torch.from_numpy(np.stack(observations)),
        "actions": torch.tensor(actions),
        "rewards": torch.tensor(rewards),
        "terminated": torch.tensor([float(event == "t") for event in events]),
    }
    loss = example.loss(before, segment, 0.03, gamma=0.9, lam=0.7, value_coef=0.4)
    loss.backward()
    learned = stats.policy_loss + 0.4 * stats.value_loss - 0.03 * stats.entropy
    assert learned == pytest.approx(loss.item(), abs=1e-5)
    actual = dict(learner.network.named_parameters())
    for name, parameter in before.named_parameters():
        assert torch.allclose(actual[name].grad, parameter.grad, rtol=1e-4, atol=1e-5), name


@pytest.mark.slow
def test_it_learns() -> None:
    done = run_python(str(SCRIPT), "--steps", "40000", "--seed", "0", timeout=300)
    assert done.code == 0, done.stderr
    means = [float(mean) for mean in re.findall(r"([\d.]+)$", done.stdout, re.MULTILINE)]
    assert means[0] < 150.0
    assert means[-1] > 200.0
