"""A calibrated start: centred pictures, units that are on for half of what they see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from specs import make_pair, pixel_spec, policy_of, settings_for

from a2c_cli.algorithm.calibration import Calibration, calibrate
from a2c_cli.algorithm.learner import Learner
from a2c_cli.envs.spec import EnvSpec
from a2c_cli.envs.stream import Transition

NETWORKS = [
    (pixel_spec(), {"network": "a3c"}),
    (pixel_spec("atari", (2, 83, 83)), {"network": "nature"}),
    (pixel_spec(), {"network": "notebook", "activation": "tanh"}),
    (pixel_spec("image", (3, 50, 61)), {"network": "nature"}),
    (pixel_spec("image", (3, 38, 41)), {"network": "32,32"}),
]


def game(spec: EnvSpec, count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Pictures on a bright background, of which a small part differs from one to the next."""
    rng = np.random.default_rng(seed)
    background = rng.integers(100, 200, spec.obs_shape[1:]).astype(np.uint8)
    frames = np.broadcast_to(background, (count + spec.obs_shape[0], *background.shape)).copy()
    for frame in frames:
        y, x = (int(rng.integers(n - 20)) for n in background.shape)
        frame[y : y + 20, x : x + 20] = rng.integers(0, 256, (20, 20))
    return np.stack([frames[t : t + spec.obs_shape[0]] for t in range(count)])


@pytest.mark.parametrize(("spec", "values"), NETWORKS)
def test_every_unit_is_on_about_half_of_the_time(spec: EnvSpec, values: dict[str, Any]) -> None:
    _, module = make_pair(spec, **values)
    seen = game(spec, 60)
    calibrate(module, seen)
    expected = seen.mean(axis=0).round()
    np.testing.assert_array_equal(module.pixel_mean.numpy(), expected)
    x = (torch.from_numpy(seen).float() - module.pixel_mean) / 255.0
    for layer in module.torso:
        x = layer(x)
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            kept = [i for i in range(x.dim()) if i != 1]
            torch.testing.assert_close(x.mean(kept), torch.zeros(x.shape[1]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("spec", "values"), NETWORKS)
def test_acting_sees_what_the_torch_module_sees(spec: EnvSpec, values: dict[str, Any]) -> None:
    agent, module = make_pair(spec, **values)
    seen = game(spec, 30)
    before, _ = policy_of(agent, seen[3])
    calibrate(module, seen[::2])
    agent.network.sync()
    for obs in seen[:8]:
        outputs, value = policy_of(agent, obs)
        with torch.no_grad():
            expected, expected_value = module(torch.from_numpy(obs)[None])
        np.testing.assert_allclose(outputs, expected[0], atol=2e-5, rtol=1e-4)
        assert value == pytest.approx(float(expected_value[0]), abs=2e-5, rel=1e-4)
    assert np.abs(policy_of(agent, seen[3])[0] - before).max() > 1e-3


@pytest.mark.parametrize(("spec", "values"), NETWORKS[:4])
def test_the_update_differentiates_what_acting_saw(spec: EnvSpec, values: dict[str, Any]) -> None:
    config = settings_for(
        spec, n_steps=6, calibration_steps=20, prediction_coef=0.0, init="torch", **values
    )
    learner = Learner(config, spec)
    seen = game(spec, 30)
    for t in range(21):
        learner.act(seen[t])
        step = Transition(0, 0.0, False, False, False, seen[t + 1])
        assert learner.learn(step, 0.0) is None
    assert learner.network.pixel_mean.any()
    policy = learner.policy
    policy.forget()
    for obs in seen[:7]:
        policy.remember(obs)
    found = policy.evaluate(seen[:7])
    policy.backward(found.outputs.square().sum() + found.values.sum())
    by_hand = [p.grad.clone() for p in policy.parameters if p.grad is not None]
    outputs, values_ = learner.network(torch.from_numpy(seen[:7]))
    torch.testing.assert_close(found.outputs, outputs, atol=1e-4, rtol=1e-4)
    learner.network.zero_grad()
    (outputs.square().sum() + values_.sum()).backward()
    autograd = [p.grad for p in policy.parameters if p.grad is not None]
    for mine, theirs in zip(by_hand, autograd, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-3, rtol=1e-3)


def test_nothing_is_learned_until_it_is_over_and_then_all_is_in_place() -> None:
    spec = pixel_spec("atari", (2, 36, 36))
    learner = Learner(settings_for(spec, n_steps=3, calibration_steps=10), spec)
    seen = game(spec, 20)
    start = {name: p.clone() for name, p in learner.network.state_dict().items()}
    for t in range(10):
        same = all(torch.equal(p, start[n]) for n, p in learner.network.state_dict().items())
        assert same, t
        learner.act(seen[t])
        assert learner.learn(Transition(0, 1.0, False, False, False, seen[t + 1]), 0.0) is None
    changed = {n for n, p in learner.network.state_dict().items() if not torch.equal(p, start[n])}
    biases = {"torso.conv1.bias", "torso.conv2.bias", "torso.hidden1.bias"}
    assert changed == {"pixel_mean"} | biases
    updates = []
    for t in range(10, 16):
        learner.act(seen[t])
        step = Transition(0, 1.0, False, False, False, seen[t + 1])
        updates.append(learner.learn(step, 0.0) is not None)
    assert updates == [False, False, True] * 2


@pytest.mark.parametrize("cut", [0, 1, 7, 9, 10, 14])
def test_a_run_that_was_stopped_in_the_middle_is_the_run_that_was_not(cut: int) -> None:
    spec = pixel_spec("atari", (2, 36, 36))
    config = settings_for(spec, n_steps=3, calibration_steps=10)
    seen = game(spec, 20)

    def live(learner: Learner, steps: range) -> Learner:
        for t in steps:
            learner.act(seen[t])
            learner.learn(Transition(0, float(t), False, False, False, seen[t + 1]), 0.0)
        return learner

    whole = live(Learner(config, spec), range(18))
    state = live(Learner(config, spec), range(cut)).get_state()
    resumed = Learner(config, spec)
    resumed.set_state(state)
    live(resumed, range(cut, 18))
    expected, found = whole.get_state(), resumed.get_state()
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_a_long_calibration_keeps_a_hundred_observations_at_most() -> None:
    spec = pixel_spec("image", (1, 4, 4))
    calibration = Calibration(spec, 1050)
    for t in range(1050):
        assert calibration.running
        calibration.add(np.full((1, 4, 4), t % 256, np.uint8))
    assert not calibration.running
    assert calibration.get_state() == {}
    half = Calibration(spec, 1050)
    for _ in range(525):
        half.add(np.zeros((1, 4, 4), np.uint8))
    assert 45 <= len(half.get_state()["observations"]) <= 55


def test_a_damaged_state_is_refused() -> None:
    spec = pixel_spec("image", (1, 4, 4))
    calibration = Calibration(spec, 10)
    for _ in range(4):
        calibration.add(np.zeros((1, 4, 4), np.uint8))
    state = calibration.get_state()
    for change in (
        {"seen": np.array([10])},
        {"seen": np.array([-1])},
        {"seen": np.array([9])},
        {"observations": state["observations"].astype(np.float32)},
        {"observations": state["observations"][:, :, :3]},
    ):
        with pytest.raises(ValueError, match="calibration"):
            Calibration(spec, 10).set_state(state | change)
