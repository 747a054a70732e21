"""The loop of a run: play and learn; log, save and report where it is due."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from a2c_cli.algorithm.update import DivergedError
from a2c_cli.envs.stream import ReplayError, play
from a2c_cli.errors import EnvError
from a2c_cli.film.filmer import EpisodeFilmer
from a2c_cli.tracking.session import open_trackers
from a2c_cli.training.best import Scorer, StopAskedError
from a2c_cli.training.log import MetricsLog
from a2c_cli.training.progress import Progress, Reporter, TrainResult, Warnings
from a2c_cli.training.saving import CALMER, Saver
from a2c_cli.training.state import RunState


class Training:
    """One run, from its first step or from where it was stopped.

    Args:
        state: of the run.
        device: where the updates run, in words.
        on_progress, should_stop: see `engine.train`.
    """

    def __init__(
        self,
        state: RunState,
        device: str,
        on_progress: Callable[[Progress], None] | None,
        should_stop: Callable[[], str | None],
    ) -> None:
        warnings = Warnings()
        self._state, self._should_stop, self._warn = state, should_stop, warnings.add
        scorer = Scorer(state.config, state.learner.agent, should_stop)
        self._filmer = EpisodeFilmer(
            state.env, state.directory.path, state.config.video_every, warnings.add
        )
        self._log = MetricsLog(state, scorer, warnings.add)
        self._saver = Saver(state)
        self.reporter = Reporter(state, device, on_progress, warnings)
        self._obs: Any = None  # of a resumed run: where its episode goes on

    def resume_from(self, tensors: Mapping[str, NDArray[Any]], fresh_episode: bool = False) -> None:
        """Take the state of a checkpoint, the environment's last: it replays its episode.

        Args:
            tensors: of the checkpoint.
            fresh_episode: begin a new episode instead. Where the environment cannot replay the
                old one that is done anyway, with a warning.

        Raises:
            KeyError, ValueError, TypeError, EnvError: the state does not belong to this run.
        """
        self._state.learner.set_state(tensors)
        if not self._state.counters.episode_over:
            self._filmer.begin(self._state.counters.episodes + 1)
        state = {k.removeprefix("env."): v for k, v in tensors.items() if k.startswith("env.")}
        try:
            if fresh_episode:
                raise ReplayError("a fresh episode was asked for")
            self._obs = self._state.env.set_state(state)
        except ReplayError as error:
            self._leave_episode(state, error.message)

    def _leave_episode(self, state: Mapping[str, NDArray[Any]], why: str) -> None:
        """Go on with a new episode: for the learner the old one was cut short, as by a limit."""
        counters = self._state.counters
        self._filmer.discard()
        self._state.env.skip_episode(state)
        if not counters.episode_over:
            stats = self._state.learner.cut(state["obs"], self._state.spent)
            if stats is not None:
                counters.interval.add(stats)
            self._warn(
                f"the run goes on with a fresh episode, {counters.episode_length:,} steps of the"
                f" last one are not counted: {why}"
            )
            counters.leave_episode()

    def open_trackers(self) -> None:
        """Start the trackers that the settings ask for, or resume them.

        Raises:
            A2CError: one cannot be started.
        """
        log, state = self._log, self._state
        steps = log.complete_step if state.counters.env_steps else 0
        log.trackers = open_trackers(state.directory.path, state.config, steps, self._warn)
        self.reporter.trackers = log.trackers.places
        if log.trackers and steps:
            log.catch_up()

    def close(self) -> None:
        """Drop what is unfinished and end the trackers' sessions."""
        self._filmer.discard()
        self._log.close_trackers()

    def run(self) -> TrainResult:
        """Play and learn to the end of the budget, or until asked to stop."""
        counters = self._state.counters
        if counters.env_steps == 0 or not self._state.directory.last.exists():  # new, or a branch
            self._save()  # a run that cannot be saved must fail now, not in an hour
        if self._state.over and not self._log.due:
            return self._end("completed")
        self._state.clock.start()
        self._report()
        try:
            stopped = self._play_to_the_end()
            self._save()
        except DivergedError as error:
            return self._end_diverged(f"{error.message}; {error.hint}")
        except EnvError as error:
            diverged = self._saver.divergence()
            if diverged:  # an environment may well choke on actions that are not finite
                return self._end_diverged(f"{diverged}; {CALMER}")
            self._saver.save_best()
            raise EnvError(
                f"{error.message} (after step {counters.env_steps:,})",
                f"{error.hint + '; ' if error.hint else ''}the checkpoint of step"
                f" {self._saver.saved_step:,} is kept: {self._state.directory.resume_command}",
            ) from error
        self.close()
        self._report(logged=counters.last_line == counters.env_steps)
        return self._end(stopped)

    def _play_to_the_end(self) -> str:
        """Play and learn; returns why that ended, as `TrainResult.stopped`."""
        try:
            if self._log.due:  # a stop in the middle of its evaluation has left it unwritten
                self._end_interval()
            return "completed" if self._state.over else self._play()
        except StopAskedError as stop:
            return str(stop)

    def _play(self) -> str:
        counters, learner = self._state.counters, self._state.learner
        total = self._state.config.total_steps
        if counters.episode_over:
            self._filmer.begin(counters.episodes + 1)
        start = None if counters.episode_over else self._obs
        for step in play(self._state.env, learner.act, start):
            counters.count(step)
            stats = learner.learn(step, counters.env_steps / total)
            if stats is not None:
                self.reporter.stats = stats
                counters.interval.add(stats)
            if step.episode_over:
                self._log.end_episode(self._filmer.end(), step.success)
            logged = self._log.due
            if logged:
                self._end_interval()
            if counters.env_steps >= total:
                return "completed"
            if (reason := self._should_stop()) is not None:
                return reason
            if step.episode_over:
                self._filmer.begin(counters.episodes + 1)
            if logged or step.episode_over or self.reporter.watched:
                self._tend(logged)
        raise AssertionError("play() never ends")

    def _tend(self, logged: bool) -> None:
        """Everything that is due by the clock."""
        if self.reporter.due(logged):
            self._report(logged)
        if self._saver.due:
            self._save()

    def _end_interval(self) -> None:
        best = self._log.end_interval()
        if best is not None:
            self._saver.remember_best(best)

    def _save(self) -> None:
        self._log.flush_trackers()  # a kill after this must not leave the curves behind
        self._saver.save()

    def _report(self, logged: bool = False) -> None:
        self.reporter.report(logged, self._saver.saved_step, self._filmer.films)

    def _end_diverged(self, message: str) -> TrainResult:
        self._state.directory.flush_metrics()
        self._saver.save_best()
        return self._end("diverged", message)

    def _end(self, stopped: str, message: str = "") -> TrainResult:
        self.close()
        return self.reporter.result(stopped, message)
