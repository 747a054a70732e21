"""Specs, configurations and agents that tests build by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from a2c_cli.config.resolve import resolve
from a2c_cli.config.settings import TrainConfig
from a2c_cli.envs.spec import ActionSpec, EnvSpec
from a2c_cli.policies.agent import Agent
from a2c_cli.policies.layout import make_layout
from a2c_cli.policies.network import ActorCritic

DISCRETE = ActionSpec("discrete", (4,), start=(0,))
MULTI = ActionSpec("multidiscrete", (2, 3), (2,), start=(0, 0))
REAL = ActionSpec("continuous", (2,), (2,), "float32", low=(-2.0, 0.0), high=(2.0, 10.0))


def vector_spec(features: int = 3, action: ActionSpec = DISCRETE) -> EnvSpec:
    return EnvSpec("made/Vector", "vector", (features,), "float32", action)


def pixel_spec(
    kind: str = "atari", shape: tuple[int, int, int] = (4, 84, 84), action: ActionSpec = DISCRETE
) -> EnvSpec:
    return EnvSpec("made/Pixels", kind, shape, "uint8", action)


def mixed_spec(*pictures: tuple[int, int, int], numbers: int) -> EnvSpec:
    size = sum(math.prod(picture) for picture in pictures) + numbers
    wrappers = {"frame_skip": 1, "frame_stack": 1, "resize": 0, "grayscale": False}
    return EnvSpec("made/Mixed", "mixed", (size,), "float32", DISCRETE,
                   wrappers=wrappers, pictures=pictures)  # fmt: skip


def settings_for(spec: EnvSpec, **values: Any) -> TrainConfig:
    """A run's settings: plain gradient steps, the first of them learned from, unless told else."""
    plain: dict[str, Any] = {"policy_step": "gradient"}
    if spec.kind != "vector":
        plain = {"calibration_steps": 0} if spec.kind != "mixed" else {}
    values = {**plain, **values}
    return resolve(TrainConfig(env=spec.id, **values), spec.kind, numbers=spec.numbers)


def random_obs(spec: EnvSpec, rng: np.random.Generator) -> NDArray[Any]:
    if spec.obs_dtype == "uint8":
        return rng.integers(0, 256, spec.obs_shape, np.uint8)
    return rng.standard_normal(spec.obs_shape, np.float32)


def make_pair(spec: EnvSpec, seed: int = 0, **values: Any) -> tuple[Agent, ActorCritic]:
    """An agent and the torch module whose (random) weights it shares."""
    config = settings_for(spec, **values)
    layout = make_layout(config, spec)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = ActorCritic(layout, "torch", 0.3)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    weights = {name: p.detach().numpy() for name, p in module.state_dict().items()}
    return Agent(spec, layout, weights), module


def policy_of(agent: Agent, obs: NDArray[Any]) -> tuple[NDArray[np.float32], float]:
    """The acting network's logits (or means) and value."""
    outputs, value = agent.network.forward(agent.prepare(obs))
    return outputs.copy(), value
