"""One run in memory: the loop that plays, learns, logs and saves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from numpy.typing import NDArray

from a2c_cli.algorithm.learner import Learner
from a2c_cli.algorithm.update import DivergedError, UpdateStats
from a2c_cli.config.settings import Settings
from a2c_cli.envs.make import Stream
from a2c_cli.envs.stream import play
from a2c_cli.errors import EnvError
from a2c_cli.film.filmer import EpisodeFilmer
from a2c_cli.runs.directory import RunDir
from a2c_cli.tracking.session import Trackers, histograms
from a2c_cli.tracking.tracker import Value
from a2c_cli.training.best import Judge, StopAskedError
from a2c_cli.training.counters import Counters, Interval
from a2c_cli.training.machine import choose_precision, peak_memory_mb
from a2c_cli.training.progress import Progress, TrainResult
from a2c_cli.training.saving import CALMER, Keeper

_TELL_SECONDS = 0.25  # between two calls of on_progress


class Training:
    """One run, from its first step or from where it was stopped.

    Args:
        run: its directory, ours.
        config: the run's settings.
        env: its stream.
        counters: how far it has come.
        device: where the updates run.
        why: that device was chosen.
        on_progress, should_stop: see `engine.train`.
    """

    def __init__(
        self,
        run: RunDir,
        config: Settings,
        env: Stream,
        counters: Counters,
        device: torch.device,
        why: str,
        on_progress: Callable[[Progress], None] | None,
        should_stop: Callable[[], str | None],
    ) -> None:
        torch.set_num_threads(config.threads)
        precision = choose_precision(config, device)
        self._run, self._config, self._env, self._counters = run, config, env, counters
        self._device = f"{device.type} ({why}), {str(precision).removeprefix('torch.')} updates"
        self._on_progress, self._should_stop = on_progress, should_stop
        self._learner = Learner(config, env.spec, device, precision)
        self._filmer = EpisodeFilmer(env, run.path, config.video_every, self.warn)
        self._judge = Judge(config, self._learner.agent, should_stop)
        self._keeper = Keeper(run, config, env, counters, self._learner, self._seconds)
        self._total = config.total_steps
        self._obs: Any = None
        self._stats: UpdateStats | None = None
        self._elapsed = 0.0
        self._started = self._told_at = time.perf_counter()
        self._first_step = counters.env_steps
        self._warnings: list[str] = []
        self._warnings_told = 0
        self.note = ""
        self.trackers = Trackers({}, self.warn)  # none, until it is given some

    def go_on_from(self, tensors: Mapping[str, NDArray[Any]], elapsed: float) -> None:
        """Take up the state of a checkpoint, the environment's last: it replays its episode.

        Raises:
            KeyError, ValueError, TypeError, EnvError: the state does not belong to this run.
        """
        self._learner.set_state(tensors)
        self._elapsed = elapsed
        if not self._counters.episode_over:
            self._filmer.begin(self._counters.episodes + 1)
        state = {k.removeprefix("env."): v for k, v in tensors.items() if k.startswith("env.")}
        self._obs = self._env.set_state(state)

    def warn(self, text: str) -> None:
        """Tell the user something that does not end the run, as soon as may be."""
        self._warnings.append(text)

    def close(self) -> None:
        """Drop what is unfinished and end the trackers' sessions."""
        self._filmer.discard()
        self.trackers.close()

    def run(self) -> TrainResult:
        """Play and learn to the end of the budget, or until asked to stop."""
        counters, keeper = self._counters, self._keeper
        if counters.env_steps == 0:
            keeper.save()  # a run that cannot be saved must fail now, not in an hour
        if counters.env_steps >= self._total and not self._line_due:
            return self._result("completed")
        self._started = time.perf_counter()
        self._tell()
        try:
            # A stop in the middle of an evaluation has left that step's line unwritten.
            stopped = self._log_interval() if self._line_due else None
            stopped = stopped or self._play()
            self._save()
        except DivergedError as error:
            self._run.flush_metrics()
            keeper.save_best()
            return self._result("diverged", f"{error.message}; {error.hint}")
        except EnvError as error:
            keeper.save_best()
            diverged = keeper.divergence()
            if diverged:  # an environment may well choke on actions that are not finite
                return self._result("diverged", f"{diverged}; {CALMER}")
            raise EnvError(
                f"{error.message} (after step {counters.env_steps:,})",
                f"{error.hint + '; ' if error.hint else ''}the checkpoint of step"
                f" {keeper.saved_step:,} is kept: {self._run.resume_command}",
            ) from error
        self.close()
        self._tell(logged=counters.last_line == counters.env_steps)
        return self._result(stopped)

    def _play(self) -> str:
        """Step and learn; returns why it ended."""
        counters, learner, total = self._counters, self._learner, self._total
        if counters.env_steps >= total:
            return "completed"
        if counters.episode_over:
            self._filmer.begin(counters.episodes + 1)
        start = None if counters.episode_over else self._obs
        for step in play(self._env, learner.act, start):
            counters.count(step)
            stats = learner.learn(step, counters.env_steps / total)
            if stats is not None:
                self._stats = stats
                counters.interval.add(stats)
            if step.episode_over:
                self._end_episode()
            logged = self._line_due
            reason = (self._log_interval() if logged else None) or self._should_stop()
            if reason is not None and (counters.env_steps < total or self._line_due):
                return reason
            if counters.env_steps >= total:
                return "completed"
            if step.episode_over:
                self._filmer.begin(counters.episodes + 1)
            if self._on_progress is not None or logged or step.episode_over:
                self._tend(logged)
        raise AssertionError("play() never ends")

    @property
    def _line_due(self) -> bool:
        steps, c = self._counters.env_steps, self._config
        due = steps % c.log_every == 0 or steps >= self._total
        due = due or bool(c.eval_every and steps % c.eval_every == 0)
        return due and steps > self._counters.last_line

    def _tend(self, logged: bool) -> None:
        """Everything that goes by the clock."""
        news = len(self._warnings) > self._warnings_told
        if logged or news or time.perf_counter() - self._told_at > _TELL_SECONDS:
            self._tell(logged)
        if self._keeper.due:
            self._save()

    def _save(self) -> None:
        self.trackers.flush()  # a kill after this must not leave the curves behind
        self._keeper.save()

    # --- what is logged

    def _end_episode(self) -> None:
        c = self._counters
        record = {
            "env_steps": c.env_steps,
            "frames": self._frames(),
            "episode": c.episodes,
            "charts/episodic_return": c.returns[-1],
            "charts/episodic_length": c.lengths[-1],
        }
        self._run.append_metrics(record)
        film = self._filmer.end()
        self._track(record if film is None else {**record, "video": film})

    def _log_interval(self) -> str | None:
        """Write the line of this step; a reason to stop instead if one comes while evaluating."""
        c = self._counters
        record: dict[str, Any] = {
            "env_steps": c.env_steps,
            "frames": self._frames(),
            "updates": self._learner.updates,
            "episodes": c.episodes,
        }
        mean = c.mean_return()
        if mean is not None:
            record["rollout/ep_rew_mean"] = mean
            record["rollout/ep_len_mean"] = sum(c.lengths) / len(c.lengths)
        record |= c.interval.metrics()
        try:
            evaluated, best = self._judge.score(c)
        except StopAskedError as stop:
            return str(stop)
        record |= evaluated
        most = self._env.spec.action.max_entropy
        spent = c.env_steps / self._total
        for text in c.guards.look(record, c.returns, c.best_mean_return, spent, most):
            self.warn(f"step {c.env_steps:,}: {text}")
        record["time/fps"] = round(self._rate(), 1)
        record["time/elapsed"] = round(self._seconds(), 2)
        self._run.append_metrics(record)
        self._run.flush_metrics()
        wanted = self._config.histograms and self.trackers
        self._track(record | (histograms(self._learner.network) if wanted else {}))
        self.trackers.flush()
        c.last_line = c.env_steps
        c.interval = Interval()
        if best is not None:
            self._keeper.remember_best(best)
        return None

    def _track(self, record: Mapping[str, Value]) -> None:
        values = {name: value for name, value in record.items() if name != "env_steps"}
        self.trackers.log(self._counters.env_steps, values)

    # --- what is told

    def _frames(self) -> int:
        return self._counters.env_steps * self._env.spec.frame_skip

    def _seconds(self) -> float:
        return self._elapsed + time.perf_counter() - self._started

    def _rate(self) -> float:
        steps = self._counters.env_steps - self._first_step
        return steps / max(time.perf_counter() - self._started, 1e-9)

    def _tell(self, logged: bool = False) -> None:
        """Say where the run stands to whoever watches it."""
        self._told_at = time.perf_counter()
        if self._on_progress is None:
            return
        c, spec = self._counters, self._env.spec
        warnings = tuple(self._warnings[self._warnings_told :])
        self._warnings_told = len(self._warnings)
        self._on_progress(
            Progress(
                run_dir=self._run.path,
                env_id=self._config.env,
                device=self._device,
                env_steps=c.env_steps,
                total_steps=self._total,
                frames=self._frames(),
                total_frames=self._total * spec.frame_skip,
                updates=self._learner.updates,
                episodes=c.episodes,
                steps_per_second=self._rate(),
                recent_returns=tuple(c.returns),
                mean_return_100=c.mean_return(),
                best_mean_return=c.best_mean_return,
                best_by=self._config.best_by,
                trackers=self.trackers.places,
                max_entropy=spec.action.max_entropy,
                stats=self._stats,
                logged=logged,
                memory_mb=peak_memory_mb(),
                saved_step=self._keeper.saved_step,
                films=self._filmer.films,
                note=self.note,
                warnings=warnings,
            )
        )

    def _result(self, stopped: str, message: str = "") -> TrainResult:
        self.close()
        c = self._counters
        return TrainResult(
            run_dir=self._run.path,
            last=self._run.last,
            best=self._run.best if self._run.best.exists() else None,
            env_steps=c.env_steps,
            frames=self._frames(),
            updates=self._learner.updates,
            episodes=c.episodes,
            mean_return_100=c.mean_return(),
            steps_per_second=self._rate(),
            stopped=stopped,
            warnings=tuple(self._warnings),
            message=message,
            resume_command=self._run.resume_command,
        )
