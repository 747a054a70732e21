"""Training: the loop that plays, learns, logs, saves and resumes."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from a2c_cli import checkpoint
from a2c_cli.bookkeeping import Counters, Interval, is_number
from a2c_cli.checkpoint import Header
from a2c_cli.config import TrainConfig, option, settings, to_toml
from a2c_cli.defaults import resolve
from a2c_cli.device import choose_device, choose_precision
from a2c_cli.envs.make import Stream, make_env, probe
from a2c_cli.envs.spec import WRAPPERS
from a2c_cli.errors import CheckpointError, ConfigError, EnvError, RunDirError
from a2c_cli.evaluation import (
    acts_finitely,
    agent_from,
    check_env_id,
    make_agent_env,
    make_saved_env,
    play_episodes,
)
from a2c_cli.learner import DivergedError, Learner, UpdateStats
from a2c_cli.optimizers import SLOTS
from a2c_cli.policies.layout import make_layout
from a2c_cli.rollout import play
from a2c_cli.run import BEST, LAST, METRICS, RunDir, new_run_path

_CALMER = "try a smaller --learning-rate"
_FEWEST_FOR_BEST = 20  # episodes before a mean counts as a best


@dataclass(frozen=True)
class TrainResult:
    """How a run ended; the keys of `a2c train --json`."""

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
    message: str = ""


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
    recent_returns: tuple[float, ...]
    mean_return_100: float | None
    best_mean_return: float | None
    max_entropy: float | None  # nats; None for a Gaussian, whose entropy has no maximum
    stats: UpdateStats | None
    logged: bool  # whether a line of metrics.jsonl has just been written
    note: str = ""  # what the user should know about how this run was resumed


def train(
    config: TrainConfig | None = None,
    *,
    run_dir: Path | str | None = None,
    resume: Path | str | None = None,
    changes: Mapping[str, Any] | None = None,
    env_id: str | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], str | None] = lambda: None,
) -> TrainResult:
    """Train from one stream, from the start or from where a run was stopped.

    Args:
        config: of a new run; unset settings take the defaults of its kind of environment.
        run_dir: of a new run; a new directory under ./checkpoints if None.
        resume: the run directory (or its `last.safetensors`) to go on with, in place.
        changes: settings to change on resume; only those that nothing learned depends on.
        env_id: of the run to resume; needed only if it imports a module (`module:Id`), which is
            never done because a checkpoint says so.
        on_progress: called a few times a second, and after every line of metrics.jsonl.
        should_stop: asked after every step; `interrupted` or `terminated` saves and stops.

    Raises:
        A2CError: see `errors`.
    """
    if (config is None) == (resume is None):
        raise ConfigError("give either a configuration or a run to resume, not both")
    with threadpool_limits(1, user_api="blas"), contextlib.ExitStack() as stack:
        if resume is not None:
            training = _resumed(stack, Path(resume), changes or {}, env_id)
        else:
            assert config is not None
            training = _fresh(stack, config, Path(run_dir) if run_dir is not None else None)
        return training.run(on_progress, should_stop)


def _wrappers(config: TrainConfig, kind: str) -> dict[str, Any]:
    return {name: getattr(config, name) for name in WRAPPERS[kind]}


def _fresh(stack: contextlib.ExitStack, config: TrainConfig, path: Path | None) -> _Training:
    # Everything about the request is checked before anything is written.
    kind, continuous = probe(config.env, config.env_args)
    config = resolve(config, kind, continuous=continuous)
    env = make_env(config.env, config.env_args, _wrappers(config, kind), seed=config.seed)
    stack.callback(env.close)
    make_layout(config, env.spec)
    device, why = choose_device(config, env.spec)
    run = RunDir(path if path is not None else new_run_path(config.env, config.seed))
    stack.callback(run.close)
    if run.in_use:
        raise RunDirError(
            f"{run.path} already holds a run",
            f"go on with it (--resume {run.path}) or choose another --run-dir",
        )
    run.write_config(to_toml(config))
    run.open_metrics(0)
    return _Training(run, config, env, Counters(), device, why)


def _resumed(
    stack: contextlib.ExitStack, path: Path, changes: Mapping[str, Any], env_id: str | None
) -> _Training:
    source = path / LAST if path.is_dir() else path
    if not source.exists():
        raise CheckpointError(f"there is no run at {path}", "see the directories in checkpoints")
    if source.name not in (LAST, BEST):
        raise CheckpointError(
            f"{path} is not in a run directory",
            f"to go on with it, copy it into a directory of its own as {LAST}",
        )
    # The request is checked before the directory is touched, and the file read once it is ours.
    check_env_id(checkpoint.read_header(source)[0].spec.id, env_id)
    for name in changes:
        if not settings()[name].metadata["on_resume"]:
            raise ConfigError(
                f"{option(name)} cannot be changed on --resume", "start a new run with it"
            )
    run = RunDir(source.parent)
    stack.callback(run.close)
    header, tensors = checkpoint.read_checkpoint(source)
    check_env_id(header.spec.id, env_id)
    agent_from(header, tensors)  # before a network is built as large as the header may say
    config = dataclasses.replace(header.config, **changes)
    env = make_saved_env(header.spec, seed=config.seed)
    stack.callback(env.close)
    device, why = choose_device(config, env.spec)
    try:
        counters = Counters.from_header(header)
        _check_optimizer(config, tensors)
        training = _Training(run, config, env, counters, device, why)
        training.learner.set_state(tensors)
        state = {k.removeprefix("env."): v for k, v in tensors.items() if k.startswith("env.")}
        training.obs = env.set_state(state)
        elapsed, offset = (header.progress[name] for name in ("elapsed", "metrics_bytes"))
        if not is_number(elapsed) or not isinstance(offset, int) or offset < 0:
            raise ValueError("its times or lengths are damaged")
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise CheckpointError(
            f"{source} cannot be resumed: {error}", "a2c evaluate and record may still read it"
        ) from None
    training.elapsed = float(elapsed)
    missing = run.open_metrics(offset)
    if missing:
        training.note = f"{missing:,} bytes of {METRICS} are missing; it goes on with what is left"
    return training


def _check_optimizer(config: TrainConfig, tensors: checkpoint.Tensors) -> None:
    """All slots for every parameter, or none at all before the first update.

    Raises:
        ValueError: something is missing or too much.
    """
    wanted = {
        f"optimizer.{name.removeprefix('network.')}.{slot}"
        for name in tensors
        if name.startswith("network.")
        for slot in SLOTS[config.optimizer]
    }
    found = {name for name in tensors if name.startswith("optimizer.")}
    if found and found != wanted:
        raise ValueError("the optimizer's state is not complete")


class _StopAskedError(Exception):
    """Unwinds an evaluation when the run is asked to stop."""


class _Training:
    """One run in memory."""

    def __init__(
        self,
        run: RunDir,
        config: TrainConfig,
        env: Stream,
        counters: Counters,
        device: torch.device,
        why: str,
    ) -> None:
        self._run, self._config, self.env, self._counters = run, config, env, counters
        torch.set_num_threads(config.threads)
        precision = choose_precision(config, device)
        self._device = f"{device.type} ({why}), {str(precision).removeprefix('torch.')} updates"
        self.learner = Learner(config, env.spec, device, precision)
        self._total = config.total_steps
        self.obs: Any = None
        self.elapsed = 0.0
        self.note = ""
        self._best: bytes | None = None
        self._saved_step = counters.env_steps
        self._started = self._last_save = self._last_progress = time.perf_counter()
        self._first_step = counters.env_steps
        self._stats: UpdateStats | None = None

    def run(
        self,
        on_progress: Callable[[Progress], None] | None,
        should_stop: Callable[[], str | None],
    ) -> TrainResult:
        counters, total = self._counters, self._total
        if counters.env_steps == 0:
            self._save()  # a run that cannot be saved must fail now, not in an hour
        if counters.env_steps >= total and not self._line_due:
            return self._result("completed")
        if on_progress is not None:
            on_progress(self._progress(logged=False))
        self._first_step = counters.env_steps
        try:
            # A stop in the middle of an evaluation has left that step's line unwritten.
            stopped = self._log_interval(should_stop) if self._line_due else None
            if stopped is None:
                stopped = self._play(on_progress, should_stop)
            self._save()
        except DivergedError as error:
            self._run.flush_metrics()
            self._save_best()
            return self._result("diverged", f"{error.message}; {error.hint}")
        except EnvError as error:
            self._save_best()
            diverged = self._divergence()
            if diverged:  # an environment may well choke on actions that are not finite
                return self._result("diverged", f"{diverged}; {_CALMER}")
            raise EnvError(
                f"{error.message} (after step {counters.env_steps:,})",
                f"{error.hint + '; ' if error.hint else ''}the checkpoint of step"
                f" {self._saved_step:,} is kept: a2c train --resume {self._run.path}",
            ) from error
        if on_progress is not None:
            on_progress(self._progress(logged=False))
        return self._result(stopped)

    def _play(
        self,
        on_progress: Callable[[Progress], None] | None,
        should_stop: Callable[[], str | None],
    ) -> str:
        """Step and learn to the end of the budget, or until asked to stop; returns which."""
        counters, learner, total = self._counters, self.learner, self._total
        if counters.env_steps >= total:
            return "completed"
        start = None if counters.episode_over else self.obs
        for step in play(self.env, learner.act, start):
            counters.count(step)
            stats = learner.learn(step, counters.env_steps / total)
            if stats is not None:
                self._stats = stats
                counters.interval.add(stats)
            if step.episode_over:
                self._log_episode()
            logged = self._line_due
            reason = (self._log_interval(should_stop) if logged else None) or should_stop()
            if reason is not None and (counters.env_steps < total or self._line_due):
                return reason
            if counters.env_steps >= total:
                return "completed"
            if on_progress is not None or logged or step.episode_over:
                self._tend(on_progress, logged)
        raise AssertionError("play() never ends")

    def _divergence(self) -> str | None:
        """What is not finite in the weights or in what they give; None if all is well."""
        agent, updates = self.learner.agent, self.learner.updates
        for name, weights in agent.weights.items():
            if not np.isfinite(weights).all():
                return f"{name} is no longer finite after {updates} updates"
        if not acts_finitely(agent):
            return f"policy or value is no longer finite after {updates} updates"
        return None

    @property
    def _line_due(self) -> bool:
        steps, c = self._counters.env_steps, self._config
        due = steps % c.log_every == 0 or steps >= self._total
        due = due or bool(c.eval_every and steps % c.eval_every == 0)
        return due and steps > self._counters.last_line

    def _tend(self, on_progress: Callable[[Progress], None] | None, logged: bool) -> None:
        """Everything that goes by the clock."""
        now = time.perf_counter()
        if on_progress is not None and (logged or now - self._last_progress > 0.25):
            self._last_progress = now
            on_progress(self._progress(logged))
        if self._config.save_every and now - self._last_save > 60.0 * self._config.save_every:
            self._save()

    def _seconds(self) -> float:
        return self.elapsed + time.perf_counter() - self._started

    def _rate(self) -> float:
        steps = self._counters.env_steps - self._first_step
        return steps / max(time.perf_counter() - self._started, 1e-9)

    def _log_episode(self) -> None:
        c = self._counters
        self._run.append_metrics(
            {
                "env_steps": c.env_steps,
                "frames": c.env_steps * self.env.spec.frame_skip,
                "episode": c.episodes,
                "charts/episodic_return": c.returns[-1],
                "charts/episodic_length": c.lengths[-1],
            }
        )

    def _log_interval(self, should_stop: Callable[[], str | None]) -> str | None:
        """Write the line of this step; a reason to stop instead if one comes while evaluating."""
        c = self._counters
        record: dict[str, Any] = {
            "env_steps": c.env_steps,
            "frames": c.env_steps * self.env.spec.frame_skip,
            "updates": self.learner.updates,
            "episodes": c.episodes,
        }
        mean = c.mean_return()
        if mean is not None:
            record["rollout/ep_rew_mean"] = mean
            record["rollout/ep_len_mean"] = sum(c.lengths) / len(c.lengths)
        record |= c.interval.metrics()
        try:
            record |= self._evaluate(should_stop)
        except _StopAskedError:
            return should_stop()
        record["time/fps"] = round(self._rate(), 1)
        record["time/elapsed"] = round(self._seconds(), 2)
        self._run.append_metrics(record)
        self._run.flush_metrics()
        c.last_line = c.env_steps
        c.interval = Interval()
        enough = len(c.returns) >= _FEWEST_FOR_BEST
        best = c.best_mean_return
        if mean is not None and enough and (best is None or mean > best):
            c.best_mean_return = mean
            # Kept in memory until the next save: early on, nearly every line brings a new best.
            self._best = self._encode()
        return None

    def _evaluate(self, should_stop: Callable[[], str | None]) -> dict[str, float]:
        every = self._config.eval_every
        if not every or self._counters.env_steps % every:
            return {}

        def stop_if_asked() -> None:
            if should_stop() is not None:
                raise _StopAskedError

        agent, episodes = self.learner.agent, self._config.eval_episodes
        seed = self._config.seed + 1  # its own stream: training does not notice
        env = make_agent_env(agent, seed, agent.spec.id)
        try:
            games = play_episodes(agent, episodes, seed=seed, env=env, before_step=stop_if_asked)
            returns = [episode.episode_return for episode in games]
        finally:
            env.close()
        return {"eval/mean_reward": sum(returns) / len(returns)}

    def _save(self) -> None:
        """The last checkpoint, and the best before it: a killed run resumes from the last."""
        data = self._encode()
        self._save_best()
        self._run.flush_metrics(sync=True)
        self._run.save(data)
        self._last_save = time.perf_counter()
        self._saved_step = self._counters.env_steps

    def _encode(self) -> bytes:
        # Between two updates nobody asks; what is kept must be good.
        diverged = self._divergence()
        if diverged:
            raise DivergedError(diverged, _CALMER)
        return checkpoint.encode(self.header(), self._tensors())

    def _save_best(self) -> None:
        if self._best is not None:
            self._run.save(self._best, BEST)
            self._best = None

    def _tensors(self) -> dict[str, Any]:
        env = {f"env.{name}": array for name, array in self.env.get_state().items()}
        return self.learner.get_state() | env

    def header(self) -> Header:
        """The header of a checkpoint saved now."""
        c = self._counters
        return Header(
            config=self._config,
            spec=self.env.spec,
            env_steps=c.env_steps,
            updates=self.learner.updates,
            episodes=c.episodes,
            recent_returns=tuple(c.returns),
            best_mean_return=c.best_mean_return,
            progress={
                **c.private(),
                "metrics_bytes": self._run.flush_metrics(),
                "elapsed": self._seconds(),
            },
            versions=_versions(),
        )

    def _progress(self, logged: bool) -> Progress:
        c = self._counters
        return Progress(
            run_dir=self._run.path,
            env_id=self._config.env,
            device=self._device,
            env_steps=c.env_steps,
            total_steps=self._total,
            frames=c.env_steps * self.env.spec.frame_skip,
            total_frames=self._total * self.env.spec.frame_skip,
            updates=self.learner.updates,
            episodes=c.episodes,
            steps_per_second=self._rate(),
            recent_returns=tuple(c.returns),
            mean_return_100=c.mean_return(),
            best_mean_return=c.best_mean_return,
            max_entropy=self.env.spec.action.max_entropy,
            stats=self._stats,
            logged=logged,
            note=self.note,
        )

    def _result(self, stopped: str, message: str = "") -> TrainResult:
        c = self._counters
        return TrainResult(
            run_dir=self._run.path,
            last=self._run.last,
            best=self._run.best if self._run.best.exists() else None,
            env_steps=c.env_steps,
            frames=c.env_steps * self.env.spec.frame_skip,
            updates=self.learner.updates,
            episodes=c.episodes,
            mean_return_100=c.mean_return(),
            steps_per_second=self._rate(),
            stopped=stopped,
            message=message,
        )


@functools.cache
def _versions() -> dict[str, str]:
    packages = ("a2c-cli", "torch", "numpy", "gymnasium", "ale-py")
    return {"python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in packages
    }
