"""From a checkpoint back to an agent that acts, and to the environment it was made for."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from a2c_cli.config.checks import EnvArg
from a2c_cli.config.given import GIVE_AGAIN, Source, is_given, is_source
from a2c_cli.config.text import from_toml
from a2c_cli.envs.make import Stream, make_env
from a2c_cli.envs.spec import EnvSpec
from a2c_cli.errors import CheckpointError, ConfigError, EnvError, UnknownEnvError
from a2c_cli.outside import read_text
from a2c_cli.policies.agent import Agent
from a2c_cli.policies.normalizer import normalizer_of
from a2c_cli.runs import checkpoint
from a2c_cli.runs.checkpoint import Tensors
from a2c_cli.runs.directory import CONFIG
from a2c_cli.runs.finding import find_checkpoint
from a2c_cli.runs.header import Header

_FAR = 6.0  # standard deviations, beyond which no sampled action lies


def agent_from(header: Header, tensors: Tensors) -> Agent:
    """The agent of a checkpoint that has been read.

    Raises:
        CheckpointError: the weights do not fit the network that the header describes.
    """
    layout = header.layout()
    weights = {}
    for name, shape in layout.parameter_shapes().items():
        array = tensors.get(f"network.{name}")
        if array is None or array.shape != shape or array.dtype != np.float32:
            raise CheckpointError(
                f"the checkpoint's weights do not fit its network ({name})", "it may be damaged"
            )
        weights[name] = array
    for name, shape in layout.buffer_shapes().items():
        # Checkpoints from before there were such have none: zeros are what they had.
        array = tensors.get(f"normalizer.{name}", np.zeros(shape, np.float32))
        if array.shape != shape or array.dtype != np.float32:
            raise CheckpointError(f"the checkpoint's {name} is damaged", "use an earlier one")
        weights[name] = array
    normalizer = None
    if header.config.normalize_obs:
        normalizer = normalizer_of(header.spec)
        part = {k.removeprefix("normalizer."): v for k, v in tensors.items() if "normalizer." in k}
        try:
            normalizer.set_state(part)
            if normalizer.count < 0 or (normalizer.squares < 0.0).any():
                raise ValueError("a count or a variance is negative")
        except (KeyError, ValueError, IndexError, TypeError, OverflowError) as error:
            raise CheckpointError(f"the checkpoint's normaliser is damaged: {error}") from None
    agent = Agent(header.spec, layout, weights, normalizer)
    if not acts_finitely(agent):
        raise CheckpointError(
            "the checkpoint's network gives numbers that are not finite", "use an earlier one"
        )
    return agent


def acts_finitely(agent: Agent) -> bool:
    """Whether policy, value and actions are finite on one observation: large numbers may overflow.

    The agent's own network is not touched: training remembers what it computed last.
    """
    agent = Agent(agent.spec, agent.layout, agent.weights, agent.normalizer)
    with np.errstate(all="ignore"):
        outputs, value = agent.network.forward(
            agent.prepare(np.ones(agent.spec.obs_shape, agent.spec.obs_dtype))
        )
        found: list[Any] = [outputs, value]
        if agent.network.log_std is not None:
            far = _FAR * np.exp(agent.network.log_std)
            found += [agent.spec.action.to_env(outputs + noise) for noise in (-far, far)] + [far]
        return all(bool(np.isfinite(x).all()) for x in found)


def load_agent(path: Path | str) -> Agent:
    """The agent of a checkpoint.

    Args:
        path: a file, a run directory (its best, else its last), or the name of a shipped agent.

    Raises:
        CheckpointError: missing, damaged or foreign.
    """
    return agent_from(*checkpoint.read_checkpoint(find_checkpoint(Path(path))))


def check_env_id(found: str, named: str | None) -> None:
    """Whether a checkpoint's environment may be built.

    Args:
        found: the id in the checkpoint, which may come from a stranger.
        named: the id as the user gave it. One that imports a module (`module:Id`) is only
            followed if it stands here.

    Raises:
        ConfigError: the id is another environment's, or would import a module unasked.
    """
    if named is not None and named != found:
        raise ConfigError(
            f"the checkpoint was trained on {found!r}, not on {named!r}",
            f"--env {found!r}" if ":" in found else "leave --env out",
        )
    if is_given(found) and named is None:
        raise ConfigError(f"the checkpoint's environment {found} was given to train() as an object,"
                          " not by an id", GIVE_AGAIN)  # fmt: skip
    if ":" in found and named is None:
        raise ConfigError(
            f"the checkpoint's environment {found!r} would import a Python module",
            f"if you trust it, name it: --env {found!r}",
        )


def as_named(header: Header, named: str | None) -> Header:
    """The header of an environment that was given as an object, under the id that it has by now.

    Args:
        named: as for `check_env_id`.
    """
    if named is None or not is_given(header.spec.id) or is_given(named):
        return header
    return dataclasses.replace(
        header,
        config=dataclasses.replace(header.config, env=named),
        spec=dataclasses.replace(header.spec, id=named),
    )


def given_id(header: Header, source: Source) -> str:
    """The id of a checkpoint's environment, for which an object stands in.

    Raises:
        ConfigError: no object can, or it cannot stand for one.
    """
    found = header.spec.id
    if not is_source(source):
        raise ConfigError(f"env= must be a gymnasium.Env or a function that makes one, not"
                          f" {source!r:.100}")  # fmt: skip
    if not is_given(found):
        raise ConfigError(f"the checkpoint was trained on {found!r}, by its id", "leave env= out")
    return found


def trusted_id(path: Path, found: str, named: str | None) -> str | None:
    """The environment that may be built: as the user names it, or by itself in one's own run.

    A run is one's own if `config.toml` beside the checkpoint names the same environment and is a
    file of this user's. The module must not lie where the run does, below the current directory:
    what has been downloaded and unpacked could bring both.

    Args:
        path: the checkpoint file.
        found, named: as for `check_env_id`.
    """
    if named is not None or ":" not in found:
        return named
    run = path.parent
    try:
        mine = os.lstat(run / CONFIG).st_uid == os.geteuid()
        config = from_toml(read_text(run / CONFIG, 2**20, follow=False), CONFIG)
        run, here = run.resolve(), Path.cwd()
    except (OSError, ConfigError):
        return None
    module = here.joinpath(*found.partition(":")[0].split("."))
    around = run.parent if here in run.parent.parents else run
    own = mine and config.get("env") == found and not module.is_relative_to(around)
    return found if own else None


def make_agent_env(
    agent: Agent,
    seed: int,
    env_id: str | None = None,
    env_args: Mapping[str, EnvArg] | None = None,
    *,
    render: bool = False,
    source: Source | None = None,
) -> Stream:
    """The environment an agent was made for, or one like it.

    Args:
        env_id: the id as the user gave it; see `check_env_id`.
        env_args: arguments that take the place of the checkpoint's own, for another level or
            another difficulty with the same observations and actions.
        source: the object that a given environment's id stands for.

    Raises:
        ConfigError: the id is another environment's, or would import a module unasked.
        EnvError: the environment here is not the one the checkpoint describes.
    """
    spec = agent.spec
    if source is None:
        check_env_id(spec.id, env_id)
    changed = dataclasses.replace(spec, args={**spec.args, **(env_args or {})})
    return make_saved_env(changed, seed=seed, render=render, source=source)


def make_saved_env(
    spec: EnvSpec, *, seed: int, render: bool = False, source: Source | None = None
) -> Stream:
    """The environment of a checkpoint; whether its id may be followed has been asked before.

    Raises:
        EnvError: it cannot be made, or the one here is not the one the checkpoint describes.
    """
    try:
        env = make_env(spec.id, spec.args, spec.wrappers, seed=seed, render=render, source=source)
    except (UnknownEnvError, ConfigError) as error:  # nobody has typed it: not wrong usage
        raise EnvError(f"the checkpoint's environment: {error.message}", error.hint) from None
    found = env.spec
    if not spec.parts:  # earlier versions did not write down what an observation is made of
        found = dataclasses.replace(found, parts=(), frames_per_step=spec.frames_per_step)
    if found != spec:
        env.close()
        raise EnvError(f"{spec.id} is not the environment that the checkpoint describes")
    return env
