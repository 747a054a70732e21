"""Evaluation: whole games, raw scores, and the same seed the same result however many at once."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from a2c_cli.config.checks import EnvArg
from a2c_cli.config.given import Source, is_instance
from a2c_cli.envs.make import Stream
from a2c_cli.errors import ConfigError, EnvError
from a2c_cli.evaluation.episodes import Episode, play_episodes, step_cap, success_rate, told
from a2c_cli.evaluation.scores import reference_scores
from a2c_cli.evaluation.statistics import human_normalized, summarize, wilson_ci
from a2c_cli.evaluation.workers import Died, Workers
from a2c_cli.policies.agent import Agent
from a2c_cli.rng import make_generator
from a2c_cli.runs import checkpoint
from a2c_cli.runs.checkpoint import Tensors
from a2c_cli.runs.finding import find_checkpoint
from a2c_cli.runs.header import Header
from a2c_cli.runs.loading import agent_from, as_named, given_id, make_agent_env, trusted_id

# Independent streams of one evaluation; a constant, so that results do not depend on how many
# processes play them.
_SLOTS = 10


@dataclass(frozen=True)
class _Slot:
    """A share of an evaluation's games, with a stream of random numbers of its own."""

    header: Header
    tensors: Tensors  # those of the agent
    episodes: int
    seed: int
    greedy: bool
    env_id: str | None
    env_args: Mapping[str, EnvArg] | None
    max_steps: int | None
    source: Source | None = None

    def agent(self) -> Agent:
        return agent_from(self.header, self.tensors)

    def make_env(self) -> Stream:
        return make_agent_env(
            self.agent(), self.seed, self.env_id, self.env_args, source=self.source
        )

    def play(self, env: Stream, on_episode: Callable[[], None]) -> list[Episode]:
        played = []
        with threadpool_limits(1, user_api="blas"):
            for episode in play_episodes(
                self.agent(),
                self.episodes,
                seed=self.seed,
                env=env,
                greedy=self.greedy,
                max_steps=self.max_steps,
            ):
                played.append(episode)
                on_episode()
        return played


def _play_slots(
    slots: Sequence[_Slot], on_episode: Callable[[], None], env: Stream
) -> list[list[Episode]]:
    """Every slot's episodes in this process.

    Each slot has an environment of its own, so that no game depends on another slot's; but one
    that can be built only once, as a robot's driver, is built once.

    Args:
        env: the first slot's; it is closed.
    """
    played: list[list[Episode]] = []
    alone = not env.replayable or is_instance(slots[0].source)
    try:
        played.append(slots[0].play(env, on_episode))
        for slot in slots[1:]:
            if not alone:
                try:
                    another = slot.make_env()
                except EnvError:  # though it could be made before
                    alone = True
                else:
                    env.close()
                    env = another
            if alone:
                env.restart(slot.seed)
            played.append(slot.play(env, on_episode))
    finally:
        env.close()
    return played


def _play_in_workers(
    slots: Sequence[_Slot], jobs: int, on_episode: Callable[[], None]
) -> list[list[Episode]]:
    """Every slot's episodes, where each of `jobs` processes plays every jobs-th slot."""
    played: list[list[Episode]] = [[] for _ in slots]
    with contextlib.closing(Workers()) as workers:
        for job in range(jobs):
            workers.start(job, _play_share, slots[job::jobs])
        playing = jobs
        while playing:
            for job, message in workers.poll(0.2):
                if message is None:
                    on_episode()
                    continue
                if isinstance(message, Died):
                    raise EnvError("a process of the evaluation died", "try --jobs 1")
                if isinstance(message.value, Exception):
                    raise message.value
                played[job::jobs] = message.value
                playing -= 1
    return played


def _play_share(slots: Sequence[_Slot], pipe: Connection) -> list[list[Episode]] | Exception:
    """In a worker: the parent is told of every game that is over, and this ends when it does."""

    def watch() -> None:
        with contextlib.suppress(EOFError, OSError):
            pipe.recv()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    try:
        return _play_slots(slots, lambda: pipe.send(None), slots[0].make_env())
    except Exception as error:
        return error


