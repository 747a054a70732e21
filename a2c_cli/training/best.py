"""How good the agent is in mid-run, and whether that makes it the best so far."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from a2c_cli.config.given import is_instance
from a2c_cli.config.settings import Settings
from a2c_cli.envs.atari import AtariStream
from a2c_cli.envs.make import Stream
from a2c_cli.errors import ConfigError, EnvError
from a2c_cli.evaluation.episodes import MOST_STEPS, play_episodes, step_cap, success_rate
from a2c_cli.policies.agent import Agent
from a2c_cli.rng import kept_globals, make_generator
from a2c_cli.runs.loading import make_agent_env
from a2c_cli.training.counters import Counters

_FEWEST_STEPS = 1000  # of an evaluation's game, at least, before it is cut
_FEWEST_FOR_BEST = 20  # training episodes before their mean counts as a best


class StopAskedError(Exception):
    """Unwinds an evaluation when the run is asked to stop; its only argument is the reason."""


def check_second(config: Settings, agent: Agent, env: Stream) -> None:
    """Whether there can be evaluations beside the environment that is learned from.

    Raises:
        ConfigError: they need a second one, and there is but one.
    """
    if not config.eval_every or isinstance(env, AtariStream):
        return
    why = ""
    if is_instance(config.source):
        why = "TrainConfig(env=...) is one object; a function could make more"
    elif not env.replayable:
        why = "it says that it must not be replayed, as a real device does"
    else:
        try:
            with kept_globals():
                _second(agent, config.seed, config).close()
        except EnvError as error:
            why = error.message
    if why:
        raise ConfigError(
            f"--eval-every needs a second {env.spec.id} beside the one that is learned from: {why}",
            "leave --eval-every out, and evaluate when the run has ended",
        )


def _second(agent: Agent, seed: int, config: Settings) -> Stream:
    return make_agent_env(agent, seed, agent.spec.id, source=config.source)


class Scorer:
    """Scores an agent by its training episodes or by evaluations, as --best-by says.

    Evaluations draw from streams of their own: training does not notice them.
    """

    def __init__(
        self, config: Settings, agent: Agent, should_stop: Callable[[], str | None]
    ) -> None:
        self._config, self._agent, self._should_stop = config, agent, should_stop

    def score(self, counters: Counters) -> tuple[dict[str, float], float | None]:
        """The score at this step, by an evaluation if one is due.

        Returns:
            The metrics of the evaluation, empty if none is due; and the score by which the agent
            is the best so far, None if it is not. A new best by evaluation is evaluated once more
            on other seeds, and that second mean is its score: the highest of many means is high
            by luck too, and a fresh one is not.

        Raises:
            StopAskedError: the run is to stop; nothing has been changed.
        """
        c, best = self._config, counters.best_mean_return
        mean, metrics = counters.mean_return(), {}
        if c.eval_every and counters.env_steps % c.eval_every == 0:
            evaluated, successes = self._evaluate(counters.env_steps, 0)
            metrics["eval/mean_reward"] = evaluated
            if successes is not None:
                metrics["eval/success_rate"] = successes
            if c.best_by == "evaluation" and (best is None or evaluated > best):
                mean, _ = self._evaluate(counters.env_steps, 1)
                metrics["eval/confirmed_mean_reward"] = mean
                return metrics, mean if best is None or mean > best else None
        enough = c.best_by == "training" and len(counters.returns) >= _FEWEST_FOR_BEST
        if mean is not None and enough and (best is None or mean > best):
            return metrics, mean
        return metrics, None

    def _evaluate(self, env_steps: int, number: int) -> tuple[float, float | None]:
        """Mean raw return and success rate of --eval-episodes whole games, sampled from the policy.

        Every evaluation has seeds of its own: with the same ones each time, an agent that suits
        them would look better than it is for ever.
        """
        agent, episodes = self._agent, self._config.eval_episodes
        seed = int(make_generator(self._config.seed, 3, env_steps, number).integers(2**31))
        with kept_globals(), contextlib.closing(_second(agent, seed, self._config)) as env:
            games = play_episodes(
                agent, episodes, seed=seed, env=env, watch=self._check_stop,
                max_steps=step_cap(env, None) and self._most_steps,
            )  # fmt: skip
            played = list(games)
        mean = sum(episode.episode_return for episode in played) / len(played)
        return mean, success_rate(played)

    @property
    def _most_steps(self) -> int:
        """Of a game that nothing ends: looking on must not take longer than learning by far."""
        return min(MOST_STEPS, max(_FEWEST_STEPS, self._config.eval_every))

    def _check_stop(self, *step: object) -> None:
        reason = self._should_stop()
        if reason is not None:
            raise StopAskedError(reason)
