"""Saliency: the gradient against finite differences, the perturbation against a plain loop."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from specs import DISCRETE, MULTI, REAL, make_pair, pixel_spec, policy_of, random_obs, vector_spec

from a2c_cli.envs.spec import ActionSpec
from a2c_cli.errors import ConfigError
from a2c_cli.film.saliency import Saliency, gradient_maps, perturbation_maps
from a2c_cli.policies.agent import Agent
from a2c_cli.policies.distributions import log_prob_and_entropy
from a2c_cli.policies.network import ActorCritic
from a2c_cli.policies.pixel_gradient import PixelGradient

SHAPE = (3, 36, 44)


def pair(action: ActionSpec, seed: int = 0) -> tuple[Agent, ActorCritic]:
    """A smooth network in double precision: finite differences of a ReLU cross its kinks."""
    agent, module = make_pair(
        pixel_spec("image", SHAPE, action), seed, network="a3c", activation="tanh"
    )
    return agent, module


def look(agent: Agent) -> PixelGradient:
    return PixelGradient(agent.layout, agent.weights)


@pytest.mark.parametrize("action", [DISCRETE, MULTI], ids=["discrete", "multi"])
def test_the_gradient_is_the_one_of_finite_differences(action: ActionSpec) -> None:
    agent, module = pair(action)
    obs = random_obs(agent.spec, np.random.default_rng(1))
    taken: Any = 2 if action is DISCRETE else np.array([1, 2])
    maps = gradient_maps(look(agent), action, obs, taken)
    assert maps.shape == (2, *SHAPE[1:])
    exact = module.double()
    actions = torch.as_tensor(np.asarray(taken)).reshape(1, -1)

    def outcome(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        # The scale stands in forward(), which takes its input to float32 unless told otherwise.
        with torch.no_grad():
            features = exact.torso(torch.as_tensor(pixels)[None] / 255.0)
            log_pi, _ = log_prob_and_entropy(action, exact.actor(features), actions, None)
            return np.array([float(log_pi), float(exact.critic(features))])

    rng = np.random.default_rng(2)
    for _ in range(12):
        y, x = int(rng.integers(SHAPE[1])), int(rng.integers(SHAPE[2]))
        expected = np.zeros(2)
        for channel in range(SHAPE[0]):
            high, low = obs.astype(np.float64), obs.astype(np.float64)
            high[channel, y, x] += 0.5
            low[channel, y, x] -= 0.5
            expected += np.abs(outcome(high) - outcome(low))
        np.testing.assert_allclose(maps[:, y, x], expected, rtol=1e-3, atol=1e-8)


def test_the_gradient_of_a_gaussian_sums_over_its_means() -> None:
    agent, module = pair(REAL)
    obs = random_obs(agent.spec, np.random.default_rng(1))
    maps = gradient_maps(look(agent), REAL, obs, np.zeros(2, np.float32))
    pixels = torch.as_tensor(obs[None]).float().requires_grad_()
    expected = np.zeros(SHAPE[1:])
    for i in range(2):
        (gradient,) = torch.autograd.grad(module(pixels)[0][0, i], pixels)
        expected += gradient[0].abs().sum(0).numpy()
    np.testing.assert_allclose(maps[0], expected, rtol=1e-4, atol=1e-9)
    (gradient,) = torch.autograd.grad(module(pixels)[1][0], pixels)
    np.testing.assert_allclose(maps[1], gradient[0].abs().sum(0).numpy(), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("network", ["a3c", "nature", "notebook", "3@5/3,4@3/1", "mlp", "16"])
def test_the_gradient_is_the_one_of_autograd_for_every_kind_of_network(network: str) -> None:
    agent, module = make_pair(pixel_spec("image", (3, 45, 52)), network=network)
    obs = random_obs(agent.spec, np.random.default_rng(1))
    pixels = torch.as_tensor(obs[None]).float().requires_grad_()
    outputs, value = module(pixels)
    maps = gradient_maps(look(agent), DISCRETE, obs, 3)
    for part, scalar in zip(maps, (outputs[0].log_softmax(0)[3], value[0]), strict=True):
        (gradient,) = torch.autograd.grad(scalar, pixels, retain_graph=True)
        expected = gradient[0].abs().sum(0).numpy()
        np.testing.assert_allclose(part, expected, rtol=1e-3, atol=1e-5 * expected.max())


def test_perturbation_is_what_a_blurred_patch_changes() -> None:
    agent, module = pair(DISCRETE)
    obs = random_obs(agent.spec, np.random.default_rng(3))
    maps = perturbation_maps(look(agent).network, obs)
    assert maps.shape == (2, *SHAPE[1:])
    picture = obs.astype(np.float32)
    blurred = np.stack([cv2.GaussianBlur(plane, (0, 0), 3.0) for plane in picture])
    ys, xs = np.mgrid[: SHAPE[1], : SHAPE[2]]
    usual, value = policy_of(agent, obs)
    grid = np.zeros((2, 7, 9), np.float32)
    for row in range(7):
        for column in range(9):
            distance = (ys - 5 * row - 2.5) ** 2 + (xs - 5 * column - 2.5) ** 2
            mask = np.exp(-distance / 50)
            changed = torch.as_tensor((picture * (1 - mask) + blurred * mask)[None]).float()
            with torch.no_grad():
                outputs, changed_value = module(changed)
            grid[0, row, column] = 0.5 * np.square(outputs.numpy() - usual).sum()
            grid[1, row, column] = 0.5 * (float(changed_value) - value) ** 2
    expected = np.stack([cv2.resize(g, (44, 36), interpolation=cv2.INTER_CUBIC) for g in grid])
    np.testing.assert_allclose(maps, expected, rtol=1e-2, atol=1e-3 * expected.max())


@pytest.mark.parametrize("method", ["gradient", "perturbation"])
def test_it_points_at_the_only_place_that_the_network_can_see(method: str) -> None:
    agent, module = make_pair(pixel_spec("atari"), network="a3c")
    with torch.no_grad():
        # Only the last hidden inputs that stem from the lower right survive; weights are shared.
        weight = module.torso.get_submodule("hidden1").weight
        channels, height, width = agent.layout.conv_shapes[-1]
        places = weight.view(len(weight), height, width, channels)
        places[:, :-1] = 0.0
        places[:, :, :-1] = 0.0
    maps = Saliency(agent, method)(random_obs(agent.spec, np.random.default_rng(4)), 1)
    assert maps.shape == (2, 84, 84)
    for part in maps:
        y, x = np.unravel_index(part.argmax(), part.shape)
        assert y > 42
        assert x > 42
        assert part[:30, :30].max() < 0.05


def test_maps_lie_between_0_and_1_and_remember_what_was_strong() -> None:
    agent, module = make_pair(pixel_spec("atari"))
    look = Saliency(agent, "gradient")
    rng = np.random.default_rng(5)
    strong = look(random_obs(agent.spec, rng), 0)
    assert strong.max() == 1.0
    with torch.no_grad():
        module.critic.weight.mul_(1e-3)
    faint = Saliency(agent, "gradient")
    faint._strongest = look._strongest.copy()
    maps = faint(random_obs(agent.spec, rng), 0)
    assert maps.min() >= 0.0
    assert maps[1].max() < 0.05  # not blown up to full strength


def test_looking_changes_neither_the_weights_nor_the_observation() -> None:
    agent, _ = make_pair(pixel_spec("atari"))
    before = {name: array.copy() for name, array in agent.weights.items()}
    obs = random_obs(agent.spec, np.random.default_rng(6))
    kept = obs.copy()
    for method in ("gradient", "perturbation"):
        Saliency(agent, method)(obs, 1)
    np.testing.assert_array_equal(obs, kept)
    for name, array in agent.weights.items():
        np.testing.assert_array_equal(array, before[name])


def test_a_network_of_all_zeros_shows_nothing() -> None:
    agent, module = make_pair(pixel_spec("atari"))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    for method in ("gradient", "perturbation"):
        assert (
            Saliency(agent, method)(random_obs(agent.spec, np.random.default_rng(7)), 0) == 0
        ).all()


def test_numbers_have_no_places_to_look_at() -> None:
    agent, _ = make_pair(vector_spec())
    with pytest.raises(ConfigError, match="pixels of one picture") as caught:
        Saliency(agent, "gradient")
    assert "--overlay" in caught.value.hint


def test_an_unknown_method_names_the_known_ones() -> None:
    agent, _ = make_pair(pixel_spec("atari"))
    with pytest.raises(ConfigError, match="'xray'") as caught:
        Saliency(agent, "xray")
    assert "gradient or perturbation" in caught.value.hint