def evaluate(
    path: Path | str,
    episodes: int = 100,
    *,
    greedy: bool = False,
    seed: int = 0,
    jobs: int = 1,
    env_id: str | None = None,
    env_args: Mapping[str, EnvArg] | None = None,
    max_steps: int | None = None,
    env: Any = None,
    on_episode: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Play whole games with a checkpoint's agent and sum up the raw scores.

    The episodes are dealt out to a fixed number of slots before the first is played, each with
    its own stream of random numbers; so short games are not favoured, and the result depends on
    the seed alone, not on the number of processes.

    Args:
        path: the checkpoint, as in `load_agent`.
        episodes: whole games to play, ≥ 1.
        greedy: take the most probable action instead of sampling from the policy.
        seed: of everything random.
        jobs: processes; one where the environment must not be replayed. More than one needs a main
            module that can be imported, as everything that spawns processes does.
        env_id, env_args: see `make_agent_env`.
        max_steps: end an episode after so many agent steps (a policy may wait for ever).
        env: of a run whose `TrainConfig(env=...)` was an object: the same once more. All games are
            played in this process, and with an environment itself all in that one.
        on_episode: called for every game that is over, in this process.

    Returns:
        The keys of `a2c evaluate --json`.

    Raises:
        A2CError: see `errors`.
    """
    if episodes < 1:
        raise ConfigError(f"--episodes must be at least 1, not {episodes}")
    path = find_checkpoint(Path(path))
    header, tensors = checkpoint.read_checkpoint(path)
    if env is None:
        env_id = trusted_id(path, header.spec.id, env_id)
        header = as_named(header, env_id)
    else:
        env_id = given_id(header, env)
        if jobs != 1:
            raise ConfigError(f"jobs must be 1, not {jobs}, where env= is an object")
    agent = agent_from(header, tensors)  # all slots play this one, whatever is saved meanwhile
    tensors = {n: a for n, a in tensors.items() if n.startswith(("network.", "normalizer."))}
    slots = min(_SLOTS, episodes)
    counts = [episodes // slots + (slot < episodes % slots) for slot in range(slots)]
    seeds = [int(make_generator(seed, slot).integers(2**31)) for slot in range(slots)]
    stream = make_agent_env(agent, seeds[0], env_id, env_args, source=env)
    protocol, max_steps = dict(stream.protocol), step_cap(stream, max_steps)
    shares = [
        _Slot(header, tensors, count, slot_seed, greedy, env_id, env_args, max_steps, env)
        for count, slot_seed in zip(counts, seeds, strict=True)
    ]
    if jobs == 1 or not stream.replayable:  # a real device is there once
        played = _play_slots(shares, on_episode, stream)
    else:
        stream.close()
        played = _play_in_workers(shares, min(jobs, slots), on_episode)
    args = {**header.spec.args, **(env_args or {})}
    return {
        "checkpoint": str(path),
        "env_id": header.spec.id,
        "env_args": args,
        "policy": "greedy" if greedy else "sampled",
        "episodes": episodes,
        "seed": seed,
        **_sum_up(header, args, [episode for slot in played for episode in slot], max_steps),
        "protocol": {
            **protocol,
            "rewards": "raw",
            "life_loss": "ignored: an episode is a whole game",
            "step_cap": max_steps,
        },
    }


def _sum_up(
    header: Header, args: Mapping[str, Any], played: Sequence[Episode], max_steps: int | None
) -> dict[str, Any]:
    returns = [episode.episode_return for episode in played]
    cut = sum(episode.cut for episode in played)
    statistics = summarize(np.array(returns))
    reference = reference_scores(
        header.spec.id, args, header.spec.frame_skip, max_steps if cut else None
    )
    mean = statistics["mean"]
    said = told(played)
    return {
        "returns": returns,
        "lengths": [episode.length for episode in played],
        "cut": cut,
        **statistics,
        "success_rate": success_rate(played),
        "success_ci95": list(wilson_ci(sum(said), len(said))) if said else None,
        "success_episodes": len(said),
        "random_mean": None if reference is None else reference[0],
        "human_normalized": None if reference is None else human_normalized(mean, *reference),
    }
