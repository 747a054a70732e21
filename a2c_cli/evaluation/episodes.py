"""Whole games of an agent, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from a2c_cli.envs.make import Stream
from a2c_cli.envs.spec import Obs
from a2c_cli.envs.stream import play
from a2c_cli.policies.agent import Agent, Decision

MOST_STEPS = 27_000  # of an episode that has no limit: as many as the 108,000 frames of ALE


@dataclass(frozen=True)
class Episode:
    """One whole game: raw score, agent steps, and whether it succeeded where that is said.

    `cut`: it had not ended after as many steps as it was given.
    """

    episode_return: float
    length: int
    success: bool | None = None
    cut: bool = False


def told(played: Sequence[Episode]) -> list[bool]:
    """Whether each episode succeeded, of those of which the environment said so."""
    return [episode.success for episode in played if episode.success is not None]


def success_rate(played: Sequence[Episode]) -> float | None:
    """The share of successes among the episodes that `told`; None where there are none."""
    successes = told(played)
    return sum(successes) / len(successes) if successes else None


def step_cap(env: Stream, asked: int | None) -> int | None:
    """Steps after which an episode is cut short; None where the environment ends it by itself.

    Args:
        asked: by the user, or None.
    """
    limited = env.protocol.get("step_limit") or env.protocol.get("frame_limit")
    return MOST_STEPS if asked is None and not limited else asked


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
    it, and the episode so far; it may end it all by raising. Where nothing limits an episode, it
    ends after `MOST_STEPS`.
    """

    def act(obs: Obs) -> Any:
        decision = player.decide(obs, greedy)
        if watch is not None:
            watch(obs, decision, Episode(total, length))
        return player.spec.action.to_env(decision.action)

    most = step_cap(env, max_steps)
    player = Agent(agent.spec, agent.layout, agent.weights, agent.normalizer)
    player.reseed(seed, 2)
    for _ in range(episodes):
        total, length = 0.0, 0
        for step in play(env, act):
            total += step.reward
            length += 1
            if step.episode_over or length == most:
                break
        yield Episode(total, length, step.success, cut=not step.episode_over)
