"""A run that starts from another run's weights (--init-from): what must fit, and what is taken.

Taken are the network's parameters, its mean picture, the normaliser of observations and the scale
of rewards. Everything else starts afresh: optimizer, schedules, counters, random numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from a2c_cli.algorithm.learner import Learner
from a2c_cli.config.settings import Settings
from a2c_cli.errors import ConfigError
from a2c_cli.policies.layout import Layout
from a2c_cli.runs import checkpoint
from a2c_cli.runs.finding import find_checkpoint
from a2c_cli.runs.header import Header
from a2c_cli.runs.loading import agent_from
from a2c_cli.text import safe_text


def take_weights(learner: Learner, config: Settings) -> str:
    """Start a learner from the checkpoint that --init-from names.

    Returns:
        What the user should know of it.

    Raises:
        CheckpointError: there is none, or it is damaged or foreign.
        ConfigError: its network is another one.
    """
    path = find_checkpoint(Path(config.init_from))
    header, tensors = checkpoint.read_checkpoint(path)
    agent_from(header, tensors)
    for problem, hint in _differences(header, config, learner.network.layout):
        raise ConfigError(f"--init-from {config.init_from} does not fit: {problem}", hint)
    learner.start_from(tensors)
    note = (
        f"starts from the weights of {path}, after {header.env_steps:,} steps of"
        f" {safe_text(header.spec.id)}; its optimizer's state is not taken"
    )
    if header.config.reward_transform != config.reward_transform:
        note += (
            f"; its critic learned with --reward-transform {header.config.reward_transform}:"
            " values begin in other units"
        )
    return note


def _differences(header: Header, config: Settings, here: Layout) -> Iterator[tuple[str, str]]:
    """What keeps the weights from meaning here what they meant there, each with a hint."""
    there, its = header.layout(), header.config
    env = safe_text(header.spec.id)
    if (there.obs_shape, there.pictures, there.scale) != (
        here.obs_shape,
        here.pictures,
        here.scale,
    ):
        yield (
            f"it sees {_shape(there)} of {env}, this run {_shape(here)}",
            "the same preprocessing, or another environment",
        )
    if (there.outputs, there.continuous) != (here.outputs, here.continuous):
        yield f"its policy has {_outputs(there)}, this run's {_outputs(here)}", ""
    if replace(there, activation=here.activation, predictions=here.predictions) != here:
        yield "its network has other layers", f"add --network {its.network}"
    if there.activation != here.activation:
        yield f"its units are {there.activation}", f"add --activation {there.activation}"
    if its.normalize_obs != config.normalize_obs:
        word = "normalised" if its.normalize_obs else "raw"
        flag = "--normalize-obs" if its.normalize_obs else "--no-normalize-obs"
        yield f"it has learned from {word} observations", f"add {flag}"


def _shape(layout: Layout) -> str:
    shapes = layout.pictures or (layout.obs_shape,)
    what = " and ".join("x".join(map(str, shape)) for shape in shapes)
    return f"{what} beside {layout.features} numbers" if layout.pictures else what


def _outputs(layout: Layout) -> str:
    return f"{layout.outputs} {'real numbers' if layout.continuous else 'choices'}"
