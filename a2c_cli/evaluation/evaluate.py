"""Evaluation: whole games, raw scores, and the same seed the same result however many at once."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from a2c_cli.envs.make import Stream
from a2c_cli.envs.spec import Obs
from a2c_cli.envs.stream import play
from a2c_cli.errors import ConfigError, EnvError
from a2c_cli.evaluation.scores import reference_scores
from a2c_cli.evaluation.statistics import human_normalized, summarize
from a2c_cli.policies.agent import Agent, Decision
from a2c_cli.rng import make_generator
from a2c_cli.runs import checkpoint
from a2c_cli.runs.loading import agent_from, load_agent, make_agent_env

_SLOTS = 10  # independent streams of one evaluation; a constant, so that results do not
# depend on how many processes play them


@dataclass(frozen=True)
class Episode:
    """One whole game: raw score and agent steps."""

    episode_return: float
    length: int


def play_episodes(
    agent: Agent,
    episodes: int,
    *,
    seed: int,
    env: Stream,
    greedy: bool = False,
    max_steps: int | None = None,
    before_step: Callable[[], None] = lambda: None,
    watch: Callable[[Obs, Decision, Episode], None] | None = None,
) -> Iterator[Episode]:
    """Whole episodes one after the other, with random numbers of their own.

    The agent that is passed in is left as it is. `before_step` may end it all by raising;
    `watch` sees each observation, what was decided on it, and the episode so far.
    """

    def act(obs: Obs) -> Any:
        before_step()
        decision = player.decide(obs, greedy)
        if watch is not None:
            watch(obs, decision, Episode(total, length))
        return player.spec.action.to_env(decision.action)

    player = Agent(agent.spec, agent.layout, agent.weights, agent.normalizer)
    player.reseed(seed, 2)
    for _ in range(episodes):
        total, length = 0.0, 0
        for step in play(env, act):
            total += step.reward
            length += 1
            if step.episode_over or length == max_steps:
                break
        yield Episode(total, length)


def _play_slot(
    task: tuple[str, int, int, bool, str | None, int | None], on_episode: Callable[[], None]
) -> list[Episode]:
    path, episodes, seed, greedy, env_id, max_steps = task
    played = []
    with threadpool_limits(1, user_api="blas"):
        agent = load_agent(path)
        env = make_agent_env(agent, seed, env_id)
        try:
            for episode in play_episodes(
                agent, episodes, seed=seed, env=env, greedy=greedy, max_steps=max_steps
            ):
                played.append(episode)
                on_episode()
        finally:
            env.close()
    return played


_finished: Any = None  # in a worker: the parent's semaphore, released once for every game


def _play_slot_in_worker(task: tuple[Any, ...]) -> list[Episode]:
    return _play_slot(task, _finished.release)


def _start_worker(finished: Any) -> None:
    """A worker whose parent was killed would wait for ever for the next task: it must end."""
    global _finished
    _finished = finished

    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _workers(count: int) -> Iterator[tuple[ProcessPoolExecutor, Any]]:
    """A pool of processes that is gone when this ends, however it ends, and its semaphore."""
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    finished = context.Semaphore(0)
    pool = ProcessPoolExecutor(count, context, _start_worker, (finished,))
    try:
        yield pool, finished
    except BaseException:
        for worker in set(multiprocessing.active_children()) - others:
            worker.kill()
        raise
    finally:
        pool.shutdown()


def _play_in_workers(
    tasks: list[tuple[Any, ...]], jobs: int, on_episode: Callable[[], None]
) -> list[list[Episode]]:
    with _workers(jobs) as (pool, finished):
        # Ctrl-C reaches the whole process group; only the parent answers it. Workers inherit
        # the mask from their first moment on.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            slots = [pool.submit(_play_slot_in_worker, task) for task in tasks]
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        try:
            playing = True
            while playing:
                done, others = wait(slots, timeout=0.2, return_when=FIRST_EXCEPTION)
                while finished.acquire(block=False):
                    on_episode()
                playing = bool(others) and not any(slot.exception() for slot in done)
            return [slot.result() for slot in slots]
        except BrokenProcessPool:
            raise EnvError("a process of the evaluation died", "try --jobs 1") from None


def evaluate(
    path: Path | str,
    episodes: int = 100,
    *,
    greedy: bool = False,
    seed: int = 0,
    jobs: int = 1,
    env_id: str | None = None,
    max_steps: int | None = None,
    on_episode: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Play whole games with a checkpoint's agent and sum up the raw scores.

    The episodes are dealt out to a fixed number of slots before the first is played, each with
    its own stream of random numbers; so short games are not favoured, and the result depends on
    the seed alone, not on the number of processes.

    Args:
        path: the checkpoint file.
        episodes: whole games to play, ≥ 1.
        greedy: take the most probable action instead of sampling from the policy.
        seed: of everything random.
        jobs: processes. More than one needs a main module that can be imported, as everything
            that spawns processes does.
        env_id: see `make_agent_env`.
        max_steps: end an episode after so many agent steps (a policy may wait for ever).
        on_episode: called for every game that is over, in this process.

    Returns:
        The keys of `a2c evaluate --json`.

    Raises:
        A2CError: see `errors`.
    """
    if episodes < 1:
        raise ConfigError(f"--episodes must be at least 1, not {episodes}")
    header, tensors = checkpoint.read_checkpoint(Path(path))
    agent = agent_from(header, tensors)
    env = make_agent_env(agent, seed, env_id)
    protocol = dict(env.protocol)
    env.close()
    slots = min(_SLOTS, episodes)
    counts = [episodes // slots + (slot < episodes % slots) for slot in range(slots)]
    tasks = [
        (
            str(path),
            count,
            int(make_generator(seed, slot).integers(2**31)),
            greedy,
            env_id,
            max_steps,
        )
        for slot, count in enumerate(counts)
    ]
    if jobs == 1:
        played = [_play_slot(task, on_episode) for task in tasks]
    else:
        played = _play_in_workers(tasks, min(jobs, slots), on_episode)
    finished = [episode for slot in played for episode in slot]
    returns = [episode.episode_return for episode in finished]
    reference = reference_scores(header.spec.id)
    statistics = summarize(np.array(returns))
    return {
        "checkpoint": str(path),
        "env_id": header.spec.id,
        "policy": "greedy" if greedy else "sampled",
        "episodes": episodes,
        "seed": seed,
        "returns": returns,
        "lengths": [episode.length for episode in finished],
        **statistics,
        "random_mean": None if reference is None else reference[0],
        "human_normalized": None
        if reference is None
        else human_normalized(statistics["mean"], *reference),
        "protocol": {
            **protocol,
            "rewards": "raw",
            "life_loss": "ignored: an episode is a whole game",
            "step_cap": max_steps,
        },
    }


def available_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
