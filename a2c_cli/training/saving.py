"""The checkpoints of a run: its last one, its best one, and never a bad one."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import time
from typing import Any

import numpy as np

from a2c_cli.algorithm.update import DivergedError
from a2c_cli.runs import checkpoint
from a2c_cli.runs.directory import BEST
from a2c_cli.runs.header import Header
from a2c_cli.runs.loading import acts_finitely
from a2c_cli.training.state import RunState
from a2c_cli.version import DISTRIBUTION, VERSION

_FIRST = 0.5  # minutes until the first save that comes by the clock
CALMER = "try a smaller --learning-rate"


class Saver:
    """Writes the checkpoints of a run."""

    def __init__(self, state: RunState) -> None:
        self._state = state
        self._best: bytes | None = None
        self._saved_at = time.perf_counter()
        self._first = True
        self.saved_step = state.counters.env_steps  # of the last checkpoint on disk

    @property
    def due(self) -> bool:
        """Whether --save-every minutes have gone by since the last save; at first, half a one."""
        minutes = self._state.config.save_every
        waits = min(minutes, _FIRST) if self._first else minutes
        if not minutes or time.perf_counter() - self._saved_at <= 60.0 * waits:
            return False
        self._first = False
        return True

    def save(self) -> None:
        """The last checkpoint, and the best before it: a killed run resumes from the last."""
        data = self._encode()
        self.save_best()
        self._state.directory.flush_metrics(sync=True)
        self._state.directory.save(data)
        self._saved_at = time.perf_counter()
        self.saved_step = self._state.counters.env_steps

    def remember_best(self, score: float) -> None:
        """The agent is now the best so far.

        Its checkpoint stays in memory until the next save: early on, nearly every interval brings a
        new best.
        """
        self._state.counters.best_mean_return = score
        self._best = self._encode()

    def save_best(self) -> None:
        """Write the best checkpoint if there is a new one."""
        if self._best is not None:
            self._state.directory.save(self._best, BEST)
            self._best = None

    def divergence(self) -> str | None:
        """What is not finite in the weights or in what they give; None if all is well."""
        agent, updates = self._state.learner.agent, self._state.learner.updates
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
        env = {f"env.{name}": array for name, array in self._state.env.get_state().items()}
        return checkpoint.encode(self._header(), self._state.learner.get_state() | env)

    def _header(self) -> Header:
        c = self._state.counters
        return Header(
            config=self._state.config,
            spec=self._state.env.spec,
            env_steps=c.env_steps,
            updates=self._state.learner.updates,
            episodes=c.episodes,
            recent_returns=tuple(c.returns),
            best_mean_return=c.best_mean_return,
            progress={
                **c.private(),
                "metrics_bytes": self._state.directory.flush_metrics(),
                "elapsed": self._state.clock.seconds,
            },
            versions=_versions(),
        )


@functools.cache
def _versions() -> dict[str, Any]:
    packages = ("torch", "numpy", "gymnasium", "ale-py")
    own = {"python": platform.python_version(), DISTRIBUTION: VERSION}
    return own | {name: importlib.metadata.version(name) for name in packages}
