"""What a run consists of while it is in memory."""

from __future__ import annotations

import time
from dataclasses import dataclass

from a2c_cli.algorithm.learner import Learner
from a2c_cli.config.settings import Settings
from a2c_cli.envs.make import Stream
from a2c_cli.runs.directory import RunDir
from a2c_cli.training.counters import Counters


class Clock:
    """How long a run has taken, and how fast it is.

    Args:
        env_steps: how far the run has come when this process takes it up.
        before: seconds of training in earlier processes.
    """

    def __init__(self, env_steps: int = 0, before: float = 0.0) -> None:
        self._first_step, self._before = env_steps, before
        self.start()

    def start(self) -> None:
        """Training begins now; what has been prepared so far does not count."""
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds of training, those before a resume included."""
        return self._before + time.perf_counter() - self._started

    def rate(self, env_steps: int) -> float:
        """Agent steps per second of this process."""
        return (env_steps - self._first_step) / max(time.perf_counter() - self._started, 1e-9)


@dataclass(frozen=True)
class RunState:
    """One run in memory: the loop changes it; what logs, saves and reports reads it.

    Args:
        directory: of the run, ours.
        config: the run's settings.
        env: its stream.
        learner: acts and learns.
        counters: how far it has come.
        clock: how long that took.
    """

    directory: RunDir
    config: Settings
    env: Stream
    learner: Learner
    counters: Counters
    clock: Clock

    @property
    def frames(self) -> int:
        """Emulator frames so far."""
        return self.counters.env_steps * self.env.spec.frame_skip

    @property
    def spent(self) -> float:
        """Share of the budget, for the schedules."""
        return self.counters.env_steps / self.config.total_steps

    @property
    def over(self) -> bool:
        """Whether the budget has been spent."""
        return self.counters.env_steps >= self.config.total_steps

    @property
    def rate(self) -> float:
        """Agent steps per second of this process."""
        return self.clock.rate(self.counters.env_steps)
