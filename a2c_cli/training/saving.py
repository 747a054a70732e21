"""What a run keeps: its last checkpoint, its best one, and never a bad one."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from a2c_cli.algorithm.learner import Learner
from a2c_cli.algorithm.update import DivergedError
from a2c_cli.config.settings import Settings
from a2c_cli.envs.make import Stream
from a2c_cli.runs import checkpoint
from a2c_cli.runs.directory import BEST, RunDir
from a2c_cli.runs.header import Header
from a2c_cli.runs.loading import acts_finitely
from a2c_cli.training.counters import Counters

CALMER = "try a smaller --learning-rate"


class Keeper:
    """Writes the checkpoints of one run.

    Args:
        run, config, env, counters, learner: of the run.
        elapsed: seconds of training so far, those before a resume included.
    """

    def __init__(
        self,
        run: RunDir,
        config: Settings,
        env: Stream,
        counters: Counters,
        learner: Learner,
        elapsed: Callable[[], float],
    ) -> None:
        self._run, self._config, self._env = run, config, env
        self._counters, self._learner, self._elapsed = counters, learner, elapsed
        self._best: bytes | None = None
        self._saved_at = time.perf_counter()
        self.saved_step = counters.env_steps  # of the last checkpoint on disk

    @property
    def due(self) -> bool:
        """Whether --save-every minutes have gone by since the last save."""
        minutes = self._config.save_every
        return bool(minutes) and time.perf_counter() - self._saved_at > 60.0 * minutes

    def save(self) -> None:
        """The last checkpoint, and the best before it: a killed run resumes from the last."""
        data = self._encode()
        self.save_best()
        self._run.flush_metrics(sync=True)
        self._run.save(data)
        self._saved_at = time.perf_counter()
        self.saved_step = self._counters.env_steps

    def remember_best(self, score: float) -> None:
        """The agent is now the best so far.

        Its checkpoint stays in memory until the next save: early on, nearly every line of
        metrics brings a new best.
        """
        self._counters.best_mean_return = score
        self._best = self._encode()

    def save_best(self) -> None:
        """Write the best checkpoint if there is a new one."""
        if self._best is not None:
            self._run.save(self._best, BEST)
            self._best = None

    def divergence(self) -> str | None:
        """What is not finite in the weights or in what they give; None if all is well."""
        agent, updates = self._learner.agent, self._learner.updates
        for name, weights in agent.weights.items():
            if not np.isfinite(weights).all():
                return f"{name} is no longer finite after {updates} updates"
        if not acts_finitely(agent):
            return f"policy or value is no longer finite after {updates} updates"
        return None

    def _encode(self) -> bytes:
        # Between two updates nobody asks; what is kept must be good.
        diverged = self.divergence()
        if diverged:
            raise DivergedError(diverged, CALMER)
        env = {f"env.{name}": array for name, array in self._env.get_state().items()}
        return checkpoint.encode(self._header(), self._learner.get_state() | env)

    def _header(self) -> Header:
        c = self._counters
        return Header(
            config=self._config,
            spec=self._env.spec,
            env_steps=c.env_steps,
            updates=self._learner.updates,
            episodes=c.episodes,
            recent_returns=tuple(c.returns),
            best_mean_return=c.best_mean_return,
            progress={
                **c.private(),
                "metrics_bytes": self._run.flush_metrics(),
                "elapsed": self._elapsed(),
            },
            versions=_versions(),
        )


@functools.cache
def _versions() -> dict[str, Any]:
    packages = ("a2c-cli", "torch", "numpy", "gymnasium", "ale-py")
    return {"python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in packages
    }
