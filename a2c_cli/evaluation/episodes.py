"""Whole games of an agent, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from a2c_cli.envs.make import Stream
from a2c_cli.envs.spec import Obs
from a2c_cli.envs.stream import play
from a2c_cli.policies.agent import Agent, Decision


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
    watch: Callable[[Obs, Decision, Episode], None] | None = None,
) -> Iterator[Episode]:
    """Whole episodes one after the other, with random numbers of their own.

    The agent that is passed in is left as it is. `watch` sees each observation, what was decided on
    it, and the episode so far; it may end it all by raising.
    """

    def act(obs: Obs) -> Any:
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
