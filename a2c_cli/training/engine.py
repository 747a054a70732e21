"""train(): checks a request, then starts a run or resumes one that was stopped."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from threadpoolctl import threadpool_limits

from a2c_cli.config.settings import TrainConfig
from a2c_cli.config.text import to_toml
from a2c_cli.envs.make import open_run
from a2c_cli.errors import CheckpointError, ConfigError, RunDirError
from a2c_cli.policies.layout import make_layout
from a2c_cli.rng import kept_globals
from a2c_cli.runs import checkpoint
from a2c_cli.runs.directory import METRICS, RunDir, new_run_path
from a2c_cli.runs.header import Header
from a2c_cli.runs.loading import agent_from, as_named, given_id, make_saved_env, trusted_id
from a2c_cli.text import safe_text
from a2c_cli.tracking.session import find_trackers
from a2c_cli.training.best import check_second
from a2c_cli.training.counters import Counters, Saved
from a2c_cli.training.guards import Guards
from a2c_cli.training.initial import take_weights
from a2c_cli.training.loop import Training
from a2c_cli.training.machine import keep_freed_memory, make_learner, same_threads
from a2c_cli.training.progress import Progress, TrainResult
from a2c_cli.training.resume import (
    budget_note,
    changed,
    check_optimizer,
    check_stream,
    find_run,
)
from a2c_cli.training.state import Clock, RunState

__all__ = ["Progress", "TrainResult", "train"]


def train(
    config: TrainConfig | None = None,
    *,
    run_dir: Path | str | None = None,
    resume: Path | str | None = None,
    changes: Mapping[str, Any] | None = None,
    env_id: str | None = None,
    fresh_episode: bool = False,
    env: Any = None,
    asked: Collection[str] = (),
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], str | None] = lambda: None,
) -> TrainResult:
    """Train from one stream, from the start or from where a run was stopped.

    Args:
        config: of a new run; unset settings take the defaults of its kind of environment.
        run_dir: of a new run; a new directory under ./checkpoints if None. With `resume`: where the
            run goes on, as a branch that leaves the one it comes from as it is.
        resume: the run directory (or a checkpoint) to resume; in place, unless there is a
            `run_dir`.
        changes: settings to change on resume; only those that nothing learned depends on. A
            tracker that imports a module (`module:factory`) is only opened if `tracker` names it
            here.
        env_id: of the run to resume; needed only if it imports a module (`module:Id`) and the
            run is not one's own: a checkpoint alone never has one imported.
        fresh_episode: resume with a new episode instead of replaying the one that was under way.
        env: of a run to resume whose `TrainConfig(env=...)` was an object: the same once more.
        asked: settings of `config` that it is an error to leave without effect.
        on_progress: called a few times per second, and after every entry of metrics.jsonl.
        should_stop: asked after every step; `interrupted`, `terminated` or `hung up` saves and
            stops.

    Raises:
        A2CError: see `errors`.
    """
    if env is not None and resume is None:
        raise ConfigError("env= is for resume=", "a new run: TrainConfig(env=...)")
    if (config is None) == (resume is None):
        raise ConfigError("give either a configuration or a run to resume, not both")
    if fresh_episode and resume is None:
        raise ConfigError("--fresh-episode needs --resume", "a new run begins with one anyway")
    keep_freed_memory()
    caller = _Caller(on_progress, should_stop)
    path = Path(run_dir) if run_dir is not None else None
    with threadpool_limits(1, user_api="blas"), same_threads(), contextlib.ExitStack() as stack:
        stack.enter_context(kept_globals())
        if resume is not None:
            request = _Resume(Path(resume), path, changes or {}, env_id, fresh_episode, env)
            training = _resumed(stack, request, caller)
        else:
            assert config is not None
            training = _fresh(stack, config, path, asked, caller)
        return training.run()


class _Caller(NamedTuple):
    """Whom a run reports to, and whom it asks whether to stop."""

    on_progress: Callable[[Progress], None] | None
    should_stop: Callable[[], str | None]


class _Resume(NamedTuple):
    """What was asked for of a run that is resumed; see `train`."""

    path: Path
    branch: Path | None
    changes: Mapping[str, Any]
    env_id: str | None
    fresh_episode: bool
    env: Any


def _fresh(
    stack: contextlib.ExitStack,
    request: TrainConfig,
    path: Path | None,
    asked: Collection[str],
    caller: _Caller,
) -> Training:
    # Everything about the request is checked before anything is written.
    config, env = open_run(request, asked)
    stack.callback(env.close)
    find_trackers(config.tracker)
    if config.video_every:
        env.check_renders()
    checkpoint.check_fits(Header(config, env.spec), make_layout(config, env.spec))
    learner, device = make_learner(config, env.spec)
    check_second(config, learner.agent, env)
    note = take_weights(learner, config) if config.init_from else ""
    where = path if path is not None else new_run_path(config.env, config.seed)
    run = RunDir(where, config.env, config.tracker)
    stack.callback(run.close)
    _check_new(run)
    run.write_config(to_toml(config))
    run.open_metrics(0)
    # Taken weights may be good from the start: no better than that is no reason to worry.
    guards = Guards(said=["random"] if config.init_from else [])
    state = RunState(run, config, env, learner, Counters(guards=guards), Clock())
    training = Training(state, device, *caller)
    training.reporter.note = note
    stack.callback(training.close)
    training.open_trackers()
    return training


def _resumed(stack: contextlib.ExitStack, request: _Resume, caller: _Caller) -> Training:
    path, branch, changes, env_id, fresh_episode, env = request
    # The request is checked before the directory is touched, and the file read once it is ours.
    source = find_run(path, branch=branch is not None)
    header, _ = checkpoint.read_header(source)
    env_id = (
        given_id(header, env) if env is not None else trusted_id(source, header.spec.id, env_id)
    )
    config = changed(as_named(header, env_id), changes, env_id)
    find_trackers(config.tracker)
    run = RunDir(source.parent if branch is None else branch, config.env, config.tracker)
    stack.callback(run.close)
    if branch is not None:
        _check_new(run)
    header, tensors = checkpoint.read_checkpoint(source)
    before, header = header.config, as_named(header, env_id)
    config = replace(changed(header, changes, env_id), source=env)
    if "rng.policy" not in tensors:
        raise CheckpointError(
            f"{source} holds weights only: no run can be resumed from it",
            "a2c evaluate, record and inspect take it",
        )
    agent = agent_from(header, tensors)  # before a network is built as large as it may say
    stream = make_saved_env(
        header.spec, seed=config.seed, render=config.video_every > 0, source=env
    )
    stack.callback(stream.close)
    check_second(config, agent, stream)
    if config.video_every:
        stream.check_renders()
    try:
        learner, device = make_learner(config, stream.spec)
        saved = Saved.of(header)
        counters = saved.counters(header)
        check_optimizer(tensors)
        check_stream(counters, tensors)
        clock = Clock(counters.env_steps, saved.elapsed)
        training = Training(
            RunState(run, config, stream, learner, counters, clock), device, *caller
        )
        stack.callback(training.close)
        training.resume_from(tensors, fresh_episode)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise CheckpointError(
            f"{source} cannot be resumed: {safe_text(str(error))[:200]}",
            "a2c evaluate and record may still read it",
        ) from None
    if branch is not None:
        run.take_over(source.parent, saved.metrics_bytes)
    missing = run.open_metrics(saved.metrics_bytes)
    lost = f"{missing:,} bytes of {METRICS} are missing; the run continues with what is left"
    notes = [lost] if missing else []
    training.reporter.note = "; ".join(filter(None, [*notes, budget_note(before, config)]))
    if changes or branch is not None or before.env != config.env:
        run.write_config(to_toml(config))
    training.open_trackers()
    return training


def _check_new(run: RunDir) -> None:
    if run.in_use:
        raise RunDirError(
            f"{run.path} already holds a run",
            f"resume it (--resume {run.path}) or choose another --run-dir",
        )
