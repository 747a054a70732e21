"""The torch module: shapes, sharing, initial weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from specs import (
    DISCRETE,
    MULTI,
    REAL,
    make_pair,
    pixel_spec,
    random_obs,
    settings_for,
    vector_spec,
)

from a2c_cli.envs.spec import ActionSpec, EnvSpec
from a2c_cli.errors import ConfigError
from a2c_cli.policies.layout import Conv, make_layout
from a2c_cli.policies.network import ActorCritic

CONVOLUTIONAL = ("a3c", "nature", "notebook")
CASES = [(name, pixel_spec()) for name in CONVOLUTIONAL] + [
    ("nature", pixel_spec("image", (6, 64, 96), MULTI)),
    ("mlp", pixel_spec("image", (3, 36, 40))),
    ("mlp", vector_spec(5)),
    ("mlp", vector_spec(5, MULTI)),
    ("mlp", vector_spec(5, REAL)),
]


@pytest.mark.parametrize(("network", "spec"), CASES)
def test_parameter_shapes_are_those_of_the_torch_module(network: str, spec: EnvSpec) -> None:
    layout = make_layout(settings_for(spec, network=network), spec)
    module = ActorCritic(layout)
    actual = {name: tuple(p.shape) for name, p in module.named_parameters()}
    assert layout.parameter_shapes() == actual


@pytest.mark.parametrize(("network", "spec"), CASES)
def test_gives_one_row_of_outputs_and_one_value_for_each_observation(
    network: str, spec: EnvSpec
) -> None:
    _, module = make_pair(spec, network=network)
    rng = np.random.default_rng(0)
    obs = torch.from_numpy(np.stack([random_obs(spec, rng) for _ in range(3)]))
    outputs, values = module(obs)
    assert outputs.shape == (3, spec.action.outputs)
    assert values.shape == (3,)
    assert outputs.dtype == values.dtype == torch.float32


def test_the_notebooks_network_has_the_notebooks_layers() -> None:
    spec = pixel_spec()
    layout = make_layout(settings_for(spec, network="notebook", prediction_coef=0.0), spec)
    assert layout.convs == (Conv(16, 5, 2), Conv(32, 5, 2), Conv(32, 5, 2))
    assert layout.conv_shapes == ((4, 84, 84), (16, 40, 40), (32, 18, 18), (32, 7, 7))
    assert layout.parameter_shapes() == {
        "torso.conv1.weight": (16, 4, 5, 5),
        "torso.conv1.bias": (16,),
        "torso.conv2.weight": (32, 16, 5, 5),
        "torso.conv2.bias": (32,),
        "torso.conv3.weight": (32, 32, 5, 5),
        "torso.conv3.bias": (32,),
        "actor.weight": (4, 1568),
        "actor.bias": (4,),
        "critic.weight": (1, 1568),
        "critic.bias": (1,),
    }


@pytest.mark.parametrize(
    ("network", "flat", "hidden"),
    [("a3c", 32 * 9 * 9, 256), ("nature", 64 * 7 * 7, 512)],
)
def test_the_published_networks_have_their_published_sizes(
    network: str, flat: int, hidden: int
) -> None:
    spec = pixel_spec()
    shapes = make_layout(settings_for(spec, network=network), spec).parameter_shapes()
    assert shapes["torso.hidden1.weight"] == (hidden, flat)
    assert shapes["critic.weight"] == (1, hidden)


def test_pixels_are_seen_between_zero_and_one() -> None:
    spec = pixel_spec()
    _, module = make_pair(spec, network="a3c")
    seen: list[torch.Tensor] = []
    module.torso[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    module(torch.full((1, *spec.obs_shape), 255, dtype=torch.uint8))
    torch.testing.assert_close(seen[0], torch.ones(1, *spec.obs_shape))


def test_the_critic_moves_the_shared_torso_of_pixels_but_not_the_actors_of_vectors() -> None:
    for spec, shared in ((pixel_spec(), True), (vector_spec(), False)):
        _, module = make_pair(spec)
        rng = np.random.default_rng(0)
        _, values = module(torch.from_numpy(random_obs(spec, rng)[None]))
        values.sum().backward()
        moved = any(p.grad is not None and p.grad.any() for p in module.torso.parameters())
        assert moved == shared
        assert module.actor.weight.grad is None


def test_orthogonal_initial_weights_have_their_gains() -> None:
    spec = vector_spec(6)
    module = ActorCritic(make_layout(settings_for(spec), spec), "orthogonal")
    for layer, gain in (
        (module.torso.hidden1, math.sqrt(2)),
        (module.torso.hidden2, math.sqrt(2)),
        (module.actor, 0.01),
        (module.critic, 1.0),
    ):
        singular = torch.linalg.svdvals(layer.weight.detach())
        torch.testing.assert_close(singular, torch.full_like(singular, gain))
        assert not layer.bias.detach().any()


def test_a_new_policy_is_nearly_uniform() -> None:
    spec = pixel_spec()
    module = ActorCritic(make_layout(settings_for(spec), spec), "orthogonal")
    obs = torch.from_numpy(random_obs(spec, np.random.default_rng(0))[None])
    pi = torch.softmax(module(obs)[0], -1)
    torch.testing.assert_close(pi, torch.full((1, 4), 0.25), atol=0.02, rtol=0)


def test_log_std_starts_where_it_is_told() -> None:
    spec = vector_spec(2, REAL)
    layout = make_layout(settings_for(spec), spec)
    assert ActorCritic(layout, log_std_init=-1.5).log_std.tolist() == [-1.5, -1.5]


def test_reduced_precision_changes_the_torso_only_a_little() -> None:
    spec = pixel_spec()
    _, module = make_pair(spec)
    obs = torch.from_numpy(random_obs(spec, np.random.default_rng(0))[None])
    exact, reduced = module(obs), module(obs, torch.bfloat16)
    assert reduced[0].dtype == torch.float32
    torch.testing.assert_close(reduced[0], exact[0], atol=0.05, rtol=0.05)
    assert not torch.equal(reduced[0], exact[0])


def test_frames_too_small_for_the_convolutions_are_a_clear_error() -> None:
    spec = pixel_spec("image", (1, 36, 36))
    make_layout(settings_for(spec, network="nature"), spec)
    small = pixel_spec("image", (1, 36, 20))
    config = settings_for(small, network="notebook")
    with pytest.raises(ConfigError, match="too small for --network notebook"):
        make_layout(config, small)


@pytest.mark.parametrize(
    ("action", "uniform"),
    [(DISCRETE, math.log(4)), (MULTI, math.log(6)), (REAL, None)],
)
def test_the_largest_entropy_is_that_of_the_uniform_policy(
    action: ActionSpec, uniform: float | None
) -> None:
    assert action.max_entropy == (None if uniform is None else pytest.approx(uniform))
