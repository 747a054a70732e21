"""Networks as text."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from specs import make_pair, pixel_spec, policy_of, random_obs

from a2c_cli.config.networks import NETWORKS, Conv, parse_network
from a2c_cli.errors import ConfigError


def test_layers_are_read_in_order() -> None:
    assert parse_network("8@5/3, 4@2/1,32") == ((Conv(8, 5, 3), Conv(4, 2, 1)), (32,))
    assert parse_network("64,32,16") == ((), (64, 32, 16))
    assert parse_network("8@5/3") == ((Conv(8, 5, 3),), ())


def test_names_stand_for_layers() -> None:
    for name, layers in NETWORKS.items():
        assert parse_network(name) == parse_network(layers)


@pytest.mark.parametrize(
    "text",
    ["", ",", "a3d", "64,8@5/3", "8@5", "8@0/1", "0@5/3", "8@5/0", "0", "-4", "1e3", "99999",
     "8@5/3,64,64", "2000@5/3", ",".join(["8"] * 65), "8@5/3,32\x1b[2J", "٣"],
)  # fmt: skip
def test_what_is_no_network_is_refused_with_what_one_looks_like(text: str) -> None:
    with pytest.raises(ConfigError, match="--network cannot be") as caught:
        parse_network(text)
    assert "16@8/4,32@4/2,256" in caught.value.hint


def test_a_network_of_one_s_own_acts_and_is_differentiated_like_any_other() -> None:
    agent, module = make_pair(pixel_spec(), network="6@10/5,7@3/2,19")
    obs = random_obs(agent.spec, np.random.default_rng(0))
    outputs, value = policy_of(agent, obs)
    expected, expected_value = module(torch.from_numpy(obs)[None])
    np.testing.assert_allclose(outputs, expected[0].detach(), atol=1e-5, rtol=1e-4)
    assert value == pytest.approx(float(expected_value[0]), abs=1e-5, rel=1e-4)
