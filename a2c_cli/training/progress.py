"""What a run reports of itself: while it goes, and when it has ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from a2c_cli.algorithm.update import UpdateStats
from a2c_cli.training.machine import peak_memory_mb
from a2c_cli.training.state import RunState
from a2c_cli.training.summary import summarize_sight

_REPORT_SECONDS = 0.25  # between two calls of on_progress


@dataclass(frozen=True)
class TrainResult:
    """How a run ended; the keys of `a2c train --json`, but for the last two."""

    run_dir: Path
    last: Path
    best: Path | None
    env_steps: int
    frames: int
    updates: int
    episodes: int
    mean_return_100: float | None
    steps_per_second: float
    stopped: str  # completed, interrupted, terminated or diverged
    warnings: tuple[str, ...] = ()
    reward_rate: float | None = None  # mean reward of a step in the last interval
    success_rate: float | None = None  # of the last 100 episodes that told; None if none did
    message: str = ""
    resume_command: str = ""  # quoted for a shell


@dataclass(frozen=True)
class Progress:
    """Where a run stands, for whoever watches it."""

    run_dir: Path
    env_id: str
    device: str
    env_steps: int
    total_steps: int
    frames: int
    total_frames: int
    updates: int
    episodes: int
    steps_per_second: float
    seconds: float  # of training, those before a resume included
    recent_returns: tuple[float, ...]
    mean_return_100: float | None
    reward_rate: float | None  # mean reward of a step in the last interval
    best_mean_return: float | None
    best_by: str  # what `best_mean_return` is a mean of: `training` or `evaluation`
    trackers: tuple[str, ...]  # where to look at each
    max_entropy: float | None  # nats; None for a Gaussian, whose entropy has no maximum
    stats: UpdateStats | None
    logged: bool  # whether an entry of metrics.jsonl has just been written
    memory_mb: float  # the most that the process has had resident
    saved_step: int  # env_steps of last.safetensors
    films: int  # finished in videos/ since this process began
    success_rate: float | None = None  # of the last 100 episodes that told
    summary: str = ""  # what was made of the environment
    note: str = ""  # what the user should know about how this run was resumed
    warnings: tuple[str, ...] = ()  # those that are new since the last Progress


class Warnings:
    """What the user should hear of that does not end the run."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._reported = 0

    def add(self, text: str) -> None:
        """One more, to be reported as soon as may be."""
        self.all.append(text)

    @property
    def waiting(self) -> bool:
        """Whether there are some that have not been reported."""
        return len(self.all) > self._reported

    def take(self) -> tuple[str, ...]:
        """Those that have not been reported; now they have."""
        new, self._reported = tuple(self.all[self._reported :]), len(self.all)
        return new


class Reporter:
    """Reports a run to whoever watches it.

    Args:
        state: of the run.
        device: where the updates run, in words.
        on_progress: see `engine.train`.
        warnings: of the run.
    """

    def __init__(
        self,
        state: RunState,
        device: str,
        on_progress: Callable[[Progress], None] | None,
        warnings: Warnings,
    ) -> None:
        self._state, self._device, self._warnings = state, device, warnings
        self._on_progress = on_progress
        self._reported_at = time.perf_counter()
        self.stats: UpdateStats | None = None  # of the newest update
        self.trackers: tuple[str, ...] = ()  # where to look at each
        layout = state.learner.network.layout
        self._summary = summarize_sight(state.env.spec, layout, state.config.network)
        self.note = ""  # what the user should know about how this run was resumed

    @property
    def watched(self) -> bool:
        """Whether anybody listens."""
        return self._on_progress is not None

    def due(self, logged: bool) -> bool:
        """Whether it is time for a report.

        Args:
            logged: whether an entry of metrics.jsonl has just been written.
        """
        waited = time.perf_counter() - self._reported_at
        return logged or self._warnings.waiting or waited > _REPORT_SECONDS

    def report(self, logged: bool, saved_step: int, films: int) -> None:
        """Report where the run stands; `saved_step` and `films` as in `Progress`."""
        self._reported_at = time.perf_counter()
        if self._on_progress is None:
            return
        state, c, spec = self._state, self._state.counters, self._state.env.spec
        self._on_progress(
            Progress(
                run_dir=state.directory.path,
                env_id=state.config.env,
                device=self._device,
                env_steps=c.env_steps,
                total_steps=state.config.total_steps,
                frames=state.frames,
                total_frames=state.config.total_steps * spec.frame_skip,
                updates=state.learner.updates,
                episodes=c.episodes,
                steps_per_second=state.rate,
                seconds=state.clock.seconds,
                recent_returns=tuple(c.returns),
                mean_return_100=c.mean_return(),
                reward_rate=c.reward_rate,
                best_mean_return=c.best_mean_return,
                best_by=state.config.best_by,
                trackers=self.trackers,
                max_entropy=spec.action.max_entropy,
                stats=self.stats,
                logged=logged,
                memory_mb=peak_memory_mb(),
                saved_step=saved_step,
                films=films,
                success_rate=c.success_rate(),
                summary=self._summary,
                note=self.note,
                warnings=self._warnings.take(),
            )
        )

    def result(self, stopped: str, message: str) -> TrainResult:
        """How the run ended."""
        state, c, directory = self._state, self._state.counters, self._state.directory
        return TrainResult(
            run_dir=directory.path,
            last=directory.last,
            best=directory.best if directory.best.exists() else None,
            env_steps=c.env_steps,
            frames=state.frames,
            updates=state.learner.updates,
            episodes=c.episodes,
            mean_return_100=c.mean_return(),
            reward_rate=c.reward_rate,
            success_rate=c.success_rate(),
            steps_per_second=state.rate,
            stopped=stopped,
            warnings=tuple(self._warnings.all),
            message=message,
            resume_command=directory.resume_command,
        )
