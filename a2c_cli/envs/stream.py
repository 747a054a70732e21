"""The one loop that train, evaluate and record share: an endless stream of transitions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from a2c_cli.envs.spec import Obs
from a2c_cli.errors import EnvError


class ReplayError(EnvError):
    """The episode that a checkpoint was saved in cannot be brought back; the message says why."""


class Transition(NamedTuple):
    """One agent step. `next_obs` is the last observation of its episode where that is over.

    `success` is what `info["is_success"]` said last in this episode, None where it said nothing.
    """

    action: Any
    reward: float
    terminated: bool
    truncated: bool
    life_lost: bool
    next_obs: Obs
    success: bool | None = None

    @property
    def episode_over(self) -> bool:
        """Whether the stream resets after this step."""
        return self.terminated or self.truncated


def play(env: Any, act: Callable[[Obs], Any], obs: Obs | None = None) -> Iterator[Transition]:
    """Act in one environment for ever, resetting it whenever an episode is over.

    The reset comes when the next transition is asked for, so a caller that stops at the end of
    an episode leaves the environment there.

    Args:
        env: a stream of `make_env`.
        act: the environment's action for an observation; called exactly once a step.
        obs: where to go on in mid-episode; None starts with a reset.
    """
    while True:
        if obs is None:
            obs = env.reset()
        lives = env.lives
        action = act(obs)
        next_obs, reward, terminated, truncated = env.step(action)
        life_lost = env.lives < lives
        obs = None if terminated or truncated else next_obs
        yield Transition(action, reward, terminated, truncated, life_lost, next_obs, env.success)
